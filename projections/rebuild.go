package projections

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Selection says which rows are meant. The zero value means all.
type Selection struct {
	Projection string           // only this one; all if empty
	Account    domain.AccountID // only this account's; all if empty
}

// Progress tells how far a rebuild or a comparison has come in a stream.
type Progress struct {
	Stream string     `json:"stream"`
	Done   domain.Seq `json:"done"` // position reached
	Total  domain.Seq `json:"total"`
}

// chosen gives the streams and projections of a selection. Errors: domain.NotFound.
func (r *Runner) chosen(sel Selection) ([]*projector, error) {
	if sel.Projection != "" && !slices.ContainsFunc(r.cfg.Projections, func(p Projection) bool { return p.Name() == sel.Projection }) {
		return nil, domain.Errorf(domain.NotFound, "there is no projection %s", sel.Projection)
	}
	var all []*projector
	for _, stream := range r.streams {
		p := r.projectors[stream]
		if sel.Account != "" && r.cfg.Log.StreamOf(sel.Account) != stream {
			continue
		}
		if len(p.chosen(sel)) > 0 {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil, domain.Errorf(domain.NotFound, "no stream has projection %s of account %s", sel.Projection, sel.Account)
	}
	return all, nil
}

func (p *projector) chosen(sel Selection) []Projection {
	if sel.Projection == "" {
		return p.projections
	}
	var all []Projection
	for _, projection := range p.projections {
		if projection.Name() == sel.Projection {
			all = append(all, projection)
		}
	}
	return all
}

// Rebuild makes rows anew from the log. Rows of an account change in one SQL transaction. For more than one account the views concerned are
// emptied and the projectors replay the streams; until a stream has caught up, Wait holds those who need it. When ctx ends meanwhile, or the
// process does, the replay goes on from the cursor by itself. progress may be nil and is not called concurrently.
func (r *Runner) Rebuild(ctx context.Context, sel Selection, progress func(Progress)) error {
	if progress == nil {
		progress = func(Progress) {}
	}
	chosen, err := r.chosen(sel)
	if err != nil {
		return err
	}
	if sel.Account != "" {
		p := chosen[0]
		return p.schedule(ctx, func(ctx context.Context, view View) (bool, error) {
			return false, p.refold(ctx, view, sel, progress)
		})
	}
	for _, p := range chosen {
		if err := p.schedule(ctx, func(ctx context.Context, view View) (bool, error) { return true, p.empty(ctx, view, sel) }); err != nil {
			return fmt.Errorf("rebuild stream %s: %w", p.stream, err)
		}
	}
	for _, p := range chosen {
		if err := p.caughtUp(ctx, progress); err != nil {
			return fmt.Errorf("rebuild stream %s: %w", p.stream, err)
		}
	}
	return nil
}

// schedule runs f on the projector's goroutine and waits for it.
func (p *projector) schedule(ctx context.Context, f func(context.Context, View) (bool, error)) error {
	done := make(chan error, 1)
	select {
	case p.jobs <- job{ctx, f, done}:
		return <-done
	case <-p.ended:
		return domain.Errorf(domain.Unavailable, "the projectors are shut down")
	case <-ctx.Done():
		return domain.Wrap(domain.Unavailable, ctx.Err(), "the projector is busy")
	}
}

// empty drops the rows of projections, all accounts'.
func (p *projector) empty(ctx context.Context, view View, sel Selection) error {
	if sel.Projection == "" {
		p.publish(func() { p.view = nil })
		if err := p.r.cfg.Views.Reset(ctx, p.stream); err != nil {
			return err
		}
	} else if err := view.Update(ctx, func(tx Tx) error {
		for _, projection := range p.chosen(sel) {
			if err := remake(ctx, tx, p.stream, projection); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	p.dropped("")
	return nil
}

// dropped tells those who keep what they read.
func (p *projector) dropped(id domain.AccountID) {
	for _, f := range p.r.rebuilt {
		f(p.stream, id)
	}
}

// caughtUp waits until the stream's view shows what the log holds now.
func (p *projector) caughtUp(ctx context.Context, progress func(Progress)) error {
	head, err := p.r.cfg.Log.Head(ctx, p.stream)
	if err != nil {
		return err
	}
	for {
		p.mu.Lock()
		shown, cursor, state, cause, changed := p.shows(head), p.cursor, p.state, p.err, p.changed
		p.mu.Unlock()
		progress(Progress{p.stream, min(cursor, head), head})
		switch {
		case shown:
			return nil
		case state == Stopped:
			return cause
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refold makes an account's rows anew, up to the cursor of each projection.
func (p *projector) refold(ctx context.Context, view View, sel Selection, progress func(Progress)) error {
	err := view.Update(ctx, func(tx Tx) error {
		var works []*work
		var upTo domain.Seq
		for _, projection := range p.chosen(sel) {
			c, version, err := readCursor(ctx, tx, p.stream, projection.Name())
			if err != nil {
				return err
			}
			if version != projection.Version() {
				continue // the next start makes it anew altogether
			}
			for _, table := range projection.Tables() {
				if table.Key[0] != "account" {
					return domain.Errorf(domain.Invalid, "projection %s does not belong to accounts", projection.Name())
				}
				if _, err := tx.Exec(ctx, "delete from "+table.Name+" where account = $1", string(sel.Account)); err != nil {
					return err
				}
			}
			works = append(works, &work{projection: projection, upTo: c.seq})
			upTo = max(upTo, c.seq)
		}
		return p.replay(ctx, tx, p.r.cfg.Log.ReadAccount(ctx, sel.Account, 0), works, func(done domain.Seq) {
			progress(Progress{p.stream, min(done, upTo), upTo})
		})
	})
	if err != nil {
		return fmt.Errorf("rebuild account %s: %w", sel.Account, err)
	}
	p.dropped(sel.Account)
	return nil
}

// heal makes rows of an account anew that were found wrong, and lets the projector try again from its cursor, once.
func (p *projector) heal(ctx context.Context, view View, found *Damage) error {
	at := p.cursor + 1 // so that no place is the zero value
	if p.healed[found.Account] == at {
		return domain.Wrap(domain.Corrupt, found, fmt.Sprintf("account %s cannot be projected although its rows were made anew", found.Account))
	}
	p.log.Error("rows of an account are wrong in its view: they are made anew from the log", "account", found.Account, "cursor", p.cursor, "error", found)
	var err error
	if found.Account == domain.DirectoryID {
		err = p.empty(ctx, view, Selection{})
	} else {
		err = p.refold(ctx, view, Selection{Account: found.Account}, func(Progress) {})
	}
	var damage *Damage
	switch {
	case errors.As(err, &damage):
		return domain.Wrap(domain.Corrupt, err, "the log contradicts itself")
	case err != nil:
		return err
	}
	p.healed[found.Account] = at
	return errAgain
}

// Drop removes what was ever readable of an account from its view and from the view's files. It is for accounts whose key is destroyed: it
// waits until the view shows their last entry, and doing it again is harmless.
func (r *Runner) Drop(ctx context.Context, id domain.AccountID) error {
	last, err := r.cfg.Log.Last(ctx, id)
	if err != nil {
		return err
	}
	stream := r.cfg.Log.StreamOf(id)
	if err := r.Wait(ctx, stream, last.Seq); err != nil {
		return err
	}
	p := r.projectors[stream]
	return p.schedule(ctx, func(ctx context.Context, view View) (bool, error) {
		err := view.Update(ctx, func(tx Tx) error {
			for _, projection := range p.projections {
				batch, err := projection.Begin(ctx, tx)
				if err != nil {
					return err
				}
				if err := errors.Join(batch.Remove(ctx, id), batch.Flush(ctx)); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			p.dropped(id)
			err = view.Scrub(ctx)
		}
		return false, err
	})
}

// work is one projection's part of a replay, up to its own end.
type work struct {
	projection Projection
	upTo       domain.Seq
	batch      Batch // nil between batches
}

// replay folds entries in the transaction tx. It checks the chain of each account from its beginning.
func (p *projector) replay(ctx context.Context, tx Tx, entries iter.Seq2[streams.Entry, error], works []*work, progress func(domain.Seq)) error {
	n := 0
	last := map[domain.AccountID]streams.Position{}
	flush := func() error {
		for _, w := range works {
			if w.batch != nil {
				if err := w.batch.Flush(ctx); err != nil {
					return err
				}
				w.batch = nil
			}
		}
		return ctx.Err()
	}
	for e, err := range entries {
		if err != nil {
			return err
		}
		if err := Link(last[e.Account], &e); err != nil {
			return err
		}
		last[e.Account] = e.Position()
		for _, w := range works {
			if e.Seq > w.upTo {
				continue
			}
			if w.batch == nil {
				batch, err := w.projection.Begin(ctx, tx)
				if err != nil {
					return err
				}
				w.batch = batch
			}
			if err := w.batch.Apply(ctx, &e); err != nil {
				return fmt.Errorf("projection %s, position %d: %w", w.projection.Name(), e.Seq, err)
			}
		}
		if n++; n%p.r.cfg.Limits.BatchEntries == 0 {
			progress(e.Seq)
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
