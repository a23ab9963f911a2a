// Package batv marks the sender of what leaves, so that a report about it can be told from one about mail that somebody else has sent in the sender's name (Bounce Address Tag Validation, draft-levine-smtp-batv):
//
//	prvs=KDDDHHHHHH=alice@example.org
//
// K is the number of a key, always 0 here; DDD the day on which the mark ends, modulo 1000; HHHHHH a hash over both and the address, under a secret of the installation.
//
// Invariants: nobody else can make a mark, but for one guess in 16 million; nothing depends on case, which servers may change; an address that would grow too long for other servers, or has a mark already, stays as it is.
package batv

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain/delivery"
)

// MaxAge is for how many days a mark is good. Servers give up after four to five (RFC 5321 section 4.5.4.1).
const MaxAge = 21

const (
	tag      = "prvs="
	stamped  = 1 + 3 + 6              // K, DDD and HHHHHH
	maxLocal = 64                     // octets of a local part that every server takes (RFC 5321 section 4.5.3.1.1)
	overhead = len(tag) + stamped + 1 // what a mark adds
	days     = 1000                   // before the numbers of days begin anew
	daySpan  = 24 * 60 * 60           // seconds
)

// Secret makes and checks marks. It belongs to the installation, so that every node takes what another has made.
type Secret []byte

func (k Secret) hash(day string, a delivery.Address) string {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte("0" + day + strings.ToLower(a.Local) + "@" + a.DomainKey()))
	return hex.EncodeToString(mac.Sum(nil))[:6]
}

// Mark gives an address its mark. now is in Unix seconds.
func (k Secret) Mark(a delivery.Address, now int64) delivery.Address {
	if a.IsNull() || Is(a.Local) || len(a.Local)+overhead > maxLocal {
		return a
	}
	day := fmt.Sprintf("%03d", (now/daySpan+MaxAge)%days)
	return delivery.Address{Local: tag + "0" + day + k.hash(day, a) + "=" + a.Local, Domain: a.Domain}
}

// Is tells whether a local part looks as if it had a mark.
func Is(local string) bool {
	return len(local) > overhead && strings.EqualFold(local[:len(tag)], tag) && local[overhead-1] == '='
}

// Unmark takes a mark off. ok is false for one that was not made here, or is too old. now is in Unix seconds.
func (k Secret) Unmark(a delivery.Address, now int64) (plain delivery.Address, ok bool) {
	if !Is(a.Local) {
		return a, false
	}
	mark := a.Local[len(tag) : overhead-1]
	plain = delivery.Address{Local: a.Local[overhead:], Domain: a.Domain}
	day, err := strconv.ParseUint(mark[1:4], 10, 16)
	if err != nil || mark[0] != '0' || !hmac.Equal([]byte(strings.ToLower(mark[4:])), []byte(k.hash(mark[1:4], plain))) {
		return a, false
	}
	if left := (int64(day) - now/daySpan%days + days) % days; left > MaxAge+1 { // one day more: clocks differ
		return a, false
	}
	return plain, true
}
