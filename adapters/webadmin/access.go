package webadmin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// access is what a request may do.
type access uint8

// The levels of access, each with all of the one before it.
const (
	nothing  access = iota
	reading         // GET and HEAD
	changing        // everything but DELETE and what destroys as it does
	all
)

// Tokens are the secrets of the door. An empty one lets nobody in.
type Tokens struct {
	All      string // may do everything; must be set
	NoDelete string // may do everything but DELETE, and order no task that destroys
	ReadOnly string // may GET and HEAD
}

// lock holds hashes of tokens, so that neither their octets nor their length show in the time that comparing takes.
type lock struct {
	sums   [3][sha256.Size]byte
	levels [3]access
	n      int
}

func newLock(t Tokens) (l lock) {
	for _, key := range []struct {
		token string
		level access
	}{{t.All, all}, {t.NoDelete, changing}, {t.ReadOnly, reading}} {
		if key.token != "" {
			l.sums[l.n], l.levels[l.n] = sha256.Sum256([]byte(key.token)), key.level
			l.n++
		}
	}
	return l
}

// level tells what the token of a request may do. It is given as "Authorization: Bearer" (RFC 6750 section 2.1), or, as clients of James do, as
// "Password".
func (l *lock) level(r *http.Request) access {
	token := r.Header.Get("Password")
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, rest, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return nothing
		}
		token = strings.TrimSpace(rest)
	}
	sum := sha256.Sum256([]byte(token))
	level := nothing
	for i := range l.n {
		if subtle.ConstantTimeCompare(sum[:], l.sums[i][:]) == 1 {
			level = max(level, l.levels[i])
		}
	}
	return level
}

// needed is the access that a request to a route wants.
func (route *Route) needed(method string) access {
	switch {
	case method == http.MethodGet || method == http.MethodHead:
		return reading
	case method == http.MethodDelete || route.Destroys:
		return all
	}
	return changing
}
