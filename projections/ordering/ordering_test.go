package ordering_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/sorting"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/ordering"
)

// shelf has a row for each UID but one, and counts those that are read.
type shelf struct {
	mu      sync.Mutex
	read    int
	without domain.UID
	err     error
}

func (s *shelf) Emails(_ context.Context, _ domain.AccountID, _ domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error] {
	return func(yield func(door.Email, error) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err != nil {
			yield(door.Email{}, s.err)
			return
		}
		for uid := range uids.All() {
			s.read++
			if uid != s.without && !yield(door.Email{UID: uid, Email: domain.EmailID(uid), Summary: &message.Summary{Envelope: message.Envelope{Subject: fmt.Sprint("subject ", 1000-uid)}}}, nil) {
				return
			}
		}
	}
}

func rows(n int) (all []account.Message) {
	for i := range n {
		all = append(all, account.Message{UID: domain.UID(i + 1), Email: domain.EmailID(i + 1)})
	}
	return all
}

var bySubject = []sorting.Criterion{{Key: sorting.Subject}}

func TestRowsAreReadOnce(t *testing.T) {
	s := &shelf{without: 2}
	tables := ordering.New(s, 0)
	order := func(rows []account.Message) (got string) {
		t.Helper()
		if err := tables.Use(t.Context(), "a", 1, rows, func(table *sorting.Table, rows []account.Message) {
			got = fmt.Sprint(len(rows), table.Order(rows, bySubject, nil))
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := order(rows(3)); got != "2 [1 0]" {
		t.Errorf("of three messages, one of them expunged, the order is %s", got)
	}
	s.without = 0
	if got := order(rows(4)); got != "4 [3 2 1 0]" || s.read != 5 {
		t.Errorf("the order is %s after %d rows were read", got, s.read)
	}
	if order(rows(4)); s.read != 5 {
		t.Errorf("%d rows were read", s.read)
	}
}

func TestTablesHaveABudget(t *testing.T) {
	s := &shelf{}
	tables := ordering.New(s, 20_000)
	for _, id := range []domain.AccountID{"a", "b", "c", "a"} {
		if err := tables.Use(t.Context(), id, 1, rows(50), func(*sorting.Table, []account.Message) {}); err != nil {
			t.Fatal(err)
		}
	}
	if n, bytes := tables.Size(); n != 1 || bytes > 20_000 || s.read != 200 {
		t.Errorf("%d tables of %d octets; %d rows were read", n, bytes, s.read)
	}
	s.err = domain.Errorf(domain.Erased, "the account was erased")
	if err := tables.Use(t.Context(), "a", 1, rows(51), func(*sorting.Table, []account.Message) { t.Error("it is used") }); !domain.Is(err, domain.Erased) {
		t.Error(err)
	}
	if n, bytes := tables.Size(); n != 0 || bytes != 0 {
		t.Errorf("%d tables of %d octets are left of an erased account", n, bytes)
	}
}

func TestUseTakesTurns(t *testing.T) {
	tables := ordering.New(&shelf{}, 1) // and each Table is forgotten at once
	ctx, cancel := context.WithCancel(t.Context())
	if err := tables.Use(ctx, "a", 1, rows(1), func(*sorting.Table, []account.Message) {
		cancel()
		if err := tables.Use(ctx, "a", 1, nil, func(*sorting.Table, []account.Message) { t.Error("two use it") }); err != context.Canceled {
			t.Error(err)
		}
	}); err != nil {
		t.Error(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				_ = tables.Use(t.Context(), "a", 1, rows(20), func(table *sorting.Table, rows []account.Message) { table.Order(rows, bySubject, nil) })
			}
		})
	}
	all.Wait()
}
