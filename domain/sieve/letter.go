package sieve

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
)

// Letter is a message that a script has the server write: an answer or a notification. Its envelope has the null sender (RFC 3834 section 3.3), so that nothing ever comes back for it.
type Letter struct {
	From    string   `json:"from,omitempty"` // as the header says it; empty for the address that the message came to
	To      []string `json:"to"`             // addresses as they stand in an envelope
	Cc      []string `json:"cc,omitempty"`
	Subject string   `json:"subject,omitempty"`
	Body    string   `json:"body,omitempty"`
	MIME    bool     `json:"mime,omitempty"` // Body is a MIME entity with a header of its own

	Auto       string   `json:"autoSubmitted"` // RFC 3834 section 5
	InReplyTo  string   `json:"inReplyTo,omitempty"`
	References string   `json:"references,omitempty"`
	Fields     []string `json:"fields,omitempty"` // others, whole and without line ends

	// Copy says where a copy is filed (RFC 8580); nil for none.
	Copy *Action `json:"copy,omitempty"`
}

// Addresses are the recipients of its envelope, each once.
func (l *Letter) Addresses() (all []delivery.Address) {
	seen := map[string]bool{}
	for _, s := range append(append([]string(nil), l.To...), l.Cc...) {
		if a, err := delivery.ParseAddress(s); err == nil && !seen[a.Key()] {
			seen[a.Key()] = true
			all = append(all, a)
		}
	}
	return all
}

// Message writes it. from stands where the script names nobody.
func (l *Letter) Message(from delivery.Address, id string, now time.Time) string {
	var b strings.Builder
	put := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + foldField(value, len(name)+2) + "\r\n")
		}
	}
	sender := l.From
	if sender == "" {
		sender = from.String()
	}
	address := func(name, value string) { // Encoded words may stand in the phrase only (RFC 2047 section 5).
		if value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	address("From", sender)
	address("To", strings.Join(l.To, ",\r\n "))
	address("Cc", strings.Join(l.Cc, ",\r\n "))
	put("Subject", l.Subject)
	b.WriteString("Date: " + delivery.Date(now) + "\r\n")
	b.WriteString("Message-ID: " + id + "\r\n")
	put("In-Reply-To", l.InReplyTo)
	put("References", l.References)
	put("Auto-Submitted", l.Auto)
	for _, f := range l.Fields {
		if name, value, ok := strings.Cut(f, ":"); ok && isFieldName(name) {
			put(name, strings.TrimSpace(value))
		}
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	body := lines(l.Body)
	switch {
	case l.MIME:
		b.WriteString(body)
	case isASCII(body) && !longLines(body):
		b.WriteString("Content-Type: text/plain; charset=us-ascii\r\n\r\n" + body)
	default:
		b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
		b.WriteString(QuotedPrintable(body))
	}
	return b.String()
}

// QuotedPrintable encodes a text (RFC 2045 section 6.7).
func QuotedPrintable(text string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
	return b.String()
}

// lines gives a text the line ends of messages.
func lines(s string) string {
	s = strings.ReplaceAll(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "").Replace(s), "\n", "\r\n")
	if s != "" && !strings.HasSuffix(s, "\r\n") {
		s += "\r\n"
	}
	return s
}

// longLines tells whether a line has more than RFC 5322 section 2.1.1 allows.
func longLines(s string) bool {
	for line := range strings.Lines(s) {
		if len(line) > 998 {
			return true
		}
	}
	return false
}

// entity tells whether a text is a MIME entity: fields that say what it is, an empty line, a body (RFC 5230 section 4.5).
func entity(s string) bool {
	head, _, _ := strings.Cut(lines(s), "\r\n\r\n")
	for n, line := range strings.Split(head, "\r\n") {
		if line == "" {
			return strings.HasPrefix(lines(s), "\r\n")
		}
		name, _, field := strings.Cut(line, ":")
		if folded := n > 0 && (line[0] == ' ' || line[0] == '\t'); !folded && (!field || !strings.HasPrefix(asciiLower(name), "content-")) {
			return false
		}
	}
	return strings.Contains(lines(s), "\r\n\r\n")
}

// sender reads an address that a script writes for people, such as "Alice <alice@example.org>", and gives it as a header has it.
func sender(s string) (shown string, address delivery.Address, ok bool) {
	list := message.ParseAddresses(s, 2)
	if len(list) != 1 || list[0].Mailbox == "" || list[0].Host == "" || !strings.Contains(s, "@") {
		return "", address, false
	}
	address, err := delivery.ParseAddress(delivery.Address{Local: list[0].Mailbox, Domain: list[0].Host}.String())
	if err != nil {
		return "", address, false
	}
	if shown = address.String(); list[0].Name != "" {
		shown = phrase(list[0].Name) + " " + address.Path()
	}
	return shown, address, true
}

// phrase writes a name as a phrase (RFC 5322 section 3.2.5).
func phrase(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, truncate(name, 200))
	if !isASCII(name) {
		return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", name), "?= =?", "?=\r\n =?")
	}
	return quoted(name)
}

// quoted makes a quoted string (RFC 5322 section 3.2.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// digest names what marks stand for, so that none is longer than another and none tells what is in the mail.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write([]byte(p))
		_, _ = h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// copyTags are those of a copy of what is sent (RFC 8580 section 3).
var copyTags = map[string]tagged{
	"fcc":        {needs: "fcc", takes: 's'},
	"create":     {needs: "mailbox"},
	"flags":      {needs: "imap4flags", takes: 'l'},
	"mailboxid":  {needs: "mailboxid", takes: 's', group: "place"},
	"specialuse": {needs: "special-use", takes: 's', group: "place"},
}

// fcc compiles where a copy goes; it gives nil where there is none.
func (c *compiler) fcc(a *arguments) (func(m *machine) *Action, error) {
	if !a.has("fcc") {
		for _, tag := range []string{"create", "flags", "mailboxid", "specialuse"} {
			if a.has(tag) {
				return nil, a.tags[tag].errorf(":%s needs :fcc", tag)
			}
		}
		return func(*machine) *Action { return nil }, nil
	}
	mailbox, err := c.optional(a, "fcc")
	if err != nil {
		return nil, err
	}
	flags, err := c.flagsOf(a)
	if err != nil {
		return nil, err
	}
	id, err := c.optional(a, "mailboxid")
	if err != nil {
		return nil, err
	}
	use, err := c.optional(a, "specialuse")
	return func(m *machine) *Action {
		to := &Action{Kind: File, Mailbox: m.expand(mailbox), MailboxID: m.expand(id), SpecialUse: m.expand(use), Create: a.has("create")}
		if a.has("flags") {
			to.Flags = flags(m)
		}
		return to
	}, err
}
