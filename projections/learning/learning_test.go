package learning

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// user is somebody with an account whose spam filter notes what it learns.
type user struct {
	t       *testing.T
	node    *doortest.Node
	id      domain.AccountID
	seq     domain.Seq // up to where the listener has heard
	l       *Learning
	learnt  []string
	counted []string
	fail    error
}

// The first mailboxes of an account.
const (
	inbox  = 1
	inJunk = 4
)

func (u *user) Learn(_ context.Context, v Verdict, address string, message io.Reader, size int64) (bool, error) {
	text, err := io.ReadAll(message)
	if err != nil || int64(len(text)) != size || address != "alice@example.org" {
		u.t.Errorf("%d octets of %d for %s, %v", len(text), size, address, err)
	}
	if u.fail != nil {
		return false, u.fail
	}
	subject, _, _ := strings.Cut(strings.TrimPrefix(string(text), "Subject: "), "\r\n")
	fresh := v.String() + " " + subject
	known := slices.Contains(u.learnt, fresh)
	u.learnt = append(u.learnt, fresh)
	return known, nil
}

func newUser(t *testing.T) *user {
	u := &user{t: t, node: doortest.Start(t)}
	u.id = u.node.AddAccount(t, "alice@example.org", "correct horse battery")
	u.l = New(Config{
		Accounts: u.node.Accounts, Learner: u, Most: 200, Address: func(context.Context, domain.AccountID) (string, error) { return "alice@example.org", nil },
		Count: func(verdict, outcome string) { u.counted = append(u.counted, verdict+" "+outcome) },
	})
	u.do("admin", account.CreateMailbox{Name: "Lists"})
	u.hear()
	return u
}

func (u *user) do(actor string, c account.Command) {
	u.t.Helper()
	if _, err := u.node.Accounts.Do(u.t.Context(), u.id, actor, c); err != nil {
		u.t.Fatal(err)
	}
}

// add puts messages into a mailbox.
func (u *user) add(actor, mailbox string, subjects ...string) {
	u.t.Helper()
	for _, subject := range subjects {
		stored, err := u.node.Accounts.Ingest(u.t.Context(), strings.NewReader("Subject: "+subject+"\r\n\r\n"))
		if err != nil {
			u.t.Fatal(err)
		}
		u.do(actor, account.AddMessage{Mailbox: mailbox, Blob: stored.Blob, Summary: stored.Summary, Internal: 5, Now: 5})
	}
}

// hear has the listener told of what happened since.
func (u *user) hear() {
	u.t.Helper()
	var entries []streams.Entry
	for e, err := range u.node.Log.ReadAccount(u.t.Context(), u.id, u.seq) {
		if err != nil {
			u.t.Fatal(err)
		}
		entries = append(entries, e)
		u.seq = e.Seq
	}
	if done, err := u.l.handle(u.t.Context(), entries); done != len(entries) || err != nil {
		u.t.Fatal(done, err)
	}
}

func (u *user) learns(want ...string) {
	u.t.Helper()
	u.learnt = nil
	u.hear()
	if !slices.Equal(u.learnt, want) {
		u.t.Errorf("the filter learns %q, want %q", u.learnt, want)
	}
}

func TestWhatUsersDoIsLearnt(t *testing.T) {
	u := newUser(t)
	const me = "imap:alice@example.org"
	u.add("lmtp", "INBOX", "one", "two", "three", "four")
	u.add("lmtp", "Junk", "filed by the server")
	u.add("alice@example.org", "Junk", "sent to herself, and filed by the server")
	u.learns()

	u.do(me, account.Transfer{From: inbox, To: "Junk", UIDs: domain.UIDs(1, 2), Move: true, Now: 5})
	u.learns("spam one", "spam two")
	u.do(me, account.Transfer{From: inbox, To: "Junk", UIDs: domain.UIDs(3), Now: 5}) // by a client without MOVE
	u.do(me, account.StoreFlags{Mailbox: inbox, UIDs: domain.UIDs(3), Mode: account.AddFlags, Flags: []string{`\Deleted`}})
	u.do(me, account.Expunge{Mailbox: inbox})
	u.learns("spam three")
	u.do(me, account.Transfer{From: inJunk, To: "Lists", UIDs: domain.UIDs(1), Move: true, Now: 5})
	u.learns("ham filed by the server")
	u.do(me, account.Transfer{From: inJunk, To: "Trash", UIDs: domain.UIDs(3), Move: true, Now: 5})
	u.do(me, account.Expunge{Mailbox: inJunk, UIDs: domain.UIDs(4), Any: true})
	u.do("admin", account.Transfer{From: inJunk, To: "INBOX", UIDs: domain.UIDs(5), Move: true, Now: 5})
	u.learns()
	u.add(me, "Junk", "appended")
	u.add(me, "INBOX", "kept")
	u.learns("spam appended")
	u.do(me, account.StoreFlags{Mailbox: inbox, UIDs: domain.UIDs(4), Mode: account.AddFlags, Flags: []string{"$Junk"}})
	u.learns("spam four")
	u.do(me, account.StoreFlags{Mailbox: inbox, UIDs: domain.UIDs(4), Mode: account.RemoveFlags, Flags: []string{"$Junk"}})
	u.do(me, account.StoreFlags{Mailbox: inbox, UIDs: domain.UIDs(4), Mode: account.AddFlags, Flags: []string{"$NotJunk", `\Seen`}})
	u.learns("ham four")
}

func TestWhatIsNotLearnt(t *testing.T) {
	u := newUser(t)
	const me = "imap:alice@example.org"
	u.add("lmtp", "INBOX", "one", "two", strings.Repeat("long", 60))
	u.do(me, account.Transfer{From: inbox, To: "Junk", UIDs: domain.UIDs(1, 2, 3), Move: true, Now: 5})
	u.do(me, account.Expunge{Mailbox: inJunk, UIDs: domain.UIDs(1), Any: true}) // before the listener comes to it
	u.learns("spam two")
	if want := []string{"spam learnt", "spam large", "spam away"}; !slices.Equal(u.counted, want) {
		t.Errorf("%q, want %q", u.counted, want)
	}

	// A filter that is away, or fails, has the entry come again.
	u.add("lmtp", "INBOX", "four")
	u.hear()
	u.do(me, account.Transfer{From: inbox, To: "Junk", UIDs: domain.UIDs(4), Move: true, Now: 5})
	u.fail = listen.Outage(domain.Errorf(domain.Unavailable, "away"))
	var entries []streams.Entry
	for e := range u.node.Log.ReadAccount(t.Context(), u.id, u.seq) {
		entries = append(entries, e)
	}
	if done, err := u.l.handle(t.Context(), entries); done != 0 || !listen.IsOutage(err) {
		t.Errorf("%d, %v", done, err)
	}
	u.fail = nil
	u.learns("spam four")
	if err := u.node.Directory.Erase(t.Context(), "test", u.id); err != nil {
		t.Fatal(err)
	}
	if done, err := u.l.handle(t.Context(), entries); done != len(entries) || err != nil {
		t.Errorf("of an erased account: %d, %v", done, err)
	}
}

// TestATransactionOfSeveral: a delivery that shares a transaction with a user's command is still a delivery.
func TestATransactionOfSeveral(t *testing.T) {
	for actors, want := range map[string][2]bool{
		"imap:alice@example.org": {true, true}, "imap:alice@example.org, lmtp": {true, false}, "lmtp": {false, false}, "imap:a@b, imap:c@d": {true, true}, "": {false, false},
	} {
		if some, all := byUsers(actors); some != want[0] || all != want[1] {
			t.Errorf("%q: %v, %v", actors, some, all)
		}
	}
	u := newUser(t)
	u.add("imap:alice@example.org, lmtp", "Junk", "whose")
	u.learns()
	u.add("imap:alice@example.org, imap:alice@example.org", "Junk", "mine")
	u.learns("spam mine")
}

var _ Accounts = (*door.Accounts)(nil)
