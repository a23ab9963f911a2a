package door_test

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/streams"
)

// pair starts two nodes on one log. The options are for the second.
func pair(t *testing.T, options ...func(*door.Config)) (n, other *doortest.Node) {
	t.Helper()
	n, _ = open(t)
	return n, doortest.Join(t, n.Log, n.Blobs, append(options, func(c *door.Config) { c.Shared = true })...)
}

// TestAClientMovesToAnotherNode, which has not heard yet of what the first one acknowledged.
func TestAClientMovesToAnotherNode(t *testing.T) {
	n, other := pair(t, func(c *door.Config) { c.Limits.LoadPatience = time.Minute })
	alice := n.AddAccount(t, "moves@example.org", "")
	names(t, other, alice) // it is in memory there
	release := n.Log.Hold()
	if _, err := n.Accounts.Do(t.Context(), alice, "x", create("box")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, other, alice); slices.Contains(got, "box") {
		t.Fatalf("the other node knows already: %v", got)
	}
	fresh := make(chan error)
	go func() { fresh <- other.Accounts.Fresh(t.Context(), alice) }()
	release()
	if err := <-fresh; err != nil {
		t.Fatal(err)
	}
	if got := names(t, other, alice); !slices.Contains(got, "box") {
		t.Errorf("the other node shows %v", got)
	}
}

// TestANodeThatHearsNothing asks the log itself in the end.
func TestANodeThatHearsNothing(t *testing.T) {
	n, other := pair(t, func(c *door.Config) { c.Limits.LoadPatience = time.Millisecond })
	alice := n.AddAccount(t, "moves@example.org", "")
	names(t, other, alice)
	defer n.Log.Hold()()
	if _, err := n.Accounts.Do(t.Context(), alice, "x", create("box")); err != nil {
		t.Fatal(err)
	}
	if err := other.Accounts.Fresh(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if got := names(t, other, alice); !slices.Contains(got, "box") {
		t.Errorf("the other node shows %v", got)
	}
}

// TestAUserOfAnotherNode: who was made known there a moment ago logs in here.
func TestAUserOfAnotherNode(t *testing.T) {
	n, other := pair(t, func(c *door.Config) { c.Limits.LoadPatience = time.Minute })
	login := func(password string) (door.Identity, error) {
		return other.Directory.Login(t.Context(), "imap", "192.0.2.1", "new@example.org", password)
	}
	release := n.Log.Hold()
	alice := n.AddAccount(t, "new@example.org", "first password")
	go release()
	if who, err := login("first password"); err != nil || who.Account != alice {
		t.Errorf("a new user gets %v, %v", who, err)
	}
	release = n.Log.Hold()
	if err := n.Directory.SetPassword(t.Context(), "x", alice, "second password"); err != nil {
		t.Fatal(err)
	}
	go release()
	if _, err := login("second password"); err != nil {
		t.Errorf("a new password gets %v", err)
	}
	release = n.Log.Hold()
	app, err := n.Directory.AddAppPassword(t.Context(), "x", alice, "phone", time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	go release()
	if _, err := login(app); err != nil {
		t.Errorf("a new app password gets %v", err)
	}
}

// TestMailToAUserOfAnotherNode comes in although this node hears nothing.
func TestMailToAUserOfAnotherNode(t *testing.T) {
	n, other := pair(t, func(c *door.Config) { c.Limits.LoadPatience = time.Millisecond })
	defer n.Log.Hold()()
	n.AddAccount(t, "newer@example.org", "")
	if _, _, err := other.Directory.Resolve(t.Context(), "newer@example.org"); err != nil {
		t.Errorf("mail to a new address gets %v", err)
	}
}

// TestMailToAUserOfAnotherNodeIsNotRefused, nor given to anybody else, where something stands in for those who are nobody.
func TestMailToAUserOfAnotherNodeIsNotRefused(t *testing.T) {
	for i, m := range []rewriting.Mapping{
		{Source: "@example.org", Kind: event.Error, Target: "550 5.1.1 nobody"}, {Source: "@example.org", Kind: event.Address, Target: "info@example.org"},
		{Source: "@example.org", Kind: event.Regex, Target: "new@.*:info@example.org"}, {Source: "@example.org", Kind: event.Domain, Target: "@else.example"},
	} {
		n, other := pair(t, func(c *door.Config) { c.Limits.LoadPatience = time.Minute })
		n.AddAccount(t, "info@example.org", "")
		if err := n.Directory.ChangeMappings(t.Context(), "x", directory.ChangeMappings{Add: []rewriting.Mapping{m}}); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Directory.Rewrite(t.Context(), delivery.Address{Local: "info", Domain: "example.org"}); err != nil {
			t.Fatal(err)
		}
		release := n.Log.Hold()
		id := n.AddAccount(t, "new@example.org", "")
		go release()
		r, err := other.Directory.Rewrite(t.Context(), delivery.Address{Local: "new", Domain: "example.org"})
		if err != nil || len(r.Finals) != 1 || r.Finals[0].Account != id {
			t.Errorf("%d: %+v, %v", i, r, err)
		}
	}
}

// countingLog counts how often the directory is asked for.
type countingLog struct {
	door.Log
	asked, read atomic.Int32
}

func (l *countingLog) Last(ctx context.Context, id domain.AccountID) (streams.Position, error) {
	if id == domain.DirectoryID {
		l.asked.Add(1)
	}
	return l.Log.Last(ctx, id)
}

func (l *countingLog) ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error] {
	if id == domain.DirectoryID {
		l.read.Add(1)
	}
	return l.Log.ReadAccount(ctx, id, after)
}

// TestAWrongPasswordCostsOneQuestion to the log, and never the state that all logins use.
func TestAWrongPasswordCostsOneQuestion(t *testing.T) {
	log := &countingLog{}
	n, other := pair(t, func(c *door.Config) { log.Log, c.Log, c.Limits.LoadPatience = c.Log, log, time.Millisecond })
	n.AddAccount(t, "old@example.org", "password")
	login := func(password string) error {
		_, err := other.Directory.Login(t.Context(), "imap", "192.0.2.1", "old@example.org", password)
		return err
	}
	if err := login("password"); err != nil {
		t.Fatal(err)
	}
	asked, read := log.asked.Load(), log.read.Load()
	if err := login("guess"); !domain.Is(err, domain.Denied) || log.asked.Load() != asked+1 {
		t.Errorf("a guess gets %v and costs %d questions", err, log.asked.Load()-asked)
	}
	defer n.Log.Hold()()
	n.AddAccount(t, "newer@example.org", "")
	if err := login("guess"); !domain.Is(err, domain.Unavailable) {
		t.Errorf("a guess while the node is behind gets %v", err)
	}
	if err := login("password"); err != nil {
		t.Errorf("the password, while the node is behind, gets %v", err)
	}
	if log.read.Load() != read {
		t.Error("a guess makes the node read the directory's log")
	}
}

// TestScramAfterAChangeOnAnotherNode: the keys are the new ones, and a login of nobody costs the same question.
func TestScramAfterAChangeOnAnotherNode(t *testing.T) {
	log := &countingLog{}
	n, other := pair(t, func(c *door.Config) { log.Log, c.Log, c.Limits.LoadPatience = c.Log, log, time.Minute })
	alice := n.AddAccount(t, "old@example.org", "first password")
	scram := func(n *doortest.Node, login string) door.ScramKeys {
		_, keys, err := n.Directory.Scram(t.Context(), door.SHA256, login)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	old := scram(other, "old@example.org")
	release := n.Log.Hold()
	if err := n.Directory.SetPassword(t.Context(), "x", alice, "second password"); err != nil {
		t.Fatal(err)
	}
	go release()
	asked := log.asked.Load()
	keys := scram(other, "old@example.org")
	if !bytes.Equal(keys.StoredKey, scram(n, "old@example.org").StoredKey) || bytes.Equal(keys.StoredKey, old.StoredKey) {
		t.Error("the other node gives old keys")
	}
	scram(other, "nobody@example.org")
	if got := log.asked.Load() - asked; got != 2 {
		t.Errorf("two logins cost %d questions", got)
	}
}

// reluctantLog refuses to erase keys for a while, and tells what it is made to forget and to erase.
type reluctantLog struct {
	door.Log
	refusals          atomic.Int32
	forgotten, erased chan domain.AccountID
}

func (l *reluctantLog) Forget(id domain.AccountID) { l.forgotten <- id }

func (l *reluctantLog) Erase(ctx context.Context, id domain.AccountID) error {
	if l.refusals.Add(-1) >= 0 {
		return domain.Errorf(domain.Unavailable, "not now")
	}
	err := l.Log.Erase(ctx, id)
	if err == nil {
		l.erased <- id
	}
	return err
}

// TestErasuresOfAnotherNode: the key leaves this node's memory at the word of it, and what cannot be destroyed at once is destroyed later. Nothing is
// done twice.
func TestErasuresOfAnotherNode(t *testing.T) {
	log := &reluctantLog{forgotten: make(chan domain.AccountID, 9), erased: make(chan domain.AccountID, 9)}
	n, other := pair(t, func(c *door.Config) { log.Log, c.Log, c.Limits.Backoff = c.Log, log, time.Millisecond })
	log.refusals.Store(7)
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- other.Directory.FollowErasures(ctx) }()
	var gone []domain.AccountID
	for _, address := range []string{"a@example.org", "b@example.org", "c@example.org"} {
		id := n.AddAccount(t, address, "")
		names(t, other, id) // it is in memory there
		gone = append(gone, id)
	}
	for _, id := range gone {
		check(t, n.Directory.Erase(t.Context(), "x", id))
		if got := <-log.forgotten; got != id {
			t.Errorf("the other node forgets %s, and %s was erased", got, id)
		}
	}
	var followed []domain.AccountID
	for range gone {
		followed = append(followed, <-log.erased)
	}
	slices.Sort(gone)
	slices.Sort(followed)
	if !slices.Equal(followed, gone) {
		t.Errorf("the other node erased %v, want %v", followed, gone)
	}
	cancel()
	check(t, <-done)
	if count, err := other.Directory.FinishErasures(t.Context()); count != 0 || err != nil || len(log.erased) > 0 {
		t.Errorf("%d erasures were followed twice, %v", count, err)
	}
}
