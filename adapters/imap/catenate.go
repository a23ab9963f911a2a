package imap

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

func init() {
	appendData["CATENATE"] = dataForm{"CATENATE", receiveCatenated}
	advertise("CATENATE", whenAuthenticated)
}

// maxCatenated bounds the parts of one message.
const maxCatenated = 1000

// receiveCatenated takes a message that is put together from literals and from parts of messages that are there (RFC 4469). The parts are read
// one after the other, as the blob store takes them in, and what they come to is bounded as every message is. They are copied, so nothing refers
// to itself.
func receiveCatenated(ctx context.Context, u *uploads, d *wire.Decoder, add *account.AddMessage) error {
	if !d.ExpectSP() || !d.ExpectSpecial('(') {
		return d.Err()
	}
	parts := &catenation{ctx: ctx, u: u, d: d, add: add}
	defer parts.close()
	if err := parts.begin(); err != nil { // so that nothing is stored of a message whose first part is refused
		return err
	}
	stored, err := u.storeBinary(ctx, parts)
	if err == nil && stored.Blob.Size == 0 {
		return domain.Errorf(domain.Invalid, "a message cannot be empty")
	}
	add.Blob, add.Summary = stored.Blob, stored.Summary
	return err
}

// catenation reads the parts as they come.
type catenation struct {
	ctx context.Context
	u   *uploads
	d   *wire.Decoder
	add *account.AddMessage

	count   int
	size    int64 // of the parts so far
	part    io.Reader
	closing io.Closer // of part, when it is a stored one
	utf8    bool      // a ")" follows the part
	ended   bool      // there is no further one
}

// Read gives the octets of the parts. After the last one it has read ")".
func (p *catenation) Read(b []byte) (int, error) {
	for !p.ended {
		n, err := p.part.Read(b)
		if n > 0 || err != nil && err != io.EOF {
			return n, err
		}
		if err == io.EOF {
			if err := p.end(); err != nil {
				return 0, err
			}
			if p.d.Special(')') {
				p.ended = true
				break
			}
			if !p.d.ExpectSP() {
				return 0, p.d.Err()
			}
			if err := p.begin(); err != nil {
				return 0, err
			}
		}
	}
	return 0, io.EOF
}

// end ends a part.
func (p *catenation) end() error {
	p.close()
	if p.utf8 {
		p.utf8 = false
		p.d.ExpectSpecial(')')
	}
	return p.d.Err()
}

func (p *catenation) close() {
	if p.closing != nil {
		_ = p.closing.Close()
		p.closing = nil
	}
}

// begin parses the next part (RFC 4469 section 5, cat-part).
func (p *catenation) begin() error {
	if p.count++; p.count > maxCatenated {
		return &wire.SyntaxError{Code: "LIMIT", Text: fmt.Sprintf("a message has at most %d parts to catenate", maxCatenated)}
	}
	var kind string
	if !p.d.ExpectName(&kind) {
		return p.d.Err()
	}
	switch {
	case kind == "TEXT" && p.d.ExpectSP():
		return p.literal(p.d.ExpectLiteral())
	case kind == "UTF8" && !p.u.c.without["UTF8=ACCEPT"]: // RFC 6855 section 4.
		p.utf8 = true
		l := expectUTF8(p.d)
		if err := p.u.c.acceptsUTF8(); err != nil && l != nil {
			return err
		}
		return p.literal(l)
	case kind == "URL" && p.d.ExpectSP():
		return p.url()
	case p.d.Err() != nil:
		return p.d.Err()
	}
	return wire.Syntaxf("CATENATE takes TEXT and URL")
}

// admit counts a part and refuses what becomes too large.
func (p *catenation) admit(size int64) error {
	if limit := p.u.c.server.limits.Append; size > limit-p.size {
		return tooBig(limit) // RFC 4469 section 4.2.
	}
	p.size += size
	return p.u.admit(p.ctx, p.add, max(p.size, 1)) // an empty part is not yet an empty message.
}

func (p *catenation) literal(l *wire.Literal) (err error) {
	if l == nil {
		return p.d.Err()
	}
	if err := p.admit(l.Size); err != nil {
		return err
	}
	if p.part, err = l.Accept(); err == nil && !l.Binary {
		p.part = textReader{p.part}
	}
	return err
}

func (p *catenation) url() error {
	var text string
	if !p.d.ExpectAString(&text) {
		return p.d.Err()
	}
	path, absolute := strings.CutPrefix(text, "/")
	c, within := p.u.c, domain.MailboxID(0)
	if c.sel != nil && !absolute {
		within = c.sel.mailbox // whatever its name is by now
	}
	m, ok := parseMessageURL(path, within)
	if !ok || len(text) > maxURL || m.rest != "" || !absolute && m.within == 0 { // section 3: a server or another user is out of scope.
		return badURL(text, domain.Errorf(domain.Invalid, "the URL is not one of a message or a part of it"))
	}
	at, err := p.source(&m)
	if err != nil {
		return err
	}
	if at.id == "" {
		return badURL(text, errBadURL)
	}
	found, err := c.locate(p.ctx, at.id, &m, false, func(s *account.State) *account.Mailbox {
		box, ok := s.Mailboxes[m.within]
		if m.within == 0 {
			box, ok = s.Mailbox(at.name)
		}
		if !ok {
			return nil
		}
		return c.readable(s, at.owner, box.ID)
	})
	if err = c.unlessGone(at.owner, err); err == account.ErrNoMailbox {
		err = errBadURL
	}
	if domain.Is(err, domain.NotFound) {
		return badURL(text, err)
	}
	if err == nil {
		err = p.admit(found.size)
	}
	if err != nil {
		return err
	}
	if limit := p.u.c.server.limits.Append; found.size > limit-p.u.copied { // a short command does not fill the disk.
		return coded("TOOBIG", domain.Errorf(domain.TooLarge, "one command takes at most %d octets from other messages", limit))
	}
	p.u.copied += found.size
	opened, err := found.open()
	if err != nil {
		return err
	}
	p.part, p.closing = opened, opened
	return nil
}

// source finds out whose message a URL names.
func (p *catenation) source(m *messageURL) (place, error) {
	if m.within != 0 {
		return place{owner: p.u.c.sel.owner}, nil
	}
	return p.u.c.whose(p.ctx, m.mailbox)
}

// badURL names the URL in a response code (RFC 4469 section 4.1), whose text holds neither "]" nor anything that ends a line.
func badURL(text string, err error) error {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == ']' {
			return '?'
		}
		return r
	}, text[:min(len(text), maxURL)])
	return coded("BADURL "+text, err)
}
