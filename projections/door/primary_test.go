package door_test

import (
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

// primaryOf is what a node believes.
func primaryOf(t *testing.T, n *doortest.Node, id domain.AccountID) (p account.Primary) {
	t.Helper()
	check(t, n.Accounts.View(t.Context(), id, func(s *account.State) error { p = s.Primary; return nil }))
	return p
}

func promote(t *testing.T, n *doortest.Node, id domain.AccountID, node string) error {
	t.Helper()
	_, err := n.Accounts.Do(t.Context(), id, "test", account.Promote{Node: node})
	return err
}

// TestAPromotionMovesNothingButThePrimary: on both nodes what clients synchronise by is as it was, and whoever hears of it is told the node.
func TestAPromotionMovesNothingButThePrimary(t *testing.T) {
	n, other := pair(t)
	alice := n.AddAccount(t, "carol@example.org", "")
	check(t, promote(t, n, alice, "one"))
	doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
	inbox := func(n *doortest.Node) (m account.Mailbox) {
		check(t, n.Accounts.View(t.Context(), alice, func(s *account.State) error {
			found, _ := s.Mailbox("INBOX")
			m = *found
			m.UID, m.Modified = append([]domain.UID(nil), m.UID...), append([]domain.Tx(nil), m.Modified...)
			return nil
		}))
		return m
	}
	before := inbox(n)
	var told atomic.Value
	stop := n.Accounts.OnPromotion(alice, func(e *event.Promoted) { told.Store(e.Node) })
	check(t, promote(t, other, alice, "two"))
	if told.Load() != "two" {
		t.Errorf("the old primary is told %v", told.Load())
	}
	stop()
	check(t, promote(t, other, alice, "three"))
	if told.Load() != "two" {
		t.Error("who does not want to hear any more is told")
	}
	for _, n := range []*doortest.Node{n, other} {
		if got := inbox(n); !reflect.DeepEqual(got, before) {
			t.Errorf("INBOX is\n%+v\nand was\n%+v", got, before)
		}
		if want := (account.Primary{Epoch: 3, Node: "three"}); primaryOf(t, n, alice) != want {
			t.Errorf("the primary is %v", primaryOf(t, n, alice))
		}
	}
	uid := doortest.Deliver(t, n.Accounts, alice, "INBOX", letter) // any node still takes mail
	if uid != 2 {
		t.Errorf("the next message has UID %d", uid)
	}
}

// TestTwoOperatorsPromoteAtOnce, each on a node that has not heard of the other's: one wins, and the other is told.
func TestTwoOperatorsPromoteAtOnce(t *testing.T) {
	n, other := pair(t)
	alice := n.AddAccount(t, "carol@example.org", "")
	seen := primaryOf(t, n, alice).Epoch
	if got := primaryOf(t, other, alice).Epoch; got != seen {
		t.Fatalf("the nodes see epochs %d and %d", seen, got)
	}
	defer n.Log.Hold()()
	if _, err := n.Accounts.Do(t.Context(), alice, "one", account.Promote{Node: "one", Expected: &seen}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Accounts.Do(t.Context(), alice, "two", account.Promote{Node: "two", Expected: &seen}); !domain.Is(err, domain.Conflict) {
		t.Errorf("the second operator gets %v", err)
	}
	if want := (account.Primary{Epoch: 1, Node: "one"}); primaryOf(t, other, alice) != want {
		t.Errorf("the primary is %v", primaryOf(t, other, alice))
	}
}

// TestAStalePrimary believes in its epoch, because it is cut off from the quorum. Each of its writes is refused for now, what was still on its way when
// the account was promoted can land no more, and when it hears again it decides on what the new primary has made of the account.
func TestAStalePrimary(t *testing.T) {
	n, stale := pair(t, func(c *door.Config) { c.Limits.LoadPatience = time.Millisecond })
	alice := n.AddAccount(t, "carol@example.org", "")
	check(t, promote(t, n, alice, "stale"))
	doortest.Deliver(t, stale.Accounts, alice, "INBOX", letter)

	hear := n.Log.Hold() // nobody hears anything: the doors decide on what they have
	var cut atomic.Bool
	n.Log.Before = func(domain.AccountID, *event.Transaction) doortest.Fault {
		if cut.Load() {
			return doortest.LostLate // it waits in a cable, and lands when that is whole again
		}
		return doortest.None
	}
	cut.Store(true)
	_, err := stale.Accounts.Do(t.Context(), alice, "x", create("of the stale one"))
	cut.Store(false)
	if !domain.Is(err, domain.Unavailable) {
		t.Fatalf("a write of the one that is cut off gets %v", err)
	}
	land := n.Log.Delay()
	check(t, promote(t, n, alice, "new"))
	if uid := doortest.Deliver(t, n.Accounts, alice, "INBOX", letter); uid != 2 {
		t.Errorf("the new primary gives UID %d", uid)
	}
	land()
	hear()
	if got := names(t, stale, alice); slices.Contains(got, "of the stale one") {
		t.Errorf("what was refused is there: %v", got)
	}
	if want := (account.Primary{Epoch: 2, Node: "new"}); primaryOf(t, stale, alice) != want {
		t.Errorf("the stale one believes in %v", primaryOf(t, stale, alice))
	}
	if uid := doortest.Deliver(t, stale.Accounts, alice, "INBOX", letter); uid != 3 {
		t.Errorf("after it has heard, it gives UID %d", uid)
	}
	for _, node := range []*doortest.Node{n, stale} {
		check(t, node.Accounts.Fresh(t.Context(), alice))
	}
	if one, two := digestsOf(t, n, alice), digestsOf(t, stale, alice); !reflect.DeepEqual(one, two) {
		t.Errorf("the nodes have\n%v\nand\n%v", one, two)
	}
}

func digestsOf(t *testing.T, n *doortest.Node, id domain.AccountID) (d account.Digests) {
	t.Helper()
	check(t, n.Accounts.View(t.Context(), id, func(s *account.State) error { d = s.Digests(); return nil }))
	return d
}
