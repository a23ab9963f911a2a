package processing

import (
	"context"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
)

// follow has a mail advance, and asks whom its steps want to be asked.
func (p *Processor) follow(ctx context.Context, e *queue.Entry, m *pipeline.Mail, w pipeline.World) (effects []pipeline.Effect) {
	open := p.cfg.Program.Advance(m, w, nil)
	for calls := 0; len(open) > 0; {
		f := open[0]
		open = open[1:]
		if f.Kind != pipeline.Call {
			effects = append(effects, f)
			continue
		}
		var a pipeline.Answer
		if calls++; calls > p.cfg.Limits.Calls {
			a.Effect = &pipeline.Effect{Kind: pipeline.Park, Repository: queue.RepositoryError, Cause: "loop", Text: fmt.Sprintf("its steps ask others more than %d times", p.cfg.Limits.Calls)}
		} else {
			a = p.call(ctx, e, &f)
			f.Mail.Origins = origins(f.Mail, a.Rewrite)
		}
		open = append(open, p.cfg.Program.Answered(f.Mail, f.Call, &a, w, nil)...)
	}
	return effects
}

// call asks a hook or a custom step.
func (p *Processor) call(ctx context.Context, e *queue.Entry, f *pipeline.Effect) (a pipeline.Answer) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Limits.Call)
	defer cancel()
	began := p.cfg.Clock()
	name := f.Call.Params["step"]
	if f.Call.Action == "HTTP" { // A URL may tell more than metrics are to tell.
		name = fmt.Sprintf("%s-%d", f.Mail.Processor, f.Mail.Step)
		a = p.ask(ctx, e, f)
	} else {
		a = p.filter(ctx, e, f, name)
	}
	outcome := "answered"
	if a.Err != nil {
		outcome = "failed"
		p.cfg.Logger.Warn("a step fails", "id", e.Transfer, "step", f.Call.Line, "error", a.Err)
	}
	if told := p.cfg.Metrics.Called; told != nil {
		told(name, outcome, p.cfg.Clock().Sub(began))
	}
	return a
}

// Hook asks over HTTP.
type Hook interface {
	// Ask sends a request to a URL and gives the answer. secret names the file of the key by which the request is signed; empty: it is not signed.
	Ask(ctx context.Context, to Destination, r *Request) (*Reply, error)
}

// Destination is where and how to ask.
type Destination struct {
	URL     string
	Timeout time.Duration // of one try
	Retries int
	Secret  string // a file
}

// Request is what a hook is told, as JSON.
type Request struct {
	ID            string            `json:"id"`  // of the transfer, as in the log and in the Received field
	Key           string            `json:"key"` // the same when a question is repeated
	Processor     string            `json:"processor"`
	Step          int               `json:"step"`
	Sender        string            `json:"sender"`
	Recipients    []string          `json:"recipients"`
	Login         string            `json:"login,omitempty"`
	RemoteAddress string            `json:"remoteAddress,omitempty"`
	RemoteHost    string            `json:"remoteHost,omitempty"`
	Size          int64             `json:"size"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Header        string            `json:"header"`
	Message       []byte            `json:"message,omitempty"` // the beginning of the message, in base64, where the step has body=true
}

// Reply is what a hook answers, as JSON. The empty object lets the mail go on.
type Reply struct {
	Action     string              `json:"action"`     // continue (if absent), processor, park, drop, bounce, deliver or retry
	Recipients []string            `json:"recipients"` // those that this is about; absent: all. The others are dropped
	Rewrite    map[string][]string `json:"rewrite"`    // who takes the place of a recipient
	Header     []pipeline.Edit     `json:"header"`
	Attributes map[string]string   `json:"attributes"`
	Processor  string              `json:"processor"`
	Repository string              `json:"repository"`
	Cause      string              `json:"cause"`
	Text       string              `json:"text"`
	Status     string              `json:"status"`
}

// ParseDestination reads the parameters of a step of the action HTTP. Errors: domain.Invalid.
func ParseDestination(params map[string]string) (d Destination, err error) {
	d = Destination{URL: params["url"], Timeout: 10 * time.Second, Retries: 1, Secret: params["secret"]}
	if text := params["timeout"]; text != "" {
		if d.Timeout, err = time.ParseDuration(text); err != nil || d.Timeout <= 0 {
			return d, domain.Errorf(domain.Invalid, "timeout is %q, which is no duration such as 5s", text)
		}
	}
	if text := params["retries"]; text != "" {
		if d.Retries, err = strconv.Atoi(text); err != nil || d.Retries < 0 || d.Retries > 10 {
			return d, domain.Errorf(domain.Invalid, "retries is %q, which is no number from 0 to 10", text)
		}
	}
	if text := params["body"]; text != "" && text != "true" && text != "false" {
		return d, domain.Errorf(domain.Invalid, "body is true or false, not %q", text)
	}
	scheme, rest, _ := strings.Cut(d.URL, "://")
	authority, _, _ := strings.Cut(rest, "/")
	if scheme != "http" && scheme != "https" || authority == "" {
		return d, domain.Errorf(domain.Invalid, "url is no URL such as http://127.0.0.1:8080/mail")
	}
	if strings.Contains(authority, "@") { // RFC 3986 section 3.2.1.
		return d, domain.Errorf(domain.Invalid, "url has a name or a password, which logs would tell: sign requests with secret")
	}
	return d, nil
}

func (p *Processor) ask(ctx context.Context, e *queue.Entry, f *pipeline.Effect) pipeline.Answer {
	to, err := ParseDestination(f.Call.Params)
	if err == nil && p.cfg.Hook == nil {
		err = domain.Errorf(domain.Unavailable, "there is nobody to ask hooks")
	}
	if err != nil {
		return pipeline.Answer{Err: err}
	}
	header, _, err := p.header(ctx, e)
	if err != nil {
		return pipeline.Answer{Err: err}
	}
	m := f.Mail
	r := &Request{
		ID: e.Transfer, Key: fmt.Sprintf("%s-%s-%d", e.ID, m.Processor, m.Step), Processor: m.Processor, Step: m.Step, Sender: m.Sender, Recipients: m.Recipients, Login: m.Login,
		RemoteAddress: m.RemoteAddress, RemoteHost: m.RemoteHost, Size: m.Size, Attributes: m.Attributes, Header: strings.ToValidUTF8(pipeline.EditHeader(header, m.Edits), "\ufffd"),
	}
	if f.Call.Params["body"] == "true" {
		in, err := e.Content(ctx, p.cfg.Blobs, 0, p.cfg.Limits.Body)
		if err == nil {
			r.Message, err = io.ReadAll(in)
			_ = in.Close()
		}
		if err != nil {
			return pipeline.Answer{Err: err}
		}
	}
	reply, err := p.cfg.Hook.Ask(ctx, to, r)
	if err != nil {
		return pipeline.Answer{Err: err}
	}
	return reply.answer()
}

// maxRewritten bounds the recipients that one answer puts in the place of others.
const maxRewritten = 1000

// answer is a reply as the engine takes it.
func (r *Reply) answer() pipeline.Answer {
	a := pipeline.Answer{Recipients: r.Recipients, Rewrite: r.Rewrite, Edits: r.Header, Attributes: r.Attributes}
	rewritten := 0
	for _, to := range r.Rewrite {
		if rewritten += len(to); rewritten > maxRewritten {
			return pipeline.Answer{Err: domain.Errorf(domain.Invalid, "the hook answers with more than %d recipients", maxRewritten)}
		}
	}
	kinds := map[string]pipeline.Kind{"park": pipeline.Park, "drop": pipeline.Drop, "bounce": pipeline.Bounce, "deliver": pipeline.Deliver}
	kind, ends := kinds[r.Action]
	switch {
	case ends:
		a.Effect = &pipeline.Effect{Kind: kind, Repository: r.Repository, Cause: r.Cause, Text: r.Text, Status: r.Status}
	case r.Action == "processor" && r.Processor != "":
		a.Processor = r.Processor
	case r.Action == "retry":
		a.Err = domain.Errorf(domain.Unavailable, "the hook wants it to be tried again: %s", r.Text)
	case r.Action != "" && r.Action != "continue":
		a.Err = domain.Errorf(domain.Invalid, "the hook answers with the action %q", r.Action)
	}
	return a
}

// Filter is a custom step, which sees a message in the order in which a milter does. One is made for each message. An error fails the step, whose onError then says what becomes of the mail.
type Filter interface {
	// MailFrom begins: sender is empty for the null sender.
	MailFrom(ctx context.Context, sender string, attributes map[string]string) error
	// RcptTo is called for each recipient; those for whom it says no are dropped.
	RcptTo(ctx context.Context, recipient string) (accept bool, err error)
	// Header is called for each field of the header, with its value unfolded.
	Header(ctx context.Context, name, value string) error
	// Body is called with pieces of the body.
	Body(ctx context.Context, piece []byte) error
	// EndOfMessage says what becomes of the message; nil lets it go on.
	EndOfMessage(ctx context.Context) (*pipeline.Answer, error)
}

// filter shows a message to a custom step. One that panics has failed.
func (p *Processor) filter(ctx context.Context, e *queue.Entry, f *pipeline.Effect, name string) (a pipeline.Answer) {
	defer func() {
		if r := recover(); r != nil {
			p.cfg.Logger.Error("a custom step panics", "step", name, "id", e.Transfer, "panic", r, "stack", string(debug.Stack()))
			a = pipeline.Answer{Err: fmt.Errorf("the step panics: %v", r)}
		}
	}()
	fresh := p.cfg.Custom[name]
	if fresh == nil {
		return pipeline.Answer{Err: domain.Errorf(domain.Invalid, "there is no custom step %q", name)}
	}
	answer, err := p.show(ctx, e, f.Mail, fresh())
	if err != nil {
		return pipeline.Answer{Err: err}
	}
	return *answer
}

func (p *Processor) show(ctx context.Context, e *queue.Entry, m *pipeline.Mail, f Filter) (*pipeline.Answer, error) {
	if err := f.MailFrom(ctx, m.Sender, maps.Clone(m.Attributes)); err != nil {
		return nil, err
	}
	accepted, refused := []string{}, map[string]bool{}
	for _, to := range m.Recipients {
		ok, err := f.RcptTo(ctx, to)
		if err != nil {
			return nil, err
		}
		if ok {
			accepted = append(accepted, to)
		} else {
			refused[pipeline.Key(to)] = true
		}
	}
	header, at, err := p.header(ctx, e)
	if err != nil {
		return nil, err
	}
	for name, value := range pipeline.Fields(header, m.Edits) {
		if err := f.Header(ctx, name, value); err != nil {
			return nil, err
		}
	}
	at = min(at+2, e.Size()) // the empty line
	body, err := e.Content(ctx, p.cfg.Blobs, at, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if err := f.Body(ctx, buffer[:n]); err != nil {
				return nil, err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, domain.Wrap(domain.Unavailable, err, "read the message")
		}
	}
	answer, err := f.EndOfMessage(ctx)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		answer = &pipeline.Answer{}
	}
	if answer.Recipients == nil && len(accepted) < len(m.Recipients) {
		answer.Recipients = accepted
	} else if answer.Recipients != nil {
		answer.Recipients = slices.DeleteFunc(slices.Clone(answer.Recipients), func(to string) bool { return refused[pipeline.Key(to)] })
	}
	return answer, nil
}
