package projections

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
)

// prepare decides which generations the group drives. A projection that is far behind the others, because its rows are new or were those of a
// build that ran long ago, catches up in a build and does not hold them up.
func (g *group) prepare(ctx context.Context, head domain.Seq) error {
	listed, err := g.r.cfg.Views.Generations(ctx)
	if err != nil {
		return err
	}
	for _, s := range g.slots {
		if err := s.choose(ctx, listed); err != nil {
			return err
		}
	}
	works := g.works()
	var furthest domain.Seq
	settled := slices.ContainsFunc(works, func(w *work) bool { return w.gen.ready })
	for _, w := range works {
		if w.gen.ready || !settled {
			furthest = max(furthest, w.gen.seq)
		}
	}
	var slow []*part
	for _, w := range works {
		s := w.slot
		switch {
		case furthest > w.gen.seq && furthest-w.gen.seq > domain.Seq(g.r.cfg.Limits.FarBehind):
			slow = append(slow, &part{slot: s, gen: w.gen})
			g.publish(func() {
				if w.gen.ready {
					s.live = w.gen
				}
				s.driven = nil
			})
		case !w.gen.ready && w.gen.seq >= head:
			if err := g.declare(ctx, w); err != nil {
				return err
			}
			fallthrough
		default:
			g.publish(func() {
				if w.gen.ready {
					s.live = w.gen
				}
			})
		}
	}
	if len(slow) > 0 {
		_, err := g.r.begin(&build{g: g, parts: slow, own: true})
		return err
	}
	return nil
}

// declare makes a generation ready that is complete.
func (g *group) declare(ctx context.Context, w *work) error {
	w.finish = func(_ context.Context, _ Tx, h *head) error { h.ready = true; return nil }
	g.commit(ctx, []*work{w}, nil)
	return w.err
}

// choose finds the slot's generations in the store: the newest complete one of this version is live, a newer one that is not complete is built
// further, and those of other versions are kept. Whatever is of no use any more goes.
func (s *slot) choose(ctx context.Context, listed []Generation) error {
	g := s.group
	var all []Generation
	highest := 0
	for _, id := range listed {
		if id.Stream == g.stream && id.Projection == s.name() {
			all = append(all, id)
			highest = max(highest, id.Number)
		}
	}
	slices.SortFunc(all, func(a, b Generation) int { return cmp.Compare(b.Number, a.Number) })
	g.publish(func() { s.number, s.listed = max(s.number, highest), true })
	g.mu.Lock()
	driven, live, busy, out := s.driven, s.live, s.build != nil, s.state == Stopped || s.state == Dropped
	g.mu.Unlock()
	switch {
	case driven != nil: // its head may have been written although the commit failed
		again, err := g.r.open(ctx, driven.Generation)
		if err == nil {
			g.publish(func() { driven.head, driven.ahead = again.head, again.ahead })
			return nil
		}
		if !errors.Is(err, ErrDamaged) {
			return err
		}
		s.lose(ctx, driven, err)
		return nil
	case busy || out:
		return nil
	case live != nil: // it came back from a build or was mended
		g.publish(func() { s.driven = live })
		return nil
	}
	var found, unfinished *generation
	var kept []*generation
	for _, id := range all {
		gen, err := g.r.open(ctx, id)
		if errors.Is(err, ErrDamaged) {
			g.log.Error("a view cannot be read: it is made anew from the log", "generation", id, "error", err)
			if err := g.r.cfg.Views.Aside(ctx, id); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		mine := gen.version == s.projection.Version()
		if mine && gen.counted != gen.seq {
			if err := s.count(ctx, gen); err != nil {
				return err
			}
		}
		switch {
		case mine && gen.ready && found == nil:
			found = gen
		case mine && !gen.ready && found == nil && unfinished == nil:
			unfinished = gen
		case !mine && gen.ready && gen.version != 0:
			kept = append(kept, gen)
		default: // superseded, or never finished by a build of another version
			if err := g.r.cfg.Views.Drop(ctx, id); err != nil {
				return err
			}
		}
	}
	g.publish(func() { s.kept = kept })
	switch {
	case found != nil:
		g.publish(func() { s.driven, s.live = found, found })
		if unfinished != nil {
			g.log.Info("a rebuild that was interrupted goes on", "generation", unfinished.Generation, "position", unfinished.seq)
			_, err := g.r.begin(&build{g: g, parts: []*part{{slot: s, gen: unfinished}}, own: true})
			return err
		}
		return nil
	case unfinished == nil:
		if len(kept) > 0 {
			g.log.Info("a projection of another version is made anew beside the old one, which is kept", "projection", s.name(), "old", kept[0].version, "new", s.projection.Version())
		}
		fresh, err := s.fresh(ctx)
		if err != nil {
			return err
		}
		unfinished = fresh
	}
	g.publish(func() { s.driven = unfinished })
	return nil
}

// lose takes a generation out of the group whose rows cannot be written any more, and has another made. Until then the old one is read as far as
// that goes.
func (s *slot) lose(ctx context.Context, gen *generation, why error) {
	g := s.group
	g.log.Error("a view is damaged: it is made anew from the log, and the others go on", "generation", gen.Generation, "error", why)
	g.publish(func() {
		if s.driven == gen {
			s.driven = nil
		}
		s.state, s.err = Damaged, why
	})
	if s.live != gen {
		s.retire(gen, g.r.cfg.Views.Aside)
	}
	if _, err := g.r.begin(&build{g: g, parts: []*part{{slot: s}}, own: true}); err != nil {
		g.log.Warn("the next start makes the view anew", "error", err)
	}
}

// stop takes a projection out of the group that cannot apply an entry. It serves what it has.
func (s *slot) stop(why error) {
	s.group.log.Error("a projection stopped: it cannot apply an entry of the log, and the others go on", "projection", s.name(), "error", why)
	s.group.publish(func() {
		if s.live == nil {
			s.live = s.driven
		}
		s.driven, s.state, s.err = nil, Stopped, why
	})
}

// examine writes nothing to every view, which finds those that cannot be written.
func (g *group) examine(ctx context.Context) error {
	works := g.works()
	for _, w := range works {
		err := w.gen.view.Update(ctx, func(Tx) error { return nil })
		if errors.Is(err, ErrDamaged) {
			w.slot.lose(ctx, w.gen, err)
		}
	}
	if len(g.works()) == 0 && len(works) > 0 {
		return errAgain
	}
	g.publish(func() { g.current = time.Now() })
	return nil
}
