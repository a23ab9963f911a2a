package smtp

import (
	"slices"

	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/outgoing"
)

// process asks the pipeline what becomes of a message. taken says that it is seen to, for all recipients; otherwise they are delivered to.
func (s *session) process(m *received) (taken bool, err error) {
	if s.server.cfg.Pipeline == nil {
		return false, nil
	}
	mail := m.mail()
	local := make(map[string]bool, len(m.recipients))
	for i := range m.recipients {
		r := &m.recipients[i]
		m.address(mail, r.leaving(r.address))
		local[r.address.String()] = s.local(r.address) || slices.ContainsFunc(r.copies, func(p leg) bool { return p.account != "" })
	}
	e := m.entry(mail)
	ctx, cancel := s.work()
	defer cancel()
	if taken, err = s.server.cfg.Pipeline.Accept(ctx, e, local); err != nil {
		s.log.Warn("not processed", "id", m.id, "error", err)
		return false, err
	}
	if taken {
		s.note(m, len(e.Recipients))
	}
	return taken, nil
}

// entry is a message as the pipeline and repositories take it: with where it came from.
func (m *received) entry(mail *outgoing.Mail) *queue.Entry {
	e := mail.Entry()
	e.Junk, e.Parking = m.junk, m.origin
	return e
}

// origin is where the messages of a session come from.
func (s *session) origin() queue.Parking {
	from := queue.Parking{RemoteHost: s.smtp.Hostname()}
	if a := s.conn.Address(); a.IsValid() {
		from.RemoteAddress = a.WithZone("").Unmap().String()
	}
	return from
}
