package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/promotion"
	"github.com/streampost/streampost/streams/nodes"
)

func TestCarbonioArguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(file, []byte("# those of the old rack\na@x.org\n\n  b@x.org \nc@x.org,d@x.org"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]webadmin.Promotion{
		"source_mail_host mbx1 threads 5":        {From: "mbx1", Threads: 5},
		"accounts a@x.org,b@x.org":               {Accounts: []string{"a@x.org", "b@x.org"}},
		"accounts a@x.org destination mbx2":      {Accounts: []string{"a@x.org"}, To: "mbx2"},
		"destination mbx2 input_file " + file:    {Accounts: []string{"a@x.org", "b@x.org", "c@x.org", "d@x.org"}, To: "mbx2"},
		"source_mail_host mbx1 destination mbx3": {From: "mbx1", To: "mbx3"},
		"accounts":                               {},
		"destination mbx2":                       {},
		"accounts a@x.org threads many":          {},
		"accounts a@x.org mail_host mbx1":        {},
		"input_file " + file + "-is-not-here":    {},
		"input_file " + os.DevNull:               {},
	} {
		got, err := carbonioPromotion(strings.Fields(args))
		if refused := reflect.DeepEqual(want, webadmin.Promotion{}); refused != (err != nil) || !refused && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", args, got, err)
		}
	}
}

// someNodes are three, of which one is behind, and a witness.
func someNodes(l *liveNodes, health string) {
	l.stream = func(domain.AccountID) string { return "ACCOUNTS_0" }
	l.placed = func(context.Context, domain.AccountID) ([]directory.Placement, error) { return nil, nil }
	l.ask = func(context.Context) ([]nodes.Status, error) {
		has := func(last uint64) []nodes.Replica {
			return []nodes.Replica{{Stream: "ACCOUNTS_0", Last: last, Current: true}}
		}
		return []nodes.Status{
			{Node: "mail1", Role: nodes.Mail, Health: health, Replicas: has(10_000)},
			{Node: "mail2", Role: nodes.Mail, Health: "degraded", Replicas: has(5_000)},
			{Node: "mail3", Role: nodes.Mail, Health: "healthy", Lag: 2_000, Replicas: has(10_000)},
			{Node: "witness", Role: nodes.Witness, Health: "healthy", Replicas: has(10_000)},
		}, nil
	}
}

// TestCandidatesWithoutPlacements: every node that answers, the least behind first. One that is unhealthy is told from the others.
func TestCandidatesWithoutPlacements(t *testing.T) {
	for _, health := range []string{"healthy", "unhealthy"} {
		var l liveNodes
		someNodes(&l, health)
		all, err := l.Candidates(t.Context(), "x")
		var names []string
		for _, c := range all {
			names = append(names, c.Node)
			if c.Unwell != (c.Node == "mail1" && health == "unhealthy") {
				t.Errorf("while mail1 is %s: %+v", health, c)
			}
		}
		if err != nil || !slices.Equal(names, []string{"mail1", "mail3", "mail2"}) {
			t.Errorf("while mail1 is %s: %v, %v", health, names, err)
		}
	}
}

// TestCandidatesWithPlacements: of those that have caught up, replicas by priority; a paused one is like a node without.
func TestCandidatesWithPlacements(t *testing.T) {
	all := []promotion.Candidate{{Node: "far", Lag: 50_000}, {Node: "far too", Lag: 40_000}, {Node: "none"}, {Node: "second", Lag: 900}, {Node: "first", LagSeconds: 0.5}, {Node: "paused"}}
	order("x", all, []directory.Placement{
		{Node: "paused", Priority: 1, Paused: true}, {Node: "far", Priority: 2}, {Node: "dead", Priority: 3}, {Node: "first", Priority: 10}, {Node: "second", Priority: 20},
	})
	var names []string
	for _, c := range all {
		names = append(names, c.Node)
	}
	if slices.Sort(names[2:4]); !slices.Equal(names, []string{"first", "second", "none", "paused", "far too", "far"}) {
		t.Errorf("the order is %q", names)
	}
}

// TestPromotingANode needs nothing of it; promoting to one needs that it answers and serves mail.
func TestPromotingANode(t *testing.T) {
	n := doortest.Start(t)
	alice := n.AddAccount(t, "alice@example.org", "")
	var l liveNodes
	someNodes(&l, "healthy")
	var told []notice
	p := &promotions{fresh: func(context.Context) error { return nil }, count: func(string, string) {}, tell: func(n notice) { told = append(told, n) }, nodes: &l, promoter: promotion.New(n.Accounts, &l), of: func(_ context.Context, node string) ([]domain.AccountID, error) {
		if node == "dead" {
			return []domain.AccountID{alice}, nil
		}
		return nil, nil
	}}
	promote := func(o promotion.Order) (outcomes []promotion.Outcome, err error) {
		o.Actor = "test"
		_, err = p.Promote(t.Context(), o, func(o promotion.Outcome) { outcomes = append(outcomes, o) }, func(webadmin.Progress) {})
		return outcomes, err
	}
	for _, to := range []string{"witness", "mail9", "dead"} {
		if outcomes, err := promote(promotion.Order{Accounts: []domain.AccountID{alice}, To: to}); !domain.Is(err, domain.NotFound) || outcomes != nil {
			t.Errorf("to %s: %v, %v", to, outcomes, err)
		}
	}
	if _, err := promote(promotion.Order{From: "mail2"}); !domain.Is(err, domain.NotFound) {
		t.Errorf("a node without accounts: %v", err)
	}
	if _, err := n.Accounts.Do(t.Context(), alice, "test", account.Promote{Node: "dead"}); err != nil {
		t.Fatal(err)
	}
	outcomes, err := promote(promotion.Order{From: "dead"})
	if err != nil || len(outcomes) != 1 || outcomes[0].Primary.Node != "mail1" {
		t.Errorf("%+v, %v", outcomes, err)
	}
	if len(told) != 1 || told[0].Failed != 0 || told[0].Text != "Promotion by operator of accounts of node dead: 1 promoted, 0 unchanged, 0 failed.\n\n  1 to node mail1" {
		t.Errorf("administrators are told %+v", told)
	}
}

// TestPromotionNotice: what failed is told, and a failover that fails in the same way again is not.
func TestPromotionNotice(t *testing.T) {
	m := moved{From: "n1"}
	m.add(promotion.Outcome{Account: "a", Primary: account.Primary{Node: "n2"}})
	m.add(promotion.Outcome{Account: "b", Err: errors.New("no leader")})
	m.end(promotion.Sum{Promoted: 1, Failed: 1}, errors.New("this node is no longer in charge"))
	n := m.notice("failover")
	for _, want := range []string{"by failover of accounts of node n1: 1 promoted, 0 unchanged, 1 failed", "1 to node n2", "b: no leader", "It ended early: this node is no longer in charge"} {
		if !strings.Contains(n.Text, want) {
			t.Errorf("%q is not in %q", want, n.Text)
		}
	}
	before := map[string]int{}
	for i, want := range []struct {
		sum   promotion.Sum
		quiet bool
	}{{promotion.Sum{Promoted: 1, Failed: 2}, false}, {promotion.Sum{Failed: 2}, true}, {promotion.Sum{Failed: 1}, false}, {promotion.Sum{Unchanged: 1}, true}, {promotion.Sum{Promoted: 1}, false}} {
		if m.Sum = want.sum; m.quietly(before) != want.quiet {
			t.Errorf("%d: %+v: quiet is %v", i, want.sum, !want.quiet)
		}
	}
}
