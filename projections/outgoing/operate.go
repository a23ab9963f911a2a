package outgoing

import (
	"context"
	"slices"

	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/trace"
)

// most is how many entries one record changes.
const most = 10_000

// traced is how many entries may be removed at once of which the trace is told.
const traced = 1000

// removed prepares to tell the trace of entries that are about to go; it is told when what it gives is called. Of too many, or of those that cannot be read, it is told nothing.
func (w *Worker) removed(ctx context.Context, ids []queue.ID, by string) func() {
	if w.cfg.Trace == nil || len(ids) > traced {
		return func() {}
	}
	entries, err := w.cfg.Queue.Entries(ctx, ids)
	if err != nil {
		return func() {}
	}
	return func() {
		for _, e := range entries {
			w.trace(e, trace.Record{Event: trace.Removed, Text: "by " + by})
		}
	}
}

// View runs f on what the queue holds; f must neither keep nor change it.
func (w *Worker) View(f func(*queue.State)) { w.cfg.Queue.View(f) }

// Entries reads entries as they now are; those that are gone are left out.
func (w *Worker) Entries(ctx context.Context, ids []queue.ID) ([]*queue.Entry, error) {
	return w.cfg.Queue.Entries(ctx, ids)
}

// Change does to all entries of a shelf (Change.On) that fit what c says, and tells how many they were. progress may be nil.
func (w *Worker) Change(ctx context.Context, f *queue.Filter, c queue.Change, progress func(done, total int)) (int, error) {
	var ids []queue.ID
	w.cfg.Queue.View(func(s *queue.State) { ids = s.On(c.On).Select(f) })
	c.At = queue.Millis(w.cfg.Clock())
	done := 0
	for some := range slices.Chunk(ids, most) {
		c.IDs = some
		removed := func() {}
		if c.Remove {
			removed = w.removed(ctx, ids, c.By)
		}
		if err := w.cfg.Queue.Append(ctx, queue.Record{Change: &c}); err != nil {
			return done, err
		}
		removed()
		if done += len(some); progress != nil {
			progress(done, len(ids))
		}
	}
	if c.Due != nil {
		w.Wake()
	}
	return done, nil
}

// Clear removes all entries of a shelf, gives back the room that they took, and tells how many there were.
func (w *Worker) Clear(ctx context.Context, shelf queue.Shelf, by string) (n int, err error) {
	var ids []queue.ID
	w.cfg.Queue.View(func(s *queue.State) {
		if n = s.On(shelf).Len(); n <= traced {
			ids = s.On(shelf).Select(&queue.Filter{})
		}
	})
	removed := w.removed(ctx, ids, by)
	if err := w.cfg.Queue.Append(ctx, queue.Record{Clear: &queue.Clear{By: by, At: queue.Millis(w.cfg.Clock()), Shelf: shelf}}); err != nil {
		return 0, err
	}
	removed()
	return n, w.cfg.Queue.Cut(ctx, true)
}
