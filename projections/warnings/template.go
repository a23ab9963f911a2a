package warnings

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"text/template"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
)

// Facts are what a template may tell.
type Facts struct {
	Address       string // of the user
	Percent       int    // that was reached
	UsedPercent   int    // how full the account is
	UsedBytes     int64
	LimitBytes    int64 // 0: none
	UsedMessages  int64
	LimitMessages int64 // 0: none
	Hostname      string
	Now           time.Time
	ID            string // a random word
}

// Used and Limit are the octets as people read them.
func (f Facts) Used() string { return size(f.UsedBytes) }

// Limit is that of octets.
func (f Facts) Limit() string { return size(f.LimitBytes) }

func size(n int64) string {
	const unit = 1024
	switch {
	case n < unit:
		return fmt.Sprintf("%d B", n)
	case n < unit*unit:
		return fmt.Sprintf("%.1f KiB", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MiB", float64(n)/unit/unit)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/unit/unit/unit)
}

// Usual is the template where none is configured.
const Usual = `Subject: Your mailbox is {{.UsedPercent}}% full

The mailbox of {{.Address}} has reached {{.Percent}}% of what it may hold.
{{if .LimitBytes}}
It uses {{.Used}} of {{.Limit}}.{{end}}{{if .LimitMessages}}
It has {{.UsedMessages}} of {{.LimitMessages}} messages.{{end}}

When it is full, no mail comes in any more: please delete what you no longer need, and empty the trash.
`

// Template writes warnings.
type Template struct{ t *template.Template }

// maxTemplate bounds a template and what it makes, in octets.
const maxTemplate = 64 << 10

// Parse reads a template: a line with "Subject: ", an empty line, and the text, in the language of Go's package text/template. Errors: domain.Invalid.
func Parse(text string) (*Template, error) {
	if len(text) > maxTemplate {
		return nil, domain.Errorf(domain.Invalid, "a template has at most %d octets", maxTemplate)
	}
	t, err := template.New("warning").Option("missingkey=error").Parse(strings.ReplaceAll(text, "\r\n", "\n"))
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read the template")
	}
	parsed := &Template{t}
	_, err = parsed.Message(Facts{Address: "user@example.org", LimitBytes: 1, LimitMessages: 1, Hostname: "mail.example.org"}) // What it asks for has to be there.
	return parsed, err
}

// Message writes a warning. Errors: domain.Invalid when the template does not give one.
func (t *Template) Message(f Facts) (string, error) {
	var b bytes.Buffer
	if err := t.t.Execute(&b, f); err != nil {
		return "", domain.Wrap(domain.Invalid, err, "fill in the template")
	}
	head, body, whole := strings.Cut(b.String(), "\n\n")
	subject, named := strings.CutPrefix(head, "Subject: ")
	if !whole || !named || strings.Contains(subject, "\n") || b.Len() > maxTemplate {
		return "", domain.Errorf(domain.Invalid, "a template begins with a line \"Subject: ...\" and an empty line, and gives at most %d octets", maxTemplate)
	}
	var m strings.Builder
	fmt.Fprintf(&m, "Return-Path: <>\r\nFrom: Mail System <postmaster@%s>\r\nTo: <%s>\r\nSubject: %s\r\n", f.Hostname, f.Address, strings.ReplaceAll(mime.QEncoding.Encode("utf-8", subject), "?= =?", "?=\r\n =?"))
	fmt.Fprintf(&m, "Date: %s\r\nMessage-ID: <%s.quota@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n", delivery.Date(f.Now), f.ID, f.Hostname) // RFC 3834 section 5.
	m.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(&m)
	_, _ = w.Write([]byte(strings.ReplaceAll(body, "\n", "\r\n"))) // into memory
	_ = w.Close()
	return m.String(), nil
}
