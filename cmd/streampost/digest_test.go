package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/projections/vault"
)

// digesting is a node on a log that others share, behind its admin door.
type digesting struct {
	testing.TB
	dir    string
	log    *projectiontest.Log
	runner *projections.Runner
	client *client
}

func newDigesting(t testing.TB, log *projectiontest.Log) *digesting {
	t.Helper()
	d := &digesting{TB: t, log: log, dir: t.TempDir()}
	views, err := storetest.Open(t, d.dir, sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	d.runner = projectiontest.Run(t, log, views, mailboxes.New(), threads.New(), counters.New(), quota.New(), changes.New(), vault.New(), blobs.New())
	door, err := webadmin.New(webadmin.Config{
		Tokens: webadmin.Tokens{All: "token"}, Logger: slog.New(slog.DiscardHandler), Backend: webadmin.Backend{Views: viewsBackend{Runner: d.runner}, Metrics: http.NotFoundHandler()},
	})
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(door)
	t.Cleanup(served.Close)
	if d.client, err = newClient(adminAccess{URL: served.URL, Token: "token"}); err != nil {
		t.Fatal(err)
	}
	d.settle()
	return d
}

func (d *digesting) settle() {
	d.Helper()
	projectiontest.Settle(d, d.log, d.runner)
}

func (d *digesting) read(ctx context.Context, more url.Values) ([]webadmin.Digested, error) {
	return digestsOf(ctx, d.client, more)
}

// spoil runs a statement on the rows of a projection. $ is the first account.
func (d *digesting) spoil(projection, statement string) {
	d.Helper()
	storetest.Spoil(d, d.dir, projectiontest.Live(d, d.runner, "ACCOUNTS_0", projection), strings.ReplaceAll(statement, "$", "'"+string(owner(0))+"'"))
}

func owner(n int) domain.AccountID { return domain.NewAccountID([10]byte{byte(n), byte(n >> 8)}) }

// accountsOf fills a log.
func accountsOf(t testing.TB, n int) *projectiontest.Log {
	t.Helper()
	log := projectiontest.New(1)
	for i := range n {
		events, err := account.Decide(account.New(), account.Open{UIDValidity: 1})
		if err != nil {
			t.Fatal(err)
		}
		log.Add(owner(i), 1, events...)
		log.Add(owner(i), 2, &event.MessageAdded{Mailbox: 1, UID: 1, Email: 1, Thread: 1, Blob: domain.BlobRef{Size: 100}})
	}
	return log
}

// Two nodes that project the same log agree. What one has otherwise is found, to the mailbox; and what only comes later to one is not taken for a difference.
func TestDigestsOfTwoNodes(t *testing.T) {
	log := accountsOf(t, 3)
	here, there := newDigesting(t, log), newDigesting(t, log)
	compare := func(there reading, again bool) Disagreements {
		t.Helper()
		sum, err := compareDigests(t.Context(), here.read, there, again)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if sum := compare(there.read, true); sum.Digests != 3*6 || sum.Differ+sum.Open != 0 || len(sum.Left) > 0 {
		t.Fatalf("nodes that agree: %+v", sum)
	}
	kept, err := there.read(t.Context(), url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	file := func(context.Context, url.Values) ([]webadmin.Digested, error) { return kept, nil }

	there.spoil("counters", `update digests set digest = 7 where account = $`)
	there.spoil("mailboxes", `update digests set digest = 8 where account = $`)
	there.spoil("mailboxes", `update mailboxes set digest = 9 where account = $ and mailbox = 2`)
	sum := compare(there.read, true)
	found := ""
	for _, d := range sum.Different {
		if d.Account != string(owner(0)) || d.Open {
			t.Errorf("%+v", d)
		}
		found += fmt.Sprintf("%s %d %s, ", d.Projection, d.Mailbox, d.There)
	}
	if sum.Differ != 2 || found != "counters 0 0000000000000007, mailboxes 0 0000000000000008, mailboxes 2 0000000000000009, " {
		t.Errorf("%d differ: %s", sum.Differ, found)
	}
	if sum := compare(file, false); sum.Differ+sum.Open != 0 {
		t.Errorf("the file: %+v", sum)
	}

	// A file cannot be asked again, so what changed since may differ; another node is asked until it has come as far.
	log.Add(owner(1), 3, &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(1), Add: event.Seen, Delta: event.Delta{Unseen: -1}})
	here.settle()
	if sum := compare(file, false); sum.Differ != 0 || sum.Open != 3 { // mailboxes, counters and changes of one account
		t.Errorf("the file, after a change: %+v", sum)
	}
	behind, mended := 0, newDigesting(t, log)
	late := func(ctx context.Context, more url.Values) ([]webadmin.Digested, error) {
		if behind++; behind < 3 {
			return kept, nil
		}
		return mended.read(ctx, more)
	}
	if sum := compare(late, true); sum.Differ+sum.Open != 0 {
		t.Errorf("a node that comes later: %+v", sum)
	}
}

// BenchmarkDigestsOfTwoNodes compares all digests of two nodes with 10,000 mailboxes through their REST doors.
func BenchmarkDigestsOfTwoNodes(b *testing.B) {
	log := accountsOf(b, 2000)
	here, there := newDigesting(b, log), newDigesting(b, log)
	for b.Loop() {
		sum, err := compareDigests(b.Context(), here.read, there.read, true)
		if err != nil || sum.Differ+sum.Open != 0 {
			b.Fatal(sum, err)
		}
	}
}
