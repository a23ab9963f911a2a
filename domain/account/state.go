// Package account is the account aggregate: its mailboxes and messages, and the rules by which commands on them become events
// (RFC 9051, RFC 3501, RFC 4315, RFC 6851, RFC 6154, RFC 8474, RFC 9208).
//
// Decide(state, command) gives events or an error and changes nothing. State.Apply(tx, event) folds one event. Both are pure: times, random
// identifiers and everything learnt by I/O arrive in the command.
//
// Invariants, for every state reached by folding a log:
//   - Mailbox 1 is INBOX; it is never deleted.
//   - A mailbox's UIDs rise strictly and lie below UIDNext; UIDs and mailbox ids are never used twice, and an email id always means the same message.
//   - (name, UIDVALIDITY) pairs are never used twice, because UIDVALIDITY rises over the whole account.
//   - A mailbox's Counts and Digest equal a recount of its messages, and Usage is the sum of the Counts.
//   - A message's ModSeq is the Tx of its last change; a mailbox's ModSeq is the Tx of the last change in it, expunges included.
//
// A State keeps its messages as packed columns, about 60 octets each, because every SELECT, STATUS, FETCH FLAGS and decision runs on it.
package account

import (
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// State is one account as its log has made it up to Tx. Outside this package it is read only.
type State struct {
	Tx         domain.Tx
	Keywords   []string // in order of their flag bits
	Mailboxes  map[domain.MailboxID]*Mailbox
	Subscribed map[string]bool // by full name; the mailbox need not exist
	Limits     Limits
	Usage      event.Delta // sum over all mailboxes

	NextMailbox     domain.MailboxID
	NextEmail       domain.EmailID
	LastUIDValidity uint32
	Purged          domain.Tx // of the last MessagesPurged; 0 before the first

	AccessReset domain.Tx // of the last AccessKeysReset for all mailboxes; 0 before the first

	Primary Primary

	Metadata       Metadata // of the account as a whole
	MetadataOctets int64    // of all entries and values, those of the mailboxes included

	Scripts Scripts

	names  map[string]domain.MailboxID
	octets int64 // of the names of mailboxes and subscriptions
}

// Limits is the account's quota (RFC 9208 STORAGE, MESSAGE and MAILBOX). Zero means no limit.
type Limits struct {
	Bytes     int64
	Messages  int64
	Mailboxes int64
}

func (l Limits) event() *event.LimitsChanged {
	return &event.LimitsChanged{Bytes: l.Bytes, Messages: l.Messages, Mailboxes: l.Mailboxes}
}

// Mailbox is one mailbox. The columns UID to Thread have one element for each message, in rising order of UID.
type Mailbox struct {
	ID          domain.MailboxID
	Name        string
	SpecialUse  string
	UIDValidity uint32
	UIDNext     domain.UID
	Created     domain.Tx
	ModSeq      domain.Tx
	Counts      event.Delta
	Digest      Digest // of the messages; see Recount
	Metadata    Metadata
	AccessReset domain.Tx             // of the last AccessKeysReset for this one; 0 before the first
	ACL         map[Identifier]Rights // what others than the owner may do; nil if nobody may anything

	UID      []domain.UID
	Modified []domain.Tx // MODSEQ
	Flags    []event.Flags
	Size     []int64
	Internal []int64 // INTERNALDATE, Unix seconds
	Saved    []int64 // SAVEDATE, Unix seconds
	Email    []domain.EmailID
	Thread   []domain.ThreadID
}

// Message is one row of a Mailbox's columns.
type Message struct {
	UID      domain.UID
	Modified domain.Tx
	Flags    event.Flags
	Size     int64
	Internal int64
	Saved    int64
	Email    domain.EmailID
	Thread   domain.ThreadID
}

// New gives the state before the first transaction.
func New() *State {
	return &State{
		Mailboxes:   map[domain.MailboxID]*Mailbox{},
		Subscribed:  map[string]bool{},
		NextMailbox: 1,
		NextEmail:   1,
		names:       map[string]domain.MailboxID{},
	}
}

// Mailbox finds a mailbox by its full name; any case of INBOX will do (RFC 9051 section 5.1).
func (s *State) Mailbox(name string) (*Mailbox, bool) {
	m, ok := s.Mailboxes[s.names[CanonicalName(name)]]
	return m, ok
}

// BySpecialUse finds the mailbox that has an RFC 6154 attribute.
func (s *State) BySpecialUse(use string) (*Mailbox, bool) {
	for _, m := range s.Mailboxes {
		if use != "" && strings.EqualFold(m.SpecialUse, use) {
			return m, true
		}
	}
	return nil, false
}

// Sorted gives the mailboxes in order of name, INBOX first.
func (s *State) Sorted() []*Mailbox {
	all := make([]*Mailbox, 0, len(s.Mailboxes))
	for _, m := range s.Mailboxes {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *Mailbox) int {
		if (a.Name == Inbox) != (b.Name == Inbox) {
			if a.Name == Inbox {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// Keyword finds the flag of a keyword; keywords are compared without regard to case (RFC 9051 section 2.3.2).
func (s *State) Keyword(name string) (event.Flags, bool) {
	for i, k := range s.Keywords {
		if strings.EqualFold(k, name) {
			return event.KeywordFlag(i), true
		}
	}
	return 0, false
}

// Named gives those of the named flags that exist.
func (s *State) Named(names []string) (flags event.Flags) {
	for _, name := range names {
		f, ok := SystemFlag(name)
		if !ok {
			f, _ = s.Keyword(name)
		}
		flags |= f
	}
	return flags
}

// FlagNames spells the flags out, system flags first.
func (s *State) FlagNames(f event.Flags) []string {
	var names []string
	for i, name := range systemNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	for i, name := range s.Keywords {
		if f&event.KeywordFlag(i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Insert gives a state loaded from a view one of its mailboxes, columns, counts and digest included. Loading is the only use.
func (s *State) Insert(m *Mailbox) {
	s.Mailboxes[m.ID] = m
	s.name(m, m.Name)
	s.Usage = s.Usage.Plus(m.Counts)
}

// name gives a mailbox that has none a name.
func (s *State) name(m *Mailbox, name string) {
	m.Name = name
	s.names[name] = m.ID
	s.octets += int64(len(name))
}

// unname takes it away.
func (s *State) unname(m *Mailbox) {
	if s.names[m.Name] == m.ID {
		delete(s.names, m.Name)
	}
	s.octets -= int64(len(m.Name))
}

// Subscribe adds a subscription or takes it away. Outside this package, loading is the only use.
func (s *State) Subscribe(name string, on bool) {
	if s.Subscribed[name] == on {
		return
	}
	if on {
		s.Subscribed[name] = true
		s.octets += int64(len(name))
	} else {
		delete(s.Subscribed, name)
		s.octets -= int64(len(name))
	}
}

// Len counts the messages.
func (m *Mailbox) Len() int { return len(m.UID) }

// Index finds the message with a UID in the columns.
func (m *Mailbox) Index(uid domain.UID) (int, bool) { return slices.BinarySearch(m.UID, uid) }

// At copies one row out of the columns.
func (m *Mailbox) At(i int) Message {
	return Message{m.UID[i], m.Modified[i], m.Flags[i], m.Size[i], m.Internal[i], m.Saved[i], m.Email[i], m.Thread[i]}
}

// Append puts a message at the end of the columns without counting it or adding it to the digest. Apply and loading from a view use it.
func (m *Mailbox) Append(r Message) {
	m.UID = append(m.UID, r.UID)
	m.Modified = append(m.Modified, r.Modified)
	m.Flags = append(m.Flags, r.Flags)
	m.Size = append(m.Size, r.Size)
	m.Internal = append(m.Internal, r.Internal)
	m.Saved = append(m.Saved, r.Saved)
	m.Email = append(m.Email, r.Email)
	m.Thread = append(m.Thread, r.Thread)
}

// Each calls f with the index of every message of the mailbox whose UID is in the set, in rising order.
func (m *Mailbox) Each(set domain.UIDSet, f func(i int)) {
	for _, r := range set {
		i, _ := slices.BinarySearch(m.UID, r.Lo)
		for ; i < len(m.UID) && m.UID[i] <= r.Hi; i++ {
			f(i)
		}
	}
}

// Select gives the UIDs of the set that the mailbox has.
func (m *Mailbox) Select(set domain.UIDSet) domain.UIDSet {
	var have domain.UIDSet
	m.Each(set, func(i int) { have = have.Add(m.UID[i]) })
	return have
}

// remove takes rows out of the columns and the digest, and counts them.
func (m *Mailbox) remove(set domain.UIDSet) (removed int) {
	to := len(m.UID) // rows before it are in their final place
	m.Each(set, func(i int) {
		m.Digest -= m.At(i).Digest()
		if removed == 0 {
			to = i
		} else {
			to += m.shift(to, to+removed, i)
		}
		removed++
	})
	if removed == 0 {
		return 0
	}
	to += m.shift(to, to+removed, len(m.UID))
	m.UID, m.Modified, m.Flags, m.Size = cut(m.UID, to), cut(m.Modified, to), cut(m.Flags, to), cut(m.Size, to)
	m.Internal, m.Saved, m.Email, m.Thread = cut(m.Internal, to), cut(m.Saved, to), cut(m.Email, to), cut(m.Thread, to)
	return removed
}

// shift copies rows [lo, hi) down to row to and counts them.
func (m *Mailbox) shift(to, lo, hi int) int {
	copy(m.UID[to:], m.UID[lo:hi])
	copy(m.Modified[to:], m.Modified[lo:hi])
	copy(m.Flags[to:], m.Flags[lo:hi])
	copy(m.Size[to:], m.Size[lo:hi])
	copy(m.Internal[to:], m.Internal[lo:hi])
	copy(m.Saved[to:], m.Saved[lo:hi])
	copy(m.Email[to:], m.Email[lo:hi])
	return copy(m.Thread[to:], m.Thread[lo:hi])
}

// cut shortens a column, and gives its memory back where most of it lies idle.
func cut[T any](column []T, n int) []T {
	if cap(column) > 2*n+1024 {
		return append(make([]T, 0, n), column[:n]...)
	}
	return column[:n]
}

// count sums the deltas of the messages in a set.
func (m *Mailbox) count(set domain.UIDSet) (d event.Delta) {
	m.Each(set, func(i int) { d = d.Plus(event.DeltaOf(m.Flags[i], m.Size[i])) })
	return d
}

// Weight estimates the state's size in octets, for the cache that keeps it. It takes no time: every message has 60 octets of columns, which
// grow by a quarter at a time, and names are counted as they come and go.
func (s *State) Weight() int64 {
	return 1024 + 768*int64(len(s.Mailboxes)) + 128*int64(len(s.Subscribed)) + s.octets + (MaxKeywordLength+16)*int64(len(s.Keywords)) + 75*s.Usage.Messages + 2*s.MetadataOctets + s.Scripts.octets()
}
