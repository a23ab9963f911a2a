package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// work is a generation on its way through a batch of entries.
type work struct {
	slot *slot
	gen  *generation
	// finish runs in the transaction after the entries; it may change the head. It may be nil.
	finish func(ctx context.Context, tx Tx, h *head) error
	gone   func() []domain.AccountID // erased ones of which readable entries may still come; may be nil
	passed bool                      // the batch may have passed accounts that were ahead
	err    error                     // how the batch went
}

// entryError says which entry of a batch could not be applied.
type entryError struct {
	index int
	err   error
}

func (e *entryError) Error() string { return e.err.Error() }
func (e *entryError) Unwrap() error { return e.err }

// errWithdrawn is how the batch went for generations that could have applied it when another found the log to be wrong.
var errWithdrawn = errors.New("the batch was given up")

// commit applies a batch to generations, each in a transaction of its own, all at the same time. Each gets its own error, and one that fails
// keeps no other from committing, but for one thing: when any of them finds the log itself to be wrong, none commits.
//
// Commits come one after the other, in the order of works, after all have folded.
func (g *group) commit(ctx context.Context, works []*work, entries []streams.Entry) {
	release, err := g.r.writes.take(ctx, len(works))
	if err != nil {
		for _, w := range works {
			w.err = err
		}
		return
	}
	defer release()
	var wrong atomic.Bool
	var folded, ended sync.WaitGroup
	var begun atomic.Bool
	folded.Add(len(works))
	turn := make([]chan struct{}, len(works)+1)
	for i := range turn {
		turn[i] = make(chan struct{})
	}
	close(turn[0])
	for i, w := range works {
		ended.Go(func() {
			arrive := sync.OnceFunc(folded.Done)
			var h head
			w.err = w.gen.view.Update(ctx, func(tx Tx) error {
				var err error
				h, err = w.fold(ctx, tx, entries)
				if errors.Is(err, ErrLog) {
					wrong.Store(true)
				}
				arrive()
				folded.Wait()
				switch {
				case err != nil:
					return err
				case wrong.Load():
					return errWithdrawn
				}
				<-turn[i]
				if len(entries) == 0 {
					return nil
				}
				if begun.CompareAndSwap(false, true) {
					g.r.cfg.Failpoint("project.before-commit")
				} else {
					g.r.cfg.Failpoint("project.between")
				}
				return nil
			})
			arrive()
			<-turn[i]
			close(turn[i+1])
			if w.err == nil {
				g.mu.Lock()
				w.gen.head = h
				if w.passed {
					w.gen.passed()
				}
				g.mu.Unlock()
			}
		})
	}
	ended.Wait()
	if begun.Load() {
		g.r.cfg.Failpoint("project.committed")
	}
}

// fold applies the entries beyond the generation's head and gives the new head.
func (w *work) fold(ctx context.Context, tx Tx, entries []streams.Entry) (head, error) {
	h := w.gen.head
	projection := w.slot.projection
	h.version = projection.Version()
	batch, err := projection.Begin(ctx, tx)
	if err != nil {
		return h, err
	}
	var gone []domain.AccountID
	if w.gone != nil {
		gone = w.gone()
	}
	for i := range entries {
		e := &entries[i]
		if e.Seq <= h.seq {
			continue
		}
		known, err := w.gen.knows(e)
		if err != nil {
			return h, &entryError{i, err}
		}
		if known {
			h.seq = e.Seq
			continue
		}
		if slices.Contains(gone, e.Account) {
			erased := *e
			erased.Transaction, erased.Erased = nil, true
			e = &erased
		}
		if err := batch.Apply(ctx, e); err != nil {
			return h, &entryError{i, fmt.Errorf("projection %s, position %d: %w", projection.Name(), e.Seq, err)}
		}
		h.seq = e.Seq
		if e.Transaction != nil {
			h.at = e.Transaction.At
		}
	}
	if err := batch.Flush(ctx); err != nil {
		return h, err
	}
	if w.finish != nil {
		if err := w.finish(ctx, tx, &h); err != nil {
			return h, err
		}
	}
	if w.passed, err = w.gen.passes(ctx, tx, h); err != nil {
		return h, err
	}
	h.counted = h.seq
	return h, writeHead(ctx, tx, h)
}

// before gives the entries of a batch that come before the one at which err arose.
func before(err error, entries []streams.Entry) []streams.Entry {
	var at *entryError
	if !errors.As(err, &at) {
		return nil
	}
	return entries[:at.index]
}

// linker checks the chains of accounts while a log is read from some position on: of accounts that it has not met it believes the first entry,
// unless it began at the beginning.
type linker struct {
	whole bool
	last  map[domain.AccountID]streams.Position
}

func newLinker(after domain.Seq) *linker {
	return &linker{after == 0, map[domain.AccountID]streams.Position{}}
}

func (l *linker) check(e *streams.Entry) error {
	last, met := l.last[e.Account]
	if met || l.whole {
		if err := Link(last, e); err != nil {
			return err
		}
	}
	l.last[e.Account] = e.Position()
	return nil
}
