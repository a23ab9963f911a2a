package projections

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Planned says what a projection has in a stream, and what is to be done to make it complete or to make it anew.
type Planned struct {
	Stream     string  `json:"stream"`
	Projection string  `json:"projection"`
	Version    int     `json:"version"` // of this build
	Has        []Held  `json:"has"`
	Work       string  `json:"work"` // "nothing", "catch up", "build" or "refresh accounts"
	Entries    uint64  `json:"entries"`
	Seconds    float64 `json:"seconds"` // by the speed of earlier builds or of a probe
	Octets     int64   `json:"octets"`  // of the rows that are there
}

// Held is a generation that is in the store.
type Held struct {
	Generation int        `json:"generation"`
	Version    int        `json:"version"`
	Ready      bool       `json:"ready"`
	Cursor     domain.Seq `json:"cursor"`
	Octets     int64      `json:"octets"`
}

// The works of a plan.
const (
	workNothing = "nothing"
	workCatchUp = "catch up"
	workBuild   = "build"
	workRefresh = "refresh accounts"
)

// Plan says what Run has to do, or has still to do, until every projection of this build is complete, and about how long that takes. It may be called
// before Run and changes nothing.
func (r *Runner) Plan(ctx context.Context) ([]Planned, error) {
	chosen, err := r.chosen(Selection{})
	if err != nil {
		return nil, err
	}
	all, err := r.survey(ctx, chosen)
	if err != nil {
		return nil, err
	}
	for i := range all {
		p := &all[i]
		head := p.Entries
		p.Work = workBuild
		best := slices.IndexFunc(p.Has, func(h Held) bool { return h.Version == p.Version && h.Ready })
		if best < 0 {
			best = slices.IndexFunc(p.Has, func(h Held) bool { return h.Version == p.Version })
		}
		if best >= 0 {
			p.Entries -= min(p.Entries, uint64(p.Has[best].Cursor))
			if p.Has[best].Ready || p.Entries < head {
				p.Work = workCatchUp
			}
		}
		if p.Entries == 0 {
			p.Work = workNothing
		}
	}
	return all, r.clock(ctx, all)
}

// estimate says what a rebuild would do.
func (r *Runner) estimate(ctx context.Context, chosen []target) ([]Planned, error) {
	all, err := r.survey(ctx, chosen)
	if err != nil {
		return nil, err
	}
	for i := range all {
		p := &all[i]
		p.Work = workBuild
		for _, t := range chosen {
			if t.group.stream != p.Stream || len(t.accounts) == 0 || !slices.ContainsFunc(t.slots, func(s *slot) bool { return s.name() == p.Projection }) {
				continue
			}
			p.Work, p.Entries = workRefresh, 0
			for _, id := range t.accounts {
				last, err := r.cfg.Log.Last(ctx, id)
				if err != nil {
					return nil, err
				}
				p.Entries += uint64(last.Tx)
			}
		}
	}
	return all, r.clock(ctx, all)
}

// survey lists what the store has; Entries are those of the whole stream.
func (r *Runner) survey(ctx context.Context, chosen []target) ([]Planned, error) {
	listed, err := r.cfg.Views.Generations(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(listed, func(a, b Generation) int { return cmp.Compare(b.Number, a.Number) })
	var all []Planned
	for _, t := range chosen {
		head, err := r.cfg.Log.Head(ctx, t.group.stream)
		if err != nil {
			return nil, err
		}
		for _, s := range t.slots {
			p := Planned{Stream: t.group.stream, Projection: s.name(), Version: s.projection.Version(), Entries: uint64(head)}
			held, known := s.holds()
			if !known {
				held, err = r.stored(ctx, s, listed)
				if err != nil {
					if held, known = s.holds(); !known { // it began to work meanwhile, and may have dropped what was being read
						return nil, err
					}
				}
			}
			for _, h := range held {
				if h.Octets, err = r.cfg.Views.Size(ctx, Generation{p.Stream, p.Projection, h.Generation}); err != nil {
					return nil, err
				}
				p.Octets += h.Octets
				p.Has = append(p.Has, h)
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// holds tells which generations the slot has, the newest first, and whether it knows that already. While the slot works, others must not open
// its generations: one that is being dropped would be closed under them, or made anew.
func (s *slot) holds() (all []Held, known bool) {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if !s.listed {
		return nil, false
	}
	gens := slices.Clone(s.kept)
	gens = append(gens, s.live, s.driven)
	if s.build != nil {
		for _, p := range s.build.parts {
			if p.slot == s {
				gens = append(gens, p.gen)
			}
		}
	}
	gens = slices.DeleteFunc(gens, func(g *generation) bool { return g == nil })
	slices.SortFunc(gens, func(a, b *generation) int { return cmp.Compare(b.Number, a.Number) })
	for _, g := range slices.Compact(gens) {
		all = append(all, g.held())
	}
	return all, true
}

func (g *generation) held() Held {
	return Held{Generation: g.Number, Version: g.version, Ready: g.ready, Cursor: g.seq}
}

// stored looks up in the store which generations a slot will find.
func (r *Runner) stored(ctx context.Context, s *slot, listed []Generation) (all []Held, err error) {
	for _, id := range listed {
		if id.Stream != s.group.stream || id.Projection != s.name() {
			continue
		}
		gen, err := r.open(ctx, id)
		if errors.Is(err, ErrDamaged) {
			continue // it is as good as not there
		}
		if err != nil {
			return nil, err
		}
		all = append(all, gen.held())
	}
	return all, nil
}

// clock fills in the seconds.
func (r *Runner) clock(ctx context.Context, all []Planned) error {
	for i := range all {
		p := &all[i]
		if p.Entries == 0 {
			continue
		}
		r.mu.Lock()
		rate := r.rates[p.Projection]
		r.mu.Unlock()
		if rate == 0 {
			s, err := r.slot(p.Stream, p.Projection)
			if err != nil {
				return err
			}
			if rate, err = s.probe(ctx); err != nil {
				return err
			}
		}
		if rate > 0 {
			p.Seconds = float64(p.Entries) / rate
		}
	}
	return nil
}

// probe folds the first entries of the stream into a scratch, and gives how many a second were done; 0 when there are none.
func (s *slot) probe(ctx context.Context) (float64, error) {
	const entries = 2000
	r := s.group.r
	head, err := r.cfg.Log.Head(ctx, s.group.stream)
	if err != nil {
		return 0, err
	}
	shadow, release, err := r.cfg.Views.Scratch(ctx, s.name())
	if err != nil {
		return 0, err
	}
	defer release()
	began, n := time.Now(), 0
	err = shadow.Update(ctx, func(tx Tx) error {
		batch, err := s.projection.Begin(ctx, tx)
		if err != nil {
			return err
		}
		var e streams.Entry
		for e, err = range r.cfg.Log.Read(ctx, s.group.stream, 0, min(head, entries)) {
			if err != nil {
				return err
			}
			if err := batch.Apply(ctx, &e); err != nil {
				return err
			}
			n++
		}
		return batch.Flush(ctx)
	})
	if err != nil || n == 0 {
		return 0, err
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// Prune drops the generations of other versions that are kept for builds which read them. It tells how many it dropped.
func (r *Runner) Prune(ctx context.Context, sel Selection) (dropped int, err error) {
	if len(sel.Accounts) > 0 {
		return 0, domain.Errorf(domain.Invalid, "generations are dropped for all accounts")
	}
	chosen, err := r.chosen(sel)
	if err != nil {
		return 0, err
	}
	for _, t := range chosen {
		if err := t.group.schedule(ctx, func(ctx context.Context) (bool, error) {
			for _, s := range t.slots {
				var kept []*generation
				t.group.publish(func() { kept, s.kept = s.kept, nil })
				for _, old := range kept {
					if err := r.cfg.Views.Drop(ctx, old.Generation); err != nil {
						return false, err // the next start finds it again
					}
					dropped++
				}
			}
			return false, nil
		}); err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

// Discard drops all rows of a projection without which mail is served. A rebuild, or the next start, makes them anew. Errors: domain.Invalid for
// other projections.
func (r *Runner) Discard(ctx context.Context, sel Selection) (dropped int, err error) {
	if sel.Projection == "" {
		return 0, domain.Errorf(domain.Invalid, "name one projection, whose rows of all accounts are dropped")
	}
	if len(sel.Accounts) > 0 {
		err := domain.Errorf(domain.Invalid, "rows of single accounts are not dropped: the account's next mail, and every comparison with the log, would bring them back")
		err.Hint = "projection rebuild makes an account's rows anew while the old ones are read"
		return 0, err
	}
	chosen, err := r.chosen(sel)
	if err != nil {
		return 0, err
	}
	for _, t := range chosen {
		for _, s := range t.slots {
			if !s.optional() {
				err := domain.Errorf(domain.Invalid, "mail is not served without projection %s: it is not dropped", s.name())
				err.Hint = "projection rebuild makes its rows anew while the old ones are read; projection prune drops those of other versions"
				return 0, err
			}
		}
	}
	for _, t := range chosen {
		if err := t.group.schedule(ctx, func(ctx context.Context) (bool, error) {
			for _, s := range t.slots {
				var old *generation
				t.group.publish(func() {
					if s.build != nil {
						s.build.cancel()
					}
					old = s.live
					if old == nil {
						old = s.driven
					}
					s.live, s.driven, s.state, s.err = nil, nil, Dropped, nil
				})
				if old != nil {
					s.retire(old, r.cfg.Views.Drop)
					dropped++
					r.rows(t.group.stream, s.name(), "")
				}
			}
			return true, nil
		}); err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}
