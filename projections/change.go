package projections

import (
	"context"
	"errors"

	"github.com/streampost/streampost/domain"
)

// Change lets f write rows of an account in the live generation of a projection, in one SQL transaction between two batches. It is for projections whose
// rows depend on more than the log, such as on whether a blob could be read. Errors: those of f; domain.NotFound; domain.Unavailable, also while
// there are no live rows that the projection writes.
func (r *Runner) Change(ctx context.Context, projection string, id domain.AccountID, f func(context.Context, Tx) error) error {
	s, err := r.slot(r.cfg.Log.StreamOf(id), projection)
	if err != nil {
		return err
	}
	return s.group.schedule(ctx, func(ctx context.Context) (bool, error) {
		s.group.mu.Lock()
		gen, live := s.driven, s.live
		s.group.mu.Unlock()
		if gen == nil || gen != live {
			return false, domain.Errorf(domain.Unavailable, "the view %s is being made: what it gets is new anyway", projection)
		}
		err := gen.view.Update(ctx, func(tx Tx) error { return f(ctx, tx) })
		if errors.Is(err, ErrDamaged) {
			s.lose(ctx, gen, err)
		}
		return false, err
	})
}
