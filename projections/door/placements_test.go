package door_test

import (
	"fmt"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

// TestPlacements: replicas are set for many accounts at once, an account that cannot have one keeps no other from it, and another node knows of it.
func TestPlacements(t *testing.T) {
	n := doortest.Start(t)
	other := doortest.Join(t, n.Log, n.Blobs, func(c *door.Config) { c.Shared = true })
	var ids []domain.AccountID
	for i := range 450 { // more than one transaction takes
		ids = append(ids, n.AddAccount(t, fmt.Sprintf("user%03d@example.org", i), ""))
	}
	if err := n.Directory.Erase(t.Context(), "test", ids[7]); err != nil {
		t.Fatal(err)
	}
	place := func(some []domain.AccountID) directory.Command {
		return directory.Place{Accounts: some, Node: "n1", Priority: 10, Nodes: []string{"n1"}}
	}
	failed := n.Directory.ChangePlacements(t.Context(), "test", ids, place)
	if len(failed) != 1 || !domain.Is(failed[ids[7]], domain.Erased) {
		t.Errorf("%d failed: %v", len(failed), failed)
	}
	placed, problems, err := other.Directory.Placed(t.Context(), directory.Selection{Names: []string{"user44?@example.org", "nobody@example.org"}})
	if err != nil || len(placed) != 10 || placed[9].Login != "user449@example.org" || len(placed[9].Placements) != 1 || len(problems) != 1 {
		t.Errorf("another node knows of %v, %v, %v", placed, problems, err)
	}
	if _, problems, err := other.Directory.Placed(t.Context(), directory.Selection{Names: []string{string(ids[7])}}); err != nil || len(problems) != 1 || !domain.Is(problems[0].Err, domain.Erased) {
		t.Errorf("an erased account: %v, %v", problems, err)
	}
	if all, err := other.Directory.PlacementsOf(t.Context(), ids[7]); err != nil || all != nil {
		t.Errorf("an erased account has %v, %v", all, err)
	}
	if nodes, err := other.Directory.Destinations(t.Context()); err != nil || fmt.Sprint(nodes) != "[n1]" {
		t.Errorf("destinations are %v, %v", nodes, err)
	}
	if err := n.Directory.Try(t.Context(), place(ids[:8])); !domain.Is(err, domain.Erased) {
		t.Errorf("a try gives %v", err)
	}

	if err := n.Directory.ChangePlacements(t.Context(), "test", ids[3:4], func(some []domain.AccountID) directory.Command {
		return directory.Pause{Accounts: some, Paused: true}
	}); len(err) > 0 {
		t.Fatal(err)
	}
	paused, at, err := n.Directory.PausedOn(t.Context(), "n1", 0)
	if err != nil || len(paused) != 1 || !paused[ids[3]] {
		t.Errorf("paused are %v, %v", paused, err)
	}
	if paused, _, err := n.Directory.PausedOn(t.Context(), "n1", at); err != nil || paused != nil {
		t.Errorf("of the same directory, paused are %v, %v", paused, err)
	}
	if kept, resting, err := n.Directory.CountPlaced(t.Context(), "n1"); err != nil || kept != len(ids)-2 || resting != 1 {
		t.Errorf("%d are kept and %d paused, %v", kept, resting, err)
	}

	// New accounts are enrolled on whichever node they are added.
	if err := n.Directory.ChangeEnrolments(t.Context(), "test", directory.Enrol{Selector: directory.SelectAll, Keep: 1, Nodes: []string{"n2"}}); err != nil {
		t.Fatal(err)
	}
	added, err := other.Directory.AddAccount(t.Context(), "test", "new@example.org", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Directory.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := n.Directory.PlacementsOf(t.Context(), added.ID); err != nil || len(all) != 1 || all[0].Node != "n2" {
		t.Errorf("a new account has %+v, %v", all, err)
	}
	if all, err := other.Directory.Enrolments(t.Context()); err != nil || len(all) != 1 || all[directory.SelectAll].Keep != 1 {
		t.Errorf("enrolments are %v, %v", all, err)
	}

	// While the log takes nothing, nothing is tried again and again.
	n.Log.Before = func(domain.AccountID, *event.Transaction) doortest.Fault { return doortest.LostKept }
	if failed := n.Directory.ChangePlacements(t.Context(), "test", ids, func(some []domain.AccountID) directory.Command {
		return directory.Unplace{Accounts: some, Node: "n1"}
	}); len(failed) != len(ids) {
		t.Errorf("%d failed", len(failed))
	}
}
