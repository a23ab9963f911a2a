package account

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
)

// Command is a wish to change an account. Decide turns it into events, or into the error that the client gets.
type Command interface {
	decide(s *State) ([]event.Event, error)
}

// Decide is the only way from a wish to facts. It changes nothing; no events and no error mean that there is nothing to do.
func Decide(s *State, c Command) ([]event.Event, error) {
	if _, opens := c.(Open); !opens && len(s.Mailboxes) == 0 { // Mailbox 1 is INBOX, so nothing comes before Open.
		return nil, domain.Errorf(domain.NotFound, "the account does not exist")
	}
	return c.decide(s)
}

// Open makes a new account's first mailboxes: INBOX and one for each usual special use (RFC 6154), all subscribed.
type Open struct {
	UIDValidity uint32 // Unix seconds will do
	Limits      Limits
}

// FirstUses are the special uses of an account's first mailboxes, which are called like them.
var FirstUses = []string{`\Archive`, `\Drafts`, `\Junk`, `\Sent`, `\Trash`}

func (c Open) decide(s *State) ([]event.Event, error) {
	if len(s.Mailboxes) > 0 {
		return nil, domain.Errorf(domain.Exists, "the account is open already")
	}
	if err := c.Limits.check(); err != nil {
		return nil, err
	}
	var events []event.Event
	for i, use := range append([]string{""}, FirstUses...) {
		name := Inbox
		if use != "" {
			name = use[1:]
		}
		events = append(events,
			&event.MailboxCreated{Mailbox: domain.MailboxID(i + 1), Name: name, SpecialUse: use, UIDValidity: max(c.UIDValidity, 1) + uint32(i)},
			&event.SubscriptionChanged{Name: name, Subscribed: true})
	}
	if c.Limits != (Limits{}) {
		events = append(events, c.Limits.event())
	}
	return events, nil
}

// CreateMailbox is CREATE (RFC 9051 section 6.3.4). Superior levels that do not exist stay names without a mailbox. Who has rights on the nearest mailbox
// above has the same on the new one.
type CreateMailbox struct {
	Name        string
	SpecialUse  string // RFC 6154 section 3
	UIDValidity uint32 // a candidate, Unix seconds; raised if that was used before
}

func (c CreateMailbox) decide(s *State) ([]event.Event, error) {
	name := CanonicalName(c.Name)
	if err := s.mayCreate(name, 0); err != nil {
		return nil, err
	}
	if err := s.Room(Limits{Mailboxes: 1}); err != nil {
		return nil, err
	}
	use, err := specialUse(c.SpecialUse)
	if err != nil {
		return nil, err
	}
	if _, taken := s.BySpecialUse(use); taken {
		return nil, domain.Errorf(domain.Exists, "another mailbox has the special use %s", use)
	}
	made := &event.MailboxCreated{Mailbox: s.NextMailbox, Name: name, SpecialUse: use, UIDValidity: max(c.UIDValidity, s.LastUIDValidity+1)}
	return append([]event.Event{made}, s.inherit(made.Mailbox, name)...), nil
}

// mayCreate checks that a mailbox of a canonical name can be made when so many others are made before it.
func (s *State) mayCreate(name string, others int) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if _, exists := s.names[name]; exists {
		return domain.Errorf(domain.Exists, "mailbox %q exists already", name)
	}
	if len(s.Mailboxes)+others >= MaxMailboxes {
		return domain.Errorf(domain.TooLarge, "an account has at most %d mailboxes", MaxMailboxes)
	}
	if int64(s.LastUIDValidity)+int64(others) >= math.MaxUint32 {
		return domain.Errorf(domain.TooLarge, "the account has used all its UIDVALIDITY values")
	}
	return nil
}

// SpecialUses are the attributes of RFC 6154 section 2 and RFC 8457 that a mailbox may be given; \All and \Flagged name virtual mailboxes,
// which this server does not have.
var SpecialUses = []string{`\Archive`, `\Drafts`, `\Junk`, `\Sent`, `\Trash`, `\Important`}

func specialUse(use string) (string, error) {
	if use == "" {
		return "", nil
	}
	for _, known := range SpecialUses {
		if strings.EqualFold(known, use) {
			return known, nil
		}
	}
	return "", domain.Errorf(domain.Invalid, "special use %s is not supported", use)
}

// DeleteMailbox is DELETE (RFC 9051 section 6.3.5). Inferior mailboxes stay.
type DeleteMailbox struct{ Name string }

func (c DeleteMailbox) decide(s *State) ([]event.Event, error) {
	m, ok := s.Mailbox(c.Name)
	if !ok {
		return nil, noMailbox(c.Name)
	}
	if m.Name == Inbox {
		return nil, domain.Errorf(domain.Invalid, "INBOX cannot be deleted")
	}
	return []event.Event{&event.MailboxDeleted{Mailbox: m.ID, Delta: m.Counts.Negate()}}, nil
}

func noMailbox(name string) error {
	return domain.Errorf(domain.NotFound, "mailbox %q does not exist", CanonicalName(name))
}

// RenameMailbox is RENAME (RFC 9051 section 6.3.6). Inferior mailboxes go along; renaming INBOX moves its messages into a new mailbox and
// leaves INBOX and its inferiors in place.
type RenameMailbox struct {
	From, To    string
	Now         int64 // Unix seconds
	UIDValidity uint32

	leaves map[domain.MailboxID]bool // inferior mailboxes that stay
}

func (c RenameMailbox) decide(s *State) ([]event.Event, error) {
	from, to := CanonicalName(c.From), CanonicalName(c.To)
	if err := CheckName(to); err != nil {
		return nil, err
	}
	if _, taken := s.names[to]; taken || to == from { // also a superior name that has no mailbox
		return nil, domain.Errorf(domain.Exists, "mailbox %q exists already", to)
	}
	if from == Inbox {
		events, err := CreateMailbox{Name: to, UIDValidity: c.UIDValidity}.decide(s)
		if inbox := s.Mailboxes[s.names[Inbox]]; err == nil && inbox.Len() > 0 {
			all := domain.UIDSet(nil)
			for _, uid := range inbox.UID {
				all = all.Add(uid)
			}
			events = append(events, &event.MessagesMoved{From: inbox.ID, To: s.NextMailbox, UIDs: all, First: 1, Saved: c.Now, Delta: inbox.Counts})
		}
		if err == nil { // RFC 5464 section 4.1: INBOX keeps its annotations, and the new mailbox gets them too.
			inbox := s.Mailboxes[s.names[Inbox]]
			for _, entry := range slices.Sorted(maps.Keys(inbox.Metadata)) {
				events = append(events, &event.MetadataChanged{Mailbox: s.NextMailbox, Entry: entry, Value: inbox.Metadata[entry]})
			}
		}
		return events, err
	}
	if strings.HasPrefix(to, from+"/") {
		return nil, domain.Errorf(domain.Invalid, "a mailbox cannot become inferior to itself")
	}
	moving := func(m *Mailbox) bool { return m.Name == from || strings.HasPrefix(m.Name, from+"/") && !c.leaves[m.ID] }
	tree := slices.DeleteFunc(s.Sorted(), func(m *Mailbox) bool { return !moving(m) })
	// Higher levels go first: "a/b" that becomes "a" leaves its name to "a/b/b".
	slices.SortStableFunc(tree, func(a, b *Mailbox) int {
		return cmp.Compare(strings.Count(a.Name, "/"), strings.Count(b.Name, "/"))
	})
	var events []event.Event
	for _, m := range tree {
		name := to + m.Name[len(from):]
		if err := CheckName(name); err != nil {
			return nil, err
		}
		if other, taken := s.Mailboxes[s.names[name]]; taken && !moving(other) {
			return nil, domain.Errorf(domain.Exists, "mailbox %q exists already", name)
		}
		events = append(events, &event.MailboxRenamed{Mailbox: m.ID, Name: name})
	}
	if events == nil { // A superior name without a mailbox may be renamed, but not a name with nothing below it.
		return nil, noMailbox(from)
	}
	return events, nil
}

// Subscribe is SUBSCRIBE or UNSUBSCRIBE (RFC 9051 sections 6.3.7 and 6.3.8).
type Subscribe struct {
	Name string
	On   bool
}

func (c Subscribe) decide(s *State) ([]event.Event, error) {
	name := CanonicalName(c.Name)
	if s.Subscribed[name] == c.On {
		return nil, nil
	}
	if c.On {
		if err := CheckName(name); err != nil {
			return nil, err
		}
		if len(s.Subscribed) >= MaxSubscriptions {
			return nil, domain.Errorf(domain.TooLarge, "an account has at most %d subscriptions", MaxSubscriptions)
		}
	}
	return []event.Event{&event.SubscriptionChanged{Name: name, Subscribed: c.On}}, nil
}

// SetLimits changes the account's quota. A limit below the present use stops growth and removes nothing (RFC 9208 section 4.1.3).
type SetLimits struct{ Limits Limits }

func (c SetLimits) decide(s *State) ([]event.Event, error) {
	if err := c.Limits.check(); err != nil {
		return nil, err
	}
	if c.Limits == s.Limits {
		return nil, nil
	}
	return []event.Event{c.Limits.event()}, nil
}

func (l Limits) check() error {
	if l.Bytes < 0 || l.Messages < 0 || l.Mailboxes < 0 {
		return domain.Errorf(domain.Invalid, "a limit cannot be negative")
	}
	return nil
}

// AddMessage is a delivery, an APPEND (RFC 9051 section 6.3.12) or an import. The blob is durable already.
type AddMessage struct {
	Mailbox  string // full name
	Blob     domain.BlobRef
	Summary  message.Summary
	Flags    []string
	Internal int64           // Unix seconds
	Now      int64           // Unix seconds
	Thread   domain.ThreadID // of the conversation that the caller found it to belong to; 0 begins one
	// Fallback delivers into INBOX when the mailbox does not exist, as plus-addressing wants.
	Fallback bool
}

func (c AddMessage) decide(s *State) ([]event.Event, error) { return AddMessages{c}.decide(s) }

// Room checks whether the quota has room for more. What does not grow is always allowed. Error: domain.OverQuota.
func (s *State) Room(more Limits) error {
	switch {
	case s.Limits.Bytes > 0 && more.Bytes > 0 && more.Bytes > s.Limits.Bytes-s.Usage.Bytes:
		return domain.Errorf(domain.OverQuota, "the account's storage limit of %d octets is reached", s.Limits.Bytes)
	case s.Limits.Messages > 0 && more.Messages > 0 && more.Messages > s.Limits.Messages-s.Usage.Messages:
		return domain.Errorf(domain.OverQuota, "the account's limit of %d messages is reached", s.Limits.Messages)
	case s.Limits.Mailboxes > 0 && more.Mailboxes > 0 && more.Mailboxes > s.Limits.Mailboxes-int64(len(s.Mailboxes)):
		return domain.Errorf(domain.OverQuota, "the account's limit of %d mailboxes is reached", s.Limits.Mailboxes)
	}
	return nil
}

// uidsLeft checks that n more UIDs, and UIDNEXT after them, fit into 32 bits.
func (m *Mailbox) uidsLeft(n int) error {
	if int64(m.UIDNext)+int64(n) > math.MaxUint32 {
		return domain.Errorf(domain.TooLarge, "mailbox %q has used all its UIDs: move its messages to a new one", m.Name)
	}
	return nil
}

// naming turns names of flags into flags. Keywords that the account does not know yet become events, which go in front of the change.
type naming struct {
	state  *State
	fresh  []string
	events []event.Event
}

func (n *naming) flags(names []string) (flags event.Flags, err error) {
	s, next := n.state, len(n.state.Keywords)
	for _, name := range names {
		if strings.EqualFold(name, `\Recent`) {
			continue // RFC 3501 section 2.3.2: a client cannot alter it.
		}
		if f, ok := SystemFlag(name); ok {
			flags |= f
			continue
		}
		if f, ok := s.Keyword(name); ok {
			flags |= f
			continue
		}
		if i := slices.IndexFunc(n.fresh, func(k string) bool { return strings.EqualFold(k, name) }); i >= 0 {
			flags |= event.KeywordFlag(next + i)
			continue
		}
		if err := checkKeyword(name); err != nil {
			return 0, err
		}
		if next+len(n.fresh) >= event.MaxKeywords {
			return 0, domain.Errorf(domain.TooLarge, "an account has at most %d keywords", event.MaxKeywords)
		}
		number := next + len(n.fresh)
		n.events = append(n.events, &event.KeywordCreated{Number: uint32(number), Name: name})
		flags |= event.KeywordFlag(number)
		n.fresh = append(n.fresh, name)
	}
	return flags, nil
}

// StoreMode tells what STORE does with its flags.
type StoreMode uint8

// The three forms of STORE (RFC 9051 section 6.4.6).
const (
	ReplaceFlags StoreMode = iota
	AddFlags
	RemoveFlags
)

// StoreFlags is STORE. UIDs that the mailbox does not have are passed over.
type StoreFlags struct {
	Mailbox        domain.MailboxID
	UIDs           domain.UIDSet
	Mode           StoreMode
	Flags          []string
	UnchangedSince *domain.Tx // RFC 7162 section 3.1.3: messages modified later are left alone; see Refused

	except event.Flags // which stay as they are
}

// Refused gives the messages that UnchangedSince keeps from being changed when the command is decided on this state: the response code MODIFIED.
func (c StoreFlags) Refused(s *State) (refused domain.UIDSet) {
	m, ok := s.Mailboxes[c.Mailbox]
	if !ok || c.UnchangedSince == nil {
		return nil
	}
	named := s.Named(c.Flags)
	m.Each(c.UIDs, func(i int) {
		if c.protects(m, i, named) {
			refused = refused.Add(m.UID[i])
		}
	})
	return refused
}

// protects tells whether UnchangedSince keeps a message from being changed. Zero fails for every flag that exists, and system flags always
// do (RFC 7162 section 3.1.3): a client sees by it whether a keyword is there.
func (c StoreFlags) protects(m *Mailbox, i int, named event.Flags) bool {
	switch {
	case c.UnchangedSince == nil:
		return false
	case *c.UnchangedSince > 0:
		return m.Modified[i] > *c.UnchangedSince
	}
	return c.Mode == ReplaceFlags || named.System() != 0 || m.Flags[i]&named != 0
}

func (c StoreFlags) decide(s *State) ([]event.Event, error) {
	m, ok := s.Mailboxes[c.Mailbox]
	if !ok {
		return nil, domain.Errorf(domain.NotFound, "the mailbox was deleted")
	}
	names := c.Flags
	if c.Mode == RemoveFlags { // an unknown keyword is on no message, so taking it off needs no number.
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool {
			_, system := SystemFlag(n)
			_, keyword := s.Keyword(n)
			return !system && !keyword
		})
	}
	named := naming{state: s}
	flags, err := named.flags(names)
	if err != nil {
		return nil, err
	}
	// Messages that change in the same way share an event; there are few ways, because REPLACE is the only mode with more than one.
	changes := map[[2]event.Flags]*event.FlagsChanged{}
	var order []*event.FlagsChanged
	m.Each(c.UIDs, func(i int) {
		if c.protects(m, i, flags) {
			return
		}
		old, want := m.Flags[i], flags
		switch c.Mode {
		case AddFlags:
			want = old | flags
		case RemoveFlags:
			want = old &^ flags
		default:
			want |= old & c.except
		}
		if want == old {
			return
		}
		key := [2]event.Flags{want &^ old, old &^ want}
		if c.Mode != ReplaceFlags { // folding the whole change is harmless where a part of it is there already
			key = [2]event.Flags{flags, 0}
			if c.Mode == RemoveFlags {
				key = [2]event.Flags{0, flags}
			}
		}
		e := changes[key]
		if e == nil {
			e = &event.FlagsChanged{Mailbox: m.ID, Add: key[0], Remove: key[1]}
			changes[key] = e
			order = append(order, e)
		}
		e.UIDs = e.UIDs.Add(m.UID[i])
		e.Delta = e.Delta.Plus(event.DeltaOf(want, 0)).Plus(event.DeltaOf(old, 0).Negate())
	})
	if len(order) == 0 {
		return nil, nil // a keyword that ends up on no message is not created.
	}
	events := named.events
	for _, e := range order {
		events = append(events, e)
	}
	return events, nil
}

// Transfer is COPY (RFC 9051 section 6.4.7) or MOVE (RFC 6851).
type Transfer struct {
	From domain.MailboxID
	To   string // full name
	UIDs domain.UIDSet
	Move bool
	Now  int64 // Unix seconds

	without event.Flags // which do not go along
}

func (c Transfer) decide(s *State) ([]event.Event, error) {
	from, ok := s.Mailboxes[c.From]
	if !ok {
		return nil, domain.Errorf(domain.NotFound, "the mailbox was deleted")
	}
	to, ok := s.Mailbox(c.To)
	if !ok {
		return nil, noMailbox(c.To)
	}
	uids := from.Select(c.UIDs)
	if uids == nil {
		return nil, nil
	}
	if err := to.uidsLeft(uids.Len()); err != nil {
		return nil, err
	}
	delta := from.count(uids)
	if !c.Move { // What moves takes no more room than before.
		if err := s.Room(Limits{Bytes: delta.Bytes, Messages: delta.Messages}); err != nil {
			return nil, err
		}
	}
	e := event.MessagesCopied{From: from.ID, To: to.ID, UIDs: uids, First: to.UIDNext, Saved: c.Now, Delta: delta}
	events := []event.Event{&e}
	if c.Move {
		events[0] = (*event.MessagesMoved)(&e)
	}
	if left := c.left(from, uids, &e); left != nil {
		events = append(events, left)
	}
	return events, nil
}

// left takes the flags that do not go along off the messages that have just arrived; nil if none has any.
func (c Transfer) left(from *Mailbox, uids domain.UIDSet, e *event.MessagesCopied) event.Event {
	off := &event.FlagsChanged{Mailbox: e.To, Remove: c.without}
	uid := e.First
	from.Each(uids, func(i int) {
		if f := from.Flags[i]; f&c.without != 0 {
			off.UIDs = off.UIDs.Add(uid)
			off.Delta = off.Delta.Plus(event.DeltaOf(f&^c.without, 0)).Plus(event.DeltaOf(f, 0).Negate())
		}
		uid++
	})
	if off.UIDs == nil {
		return nil
	}
	return off
}

// Expunge is EXPUNGE or UID EXPUNGE (RFC 9051 section 6.4.3, RFC 4315 section 2.1): it removes messages that are marked \Deleted.
type Expunge struct {
	Mailbox domain.MailboxID
	UIDs    domain.UIDSet // only these; nil means all
	Any     bool          // also those that are not marked: an operator empties a mailbox
}

func (c Expunge) decide(s *State) ([]event.Event, error) {
	m, ok := s.Mailboxes[c.Mailbox]
	if !ok {
		return nil, domain.Errorf(domain.NotFound, "the mailbox was deleted")
	}
	e := &event.MessagesExpunged{Mailbox: m.ID}
	for i, f := range m.Flags {
		if (c.Any || f&event.Deleted != 0) && (c.UIDs == nil || c.UIDs.Contains(m.UID[i])) {
			e.UIDs = e.UIDs.Add(m.UID[i])
			e.Delta = e.Delta.Plus(event.DeltaOf(f, m.Size[i]).Negate())
		}
	}
	if e.UIDs == nil {
		return nil, nil
	}
	return []event.Event{e}, nil
}
