package nodes_test

import (
	"context"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/nodes"
)

// Copies of the log, as nodes tell of them.
var (
	good  = nodes.Replica{Stream: "LOG", Leader: "a", First: 1, Last: 10, Entries: 10, Current: true, Log: true}
	holed = nodes.Replica{Stream: "LOG", Leader: "a", First: 1, Last: 10, Entries: 7, Current: true, Log: true}
	stale = nodes.Replica{Stream: "LOG", Leader: "a", First: 1, Last: 5, Entries: 5, Current: true, Stale: true, Log: true}
	slow  = nodes.Replica{Stream: "LOG", Leader: "a", First: 1, Last: 5, Entries: 5, Log: true}
	short = nodes.Replica{Stream: "LOG", Leader: "a", First: 1, Last: 9, Entries: 9, Current: true, Log: true}
	ahead = nodes.Replica{Stream: "LOG", Leader: "a", First: 1, Last: 11, Entries: 11, Log: true}
	none  = nodes.Replica{Stream: "LOG", Log: true, Absent: true}
	lost  = nodes.Replica{Stream: "LOG", First: 1, Last: 10, Entries: 10, Current: true, Log: true}
	keys  = nodes.Replica{Stream: "KEYS", Leader: "a", First: 4, Last: 10, Entries: 2, Current: true}
)

func statuses(copies ...nodes.Replica) (all []nodes.Status) {
	for i, r := range copies {
		all = append(all, nodes.Status{Node: string(rune('a' + i)), Replicas: []nodes.Replica{r}})
	}
	return all
}

func TestWhatIsBad(t *testing.T) {
	for _, c := range []struct {
		nodes.Replica
		want string
	}{
		{good, ""}, {slow, ""}, {keys, ""}, {holed, "lacks 3 entries"}, {stale, "ends at entry 5 and says that it is current, while others have more"},
		{none, "is missing"},
	} {
		if got := c.Bad(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.Replica, got, c.want)
		}
	}
}

// TestMayRefill: a copy is thrown away only while a quorum of others has all that it has. The copy is that of node a.
func TestMayRefill(t *testing.T) {
	for _, c := range []struct {
		name   string
		all    []nodes.Status
		copies int
		want   string // empty: it may
	}{
		{"both others are whole", statuses(holed, good, good), 3, ""},
		{"a stale copy", statuses(stale, good, good), 3, ""},
		{"a missing copy", statuses(none, good, good), 3, ""},
		{"one other has none", statuses(holed, none, good), 3, "b is missing"},
		{"three of five", statuses(holed, good, good, good, slow), 5, ""},
		{"one other is away", statuses(holed, good), 3, "1 other nodes have a whole and current one, and 2 must"},
		{"one other has a hole too", statuses(holed, holed, good), 3, "b lacks 3 entries"},
		{"one other is behind", statuses(holed, slow, good), 3, "b is catching up"},
		{"one other is stale too", statuses(holed, stale, good), 3, "b ends at entry 5"},
		{"one other ends earlier", statuses(holed, short, good), 3, "1 other nodes have"},
		{"one other is cut off", statuses(holed, lost, good), 3, "b knows no leader"},
		{"a third is ahead of both others", statuses(stale, short, good), 3, "1 other nodes have"},
		{"a leader that catches up is ahead of all", statuses(stale, short, short, ahead), 3, "0 other nodes have"},
		{"its own answer is missing", statuses(keys, good, good, good), 3, "does not tell what it has"},
		{"it is the only one", statuses(holed), 1, "0 other nodes have"},
		{"it is the only good one", statuses(good, holed, holed), 3, "0 other nodes have"},
		{"two of five", statuses(holed, good, good), 5, "2 other nodes have a whole and current one, and 3 must"},
	} {
		err := nodes.MayRefill(c.all, c.copies, "a", "LOG")
		if (err == nil) != (c.want == "") || err != nil && (!domain.Is(err, domain.Conflict) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestNodesRepairInTurns(t *testing.T) {
	all := statuses(good, holed, stale)
	for node, want := range map[string]bool{"a": false, "b": true, "c": false} {
		if got := nodes.First(all, node); got != want {
			t.Errorf("it is the turn of %s: %v", node, got)
		}
	}
	if nodes.First(statuses(good, good), "a") {
		t.Error("nothing is bad, and a repairs")
	}
}

// TestARepairIsOrdered by who knows the secret, and by nobody else.
func TestARepairIsOrdered(t *testing.T) {
	conn := wire(t)
	asks, stranger, does := node(t, conn, "asks", 1), node(t, conn, "stranger", 2), node(t, conn, "does", 1)
	if _, err := asks.Repair(t.Context(), "does", nodes.Repair{}); !domain.Is(err, domain.NotFound) {
		t.Errorf("nobody is there: %v", err)
	}
	orders := make(chan nodes.Repair, 9)
	if err := does.AnswerRepair(func(_ context.Context, order nodes.Repair) ([]nodes.Repaired, error) {
		orders <- order
		if order.Stream == "BAD" {
			return []nodes.Repaired{{Node: "does", Stream: "BAD"}}, domain.Errorf(domain.Unavailable, "the disk is full")
		}
		return []nodes.Repaired{{Node: "does", Stream: order.Stream, Done: !order.DryRun}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error)
	go func() { _, err := stranger.Repair(ctx, "does", nodes.Repair{Stream: "STRANGE"}); answered <- err }()
	done, err := asks.Repair(t.Context(), "does", nodes.Repair{Stream: "LOG"})
	if err != nil || len(done) != 1 || !done[0].Done || done[0].Stream != "LOG" {
		t.Errorf("the answer is %+v, %v", done, err)
	}
	if done, err = asks.Repair(t.Context(), "does", nodes.Repair{Stream: "BAD"}); err == nil || !strings.Contains(err.Error(), "the disk is full") || len(done) != 1 {
		t.Errorf("a repair that fails is answered %+v, %v", done, err)
	}
	cancel()
	if err := <-answered; err == nil {
		t.Error("a stranger gets an answer")
	}
	for len(orders) > 0 {
		if order := <-orders; order.Stream == "STRANGE" {
			t.Error("a stranger's order is carried out")
		}
	}
}
