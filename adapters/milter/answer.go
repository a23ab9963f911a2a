package milter

import (
	"bufio"
	"context"
	"io"
	"strconv"
	"strings"

	gomilter "github.com/emersion/go-milter"
	"github.com/streampost/streampost/domain/admission"
)

// clean is a value that a milter is told: it ends at a NUL there.
func clean(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// verdict is what follows from an answer.
func (p *part) verdict(a *gomilter.Action) *admission.Refusal {
	switch a.Code {
	case gomilter.ActReject:
		p.outcome = "refuse"
		return &admission.Refusal{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "Refused by a filter", Why: "milter"}
	case gomilter.ActTempFail:
		p.outcome = "later"
		return &admission.Refusal{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "A filter wants it later, try again", Why: "milter"}
	case gomilter.ActReplyCode:
		r := reply(a.SMTPCode, a.SMTPText)
		p.outcome = "refuse"
		if r.Code < 500 {
			p.outcome = "later"
		}
		return r
	case gomilter.ActDiscard:
		p.outcome, p.passed, p.discard = "discard", true, true
	case gomilter.ActAccept:
		p.outcome, p.passed = "", true
	}
	return nil
}

// reply is an answer in a milter's own words: a code of RFC 5321, perhaps one of RFC 3463, and a text. 421, which would end the connection, is 451.
func reply(code int, text string) *admission.Refusal {
	r := &admission.Refusal{Code: code, Enhanced: [3]int{5, 7, 1}, Why: "milter"}
	if code < 400 || code > 599 || code == 421 {
		r.Code = 451
	}
	if r.Code < 500 {
		r.Enhanced[0] = 4
	}
	text = admission.Printable(text)
	first, rest, _ := strings.Cut(text, " ")
	if parts := strings.Split(first, "."); len(parts) == 3 && parts[0] == strconv.Itoa(r.Enhanced[0]) {
		subject, err := strconv.ParseUint(parts[1], 10, 10)
		detail, bad := strconv.ParseUint(parts[2], 10, 10)
		if err == nil && bad == nil {
			r.Enhanced[1], r.Enhanced[2], text = int(subject), int(detail), rest
		}
	}
	if r.Text = text; text == "" {
		r.Text = "Refused by a filter"
	}
	return r
}

// maxShown bounds what a milter is shown of one field, name and value. A field is one packet, and programs leave the connection at one of more than 64 KiB: so a longer field would have a message go on
// without them.
const maxShown = 60 << 10

// show shows one milter the message, and does what it asks for.
func (p *part) show(ctx context.Context, f *admission.Filtered, rest io.Reader) {
	var changes []gomilter.ModifyAction
	p.outcome = "" // What it said of single recipients is not what becomes of the message.
	header := fields(f.Header)
	f.Refusal = p.stage(ctx, func() (*gomilter.Action, error) {
		for _, h := range header {
			if h.name == "" || len(h.name) > maxShown { // All of one name are as long, so a milter counts those of a name as replaced does.
				continue
			}
			value := clean(h.value())
			if a, err := p.session.HeaderField(h.name, value[:min(len(value), maxShown-len(h.name))]); err != nil || a.Code != gomilter.ActContinue {
				return a, err
			}
		}
		if a, err := p.session.HeaderEnd(); err != nil || a.Code != gomilter.ActContinue {
			return a, err
		}
		if a, err := p.body(rest); err != nil || a.Code != gomilter.ActContinue {
			return a, err
		}
		var a *gomilter.Action
		var err error
		changes, a, err = p.session.End()
		return a, err
	})
	f.Discard = p.discard
	if f.Refusal != nil || f.Discard || p.outcome == failed {
		return
	}
	p.change(f, header, changes)
}

// body shows what follows the header, without the empty line.
func (p *part) body(rest io.Reader) (*gomilter.Action, error) {
	in := bufio.NewReaderSize(rest, gomilter.MaxBodyChunk)
	if line, _ := in.Peek(2); string(line) == "\r\n" {
		_, _ = in.Discard(2)
	}
	chunk := make([]byte, gomilter.MaxBodyChunk)
	for {
		n, err := io.ReadFull(in, chunk)
		if n > 0 {
			if a, err := p.session.BodyChunk(chunk[:n]); err != nil || a.Code != gomilter.ActContinue {
				return a, err
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return &gomilter.Action{Code: gomilter.ActContinue}, nil
		default:
			return nil, err
		}
	}
}

// change does what a milter asks for.
func (p *part) change(f *admission.Filtered, header []field, changes []gomilter.ModifyAction) {
	if most := p.owner.milters.cfg.Limits.Changes; len(changes) > most {
		p.log().Warn("a milter wants more changes than are made", "wanted", len(changes), "made", most)
		changes = changes[:most]
	}
	changed := false
	for _, c := range changes {
		switch c.Code {
		case gomilter.ActAddHeader, gomilter.ActInsertHeader:
			one, ok := made(c.HeaderName, c.HeaderValue)
			if !ok {
				p.log().Warn("a milter adds what is no field", "name", admission.Printable(c.HeaderName))
				continue
			}
			at := len(header)
			if c.Code == gomilter.ActInsertHeader {
				at = int(min(c.HeaderIndex, uint32(len(header))))
			}
			header, changed = inserted(header, at, one), true
		case gomilter.ActChangeHeader:
			header, changed = replaced(header, c.HeaderName, int(min(c.HeaderIndex, 1<<20)), c.HeaderValue), true
		case gomilter.ActQuarantine:
			f.Junk, p.outcome = true, "junk"
			p.log().Info("a milter wants the message apart: it goes to the mailbox for junk", "reason", admission.Printable(c.Reason))
		default:
			p.log().Warn("a milter wants what it was not offered, which is not done", "code", string(rune(c.Code)))
		}
	}
	if changed {
		f.Header = joined(header)
	}
}
