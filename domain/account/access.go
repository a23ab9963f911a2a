package account

import (
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// ResetAccessKeys is RESETKEY (RFC 4467): no URL that was authorized before is valid any more.
type ResetAccessKeys struct {
	Mailbox string // full name; empty for all
}

func (c ResetAccessKeys) decide(s *State) ([]event.Event, error) {
	if c.Mailbox == "" {
		return []event.Event{&event.AccessKeysReset{}}, nil
	}
	m, ok := s.Mailbox(c.Mailbox)
	if !ok {
		return nil, noMailbox(c.Mailbox)
	}
	return []event.Event{&event.AccessKeysReset{Mailbox: m.ID}}, nil
}

// Access names the key with which URLs of a mailbox are authorized: no two mailboxes ever have the same, nor has one before and after a reset.
type Access struct {
	Mailbox domain.MailboxID
	Since   domain.Tx
}

// Access gives the present one of a mailbox.
func (s *State) Access(m *Mailbox) Access {
	return Access{m.ID, max(m.Created, m.AccessReset, s.AccessReset)}
}
