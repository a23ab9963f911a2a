package projections

import (
	"context"
	"database/sql"
	"errors"

	"github.com/streampost/streampost/domain"
)

// slot is the place of one projection in one stream.
type slot struct {
	group      *group
	projection Projection

	// Of the group's goroutine only.
	healed map[domain.AccountID]domain.Seq // at which position an account's rows were last mended

	// Guarded by the group's lock.
	live   *generation // what readers see; nil while nothing is complete
	driven *generation // what the group applies entries to: live, or the first one on its way; nil while it takes no part
	build  *build      // what fills another generation, or the live one that is far behind
	kept   []*generation
	number int   // the highest number that was ever seen
	listed bool  // number is known
	state  State // empty: as the group's
	err    error // why
}

func newSlot(g *group, projection Projection) *slot {
	return &slot{group: g, projection: projection, healed: map[domain.AccountID]domain.Seq{}}
}

func (s *slot) name() string { return s.projection.Name() }

// optional tells whether mail is served without the rows.
func (s *slot) optional() bool {
	o, ok := s.projection.(Optional)
	return ok && o.Optional()
}

// byAccount tells whether every row belongs to an account.
func (s *slot) byAccount() bool {
	for _, table := range s.projection.Tables() {
		if table.Key[0] != "account" || s.projection.Scope() != AccountStreams {
			return false
		}
	}
	return true
}

// shows tells whether the rows, or those of an account if one is named, can be read and have the entry at seq. The caller holds the group's lock.
func (s *slot) shows(id domain.AccountID, seq domain.Seq) bool {
	gen := s.serves(id)
	return gen != nil && gen.shown(id) >= seq
}

// standing gives the state that others see, and the reason. The caller holds the group's lock.
func (s *slot) standing() (State, error) {
	switch {
	case s.group.over:
		return s.group.state, s.group.err
	case s.state != "":
		return s.state, s.err
	case s.build != nil && s.driven == nil:
		return CatchingUp, s.build.trouble
	}
	return s.group.state, s.group.err
}

// known waits until it is known which generations there are, so that a new one gets a number of its own.
func (s *slot) known(ctx context.Context) error {
	g := s.group
	for {
		g.mu.Lock()
		listed, over, changed, cause := s.listed, g.over, g.changed, g.err
		g.mu.Unlock()
		switch {
		case over:
			return domain.Wrap(domain.Unavailable, cause, "the view "+s.name()+" cannot be made anew")
		case listed:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return domain.Wrap(domain.Unavailable, errors.Join(ctx.Err(), cause), "the view "+s.name()+" is not open")
		}
	}
}

// fresh makes an empty generation.
func (s *slot) fresh(ctx context.Context) (*generation, error) {
	s.group.mu.Lock()
	s.number++
	id := Generation{s.group.stream, s.name(), s.number}
	s.group.mu.Unlock()
	g, err := s.group.r.open(ctx, id)
	if err != nil { // a disk that is full may have taken half of it
		if left := s.group.r.cfg.Views.Drop(context.WithoutCancel(ctx), id); left != nil {
			s.group.log.Warn("a generation that could not be made is left over: the next start removes it", "generation", id, "error", left)
		}
	}
	return g, err
}

// use gives the live generation and holds it until release.
func (s *slot) use() (g *generation, release func(), err error) { return s.useOf("") }

// useOf gives the one whose rows of an account can be read.
func (s *slot) useOf(id domain.AccountID) (g *generation, release func(), err error) {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if g = s.serves(id); g == nil {
		_, cause := s.standing()
		return nil, nil, domain.Wrap(domain.Unavailable, cause, "the view "+s.name()+" is not complete yet")
	}
	g.readers++
	return g, func() {
		s.group.mu.Lock()
		g.readers--
		gone := g.gone
		if g.readers > 0 {
			gone = nil
		}
		s.group.mu.Unlock()
		if gone != nil {
			gone()
		}
	}, nil
}

// retire does away with a generation once nobody reads it.
func (s *slot) retire(g *generation, away func(context.Context, Generation) error) {
	drop := func() {
		if err := away(context.Background(), g.Generation); err != nil {
			s.group.log.Warn("an old generation is left over: the next start removes it", "generation", g.Generation, "error", err)
		}
	}
	s.group.mu.Lock()
	idle := g.readers == 0
	if !idle {
		g.gone = drop
	}
	s.group.mu.Unlock()
	if idle {
		drop()
	}
}

// reader reads whatever generation is live at each call.
type reader struct {
	s  *slot
	id domain.AccountID // whose rows are read; empty: all
}

func (r reader) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	g, release, err := r.s.useOf(r.id)
	if err != nil {
		return nil, err
	}
	defer release() // what runs goes on to its end
	rows, err := g.view.Query(ctx, query, args...)
	return rows, r.s.suspect(err)
}

func (r reader) Snapshot(ctx context.Context, f func(Reader) error) error {
	g, release, err := r.s.useOf(r.id)
	if err != nil {
		return err
	}
	defer release()
	return r.s.suspect(g.view.Snapshot(ctx, f))
}

// suspect has the group look at its views when a reader met damage.
func (s *slot) suspect(err error) error {
	if errors.Is(err, ErrDamaged) {
		signal(s.group.alarm)
	}
	return err
}
