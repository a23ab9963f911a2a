package mailboxes_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
)

// benchmark is a log that is filled first and replayed under the clock.
type benchmark struct {
	log    *projectiontest.Log
	stream string
	views  *sqlview.Views
	runner *projections.Runner
	store  mailboxes.Store
	stop   func()
}

func newBenchmark(b *testing.B) *benchmark {
	m := &benchmark{log: projectiontest.New(1), stream: "ACCOUNTS_0"}
	views, err := sqlview.Open(b.TempDir(), sqlview.Options{})
	if err != nil {
		b.Fatal(err)
	}
	m.views, m.stop = views, func() {}
	b.Cleanup(func() { m.stop(); _ = views.Close() })
	return m
}

// start runs the projectors.
func (m *benchmark) start() {
	m.runner = projections.NewRunner(projections.Config{
		Log: m.log, Views: m.views, Projections: []projections.Projection{mailboxes.New(), counters.New(), quota.New()},
		Logger: slog.New(slog.DiscardHandler),
	})
	m.store = mailboxes.Store{Runner: m.runner}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.runner.Run(ctx) }()
	m.stop = func() { cancel(); <-ended }
}

// wait returns when all that was added is projected.
func (m *benchmark) wait(b *testing.B) {
	head, _ := m.log.Head(b.Context(), m.stream)
	if err := m.runner.Wait(b.Context(), m.stream, head); err != nil {
		b.Fatal(err)
	}
}

func id(n int) domain.AccountID { return domain.NewAccountID([10]byte{byte(n), byte(n >> 8)}) }

func (m *benchmark) open(n int) {
	events, _ := account.Decide(account.New(), account.Open{UIDValidity: 1})
	m.log.Add(id(n), 0, events...)
}

// summary is that of a usual message: text and HTML, one attachment.
func summary(n int) message.Summary {
	address := func(name string) []message.Address {
		return []message.Address{{Name: name, Mailbox: "someone.of.length", Host: "mail.example.org"}}
	}
	text := message.Part{Type: "text", Subtype: "plain", Encoding: "quoted-printable", Params: []message.Param{{Name: "charset", Value: "utf-8"}}, Start: 900, Body: 1000, End: 4000, Lines: 60}
	return message.Summary{
		Envelope: message.Envelope{
			Date: "Mon, 23 Nov 2026 11:12:13 +0100", Subject: fmt.Sprintf("Re: the minutes of meeting number %d", n), From: address("From Somebody"),
			Sender: address(""), ReplyTo: address(""), To: address("To Somebody Else"), InReplyTo: "<in.reply.to.1234567890@mail.example.org>",
			MessageID: fmt.Sprintf("<%d.1234567890@mail.example.org>", n), Has: 15,
		},
		Root: message.Part{
			Type: "multipart", Subtype: "mixed", Encoding: "7bit", Params: []message.Param{{Name: "boundary", Value: "----=_Part_1234567890"}}, Body: 800, End: 8192,
			Parts: []message.Part{text, text, {
				Type: "application", Subtype: "pdf", Encoding: "base64", Disposition: "attachment", Start: 4000, Body: 4200, End: 8000, Lines: 50,
				Params: []message.Param{{Name: "name", Value: "minutes.pdf"}}, DispParams: []message.Param{{Name: "filename", Value: "minutes.pdf"}},
			}},
		},
		Preview: "Dear all, here are the minutes of the meeting, as far as I could write them down before the coffee was gone.",
		SentAt:  1_800_000_000, Keys: []uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()},
	}
}

func added(uid int) *event.MessageAdded {
	return &event.MessageAdded{
		Mailbox: 1, UID: domain.UID(uid), Email: domain.EmailID(uid), Thread: domain.ThreadID(uid), Internal: 1_800_000_000, Saved: 1_800_000_000,
		Blob: domain.BlobRef{ID: domain.BlobID{byte(uid), byte(uid >> 8)}, Key: domain.BlobKey{7}, Size: 8192}, Summary: summary(uid),
	}
}

// replay measures how fast what was added since is projected.
func (m *benchmark) replay(b *testing.B, entries int) {
	b.ResetTimer()
	m.start()
	m.wait(b)
	b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "tx/s")
}

const accounts = 50

// BenchmarkReplayDeliveries: b.N messages are delivered to 50 accounts in turn.
func BenchmarkReplayDeliveries(b *testing.B) {
	m := newBenchmark(b)
	for n := range accounts {
		m.open(n)
	}
	for i := range b.N {
		m.log.Add(id(i%accounts), 0, added(i/accounts+1))
	}
	m.replay(b, b.N)
}

// BenchmarkReplayFlags: b.N changes of \Seen, each of one random message of 2,000 in one of 50 accounts.
func BenchmarkReplayFlags(b *testing.B) {
	m := newBenchmark(b)
	for n := range accounts {
		m.open(n)
		var events []event.Event
		for uid := range 2000 {
			events = append(events, added(uid+1))
		}
		m.log.Add(id(n), 0, events...)
	}
	m.start()
	m.wait(b)
	m.stop()
	for range b.N {
		uid := domain.UID(rand.IntN(2000) + 1)
		e := &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(uid), Add: event.Seen, Delta: event.Delta{Unseen: -1}}
		if rand.IntN(2) == 0 {
			e.Add, e.Remove, e.Delta.Unseen = 0, event.Seen, 1
		}
		m.log.Add(id(rand.IntN(accounts)), 0, e)
	}
	m.replay(b, b.N)
}

// mailbox50k is one account with 50,000 messages in INBOX.
func mailbox50k(b *testing.B) *benchmark {
	m := newBenchmark(b)
	m.open(0)
	for uid := range 50_000 {
		m.log.Add(id(0), 0, added(uid+1))
	}
	m.start()
	m.wait(b)
	return m
}

// BenchmarkLoad50k loads the state of an account of 50,000 messages.
func BenchmarkLoad50k(b *testing.B) {
	m := mailbox50k(b)
	for b.Loop() {
		if _, _, err := m.store.Load(b.Context(), id(0)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEnvelopes50k reads 50,000 envelopes.
func BenchmarkEnvelopes50k(b *testing.B) {
	m := mailbox50k(b)
	for b.Loop() {
		n := 0
		for e, err := range m.store.Emails(b.Context(), id(0), 1, domain.UIDSet{{Lo: 1, Hi: 50_000}}, mailboxes.WantEnvelope) {
			if err != nil || len(e.Envelope) == 0 {
				b.Fatal(err)
			}
			n++
		}
		if n != 50_000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkOne reads what FETCH BODY[] of one message needs.
func BenchmarkOne(b *testing.B) {
	m := mailbox50k(b)
	for b.Loop() {
		uid := domain.UID(rand.IntN(50_000) + 1)
		for _, err := range m.store.Emails(b.Context(), id(0), 1, domain.UIDs(uid), mailboxes.WantBlob|mailboxes.WantSummary) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkLive measures the time from the append of one flag change until its row can be read, with nothing else going on.
func BenchmarkLive(b *testing.B) {
	m := newBenchmark(b)
	m.open(0)
	m.log.Add(id(0), 0, added(1))
	m.start()
	began := time.Now()
	for b.Loop() {
		at := m.log.Add(id(0), 0, &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(1), Add: event.Seen, Delta: event.Delta{Unseen: -1}})
		if err := m.runner.Wait(b.Context(), m.stream, at.Seq); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "tx/s")
}
