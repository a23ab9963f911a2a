package smtp

import (
	"context"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// conflictAttempts bounds how often one delivery is tried while the account's other writers win.
const conflictAttempts = 3

// deliver adds the message to one mailbox. Only a lost race is tried again: after any other error it may be unknown what the log has.
func (s *Server) deliver(actor string, m *received, to target) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Limits.Work)
	defer cancel()
	thread, err := s.cfg.Accounts.Thread(ctx, to.account, &m.stored.Summary)
	if err != nil {
		return err
	}
	now := m.at.Unix()
	add := account.AddMessage{
		Mailbox: to.mailbox, Fallback: true, Blob: m.stored.Blob, Summary: m.stored.Summary, Thread: thread, Internal: now, Now: now,
	}
	for attempt := 1; ; attempt++ {
		_, err = s.cfg.Accounts.Do(ctx, to.account, actor, add)
		if !domain.Is(err, domain.Conflict) || attempt == conflictAttempts {
			return err
		}
	}
}

// targets gives each mailbox once, however many of its addresses were named.
func (m *received) targets() []target {
	seen := make(map[target]bool, len(m.recipients))
	var list []target
	for _, r := range m.recipients {
		if !seen[r.target] {
			seen[r.target] = true
			list = append(list, r.target)
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

// deliverEach answers for each recipient as soon as its mailbox has the message (LMTP).
func (s *session) deliverEach(m *received, status gosmtp.StatusCollector) {
	given := map[target][]string{}
	for _, r := range m.recipients {
		given[r.target] = append(given[r.target], r.given)
	}
	count := 0
	s.each(m, m.targets(), func(to target, err error) {
		answer := accepted(m)
		if err != nil {
			s.log.Warn("not delivered", "id", m.id, "account", to.account, "error", err)
			answer = s.translate(err)
		} else {
			count++
			s.reached(failBeforeReply)
		}
		for _, name := range given[to] {
			status.SetStatus(name, answer)
		}
	})
	s.note(m, count)
}

// deliverAll delivers to all recipients or gives the one reply that stands for what failed (SMTP). See the package comment for mixed outcomes.
func (s *session) deliverAll(m *received) error {
	key := halfKey{sender: m.sender.Key(), digest: m.digest}
	var open, have []target
	for _, to := range m.targets() {
		if s.server.halves.has(key, to) {
			have = append(have, to)
		} else {
			open = append(open, to)
		}
	}
	var first error
	s.each(m, open, func(to target, err error) {
		if err == nil {
			have = append(have, to)
			return
		}
		s.log.Warn("not delivered", "id", m.id, "account", to.account, "error", err)
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
		s.server.halves.remember(key, have, time.Now())
		s.log.Error("delivered to some recipients only: the client is asked to send again", "id", m.id, "delivered", len(have), "error", first)
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
