package door_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

// table is where nodes sit that hear each other.
type table struct {
	mu    sync.Mutex
	heard []func([]byte)
}

// seat is one node's place at it.
type seat struct {
	*table
	place int
}

func (t *table) seat() *seat {
	t.heard = append(t.heard, nil)
	return &seat{t, len(t.heard) - 1}
}

func (s *seat) Hear(heard func([]byte)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard[s.place] = heard
	return nil
}

func (s *seat) Tell(words []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for place, heard := range s.heard {
		if place != s.place && heard != nil {
			heard(words)
		}
	}
	return nil
}

// waits reports whether an attempt has to wait. It gives up at once.
func waits(t *testing.T, n *doortest.Node, source, login string) bool {
	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	err := n.Directory.Admit(gaveUp, source, login)
	if err != nil && !domain.Is(err, domain.Unavailable) {
		t.Errorf("waiting gives %v", err)
	}
	return err != nil
}

// TestGuessesAreCountedOverNodes: what one node sees makes another one wait, and so do a user's own places and an operator's mercy spread.
func TestGuessesAreCountedOverNodes(t *testing.T) {
	var around table
	options := func(c *door.Config) {
		c.Guessing = door.Guessing{Free: 3, Delay: time.Hour, Max: time.Minute}
		c.Gossip = around.seat()
	}
	one := doortest.Start(t, options)
	two := doortest.Join(t, one.Log, one.Blobs, options)
	one.AddAccount(t, "alice@example.org", "pencil")
	login := func(n *doortest.Node, source, password string) error {
		_, err := n.Directory.Login(t.Context(), "imap", source, "alice@example.org", password)
		return err
	}
	check(t, login(one, "192.0.2.1", "pencil"))
	for _, n := range []*doortest.Node{one, two, one} {
		if err := login(n, "198.51.100.7", "wrong"); !domain.Is(err, domain.Denied) {
			t.Fatalf("a wrong password: %v", err)
		}
	}
	for _, n := range []*doortest.Node{one, two} {
		if blocks := n.Directory.Blocks(); len(blocks) != 1 || blocks[0].Name != "alice@example.org" || blocks[0].Failures != 3 {
			t.Errorf("blocked: %+v", blocks)
		}
		if !waits(t, n, "198.51.100.8", "alice@example.org") {
			t.Error("an attempt from elsewhere does not wait")
		}
		check(t, login(n, "192.0.2.1", "pencil")) // who was there before the guesses
	}
	check(t, two.Directory.Unblock("alice@example.org"))
	for _, n := range []*doortest.Node{one, two} {
		check(t, n.Directory.Admit(t.Context(), "198.51.100.8", "alice@example.org"))
		if err := n.Directory.Unblock("alice@example.org"); !domain.Is(err, domain.NotFound) {
			t.Errorf("unblocking again: %v", err)
		}
	}
	s := two.Directory.LoginStats()
	if s.Heard != 4 || s.Sent == 0 || s.Lost != 0 || s.Waited != 1 || s.Blocked != 0 { // one place, two failures and a vain word of mercy
		t.Errorf("%+v", s)
	}
}

// TestAppPasswordsDoNotWait: nobody guesses them, so what is guessed about their account is no reason.
func TestAppPasswordsDoNotWait(t *testing.T) {
	n := doortest.Start(t, func(c *door.Config) { c.Guessing = door.Guessing{Free: 1, Delay: time.Hour, Max: time.Minute} })
	id := n.AddAccount(t, "alice@example.org", "pencil")
	password, err := n.Directory.AddAppPassword(t.Context(), "test", id, "phone", time.Time{}, nil)
	check(t, err)
	n.Directory.Tried("192.0.2.1", "alice@example.org", domain.Errorf(domain.Denied, "wrong"))
	if !waits(t, n, "192.0.2.2", "alice@example.org") {
		t.Error("an attempt with the account's password does not wait")
	}
	_, err = n.Directory.Login(t.Context(), "imap", "192.0.2.2", "alice@example.org", password)
	check(t, err)
}
