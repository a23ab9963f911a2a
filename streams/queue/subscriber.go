package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// SubscriberConfig is what a Subscriber works with. Boot is needed.
type SubscriberConfig struct {
	Boot     string        // this process's, unlike that of any other, and the same for all that claim entries of the queue in it: what a node claimed under another one is taken for lost
	Parallel int           // entries in hand at a time; 16
	Lease    time.Duration // for which other nodes leave alone what this one has in hand; 15 minutes. A handler must be done by then
	Retry    time.Duration // pause before an entry is given again that the handler refused without a word; 1 minute
	Attempts int           // at an entry whose handler never says what becomes of it, before it is parked in the repository error; 100
	Sweep    time.Duration // between two looks for what nobody has in hand any more; 1 minute
	Drain    time.Duration // that handlers have to end once the Subscriber is closed, before their contexts end; 5 s
}

// Subscriber hands the entries of a shelf that are due to a handler of Watermill. The payload of a message is the entry, as JSON; its UUID is the entry's id. An entry is claimed before
// it is handed out, so that one process has it at a time.
//
// The handler appends a queue.Result, which says what becomes of the entry, with the node and boot of Metadata, and then acknowledges. What it refuses (Nack), or leaves claimed, is given again after a pause.
type Subscriber struct {
	q   *Queue
	cfg SubscriberConfig

	mu     sync.Mutex
	closed bool
	stop   context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
}

// The metadata of a message: who holds the claim.
const (
	MetadataNode = "node"
	MetadataBoot = "boot"
)

// NewSubscriber makes a Subscriber.
func NewSubscriber(q *Queue, cfg SubscriberConfig) (*Subscriber, error) {
	if q == nil || cfg.Boot == "" {
		return nil, domain.Errorf(domain.Invalid, "a subscriber of a queue needs the queue, and a name of its process")
	}
	cfg.Parallel = cmp.Or(cfg.Parallel, 16)
	cfg.Lease = cmp.Or(cfg.Lease, 15*time.Minute)
	cfg.Retry = cmp.Or(cfg.Retry, time.Minute)
	cfg.Attempts = cmp.Or(cfg.Attempts, 100)
	cfg.Sweep = cmp.Or(cfg.Sweep, time.Minute)
	cfg.Drain = cmp.Or(cfg.Drain, 5*time.Second)
	s := &Subscriber{q: q, cfg: cfg}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Subscribe begins to hand out the entries of a shelf. The channel is closed when ctx ends or the Subscriber is closed, after the handlers have let go of their messages.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	shelf := queue.Shelf(topic)
	if shelf == queue.Outgoing || shelf.IsRepository() {
		return nil, domain.Errorf(domain.Invalid, "entries of %q are not handed out", shelf.Name())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	out := make(chan *message.Message)
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.ctx, cancel)
	s.wg.Go(func() {
		defer close(out)
		defer cancel()
		defer unhook()
		s.run(ctx, shelf, out)
	})
	return out, nil
}

// Close ends all subscriptions and waits for them.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
	return nil
}

func (s *Subscriber) run(ctx context.Context, shelf queue.Shelf, out chan<- *message.Message) {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	free := make(chan struct{}, s.cfg.Parallel)
	for range s.cfg.Parallel {
		free <- struct{}{}
	}
	freed := make(chan struct{}, 1) // holds a token when a handler is done
	swept := time.Time{}
	for ctx.Err() == nil {
		if time.Since(swept) >= s.cfg.Sweep {
			swept = time.Now()
			s.sweep(ctx)
		}
		changed := s.q.Changed()
		ids, pause, err := s.claim(ctx, shelf, len(free))
		if err != nil {
			if ctx.Err() == nil {
				s.q.cfg.Logger.Error("the queue cannot be written", "shelf", shelf.Name(), "error", err)
			}
			pause = time.Second
		}
		for _, id := range ids {
			<-free // nobody else takes them
			handlers.Go(func() {
				s.give(ctx, id, out)
				free <- struct{}{}
				select {
				case freed <- struct{}{}:
				default:
				}
			})
		}
		if len(ids) > 0 {
			continue
		}
		timer := time.NewTimer(min(pause, s.cfg.Sweep))
		select {
		case <-changed:
		case <-freed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// claim takes entries that are due, at most so many. pause is how long there is nothing to do otherwise.
func (s *Subscriber) claim(ctx context.Context, shelf queue.Shelf, most int) (mine []queue.ID, pause time.Duration, err error) {
	pause = s.cfg.Sweep
	if most == 0 {
		return nil, pause, nil
	}
	now := time.Now()
	c := &queue.Claim{Node: s.q.cfg.Node, Boot: s.cfg.Boot, At: queue.Millis(now), Until: queue.Millis(now.Add(s.cfg.Lease)), On: &shelf}
	s.q.View(func(st *queue.State) {
		b, wait := st.On(shelf).Next(c.At, most, func(string) bool { return false })
		for _, i := range b.Items {
			c.IDs = append(c.IDs, i.ID)
		}
		if wait >= 0 {
			pause = min(pause, max(time.Duration(wait)*time.Millisecond, time.Millisecond))
		}
	})
	if len(c.IDs) == 0 {
		return nil, pause, nil
	}
	if err := s.q.Append(ctx, queue.Record{Claim: c}); err != nil {
		return nil, pause, err
	}
	s.q.cfg.Failpoint("queue.spool-claimed")
	s.q.View(func(st *queue.State) {
		mine = slices.DeleteFunc(c.IDs, func(id queue.ID) bool { return !s.holds(st, id) })
	})
	return mine, pause, nil
}

func (s *Subscriber) holds(st *queue.State, id queue.ID) bool {
	c, claimed := st.Claim(id)
	return claimed && c.Node == s.q.cfg.Node && c.Boot == s.cfg.Boot
}

// give hands an entry out and waits for the handler.
func (s *Subscriber) give(ctx context.Context, id queue.ID, out chan<- *message.Message) {
	tried := false
	defer func() {
		left := false
		s.q.View(func(st *queue.State) { left = s.holds(st, id) })
		if left {
			s.giveBack(id, tried)
		}
	}()
	entries, err := s.q.Entries(ctx, []queue.ID{id})
	if err != nil || len(entries) == 0 {
		return
	}
	payload, err := json.Marshal(entries[0])
	if err != nil {
		s.q.cfg.Logger.Error("an entry cannot be handed out", "queued", id, "error", err)
		return
	}
	m := message.NewMessage(id.String(), payload)
	m.Metadata = message.Metadata{MetadataNode: s.q.cfg.Node, MetadataBoot: s.cfg.Boot}
	its, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Lease-s.cfg.Lease/4)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(s.cfg.Drain):
			cancel()
		case <-its.Done():
		}
	})()
	m.SetContext(its)
	select {
	case out <- m:
	case <-ctx.Done():
		return
	}
	tried = true
	select {
	case <-m.Acked():
	case <-m.Nacked():
	case <-its.Done(): // It hears of that, too; what it says after it has given the entry back does not count.
		s.q.cfg.Logger.Warn("a handler has an entry for too long", "queued", id)
	}
}

// giveBack frees an entry of which the handler has not said what becomes of it. After an attempt it rests; after too many it is parked.
func (s *Subscriber) giveBack(id queue.ID, tried bool) {
	now := time.Now()
	r := &queue.Result{ID: id, Node: s.q.cfg.Node, Boot: s.cfg.Boot, At: queue.Millis(now), Due: queue.Millis(now), Tried: tried}
	if tried {
		r.Due = queue.Millis(now.Add(s.cfg.Retry + time.Duration(rand.Int64N(int64(s.cfg.Retry/5)+1))))
		s.q.View(func(st *queue.State) {
			if i := st.Find(id); i != nil && int(i.Attempts)+1 >= s.cfg.Attempts {
				p := i.Parking()
				r.Move = &queue.Move{Cause: "too-often", Error: "its handler failed too often; the server's log says why", Processor: p.Processor, Step: p.Step}
				r.Move.Shelf, _ = queue.Repository(queue.RepositoryError)
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.q.cfg.Limits.Settle)
	defer cancel()
	if err := s.q.Append(ctx, queue.Record{Result: r}); err != nil { // It is found when the claim has run out.
		s.q.cfg.Logger.Error("an entry cannot be given back yet", "queued", id, "error", err)
	} else if r.Move != nil {
		s.q.cfg.Logger.Warn("mail is parked", "repository", r.Move.Shelf.Name(), "key", id, "cause", r.Move.Cause, "error", r.Move.Error)
	}
}

// sweep frees entries whose attempt nobody will end.
func (s *Subscriber) sweep(ctx context.Context) {
	now := queue.Millis(time.Now())
	var left []queue.ID
	s.q.View(func(st *queue.State) { left = st.Abandoned(now, s.cfg.Boot) })
	if len(left) == 0 {
		return
	}
	if err := s.q.Append(ctx, queue.Record{Lapse: &queue.Lapse{IDs: left, Node: s.q.cfg.Node, Boot: s.cfg.Boot, At: now}}); err != nil && ctx.Err() == nil {
		s.q.cfg.Logger.Error("the queue cannot be written", "error", err)
	}
}
