package projections

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// goal is up to where the log is to be applied: as far as the live generations are, or to its end when they stand still.
func (b *build) goal(ctx context.Context) (domain.Seq, error) {
	b.g.mu.Lock()
	reached := b.g.reached
	b.g.mu.Unlock()
	if reached > 0 {
		return reached, nil
	}
	return b.g.r.cfg.Log.Head(ctx, b.g.stream)
}

// fill applies the entries after one position up to another.
func (b *build) fill(ctx context.Context, after, upTo domain.Seq) error {
	r := b.g.r
	limits := r.cfg.Limits
	limits.BatchEntries = b.opt.pace.batch(limits.BatchEntries)
	q := newQueue(limits)
	reading, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var reads atomic.Int64
	wg.Go(func() {
		q.end(pour(reading, r.readPast(reading, b.g.stream, after, upTo, known(b.works())), q, &reads))
	})
	began, from := time.Now(), after
	links, step := newLinker(after), limits.BatchEntries
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.ready:
		}
		entries, ended, err := q.take()
		if ended {
			if err == nil && after < upTo {
				err = domain.Errorf(domain.Unavailable, "the log ended at position %d", after)
			}
			return err
		}
		if len(entries) == 0 {
			continue
		}
		for len(entries) > 0 {
			if err := b.yield(ctx); err != nil {
				return err
			}
			part := entries[:min(step, len(entries))]
			entries = entries[len(part):]
			working := time.Now()
			if err := b.add(ctx, links, part); err != nil {
				return err
			}
			if len(b.works()) == 0 {
				return nil
			}
			took := time.Since(working)
			step = stride(step, limits.BatchEntries, took)
			after = part[len(part)-1].Seq
			rate := float64(after-from) / max(time.Since(began).Seconds(), 1e-6)
			r.measure(b.names(), rate, uint64(after-from))
			b.show(Filling, after, upTo, rate)
			if err := b.opt.pace.rest(ctx, len(part), took+time.Duration(reads.Swap(0))); err != nil {
				return err
			}
		}
	}
}

// yielding is how long a build stands still before each of its transactions, at most, because somebody waits for rows: so it comes to its end whatever happens.
const yielding = time.Second

// yield lets go first what mail waits for.
func (b *build) yield(ctx context.Context) error {
	if b.presses || b.missed() {
		return ctx.Err()
	}
	if err := b.g.r.first.wait(ctx, 0); err != nil {
		return err
	}
	return b.g.r.awaited.wait(ctx, yielding)
}

// Transactions of a build hold up those of what comes in where connections or processors are few, and whatever wants to go first. So they are to end within
// about this time.
const brief = 500 * time.Millisecond

// stride is of how many entries the next transaction is, after one that took some time.
func stride(now, most int, took time.Duration) int {
	switch {
	case took > brief:
		return max(now/2, min(most, 128))
	case took < brief/4:
		return min(now*2, most)
	}
	return now
}

// add applies entries.
func (b *build) add(ctx context.Context, links *linker, entries []streams.Entry) error {
	for i := range entries {
		if err := links.check(&entries[i]); err != nil {
			return err
		}
	}
	works := b.works()
	release, err := b.g.r.fills.take(ctx, len(works))
	if err != nil {
		return err
	}
	b.g.commit(ctx, works, entries)
	release()
	return b.outcome(ctx, works)
}

// pour puts what is read of the log into a queue, and adds up the nanoseconds that reading and opening entries takes.
func pour(ctx context.Context, read iter.Seq2[streams.Entry, error], q *queue, took *atomic.Int64) error {
	const chunk = 64
	entries := make([]streams.Entry, 0, chunk)
	began := time.Now()
	for e, err := range read {
		if err != nil {
			return errors.Join(q.put(ctx, entries), err)
		}
		if entries = append(entries, e); len(entries) == chunk {
			took.Add(int64(time.Since(began)))
			if err := q.put(ctx, entries); err != nil {
				return err
			}
			entries, began = entries[:0], time.Now()
		}
	}
	return q.put(ctx, entries)
}

// outcome looks at what became of a batch. A part whose rows are wrong although the log is not begins once more from nothing; one that cannot apply
// an entry is given up, and the others go on.
func (b *build) outcome(ctx context.Context, works []*work) error {
	for _, w := range works {
		var damage *Damage
		p := b.part(w.slot)
		switch {
		case w.err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case p.spared && (errors.As(w.err, &damage) || errors.Is(w.err, ErrLog)):
			b.folds = true
			b.forgo(p, b.g.r.cfg.Views.Drop)
			return domain.Wrap(domain.Unavailable, errors.New(w.err.Error()), "rows that come from snapshots are wrong: they are made anew from the log alone")
		case errors.Is(w.err, ErrLog):
			return w.err
		case errors.As(w.err, &damage) && p.started:
			b.abandon(p, domain.Wrap(domain.Corrupt, errors.New(w.err.Error()), "the log contradicts itself"))
		case errors.As(w.err, &damage) || spoilt(w.err) && !p.started:
			b.forgo(p, b.g.r.cfg.Views.Drop)
			return domain.Wrap(domain.Unavailable, w.err, "rows that were begun earlier are wrong: they are made anew")
		case fatal(w.err):
			b.abandon(p, w.err)
		default:
			return w.err
		}
	}
	return nil
}
