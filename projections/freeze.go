package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/streampost/streampost/domain"
)

// Frozen is the rows of one projection at a position that does not change while it is looked at.
type Frozen struct {
	Projection Projection
	Rows       Reader
}

// How often Freeze looks for a moment between two batches, and how long it waits after the first time; after each other it waits a little longer.
const (
	freezeTries = 50
	freezeWait  = 2 * time.Millisecond
)

// sections gives the slots whose rows make up a snapshot of an account: those of the projections in lock-step whose rows belong to accounts.
func (r *Runner) sections(stream string) (all []*slot) {
	for _, s := range r.groups[stream][0].slots {
		if s.byAccount() {
			all = append(all, s)
		}
	}
	return all
}

// Freeze calls f with one state of all projections in lock-step whose rows belong to accounts, in an account's stream: each has applied every entry up to at
// and none beyond. Projecting goes on meanwhile. Errors: those of f; domain.Unavailable when the projections do not stand at the same
// position, because one of them has stopped or is being built.
func (r *Runner) Freeze(ctx context.Context, id domain.AccountID, f func(at domain.Seq, frozen []Frozen) error) error {
	slots := r.sections(r.cfg.Log.StreamOf(id))
	if len(slots) == 0 {
		return domain.Errorf(domain.Invalid, "%s has no rows of its own", id)
	}
	release, err := r.looks.take(ctx, len(slots))
	if err != nil {
		return err
	}
	defer release()
	for try := range freezeTries {
		apart, err := freeze(ctx, id, slots, nil, f)
		if err != nil || apart == "" {
			return err
		}
		if try == freezeTries-1 {
			err := domain.Errorf(domain.Unavailable, "the views do not stand at the same position: %s", apart)
			err.Hint = "projection list shows which one is behind, and why"
			return err
		}
		select {
		case <-time.After(time.Duration(try+1) * freezeWait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// freeze opens a snapshot of each slot. It tells why it did not call f when it did not: a batch is being committed just then.
func freeze(ctx context.Context, id domain.AccountID, slots []*slot, frozen []Frozen, f func(domain.Seq, []Frozen) error) (apart string, err error) {
	if len(frozen) < len(slots) {
		s := slots[len(frozen)]
		gen, release, err := s.use()
		if err != nil {
			return "", err
		}
		defer release()
		err = gen.view.Snapshot(ctx, func(r Reader) error {
			apart, err = freeze(ctx, id, slots, append(frozen, Frozen{s.projection, r}), f)
			return err
		})
		return apart, s.suspect(err)
	}
	var at domain.Seq
	for i, one := range frozen {
		h, err := readHead(ctx, one.Rows)
		if err != nil {
			return "", err
		}
		if version := one.Projection.Version(); h.version != version {
			return fmt.Sprintf("%s has rows of version %d, not %d", slots[i].name(), h.version, version), nil
		}
		if i > 0 && h.seq != at {
			return fmt.Sprintf("%s at %d, %s at %d", slots[0].name(), at, slots[i].name(), h.seq), nil
		}
		at = h.seq
		ahead, err := readAhead(ctx, one.Rows)
		if err != nil {
			return "", err
		}
		if further := ahead[id].Seq; further > at {
			return fmt.Sprintf("%s at %d, but at %d for the account, whose rows come from a snapshot", slots[i].name(), at, further), nil
		}
	}
	return "", f(at, frozen)
}
