package imap

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// URLs of messages and their parts (RFC 5092), as CATENATE and URLAUTH name them.

// maxURL bounds a URL in octets.
const maxURL = 4096

// messageURL is what follows the server in a URL of a message or a part of it (RFC 5092 section 11, imessagepart).
type messageURL struct {
	mailbox  string
	within   domain.MailboxID // instead of mailbox: what a URL without one is relative to
	validity uint32           // 0: any
	uid      domain.UID
	section  section
	rest     string // what follows these, such as ";URLAUTH="
}

// parseMessageURL takes a URL apart from behind the first "/" of its path. Within is the mailbox to which a URL without one is relative
// (RFC 4469 section 3); 0 if there is none.
func parseMessageURL(text string, within domain.MailboxID) (m messageURL, ok bool) {
	box, rest, ok := strings.Cut(text, ";")
	if !ok {
		return m, false
	}
	rest = ";" + rest
	if n, after, found := cutNumber(rest, ";UIDVALIDITY="); found { // RFC 5092 section 3.
		m.validity, rest = n, after
	} else if len(box) > 0 {
		if box, ok = strings.CutSuffix(box, "/"); !ok {
			return m, false
		}
		rest = "/" + rest
	} else {
		rest = "/" + rest
	}
	if m.mailbox, ok = unescape(box); !ok {
		return m, false
	}
	if m.mailbox == "" {
		m.within = within
	}
	n, rest, ok := cutNumber(rest, "/;UID=")
	if !ok || n == 0 || m.mailbox == "" && within == 0 {
		return m, false
	}
	m.uid = domain.UID(n)
	spec := ""
	if after, found := cutWord(rest, "/;SECTION="); found {
		end := len(after)
		if i := strings.IndexByte(after, ';'); i >= 0 {
			end = i
		}
		spec, rest = after[:end], after[end:]
		if body, more := strings.CutSuffix(spec, "/"); more && rest != "" {
			spec, rest = body, "/"+rest
		}
		if spec, ok = unescape(spec); !ok || spec == "" {
			return m, false
		}
	}
	if !m.section.parseText(spec) {
		return m, false
	}
	if after, found := cutWord(rest, "/;PARTIAL="); found {
		if rest, ok = m.section.cutPartial(after); !ok {
			return m, false
		}
	}
	m.rest = rest
	return m, true
}

// parseText reads a section as it stands in a URL: without brackets.
func (s *section) parseText(text string) bool {
	if strings.ContainsAny(text, "\r\n{") { // nothing that the Decoder would take for more than a line
		return false
	}
	d := wire.NewDecoder(strings.NewReader("["+text+"]\r\n"), wire.BeforeLogin)
	d.Begin()
	return s.parse(d) && d.ExpectCRLF()
}

// cutPartial reads "offset" or "offset.size" (RFC 5092 section 11, partial-range).
func (s *section) cutPartial(text string) (rest string, ok bool) {
	digits := func(t string) (n int64, rest string, ok bool) {
		i := 0
		for i < len(t) && t[i] >= '0' && t[i] <= '9' {
			i++
		}
		n, err := strconv.ParseInt(t[:i], 10, 64)
		return n, t[i:], err == nil
	}
	if s.origin, rest, ok = digits(text); !ok {
		return "", false
	}
	s.partial, s.count = true, 1<<63-1
	if after, more := strings.CutPrefix(rest, "."); more {
		if s.count, rest, ok = digits(after); !ok || s.count == 0 {
			return "", false
		}
	}
	return rest, true
}

// cutWord is strings.CutPrefix without regard to case.
func cutWord(text, prefix string) (rest string, found bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// cutNumber reads a number of 32 bits behind a prefix.
func cutNumber(text, prefix string) (n uint32, rest string, ok bool) {
	rest, ok = cutWord(text, prefix)
	if !ok {
		return 0, text, false
	}
	i := 0
	for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' {
		i++
	}
	wide, err := strconv.ParseUint(rest[:i], 10, 32)
	return uint32(wide), rest[i:], err == nil
}

// unescape undoes percent-encoding.
func unescape(text string) (string, bool) {
	plain, err := url.PathUnescape(text)
	return plain, err == nil
}

// octets are those that a URL names.
type octets struct {
	size   int64
	open   func() (io.ReadCloser, error)
	reply  fetchReply
	mail   mailRow
	nested *section
}

// maxComputed bounds a part that is computed from the message before it is used: HEADER.FIELDS.
const maxComputed = 1 << 20

var errBadURL = domain.Errorf(domain.NotFound, "the URL names no message or part that is there")

// locate looks up what a URL names in an account (RFC 4469 section 3: as FETCH BODY would give it, and without \Seen). Nothing is read yet of a part
// that is a range of its message. find finds the mailbox, inside a View, and may refuse it.
func (c *conn) locate(ctx context.Context, id domain.AccountID, m *messageURL, structure bool, find func(*account.State) *account.Mailbox) (*octets, error) {
	within, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	var mailbox domain.MailboxID
	if err := c.accounts.View(within, id, func(s *account.State) error {
		box := find(s)
		if box == nil || m.validity != 0 && m.validity != box.UIDValidity {
			return errBadURL
		}
		if _, ok := box.Index(m.uid); !ok {
			return errBadURL
		}
		mailbox = box.ID
		return nil
	}); err != nil {
		return nil, err
	}
	o := &octets{nested: &m.section}
	want := m.section.columns(structure)
	found := false
	for e, err := range c.accounts.Emails(within, id, mailbox, domain.UIDSet(nil).Add(m.uid), want) {
		if err != nil {
			return nil, err
		}
		o.mail = mailRow{uid: e.UID, summary: e.Summary, blob: e.Blob}
		found = true
	}
	if !found {
		return nil, errBadURL
	}
	o.reply = fetchReply{c: c, ctx: ctx, mail: &o.mail}
	at := span{0, o.mail.blob.Size}
	if o.mail.summary != nil {
		if at, found = m.section.locate(&o.mail.summary.Root); !found || at.to > o.mail.blob.Size {
			return nil, errBadURL
		}
	}
	if m.section.kind == fieldsOf || m.section.kind == fieldsNotOf {
		return o, o.compute(at)
	}
	skip, n := m.section.cut(at.to - at.from)
	o.size = n
	o.open = func() (io.ReadCloser, error) {
		if n == 0 {
			return io.NopCloser(strings.NewReader("")), nil
		}
		return o.reply.open(at.from+skip, n)
	}
	return o, nil
}

// compute makes the octets of HEADER.FIELDS.
func (o *octets) compute(at span) error {
	m := measure{kept: make([]byte, 0, min(at.to-at.from+2, maxComputed))}
	if err := o.nested.header(&o.reply, at)(&m); err != nil {
		return o.reply.unreadable(err)
	}
	if m.size > int64(len(m.kept)) {
		return domain.Errorf(domain.TooLarge, "the header is too large")
	}
	skip, n := o.nested.cut(m.size)
	o.size = n
	o.open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.kept[skip : skip+n])), nil }
	return nil
}
