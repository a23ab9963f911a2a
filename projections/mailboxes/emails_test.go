package mailboxes_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
)

// mailbox gives one account with n messages in INBOX, and where its view's files are.
func mailbox(t testing.TB, n int) (mailboxes.Store, *projectiontest.Log, string) {
	log, dir := projectiontest.New(1), t.TempDir()
	views, err := storetest.Open(t, dir, sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	events, _ := account.Decide(account.New(), account.Open{UIDValidity: 1})
	log.Add(id(0), 0, events...)
	for i := range n {
		log.Add(id(0), 0, added(i+1))
	}
	runner := projections.NewRunner(projections.Config{Log: log, Views: views, Projections: []projections.Projection{mailboxes.New()}, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = runner.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; _ = views.Close() })
	settle(t, runner, log)
	return mailboxes.Store{Runner: runner}, log, dir
}

func settle(t testing.TB, runner *projections.Runner, log *projectiontest.Log) {
	t.Helper()
	head, _ := log.Head(t.Context(), "ACCOUNTS_0")
	if err := runner.Wait(t.Context(), "ACCOUNTS_0", head); err != nil {
		t.Fatal(err)
	}
}

// A head is all that a summary says but for the tree.
func TestHeads(t *testing.T) {
	store, _, _ := mailbox(t, 2)
	want := added(2).Summary
	want.Root, want.Keys = message.Part{}, nil // which are random here
	for e, err := range store.Emails(t.Context(), id(0), 1, domain.UIDs(2), mailboxes.WantHead) {
		if err == nil {
			e.Summary.Keys = nil
		}
		if err != nil || !reflect.DeepEqual(*e.Summary, want) {
			t.Errorf("%+v, %v; want %+v", e.Summary, err, want)
		}
	}
}

// BenchmarkHeads is what SORT reads of a mailbox that nobody has put in order before.
func BenchmarkHeads(b *testing.B) {
	const messages = 5000
	store, _, _ := mailbox(b, messages)
	for b.Loop() {
		n := 0
		for _, err := range store.Emails(b.Context(), id(0), 1, domain.UIDSet{domain.AllUIDs}, mailboxes.WantHead) {
			if n++; err != nil {
				b.Fatal(err)
			}
		}
		if n != messages {
			b.Fatalf("%d messages", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*messages), "us/message")
}

// A set of UIDs with gaps, larger than a chunk, gives what is there and in order; what was expunged is left out.
func TestEmails(t *testing.T) {
	store, log, _ := mailbox(t, 1500)
	log.Add(id(0), 0, &event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDs(700), Delta: event.DeltaOf(0, 8192).Negate()})
	settle(t, store.Runner, log)
	var got, want []domain.UID
	for uid := domain.UID(3); uid <= 1500; uid++ {
		if uid != 700 && (uid <= 1200 || uid >= 1400) {
			want = append(want, uid)
		}
	}
	for e, err := range store.Emails(t.Context(), id(0), 1, domain.UIDSet{{Lo: 3, Hi: 1200}, {Lo: 1400, Hi: 9999}},
		mailboxes.WantEnvelope|mailboxes.WantStructure|mailboxes.WantSummary|mailboxes.WantBlob) {
		if err != nil {
			t.Fatal(err)
		}
		s := added(int(e.UID)).Summary
		if !bytes.Equal(e.Envelope, message.AppendEnvelope(nil, &s.Envelope)) || !bytes.Equal(e.Structure, message.AppendStructure(nil, &s.Root, true)) ||
			e.Summary.Envelope.MessageID != s.Envelope.MessageID || e.Blob != added(int(e.UID)).Blob || e.Email != domain.EmailID(e.UID) {
			t.Fatalf("UID %d: %+v", e.UID, e)
		}
		got = append(got, e.UID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages, not %d", len(got), len(want))
	}
}

// Only what is wanted is read, and a consumer may stop.
func TestEmailsWanted(t *testing.T) {
	store, _, _ := mailbox(t, 3)
	n := 0
	for e, err := range store.Emails(t.Context(), id(0), 1, domain.UIDs(1, 2, 3), 0) {
		if err != nil || len(e.Envelope) > 0 || e.Summary != nil || e.Blob != (domain.BlobRef{}) {
			t.Fatalf("%+v, %v", e, err)
		}
		if n++; n == 2 {
			break
		}
	}
	for range store.Emails(t.Context(), id(0), 7, domain.UIDs(1, 2, 3), 0) {
		t.Error("a mailbox that is not there has messages")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range store.Emails(cancelled, id(0), 1, domain.UIDs(1), 0) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled read: %v", err)
		}
	}
}

// After an account is dropped its envelopes and blob keys are nowhere in the files, whether they were expunged before or not.
func TestDropLeavesNothingReadable(t *testing.T) {
	if storetest.Postgres() {
		t.Skip("views have no files in PostgreSQL")
	}
	store, log, dir := mailbox(t, 200)
	secret := []byte("minutes of meeting number")
	if !found(t, dir, secret) {
		t.Fatal("the test looks for the wrong thing")
	}
	log.Add(id(0), 0, &event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDSet{{Lo: 50, Hi: 150}}})
	settle(t, store.Runner, log)
	if err := log.Erase(t.Context(), id(0)); err != nil {
		t.Fatal(err)
	}
	if err := store.Drop(t.Context(), id(0)); err != nil {
		t.Fatal(err)
	}
	if found(t, dir, secret) {
		t.Error("an envelope can still be read in the view's files")
	}
}

func found(t *testing.T, dir string, what []byte) bool {
	t.Helper()
	files, _ := filepath.Glob(dir + "/*")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, what) {
			return true
		}
	}
	return false
}
