package account

import (
	"math"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
)

// Limits of one transaction that brings messages back or gives them up. Who has more to do sends several commands; each can be repeated.
const (
	MaxRestored       = 500     // messages of one Restore
	MaxRestoredOctets = 1 << 20 // of their encoded events
	MaxPurged         = 10_000  // emails of one Purge
)

// Lost is a message that the account had and whose place in a mailbox is to be filled again.
type Lost struct {
	// Mailbox is where the message belongs. The mailbox with this id is taken if it still exists, whatever its name is now; else the one called
	// Name, which is made if it does not exist either. 0 goes by name alone.
	Mailbox    domain.MailboxID
	Name       string
	SpecialUse string // of a mailbox that is made, unless another one has it by now

	Email    domain.EmailID
	Thread   domain.ThreadID
	Blob     domain.BlobRef
	Flags    event.Flags // bits keep their meaning for as long as the account lives
	Internal int64       // INTERNALDATE, Unix seconds
	Summary  message.Summary
}

// Restore brings messages back under new UIDs: with their flags, INTERNALDATE, email id and thread id. A message whose email is in its mailbox
// already is passed over, so repeating the command does nothing. \Deleted does not come back, because the next EXPUNGE would undo the restoration.
type Restore struct {
	Messages    []Lost // at most MaxRestored; their blobs are known to exist
	Now         int64  // Unix seconds
	UIDValidity uint32 // a candidate for mailboxes that are made, as of CreateMailbox
	// Seen is the Tx up to which the caller has looked for purges. After a later one nothing is known of the messages any more, and the answer is
	// domain.Conflict: look again.
	Seen domain.Tx
	// OverQuota restores although a limit is reached.
	OverQuota bool
}

func (c Restore) decide(s *State) ([]event.Event, error) {
	switch {
	case s.Purged > c.Seen:
		return nil, domain.Errorf(domain.Conflict, "messages of the account were purged meanwhile: try again")
	case len(c.Messages) > MaxRestored:
		return nil, domain.Errorf(domain.TooLarge, "one transaction restores at most %d messages", MaxRestored)
	}
	r := restoration{state: s, command: &c, targets: map[domain.MailboxID]*target{}, made: map[string]*target{}}
	for i := range c.Messages {
		if err := r.restore(&c.Messages[i]); err != nil {
			return nil, err
		}
	}
	if r.events == nil {
		return nil, nil
	}
	if !c.OverQuota {
		if err := s.Room(Limits{Bytes: r.bytes, Messages: r.messages, Mailboxes: int64(len(r.made))}); err != nil {
			return nil, err
		}
	}
	return r.events, nil
}

// restoration is a Restore while it is decided.
type restoration struct {
	state           *State
	command         *Restore
	targets         map[domain.MailboxID]*target
	made            map[string]*target // mailboxes that the command makes
	events          []event.Event
	messages, bytes int64
}

// target is a mailbox that messages come back into.
type target struct {
	id      domain.MailboxID
	uidNext domain.UID
	has     map[domain.EmailID]bool // of the emails that the command names
}

func (r *restoration) restore(lost *Lost) error {
	if lost.Email >= r.state.NextEmail {
		return domain.Errorf(domain.Invalid, "the account never had the email %d", lost.Email)
	}
	t, err := r.target(lost)
	if err != nil || t.has[lost.Email] {
		return err
	}
	if t.uidNext == math.MaxUint32 {
		return domain.Errorf(domain.TooLarge, "mailbox %q has used all its UIDs: restore into another one", lost.Name)
	}
	e := &event.MessageRestored{
		Mailbox: t.id, UID: t.uidNext, Email: lost.Email, Thread: lost.Thread, Blob: lost.Blob, Flags: lost.Flags &^ event.Deleted,
		Internal: lost.Internal, Saved: r.command.Now, Summary: lost.Summary,
	}
	t.uidNext++
	t.has[lost.Email] = true
	r.messages++
	r.bytes += lost.Blob.Size
	r.events = append(r.events, e)
	return nil
}

// target finds the mailbox of a message, or makes it.
func (r *restoration) target(lost *Lost) (*target, error) {
	name := CanonicalName(lost.Name)
	m, ok := r.state.Mailboxes[lost.Mailbox]
	if !ok {
		m, ok = r.state.Mailbox(name)
	}
	if !ok {
		return r.make(name, lost.SpecialUse)
	}
	t := r.targets[m.ID]
	if t == nil {
		t = &target{id: m.ID, uidNext: m.UIDNext, has: m.among(r.wanted())}
		r.targets[m.ID] = t
	}
	return t, nil
}

func (r *restoration) make(name, use string) (*target, error) {
	if t := r.made[name]; t != nil {
		return t, nil
	}
	s := r.state
	if err := s.mayCreate(name, len(r.made)); err != nil {
		return nil, err
	}
	n := len(r.made)
	if _, taken := s.BySpecialUse(use); taken || slices.ContainsFunc(r.events, func(e event.Event) bool {
		created, ok := e.(*event.MailboxCreated)
		return ok && created.SpecialUse == use
	}) {
		use = ""
	}
	t := &target{id: s.NextMailbox + domain.MailboxID(n), uidNext: 1, has: map[domain.EmailID]bool{}}
	r.made[name] = t
	// Each of the mailboxes made here takes one more value.
	validity := max(r.command.UIDValidity, s.LastUIDValidity+1)
	r.events = append(r.events, &event.MailboxCreated{Mailbox: t.id, Name: name, SpecialUse: use, UIDValidity: validity + uint32(n)})
	return t, nil
}

func (r *restoration) wanted() map[domain.EmailID]bool {
	wanted := make(map[domain.EmailID]bool, len(r.command.Messages))
	for i := range r.command.Messages {
		wanted[r.command.Messages[i].Email] = true
	}
	return wanted
}

// among gives those of the emails that the mailbox has.
func (m *Mailbox) among(emails map[domain.EmailID]bool) map[domain.EmailID]bool {
	has := map[domain.EmailID]bool{}
	for _, e := range m.Email {
		if emails[e] {
			has[e] = true
		}
	}
	return has
}

// Has gives those of the emails that any mailbox of the account has.
func (s *State) Has(emails map[domain.EmailID]bool) map[domain.EmailID]bool {
	has := map[domain.EmailID]bool{}
	for _, m := range s.Mailboxes {
		for _, e := range m.Email {
			if emails[e] {
				has[e] = true
			}
		}
	}
	return has
}

// Purge gives deleted messages up for good. Emails that a mailbox holds, and such as never were, are passed over.
type Purge struct {
	Emails []domain.EmailID // at most MaxPurged
}

func (c Purge) decide(s *State) ([]event.Event, error) {
	if len(c.Emails) > MaxPurged {
		return nil, domain.Errorf(domain.TooLarge, "one transaction purges at most %d messages", MaxPurged)
	}
	wanted := make(map[domain.EmailID]bool, len(c.Emails))
	for _, e := range c.Emails {
		wanted[e] = true
	}
	live := s.Has(wanted)
	gone := slices.DeleteFunc(slices.Clone(c.Emails), func(e domain.EmailID) bool { return live[e] || e == 0 || e >= s.NextEmail })
	slices.Sort(gone)
	if gone = slices.Compact(gone); len(gone) == 0 {
		return nil, nil
	}
	return []event.Event{&event.MessagesPurged{Emails: gone}}, nil
}
