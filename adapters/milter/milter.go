package milter

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	gomilter "github.com/emersion/go-milter"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/admission"
)

// Milter is one program.
type Milter struct {
	Name    string // in logs and metrics
	Network string // tcp or unix
	Address string
	Time    time.Duration // for one stage; 30 seconds
	Later   bool          // where it fails, the client comes again later; otherwise the message goes on without it
}

// Config is what Milters work with.
type Config struct {
	Milters  []Milter // in their order
	Hostname string
	Limits   Limits
	Done     func(name, outcome string, took time.Duration) // is told what became of each message and how long its milter had it; nil counts nothing
	Logger   *slog.Logger                                   // nil discards
}

// Limits bound what is taken of a milter's answers about one message. A zero field means its default.
type Limits struct {
	Octets  int64 // 8 MiB
	Changes int   // 1,000
}

// Milters are programs that look at mail. Its methods may be called at once from many goroutines.
type Milters struct{ cfg Config }

// New makes Milters.
func New(cfg Config) *Milters {
	cfg.Limits.Octets, cfg.Limits.Changes = cmp.Or(cfg.Limits.Octets, 8<<20), cmp.Or(cfg.Limits.Changes, 1000)
	for i := range cfg.Milters {
		cfg.Milters[i].Time = cmp.Or(cfg.Milters[i].Time, 30*time.Second)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Milters{cfg}
}

// Message is one on its way past all milters. Its methods are called one after the other, but for End, which may be called at any time.
type Message struct {
	milters *Milters
	client  *admission.Client
	id      string
	parts   []*part
}

// part is a message at one milter.
type part struct {
	*Milter
	owner   *Message
	session *gomilter.ClientSession
	begun   time.Time
	passed  bool   // it wants to see no more of the message
	discard bool   // and wants nobody to have it
	outcome string // empty as long as it is not known

	mu    sync.Mutex
	conn  *guarded
	ended bool
}

// failed is the outcome at a milter that has failed.
const failed = "failed"

// Begin has a message begin. Nobody is spoken to before Mail.
func (m *Milters) Begin(c *admission.Client, id string) *Message {
	msg := &Message{milters: m, client: c, id: id}
	for i := range m.cfg.Milters {
		msg.parts = append(msg.parts, &part{Milter: &m.cfg.Milters[i], owner: msg})
	}
	return msg
}

// Mail tells all milters of the client and the sender. What is refused here is counted as a message: nothing follows of it.
func (m *Message) Mail(ctx context.Context, sender string) *admission.Refusal {
	var last *part
	r := m.each(ctx, func(p *part) (*gomilter.Action, error) {
		last, p.begun = p, time.Now()
		if err := p.open(ctx); err != nil {
			return nil, err
		}
		return p.greet(sender)
	})
	if r != nil {
		last.told()
	}
	return r
}

// Recipient tells all milters of a recipient.
func (m *Message) Recipient(ctx context.Context, to string) *admission.Refusal {
	return m.each(ctx, func(p *part) (*gomilter.Action, error) { return p.session.Rcpt(to, nil) })
}

// each runs a stage of all milters in turn, up to one that refuses.
func (m *Message) each(ctx context.Context, stage func(*part) (*gomilter.Action, error)) *admission.Refusal {
	for _, p := range m.parts {
		if p.passed {
			if r := p.unseen(); r != nil {
				return r
			}
			continue
		}
		if r := p.stage(ctx, func() (*gomilter.Action, error) { return stage(p) }); r != nil {
			return r
		}
	}
	return nil
}

// stage runs a stage of one milter in its time, and says what follows from its answer.
func (p *part) stage(ctx context.Context, run func() (*gomilter.Action, error)) *admission.Refusal {
	ctx, cancel := context.WithTimeout(ctx, p.Time)
	defer cancel()
	defer context.AfterFunc(ctx, p.cut)()
	action, err := run()
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		p.outcome = failed
		p.passed = true
		p.cut()
		p.log().Warn("a milter failed", "error", err, "later", p.Later)
		return p.unseen()
	}
	return p.verdict(action)
}

// unseen refuses what a milter that nothing may pass cannot look at, since it has failed: at the step where it did, and at all that follow. nil where there is no such reason.
func (p *part) unseen() *admission.Refusal {
	if !p.Later || p.outcome != failed {
		return nil
	}
	return &admission.Refusal{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "The message cannot be looked at now, try again later", Why: "milter"}
}

func (p *part) log() *slog.Logger {
	return p.owner.milters.cfg.Logger.With("milter", p.Name, "id", p.owner.id)
}

// open connects and agrees on what is spoken about.
func (p *part) open(ctx context.Context) error {
	dialer := &dialing{ctx, p}
	client := gomilter.NewClientWithOptions(p.Network, p.Address, gomilter.ClientOptions{
		Dialer: dialer, ActionMask: gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptQuarantine,
		// What a milter may do without. Version 2 of the protocol has these.
		ProtocolMask: gomilter.OptNoConnect | gomilter.OptNoHelo | gomilter.OptNoMailFrom | gomilter.OptNoRcptTo | gomilter.OptNoBody | gomilter.OptNoHeaders | gomilter.OptNoEOH,
	})
	var err error
	p.session, err = client.Session()
	return err
}

// greet tells who speaks, and whose mail it is.
func (p *part) greet(sender string) (*gomilter.Action, error) {
	c, s := p.owner.client, p.session
	family, address := gomilter.FamilyUnknown, ""
	switch len(c.Address) {
	case 4:
		family, address = gomilter.FamilyInet, net.IP(c.Address).String()
	case 16:
		family, address = gomilter.FamilyInet6, "IPv6:"+net.IP(c.Address).String()
	}
	name := "[" + address + "]"
	if address == "" {
		name = "localhost"
	}
	if err := s.Macros(gomilter.CodeConn, "j", p.owner.milters.cfg.Hostname, "{daemon_name}", "streampost"); err != nil {
		return nil, err
	}
	if a, err := s.Conn(name, family, 0, address); err != nil || a.Code != gomilter.ActContinue {
		return a, err
	}
	if a, err := s.Helo(clean(c.Helo)); err != nil || a.Code != gomilter.ActContinue {
		return a, err
	}
	if err := s.Macros(gomilter.CodeMail, "i", p.owner.id, "{mail_addr}", clean(sender)); err != nil {
		return nil, err
	}
	return s.Mail(clean(sender), nil)
}

// dialing gives go-milter a connection that is guarded.
type dialing struct {
	ctx  context.Context // of the step that it is dialled in
	part *part
}

func (d *dialing) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: d.part.Time}).DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	g := &guarded{Conn: conn, left: d.part.owner.milters.cfg.Limits.Octets}
	d.part.mu.Lock()
	defer d.part.mu.Unlock()
	if d.part.ended {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	d.part.conn = g
	return g, nil
}

// guarded is a connection of which only so many octets are read.
type guarded struct {
	net.Conn
	left int64
}

var errTooMuch = errors.New("it says more about one message than is listened to")

func (g *guarded) Read(p []byte) (int, error) {
	if g.left <= 0 {
		return 0, errTooMuch
	}
	n, err := g.Conn.Read(p[:min(int64(len(p)), g.left)])
	g.left -= int64(n)
	return n, err
}

// cut ends the connection, whatever goes on.
func (p *part) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.conn != nil {
		_ = p.conn.Close()
	}
}

// End lets go of the message, whatever became of it.
func (m *Message) End() {
	for _, p := range m.parts {
		p.cut()
	}
}

// Message shows all milters in turn the message. rest gives what follows the header, which begins with the empty line. Errors: of rest only.
func (m *Message) Message(ctx context.Context, header []byte, rest func() (io.ReadCloser, error)) (f admission.Filtered, err error) {
	f.Header = header
	for _, p := range m.parts {
		if p.passed {
			p.told()
			f.Refusal, f.Discard = p.unseen(), p.discard
			if f.Refusal != nil || f.Discard {
				f.By = p.Name
				break
			}
			continue
		}
		body, err := rest()
		if err != nil {
			return f, domain.Wrap(domain.Unavailable, err, "read the message for a milter")
		}
		p.show(ctx, &f, body)
		_ = body.Close()
		p.told()
		if f.Refusal != nil || f.Discard {
			f.By = p.Name
			break
		}
	}
	return f, nil
}

// told counts what became of the message at this milter.
func (p *part) told() {
	if done := p.owner.milters.cfg.Done; done != nil {
		done(p.Name, cmp.Or(p.outcome, "accept"), time.Since(p.begun))
	}
}
