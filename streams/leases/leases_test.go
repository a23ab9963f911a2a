package leases_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/failover"
	"github.com/streampost/streampost/streams/leases"
)

// bucket opens one on a server of its own.
func bucket(t *testing.T, prefix string) (open func() *leases.Bucket, end func()) {
	t.Helper()
	server, err := natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() { _ = server.Close(context.Background()) })
	t.Cleanup(end)
	return func() *leases.Bucket {
		b, err := leases.New(leases.Config{Conn: server.Conn(), Prefix: prefix, Replicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}, end
}

// TestAllNodesSeeAllLeases as they were renewed last.
func TestAllNodesSeeAllLeases(t *testing.T) {
	open, _ := bucket(t, "two")
	one, other := open(), open()
	if all, err := one.All(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("before anybody has said anything: %v, %v", all, err)
	}
	mail2 := failover.Lease{Node: "mail2.example.org", Mail: true, Boot: "b", Beat: 7, Unfit: "disk: full"}
	for _, l := range []failover.Lease{{Node: "mail1", Mail: true, Boot: "a", Beat: 1}, {Node: mail2.Node, Beat: 6}, mail2, {Node: "mail1", Mail: true, Boot: "a", Beat: 2}} {
		if err := one.Renew(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	all, err := other.All(t.Context())
	slices.SortFunc(all, func(a, b failover.Lease) int { return strings.Compare(a.Node, b.Node) })
	if want := []failover.Lease{{Node: "mail1", Mail: true, Boot: "a", Beat: 2}, mail2}; err != nil || !slices.Equal(all, want) {
		t.Errorf("%+v, %v; want %+v", all, err, want)
	}
}

// TestOneIsInCharge: of all who have read the same revision.
func TestOneIsInCharge(t *testing.T) {
	open, _ := bucket(t, "")
	words, revision, err := open().Control(t.Context())
	if err != nil || revision != 0 || words != nil {
		t.Fatalf("nobody has been: %q, %d, %v", words, revision, err)
	}
	for range 3 {
		var mu sync.Mutex
		var all sync.WaitGroup
		next, won := uint64(0), 0
		for range 8 {
			b := open()
			if _, _, err := b.Control(t.Context()); err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				got, err := b.Take(t.Context(), []byte("mine"), revision)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
					next = got
				} else if !domain.Is(err, domain.Conflict) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won != 1 || next <= revision {
			t.Fatalf("%d were in charge at revision %d after %d", won, next, revision)
		}
		if words, revision, err = open().Control(t.Context()); err != nil || revision != next || string(words) != "mine" {
			t.Fatalf("%q, %d, %v; want %d", words, revision, err, next)
		}
	}
}

// TestNoServer is a refusal for now, for a node whose NATS is dead as for one that is cut off.
func TestNoServer(t *testing.T) {
	open, end := bucket(t, "")
	b := open()
	if err := b.Renew(t.Context(), failover.Lease{Node: "mail1"}); err != nil {
		t.Fatal(err)
	}
	end()
	_, errAll := b.All(t.Context())
	_, _, errControl := b.Control(t.Context())
	_, errTake := b.Take(t.Context(), nil, 0)
	for _, err := range []error{b.Renew(t.Context(), failover.Lease{Node: "mail1"}), errAll, errControl, errTake} {
		if !domain.Is(err, domain.Unavailable) || errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}
