package imap

import (
	"context"
	"crypto/hmac"
	"io"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
)

// urlWish is one URL of URLFETCH with what is wanted of it (RFC 5524 section 3.1); nothing named means its octets alone.
type urlWish struct {
	text  string
	items []string
}

var urlItems = []string{"BODYPARTSTRUCTURE", "BINARY", "BODY"}

// parse reads a URL, or one in parentheses with parameters.
func (w *urlWish) parse(c *conn, d *wire.Decoder) bool {
	if !d.Next('(') {
		return d.ExpectAString(&w.text)
	}
	if c.without["URLAUTH=BINARY"] {
		return d.Fail(wire.Syntaxf("URLFETCH takes URLs"))
	}
	first := true
	return d.ExpectList(func() bool {
		if first {
			first = false
			return d.ExpectAString(&w.text)
		}
		var item string
		if !d.ExpectName(&item) {
			return false
		}
		if !slices.Contains(urlItems, item) || slices.Contains(w.items, item) || // each once, and one form of the data.
			item == "BODY" && slices.Contains(w.items, "BINARY") || item == "BINARY" && slices.Contains(w.items, "BODY") {
			return d.Fail(wire.Syntaxf("URLFETCH takes BODYPARTSTRUCTURE and one of BINARY and BODY"))
		}
		w.items = append(w.items, item)
		return true
	}) && (!first || d.Fail(wire.Syntaxf("URLFETCH takes URLs")))
}

// runURLFetch is URLFETCH (RFC 4467 section 7, RFC 5524). Why a URL gives NIL is not told, so nobody learns from it who or what there is.
func runURLFetch(ctx context.Context, c *conn, cmd *command) error {
	var wishes []urlWish
	d := cmd.dec
	for len(wishes) == 0 || d.Next(' ') {
		var w urlWish
		if !d.ExpectSP() || !w.parse(c, d) {
			return d.Err()
		}
		if len(wishes) == maxURLs {
			return &wire.SyntaxError{Code: "LIMIT", Text: "the command names too many URLs"}
		}
		wishes = append(wishes, w)
	}
	if !d.ExpectCRLF() {
		return d.Err()
	}
	for i := range wishes {
		if err := c.sendURL(ctx, &wishes[i]); err != nil {
			return err
		}
	}
	return nil
}

// authorized finds what a URL gives the right to read; nil when it gives none.
func (c *conn) authorized(ctx context.Context, w *urlWish) (*octets, error) {
	u, ok := parseAuthURL(w.text, true)
	if !ok || !u.admits(c) || !strings.EqualFold(u.mechanism, "INTERNAL") {
		return nil, nil
	}
	owner, err := c.directory.Lookup(ctx, u.login(u.user))
	if err != nil || owner.Disabled {
		return nil, unlessMissing(err)
	}
	token, err := c.urlToken(ctx, owner.ID, &u)
	if err != nil || !hmac.Equal(token, u.token) {
		return nil, unlessMissing(err)
	}
	found, err := c.locate(ctx, owner.ID, &u.messageURL, len(w.items) > 0, func(s *account.State) *account.Mailbox {
		m, _ := s.Mailbox(u.mailbox) // which its owner has opened to whoever has the URL
		return m
	})
	return found, unlessMissing(err)
}

// unlessMissing passes errors on that do not mean that something is not there.
func unlessMissing(err error) error {
	if domain.Is(err, domain.NotFound) || domain.Is(err, domain.Erased) {
		return nil
	}
	return err
}

// sendURL writes the URLFETCH response for one URL.
func (c *conn) sendURL(ctx context.Context, w *urlWish) error {
	found, err := c.authorized(ctx, w)
	if err != nil {
		return err
	}
	name := "* URLFETCH " + string(wire.AppendString(nil, w.text, c.utf8))
	if found == nil {
		c.enc.Raw(name).Raw(" NIL\r\n")
		return nil
	}
	if len(w.items) == 0 {
		if err := c.sendOctets(found, name+" ", found.size, false, found.copyTo); err != nil {
			return err
		}
		c.enc.CRLF()
		return c.enc.Err()
	}
	return c.sendURLItems(found, w, name)
}

// sendURLItems writes the items of RFC 5524 section 3.2, the structure first since it is that of what follows.
func (c *conn) sendURLItems(o *octets, w *urlWish, name string) error {
	produce, m, decoded := producer(o.copyTo), measure{}, true
	if slices.Contains(w.items, "BINARY") {
		var err error
		if produce, m, err = o.decoded(); err != nil {
			if domain.Is(err, domain.Corrupt) {
				return err
			}
			decoded = false // the encoding is not known.
		}
	}
	if slices.Contains(w.items, "BODYPARTSTRUCTURE") {
		part := *o.part()
		if decoded && slices.Contains(w.items, "BINARY") {
			part.Encoding, part.Lines = "binary", m.lines
			part.End = part.Body + m.size
		}
		c.enc.Raw(name).Raw(" (BODYPARTSTRUCTURE ").Append(func(b []byte) []byte { return message.AppendStructure(b, &part, false) }).Byte(')')
		name = ""
	}
	switch {
	case slices.Contains(w.items, "BODY"):
		if err := c.sendOctets(o, name+" (BODY ", o.size, false, o.copyTo); err != nil {
			return err
		}
		c.enc.Byte(')')
	case !slices.Contains(w.items, "BINARY"):
	case !decoded:
		c.enc.Raw(name).Raw(" (BINARY NIL)")
	default:
		if err := c.sendOctets(o, name+" (BINARY ", m.size, m.nul, produce); err != nil {
			return err
		}
		c.enc.Byte(')')
	}
	c.enc.CRLF()
	return c.enc.Err()
}

// sendOctets writes a literal behind a beginning. Damage that is found before any octet is written fails the command, and later the connection.
func (c *conn) sendOctets(o *octets, begin string, size int64, binary bool, produce producer) error {
	w := &beginning{c: c, text: begin, size: size, binary: binary}
	err := produce(w)
	if err == nil && !w.begun {
		err = w.begin()
	}
	switch {
	case err == nil:
		return c.enc.End()
	case !w.begun:
		return o.reply.unreadable(err)
	}
	return o.reply.breaksOff(err)
}

// beginning writes what stands before a literal with its first octet.
type beginning struct {
	c      *conn
	text   string
	size   int64
	binary bool
	begun  bool
}

func (w *beginning) begin() error {
	w.begun = true
	w.c.enc.Raw(w.text).Literal(w.size, w.binary)
	return w.c.enc.Err()
}

func (w *beginning) Write(p []byte) (int, error) {
	if !w.begun && len(p) > 0 {
		if err := w.begin(); err != nil {
			return 0, err
		}
	}
	return w.c.enc.Write(p)
}

// copyTo is a producer of the octets as they stand.
func (o *octets) copyTo(w io.Writer) error {
	r, err := o.open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, io.LimitReader(r, o.size))
	return err
}

// decoded gives the octets with their transfer encoding undone, and measures them. Only the content of a part has one.
func (o *octets) decoded() (producer, measure, error) {
	produce := producer(o.copyTo)
	if o.nested.kind == contentOf && !o.nested.partial {
		binary, err := o.nested.binary(&o.reply)
		if err != nil {
			return nil, measure{}, err
		}
		produce = binary
	}
	var m measure
	err := produce(&m)
	return produce, m, o.reply.unreadable(err)
}

// part is what BODYPARTSTRUCTURE describes: the part that the URL names, whatever section of it.
func (o *octets) part() *message.Part {
	if p := o.mail.summary.Root.Section(o.nested.path...); p != nil {
		return p
	}
	return &o.mail.summary.Root
}

// columns is what has to be read of a message for a section of it.
func (s *section) columns(structure bool) door.Columns {
	if structure {
		return door.WantBlob | door.WantSummary
	}
	return s.item().want
}
