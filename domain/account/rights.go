package account

import (
	"maps"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Rights is a set of rights on a mailbox (RFC 4314 section 2.1). The owner of an account has all of them on each of its mailboxes, whatever a list says.
type Rights uint16

// The rights, in the order in which they are written.
const (
	MayLookup     Rights = 1 << iota // l: sees that the mailbox exists
	MayRead                          // r: selects it, asks for its STATUS
	MaySee                           // s: changes \Seen
	MayWrite                         // w: changes flags other than \Seen and \Deleted
	MayInsert                        // i: puts messages into it
	MayPost                          // p: sends mail to its address, which no protocol here asks for
	MayCreate                        // k: makes mailboxes below it
	MayDelete                        // x: deletes or renames it
	MayMark                          // t: changes \Deleted
	MayExpunge                       // e: expunges
	MayAdminister                    // a: changes its list

	AllRights Rights = 1<<iota - 1
)

const rightLetters = "lrswipkxtea"

// Obsolete letters stand for several rights (RFC 4314 section 2.1.1). "x" goes with "c", as in Cyrus.
const (
	MayC = MayCreate | MayDelete
	MayD = MayMark | MayExpunge
)

// ParseRights reads letters. One that is not known is an error (RFC 4314 section 3.1).
func ParseRights(letters string) (r Rights, err error) {
	for _, letter := range letters {
		i := strings.IndexRune(rightLetters, letter)
		switch {
		case letter == 'c':
			r |= MayC
		case letter == 'd':
			r |= MayD
		case i < 0:
			return 0, domain.Errorf(domain.Invalid, "there is no right %q", letter)
		default:
			r |= 1 << i
		}
	}
	return r, nil
}

// String gives the letters without the obsolete ones. The log holds this form.
func (r Rights) String() string {
	var b strings.Builder
	for i := range len(rightLetters) {
		if r&(1<<i) != 0 {
			b.WriteByte(rightLetters[i])
		}
	}
	return b.String()
}

// immutable are the flags that the rights do not let one change.
func (r Rights) immutable() (flags event.Flags) {
	if r&MaySee == 0 {
		flags |= event.Seen
	}
	if r&MayMark == 0 {
		flags |= event.Deleted
	}
	if r&MayWrite == 0 {
		flags |= ^(event.Seen | event.Deleted)
	}
	return flags
}

// Mutable are the flags that the rights let one change.
func (r Rights) Mutable() event.Flags { return ^r.immutable() }

// mutable keeps the names of flags that the rights let one change.
func (r Rights) mutable(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		flag, system := SystemFlag(name)
		if !system {
			flag = event.KeywordFlag(0) // one keyword is like the other
		}
		return r.immutable()&flag != 0
	})
}

// Identifier is whom an entry of a list is about: an account, by its id, or Anyone. With "-" before it, the entry takes rights away (RFC 4314 section 2).
type Identifier string

// Anyone is every account.
const Anyone Identifier = "anyone"

// Negative is the identifier of the entry that takes rights away.
func (i Identifier) Negative() Identifier { return "-" + i }

// Subject gives whom the entry is about, and whether it takes rights away.
func (i Identifier) Subject() (of Identifier, negative bool) {
	rest, negative := strings.CutPrefix(string(i), "-")
	return Identifier(rest), negative
}

func (i Identifier) check() error {
	of, _ := i.Subject()
	if of == Anyone {
		return nil
	}
	if id, err := domain.ParseAccountID(string(of)); err != nil || id.Pseudo() {
		return domain.Errorf(domain.Invalid, "%q names no account", i)
	}
	return nil
}

// MaxRights bounds the entries of a mailbox's list.
const MaxRights = 1000

// Rights gives what somebody who is not the owner may do: what any entry gives, without what any entry takes away (RFC 4314 section 2).
func (m *Mailbox) Rights(who domain.AccountID) Rights {
	if len(m.ACL) == 0 {
		return 0
	}
	user := Identifier(who)
	return (m.ACL[Anyone] | m.ACL[user]) &^ (m.ACL[Anyone.Negative()] | m.ACL[user.Negative()])
}

// ErrNoMailbox is what others than the owner hear of a mailbox that is not there, and of one that they may not see: nothing tells the two apart
// (RFC 4314 section 6).
var ErrNoMailbox = domain.Errorf(domain.NotFound, "the mailbox does not exist")

// Shared finds a mailbox for somebody who is not the owner and needs all of some rights on it. Errors: ErrNoMailbox; domain.Denied when it may be seen.
func (s *State) Shared(name string, who domain.AccountID, needed Rights) (*Mailbox, error) {
	m, _ := s.Mailbox(name)
	return m, m.admits(who, needed)
}

// sharedByID is Shared by the mailbox's id.
func (s *State) sharedByID(id domain.MailboxID, who domain.AccountID, needed Rights) (*Mailbox, error) {
	m := s.Mailboxes[id]
	return m, m.admits(who, needed)
}

// admits tells whether somebody has all of some rights on a mailbox; m is nil for one that does not exist.
func (m *Mailbox) admits(who domain.AccountID, needed Rights) error {
	if m == nil {
		return ErrNoMailbox
	}
	switch has := m.Rights(who); {
	case has&needed == needed:
		return nil
	case has&MayLookup == 0:
		return ErrNoMailbox
	default:
		return domain.Errorf(domain.Denied, "you lack the right %q on the mailbox", needed&^has)
	}
}

// Above gives the nearest existing mailbox above a canonical name, or nil.
func (s *State) Above(name string) *Mailbox {
	for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
		if m, ok := s.Mailboxes[s.names[name[:i]]]; ok {
			return m
		}
	}
	return nil
}

// inherit gives a new mailbox the list of the one above it (RFC 4314 section 4, CREATE).
func (s *State) inherit(id domain.MailboxID, name string) (events []event.Event) {
	if above := s.Above(name); above != nil {
		for _, who := range slices.Sorted(maps.Keys(above.ACL)) {
			events = append(events, &event.RightsChanged{Mailbox: id, Identifier: string(who), Rights: above.ACL[who].String()})
		}
	}
	return events
}

// RightsMode tells what SetRights does with its rights.
type RightsMode uint8

// The three forms of SETACL (RFC 4314 section 3.1).
const (
	ReplaceRights RightsMode = iota
	AddRights
	RemoveRights
)

// SetRights is SETACL, and with no rights DELETEACL (RFC 4314 sections 3.1 and 3.2).
type SetRights struct {
	Mailbox    string // full name
	Identifier Identifier
	Mode       RightsMode
	Rights     Rights
}

func (c SetRights) decide(s *State) ([]event.Event, error) {
	m, ok := s.Mailbox(c.Mailbox)
	if !ok {
		return nil, noMailbox(c.Mailbox)
	}
	if err := c.Identifier.check(); err != nil {
		return nil, err
	}
	old, want := m.ACL[c.Identifier], c.Rights&AllRights
	switch c.Mode {
	case AddRights:
		want |= old
	case RemoveRights:
		want = old &^ want
	}
	if want == old {
		return nil, nil
	}
	if old == 0 && len(m.ACL) >= MaxRights {
		return nil, domain.Errorf(domain.TooLarge, "a mailbox has rights for at most %d identifiers", MaxRights)
	}
	return []event.Event{&event.RightsChanged{Mailbox: m.ID, Identifier: string(c.Identifier), Rights: want.String()}}, nil
}

// Grant sets an entry of a mailbox's list, or removes it when there are no rights. Apply and loading from a view use it.
func (s *State) Grant(mailbox domain.MailboxID, who Identifier, rights Rights) {
	m := s.mailbox(mailbox)
	if m.ACL[who] != 0 {
		s.octets -= entryOctets(who)
	}
	if rights == 0 {
		if delete(m.ACL, who); len(m.ACL) == 0 {
			m.ACL = nil
		}
		return
	}
	if m.ACL == nil {
		m.ACL = map[Identifier]Rights{}
	}
	m.ACL[who] = rights
	s.octets += entryOctets(who)
}

// entryOctets estimates the memory of an entry.
func entryOctets(who Identifier) int64 { return int64(len(who)) + 64 }

func (m *Mailbox) rightsDigest() (d Digest) {
	for who, rights := range m.ACL {
		d += RightsDigest(m.ID, who, rights)
	}
	return d
}

// RightsDigest is what an entry of a mailbox's list adds to its account's digest.
func RightsDigest(mailbox domain.MailboxID, who Identifier, rights Rights) Digest {
	return digest(digestRights, uint64(mailbox), text(string(who)), text(rights.String()))
}

// Entry is one entry of a mailbox's list.
type Entry struct {
	Identifier Identifier
	Rights     Rights
}

// Entries gives the list, in any order.
func (m *Mailbox) Entries() []Entry {
	list := make([]Entry, 0, len(m.ACL))
	for who, rights := range m.ACL {
		list = append(list, Entry{who, rights})
	}
	return list
}
