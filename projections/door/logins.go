package door

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door/credential"
)

// logins hashes passwords, a few at a time, and remembers for a while which password fits which hash, since mail clients log in again and
// again. A remembered login is good for the hash that it was checked against only, so a change of the password ends it at once.
type logins struct {
	slots  chan struct{} // one for each hash that may be computed at a time
	clock  func() time.Time
	random io.Reader
	secret []byte // makes fake SCRAM keys
	nobody string // the hash of users who do not exist

	lifetime time.Duration
	key      [32]byte // of the process: what is remembered says nothing outside it

	mu    sync.Mutex
	known *recent[[32]byte, knownLogin]
}

type knownLogin struct {
	hash  string
	until time.Time
}

func newLogins(limits Limits, clock func() time.Time, random io.Reader, secret []byte) *logins {
	l := &logins{
		slots: make(chan struct{}, limits.Passwords), clock: clock, random: random, secret: secret,
		lifetime: limits.CachedLoginTime, known: newRecent[[32]byte, knownLogin](limits.CachedLogins),
	}
	rand.Read(l.key[:])
	l.nobody, _ = credential.Impossible(rand.Reader)
	return l
}

// slot waits until a hash may be computed.
func (l *logins) slot(ctx context.Context) (release func(), err error) {
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, domain.Wrap(domain.Unavailable, ctx.Err(), "too many logins at once")
	}
}

// verifiers turns a new password, or an importable hash, into what is stored.
func (l *logins) verifiers(ctx context.Context, password string) (string, event.ScramKeys, error) {
	if password == "" {
		return "", event.ScramKeys{}, nil
	}
	if hash, known, err := credential.Import(password); known || err != nil {
		return hash, credential.ScramKeys(hash, credential.SHA256), err
	}
	if err := credential.Check(password); err != nil {
		return "", event.ScramKeys{}, err
	}
	release, err := l.slot(ctx)
	if err != nil {
		return "", event.ScramKeys{}, err
	}
	defer release()
	hash, err := credential.Hash(l.random, password)
	if err != nil {
		return "", event.ScramKeys{}, err
	}
	keys, err := credential.Keys(l.random, password)
	return hash, keys, err
}

// fits checks a password against a hash.
func (l *logins) fits(ctx context.Context, login, password, hash string) (bool, error) {
	digest := l.digest(login, password)
	if l.remembered(digest, hash) {
		return true, nil
	}
	release, err := l.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	fits, err := credential.Verify(hash, password)
	if fits {
		l.remember(digest, hash)
	}
	return fits, err
}

func (l *logins) digest(login, password string) [32]byte {
	m := hmac.New(sha256.New, l.key[:])
	m.Write(binary.AppendUvarint(nil, uint64(len(login))))
	io.WriteString(m, login)
	io.WriteString(m, password)
	return [32]byte(m.Sum(nil))
}

func (l *logins) remembered(digest [32]byte, hash string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	login, ok := l.known.use(digest)
	if ok && (login.hash != hash || !l.clock().Before(login.until)) {
		l.known.remove(digest)
		return false
	}
	return ok
}

func (l *logins) remember(digest [32]byte, hash string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.put(digest, knownLogin{hash, l.clock().Add(l.lifetime)})
}
