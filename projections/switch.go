package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// near is how many entries are applied during a switch at most: so few that nobody notices the pause. closer is how often fewer than that are still
// applied before it, so that in the end there are none, or those of the last moment.
const (
	near   = 64
	closer = 3
)

// errFar asks for more filling before the switch.
var errFar = errors.New("the log grew meanwhile")

// Settler is implemented by views whose next commit may do work that earlier ones left over, such as moving what they wrote to another file.
type Settler interface {
	// Settle does that work beside readers and the writer, as far as it can.
	Settle(ctx context.Context)
}

// settle has views do before the switch what would make it long.
func (b *build) settle(ctx context.Context, works []*work) {
	for _, w := range works {
		if s, can := w.gen.view.(Settler); can {
			s.Settle(ctx)
		}
	}
}

// take switches the generations in. It runs on the group's goroutine, so nothing else is applied meanwhile.
func (b *build) take(ctx context.Context) (again bool, err error) {
	began := time.Now()
	g := b.g
	works := b.works()
	low, goal := lowest(works), g.position
	if !g.follows {
		if goal, err = g.r.cfg.Log.Head(ctx, g.stream); err != nil {
			return false, err
		}
	}
	if goal > low && goal-low > near {
		return false, errFar
	}
	entries, err := g.between(ctx, low, goal)
	if err != nil {
		return false, err
	}
	removed := b.gone()
	for _, w := range works {
		w.finish = func(ctx context.Context, tx Tx, h *head) error {
			h.ready = true
			return remove(ctx, tx, w.slot.projection, removed...)
		}
	}
	g.commit(ctx, works, entries)
	if err := b.outcome(ctx, works); err != nil {
		return false, err
	}
	for _, w := range works {
		if b.part(w.slot).ended {
			continue
		}
		if err := b.sound(ctx, w.gen); err != nil {
			return false, err
		}
	}
	for _, w := range works {
		if p := b.part(w.slot); !p.ended {
			b.swap(w, p)
		}
	}
	g.publish(func() {})
	b.pause = time.Since(began)
	g.r.switched(b.pause)
	for _, w := range works {
		if w.err != nil {
			continue
		}
		g.log.Info("a view was switched to another generation", "generation", w.gen.Generation, "position", w.gen.seq, "pause", b.pause)
		if len(removed) > 0 {
			if err := w.gen.view.Scrub(ctx); err != nil {
				g.log.Warn("a new view is not scrubbed of an erased account", "generation", w.gen.Generation, "error", err)
			}
		}
		g.r.rows(g.stream, w.slot.name(), "")
	}
	return !g.follows, nil
}

// between gives the entries after one position up to another.
func (g *group) between(ctx context.Context, after, upTo domain.Seq) (entries []streams.Entry, err error) {
	if after >= upTo {
		return nil, nil
	}
	if n := len(g.last); n > 0 && g.last[0].Seq <= after+1 && g.last[n-1].Seq == upTo {
		from := slices.IndexFunc(g.last, func(e streams.Entry) bool { return e.Seq > after })
		return g.last[from:], nil
	}
	for e, err := range g.r.cfg.Log.Read(ctx, g.stream, after, upTo) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// sound reads back what was committed.
func (b *build) sound(ctx context.Context, gen *generation) error {
	var h head
	err := gen.view.Snapshot(ctx, func(r Reader) (err error) { h, err = readHead(ctx, r); return err })
	if err == nil && h != gen.head {
		err = domain.Wrap(domain.Unavailable, ErrDamaged, fmt.Sprintf("generation %s stands at %d and should at %d", gen.Generation, h.seq, gen.seq))
	}
	return err
}

// swap makes a generation the live one.
func (b *build) swap(w *work, p *part) {
	s, g := w.slot, b.g
	var old *generation
	damaged := false
	g.publish(func() {
		if old = s.live; old == nil {
			old = s.driven // a first one that was on its way, too
		}
		if old == w.gen {
			old = nil
		}
		damaged, p.ended = s.state == Damaged, true
		s.live, s.driven = w.gen, w.gen
		s.state, s.err = "", nil
		if s.build == b {
			s.build = nil
		}
	})
	switch {
	case old == nil:
	case damaged:
		s.retire(old, g.r.cfg.Views.Aside)
	default:
		b.old[s] = old
	}
}

// clear drops what others have taken the place of. Closing and deleting large files takes longer than projecting may stand still.
func (b *build) clear() {
	for s, old := range b.old {
		s.retire(old, b.g.r.cfg.Views.Drop)
	}
}
