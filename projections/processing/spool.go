// Package processing lets mail go through the processors of the configuration (domain/pipeline) and carries out what they want.
//
// A message comes here when it arrives (Accept), before it is answered with 250, and from the spool (Handle), where it waits when a step has to ask others, when something could not be told or done, and
// when an operator has parked mail processed again.
//
// Invariants:
//   - What is to become of a message is one append to the queue (streams/queue): all of it, and that it leaves the spool. So a crash loses nothing and does nothing twice. Hooks may be asked again after a
//     crash; nothing has become of their first answer.
//   - What is only delivered, as most mail is, costs no append here: Accept says so, and who asked delivers it.
//   - Mail leaves by the queue of outgoing mail (projections/outgoing), to mailboxes here as well, which tries again and reports.
//   - Mail that cannot be processed is parked with its cause.
package processing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/rewriting"
)

// Queue is the queue; *streams/queue.Queue is one.
type Queue interface {
	Append(ctx context.Context, records ...queue.Record) error
}

// Blobs is the store of message bytes; see blob.Store.
type Blobs interface {
	Put(ctx context.Context, r io.Reader) (domain.BlobRef, error)
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Directory is what this package needs of door.Directory.
type Directory interface {
	LocalDomain(name string) bool
	// Rewrite follows the mappings of an address. Errors: domain.NotFound for who is not here, *rewriting.Fault for mappings that come to no end.
	Rewrite(ctx context.Context, a delivery.Address) (*rewriting.Resolution, error)
}

// Config is what a Processor works with. Queue, Blobs, Directory, Program, InNetwork, Bounce, Requeue and Node are needed.
type Config struct {
	Queue     Queue
	Blobs     Blobs
	Directory Directory
	Program   *pipeline.Program
	// InNetwork tells whether an IP address is in one of some networks.
	InNetwork func(address string, networks []string) bool
	// Bounce makes the entry that tells a message's sender, who is not the null sender, that recipients failed; see outgoing.Worker.
	Bounce func(e *queue.Entry, outcomes []queue.Outcome) (*queue.Entry, error)
	// Requeue makes the entries that bring a message to recipients; see outgoing.Worker.
	Requeue  func(ctx context.Context, e *queue.Entry, to []queue.Recipient) ([]queue.Record, error)
	Hook     Hook                     // asks HTTP hooks; nil: steps that want one fail
	Custom   map[string]func() Filter // makes a Filter for one message, by the names that steps of the action Custom use
	Node     string                   // this one's
	Hostname string                   // in the Message-ID of messages that have none
	Policy   queue.Policy             // First, Most and Expire of mail that is tried again
	Limits   Limits

	Clock   func() time.Time // nil means time.Now
	Random  func() uint64    // ids and jitter; nil means math/rand/v2
	Logger  *slog.Logger     // nil discards
	Metrics Metrics
	// Failpoint is called at named steps, for tests that kill the process there: processing.accept, before what becomes of a message that arrives is appended; processing.result, before what becomes of one from
	// the spool is.
	Failpoint func(name string)
}

// Limits bound a Processor. A zero field means its default.
type Limits struct {
	Header   int64         // octets of a header that matchers see and actions edit; 1 MiB
	Call     time.Duration // for one answer of a hook or a custom step, with all repetitions; 1 minute
	Calls    int           // that one look at a mail may cause; 100
	Attempts int           // at a mail before it is parked; 30
	Body     int64         // octets of a message that are sent to a hook; 1 MiB
	Accept   time.Duration // that a message which arrives is looked at; 10 s
}

// Metrics are told what happens. Each function may be nil; all may be called at the same time.
type Metrics struct {
	Effect func(kind string)                              // something became of a part of a mail
	Called func(step, outcome string, took time.Duration) // a hook or a custom step was asked; outcome is answered or failed
}

// Processor is the pipeline of this node. It is safe for concurrent use.
type Processor struct{ cfg Config }

// New makes a Processor.
func New(cfg Config) (*Processor, error) {
	if cfg.Queue == nil || cfg.Blobs == nil || cfg.Directory == nil || cfg.Program == nil || cfg.InNetwork == nil || cfg.Bounce == nil || cfg.Requeue == nil || cfg.Node == "" {
		return nil, domain.Errorf(domain.Invalid, "the pipeline needs the queue, blobs, the directory, a program, a look at networks, reports, and a name of its node")
	}
	l := &cfg.Limits
	l.Header = cmp.Or(l.Header, 1<<20)
	l.Call = cmp.Or(l.Call, time.Minute)
	l.Calls = cmp.Or(l.Calls, 100)
	l.Attempts = cmp.Or(l.Attempts, 30)
	l.Body = cmp.Or(l.Body, 1<<20)
	l.Accept = cmp.Or(l.Accept, 10*time.Second)
	cfg.Policy.First = cmp.Or(cfg.Policy.First, 30*time.Second)
	cfg.Policy.Most = cmp.Or(cfg.Policy.Most, time.Hour)
	cfg.Policy.Expire = cmp.Or(cfg.Policy.Expire, 5*24*time.Hour)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Uint64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	return &Processor{cfg}, nil
}

// Program is what mail goes through.
func (p *Processor) Program() *pipeline.Program { return p.cfg.Program }

// Holder is whose claim on a message holds.
type Holder struct{ Node, Boot string }

// Accept decides what becomes of a message that arrives. e has no id yet; its blob is durable. local tells of the recipients who live here, as far as that was found out already. taken says that it is seen to: it is
// durable in the queue, in repositories or on the spool, for all recipients. Otherwise all recipients are to be delivered to as they are, and nothing was done. Errors: those of Queue.Append.
func (p *Processor) Accept(ctx context.Context, e *queue.Entry, local map[string]bool) (taken bool, err error) {
	e.Node = p.cfg.Node
	now := queue.Millis(p.cfg.Clock())
	e.Arrived = now
	once, cancel := context.WithTimeout(ctx, p.cfg.Limits.Accept)
	defer cancel()
	m := mailOf(e)
	effects := p.cfg.Program.Advance(m, p.world(once, e, local), nil)
	if once.Err() != nil { // what matchers could not be told is no failure of theirs
		effects = []pipeline.Effect{{Kind: pipeline.Retry, Mail: m}}
	}
	if p.direct(e, m, effects) {
		return false, nil
	}
	records, err := p.arrived(once, e, effects, now)
	if err != nil {
		return false, err
	}
	p.cfg.Failpoint("processing.accept")
	err = p.cfg.Queue.Append(ctx, records...)
	if domain.Is(err, domain.TooLarge) && (len(records) != 1 || records[0].Put.Shelf != queue.Spool) { // Handle parks it as it is.
		err = p.cfg.Queue.Append(ctx, p.waiting(e, now))
	}
	return true, err
}

// direct tells whether all that is wanted is delivery of the message as it is.
func (p *Processor) direct(e *queue.Entry, m *pipeline.Mail, effects []pipeline.Effect) bool {
	for _, f := range effects {
		if f.Kind != pipeline.Log && (f.Kind != pipeline.Deliver || len(f.Mail.Edits) > 0 || f.Mail.Sender != m.Sender) {
			return false
		}
	}
	for _, f := range effects {
		if f.Kind == pipeline.Log {
			p.logLine(e, &f)
		}
	}
	return true
}

// arrived gives the records of what becomes of a message that arrives. Where others have to be asked, or where something cannot be told or done now, it is put on the spool as a whole.
func (p *Processor) arrived(ctx context.Context, e *queue.Entry, effects []pipeline.Effect, now int64) ([]queue.Record, error) {
	waits := false
	for _, f := range effects {
		waits = waits || f.Kind == pipeline.Call || f.Kind == pipeline.Retry
	}
	if !waits {
		records, err := p.carry(ctx, e, effects, now)
		if err == nil {
			return records, nil
		}
		p.cfg.Logger.Warn("a message that arrives cannot be processed yet", "id", e.Transfer, "error", err)
	}
	return []queue.Record{p.waiting(e, now)}, nil
}

// waiting puts a message that arrives on the spool.
func (p *Processor) waiting(e *queue.Entry, now int64) queue.Record {
	s := *e
	s.ID, s.Shelf, s.Due, s.Attributes = p.id(), queue.Spool, now, maps.Clone(e.Attributes)
	p.count("spool")
	return queue.Record{Put: &s}
}

// Handle goes on with a message that a holder has claimed. What fails, panics or takes too long is tried again later, and parked when that was so often enough. Errors: those of Queue.Append, and domain.Unavailable
// when the server stops; the message then stays on the spool.
func (p *Processor) Handle(ctx context.Context, e *queue.Entry, by Holder) error {
	m := mailOf(e)
	work, cancel := inTime(ctx)
	defer cancel()
	records, why := p.decide(work, e, m)
	if err := ctx.Err(); err != nil && (why == "" || !errors.Is(err, context.DeadlineExceeded)) { // The server stops, or others may have the message by now: nothing failed.
		return domain.Wrap(domain.Unavailable, err, "process a message")
	}
	result := queue.Result{ID: e.ID, Node: by.Node, Boot: by.Boot, At: queue.Millis(p.cfg.Clock())}
	if why == "" {
		done := result
		for _, r := range e.Recipients {
			done.Done = append(done.Done, r.Address)
		}
		p.cfg.Failpoint("processing.result")
		err := p.cfg.Queue.Append(ctx, append([]queue.Record{{Result: &done}}, records...)...)
		switch {
		case domain.Is(err, domain.TooLarge): // It will be the next time.
			p.giveUp(e, m, &result, "too-large", err.Error())
		case domain.Is(err, domain.Invalid):
			p.later(e, m, &result, err.Error())
		default:
			return err
		}
	} else {
		p.later(e, m, &result, why)
		p.cfg.Failpoint("processing.result")
	}
	last, end := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer end()
	return p.cfg.Queue.Append(last, queue.Record{Result: &result})
}

// settling bounds how long it takes to note that a message is to be tried again.
const settling = 30 * time.Second

// inTime leaves a tenth of the time that there is for what has to be noted at the end.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end, is := ctx.Deadline()
	if !is {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-time.Until(end)/10))
}

// decide gives the records of what is to become of a message, or tells why it is to be tried again as it is.
func (p *Processor) decide(ctx context.Context, e *queue.Entry, m *pipeline.Mail) (records []queue.Record, why string) {
	defer func() {
		if r := recover(); r != nil {
			p.cfg.Logger.Error("the pipeline panics", "queued", e.ID, "id", e.Transfer, "panic", r, "stack", string(debug.Stack()))
			records, why = nil, fmt.Sprintf("the pipeline panics: %v", r)
		}
	}()
	effects := p.follow(ctx, e, m, p.world(ctx, e, nil))
	if ctx.Err() != nil {
		return nil, "its steps take too long"
	}
	if why := p.unmoved(e, m, effects); why != "" {
		return nil, why
	}
	records, err := p.carry(ctx, e, effects, queue.Millis(p.cfg.Clock()))
	if err != nil {
		return nil, err.Error()
	}
	return records, ""
}

// unmoved tells why a message is to be tried again where and as it is; empty when something else is to become of it.
func (p *Processor) unmoved(e *queue.Entry, m *pipeline.Mail, effects []pipeline.Effect) string {
	if len(effects) != 1 || effects[0].Kind != pipeline.Retry {
		return ""
	}
	r := effects[0].Mail
	at := cmp.Or(m.Processor, pipeline.Root)
	if r.Processor != at || r.Step != m.Step || len(r.Edits) > 0 || !maps.Equal(r.Attributes, e.Attributes) || len(r.Recipients) != len(e.Recipients) {
		return ""
	}
	return cmp.Or(effects[0].Text, "not now")
}

// later has a message tried again after a pause, or parks it when that was so often enough.
func (p *Processor) later(e *queue.Entry, m *pipeline.Mail, result *queue.Result, why string) {
	age := time.Duration(result.At-e.Arrived) * time.Millisecond
	result.Error, result.Tried = why, true
	if e.Attempts+1 < p.cfg.Limits.Attempts && age < p.cfg.Policy.Expire {
		result.Due = result.At + p.cfg.Policy.Pause(e.Attempts+1, float64(p.cfg.Random()>>11)/(1<<53)).Milliseconds()
		p.count("retry")
		p.cfg.Logger.Warn("a message cannot be processed yet", "queued", e.ID, "id", e.Transfer, "processor", m.Processor, "attempt", e.Attempts+1, "error", why)
		return
	}
	p.giveUp(e, m, result, "too-often", why)
}

// giveUp parks a message as it is.
func (p *Processor) giveUp(e *queue.Entry, m *pipeline.Mail, result *queue.Result, cause, why string) {
	shelf, _ := queue.Repository(queue.RepositoryError)
	result.Error, result.Tried = why, true
	result.Move = &queue.Move{Shelf: shelf, Cause: cause, Error: why, Processor: cmp.Or(m.Processor, pipeline.Root), Step: m.Step}
	p.count("park")
	p.cfg.Logger.Warn("mail is parked", "repository", shelf.Name(), "key", e.ID, "id", e.Transfer, "messageId", e.MessageID, "from", e.Sender, "cause", cause, "error", why)
}

func (p *Processor) id() queue.ID { return queue.ID(p.cfg.Random()) }

func (p *Processor) count(kind string) {
	if f := p.cfg.Metrics.Effect; f != nil {
		f(kind)
	}
}
