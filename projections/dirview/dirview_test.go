package dirview_test

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/projectiontest"
	"pgregory.net/rapid"
)

// TestViewIsTheFold: whatever the commands and the batches, the rows say what folding the directory's log says.
func TestViewIsTheFold(t *testing.T) {
	tempDir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		log, state := projectiontest.New(1), directory.New()
		for range rapid.IntRange(1, 40).Draw(t, "commands") {
			events, err := directory.Decide(state, command(t))
			if err != nil || len(events) == 0 {
				continue
			}
			at := log.Add(domain.DirectoryID, 0, events...)
			for _, e := range events {
				state.Apply(at.Tx, e)
			}
		}
		views, err := sqlview.Open(fmt.Sprintf("%s/%d", tempDir, n), sqlview.Options{})
		if err != nil {
			t.Fatal(err)
		}
		runner := projections.NewRunner(projections.Config{
			Log: log, Views: views, Projections: []projections.Projection{dirview.New()}, Logger: slog.New(slog.DiscardHandler),
			Limits: projections.Limits{BatchEntries: rapid.IntRange(1, 10).Draw(t, "batch")},
		})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = runner.Run(ctx) }()
		defer func() { cancel(); <-ended; _ = views.Close() }()
		last, _ := log.Last(ctx, domain.DirectoryID)
		if err := runner.Wait(ctx, "DIRECTORY", last.Seq); err != nil {
			t.Fatal(err)
		}
		r, err := runner.ReaderOf(domain.DirectoryID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dirview.Load(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		want := &dirview.Directory{At: last, Erased: state.Erased}
		for name := range state.Domains {
			want.Domains = append(want.Domains, name)
		}
		slices.Sort(want.Domains)
		for _, a := range state.Accounts {
			want.Accounts = append(want.Accounts, dirview.Account{
				ID: a.ID, Login: a.Login(), Addresses: a.Addresses, Disabled: a.Disabled, Hash: a.Hash, Scram: a.Scram, Added: a.Added,
			})
		}
		slices.SortFunc(want.Accounts, func(a, b dirview.Account) int {
			if a.ID < b.ID {
				return -1
			}
			return 1
		})
		for i := range got.Accounts { // an empty key is no key
			if got.Accounts[i].Scram.Iterations == 0 {
				got.Accounts[i].Scram = event.ScramKeys{}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("loaded\n%+v\nfolded\n%+v", got, want)
		}
		report, err := runner.Verify(ctx, projections.Selection{}, 5, nil)
		if err != nil || report.Total != 0 {
			t.Fatalf("%v, %v", report, err)
		}
	})
}

func command(t *rapid.T) directory.Command {
	id := domain.NewAccountID([10]byte{rapid.ByteRange(0, 3).Draw(t, "account")})
	host := rapid.SampledFrom([]string{"example.org", "example.com"})
	address := rapid.SampledFrom([]string{"a@example.org", "b@example.org", "c@example.com", "d@example.com"})
	switch rapid.IntRange(0, 11).Draw(t, "command") {
	case 0, 1:
		return directory.AddDomain{Name: host.Draw(t, "domain")}
	case 2:
		return directory.RemoveDomain{Name: host.Draw(t, "domain")}
	case 3, 4, 5:
		return directory.AddAccount{ID: id, Address: address.Draw(t, "address"), Hash: rapid.SampledFrom([]string{"", "$argon2id$x"}).Draw(t, "hash")}
	case 6, 7:
		return directory.AddAddress{ID: id, Address: address.Draw(t, "address")}
	case 8:
		return directory.RemoveAddress{Address: address.Draw(t, "address")}
	case 9:
		return directory.SetPassword{ID: id, Hash: "$argon2id$y", Scram: event.ScramKeys{Iterations: 4096, Salt: []byte{1}, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}}
	case 10:
		return directory.SetDisabled{ID: id, Disabled: rapid.Bool().Draw(t, "disabled")}
	}
	return directory.Erase{ID: id}
}
