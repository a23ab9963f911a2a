package smtp

import (
	"context"
	"strings"

	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
)

// Gate says who may bring mail, before any of it is here. What it takes of time is its own matter to bound.
type Gate interface {
	// Client says what is known of a client. It is asked once for each that comes by MX from elsewhere than trusted networks, before its first message.
	Client(ctx context.Context, c *admission.Client) *admission.Opinion
	// Sender is asked about each message that such a client, or a user who logged in, begins; nil lets it come.
	Sender(ctx context.Context, e *admission.Envelope) *admission.Refusal
	// Recipient is asked about each of its recipients who may have it otherwise.
	Recipient(ctx context.Context, e *admission.Envelope) *admission.Refusal
	// Unsent is told of a sender, and of each recipient, of a message that was let come and has not.
	Unsent(e *admission.Envelope)
}

// stranger tells whether a client comes by MX, from elsewhere than trusted networks.
func (s *session) stranger() bool {
	if s.server.kind != MX {
		return false
	}
	address := s.conn.Address()
	if !address.IsValid() { // A Unix socket is on this machine.
		return false
	}
	address = address.WithZone("").Unmap()
	for _, p := range s.server.cfg.Trusted {
		if p.Contains(address) {
			return false
		}
	}
	return true
}

// client is the client as the gate wants to know it.
func (s *session) client() *admission.Client {
	return &admission.Client{ID: s.conn.ID(), Address: s.conn.Address().WithZone("").Unmap().AsSlice(), Helo: s.smtp.Hostname()}
}

// meet asks the gate what is known of the client. It comes with the first MAIL, so that a client which has nothing to bring costs nothing.
func (s *session) meet() *admission.Opinion {
	if s.server.cfg.Gate == nil || !s.stranger() {
		return nil
	}
	if c := s.client(); s.opinion == nil || s.met != c.Helo { // with another name in EHLO it is another client
		ctx, cancel := s.work()
		defer cancel()
		s.opinion, s.met = s.server.cfg.Gate.Client(ctx, c), c.Helo
	}
	return s.opinion
}

// bars refuses a recipient of a client that may bring no mail. It is said at RCPT, so that the log tells what was not delivered, and never of postmasters: they are whom to ask about it
// (RFC 5321 section 4.5.1).
func (s *session) bars(tx *transaction, to delivery.Address) error {
	if !tx.unwelcome() || excepted(to) {
		return nil
	}
	return s.turnedAway(tx, to, tx.opinion.Refusal)
}

// unwelcome tells whether the client may bring mail to nobody but postmasters.
func (tx *transaction) unwelcome() bool { return tx.opinion != nil && tx.opinion.Refusal != nil }

// excepted tells whether everybody may write to an address at any time: to postmasters (RFC 5321 section 4.5.1).
func excepted(to delivery.Address) bool { return strings.EqualFold(to.Local, directory.Postmaster) }

// envelope is what the gate is to know of a message; nil where it is not asked.
func (s *session) envelope(tx *transaction) *admission.Envelope {
	e := &admission.Envelope{Opinion: tx.opinion, Sender: tx.sender.Key(), Asked: &tx.asked}
	switch {
	case s.server.cfg.Gate == nil:
		return nil
	case s.server.kind == Submission && s.who.Account != "":
		e.Account = string(s.who.Account)
	case s.stranger():
		e.Client = s.client()
	default:
		return nil
	}
	return e
}

// paces refuses a message whose sender has sent enough for now. What is refused anyway counts for nobody, least of all for a sender in whose name a client speaks that may bring nothing.
func (s *session) paces(tx *transaction) error {
	e := s.envelope(tx)
	if e == nil || tx.unwelcome() {
		return nil
	}
	ctx, cancel := s.work()
	defer cancel()
	if r := s.server.cfg.Gate.Sender(ctx, e); r != nil {
		return s.turnedAway(tx, delivery.Address{}, r)
	}
	s.count(tx, e)
	return nil
}

// admits refuses a recipient who could have the message, but not now or not from this client.
func (s *session) admits(tx *transaction, to delivery.Address) error {
	e := s.envelope(tx)
	if e == nil || e.Account == "" && excepted(to) {
		return nil
	}
	e.Recipient = to.Key()
	ctx, cancel := s.work()
	defer cancel()
	if r := s.server.cfg.Gate.Recipient(ctx, e); r != nil {
		return s.turnedAway(tx, to, r)
	}
	e.Sender = "" // counted with the message
	s.count(tx, e)
	return nil
}

// count notes what the gate has let come. A server that is being stopped ends transactions from another goroutine, hence the lock.
func (s *session) count(tx *transaction, e *admission.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx.counted = append(tx.counted, e)
}

// uncount tells the gate that nothing has come of a message.
func (s *session) uncount(tx *transaction) {
	s.mu.Lock()
	all := tx.counted
	tx.counted = nil
	s.mu.Unlock()
	if tx.arrived.Load() {
		return
	}
	for _, e := range all {
		s.server.cfg.Gate.Unsent(e)
	}
}

// turnedAway is the reply to what the gate refuses.
func (s *session) turnedAway(tx *transaction, to delivery.Address, r *admission.Refusal) error {
	s.log.Info("mail refused at the gate", "from", tx.sender.String(), "recipient", to.String(), "why", r.Why, "code", r.Code, "text", r.Text)
	if f := s.server.cfg.Metrics.Gated; f != nil {
		f(r.Why)
	}
	return reply(r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text)
}
