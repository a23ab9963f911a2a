package smtp

import (
	"bytes"
	"context"
	"io"
	"slices"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/projections/door"
)

// Verifier finds out who a message is from. What it takes of time is its own matter to bound.
type Verifier interface {
	Verify(ctx context.Context, a *authres.Arrival) *authres.Verdict
}

// What a message is told that is not from whom it says. Codes are those of RFC 7372 section 3, where it has one.
var (
	errNotFrom  = reply(550, 5, 7, 26, "Refused by the DMARC policy of the domain in From: neither SPF nor DKIM passes for it")
	errSPFFails = reply(550, 5, 7, 23, "Refused: SPF says that this client may not send for the sender's domain")
	errCantTell = reply(451, 4, 7, 0, "It cannot be verified now who the message is from: try again later")
)

// verdictReply is the one table from verdicts that let nothing pass to replies.
func verdictReply(v *authres.Verdict) *gosmtp.SMTPError {
	switch {
	case v.Action == authres.Later:
		return errCantTell
	case v.Action == authres.Refuse && v.Because == "spf":
		return errSPFFails
	case v.Action == authres.Refuse:
		return errNotFrom
	}
	return nil
}

// verifies tells whether messages of this client are verified: those of strangers.
func (s *session) verifies() bool { return s.server.cfg.Verifier != nil && s.stranger() }

// ingest takes the message in. What does not get that far was not sent by whom it names, nor to whom, as far as anybody counts it.
func (s *session) ingest(r io.Reader, m *received) (*delivery.Reader, door.Stored, error) {
	in, stored, err := s.store(r, m)
	if err == nil || err == errDiscarded {
		m.arrived.Store(true)
	}
	return in, stored, err
}

// store streams the message into the store with its trace fields on top. One that is to be verified, or looked at by a filter, waits in a spool before that: the result stands above it, and needs
// its last octet (RFC 8601 section 4.1).
func (s *session) store(r io.Reader, m *received) (*delivery.Reader, door.Stored, error) {
	fields := s.fields(m.transaction, m.id, m.recipients)
	limits := s.server.cfg.Limits
	if o := m.opinion; o != nil {
		m.junk = o.Junk
	}
	verifies := s.verifies()
	if !verifies && m.filter == nil {
		in := delivery.NewReader(r, limits.Content, fields)
		content := io.Reader(in)
		if s.server.kind == Submission && s.server.cfg.Results != "" {
			content = &honest{in: in, id: s.server.cfg.Results}
		}
		stored, err := s.server.cfg.Accounts.Ingest(s.server.ctx, content)
		if err != nil {
			err = s.transferError(in, err)
		}
		return in, stored, err
	}
	in := delivery.NewReader(r, limits.Content, delivery.Fields{})
	kept := newSpool(s.server.cfg.Spool, s.server.cfg.InMemory)
	defer kept.close()
	if _, err := io.Copy(kept, in); err != nil {
		return in, door.Stored{}, s.transferError(in, err)
	}
	header, err := kept.header(in.HeaderSize())
	if err != nil {
		return in, door.Stored{}, err
	}
	rest := func() (io.ReadCloser, error) { return kept.open(int64(len(header))) }
	v := &authres.Verdict{Header: header}
	if verifies {
		v = s.verified(m, header, rest)
	}
	if refusal := verdictReply(v); refusal != nil {
		return in, door.Stored{}, refusal
	}
	m.junk, m.size = m.junk || v.Action == authres.Junk, in.Size()
	if v.Header, err = s.filtered(m, v.Header, rest); err != nil {
		return in, door.Stored{}, err
	}
	body, err := rest()
	if err != nil {
		return in, door.Stored{}, err
	}
	defer body.Close()
	// The result is above the Received field of the transfer that it is about, and below Return-Path, which the last server puts first.
	path := delivery.ReturnPath(m.sender)
	top := path + v.Top + fields.Top[len(path):]
	stored, err := s.server.cfg.Accounts.Ingest(s.server.ctx, io.MultiReader(bytes.NewReader([]byte(top)), bytes.NewReader(v.Header), body))
	return in, stored, err
}

// verified asks who a message is from.
func (s *session) verified(m *received, header []byte, rest func() (io.ReadCloser, error)) *authres.Verdict {
	arrival := &authres.Arrival{ID: m.id, Address: s.conn.Address().WithZone("").Unmap().String(), Helo: s.smtp.Hostname(), Sender: m.sender, Header: header, Rest: rest}
	if m.opinion != nil {
		arrival.Known = m.opinion.Methods
	}
	return s.server.cfg.Verifier.Verify(s.server.ctx, arrival)
}

// honest is a message without the fields that claim to be this server's results: users of one server could deceive each other with them as well as strangers (RFC 8601 section 5).
// The header, which delivery.Limits bound, is held until it is whole.
type honest struct {
	in     *delivery.Reader
	id     string
	header []byte
	whole  bool
}

func (h *honest) Read(p []byte) (int, error) {
	for !h.whole {
		n, err := h.in.Read(p)
		from := max(len(h.header)-3, 0)
		h.header = append(h.header, p[:n]...)
		end := len(h.header)
		if i := bytes.Index(h.header[from:], []byte("\r\n\r\n")); i >= 0 {
			end = from + i + 2
		} else if err == nil && !h.in.Headless() {
			continue
		} else if err != nil && err != io.EOF {
			return 0, err
		}
		kept, _ := authres.Trusted(h.header[:end:end], h.id)
		h.header, h.whole = append(kept, h.header[end:]...), true
	}
	if n := copy(p, h.header); n > 0 {
		h.header = h.header[n:]
		return n, nil
	}
	return h.in.Read(p)
}

// mailbox is where a message goes that was to go to a mailbox: what a DMARC policy wants apart goes to the one for junk, if there is one. A script may file it elsewhere.
func (s *Server) mailbox(ctx context.Context, m *received, to target) (name string, err error) {
	if !m.junk {
		return to.mailbox, nil
	}
	name = to.mailbox
	err = s.cfg.Accounts.View(ctx, to.account, func(state *account.State) error {
		boxes := state.Sorted()
		if n := slices.IndexFunc(boxes, func(b *account.Mailbox) bool { return b.SpecialUse == `\Junk` }); n >= 0 {
			name = boxes[n].Name
		}
		return nil
	})
	return name, err
}
