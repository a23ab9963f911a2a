// Package srs is the Sender Rewriting Scheme: it gives a message that is forwarded to another server a return path that leads here, so that the receiver finds
// this server allowed to use it (RFC 7208 section 2.4), and finds the way back for what returns. The scheme is the paper "Mail Forwarding and Sender
// Rewriting" of Meng Weng Wong and Shevek (2003), no RFC:
//
//	SRS0=HHHHHHHH=TT=sender.example=alice@forwarder.example   of a first forwarder, for alice@sender.example
//	SRS1=HHHHHHHH=forwarder.example==HHHHHHHH=TT=sender.example=alice@second.example   of every later one
//
// HHHHHHHH is a hash over what follows it, under a secret of the installation; TT is the day, modulo 1024.
//
// Invariants:
//   - Nobody else can make an address that Reverse takes: this server does not relay to where a stranger says, and only for MaxAge after it has
//     forwarded. A later forwarder's SRS1 leads to the first one, which looks at the time.
//   - Servers may change the case of a local part, so nothing here depends on it; of the original sender's the case stays as long as it is kept on the way.
//   - A local part has at most MaxLocal octets (RFC 5321 section 4.5.3.1.1). A sender that needs more has no such address: Forward says so, and
//     the caller leaves the sender as it is.
package srs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/idn"
)

// MaxLocal is how long a local part may be that every server takes.
const MaxLocal = 64

// MaxAge is for how many days after forwarding a message something may come back. Servers give up after four to five (RFC 5321 section 4.5.4.1).
const MaxAge = 21

const (
	hashLength = 8    // characters of 5 bits
	days       = 1024 // two characters of 5 bits
)

// digits are letters and digits without a case: base32 of RFC 4648 section 6.
var digits = base32.StdEncoding.WithPadding(base32.NoPadding)

// Secret makes and checks addresses. It belongs to the installation, so that every node takes what another has made.
type Secret []byte

// hash is over parts that no separator can move between: each is in lower case and ends with an octet that no address has.
func (k Secret) hash(parts ...string) string {
	mac := hmac.New(sha256.New, k)
	for _, part := range parts {
		mac.Write([]byte(strings.ToLower(part)))
		mac.Write([]byte{0})
	}
	return digits.EncodeToString(mac.Sum(nil))[:hashLength]
}

func (k Secret) checks(hash string, parts ...string) bool {
	return hmac.Equal([]byte(strings.ToUpper(hash)), []byte(k.hash(parts...)))
}

// Forward gives the sender of a message that is sent on under a name of this server. now is in Unix seconds. The null sender stays what it is, because nothing
// returns to it. Errors: domain.TooLarge for a sender that does not fit.
func (k Secret) Forward(sender delivery.Address, host string, now int64) (delivery.Address, error) {
	if sender.IsNull() {
		return sender, nil
	}
	local := ""
	if first, rest, ok := first(sender); ok {
		local = "SRS1=" + k.hash("1", first, rest) + "=" + first + "=" + rest
	} else {
		day := stamp(now)
		local = "SRS0=" + k.hash("0", day, sender.Domain, sender.Local) + "=" + day + "=" + sender.Domain + "=" + sender.Local
	}
	if len(local) > MaxLocal {
		return delivery.Address{}, domain.Errorf(domain.TooLarge, "the sender %s is too long to be rewritten: a local part has at most %d octets", sender, MaxLocal)
	}
	return delivery.Address{Local: local, Domain: host}, nil
}

// ReturnPath is the sender of a message that is sent on for a recipient here, under the recipient's domain. Senders of local domains stay, since this server sends for them anyway,
// and so do those that do not fit. Without a secret all do.
func (k Secret) ReturnPath(sender, recipient delivery.Address, local func(domain string) bool, now int64) delivery.Address {
	if len(k) == 0 || sender.IsNull() || local(sender.Domain) {
		return sender
	}
	rewritten, err := k.Forward(sender, idn.ASCII(recipient.DomainKey()), now)
	if err != nil {
		return sender
	}
	return rewritten
}

// first tells of a sender that was rewritten already by whom it was first, and what stands behind SRS0 there, with its separator.
func first(sender delivery.Address) (host, rest string, ok bool) {
	if rest, ok := cut(sender.Local, "SRS0"); ok && strings.Count(rest, "=") >= 3-1 {
		return sender.Domain, rest, true
	}
	if rest, ok := cut(sender.Local, "SRS1"); ok {
		if _, rest, ok = strings.Cut(rest[1:], "="); ok { // the hash of the forwarder before
			host, rest, ok = strings.Cut(rest, "=")
			return host, rest, ok && delivery.IsDomain(host) && opens(rest)
		}
	}
	return "", "", false
}

// cut takes a tag off, in any case, and leaves the separator, which is one of three.
func cut(local, tag string) (rest string, ok bool) {
	if len(local) < len(tag)+1 || !strings.EqualFold(local[:len(tag)], tag) || !opens(local[len(tag):]) {
		return "", false
	}
	return local[len(tag):], true
}

func opens(rest string) bool { return rest != "" && strings.ContainsRune("=+-", rune(rest[0])) }

// Is tells whether a local part looks like one of this scheme.
func Is(local string) bool {
	_, zero := cut(local, "SRS0")
	_, one := cut(local, "SRS1")
	return zero || one
}

// Reverse gives the sender whom an address stands for that Forward has made: where what comes back is sent to. now is in Unix seconds. Errors: domain.Denied for a
// wrong hash and for what is too old, domain.Invalid for what is none of this scheme.
func (k Secret) Reverse(a delivery.Address, now int64) (delivery.Address, error) {
	if rest, ok := cut(a.Local, "SRS0"); ok {
		parts := strings.SplitN(rest[1:], "=", 4)
		if len(parts) < 4 {
			return delivery.Address{}, errShape
		}
		hash, day, host, local := parts[0], parts[1], parts[2], parts[3]
		if !k.checks(hash, "0", day, host, local) {
			return delivery.Address{}, errForged
		}
		if !fresh(day, now) {
			return delivery.Address{}, errOld
		}
		return address(local, host)
	}
	if rest, ok := cut(a.Local, "SRS1"); ok {
		hash, rest, _ := strings.Cut(rest[1:], "=")
		host, rest, found := strings.Cut(rest, "=")
		if !found || !opens(rest) {
			return delivery.Address{}, errShape
		}
		if !k.checks(hash, "1", host, rest) {
			return delivery.Address{}, errForged
		}
		return address("SRS0"+rest, host)
	}
	return delivery.Address{}, errShape
}

var (
	errShape  = domain.Errorf(domain.Invalid, "this is no rewritten sender")
	errForged = domain.Errorf(domain.Denied, "this rewritten sender was not made here")
	errOld    = domain.Errorf(domain.Denied, "this rewritten sender is no longer valid")
)

func address(local, host string) (delivery.Address, error) {
	return delivery.Unquoted(local + "@" + host)
}

// stamp is the day in two characters.
func stamp(now int64) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	day := now / 86_400 % days
	return string(letters[day/32]) + string(letters[day%32])
}

// fresh tells whether a day is at most MaxAge ago. One day ahead is taken as well: clocks differ.
func fresh(day string, now int64) bool {
	for ago := int64(-1); ago <= MaxAge; ago++ {
		if strings.EqualFold(day, stamp(now-ago*86_400)) {
			return true
		}
	}
	return false
}
