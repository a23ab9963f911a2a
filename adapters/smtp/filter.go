package smtp

import (
	"context"
	"errors"
	"io"

	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/delivery"
)

// Filter is what programs of others say of one message by MX, at each step of its way in. What it takes of time is its own matter to bound.
type Filter interface {
	Mail(ctx context.Context, sender string) *admission.Refusal
	Recipient(ctx context.Context, to string) *admission.Refusal
	// Message is shown the message, of which rest gives what follows the header. Errors: of rest only.
	Message(ctx context.Context, header []byte, rest func() (io.ReadCloser, error)) (admission.Filtered, error)
	// End lets go of the message. It may be called at any time, by anybody, more than once.
	End()
}

// errDiscarded says that a message is accepted and goes nowhere.
var errDiscarded = errors.New("a filter has discarded the message")

// begins has the filter see a message from its sender on.
func (s *session) begins(tx *transaction) error {
	begin := s.server.cfg.Filter
	if begin == nil || s.server.kind != MX {
		return nil
	}
	filter := begin(s.client(), s.id(s.messages.Load()+1))
	ctx, cancel := s.work()
	defer cancel()
	if r := filter.Mail(ctx, tx.sender.String()); r != nil {
		filter.End()
		return s.turnedAway(tx, delivery.Address{}, r)
	}
	tx.filter = filter
	return nil
}

// passes asks the filter about a recipient.
func (s *session) passes(tx *transaction, to delivery.Address) error {
	if tx.filter == nil {
		return nil
	}
	ctx, cancel := s.work()
	defer cancel()
	if r := tx.filter.Recipient(ctx, to.String()); r != nil {
		return s.turnedAway(tx, to, r)
	}
	return nil
}

// filtered asks the filter about a message that is here as a whole, and gives the header with which it goes on.
func (s *session) filtered(m *received, header []byte, rest func() (io.ReadCloser, error)) ([]byte, error) {
	if m.filter == nil {
		return header, nil
	}
	f, err := m.filter.Message(s.server.ctx, header, rest)
	switch {
	case err != nil:
		return nil, err
	case f.Refusal != nil:
		return nil, s.turnedAway(m.transaction, delivery.Address{}, f.Refusal)
	case f.Discard:
		s.log.Warn("a filter has discarded a message: nobody gets it, and its sender is not told", "id", m.id, "from", m.sender.String(), "recipients", len(m.recipients))
		return nil, errDiscarded
	}
	m.junk = m.junk || f.Junk
	return f.Header, nil
}
