package account

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Digest is a checksum of a set of things, whatever their order: the sum of one scrambled number for each, modulo 2^64. So a thing is added or
// taken away without a look at the others, and two holders of a set compare it by comparing one number.
//
// It finds accidents: two different sets have equal digests by a chance of 2^-64. It is no defence against somebody who wants a collision.
//
// Digests are stored and compared between nodes of different builds. What goes into one, and how, therefore never changes (TestDigestIsForEver);
// another rule would need another name.
type Digest uint64

// String gives sixteen hexadecimal digits.
func (d Digest) String() string { return fmt.Sprintf("%016x", uint64(d)) }

// MarshalText serves JSON, whose numbers are not exact to 64 bits everywhere.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Digest) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	*d = Digest(n)
	return err
}

// Digest is what a message adds to its mailbox's digest: the digest of what never changes while the message is there, and the digest of what does. Both
// hold the UID, which no other message of the mailbox has, so that nobody can take one part of a message for another's.
func (r Message) Digest() Digest {
	return digest(digestMessage, uint64(r.UID), uint64(r.Email), uint64(r.Thread), uint64(r.Size), uint64(r.Internal), uint64(r.Saved)) +
		FlagsDigest(r.UID, r.Flags, r.Modified)
}

// FlagsDigest is the part of a message's digest that a change of flags replaces.
func FlagsDigest(uid domain.UID, flags event.Flags, modified domain.Tx) Digest {
	return digest(digestFlags, uint64(uid), uint64(flags), uint64(modified))
}

// Recount makes the digest of the mailbox's messages from its columns.
func (m *Mailbox) Recount() (d Digest) {
	for i := range m.UID {
		d += m.At(i).Digest()
	}
	return d
}

// RowDigest is what the mailbox adds to its account's digest: all that is known of it, its messages by their digest. Counts follow from them.
func (m *Mailbox) RowDigest() Digest {
	return digest(digestMailbox, uint64(m.ID), text(m.Name), text(m.SpecialUse), uint64(m.UIDValidity), uint64(m.UIDNext), uint64(m.Created),
		uint64(m.ModSeq), uint64(m.Digest)) + AccessDigest(m.ID, m.AccessReset)
}

// SubscriptionDigest is what a subscription to a name adds to its account's digest.
func SubscriptionDigest(name string) Digest { return digest(digestSubscription, text(name)) }

// KeywordDigest is what a keyword adds to its account's digest. Number counts keywords from 0.
func KeywordDigest(number int, name string) Digest {
	return digest(digestKeyword, uint64(number), text(name))
}

// FactsDigest is what the facts that belong to no mailbox add to their account's digest.
func FactsDigest(nextMailbox domain.MailboxID, nextEmail domain.EmailID, lastUIDValidity uint32, purged domain.Tx, l Limits) Digest {
	d := digest(digestFacts, uint64(nextMailbox), uint64(nextEmail), uint64(lastUIDValidity), uint64(purged), uint64(l.Bytes), uint64(l.Messages))
	if l.Mailboxes != 0 { // An account without this limit has the digest that it has with builds that know none.
		d += digest(digestMailboxLimit, uint64(l.Mailboxes))
	}
	return d
}

// AccessDigest is what the last reset of a mailbox's access keys, or of all mailboxes' when it is 0, adds to its account's digest; nothing if there was none.
func AccessDigest(mailbox domain.MailboxID, reset domain.Tx) Digest {
	if reset == 0 {
		return 0
	}
	return digest(digestAccess, uint64(mailbox), uint64(reset))
}

// Digest is that of the whole account. It looks at no message, since mailboxes keep theirs.
func (s *State) Digest() Digest {
	d := FactsDigest(s.NextMailbox, s.NextEmail, s.LastUIDValidity, s.Purged, s.Limits)
	for _, m := range s.Mailboxes {
		d += m.RowDigest() + m.Metadata.digest(m.ID) + m.rightsDigest()
	}
	d += s.Metadata.digest(0) + AccessDigest(0, s.AccessReset) + PrimaryDigest(s.Primary)
	for name := range s.Subscribed {
		d += SubscriptionDigest(name)
	}
	for number, name := range s.Keywords {
		d += KeywordDigest(number, name)
	}
	return d
}

// Digests is an account as it can be compared: by another node, with its view, or with its log.
type Digests struct {
	Tx        domain.Tx                   `json:"tx"`
	Account   Digest                      `json:"account"`
	Mailboxes map[domain.MailboxID]Digest `json:"mailboxes"` // of their messages
}

// Digests gives those of a state.
func (s *State) Digests() Digests {
	d := Digests{Tx: s.Tx, Account: s.Digest(), Mailboxes: make(map[domain.MailboxID]Digest, len(s.Mailboxes))}
	for id, m := range s.Mailboxes {
		d.Mailboxes[id] = m.Digest
	}
	return d
}

// Disagreement is one digest that two holders of an account have otherwise.
type Disagreement struct {
	Mailbox domain.MailboxID `json:"mailbox"` // 0: the account as a whole
	One     *Digest          `json:"one"`     // nil: there is no such mailbox
	Other   *Digest          `json:"other"`
}

// Against lists what is otherwise in o, by mailbox. The account itself comes first; if it comes alone, then names, keywords, subscriptions or the like
// differ, or the digest itself was spoilt. Digests of different Tx tell nothing.
func (d Digests) Against(o Digests) (all []Disagreement) {
	if d.Account != o.Account {
		all = append(all, Disagreement{0, &d.Account, &o.Account})
	}
	ids := maps.Clone(d.Mailboxes)
	if ids == nil {
		ids = map[domain.MailboxID]Digest{}
	}
	maps.Copy(ids, o.Mailboxes)
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		one, here := d.Mailboxes[id]
		other, there := o.Mailboxes[id]
		switch {
		case !there:
			all = append(all, Disagreement{id, &one, nil})
		case !here:
			all = append(all, Disagreement{id, nil, &other})
		case one != other:
			all = append(all, Disagreement{id, &one, &other})
		}
	}
	return all
}

// The seeds keep things of different sorts apart.
const (
	digestMessage uint64 = iota + 1
	digestFlags
	digestMailbox
	digestSubscription
	digestKeyword
	digestFacts
	digestText
	digestMailboxLimit
	digestMetadata
	digestAccess
	digestRights
	digestPrimary
)

// golden is 2^64 divided by the golden ratio: an odd number whose multiples are spread evenly.
const golden uint64 = 0x9e3779b97f4a7c15

// digest scrambles a sequence of numbers into one. Each step is a bijection of what came before and depends on all of it.
func digest(seed uint64, values ...uint64) Digest {
	h := scramble(seed * golden)
	for _, v := range values {
		h = scramble((h + golden) ^ v)
	}
	return Digest(h)
}

// scramble is a bijection in which each bit of the result depends on each bit of x: variant 13 of D. Stafford's mixers, as in Steele, Lea and Flood,
// Fast Splittable Pseudorandom Number Generators (OOPSLA 2014).
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// text makes a number of a string: of its length and its octets, eight at a time.
func text(s string) uint64 {
	h := uint64(digest(digestText, uint64(len(s))))
	for len(s) > 0 {
		var word [8]byte
		s = s[copy(word[:], s):]
		h = scramble((h + golden) ^ binary.LittleEndian.Uint64(word[:]))
	}
	return h
}
