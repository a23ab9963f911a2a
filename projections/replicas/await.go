package replicas

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

// Initialised is what became of replicas that were waited for.
type Initialised struct {
	Accounts int       `json:"accounts"`
	Replicas int       `json:"replicas"` // that follow the log
	Seconds  float64   `json:"seconds"`
	Failed   []Failure `json:"failed,omitempty"`
}

// Await waits until the replicas of accounts on some nodes follow the log, or those of all accounts there when none is named. Paused ones are not waited for;
// those that have diverged, and those that are not ready when none has got any further for Limits.Patience, have failed. progress hears how many of them
// follow, and what is waited for. Errors: domain.Unavailable when the log could not be asked for as long, and when ctx ends before.
func (r *Replicas) Await(ctx context.Context, ids []domain.AccountID, nodes []string, progress func(done, total int, at string)) (sum Initialised, err error) {
	began := time.Now()
	f := Filter{Replicas: nodes}
	for _, id := range ids {
		f.Accounts.Names = append(f.Accounts.Names, string(id))
	}
	moved, answered := began, began // when a replica was last seen further than before, and when the log last said where it ends
	seen := progressed{}
	total := 0
	for pause := r.cfg.Limits.Pause; ; pause = min(2*pause, longestPause) {
		accounts, _, err := r.Status(ctx, f) // an account that was erased meanwhile is waited for no more
		switch {
		case domain.Is(err, domain.Unavailable) && ctx.Err() == nil && time.Since(answered) <= r.cfg.Limits.Patience: // an election, as a rule
			progress(sum.Replicas, total, err.Error())
			if err := projections.Pause(ctx, pause); err != nil {
				return sum, domain.Wrap(domain.Unavailable, err, "wait for replicas")
			}
			continue
		case err != nil:
			return sum, err
		}
		answered, total = time.Now(), 0
		var waiting []Failure
		at := ""
		sum = Initialised{Accounts: len(accounts)}
		for _, a := range accounts {
			for _, one := range a.Replicas {
				why := fmt.Sprintf("%s on %s is %s", a.Name, one.Destination, one.State)
				if one.Cause != "" {
					why += ": " + one.Cause
				}
				switch total++; one.State {
				case Streaming:
					sum.Replicas++
				case Paused:
					total--
				case Diverged:
					sum.Failed = append(sum.Failed, Failure{a.ID, a.Name, why})
				default:
					waiting = append(waiting, Failure{a.ID, a.Name, why})
					at = why
				}
				if seen.further(a.ID, &one) {
					moved = answered
				}
			}
		}
		progress(sum.Replicas, total, at)
		sum.Seconds = time.Since(began).Seconds()
		if len(waiting) == 0 || time.Since(moved) > r.cfg.Limits.Patience {
			sum.Failed = append(sum.Failed, waiting...)
			return sum, nil
		}
		if err := projections.Pause(ctx, pause); err != nil {
			return sum, domain.Wrap(domain.Unavailable, err, "wait for replicas")
		}
	}
}

// place is one replica.
type place struct {
	account domain.AccountID
	node    string
}

// progressed is how far replicas have come: where the rows of the stream were last seen, or followed.
type progressed map[place]domain.Seq

// followed is where a replica has come that once followed the log: no further.
const followed = math.MaxUint64

// further tells whether a replica has got further since it was last seen. One whose node does not answer has not, and an index that catches up is not seen to.
func (p progressed) further(id domain.AccountID, r *Replica) bool {
	where, now := place{id, r.Destination}, r.reached
	if r.State == Streaming {
		now = followed
	}
	before := p[where]
	if r.State == Unavailable || before == followed || now == before {
		return false
	}
	p[where] = now
	return true
}

// longestPause lies between two looks at replicas that take long.
const longestPause = 5 * time.Second
