package dirview_test

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
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
		views, err := storetest.Open(t, fmt.Sprintf("%s/%d", tempDir, n), sqlview.Options{})
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
		r, err := runner.ReaderOf(dirview.Name, domain.DirectoryID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dirview.Load(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		every := state.Mappings.All(func(rewriting.Mapping) bool { return true })
		for _, m := range every {
			of, err := dirview.Of(ctx, r, m.Source)
			if err != nil || !slices.Equal(of, state.Mappings.All(func(x rewriting.Mapping) bool { return x.Source == m.Source })) {
				t.Fatalf("mappings of %s: %v, %v", m.Source, of, err)
			}
			if to, err := dirview.To(ctx, r, m.Key()); err != nil || !slices.Equal(to, state.Mappings.To(m.Key())) {
				t.Fatalf("mappings to %s: %v, %v", m.Key(), to, err)
			}
		}
		want := &dirview.Directory{At: last, Mappings: every, Erased: state.Erased, Enrolments: state.Enrolments}
		for name := range state.Domains {
			want.Domains = append(want.Domains, name)
		}
		slices.Sort(want.Domains)
		for _, a := range state.Accounts {
			want.Accounts = append(want.Accounts, dirview.Account{
				ID: a.ID, Login: a.Login(), Addresses: a.Addresses, Disabled: a.Disabled, Shared: a.Shared, Hash: a.Hash, Scram: a.Scram, Added: a.Added, AppPasswords: a.AppPasswords, Placements: a.Placements,
			})
		}
		slices.SortFunc(want.Accounts, func(a, b dirview.Account) int {
			if a.ID < b.ID {
				return -1
			}
			return 1
		})
		for i, a := range want.Accounts {
			if len(a.AppPasswords) == 0 {
				want.Accounts[i].AppPasswords = nil
			}
			if len(a.Placements) == 0 {
				want.Accounts[i].Placements = nil
			}
		}
		for i := range got.Accounts { // an empty key is no key
			if got.Accounts[i].Scram.Iterations == 0 {
				got.Accounts[i].Scram = event.ScramKeys{}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("loaded\n%+v\nfolded\n%+v", got, want)
		}
		report, err := runner.Verify(ctx, projections.Selection{}, projections.VerifyOptions{Limit: 5}, nil)
		if err != nil || report.Total != 0 {
			t.Fatalf("%v, %v", report, err)
		}
	})
}

func command(t *rapid.T) directory.Command {
	id := domain.NewAccountID([10]byte{rapid.ByteRange(0, 3).Draw(t, "account")})
	host := rapid.SampledFrom([]string{"example.org", "example.com"})
	address := rapid.SampledFrom([]string{"a@example.org", "b@example.org", "c@example.com", "d@example.com"})
	nodes := []string{"n1", "n2"}
	node := rapid.SampledFrom(nodes)
	switch rapid.IntRange(0, 26).Draw(t, "command") {
	case 22, 23, 24, 25:
		m := rewriting.Mapping{Source: address.Draw(t, "source"), Target: rapid.SampledFrom([]string{"a@example.org", "c@example.com", "B@example.net"}).Draw(t, "target")}
		m.Kind = rapid.SampledFrom(directory.MappingKinds[:4]).Draw(t, "kind")
		return directory.ChangeMappings{Add: []rewriting.Mapping{m, {Source: "@example.org", Kind: event.Regex, Target: "x@.*:y@example.com"}}}
	case 26:
		return directory.ChangeMappings{Remove: []rewriting.Mapping{{Source: address.Draw(t, "source"), Kind: event.Alias, Target: "a@example.org"}}}
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
	case 11, 12:
		return directory.AddAppPassword{
			ID: id, Name: rapid.SampledFrom([]string{"phone", "laptop"}).Draw(t, "name"), Hash: [32]byte{1}, Now: 1, Expires: rapid.SampledFrom([]int64{0, 2}).Draw(t, "expires"),
			Protocols: rapid.SampledFrom([][]string{nil, {"imap", "smtp"}}).Draw(t, "protocols"),
		}
	case 13:
		return directory.RemoveAppPassword{ID: id, Name: rapid.SampledFrom([]string{"phone", "laptop"}).Draw(t, "name")}
	case 14:
		return directory.SetShared{ID: id, Shared: rapid.Bool().Draw(t, "shared")}
	case 15, 16:
		return directory.Place{Accounts: []domain.AccountID{id}, Node: node.Draw(t, "node"), Priority: rapid.Uint32().Draw(t, "priority"), Nodes: nodes}
	case 17:
		return directory.Unplace{Accounts: []domain.AccountID{id}, Node: node.Draw(t, "node")}
	case 18:
		return directory.Pause{Accounts: []domain.AccountID{id}, Paused: rapid.Bool().Draw(t, "paused")}
	case 19:
		return directory.Enrol{Selector: rapid.SampledFrom([]string{"all", "name:a*"}).Draw(t, "selector"), Node: node.Draw(t, "node"), Keep: rapid.IntRange(0, 1).Draw(t, "keep"), Nodes: nodes}
	case 20:
		return directory.Dismiss{Selector: rapid.SampledFrom([]string{"all", "name:a*"}).Draw(t, "selector")}
	case 10:
		return directory.SetDisabled{ID: id, Disabled: rapid.Bool().Draw(t, "disabled")}
	}
	return directory.Erase{ID: id}
}
