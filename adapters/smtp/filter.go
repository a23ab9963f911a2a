package smtp

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/trace"
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
		s.discarded(m, header, f.By)
		return nil, errDiscarded
	}
	m.junk = m.junk || f.Junk
	return f.Header, nil
}

// discarded leaves what there will be to know of a message that nobody gets: it is all that tells one who misses it.
func (s *session) discarded(m *received, header []byte, by string) {
	r := s.record(m)
	r.Event, r.Status, r.Text, r.MessageID = trace.Discarded, "250", "as "+m.id+", and discarded by "+by, messageID(header)
	for _, to := range m.recipients {
		r.To = append(r.To, to.address.String())
	}
	r = r.Bounded()
	s.log.Warn("a filter has discarded a message: nobody gets it, and its sender is not told", "id", m.id, "filter", by, "from", r.From, "recipients", r.To, "messageId", netline.ForLog(r.MessageID))
	if tell := s.server.cfg.Trace; tell != nil {
		tell(r)
	}
}

// messageID is that of the first field of a header that has one.
func messageID(header []byte) string {
	for name, field := range authres.Fields(header) {
		if strings.EqualFold(name, "Message-ID") {
			return strings.Join(strings.Fields(authres.Value(field)), " ")
		}
	}
	return ""
}
