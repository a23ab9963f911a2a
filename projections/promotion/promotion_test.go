package promotion_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/promotion"
)

// ranked gives every account the same candidates.
type ranked []string

func (r ranked) Candidates(context.Context, domain.AccountID) (all []promotion.Candidate, err error) {
	for _, node := range r {
		all = append(all, promotion.Candidate{Node: node})
	}
	return all, nil
}

func accounts(t testing.TB, n *doortest.Node, count int) (ids []domain.AccountID) {
	t.Helper()
	for i := range count {
		ids = append(ids, n.AddAccount(t, fmt.Sprintf("user%d@example.org", i), ""))
	}
	return ids
}

func run(t testing.TB, p *promotion.Promoter, o promotion.Order) (map[domain.AccountID]promotion.Outcome, promotion.Sum) {
	t.Helper()
	o.Actor = "test"
	outcomes := map[domain.AccountID]promotion.Outcome{}
	sum, err := p.Run(t.Context(), o, func(o promotion.Outcome) { outcomes[o.Account] = o })
	if err != nil {
		t.Fatal(err)
	}
	return outcomes, sum
}

// TestPlannedPromotion and failback, which is the same command; again, it does nothing.
func TestPlannedPromotion(t *testing.T) {
	n := doortest.Start(t)
	ids := accounts(t, n, 40)
	p := promotion.New(n.Accounts, ranked{"mail1", "mail2"})
	for _, c := range []struct {
		to    string
		epoch uint64
		want  promotion.Sum
	}{
		{"mail1", 1, promotion.Sum{Promoted: 40}},
		{"mail2", 2, promotion.Sum{Promoted: 40}},
		{"mail2", 2, promotion.Sum{Unchanged: 40}},
		{"mail1", 3, promotion.Sum{Promoted: 40}},
	} {
		outcomes, sum := run(t, p, promotion.Order{Accounts: ids, To: c.to, Threads: 7})
		if sum != c.want || len(outcomes) != len(ids) {
			t.Errorf("to %s: %+v", c.to, sum)
		}
		for _, o := range outcomes {
			if want := (account.Primary{Epoch: c.epoch, Node: c.to}); o.Primary != want || o.Err != nil {
				t.Errorf("to %s: %+v", c.to, o)
			}
		}
	}
}

// TestTheBestCandidate becomes primary where nobody names a node, but never the one that is primary already.
func TestTheBestCandidate(t *testing.T) {
	n := doortest.Start(t)
	ids := accounts(t, n, 1)
	p := promotion.New(n.Accounts, ranked{"mail1", "mail2"})
	for _, want := range []string{"mail1", "mail2", "mail1"} {
		if outcomes, _ := run(t, p, promotion.Order{Accounts: ids}); outcomes[ids[0]].Primary.Node != want {
			t.Errorf("%+v, want %s", outcomes[ids[0]], want)
		}
	}
	p = promotion.New(n.Accounts, ranked{"mail1"})
	if outcomes, sum := run(t, p, promotion.Order{Accounts: ids}); sum.Failed != 1 || !domain.Is(outcomes[ids[0]].Err, domain.Unavailable) {
		t.Errorf("without a candidate: %+v", outcomes)
	}
}

// TestAnUnwellCandidate becomes primary only where no node is well: then it is something that they share which is away.
func TestAnUnwellCandidate(t *testing.T) {
	n := doortest.Start(t)
	id := accounts(t, n, 1)[0]
	for _, c := range []struct {
		all  health
		want string
	}{
		{health{{Node: "mail1", Unwell: true}, {Node: "mail2"}}, "mail2"},
		{health{{Node: "mail1", Unwell: true}, {Node: "mail2"}}, ""}, // it is primary already, and well
		{health{{Node: "mail1", Unwell: true}, {Node: "mail2", Unwell: true}}, "mail1"},
	} {
		outcomes, _ := run(t, promotion.New(n.Accounts, c.all), promotion.Order{Accounts: []domain.AccountID{id}})
		if o := outcomes[id]; c.want == "" && !domain.Is(o.Err, domain.Unavailable) || c.want != "" && o.Primary.Node != c.want {
			t.Errorf("%+v, want %q", o, c.want)
		}
	}
}

// health gives every account the same candidates.
type health []promotion.Candidate

func (h health) Candidates(context.Context, domain.AccountID) ([]promotion.Candidate, error) {
	return h, nil
}

// TestPartialFailure: what cannot be promoted is named, and all others are.
func TestPartialFailure(t *testing.T) {
	n := doortest.Start(t)
	ids := accounts(t, n, 10)
	missing := domain.NewAccountID([10]byte{1})
	n.Log.Before = func(id domain.AccountID, _ *event.Transaction) doortest.Fault {
		if id == ids[3] {
			return doortest.LostKept
		}
		return doortest.None
	}
	outcomes, sum := run(t, promotion.New(n.Accounts, ranked{}), promotion.Order{Accounts: append(slices.Clone(ids), missing), To: "mail2"})
	if want := (promotion.Sum{Promoted: 9, Failed: 2}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
	for id, kind := range map[domain.AccountID]domain.Kind{ids[3]: domain.Unavailable, missing: domain.NotFound} {
		if got := outcomes[id]; !domain.Is(got.Err, kind) || got.Result() != promotion.Failed {
			t.Errorf("%s: %+v", id, got)
		}
	}
}

// TestOnlyThoseOfTheNode are promoted that still have it as their primary.
func TestOnlyThoseOfTheNode(t *testing.T) {
	n := doortest.Start(t)
	ids := accounts(t, n, 4)
	p := promotion.New(n.Accounts, ranked{"mail3"})
	run(t, p, promotion.Order{Accounts: ids[:2], To: "mail1"})
	if _, sum := run(t, p, promotion.Order{Accounts: ids, From: "mail1"}); sum != (promotion.Sum{Promoted: 2, Unchanged: 2}) {
		t.Errorf("%+v", sum)
	}
}

// TestPaceEndsTheWork, and what was not begun stays as it is.
func TestPaceEndsTheWork(t *testing.T) {
	n := doortest.Start(t)
	ids := accounts(t, n, 10)
	enough := errors.New("no longer in charge")
	var begun atomic.Int32
	o := promotion.Order{Accounts: ids, To: "mail2", Actor: "test", Threads: 1, Pace: func(context.Context) error {
		if begun.Add(1) > 3 {
			return enough
		}
		return nil
	}}
	done := 0
	_, err := promotion.New(n.Accounts, ranked{}).Run(t.Context(), o, func(promotion.Outcome) { done++ })
	if !errors.Is(err, enough) || done > 3 {
		t.Errorf("%v after %d accounts", err, done)
	}
}
