package smtp

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain/trace"
)

// tracing gathers what became of the recipients of a message, for the trace. nil gathers nothing.
type tracing struct {
	s        *session
	m        *received
	accepted []string
	refused  map[string][]string // by reply
}

func (s *session) tracing(m *received) *tracing {
	if s.server.cfg.Trace == nil {
		return nil
	}
	return &tracing{s: s, m: m}
}

// note is told of each target.
func (t *tracing) note(to target, err error) {
	if t == nil {
		return
	}
	for _, name := range t.m.names(to) {
		if err == nil {
			t.accepted = append(t.accepted, name)
			continue
		}
		text := err.Error()
		var reply *gosmtp.SMTPError
		if errors.As(t.s.translate(err), &reply) {
			code := reply.EnhancedCode
			text = strconv.Itoa(reply.Code) + " " + strconv.Itoa(code[0]) + "." + strconv.Itoa(code[1]) + "." + strconv.Itoa(code[2]) + " " + strings.ReplaceAll(reply.Message, "\n", " ")
		}
		if t.refused == nil {
			t.refused = map[string][]string{}
		}
		t.refused[text] = append(t.refused[text], name)
	}
}

// names are those that a target has in the trace: the recipient's, and where mappings lead one to several places, those of the places.
func (m *received) names(to target) (names []string) {
	for _, p := range m.share(to).dues {
		if len(p.of.copies) == 1 {
			names = append(names, p.of.address.String())
		} else {
			names = append(names, p.to.String())
		}
	}
	return names
}

// record is what a record tells of a message, whatever became of it.
func (s *session) record(m *received) trace.Record {
	r := trace.Record{
		MessageID: m.stored.Summary.Envelope.MessageID, Transfer: m.id, Login: m.who.Login, Protocol: s.server.kind.String(), From: m.sender.String(), Octets: m.size,
		Client: s.conn.RemoteAddr().String(),
	}
	if host, _, err := net.SplitHostPort(r.Client); err == nil {
		r.Client = host
	}
	return r
}

// done hands it over.
func (t *tracing) done() {
	if t == nil {
		return
	}
	r := t.s.record(t.m)
	r.Took = time.Since(t.m.at).Milliseconds()
	slices.Sort(t.accepted) // They come as mailboxes have them.
	if len(t.accepted) > 0 {
		r.Event, r.To, r.Status = trace.Accepted, t.accepted, "250"
		t.s.server.cfg.Trace(r)
	}
	for text, to := range t.refused {
		r.Event, r.To, r.Text = trace.Refused, to, text
		r.Status, r.Text, _ = strings.Cut(text, " ")
		t.s.server.cfg.Trace(r)
	}
}
