package processing

import (
	"context"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/pipeline"
)

// Trial is a mail that is not there, to see what would become of it.
type Trial struct {
	Sender        string            `json:"sender"` // empty or <>: the null sender
	Recipients    []string          `json:"recipients"`
	Login         string            `json:"login,omitempty"`
	RemoteAddress string            `json:"remoteAddress,omitempty"`
	RemoteHost    string            `json:"remoteHost,omitempty"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Processor     string            `json:"processor,omitempty"` // where it begins; empty: at the beginning
	Message       string            `json:"message,omitempty"`   // its header, or all of it
}

// Found is what would become of it.
type Found struct {
	Steps   []pipeline.Trace `json:"steps"`
	Effects []FoundEffect    `json:"effects"`
}

// FoundEffect is what would become of some recipients.
type FoundEffect struct {
	Effect     string          `json:"effect"`
	Recipients []string        `json:"recipients"`
	Repository string          `json:"repository,omitempty"`
	Cause      string          `json:"cause,omitempty"`
	Text       string          `json:"text,omitempty"`
	Ask        string          `json:"ask,omitempty"` // call: the step that would ask others. What they would answer nobody knows
	Header     []pipeline.Edit `json:"header,omitempty"`
}

// Try follows a mail through the processors, and does nothing. Errors: domain.Invalid.
func (p *Processor) Try(ctx context.Context, t *Trial) (found Found, err error) {
	m := &pipeline.Mail{
		Login: t.Login, RemoteAddress: t.RemoteAddress, RemoteHost: t.RemoteHost, Attributes: t.Attributes, Processor: t.Processor, Size: int64(len(t.Message)),
	}
	if t.Processor != "" && !p.cfg.Program.Has(t.Processor) {
		return found, domain.Errorf(domain.Invalid, "there is no processor %q; there are %s", t.Processor, strings.Join(p.cfg.Program.Processors(), ", "))
	}
	if sender := strings.TrimSuffix(strings.TrimPrefix(t.Sender, "<"), ">"); sender != "" {
		a, err := delivery.ParseAddress(sender)
		if err != nil {
			return found, err
		}
		m.Sender = a.String()
	}
	if len(t.Recipients) == 0 {
		return found, domain.Errorf(domain.Invalid, "the mail needs a recipient")
	}
	for _, to := range t.Recipients {
		a, err := delivery.ParseAddress(to)
		if err != nil {
			return found, err
		}
		m.Recipients = append(m.Recipients, a.String())
	}
	found = Found{Steps: []pipeline.Trace{}, Effects: []FoundEffect{}}
	effects := p.cfg.Program.Advance(m, &trialWorld{world{p: p, ctx: ctx}, headerOf(t.Message)}, func(s pipeline.Trace) { found.Steps = append(found.Steps, s) })
	for _, f := range effects {
		e := FoundEffect{Effect: f.Kind.String(), Recipients: f.Mail.Recipients, Repository: f.Repository, Cause: f.Cause, Text: f.Text, Header: f.Mail.Edits}
		if f.Call != nil {
			e.Ask = f.Call.Line
		}
		found.Effects = append(found.Effects, e)
	}
	return found, nil
}

// headerOf gives the header of a text, with line ends as messages have them.
func headerOf(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	if strings.HasPrefix(text, "\r\n") {
		return ""
	}
	if end := strings.Index(text, "\r\n\r\n"); end >= 0 {
		return text[:end+2]
	}
	return text
}

// trialWorld has a header that is given.
type trialWorld struct {
	world
	header string
}

func (w *trialWorld) Header() (string, error) { return w.header, nil }
