package account

import (
	"cmp"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// MaxAdded bounds the messages of one AddMessages, so that a transaction stays far below what the log takes.
const MaxAdded = 500

// AddMessages is APPEND of several messages (RFC 3502): all of them arrive, in their order, or none does.
type AddMessages []AddMessage

func (c AddMessages) decide(s *State) ([]event.Event, error) {
	arrivals, more, err := c.arrive(s)
	if err == nil {
		err = s.Room(more)
	}
	if err != nil {
		return nil, err
	}
	return arrivals, nil
}

// arrive gives the events of the arrivals, and what they take of the quota, which is not yet checked.
func (c AddMessages) arrive(s *State) (events []event.Event, more Limits, err error) {
	return c.arriveIn(s, s.Mailbox)
}

// arriveIn is arrive into mailboxes that find gives.
func (c AddMessages) arriveIn(s *State, find func(name string) (*Mailbox, bool)) (events []event.Event, more Limits, err error) {
	if len(c) > MaxAdded {
		return nil, more, domain.Errorf(domain.TooLarge, "one command adds at most %d messages", MaxAdded)
	}
	named := naming{state: s}
	taken := map[domain.MailboxID]int{} // UIDs of each mailbox that the messages before have taken
	threads := map[uint64]domain.ThreadID{}
	var arrivals []event.Event
	for i := range c {
		add := &c[i]
		m, ok := find(add.Mailbox)
		if !ok && add.Fallback {
			m, ok = find(Inbox)
		}
		if !ok {
			return nil, more, noMailbox(add.Mailbox)
		}
		flags, err := named.flags(add.Flags)
		if err != nil {
			return nil, more, err
		}
		if err := m.uidsLeft(taken[m.ID] + 1); err != nil {
			return nil, more, err
		}
		e := &event.MessageAdded{
			Mailbox: m.ID, UID: m.UIDNext + domain.UID(taken[m.ID]), Email: s.NextEmail + domain.EmailID(i), Thread: add.Thread, Blob: add.Blob,
			Flags: flags, Internal: add.Internal, Saved: add.Now, Summary: add.Summary,
		}
		if e.Thread > domain.ThreadID(e.Email) { // A thread is named by a message that came before.
			e.Thread = 0
		}
		for _, key := range e.Summary.Keys {
			if e.Thread == 0 {
				e.Thread = threads[key]
			}
		}
		e.Thread = cmp.Or(e.Thread, domain.ThreadID(e.Email))
		for _, key := range e.Summary.Keys {
			if threads[key] == 0 {
				threads[key] = e.Thread
			}
		}
		taken[m.ID]++
		more.Bytes += add.Blob.Size
		more.Messages++
		arrivals = append(arrivals, e)
	}
	return append(named.events, arrivals...), more, nil
}

// Replace is REPLACE (RFC 8508): one message arrives and another goes, at once. Nothing of the one passes to the other (section 1).
type Replace struct {
	From domain.MailboxID
	UID  domain.UID
	With AddMessage
}

func (c Replace) decide(s *State) ([]event.Event, error) {
	from, ok := s.Mailboxes[c.From]
	if !ok {
		return nil, domain.Errorf(domain.NotFound, "the mailbox was deleted")
	}
	i, ok := from.Index(c.UID)
	if !ok {
		return nil, domain.Errorf(domain.NotFound, "the message was expunged")
	}
	events, more, err := AddMessages{c.With}.arrive(s)
	if err != nil {
		return nil, err
	}
	gone := event.DeltaOf(from.Flags[i], from.Size[i]).Negate()
	if err := s.Room(Limits{Bytes: more.Bytes + gone.Bytes, Messages: more.Messages + gone.Messages}); err != nil { // RFC 8508 section 3.4: the net use counts.
		return nil, err
	}
	return append(events, &event.MessagesExpunged{Mailbox: from.ID, UIDs: domain.UIDSet(nil).Add(c.UID), Delta: gone}), nil
}
