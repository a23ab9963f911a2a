package account

import (
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Placement is one of the places where a filter puts a message.
type Placement struct {
	ID         domain.MailboxID // tried first; 0 for none
	SpecialUse string           // tried next (RFC 8579 section 4)
	Mailbox    string           // tried last
	Create     bool             // makes Mailbox when nothing is found (RFC 5490 section 3.2)
	Flags      []string         // those that the account cannot have are left out
	Instead    *AddMessage      // what is filed here in place of the message, because its header was edited; nil otherwise
	Apart      bool             // Instead is another message, and may lie beside this one
}

// Deliver files one message in all the places that a filter names, as one transaction (RFC 5228 section 2.10), and leaves marks with it. A place that does not exist is INBOX: what
// was accepted is never lost for a wrong name.
type Deliver struct {
	Message     AddMessage
	Into        []Placement
	UIDValidity uint32 // a candidate for mailboxes that are made
	Marks       []SetMark
}

func (c Deliver) decide(s *State) ([]event.Event, error) {
	made := map[string]*Mailbox{}
	var events []event.Event
	var adds AddMessages
	seen := map[string]bool{}
	named := naming{state: s}
	for _, p := range c.Into {
		name := s.place(p, made)
		if name == "" && p.Create {
			created, err := c.create(s, p.Mailbox, made)
			events = append(events, created...)
			if name = CanonicalName(p.Mailbox); err != nil { // No room, or no name for a mailbox.
				name = Inbox
			}
		}
		if name == "" {
			name = Inbox
		}
		if seen[name] && !p.Apart { // RFC 5228 section 2.10.3: once in each mailbox.
			continue
		}
		seen[name] = seen[name] || !p.Apart
		add := c.Message
		if p.Instead != nil {
			add = *p.Instead
		}
		add.Mailbox, add.Fallback, add.Flags = name, false, nil
		for _, flag := range p.Flags {
			if _, err := named.flags([]string{flag}); err == nil {
				add.Flags = append(add.Flags, flag)
			}
		}
		adds = append(adds, add)
	}
	arrivals, more, err := adds.arriveIn(s, func(name string) (*Mailbox, bool) {
		if m := made[name]; m != nil {
			return m, true
		}
		return s.Mailbox(name)
	})
	if err == nil {
		err = s.Room(more)
	}
	if err != nil {
		return nil, err
	}
	marks, err := s.marks(c.Marks, c.Message.Now)
	if err != nil {
		return nil, err
	}
	return append(append(events, arrivals...), marks...), nil
}

// place finds the mailbox of a placement; "" if there is none.
func (s *State) place(p Placement, made map[string]*Mailbox) string {
	if m, ok := s.Mailboxes[p.ID]; ok {
		return m.Name
	}
	if m, ok := s.BySpecialUse(p.SpecialUse); ok {
		return m.Name
	}
	if m, ok := s.Mailbox(p.Mailbox); ok {
		return m.Name
	}
	for name := range made {
		if strings.EqualFold(name, CanonicalName(p.Mailbox)) {
			return name
		}
	}
	for _, m := range s.Sorted() { // Scripts are written by people: another case is no reason to file elsewhere, or to make a second one.
		if strings.EqualFold(m.Name, p.Mailbox) {
			return m.Name
		}
	}
	return ""
}

// create makes the events of a new mailbox, which is subscribed, as if others were made before it in the same transaction.
func (c Deliver) create(s *State, name string, made map[string]*Mailbox) ([]event.Event, error) {
	name = CanonicalName(name)
	if err := s.mayCreate(name, len(made)); err != nil {
		return nil, err
	}
	if err := s.Room(Limits{Mailboxes: int64(len(made) + 1)}); err != nil {
		return nil, err
	}
	m := &Mailbox{ID: s.NextMailbox + domain.MailboxID(len(made)), Name: name, UIDNext: 1}
	m.UIDValidity = max(c.UIDValidity, s.LastUIDValidity+1) + uint32(len(made))
	events := []event.Event{&event.MailboxCreated{Mailbox: m.ID, Name: name, UIDValidity: m.UIDValidity}}
	events = append(events, s.inherit(m.ID, name)...)
	if subscribed, err := (Subscribe{Name: name, On: true}).decide(s); err == nil {
		events = append(events, subscribed...)
	}
	made[name] = m
	return events, nil
}
