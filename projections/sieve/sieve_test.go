package sieve_test

import (
	"fmt"
	"maps"
	"reflect"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/sieve"
)

var alice, bob = domain.NewAccountID([10]byte{1}), domain.NewAccountID([10]byte{2})

// The rows are what folding the events gives, when they are followed and when they are made anew; an erased account has none.
func TestRowsAreTheFold(t *testing.T) {
	log := projectiontest.New(1)
	steps := [][]event.Event{
		{&event.SieveScriptStored{Name: "a", Content: "keep;"}, &event.SieveScriptActivated{Name: "a"}},
		{&event.SieveScriptStored{Name: "b", Content: "stop;"}},
		{&event.SieveScriptRenamed{Name: "a", To: "c"}},
		{&event.SubscriptionChanged{Name: "x", Subscribed: true}},
		{&event.SieveScriptStored{Name: "c", Content: "discard;"}, &event.SieveScriptActivated{Name: "b"}},
		{&event.SieveScriptDeleted{Name: "c"}},
		{&event.SieveScriptActivated{}},
		{&event.VacationSet{Enabled: true, From: 5, To: 9, Subject: "a", Text: "b", HTML: "c", Set: 3}},
		{&event.VacationSet{Text: "b", Set: 4}},
		{&event.MarkSet{Kind: "vacation", Name: "b", At: 10, Until: 30}, &event.MarkSet{Kind: "duplicate", Name: "b", At: 10, Until: 20}},
		{&event.MarkSet{Kind: "vacation", Name: "b", At: 11, Until: 25}, &event.MarkSet{Kind: "vacation", Name: "c", At: 11, Until: 11}},
		{&event.MarkSet{Kind: "vacation", Name: "a", At: 20, Until: 40}},
		crowd(),
	}
	views, err := storetest.Open(t, t.TempDir(), sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	runner := projectiontest.Run(t, log, views, sieve.New())
	check := func(id domain.AccountID, want account.Scripts, tx domain.Tx) {
		t.Helper()
		projectiontest.Settle(t, log, runner)
		r, err := runner.ReaderOf(sieve.Name, id)
		if err != nil {
			t.Fatal(err)
		}
		if got, at, err := sieve.Load(t.Context(), r, id); err != nil || !reflect.DeepEqual(got.Clone(), want.Clone()) && len(got.Content)+len(want.Content) > 0 || got.Active != want.Active || at != tx || got.Vacation != want.Vacation || !maps.Equal(got.Marks, want.Marks) {
			t.Errorf("the rows say %v of transaction %d (%v), want %v of %d", got, at, err, want, tx)
		}
	}
	var folded account.Scripts
	changed := domain.Tx(0)
	log.Add(bob, 0, &event.SieveScriptStored{Name: "b", Content: "x"})
	for i, events := range steps {
		log.Add(alice, 0, events...)
		for _, e := range events {
			if _, mark := e.(*event.MarkSet); folded.Apply(e) && !mark {
				changed = domain.Tx(i + 1)
			}
		}
		check(alice, folded, changed)
	}
	if _, err := runner.Rebuild(t.Context(), projections.Selection{}, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	check(alice, folded, changed)
	if err := log.Erase(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if err := runner.Drop(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	check(alice, account.Scripts{}, 0)
	check(bob, account.Scripts{Content: map[string]string{"b": "x"}}, 1)
}

// crowd is more marks than an account keeps.
func crowd() (all []event.Event) {
	for n := range account.MaxMarks + 2 {
		all = append(all, &event.MarkSet{Kind: "vacation", Name: fmt.Sprintf("%04d", n), At: 21, Until: int64(100 + n%7)})
	}
	return all
}
