package threads_test

import (
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/threads"
)

var alice, bob = domain.NewAccountID([10]byte{1}), domain.NewAccountID([10]byte{2})

// added is a message that has keys and was put into a thread.
func added(uid int, keys ...uint64) *event.MessageAdded {
	return &event.MessageAdded{
		Mailbox: 1, UID: domain.UID(uid), Email: domain.EmailID(uid), Thread: domain.ThreadID(uid), Summary: message.Summary{Keys: keys},
	}
}

type asked struct {
	keys []uint64
	want domain.ThreadID
}

// view projects a log, and asks.
func view(t *testing.T, log *projectiontest.Log) (*projections.Runner, func(domain.AccountID, ...asked)) {
	views, err := storetest.Open(t, t.TempDir(), sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	runner := projectiontest.Run(t, log, views, threads.New())
	return runner, func(id domain.AccountID, questions ...asked) {
		t.Helper()
		projectiontest.Settle(t, log, runner)
		r, err := runner.ReaderOf(threads.Name, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range questions {
			if got, err := threads.Find(t.Context(), r, id, q.keys); err != nil || got != q.want {
				t.Errorf("keys %v of %s lead to %d, %v; want %d", q.keys, id, got, err, q.want)
			}
		}
	}
}

// The first message with a key decides where it leads, in this batch or an earlier one, and goes on to decide when it is gone.
func TestFirstDecides(t *testing.T) {
	log := projectiontest.New(1)
	log.Add(alice, 0, added(1, 1<<63, 5), added(2, 5, 6))
	log.Add(bob, 0, added(9, 5))
	log.Add(alice, 0, added(3, 7))
	log.Add(alice, 0, &event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDs(1)})
	_, ask := view(t, log)
	all := []asked{{nil, 0}, {[]uint64{99}, 0}, {[]uint64{1 << 63}, 1}, {[]uint64{5}, 1}, {[]uint64{99, 6}, 2}, {[]uint64{7, 5}, 3}}
	ask(alice, all...)
	ask(bob, asked{[]uint64{5}, 9}, asked{[]uint64{6}, 0})
	log.Add(alice, 0, added(4, 5, 6, 7, 8))
	ask(alice, append(all, asked{[]uint64{8}, 4})...)
}

// An erased account has no keys, and others keep theirs.
func TestErased(t *testing.T) {
	log := projectiontest.New(1)
	log.Add(alice, 0, added(1, 5))
	log.Add(bob, 0, added(1, 5))
	runner, ask := view(t, log)
	ask(alice, asked{[]uint64{5}, 1})
	if err := log.Erase(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if err := runner.Drop(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	ask(alice, asked{[]uint64{5}, 0})
	ask(bob, asked{[]uint64{5}, 1})
	if _, err := runner.Rebuild(t.Context(), projections.Selection{}, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	ask(alice, asked{[]uint64{5}, 0})
	ask(bob, asked{[]uint64{5}, 1})
}
