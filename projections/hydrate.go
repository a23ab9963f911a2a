package projections

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/streams"
)

// Taken says what a snapshot holds: all rows that an account had in some projections when each of them had applied the stream up to Seq and nothing beyond.
type Taken struct {
	Account  domain.AccountID
	Seq      domain.Seq
	At       streams.Position // where the account's log stood there
	Versions map[string]int   // of the projections, by name
	// Digests are those that the views kept of the rows, by projection. They are copied and not counted again, so that whoever has the rows finds out what was
	// wrong with them where they were taken.
	Digests map[string]account.Digest
}

// Chunk is some rows of one table, in the order of their keys. A table may come in many chunks.
type Chunk struct {
	Projection string
	Table      string
	Columns    []string
	Rows       func(*Room) ([][]any, error) // as Tx.Copy takes them, until the room is used again
	Done       func()                       // must be called when the rows are not needed any more
}

// Room is memory for the rows of one chunk after another: an account has millions of values.
type Room struct {
	rows   [][]any
	values []any
}

// For gives rows of nothing.
func (r *Room) For(rows, columns int) [][]any {
	r.rows, r.values = r.rows[:0], slices.Grow(r.values[:0], rows*columns)[:rows*columns]
	clear(r.values)
	for at := 0; at < len(r.values); at += columns {
		r.rows = append(r.rows, r.values[at:at+columns:at+columns])
	}
	return r.rows
}

// Snapshot is one that is open for reading. Its content is authentic, but it may be of another time, build or log.
type Snapshot interface {
	Taken() Taken
	// Chunks gives all rows of the projections that are wanted. It ends with an error when the snapshot cannot be read or is not whole.
	Chunks(ctx context.Context, want func(projection string) bool) iter.Seq2[Chunk, error]
	Close() error
}

// Snapshots is where the latest snapshot of each account is kept; package snapshots has one.
type Snapshots interface {
	// Each calls f with what every snapshot that can be opened holds, in no order.
	Each(ctx context.Context, f func(Taken) error) error
	// Open gives an account's. Errors: domain.NotFound, domain.Erased, domain.Corrupt, domain.Unavailable.
	Open(ctx context.Context, id domain.AccountID) (Snapshot, error)
}

// ErrRefused is in the chain of every error that says that there is no snapshot or that it cannot be used. The log can, always.
var ErrRefused = errors.New("the snapshot is refused")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// Hydrated tells how an account's rows were made.
type Hydrated struct {
	From    domain.Tx     `json:"from"`              // up to which transaction they come from a snapshot; 0: all were folded from the log
	Tail    int           `json:"tail"`              // transactions that were folded after that
	Rows    int64         `json:"rows"`              // that come from the snapshot
	Refused string        `json:"refused,omitempty"` // why no snapshot was used
	Elapsed time.Duration `json:"elapsed"`           // in ns
}

// Hydrate makes an account's rows in all projections in lock-step from its latest snapshot and the rest of its log, or, when there is no snapshot that
// can be used, from its whole log. They show what they showed before, or what the snapshot shows when that is more (Ahead). Projecting of the stream stands
// still meanwhile, and readers see the rows appear at once, in each projection for itself. Projections apart have no part in snapshots: Rebuild makes
// theirs. Doing it again is harmless. Errors: domain.Corrupt when the log cannot be folded, domain.Unavailable.
func (r *Runner) Hydrate(ctx context.Context, id domain.AccountID, from Snapshots) (done Hydrated, err error) {
	began := time.Now()
	stream := r.cfg.Log.StreamOf(id)
	slots := r.sections(stream)
	if len(slots) == 0 {
		return done, domain.Errorf(domain.Invalid, "%s has no rows of its own", id)
	}
	g := slots[0].group
	err = g.schedule(ctx, func(ctx context.Context) (again bool, err error) {
		var works []*work
		for _, s := range slots {
			if s.driven != nil { // others are being made altogether, or have stopped
				works = append(works, &work{slot: s, gen: s.driven})
			}
		}
		done, err = r.hydrate(ctx, id, works, from, func(domain.Seq) {})
		if errors.Is(err, ErrRefused) {
			r.refusal(id, err)
			done = Hydrated{Refused: err.Error()}
			last, err := r.cfg.Log.Last(ctx, id)
			if err != nil {
				return false, err
			}
			done.Tail = int(last.Tx)
			for _, w := range works {
				if _, err := w.slot.refresh(ctx, id); err != nil {
					return false, err
				}
			}
			return false, nil
		}
		if err != nil {
			for _, w := range works {
				if errors.Is(w.err, ErrDamaged) {
					w.slot.lose(ctx, w.gen, w.err)
				}
			}
			return false, err
		}
		for _, w := range works {
			r.rows(stream, w.slot.name(), id)
		}
		return false, nil
	})
	done.Elapsed = time.Since(began)
	return done, err
}

// refusal reports a snapshot that is there but of no use.
func (r *Runner) refusal(id domain.AccountID, err error) {
	if domain.Is(err, domain.NotFound) {
		return
	}
	r.cfg.Logger.Warn("a snapshot is not used: the account's rows are folded from its log", "account", id, "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Refused++
}

// hydrate replaces an account's rows in some generations of one stream, each in a transaction of its own, by those of a snapshot and folds the
// account's log on from there up to what the rows showed before; the snapshot may show more than that. When the error says that the
// snapshot is refused, they are to be folded from the log instead.
func (r *Runner) hydrate(ctx context.Context, id domain.AccountID, works []*work, from Snapshots, progress func(domain.Seq)) (done Hydrated, err error) {
	snapshot, err := from.Open(ctx, id)
	if err != nil {
		if domain.Is(err, domain.Unavailable) {
			return done, err
		}
		return done, refused("%w", err)
	}
	defer snapshot.Close()
	taken := snapshot.Taken()
	if err := r.accept(ctx, id, taken); err != nil {
		return done, err
	}
	release, err := r.writes.take(ctx, len(works))
	if err != nil {
		return done, err
	}
	defer release()
	done.From = taken.At.Tx
	inside, end := context.WithCancelCause(ctx)
	defer end(nil)
	var all sync.WaitGroup
	feeds := map[string]*feed{}
	for _, w := range works {
		f := &feed{work: w, id: id, digest: taken.Digests[w.slot.name()], at: taken.At, chunks: make(chan Chunk, 4), entries: make(chan []streams.Entry, 2)}
		feeds[w.slot.name()] = f
		all.Go(func() {
			if w.err = f.run(inside); w.err != nil {
				end(w.err)
			}
		})
	}
	all.Go(func() {
		err := r.supply(inside, snapshot, taken, feeds, progress)
		if err != nil {
			end(err)
		}
		for _, f := range feeds {
			f.whole = err == nil
			close(f.entries)
		}
	})
	all.Wait()
	works[0].slot.group.publish(func() {
		for _, f := range feeds {
			done.Rows += f.rows
			done.Tail = max(done.Tail, f.tail)
			if f.work.err == nil { // it stays, whatever became of the others
				f.work.gen.advanced(id, f.at)
			}
		}
	})
	if ctx.Err() != nil {
		return done, ctx.Err()
	}
	if err = context.Cause(inside); err == nil {
		r.mu.Lock()
		r.stats.Hydrated++
		r.mu.Unlock()
	}
	return done, err
}

// hydrate makes an account's rows in a copy from its snapshot. It tells whether it could.
func (b *build) hydrate(ctx context.Context, s *slot, gen *generation, id domain.AccountID) (bool, error) {
	r := b.g.r
	if b.opt.Snapshots == nil {
		return false, nil
	}
	_, err := r.hydrate(ctx, id, []*work{{slot: s, gen: gen}}, b.opt.Snapshots, func(seq domain.Seq) { b.show(Refreshing, seq, gen.seq, 0) })
	if errors.Is(err, ErrRefused) {
		r.refusal(id, err)
		return false, nil
	}
	return err == nil, err
}

// accept tells whether a snapshot is one of these projections, and of this log.
func (r *Runner) accept(ctx context.Context, id domain.AccountID, taken Taken) error {
	if taken.Account != id {
		return refused("it is that of account %s", taken.Account)
	}
	if err := r.current(id, taken); err != nil {
		return err
	}
	return r.known(ctx, taken)
}

// current tells whether a snapshot has the projections of this build, in their versions.
func (r *Runner) current(id domain.AccountID, taken Taken) error {
	var have, want []string
	for name, version := range taken.Versions {
		have = append(have, fmt.Sprintf("%s %d", name, version))
	}
	for _, s := range r.sections(r.cfg.Log.StreamOf(id)) {
		want = append(want, fmt.Sprintf("%s %d", s.name(), s.projection.Version()))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return refused("it holds the projections %s, and this build's are %s", strings.Join(have, ", "), strings.Join(want, ", "))
	}
	return nil
}

// Usable tells why a snapshot cannot be used by this build on this log, with ErrRefused; nil when it can.
func (r *Runner) Usable(ctx context.Context, taken Taken) error {
	if err := r.current(taken.Account, taken); err != nil {
		return err
	}
	return r.known(ctx, taken)
}

// known tells whether the account's log has the very entry at which a snapshot was taken, and none between that and the snapshot's position.
func (r *Runner) known(ctx context.Context, taken Taken) error {
	found := false
	if taken.At.Seq == 0 {
		return refused("it is of no entry of the log")
	}
	for e, err := range r.cfg.Log.ReadAccount(ctx, taken.Account, taken.At.Seq-1) {
		switch {
		case err != nil:
			return err
		case !found && e.Position() != taken.At:
			return refused("the log does not have the entry at position %d that it follows on", taken.At.Seq)
		case found && e.Seq <= taken.Seq:
			return refused("the log has an entry at position %d that it does not show", e.Seq)
		case found:
			return nil
		}
		found = true
	}
	if !found {
		return refused("the log ends before position %d", taken.At.Seq)
	}
	return nil
}

// supply hands rows and entries to those who write them.
func (r *Runner) supply(ctx context.Context, snapshot Snapshot, taken Taken, feeds map[string]*feed, progress func(domain.Seq)) error {
	for chunk, err := range snapshot.Chunks(ctx, func(projection string) bool { return feeds[projection] != nil }) {
		if err != nil {
			if domain.Is(err, domain.Unavailable) || ctx.Err() != nil {
				return err
			}
			return refused("%w", err)
		}
		select {
		case feeds[chunk.Projection].chunks <- chunk:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, f := range feeds {
		close(f.chunks)
	}
	progress(taken.Seq)
	upTo := domain.Seq(0)
	for _, f := range feeds {
		upTo = max(upTo, f.work.gen.shown(taken.Account))
	}
	if upTo <= taken.Seq { // there is nothing between
		return nil
	}
	links := newLinker(0)
	links.last[taken.Account] = taken.At
	var batch []streams.Entry
	flush := func() error {
		for _, f := range feeds {
			select {
			case f.entries <- batch:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if len(batch) > 0 {
			progress(batch[len(batch)-1].Seq)
		}
		batch = nil
		return nil
	}
	for e, err := range r.cfg.Log.ReadAccount(ctx, taken.Account, taken.At.Seq) {
		if err != nil {
			return err
		}
		if e.Seq > upTo {
			break
		}
		if err := links.check(&e); err != nil {
			return err
		}
		if batch = append(batch, e); len(batch) >= r.cfg.Limits.BatchEntries {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// feed is what comes for one generation: first all chunks, then all entries.
type feed struct {
	work    *work
	id      domain.AccountID
	digest  account.Digest   // of the rows in all chunks
	at      streams.Position // which entry of the account they show, and then which one was folded last
	chunks  chan Chunk
	entries chan []streams.Entry
	whole   bool // nothing was left out, once entries is closed
	rows    int64
	tail    int
}

// run writes what comes, in one transaction, which commits only when it was all.
func (f *feed) run(ctx context.Context) error {
	s := f.work.slot
	err := f.work.gen.view.Update(ctx, func(tx Tx) error {
		tables := map[string]bool{}
		for _, table := range s.projection.Tables() {
			tables[table.Name] = true
		}
		if err := clean(ctx, tx, s.projection, f.id, f.digest); err != nil {
			return err
		}
		var room Room
		for {
			select {
			case chunk, more := <-f.chunks:
				if !more {
					if err := f.fold(ctx, tx); err != nil {
						return err
					}
					return f.work.gen.advance(ctx, tx, f.id, f.at)
				}
				if !tables[chunk.Table] {
					return refused("projection %s has no table %s", s.name(), chunk.Table)
				}
				rows, err := chunk.Rows(&room)
				if err != nil {
					return refused("%w", err)
				}
				if err := tx.Copy(ctx, chunk.Table, chunk.Columns, rows); err != nil {
					return f.blame(err)
				}
				f.rows += int64(len(rows))
				chunk.Done()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return err
}

// fold applies the entries.
func (f *feed) fold(ctx context.Context, tx Tx) error {
	for {
		var entries []streams.Entry
		var more bool
		select {
		case entries, more = <-f.entries:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			if !f.whole {
				return context.Canceled
			}
			return nil
		}
		batch, err := f.work.slot.projection.Begin(ctx, tx)
		if err != nil {
			return err
		}
		for i := range entries {
			if entries[i].Seq > f.work.gen.shown(f.id) {
				break
			}
			if err := batch.Apply(ctx, &entries[i]); err != nil {
				return f.blame(fmt.Errorf("projection %s, position %d: %w", f.work.slot.name(), entries[i].Seq, err))
			}
			f.tail++
			f.at = entries[i].Position()
		}
		if err := batch.Flush(ctx); err != nil {
			return f.blame(err)
		}
	}
}

// blame tells what the rows of the snapshot must be the reason of.
func (f *feed) blame(err error) error {
	if errors.Is(err, ErrDamaged) || domain.Is(err, domain.Unavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return refused("its rows cannot be used: %w", err)
}
