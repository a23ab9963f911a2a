package smtp

import (
	"context"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/projections/outgoing"
)

// conflictAttempts bounds how often one delivery is tried while the account's other writers win.
const conflictAttempts = 3

// deliver adds the message to one mailbox. Only a lost race is tried again: after any other error it may be unknown what the log has.
func (s *Server) deliver(actor string, m *received, to target) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Limits.Work)
	defer cancel()
	switch {
	case m.passed(to):
		return faultReplies[delivery.Loop]
	case to.parked != "":
		return s.cfg.Parking.Park(ctx, outgoing.RewritingErrors, m.entry(m.outgoing(to)), to.parked)
	case to.queue:
		return s.cfg.Queue.Accept(ctx, m.outgoing(to))
	}
	err := s.add(ctx, actor, m, to)
	if err != nil && s.cfg.Queue != nil && m.spread(to) {
		return s.later(m, to, err)
	}
	return err
}

// add adds the message to a mailbox.
func (s *Server) add(ctx context.Context, actor string, m *received, to target) error {
	thread, err := s.cfg.Accounts.Thread(ctx, to.account, &m.stored.Summary)
	if err != nil {
		return err
	}
	mailbox, err := s.mailbox(ctx, m, to)
	if err != nil {
		return err
	}
	now := m.at.Unix()
	add := account.AddMessage{
		Mailbox: mailbox, Fallback: true, Blob: m.stored.Blob, Summary: m.stored.Summary, Thread: thread, Internal: now, Now: now,
	}
	for attempt := 1; ; attempt++ {
		err = s.file(ctx, actor, m, to, add)
		if !domain.Is(err, domain.Conflict) || attempt == conflictAttempts {
			return err
		}
	}
}

// file adds the message as the account's script says.
func (s *Server) file(ctx context.Context, actor string, m *received, to target, add account.AddMessage) error {
	if s.cfg.Filer == nil {
		_, err := s.cfg.Accounts.Do(ctx, to.account, actor, add)
		return err
	}
	mail := filing.Mail{ID: m.id, Add: add, From: m.sender, TLS: m.demand(), Junk: m.junk, UTF8: m.utf8}
	// RFC 5429 section 2.1.1: SMTP has one reply after the data, so that a message for several can be refused by none of them alone.
	mail.MayRefuse = s.kind == LMTP && !m.spread(to) || len(m.targets()) == 1
	mail.To = m.first(to)
	return s.cfg.Filer.Deliver(ctx, to.account, actor, mail)
}

// remembered is what halves know the recipients of targets by.
func (m *received) remembered(targets ...target) (list []target) {
	for _, to := range targets {
		for _, p := range m.share(to).dues {
			list = append(list, p.remembered())
		}
	}
	return list
}

// each delivers to all targets, some at a time, and calls done with each outcome as it comes; done is never called twice at a time.
func (s *session) each(m *received, targets []target, done func(target, error)) {
	if len(targets) == 1 {
		done(targets[0], s.server.deliver(s.actor(m), m, targets[0]))
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, s.server.cfg.Limits.Parallel)
	for _, to := range targets {
		slots <- struct{}{}
		wg.Go(func() {
			err := s.server.deliver(s.actor(m), m, to)
			<-slots
			mu.Lock()
			defer mu.Unlock()
			done(to, err)
		})
	}
	wg.Wait()
}

// answering is a recipient whose answer waits for some of its copies.
type answering struct {
	given string
	left  int
	err   error
}

// deliverEach answers for each recipient as soon as its mailbox has the message (LMTP).
func (s *session) deliverEach(m *received, status gosmtp.StatusCollector) {
	waiting := map[target][]*answering{}
	for _, r := range m.recipients {
		a := &answering{given: r.given, left: len(r.copies)}
		for _, p := range r.copies {
			waiting[p.target] = append(waiting[p.target], a)
		}
	}
	count := 0
	traced := s.tracing(m)
	defer traced.done()
	s.each(m, m.targets(), func(to target, err error) {
		traced.note(to, err)
		if err != nil {
			s.log.Warn("not delivered", "id", m.id, "account", to.account, "error", err)
		} else {
			count++
			s.reached(failBeforeReply)
		}
		for _, a := range waiting[to] {
			if a.left--; a.err == nil && err != nil {
				a.err = s.translate(err)
			}
			switch {
			case a.left > 0:
			case a.err != nil:
				status.SetStatus(a.given, a.err)
			default:
				status.SetStatus(a.given, accepted(m))
			}
		}
	})
	s.note(m, count)
}

// deliverAll delivers to all recipients or gives the one reply that stands for what failed (SMTP). See the package comment for mixed outcomes.
func (s *session) deliverAll(m *received) error {
	key := halfKey{sender: m.sender.Key(), digest: m.digest}
	var open, have, failed []target
	for _, to := range m.targets() {
		if s.server.halves.has(key, m.remembered(to)...) {
			have = append(have, to)
		} else {
			open = append(open, to)
		}
	}
	var first error
	traced := s.tracing(m)
	defer traced.done()
	s.each(m, open, func(to target, err error) {
		traced.note(to, err)
		if err == nil {
			have = append(have, to)
			return
		}
		s.log.Warn("not delivered", "id", m.id, "account", to.account, "error", err)
		failed = append(failed, to)
		if first == nil || domain.KindOf(err) == domain.Unavailable { // Later is better than never.
			first = err
		}
	})
	switch {
	case first == nil:
		s.server.halves.forget(key)
		s.note(m, len(have))
		return nil
	case len(have) == 0:
		return s.translate(first)
	default:
		s.server.halves.remember(key, m.remembered(have...), m.remembered(failed...), time.Now())
		s.log.Warn("delivered to some recipients only: the client is asked to send again", "id", m.id, "delivered", len(have), "error", first)
		return s.translate(errPartial)
	}
}

// note is the one log line of an accepted message.
func (s *session) note(m *received, count int) {
	if count == 0 {
		return
	}
	took := time.Since(m.at)
	s.log.Info("message delivered", "id", m.id, "from", m.sender.String(), "login", m.who.Login, "mailboxes", count, "octets", m.size, "took", took)
	if f := s.server.cfg.Metrics.Delivered; f != nil {
		f(count, m.size, took)
	}
}
