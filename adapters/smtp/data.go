package smtp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/door"
)

// received is a message whose bytes are durable and that no account has yet.
type received struct {
	*transaction
	id     string
	stored door.Stored
	size   int64
	wide   bool              // the header is not ASCII
	lax    bool              // it shall arrive, with verified TLS or without
	junk   bool              // it goes to the mailbox for junk
	digest [sha256.Size]byte // of what the client sent, if halves are of interest
	at     time.Time
	origin queue.Parking   // where it came from
	loops  map[string]bool // recipients for whom it was sent on before, by their keys

	dealt  sync.Once
	order  []target
	shares map[target]*share
}

// Data takes a message by DATA or BDAT (SMTP and submission).
func (s *session) Data(r io.Reader) error {
	r = s.conn.message(r)
	m, err := s.receive(r)
	if err == errDiscarded {
		s.conn.replies.Store(0)
		return accepted(m)
	}
	if err != nil {
		_, _ = io.Copy(io.Discard, r) // RFC 5321 section 4.1.1.4: the answer comes after the end of the message.
		return s.answer(err)
	}
	taken, err := s.process(m)
	if err != nil {
		return s.translate(err)
	}
	if !taken {
		if err := s.deliverAll(m); err != nil {
			return err
		}
	}
	s.reached(failBeforeReply)
	s.conn.replies.Store(0)
	return accepted(m)
}

// LMTPData takes a message by DATA or BDAT and sets a status for each recipient (RFC 2033 section 4.2).
func (s *session) LMTPData(r io.Reader, status gosmtp.StatusCollector) error {
	r = s.conn.message(r)
	m, err := s.receive(r)
	if err != nil {
		// All chunks are read before the answer, or go-smtp would give one answer where each recipient is due one.
		_, _ = io.Copy(io.Discard, r)
		return s.answer(err)
	}
	taken, err := s.process(m)
	if err != nil {
		return s.answer(err)
	}
	if taken {
		for _, r := range m.recipients {
			status.SetStatus(r.given, accepted(m))
		}
	} else {
		s.deliverEach(m, status)
	}
	s.conn.replies.Store(0)
	return nil
}

// accepted is the 250 of a message; go-smtp sends it like an error.
func accepted(m *received) error { return reply(250, 2, 0, 0, "Accepted as "+m.id) }

const failBeforeReply = "smtp.before-reply"

func (s *session) reached(point string) {
	if f := s.server.cfg.Failpoint; f != nil {
		f(point)
	}
}

// receive streams the message into the store with its trace fields on top.
func (s *session) receive(r io.Reader) (*received, error) {
	tx := s.transaction()
	if tx == nil || len(tx.recipients) == 0 {
		return nil, errNoMail
	}
	if !s.valid() {
		return nil, errRevoked
	}
	m := &received{transaction: tx, id: s.id(s.messages.Add(1)), origin: s.origin()}
	var digest hash.Hash
	if s.server.kind != LMTP && (tx.several() || !s.server.halves.empty()) {
		digest = sha256.New()
		r = io.TeeReader(r, digest)
	}
	in, stored, err := s.ingest(r, m)
	if err != nil {
		return m, err
	}
	if !s.valid() {
		return nil, errRevoked
	}
	if err := s.mayClaim(in, &stored.Summary.Envelope); err != nil {
		return nil, err
	}
	s.seen(m, in)
	m.stored, m.size, m.wide, m.at = stored, in.Size(), in.WideHeader(), time.Now()
	m.lax = in.Lax()
	if digest != nil {
		digest.Sum(m.digest[:0])
	}
	return m, nil
}

// several tells whether some copies of the message may fail where others do not.
func (tx *transaction) several() bool {
	return len(tx.recipients) > 1 || len(tx.recipients) == 1 && len(tx.recipients[0].copies) > 1
}

// transferError says who is to blame: the message, the connection or the store.
func (s *session) transferError(in *delivery.Reader, err error) error {
	if fault := in.Fault(); fault != delivery.NoFault {
		s.log.Info("message refused", "error", in.Err(), "octets", in.Size())
		return faultReplies[fault]
	}
	reading := in.Err()
	switch {
	case reading == nil:
		return err
	case errors.Is(reading, gosmtp.ErrDataReset):
		// The client gave up between two chunks. go-smtp runs BDAT in a goroutine of its own, and would hand a late result of this one to whatever
		// message comes next. So the goroutine ends here and has none. Nobody waits for it.
		runtime.Goexit()
	}
	s.log.Info("transfer ended early", "error", reading, "octets", in.Size())
	var own *gosmtp.SMTPError
	switch {
	case errors.As(reading, &own): // go-smtp's own limit of the size.
		return faultReplies[delivery.TooBig]
	case errors.Is(reading, gosmtp.ErrTooLongLine):
		return faultReplies[delivery.LongLine]
	}
	return errBrokenOff
}

// id names the n-th message of the connection.
func (s *session) id(n int64) string { return fmt.Sprintf("%s-%d", s.conn.ID(), n) }

// fields are what this server adds to a message to these recipients.
func (s *session) fields(tx *transaction, id string, to []recipient) delivery.Fields {
	now := time.Now()
	t := delivery.Trace{
		Helo: s.smtp.Hostname(), Login: tx.who.Login, Hostname: s.server.cfg.Hostname, ID: id, Time: now,
		Protocol: delivery.Protocol{Basic: s.conn.basic.Load(), LMTP: s.server.kind == LMTP, UTF8: tx.utf8, TLS: s.tls != nil, Auth: tx.who.Login != ""},
	}
	if a := s.conn.Address(); a.IsValid() {
		t.Address = a.WithZone("").String()
	}
	if s.tls != nil {
		t.Cipher = tls.CipherSuiteName(s.tls.CipherSuite)
	}
	if len(to) == 1 {
		t.For = to[0].address
	}
	f := delivery.Fields{Top: delivery.ReturnPath(tx.sender) + t.Received()}
	if tx.opinion != nil {
		f.Top = delivery.ReturnPath(tx.sender) + tx.opinion.Fields + t.Received()
	}
	if s.server.kind == Submission {
		f.Date = delivery.Date(now)
		f.MessageID = "<" + rand.Text() + "@" + s.server.cfg.Hostname + ">"
		f.NoBcc = true
	}
	return f
}

// actor is what the log names as the origin of the change.
func (s *session) actor(m *received) string {
	if m.who.Login != "" {
		return m.who.Login
	}
	return s.server.kind.String()
}
