package door_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
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

// grudgingViews tell who shares as granted says.
type grudgingViews struct {
	door.Views
	granted func(ctx context.Context) error
}

func (v *grudgingViews) Granted(ctx context.Context, f func(account.Identifier, domain.AccountID)) error {
	if err := v.granted(ctx); err != nil {
		return err
	}
	return v.Views.Granted(ctx, f)
}

// TestNobodyWaitsBehindAReadingOfShares that tries again what has failed, and none fails because the client of another has gone.
func TestNobodyWaitsBehindAReadingOfShares(t *testing.T) {
	views := &grudgingViews{}
	var now atomic.Int64
	n := doortest.Start(t, func(c *door.Config) {
		views.Views, c.Views = c.Views, views
		c.Clock = func() time.Time { return time.Unix(now.Load(), 0) }
		c.Limits.LoadPatience = 5 * time.Minute // more than the test takes
	})
	asked, answer := make(chan struct{}), make(chan error)
	views.granted = func(ctx context.Context) error {
		asked <- struct{}{}
		select {
		case err := <-answer:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ask := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := n.Accounts.Sharing(ctx, "bob")
			done <- err
		}()
		return done
	}
	unavailable := func(done <-chan error) {
		t.Helper()
		select {
		case err := <-done:
			if !domain.Is(err, domain.Unavailable) {
				t.Errorf("%v", err)
			}
		case <-time.After(4 * time.Minute):
			t.Fatal("it waits for somebody else")
		}
	}
	leaving, leave := context.WithCancel(t.Context())
	first := ask(leaving)
	<-asked
	second := ask(t.Context())
	leave()
	unavailable(first)
	<-asked // by the second, for itself
	answer <- domain.Errorf(domain.Unavailable, "on purpose")
	unavailable(second)
	unavailable(ask(t.Context())) // without asking
	now.Add(3600)
	third := ask(t.Context())
	<-asked
	unavailable(ask(t.Context())) // while the third waits
	answer <- nil
	if err := <-third; err != nil {
		t.Error(err)
	}
	if err := <-ask(t.Context()); err != nil {
		t.Error(err)
	}
}
