package imap

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/streams"
)

// lackingViews cannot load one account.
type lackingViews struct {
	door.Views
	id   domain.AccountID
	back atomic.Bool  // it can
	asks atomic.Int64 // for that account
}

func (v *lackingViews) Load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error) {
	if id == v.id && v.asks.Add(1) > 0 && !v.back.Load() {
		return nil, streams.Position{}, domain.Errorf(domain.Unavailable, "on purpose")
	}
	return v.Views.Load(ctx, id)
}

// TestOthersAccountsThatCannotBeRead are missing from lists and searches, and everything else is there.
func TestOthersAccountsThatCannotBeRead(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", mail(1))
	for _, owner := range []string{alice, carol} {
		doortest.Deliver(t, s.Accounts, s.ids[owner], "INBOX", mail(2))
		s.grant(owner, "INBOX", bob, "lr")
	}
	doortest.Deliver(t, s.Accounts, s.ids[bob], "INBOX", mail(3))
	node := doortest.Join(t, s.Log, s.Blobs, func(c *door.Config) { c.Views, c.Shared = &lackingViews{Views: c.Views, id: s.ids[alice]}, true })
	lacking := &shared{&testServer{Node: node, t: t}, s.ids}
	lacking.serve()
	b := lacking.as(bob)
	b.cmd("STATUS INBOX (MESSAGES)").ok() // so that the rows are there
	const carols = `"Other Users/carol@example.org/INBOX"`
	b.cmd(`LIST "" *INBOX`).has(`* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasNoChildren) "/" `+carols).hasNot("...alice...").ok()
	b.cmd(`SUBSCRIBE INBOX`).ok()
	b.cmd(`LSUB "" *`).has(`* LSUB () "/" INBOX`).ok()
	b.cmd(`ESEARCH IN (inboxes subtree "Other Users") ALL`).want(`* ESEARCH (TAG ... MAILBOX INBOX ...) UID ALL 1`, `* ESEARCH (TAG ... MAILBOX `+carols+` ...) UID ALL 1`, "OK ...")
	b.cmd("SELECT " + alicesInbox).no("[UNAVAILABLE] ...")
}

// TestAnErasureOfAnothersAccount ends nobody's session but its own, wherever a command comes upon it.
func TestAnErasureOfAnothersAccount(t *testing.T) {
	blobs := &openBlobs{opened: func() {}}
	s := shareOn(t, doortest.Start(t, func(c *door.Config) { blobs.Blobs, c.Blobs = c.Blobs, blobs }))
	doortest.Deliver(t, s.Accounts, s.ids[bob], "INBOX", mail(1))
	s.grant(alice, "INBOX", bob, "lri")
	b := s.as(bob)
	b.cmd("SELECT INBOX").ok()
	blobs.opened = func() {
		if err := s.Directory.Erase(t.Context(), "test", s.ids[alice]); err != nil {
			t.Error(err)
		}
	}
	b.cmd("COPY 1 " + alicesInbox).no()
	b.cmd("NOOP").ok()
}

// TestNotifyLooksAgainForOwners who could not be reached, without a command, and not all the time. A subscription to their mailboxes is told at once, though nobody
// can tell what there is (RFC 5465 section 5.5).
func TestNotifyLooksAgainForOwners(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lr")
	s.grant(carol, "INBOX", bob, "lr")
	views := &lackingViews{id: s.ids[alice]}
	node := doortest.Join(t, s.Log, s.Blobs, func(c *door.Config) { views.Views, c.Views = c.Views, views })
	lacking := &shared{&testServer{Node: node, t: t}, s.ids}
	lacking.serve()
	b := lacking.as(bob)
	b.cmd("STATUS INBOX (MESSAGES)").ok() // so that the rows are there
	b.cmd(`NOTIFY SET STATUS (subtree "Other Users" (MessageNew MessageExpunge MailboxName)) (subscribed (SubscriptionChange))`).want(`* STATUS "Other Users/carol@example.org/INBOX" ...`, "OK ...")
	lacking.do(bob, account.Subscribe{Name: "Other Users/alice@example.org/INBOX", On: true})
	b.expect(`* LIST (\Subscribed) "/" ` + alicesInbox)
	before := views.asks.Load()
	for range 100 {
		b.cmd("NOOP").want("OK NOOP completed")
	}
	if asks := views.asks.Load() - before; asks > 50 {
		t.Errorf("asked %d times", asks)
	}
	views.back.Store(true)
	b.expect(levelOf("alice"), `* LIST (\HasNoChildren \Subscribed) "/" `+alicesInbox, "* STATUS "+alicesInbox+" (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1)")
	doortest.Deliver(t, lacking.Accounts, s.ids[alice], "INBOX", mail(1))
	b.expect("* STATUS " + alicesInbox + " (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)")
	b.cmd("NOTIFY NONE").ok()

	// What a command has done it answers with OK, whatever else cannot be told now.
	b.cmd("SELECT %s", alicesInbox).ok()
	views.back.Store(false)
	lacking.Accounts.Rebuilt("", s.ids[alice])
	b.cmd("CREATE new").want("OK [MAILBOXID ...] CREATE completed")
	b.cmd("NOOP").no("[UNAVAILABLE] ...")
	views.back.Store(true)
	doortest.Deliver(t, lacking.Accounts, s.ids[alice], "INBOX", mail(2))
	b.cmd("NOOP").has("* 2 EXISTS").ok()
}
