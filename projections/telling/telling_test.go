package telling

import (
	"context"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// TestAddresses: who is gone has none, and a directory that cannot be read is waited for, since a selection by domain would miss what it should have.
func TestAddresses(t *testing.T) {
	var err error
	s := Source{
		Events: feed.Selection{Domains: []string{"example.org"}},
		Address: func(_ context.Context, id domain.AccountID) (string, error) {
			return map[bool]string{true: string(id) + "@example.org"}[err == nil], err
		},
	}
	entries := []streams.Entry{
		{Account: "alice", Tx: 1, Transaction: &event.Transaction{Events: []event.Event{&event.MailboxCreated{Name: "x"}}}},
		{Account: domain.DirectoryID, Tx: 1, Transaction: &event.Transaction{Events: []event.Event{&event.PasswordChanged{Account: "alice"}}}},
	}
	for _, c := range []struct {
		err   error
		items int
	}{{nil, 1}, {domain.Errorf(domain.NotFound, "none"), 0}, {domain.Errorf(domain.Erased, "none"), 0}} {
		err = c.err
		for i := range entries {
			items, got := s.Items(t.Context(), &entries[i])
			if got != nil || len(items) != c.items || c.items > 0 && items[0].Address != "alice@example.org" {
				t.Errorf("%v: %+v, %v", c.err, items, got)
			}
		}
	}
	err = domain.Errorf(domain.Unavailable, "away")
	for i := range entries {
		if _, got := s.Items(t.Context(), &entries[i]); !listen.IsOutage(got) {
			t.Errorf("no outage: %v", got)
		}
	}
	if l := s.Listener("x", nil); !l.Directory || l.From != listen.Beginning {
		t.Errorf("%+v", l)
	}
}
