package parking

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// Order is what to do with which mail of a repository.
type Order struct {
	Repository string       `json:"repository"`
	Filter     queue.Filter `json:"filter,omitzero"`
	Limit      int          `json:"limit,omitempty"`  // at most so many, those that are there longest; 0: all
	Rate       float64      `json:"rate,omitempty"`   // so many a second at most; 0: no bound
	DryRun     bool         `json:"dryRun,omitempty"` // only count
	By         string       `json:"-"`                // who wants it

	// Of Reprocess:
	Processor string `json:"processor,omitempty"` // where to begin; empty: at the beginning
	Keep      bool   `json:"keep,omitempty"`      // what is processed is a copy, and the mail stays parked

	To string `json:"to,omitempty"` // of Move: the repository
}

// Check refuses numbers that cannot be meant. Errors: domain.Invalid.
func (o *Order) Check() error {
	if o.Limit < 0 || o.Rate < 0 {
		return domain.Errorf(domain.Invalid, "limit and rate are not negative")
	}
	return o.Filter.Check()
}

// Done is what was done.
type Done struct {
	Repository string `json:"repository"`
	Selected   int    `json:"selected"`  // fitted, within the limit
	Done       int    `json:"done"`      // of them; 0 in a dry run
	Remaining  int    `json:"remaining"` // in the repository afterwards
	DryRun     bool   `json:"dryRun,omitempty"`
}

// Bounds of one append.
const (
	changes = 1000 // entries that one record changes
	copies  = 20   // entries that are copied together: each is written as a whole
)

// Reprocess has the pipeline take mail again. Each message goes by one record, so that it is parked or on its way and never both; a copy is made by one record as well. progress may be nil. What
// was done is told also when there is an error.
func (l *Lots) Reprocess(ctx context.Context, o *Order, progress func(done, total int)) (Done, error) {
	if !o.Keep {
		return l.work(ctx, o, changes, progress, func(on queue.Shelf, ids []queue.ID) (int, error) {
			now := queue.Millis(l.cfg.Clock())
			return l.change(ctx, queue.Change{IDs: ids, On: on, By: o.By, At: now, Move: &queue.Move{Shelf: queue.Spool, Processor: o.Processor, Due: now}})
		})
	}
	return l.work(ctx, o, copies, progress, func(on queue.Shelf, ids []queue.ID) (int, error) {
		entries, err := l.cfg.Queue.Entries(ctx, ids)
		if err != nil {
			return 0, err
		}
		now := queue.Millis(l.cfg.Clock())
		var records []queue.Record
		for _, e := range entries {
			if e.Shelf != on {
				continue
			}
			c := *e
			c.ID, c.Shelf, c.Node, c.Arrived, c.Due, c.Attributes = queue.ID(l.cfg.Random()), queue.Spool, l.cfg.Node, now, now, maps.Clone(e.Attributes)
			c.Parking.Processor, c.Parking.Step, c.Parking.Visited = o.Processor, 0, 0
			records = append(records, queue.Record{Put: &c})
		}
		l.cfg.Failpoint("parking.change")
		if err := l.cfg.Queue.Append(ctx, records...); err != nil {
			return 0, err
		}
		return len(records), nil
	})
}

// Move lays mail into another repository. Errors: domain.Invalid.
func (l *Lots) Move(ctx context.Context, o *Order, progress func(done, total int)) (Done, error) {
	to, err := queue.Repository(o.To)
	if err != nil {
		return Done{}, err
	}
	return l.work(ctx, o, changes, progress, func(on queue.Shelf, ids []queue.ID) (int, error) {
		if on == to {
			return 0, nil
		}
		return l.change(ctx, queue.Change{IDs: ids, On: on, By: o.By, At: queue.Millis(l.cfg.Clock()), Move: &queue.Move{Shelf: to, Shift: true}})
	})
}

// Delete takes mail away for good. All mail of a repository goes by one record, and the room that it took is given back.
func (l *Lots) Delete(ctx context.Context, o *Order, progress func(done, total int)) (Done, error) {
	if !o.Filter.All() || o.Limit > 0 || o.Rate > 0 || o.DryRun {
		return l.work(ctx, o, changes, progress, func(on queue.Shelf, ids []queue.ID) (int, error) {
			return l.change(ctx, queue.Change{IDs: ids, On: on, By: o.By, At: queue.Millis(l.cfg.Clock()), Remove: true})
		})
	}
	shelf, err := queue.Repository(o.Repository)
	if err != nil {
		return Done{}, err
	}
	sum := Done{Repository: shelf.Name()}
	l.cfg.Queue.View(func(s *queue.State) { sum.Selected = s.On(shelf).Len() })
	l.cfg.Failpoint("parking.change")
	if err := l.cfg.Queue.Append(ctx, queue.Record{Clear: &queue.Clear{By: o.By, At: queue.Millis(l.cfg.Clock()), Shelf: shelf}}); err != nil {
		return sum, err
	}
	sum.Done = sum.Selected
	l.cfg.Queue.View(func(s *queue.State) { sum.Remaining = s.On(shelf).Len() })
	l.cfg.Logger.Info("parked mail was cleared", "repository", shelf.Name(), "messages", sum.Done, "by", o.By)
	return sum, l.cfg.Queue.Cut(ctx, false)
}

// change appends a change.
func (l *Lots) change(ctx context.Context, c queue.Change) (int, error) {
	l.cfg.Failpoint("parking.change")
	return len(c.IDs), l.cfg.Queue.Append(ctx, queue.Record{Change: &c})
}

// work does something to what an order selects, some at a time and no faster than it says.
func (l *Lots) work(ctx context.Context, o *Order, most int, progress func(done, total int), do func(queue.Shelf, []queue.ID) (int, error)) (sum Done, err error) {
	shelf, err := queue.Repository(o.Repository)
	if err != nil {
		return sum, err
	}
	if err := o.Check(); err != nil {
		return sum, err
	}
	sum = Done{Repository: shelf.Name(), DryRun: o.DryRun}
	var ids []queue.ID
	l.cfg.Queue.View(func(s *queue.State) { ids = s.On(shelf).Select(&o.Filter) })
	if o.Limit > 0 && len(ids) > o.Limit {
		ids = ids[:o.Limit]
	}
	sum.Selected = len(ids)
	defer func() {
		l.cfg.Queue.View(func(s *queue.State) { sum.Remaining = s.On(shelf).Len() })
		l.cfg.Logger.Info("parked mail was worked on", "repository", shelf.Name(), "selected", sum.Selected, "done", sum.Done, "remaining", sum.Remaining, "dryRun", o.DryRun, "by", o.By)
	}()
	if o.DryRun {
		return sum, nil
	}
	pace := newPace(o.Rate)
	for some := range slices.Chunk(ids, pace.chunk(most)) {
		if err := pace.wait(ctx, len(some)); err != nil {
			return sum, err
		}
		n, err := do(shelf, some)
		if sum.Done += n; err != nil {
			return sum, err
		}
		if progress != nil {
			progress(sum.Done, sum.Selected)
		}
	}
	return sum, nil
}

// pace keeps work to a rate.
type pace struct {
	rate float64 // a second; 0: no bound
	next time.Time
}

func newPace(rate float64) *pace { return &pace{rate: rate} }

// chunk is how many are done together: at a slow rate what a fifth of a second allows.
func (p *pace) chunk(most int) int {
	if p.rate == 0 {
		return most
	}
	return max(1, min(most, int(p.rate/5)))
}

// wait returns when so many may be done. Errors: ctx's.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate == 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	left := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	if left <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
