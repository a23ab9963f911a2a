package door_test

import (
	"slices"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door/doortest"
)

// TestWhoSharesIsKnownOnEveryNode: to the node that wrote it at once, to another that runs by the log, and to one that starts later by the rows.
func TestWhoSharesIsKnownOnEveryNode(t *testing.T) {
	n := doortest.Start(t)
	alice, bob, carol := n.AddAccount(t, "alice@example.org", ""), n.AddAccount(t, "bob@example.org", ""), n.AddAccount(t, "carol@example.org", "")
	other := doortest.Join(t, n.Log, n.Blobs)
	sharing := func(n *doortest.Node, who domain.AccountID, want ...domain.AccountID) {
		t.Helper()
		got, err := n.Accounts.Sharing(t.Context(), who)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v: want %v", got, err, want)
		}
	}
	give := func(owner domain.AccountID, who account.Identifier, rights account.Rights) {
		t.Helper()
		if _, err := n.Accounts.Do(t.Context(), owner, "test", account.SetRights{Mailbox: account.Inbox, Identifier: who, Rights: rights}); err != nil {
			t.Fatal(err)
		}
	}
	sharing(n, bob)
	give(alice, account.Identifier(bob), account.MayRead)
	give(carol, account.Identifier(bob).Negative(), account.MayRead)
	sharing(n, bob, alice)
	sharing(n, alice)
	give(carol, account.Anyone, account.MayRead)
	for _, n := range []*doortest.Node{n, other} {
		sharing(n, bob, alice, carol)
		sharing(n, alice, carol)
		sharing(n, carol)
	}
	late := doortest.Join(t, n.Log, n.Blobs)
	last, err := n.Log.Last(t.Context(), carol)
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Views.Wait(t.Context(), alice, last.Seq); err != nil {
		t.Fatal(err)
	}
	sharing(late, bob, alice, carol)
}
