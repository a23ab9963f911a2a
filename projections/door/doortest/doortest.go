// Package doortest opens the doors on a log, views and blobs that live in memory, for tests of the door and of everything that stands before
// it. The log can be made to fail in every way in which a real one fails; several nodes can share it.
package doortest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

// Node is one server's doors with what lies behind them.
type Node struct {
	Accounts  *door.Accounts
	Directory *door.Directory
	Log       *Log
	Views     *Views
	Blobs     *Blobs
}

// New opens the doors on an empty log.
func New(t testing.TB) (*door.Accounts, *door.Directory) {
	n := Start(t)
	return n.Accounts, n.Directory
}

// Start opens the doors on an empty log. Each option may change the configuration.
func Start(t testing.TB, options ...func(*door.Config)) *Node {
	return Join(t, NewLog(), NewBlobs(), options...)
}

// Join opens the doors of one more node on a log and blobs that exist.
func Join(t testing.TB, log *Log, blobs *Blobs, options ...func(*door.Config)) *Node {
	t.Helper()
	n := &Node{Log: log, Views: NewViews(log), Blobs: blobs}
	c := door.Config{Log: n.Log, Views: n.Views, Blobs: n.Blobs, Guessing: door.Guessing{Delay: time.Microsecond}} // tests guess wrongly a lot
	for _, option := range options {
		option(&c)
	}
	var err error
	if n.Accounts, n.Directory, err = door.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	log.Observe(n.Accounts.Observe)
	return n
}

// AddAccount creates an account, and its domain where that is missing, through a directory.
func AddAccount(t testing.TB, d *door.Directory, address, password string) domain.AccountID {
	t.Helper()
	_, host, _ := strings.Cut(address, "@")
	if err := d.AddDomain(t.Context(), "test", host); err != nil && !domain.Is(err, domain.Exists) {
		t.Fatal(err)
	}
	a, err := d.AddAccount(t.Context(), "test", address, password)
	if err != nil {
		t.Fatal(err)
	}
	return a.ID
}

// AddAccount creates an account, and its domain where that is missing.
func (n *Node) AddAccount(t testing.TB, address, password string) domain.AccountID {
	t.Helper()
	return AddAccount(t, n.Directory, address, password)
}

// Deliver puts a message into a mailbox and gives its UID there.
func Deliver(t testing.TB, a *door.Accounts, id domain.AccountID, mailbox, text string, flags ...string) domain.UID {
	t.Helper()
	stored, err := a.Ingest(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	uid, err := Add(t.Context(), a, id, mailbox, stored, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

// Add puts a stored message into a mailbox and gives its UID there.
func Add(ctx context.Context, a *door.Accounts, id domain.AccountID, mailbox string, stored door.Stored, flags ...string) (domain.UID, error) {
	thread, err := a.Thread(ctx, id, &stored.Summary)
	if err != nil {
		return 0, err
	}
	now := time.Now().Unix()
	outcome, err := a.Do(ctx, id, "test", account.AddMessage{
		Mailbox: mailbox, Blob: stored.Blob, Summary: stored.Summary, Flags: flags, Internal: now, Now: now, Thread: thread,
	})
	if err != nil {
		return 0, err
	}
	for _, e := range outcome.Events {
		if added, ok := e.(*event.MessageAdded); ok {
			return added.UID, nil
		}
	}
	return 0, nil
}
