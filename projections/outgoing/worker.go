package outgoing

import (
	"context"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// Worker is a node's share of the work. Make one with New.
type Worker struct {
	cfg Config

	mu     sync.Mutex
	seats  seats
	used   [2]int // attempts elsewhere, and at mailboxes here, which have as many seats again
	rests  map[string]rest
	freed  chan struct{} // holds a token when a seat became free or a rest began
	wg     sync.WaitGroup
	ending chan struct{} // closed when nothing new is to be begun
	ended  chan struct{} // closed when nothing new is begun
	end    sync.Once
	cancel context.CancelFunc // of attempts
	ctx    context.Context
}

// rest is a destination where no host could be reached.
type rest struct {
	until    time.Time
	failures int
}

// New makes a Worker. It does nothing until Run. Errors: domain.Invalid.
func New(cfg Config) (*Worker, error) {
	if cfg.Queue == nil || cfg.Blobs == nil || cfg.Node == "" || cfg.Boot == "" || cfg.Hostname == "" {
		return nil, domain.Errorf(domain.Invalid, "a worker of the queue needs the queue, blobs, a host name, and names of its node and process")
	}
	cfg.setDefaults()
	w := &Worker{cfg: cfg, seats: newSeats(), rests: map[string]rest{}, freed: make(chan struct{}, 1), ending: make(chan struct{}), ended: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w, nil
}

// Run attempts what is due until ctx ends, which cuts off what is in work, or Drain is called. It is called once.
func (w *Worker) Run(ctx context.Context) error {
	w.loop(ctx)
	close(w.ended)
	defer context.AfterFunc(ctx, w.cancel)()
	w.wg.Wait()
	return nil
}

func (w *Worker) loop(ctx context.Context) {
	swept := time.Time{}
	for ctx.Err() == nil {
		if now := w.cfg.Clock(); now.Sub(swept) >= w.cfg.Limits.Sweep {
			swept = now
			w.sweep(ctx)
		}
		changed := w.cfg.Queue.Changed()
		began, pause := w.begin(ctx)
		if began {
			continue
		}
		timer := time.NewTimer(min(pause, w.cfg.Limits.Sweep))
		select {
		case <-changed:
		case <-w.freed:
		case <-timer.C:
		case <-w.ending:
			timer.Stop()
			return
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// Drain has Run begin nothing new and waits for the attempts in work. When ctx ends first, they are cut off; the queue knows of each what it needs.
func (w *Worker) Drain(ctx context.Context) error {
	w.end.Do(func() { close(w.ending) })
	done := make(chan struct{})
	go func() { <-w.ended; w.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		w.cancel()
		<-done
	}
	return nil
}

// sweep frees entries whose attempt nobody will end, and the stream of what is behind it.
func (w *Worker) sweep(ctx context.Context) {
	now := queue.Millis(w.cfg.Clock())
	var left []queue.ID
	w.cfg.Queue.View(func(s *queue.State) { left = s.Abandoned(now, w.cfg.Boot) })
	if len(left) > 0 {
		w.cfg.Logger.Warn("attempts had no end: what they were to deliver is tried again, and peers may get it twice", "messages", len(left))
		if err := w.cfg.Queue.Append(ctx, queue.Record{Lapse: &queue.Lapse{IDs: left, Node: w.cfg.Node, Boot: w.cfg.Boot, At: now}}); err != nil {
			w.cfg.Logger.Error("the queue cannot be written", "error", err)
		}
	}
	if err := w.cfg.Queue.Cut(ctx, false); err != nil && ctx.Err() == nil {
		w.cfg.Logger.Error("the queue's stream cannot be cut", "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, r := range w.rests {
		if w.cfg.Clock().Sub(r.until) > w.cfg.Limits.RestMost {
			delete(w.rests, name)
		}
	}
}

// begin claims what is due, as much as there are free seats, and has it attempted. pause is how long there is nothing to do otherwise.
func (w *Worker) begin(ctx context.Context) (began bool, pause time.Duration) {
	select {
	case <-w.ending:
		return false, w.cfg.Limits.Sweep
	default:
	}
	now := w.cfg.Clock()
	pause = w.cfg.Limits.Sweep
	var batches []queue.Batch
	free := w.free()
	planned := w.plan()
	w.cfg.Queue.View(func(s *queue.State) {
		for free[elsewhere] > 0 {
			b, wait := s.Next(queue.Millis(now), w.cfg.Limits.Batch, func(name string) bool {
				return planned.taken[name] || free[w.place(name)] <= 0 || w.busy(name, now, &pause) || w.place(name) == elsewhere && (w.cfg.Remote == nil || !planned.room(name, &w.cfg))
			})
			if len(b.Items) == 0 {
				if wait >= 0 {
					pause = min(pause, time.Duration(wait)*time.Millisecond)
				}
				return
			}
			planned.take(b.Domain, w.place(b.Domain), &w.cfg)
			free[w.place(b.Domain)]--
			batches = append(batches, b)
		}
	})
	if len(batches) == 0 {
		return false, max(pause, time.Millisecond)
	}
	on := queue.Outgoing
	claim := &queue.Claim{Node: w.cfg.Node, Boot: w.cfg.Boot, At: queue.Millis(now), Until: queue.Millis(now.Add(w.cfg.Limits.Lease)), On: &on}
	work := make([][]queue.ID, len(batches))
	for n, b := range batches {
		for _, i := range b.Items {
			work[n] = append(work[n], i.ID)
		}
		claim.IDs = append(claim.IDs, work[n]...)
	}
	if err := w.cfg.Queue.Append(ctx, queue.Record{Claim: claim}); err != nil {
		if ctx.Err() == nil {
			w.cfg.Logger.Error("the queue cannot be written", "error", err)
		}
		return false, time.Second
	}
	w.cfg.Failpoint("outgoing.claimed")
	for n, b := range batches {
		var mine []queue.ID
		w.cfg.Queue.View(func(s *queue.State) {
			for _, id := range work[n] {
				if c, claimed := s.Claim(id); claimed && c.Node == w.cfg.Node && c.Boot == w.cfg.Boot && c.At == claim.At {
					mine = append(mine, id)
				}
			}
		})
		if len(mine) > 0 {
			at := w.place(b.Domain)
			seat := w.sit(b.Domain, at)
			w.wg.Go(func() {
				defer w.stand(seat, at)
				w.attempt(b.Domain, mine)
			})
		}
	}
	return true, 0
}

// Where attempts are made.
const (
	elsewhere = iota
	here
)

func (w *Worker) place(name string) int {
	if w.cfg.IsLocal(name) {
		return here
	}
	return elsewhere
}

// free is how many seats there are, by place.
func (w *Worker) free() (seats [2]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, used := range w.used {
		seats[at] = w.cfg.Limits.Connections - used
	}
	return seats
}

// busy tells whether a destination can have no further attempt now. Where it rests, pause is shortened to that.
func (w *Worker) busy(name string, now time.Time, pause *time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.rests[name]
	if left := r.until.Sub(now); left > 0 {
		*pause = min(*pause, left)
		return true
	}
	if r.failures > 0 { // one tries whether it is back
		return w.seats.destinations[name] > 0
	}
	return w.seats.destinations[name] >= w.cfg.Limits.PerDestination
}

func (w *Worker) sit(name string, at int) seat {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used[at]++
	if at == here {
		return w.seats.sitHere(name)
	}
	return w.seats.sit(name, w.cfg.Organisation(name))
}

// plan is what is taken now, to which a round adds what it takes.
func (w *Worker) plan() plan {
	w.mu.Lock()
	defer w.mu.Unlock()
	return plan{seats: w.seats.clone(), taken: map[string]bool{}}
}

func (w *Worker) stand(s seat, at int) {
	w.mu.Lock()
	w.seats.stand(s)
	w.used[at]--
	w.mu.Unlock()
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

// reached notes whether some host of a destination could be spoken to.
func (w *Worker) reached(name string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seats.answered(name, ok)
	if ok {
		delete(w.rests, name)
		return
	}
	r := w.rests[name]
	pause := w.cfg.Limits.Rest
	for range min(r.failures, 20) {
		pause = min(2*pause, w.cfg.Limits.RestMost)
	}
	w.rests[name] = rest{w.cfg.Clock().Add(pause), r.failures + 1}
}

// Resting lists destinations where no host could be reached, and until when nothing is tried there.
func (w *Worker) Resting() map[string]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]time.Time{}
	for name, r := range w.rests {
		if r.until.After(w.cfg.Clock()) {
			all[name] = r.until
		}
	}
	return all
}

// Wake ends the rest of all destinations.
func (w *Worker) Wake() {
	w.mu.Lock()
	clear(w.rests)
	w.mu.Unlock()
	if c, rests := w.cfg.Remote.(interface{ Wake() }); rests {
		c.Wake()
	}
	select {
	case w.freed <- struct{}{}:
	default:
	}
}
