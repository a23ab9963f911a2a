package smtp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/domain/srs"
	"github.com/streampost/streampost/projections/outgoing"
)

// route finds where mail for a recipient goes, or why it goes nowhere. Mappings may send it on to other servers from every listener: who made them has said where
// to, so that no stranger can.
func (s *session) route(ctx context.Context, tx *transaction, r *recipient) error {
	if srs.Is(r.address.Local) && len(s.server.cfg.SRS) > 0 && s.local(r.address) { // before any catch-all of the domain
		sender, err := s.server.cfg.SRS.Reverse(r.address, time.Now().Unix())
		if err == nil {
			return s.comesBack(ctx, tx, r, sender)
		}
		s.log.Info("not a sender that was rewritten here", "recipient", r.address.String(), "error", err)
	}
	if err := s.unmark(tx, r); err != nil {
		return err
	}
	found, err := s.rewrite(ctx, r.address)
	var fault *rewriting.Fault
	switch {
	case errors.As(err, &fault):
		return s.entangled(r, fault)
	case domain.Is(err, domain.NotFound):
		if s.leaves(r.address) {
			r.copies = []leg{{target{queue: true}, r.address}}
			return nil
		}
		return s.strange(r.address)
	case err != nil:
		return err
	}
	if refusal, refused := found.Refusal(); refused {
		s.log.Info("recipient refused", "recipient", r.address.String(), "mapping", refusal.String())
		return reply(refusal.Code, refusal.Enhanced[0], refusal.Enhanced[1], refusal.Enhanced[2], refusal.Text)
	}
	for _, d := range found.Dead {
		s.log.Warn("a mapping leads nowhere: others get the message", "recipient", r.address.String(), "target", d.Address)
	}
	for _, f := range found.Finals {
		p, err := s.leg(ctx, tx, r, &f, len(found.Finals) == 1)
		if err != nil {
			return err
		}
		r.copies = append(r.copies, p)
	}
	return nil
}

// rewrite asks the directory. Errors: domain.NotFound for all that is not here.
func (s *session) rewrite(ctx context.Context, a delivery.Address) (*rewriting.Resolution, error) {
	if !s.local(a) {
		if strings.EqualFold(a.Local, directory.Postmaster) && strings.EqualFold(a.Domain, s.server.cfg.Hostname) {
			return s.server.cfg.Directory.Rewrite(ctx, delivery.Address{}) // RFC 5321 section 4.5.1, see dialogue.
		}
		return nil, domain.Errorf(domain.NotFound, "the domain %s is not local", a.Domain)
	}
	return s.server.cfg.Directory.Rewrite(ctx, a)
}

// leg is where one final recipient gets its copy. Only of a single one is the quota looked at now: of several, one that is full keeps the others from nothing.
func (s *session) leg(ctx context.Context, tx *transaction, r *recipient, f *rewriting.Final, single bool) (p leg, err error) {
	if f.Account == "" {
		if s.server.cfg.Queue == nil {
			return p, errNoForward
		}
		return leg{target{queue: true, sender: s.server.cfg.SRS.ReturnPath(tx.sender, r.address, s.server.cfg.Directory.LocalDomain, time.Now().Unix()).String(), passed: r.address.Key()}, f.Address}, nil
	}
	p.account, p.mailbox, p.to = f.Account, account.Inbox, f.Address
	if f.Detail != "" {
		p.to.Local += "+" + f.Detail
	}
	if len(f.Path) == 0 || f.Path[0].Kind == rewriting.Plus && len(f.Path) == 1 {
		p.to = r.address
	}
	if single {
		p.mailbox, err = s.room(ctx, tx, *r, f.Account, f.Detail)
	} else if f.Detail != "" {
		err = s.server.cfg.Accounts.View(ctx, f.Account, func(state *account.State) error {
			p.mailbox = delivery.Mailbox(state, f.Detail)
			return nil
		})
	}
	if err == nil && s.server.cfg.Queue != nil && wantsSuccess(r.options) { // The queue tells the sender when it has delivered.
		p.target = target{queue: true}
	}
	return p, err
}

// entangled is a recipient whose mappings come to no end: parked, or refused.
func (s *session) entangled(r *recipient, fault *rewriting.Fault) error {
	s.log.Warn("mappings come to no end", "recipient", r.address.String(), "error", fault, "parked", s.server.cfg.Parking != nil)
	s.server.cfg.Metrics.looped("mappings")
	if s.server.cfg.Parking == nil {
		return errEntangled
	}
	r.copies = []leg{{target{parked: fault.Error()}, r.address}}
	return nil
}

// comesBack is a recipient that this server has made of a sender of what it sent on: what comes back goes to him. Only reports do (RFC 5321 section 4.5.5), so that nobody
// sends other mail by this way.
func (s *session) comesBack(ctx context.Context, tx *transaction, r *recipient, sender delivery.Address) error {
	switch {
	case !tx.sender.IsNull():
		return errNoReport
	case s.local(sender):
		found, err := s.rewrite(ctx, sender)
		if err != nil || len(found.Finals) != 1 || found.Finals[0].Account == "" {
			return errRcptUnknown
		}
		p, err := s.leg(ctx, tx, r, &found.Finals[0], true)
		r.copies = []leg{p}
		return err
	case s.server.cfg.Queue == nil:
		return errNoForward
	}
	r.copies = []leg{{target{queue: true}, sender}}
	return nil
}

// reroute makes a message one that is sent on for a recipient.
func (m *received) reroute(mail *outgoing.Mail, to target) {
	if sender, err := delivery.ParseAddress(to.sender); err == nil {
		mail.Sender = sender
	}
	mail.Top = delivery.DeliveredTo(m.named(to.passed))
}

// named finds a recipient by its key.
func (m *received) named(key string) delivery.Address {
	i := slices.IndexFunc(m.recipients, func(r recipient) bool { return r.address.Key() == key })
	return m.recipients[i].address
}

// seen notes the recipients for whom the message was sent on before: it has come back.
func (s *session) seen(m *received, in *delivery.Reader) {
	for _, r := range m.recipients {
		away := slices.ContainsFunc(r.copies, func(p leg) bool { return p.passed != "" })
		if key := r.address.Key(); away && in.Passed(key) {
			if m.loops == nil {
				m.loops = map[string]bool{}
			}
			m.loops[key] = true
			s.log.Warn("the message was sent on for this recipient before: it goes round in a loop", "id", m.id, "recipient", r.address.String())
			s.server.cfg.Metrics.looped("servers")
		}
	}
}

func (m *Metrics) looped(found string) {
	if m.Looped != nil {
		m.Looped(found)
	}
}

// later leaves to the queue what could not be added to a mailbox now: it tries again, and tells the sender when it gives up. It has its own time: that of the mailbox may be over.
func (s *Server) later(m *received, to target, why error) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Limits.Work)
	defer cancel()
	s.cfg.Logger.Info("a copy is left to the queue", "id", m.id, "account", to.account, "error", why)
	return s.cfg.Queue.Accept(ctx, m.outgoing(to))
}
