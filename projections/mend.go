package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/streams"
)

// mend deals with a batch that one generation could not commit. It returns an error when the whole group must begin anew.
func (g *group) mend(ctx context.Context, w *work, entries []streams.Entry) error {
	var damage *Damage
	for errors.As(w.err, &damage) {
		if w.err = g.heal(ctx, w, damage); w.err == nil {
			g.commit(ctx, []*work{w}, entries)
		}
		if errors.Is(w.err, ErrLog) { // another account's rows may be wrong too
			if err := g.convict(ctx, w, entries); err != nil {
				return err
			}
		}
		damage = nil
	}
	switch {
	case w.err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(w.err, ErrLog):
		return w.err
	case spoilt(w.err):
		w.slot.lose(ctx, w.gen, w.err)
		return nil
	case fatal(w.err):
		why := w.err
		if first := before(why, entries); len(first) > 0 {
			g.commit(ctx, []*work{{slot: w.slot, gen: w.gen}}, first) // its error is the same again, or comes back at the next start
		}
		w.slot.stop(why)
		return nil
	}
	return w.err
}

// convict reads the log of the account whose entry does not follow on what a generation's rows say. When its chain holds, the rows are wrong, and the
// generation's error becomes Damage; else it gives why the log is.
func (g *group) convict(ctx context.Context, w *work, entries []streams.Entry) error {
	var at *entryError
	if !errors.As(w.err, &at) {
		return w.err
	}
	accused := &entries[at.index]
	links := newLinker(0)
	for e, err := range g.r.cfg.Log.ReadAccount(ctx, accused.Account, 0) {
		switch {
		case err != nil:
			return err
		case links.check(&e) != nil, e.Seq > accused.Seq:
			return w.err
		case e.Position() == accused.Position() && e.Prev == accused.Prev:
			w.err = &Damage{Account: accused.Account, What: "its rows name a position that is not in the log"}
			return nil
		}
	}
	return w.err
}

// proceed commits the batch to the generations that gave it up because of another whose rows turned out to be wrong.
func (g *group) proceed(ctx context.Context, works []*work, entries []streams.Entry) {
	var others []*work
	for _, w := range works {
		if errors.Is(w.err, errWithdrawn) {
			others = append(others, w)
		}
	}
	if len(others) > 0 {
		g.commit(ctx, others, entries)
	}
}

// spoilt tells the errors that other rows may not have.
func spoilt(err error) bool {
	return errors.Is(err, ErrDamaged) || domain.KindOf(err) == domain.Internal && !fatal(err)
}

// heal makes the rows of an account anew that were found wrong, once for each position.
func (g *group) heal(ctx context.Context, w *work, found *Damage) error {
	s, at := w.slot, w.gen.seq+1 // so that no place is the zero value
	if s.healed[found.Account] == at {
		return domain.Wrap(domain.Corrupt, errors.New(found.Error()), fmt.Sprintf("account %s cannot be projected although its rows were made anew", found.Account))
	}
	if !s.byAccount() {
		return domain.Wrap(domain.Unavailable, fmt.Errorf("%w: %s", ErrDamaged, found), "the rows are wrong")
	}
	g.log.Error("rows of an account are wrong in its view: they are made anew from the log", "projection", s.name(), "account", found.Account, "position", w.gen.seq, "error", found)
	if err := s.refold(ctx, w.gen, found.Account, nil, nil); err != nil {
		return err
	}
	s.healed[found.Account] = at
	g.r.rows(g.stream, s.name(), found.Account)
	return nil
}

// refold makes an account's rows anew, up to what they showed, in one transaction.
func (s *slot) refold(ctx context.Context, gen *generation, id domain.AccountID, pace *pace, progress func(domain.Seq)) error {
	var at streams.Position
	err := gen.view.Update(ctx, func(tx Tx) (err error) {
		if err = clean(ctx, tx, s.projection, id, 0); err != nil {
			return err
		}
		if at, err = s.replay(ctx, tx, id, gen.shown(id), pace, progress); err != nil {
			return err
		}
		return gen.advance(ctx, tx, id, at)
	})
	var damage *Damage
	if errors.As(err, &damage) {
		return domain.Wrap(domain.Corrupt, errors.New(err.Error()), "the log contradicts itself")
	}
	if err == nil {
		s.group.publish(func() { gen.advanced(id, at) })
	}
	return err
}

// clean deletes all rows of an account, whoever made them. at is the digest of those that are to be copied.
func clean(ctx context.Context, tx Tx, projection Projection, id domain.AccountID, at account.Digest) error {
	for _, table := range projection.Tables() {
		if _, err := tx.Exec(ctx, "delete from "+table.Name+" where account = $1", string(id)); err != nil {
			return err
		}
	}
	return tx.Restart(ctx, string(id), at)
}

// replay folds the entries of an account up to a position, and checks its chain from the beginning. It tells where the chain stands then.
func (s *slot) replay(ctx context.Context, tx Tx, id domain.AccountID, upTo domain.Seq, pace *pace, progress func(domain.Seq)) (at streams.Position, err error) {
	var batch Batch
	n, began := 0, time.Now()
	flush := func() error {
		if batch == nil {
			return ctx.Err()
		}
		err := batch.Flush(ctx)
		batch = nil
		if err == nil {
			err = pace.rest(ctx, n, time.Since(began))
		}
		n, began = 0, time.Now()
		return err
	}
	most := pace.batch(s.group.r.cfg.Limits.BatchEntries)
	links := newLinker(0)
	for e, err := range s.group.r.cfg.Log.ReadAccount(ctx, id, 0) {
		if err != nil {
			return at, err
		}
		if e.Seq > upTo {
			break
		}
		if err := links.check(&e); err != nil {
			return at, err
		}
		if batch == nil {
			if batch, err = s.projection.Begin(ctx, tx); err != nil {
				return at, err
			}
		}
		if err := batch.Apply(ctx, &e); err != nil {
			return at, fmt.Errorf("projection %s, position %d: %w", s.name(), e.Seq, err)
		}
		at = e.Position()
		if n++; n == most {
			if err := flush(); err != nil {
				return at, err
			}
			if progress != nil {
				progress(e.Seq)
			}
		}
	}
	return at, flush()
}

// Drop removes what was ever readable of an account from the views and from their files. It is for accounts whose key is destroyed: it waits
// until the views show their last entry, and doing it again is harmless. Generations of other versions, whose rows this build cannot read, go
// altogether.
func (r *Runner) Drop(ctx context.Context, id domain.AccountID) error {
	last, err := r.cfg.Log.Last(ctx, id)
	if err != nil {
		return err
	}
	for _, g := range r.groups[r.cfg.Log.StreamOf(id)] {
		for _, s := range g.slots {
			if err := s.wait(ctx, last.Seq, true); err != nil {
				return err
			}
		}
		var written []*generation
		if err := g.schedule(ctx, func(ctx context.Context) (bool, error) {
			written = nil
			for _, s := range g.slots {
				from, err := s.remove(ctx, id)
				if err != nil {
					return false, err
				}
				written = append(written, from...)
			}
			for _, gen := range written {
				if err := gen.view.Scrub(ctx); err != nil {
					return false, err
				}
			}
			return false, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// remove takes an account's rows out of whatever generations the slot has, that which is being filled included, and gives those that it wrote.
func (s *slot) remove(ctx context.Context, id domain.AccountID) (written []*generation, err error) {
	g := s.group
	g.mu.Lock()
	gen, kept := s.driven, s.kept
	if gen == nil && s.build == nil {
		gen = s.live // it stands still
	}
	var filled *generation
	if s.build != nil {
		s.build.removed = append(s.build.removed, id)
		filled = s.build.part(s).gen
		if gen == nil && s.live != nil && s.state == Damaged {
			gen = s.live
		}
	}
	s.kept = nil
	g.mu.Unlock()
	for _, old := range kept {
		if err := g.r.cfg.Views.Drop(ctx, old.Generation); err != nil {
			return nil, err
		}
	}
	if filled != nil && filled != gen {
		err := filled.view.Update(ctx, func(tx Tx) error { return remove(ctx, tx, s.projection, id) })
		switch {
		case err == nil:
			written = append(written, filled)
			g.r.rows(g.stream, s.name(), id) // it may be what is read, too
		case !errors.Is(err, ErrDamaged): // the build gives up what is damaged
			return nil, err
		}
	}
	if gen == nil {
		return written, nil
	}
	err = gen.view.Update(ctx, func(tx Tx) error { return remove(ctx, tx, s.projection, id) })
	switch {
	case errors.Is(err, ErrDamaged): // what cannot be written is not kept
		g.publish(func() {
			if s.live == gen {
				s.live = nil
			}
		})
		s.lose(ctx, gen, err)
		return written, g.r.cfg.Views.Drop(ctx, gen.Generation)
	case err != nil:
		return nil, err
	}
	g.r.rows(g.stream, s.name(), id)
	return append(written, gen), nil
}

func remove(ctx context.Context, tx Tx, projection Projection, ids ...domain.AccountID) error {
	batch, err := projection.Begin(ctx, tx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := batch.Remove(ctx, id); err != nil {
			return err
		}
	}
	return batch.Flush(ctx)
}
