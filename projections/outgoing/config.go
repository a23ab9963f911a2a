package outgoing

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/trace"
)

// Queue is the queue; *streams/queue.Queue is one.
type Queue interface {
	View(f func(*queue.State))
	Changed() <-chan struct{}
	Entries(ctx context.Context, ids []queue.ID) ([]*queue.Entry, error)
	Append(ctx context.Context, records ...queue.Record) error
	Cut(ctx context.Context, force bool) error
}

// Carrier brings a message to its recipients. One that has hosts rest has a method Wake, too, which ends that. reached says that there was somebody to speak to: where there was not, others to the same destination need not try.
type Carrier interface {
	Deliver(ctx context.Context, e *queue.Entry, open queue.Open) (outcomes []queue.Outcome, reached bool)
}

// Blobs is the store of message bytes; see blob.Store.
type Blobs interface {
	Put(ctx context.Context, r io.Reader) (domain.BlobRef, error)
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Config is what a Worker works with.
type Config struct {
	Queue  Queue
	Blobs  Blobs
	Remote Carrier // nil: nothing leaves, and what is for others waits
	// Local brings reports to senders who live here. IsLocal tells who does.
	Local   Carrier
	IsLocal func(domain string) bool
	// Origin gives the sender who is behind one that this server has rewritten, so that a report goes to him at once; others stay. Nil: none is rewritten.
	Origin func(sender delivery.Address) delivery.Address
	// Organisation gives the domain under which an organisation has all its domains (RFC 7489 section 3.2 calls it the organizational domain); nil means that each domain stands alone.
	Organisation func(domain string) string
	// Kept tells whether the account has the mark of a pledge. Errors: domain.Erased when there is no account any more.
	Kept func(ctx context.Context, p *queue.Pledge) (bool, error)
	// Bounces makes the entry that brings a recipient who failed, and whose sender is to be told, to the processor which sees to that. nil: the sender is told at once.
	Bounces  func(e *queue.Entry, o *queue.Outcome, id queue.ID, now int64) *queue.Entry
	Hostname string // in reports
	Signer   Signer // nil: nothing is signed
	Node     string // this one's, the same after every start
	Boot     string // this process's, unlike that of any other
	Policy   queue.Policy
	Limits   Limits

	Clock   func() time.Time // nil means time.Now
	Random  func() uint64    // ids and jitter; nil means math/rand/v2
	Logger  *slog.Logger     // nil discards
	Metrics Metrics
	Trace   func(trace.Record) // is told of each step of an entry; nil tells nobody
	// Failpoint is called at named steps, for tests that kill the process there: outgoing.accept, outgoing.claimed, outgoing.reported (the report's bytes are durable),
	// outgoing.result (before the result is appended).
	Failpoint func(name string)
}

// Limits bound a Worker. A zero field means its default.
type Limits struct {
	Connections    int // attempts at a time, and as many at mailboxes here; 50
	PerDestination int // of them to one domain; 5
	// Of them to all domains of one organisation; twice PerDestination.
	PerOrganisation int
	Unproven        int           // of them to domains where nobody has answered lately; three quarters of Connections
	Batch           int           // entries that one attempt takes on, one after the other; 50
	Bulk            int           // recipients of a message, beyond which it has priority -1; 0: no number is too many
	Attempt         time.Duration // at one entry; 15 minutes
	Lease           time.Duration // for which others leave alone what this node attempts; 1 hour
	Rest            time.Duration // of a destination where no host could be reached; 1 minute, doubled each time up to RestMost
	RestMost        time.Duration // 15 minutes
	Sweep           time.Duration // between two looks for what nobody attempts any more; 1 minute
	Returned        int64         // octets of a message that a report brings back as a whole, where the sender wants it (RET=FULL); 1 MiB
	Header          int64         // octets of its header that a report brings back; 64 KiB
}

// Metrics are told what happens. Each function may be nil; all may be called at the same time.
type Metrics struct {
	Attempt func(fate queue.Fate, took time.Duration) // for each recipient
	Report  func(action string)
	Dropped func() // a recipient failed whose sender cannot be told
}

func (c *Config) setDefaults() {
	l := &c.Limits
	l.Connections = cmp.Or(l.Connections, 50)
	l.PerDestination = cmp.Or(l.PerDestination, 5)
	l.PerOrganisation = cmp.Or(l.PerOrganisation, 2*l.PerDestination)
	l.Unproven = cmp.Or(l.Unproven, max(l.Connections*3/4, 1))
	l.Batch = cmp.Or(l.Batch, 50)
	l.Attempt = cmp.Or(l.Attempt, 15*time.Minute)
	l.Lease = cmp.Or(l.Lease, time.Hour)
	l.Rest = cmp.Or(l.Rest, time.Minute)
	l.RestMost = cmp.Or(l.RestMost, 15*time.Minute)
	l.Sweep = cmp.Or(l.Sweep, time.Minute)
	l.Returned = cmp.Or(l.Returned, 1<<20)
	l.Header = cmp.Or(l.Header, 64<<10)
	p := &c.Policy
	p.First = cmp.Or(p.First, 2*time.Minute)
	p.Most = cmp.Or(p.Most, 2*time.Hour)
	p.Expire = cmp.Or(p.Expire, 5*24*time.Hour)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Uint64
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Failpoint == nil {
		c.Failpoint = func(string) {}
	}
	if c.Organisation == nil {
		c.Organisation = func(domain string) string { return domain }
	}
	c.Organisation = remembered(c.Organisation) // Each round asks for each destination that is due.
	if c.IsLocal == nil {
		c.IsLocal = func(string) bool { return false }
	}
}
