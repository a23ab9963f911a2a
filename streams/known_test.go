package streams_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// What a reader knows comes closed, by itself or in a stream that is followed, and its place in the chain is looked at all the same.
func TestKnownEntriesComeClosed(t *testing.T) {
	n := startNode(t, shards(1))
	alice, bob := n.writer(), n.writer()
	for range 3 {
		alice.append("alice's")
		bob.append("bob's")
	}
	stream := n.log.StreamOf(alice.id)
	known := streams.Known{alice.id: alice.at.Seq - 1} // all but her last
	var whole, some, followed []streams.Entry
	for e, err := range n.log.Read(t.Context(), stream, 0, 6) {
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, e)
	}
	for e, err := range n.log.ReadPast(t.Context(), stream, 0, 6, known) {
		if err != nil {
			t.Fatal(err)
		}
		some = append(some, e)
	}
	enough := errors.New("enough")
	if err := n.log.FollowPast(deadline(t), stream, 0, known, func(entries []streams.Entry) error {
		if followed = append(followed, slices.Clone(entries)...); len(followed) >= 6 {
			return enough
		}
		return nil
	}); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if len(whole) != 6 || len(some) != 6 || len(followed) != 6 {
		t.Fatalf("%d, %d and %d entries are read", len(whole), len(some), len(followed))
	}
	for i, e := range some {
		closed := e.Account == alice.id && e.Tx < 3
		if e.Closed != closed || (e.Transaction == nil) != closed || e.Erased {
			t.Errorf("transaction %d of %s: %+v", e.Tx, e.Account, e)
		}
		if e.Position() != whole[i].Position() || e.Prev != whole[i].Prev || followed[i].Closed != closed {
			t.Errorf("%+v is known, and read it is %+v", e, whole[i])
		}
	}
	// Who puts an entry where no reader opens it does not remain unnoticed.
	n.inject(n.sealed(alice.id, alice.at.Seq))
	known[alice.id] = 7
	wantKind(t, n.log.FollowPast(deadline(t), stream, 0, known, func([]streams.Entry) error { return context.Cause(t.Context()) }), domain.Corrupt)
}
