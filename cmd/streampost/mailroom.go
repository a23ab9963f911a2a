package main

import (
	"context"
	"sync"
	"time"

	"github.com/streampost/streampost/adapters/outbound"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/projections/outgoing"
	"github.com/streampost/streampost/projections/parking"
	"github.com/streampost/streampost/projections/processing"
	streamqueue "github.com/streampost/streampost/streams/queue"
)

// mailroom is the queue and its worker, as soon as they are there. Where the queue cannot be opened at the start, it is tried again and again, and whoever needs it is told so meanwhile.
type mailroom struct {
	mu     sync.RWMutex
	queue  *streamqueue.Queue
	worker *outgoing.Worker
	sender *outbound.Sender // nil where nothing is sent
	parked *parking.Lots
	steps  *processing.Processor
}

func (m *mailroom) get() (*streamqueue.Queue, *outgoing.Worker) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.queue, m.worker
}

// resting is how many addresses of other servers are passed over.
func (m *mailroom) resting() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.sender == nil {
		return 0
	}
	return m.sender.Resting()
}

func (m *mailroom) set(q *streamqueue.Queue, w *outgoing.Worker, s *outbound.Sender, parked *parking.Lots, steps *processing.Processor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue, m.worker, m.sender, m.parked, m.steps = q, w, s, parked, steps
}

// lots gives parked mail; nil while it cannot be read.
func (m *mailroom) lots() *parking.Lots {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.parked
}

// pipeline gives the processors; nil while they have no queue.
func (m *mailroom) pipeline() *processing.Processor {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.steps
}

var errQueueClosed = &domain.Error{Kind: domain.Unavailable, Msg: "the queue is not open yet", Hint: "the server's log says why; it is tried again every minute"}

// Accept puts the client off as long as there is no queue.
func (m *mailroom) Accept(ctx context.Context, mail *outgoing.Mail) error {
	_, w := m.get()
	if w == nil {
		return errQueueClosed
	}
	return w.Accept(ctx, mail)
}

// AcceptAll is Accept of several, all or none.
func (m *mailroom) AcceptAll(ctx context.Context, mails ...*outgoing.Mail) error {
	_, w := m.get()
	if w == nil {
		return errQueueClosed
	}
	return w.AcceptAll(ctx, mails...)
}

// Pledge is that of filing.Queue.
func (m *mailroom) Pledge(ctx context.Context, id domain.AccountID, mark string, letters []filing.Letter) ([]queue.ID, error) {
	_, w := m.get()
	if w == nil {
		return nil, errQueueClosed
	}
	return w.Pledge(ctx, id, mark, letters)
}

// Settle is that of filing.Queue.
func (m *mailroom) Settle(ctx context.Context, ids []queue.ID, kept bool) error {
	_, w := m.get()
	if w == nil {
		return errQueueClosed
	}
	return w.Settle(ctx, ids, kept)
}

// Claims tells which blobs the queue needs. Without one, nobody knows, and all are kept.
func (m *mailroom) Claims(ctx context.Context, ids []domain.BlobID) ([]bool, error) {
	q, _ := m.get()
	if q == nil {
		return nil, errQueueClosed
	}
	return q.Claims(ctx, ids)
}

// The times of the queue's opening.
const (
	queueTimeout = time.Minute // of one try
	queuePause   = time.Minute // between two
)

// openQueue opens the queue of mail for other servers, and the worker that empties it. While a core is only being looked at, nothing leaves. A queue that cannot be opened keeps
// nobody from the rest, and is tried again; what is wrong with the configuration ends the start.
func (c *core) openQueue(ctx context.Context) error {
	parts := lifecycle.New(c.log)
	err := c.tryQueue(ctx, parts)
	switch {
	case err == nil:
		c.group.Start(c.queuePart(parts, nil, 0))
		return nil
	case ctx.Err() != nil || domain.Is(err, domain.Invalid) && !c.inspecting:
		return err
	}
	c.log.Error("the queue cannot be opened: no mail leaves, and submission puts off recipients elsewhere, until it can", "err", err)
	c.group.Start(c.queuePart(lifecycle.New(c.log), c.tryQueue, queuePause))
	return nil
}

// tryQueue opens the queue once, and leaves nothing open when that fails.
func (c *core) tryQueue(ctx context.Context, parts *lifecycle.Group) error {
	once, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	err := c.queueOf(once, parts)
	if err != nil {
		_ = parts.Stop(c.cfg.Drain) // It was of no use.
	}
	return err
}

// queuePart runs what was opened. With open, it first opens it, as often as that takes, with pauses.
func (c *core) queuePart(parts *lifecycle.Group, open func(context.Context, *lifecycle.Group) error, pause time.Duration) lifecycle.Part {
	opened := make(chan struct{}) // closed when nothing is being opened any more
	ending, end := context.WithCancel(context.Background())
	run := func(ctx context.Context) error {
		for open != nil {
			select {
			case <-time.After(pause):
			case <-ending.Done():
				close(opened)
				return nil
			}
			err := open(ending, parts)
			if err == nil {
				c.log.Info("the queue is open now")
				break
			}
			c.log.Error("the queue still cannot be opened", "err", err)
		}
		close(opened)
		return parts.Wait(ctx)
	}
	stop := func(ctx context.Context) error {
		end()
		<-opened
		bound := c.cfg.Drain
		if until, bounded := ctx.Deadline(); bounded {
			bound = time.Until(until)
		}
		return parts.Stop(bound)
	}
	return lifecycle.Part{Name: "queue", Run: run, Stop: stop}
}

// administered gives operators the queue; nil while there is none.
func (c *core) administered() webadmin.Queue {
	if _, w := c.mailroom.get(); w != nil {
		return w
	}
	return nil
}

// parkedNow gives operators parked mail; nil while it cannot be read.
func (c *core) parkedNow() webadmin.Parked {
	if lots := c.mailroom.lots(); lots != nil {
		return lots
	}
	return nil
}

// pipelineNow gives operators the processors; nil while they have no queue.
func (c *core) pipelineNow() webadmin.Pipeline {
	if steps := c.mailroom.pipeline(); steps != nil {
		return steps
	}
	return nil
}

// filing is how deliveries run scripts. Where no mail leaves, what scripts would send is an error in them.
func (c *core) filing() filing.Config {
	cfg := filing.Config{
		Accounts: c.accounts, Resolve: c.directory.Known, Sender: c.returnPath, Hostname: c.hostname(), Version: version(), Logger: c.log.With("protocol", "sieve"), Count: c.metrics.Sieve, Trace: c.traces(), Failpoint: c.failpoint,
	}
	if c.cfg.Outbound.Enabled && !c.inspecting {
		cfg.Queue = &c.mailroom
	}
	return cfg
}
