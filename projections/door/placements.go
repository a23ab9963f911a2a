package door

import (
	"context"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
)

// This file is the door to where replicas of accounts are kept, see directory.Placement.

// placementsAtOnce bounds the accounts whose replicas one transaction changes.
const placementsAtOnce = 200

// Placed is an account with its replicas, in the order in which they are promoted.
type Placed struct {
	Account
	Placements []directory.Placement
}

// Placed finds the accounts of a selection, in order of login, and what selects none. It knows what other nodes have acknowledged.
// Errors: domain.Invalid when nothing is selected, domain.Unavailable.
func (d *Directory) Placed(ctx context.Context, sel directory.Selection) (all []Placed, problems []directory.Problem, err error) {
	if err := d.Fresh(ctx); err != nil {
		return nil, nil, err
	}
	err = d.view(ctx, func(s *directory.State) error {
		all = nil
		chosen, found, err := s.Select(sel)
		for _, a := range chosen {
			all = append(all, Placed{describe(a), slices.Clone(a.Placements)})
		}
		problems = found
		return err
	})
	return all, problems, err
}

// PlacementsOf gives the replicas of one account, as far as this node knows without asking; see Fresh. An account that there is not has none.
// Errors: domain.Unavailable.
func (d *Directory) PlacementsOf(ctx context.Context, id domain.AccountID) (all []directory.Placement, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		all = nil
		if a := s.Accounts[id]; a != nil {
			all = slices.Clone(a.Placements)
		}
		return nil
	})
	return all, err
}

// Try decides a command without carrying it out, so that what can be foreseen is refused before anything is done.
func (d *Directory) Try(ctx context.Context, c directory.Command) error {
	return d.view(ctx, func(s *directory.State) error { _, err := directory.Decide(s, c); return err })
}

// ChangePlacements carries out what command makes of accounts, many in one transaction, and tells for which it failed. One that fails keeps no other from
// being done; while the log takes nothing, the rest is not tried.
func (d *Directory) ChangePlacements(ctx context.Context, actor string, ids []domain.AccountID, command func([]domain.AccountID) directory.Command) (failed map[domain.AccountID]error) {
	failed = map[domain.AccountID]error{}
	var away error
	for some := range slices.Chunk(ids, placementsAtOnce) {
		err := away
		if err == nil {
			err = d.do(ctx, actor, command(some))
		}
		if err == nil {
			continue
		}
		switch domain.KindOf(err) {
		case domain.Unavailable, domain.Internal, domain.Corrupt:
			away = err
		}
		for _, id := range some {
			err := away
			if err == nil { // some of them are to blame
				err = d.do(ctx, actor, command([]domain.AccountID{id}))
			}
			if err != nil {
				failed[id] = err
			}
		}
	}
	return failed
}

// ChangeEnrolments carries out directory.Enrol and directory.Dismiss.
func (d *Directory) ChangeEnrolments(ctx context.Context, actor string, c directory.Command) error {
	return d.do(ctx, actor, c)
}

// Enrolments tells which replicas accounts get when they are added, by selector.
func (d *Directory) Enrolments(ctx context.Context) (all map[string]directory.Enrolment, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		all = maps.Clone(s.Enrolments)
		return nil
	})
	return all, err
}

// CountPlaced counts the replicas on a node.
func (d *Directory) CountPlaced(ctx context.Context, node string) (kept, paused int, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		kept, paused = 0, 0
		for _, a := range s.Accounts {
			if p, placed := a.Placement(node); placed && p.Paused {
				paused++
			} else if placed {
				kept++
			}
		}
		return nil
	})
	return kept, paused, err
}

// PausedOn gives the accounts whose replica on a node is paused, and the directory's Tx at which that is so; nil when the directory stands at since.
func (d *Directory) PausedOn(ctx context.Context, node string, since domain.Tx) (paused map[domain.AccountID]bool, at domain.Tx, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		paused, at = nil, s.Tx
		if at == since {
			return nil
		}
		paused = map[domain.AccountID]bool{}
		for id, a := range s.Accounts {
			if p, placed := a.Placement(node); placed && p.Paused {
				paused[id] = true
			}
		}
		return nil
	})
	return paused, at, err
}

// Destinations lists the nodes that have replicas, or would get some.
func (d *Directory) Destinations(ctx context.Context) (nodes []string, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		nodes = s.Destinations()
		return nil
	})
	return nodes, err
}
