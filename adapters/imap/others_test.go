package imap

import (
	"context"
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
	id domain.AccountID
}

func (v *lackingViews) Load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error) {
	if id == v.id {
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
	node := doortest.Join(t, s.Log, s.Blobs, func(c *door.Config) { c.Views, c.Shared = &lackingViews{c.Views, s.ids[alice]}, true })
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
