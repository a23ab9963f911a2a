package text

import (
	"strings"

	"github.com/streampost/streampost/domain/message"
)

// Limits bound the text that is taken from one message. The zero value means the defaults. How deeply parts nest and how many there are is bounded
// by package message.
type Limits struct {
	Octets int64 // of decoded text, header fields included; 1 MiB
}

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	if l.Octets <= 0 {
		l.Octets = 1 << 20
	}
	return l
}

// Field is a header field: its name in lower case, its value decoded.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Document is the text of a message, for indexes that keep documents.
type Document struct {
	Subject     string   `json:"subject,omitempty"`
	From        []string `json:"from,omitempty"` // "Name <mailbox@host>", names decoded
	To          []string `json:"to,omitempty"`
	Cc          []string `json:"cc,omitempty"`
	Bcc         []string `json:"bcc,omitempty"`
	Fields      []Field  `json:"headers,omitempty"`     // all of the message's own header
	Body        string   `json:"body,omitempty"`        // the text of all parts, an empty line between two
	Attachments []string `json:"attachments,omitempty"` // file names
	Truncated   bool     `json:"truncated,omitempty"`   // there is more than Limits allow
}

// Read collects the text of a message. Errors: those of open and of what it opens; what the Summary tells is in the Document also then.
func Read(s *message.Summary, open Opener, limits Limits) (Document, error) {
	c := collector{left: limits.WithDefaults().Octets}
	e := &s.Envelope
	c.Subject = message.DecodeWords(e.Subject)
	c.From, c.To, c.Cc, c.Bcc = spellAll(e.From), spellAll(e.To), spellAll(e.Cc), spellAll(e.Bcc)
	c.Attachments = Attachments(&s.Root)
	err := Walk(&s.Root, open, &c)
	c.Body = c.body.String()
	return c.Document, err
}

// Attachments names the files in a message, in its order, also those inside messages in it.
func Attachments(root *message.Part) (names []string) {
	root.All(func(p *message.Part, _ int) bool {
		if name := p.Filename(); name != "" {
			names = append(names, name)
		}
		return true
	})
	return names
}

// Spell writes an address as a header shows it, its name decoded.
func Spell(a message.Address) string {
	switch {
	case a.Host == "": // the name of a group, or its end
		return message.DecodeWords(a.Mailbox)
	case a.Name == "":
		return a.Mailbox + "@" + a.Host
	}
	return message.DecodeWords(a.Name) + " <" + a.Mailbox + "@" + a.Host + ">"
}

func spellAll(list []message.Address) (all []string) {
	for _, a := range list {
		if s := Spell(a); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// collector is the Visitor that fills a Document.
type collector struct {
	Document
	body  strings.Builder
	left  int64 // octets
	begun bool  // the present part has text
}

func (c *collector) WantsHeader(h Header) bool { return h != OfPart && !c.full() }
func (c *collector) WantsText() bool           { return !c.full() }

func (c *collector) full() bool {
	c.Truncated = c.Truncated || c.left <= 0
	return c.Truncated
}

// take gives as much of s as there is room for.
func (c *collector) take(s string) string {
	if int64(len(s)) > c.left {
		s, c.Truncated = strings.ToValidUTF8(s[:max(c.left, 0)], ""), true
	}
	c.left -= int64(len(s))
	return s
}

func (c *collector) Field(h Header, name, value string) {
	if c.full() {
		return
	}
	if h == Own {
		c.Fields = append(c.Fields, Field{c.take(name), c.take(value)})
		return
	}
	c.Text([]byte(name + ": " + value + "\r\n"))
	c.begun = false
}

func (c *collector) Text(piece []byte) {
	if !c.begun && c.body.Len() > 0 {
		c.body.WriteString("\r\n")
	}
	c.begun = true
	c.body.WriteString(c.take(string(piece)))
}

func (c *collector) EndText() { c.begun = false }
