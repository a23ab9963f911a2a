package mailboxes_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/streams"
)

// benchmark is a log that is filled first and replayed under the clock: on the real log, with its server, sealing and chain, or on one in memory.
type benchmark struct {
	log    log
	stream string
	views  storetest.Store
	runner *projections.Runner
	store  mailboxes.Store
	at     map[domain.AccountID]streams.Position
	stop   func()

	projections []projections.Projection
}

type log interface {
	projections.Log
	Create(ctx context.Context, id domain.AccountID) error
	Append(ctx context.Context, id domain.AccountID, at streams.Position, t *event.Transaction) (streams.Position, error)
}

func newBenchmark(b *testing.B, l log) *benchmark {
	m := &benchmark{log: l, stream: "ACCOUNTS_0", at: map[domain.AccountID]streams.Position{}, stop: func() {}, projections: []projections.Projection{mailboxes.New(), counters.New(), quota.New()}}
	views, err := storetest.Open(b, b.TempDir(), sqlview.Options{})
	if err != nil {
		b.Fatal(err)
	}
	m.views = views
	b.Cleanup(func() { m.stop(); _ = views.Close() })
	return m
}

// realLog runs the log of record on an embedded server, sealed, chained and synced as in production.
func realLog(b *testing.B) log {
	dir := b.TempDir()
	server, err := natsd.Start(b.Context(), natsd.Config{Dir: dir + "/log"})
	if err != nil {
		b.Fatal(err)
	}
	master, err := streams.LoadMaster(dir + "/keys")
	if err != nil {
		b.Fatal(err)
	}
	l, err := streams.Open(b.Context(), streams.Config{Conn: server.Conn(), Syncer: server, Master: master, Topology: streams.Topology{Shards: 1}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = l.Close(context.Background())
		_ = server.Close(context.Background())
	})
	return l
}

// logs runs a benchmark on both logs, and with everything that a server projects.
func logs(b *testing.B, f func(*testing.B, *benchmark)) {
	b.Run("log", func(b *testing.B) { f(b, newBenchmark(b, realLog(b))) })
	b.Run("all", func(b *testing.B) {
		m := newBenchmark(b, realLog(b))
		m.projections = append(m.projections, threads.New(), changes.New())
		f(b, m)
	})
	b.Run("memory", func(b *testing.B) { f(b, newBenchmark(b, projectiontest.New(1))) })
}

// start runs the projectors.
func (m *benchmark) start() {
	m.runner = projections.NewRunner(projections.Config{
		Log: m.log, Views: m.views, Projections: m.projections,
		Logger: slog.New(slog.DiscardHandler),
	})
	m.store = mailboxes.Store{Runner: m.runner}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.runner.Run(ctx) }()
	m.stop = func() { cancel(); <-ended }
}

// fill appends transactions to accounts 0 to n-1, each account's in order and all accounts at once.
func (m *benchmark) fill(b *testing.B, n int, transactions func(account int, add func(...event.Event))) {
	b.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for account := range n {
		wg.Go(func() {
			mu.Lock()
			at := m.at[id(account)]
			mu.Unlock()
			var err error
			if at.Tx == 0 {
				err = m.log.Create(b.Context(), id(account))
			}
			transactions(account, func(events ...event.Event) {
				if err == nil {
					at, err = m.log.Append(b.Context(), id(account), at, &event.Transaction{ID: [16]byte{byte(account), byte(at.Tx), byte(at.Tx >> 8), byte(at.Tx >> 16)}, At: 1, Events: events})
				}
			})
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			m.at[id(account)] = at
			mu.Unlock()
		})
	}
	wg.Wait()
}

// wait returns when all that was added is projected.
func (m *benchmark) wait(b *testing.B) {
	head, _ := m.log.Head(b.Context(), m.stream)
	if err := m.runner.Wait(b.Context(), m.stream, head); err != nil {
		b.Fatal(err)
	}
}

func id(n int) domain.AccountID { return domain.NewAccountID([10]byte{byte(n), byte(n >> 8)}) }

// opened is what makes a new account.
func opened() []event.Event {
	events, _ := account.Decide(account.New(), account.Open{UIDValidity: 1})
	return events
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

// BenchmarkReplayDeliveries: b.N messages were delivered to 50 accounts at once.
func BenchmarkReplayDeliveries(b *testing.B) {
	logs(b, func(b *testing.B, m *benchmark) {
		m.fill(b, accounts, func(account int, add func(...event.Event)) {
			add(opened()...)
			for i := account; i < b.N; i += accounts {
				add(added(i/accounts + 1))
			}
		})
		m.replay(b, b.N)
	})
}

// BenchmarkReplayFlags: b.N changes of \Seen, each of one random message of 2,000 in one of 50 accounts.
func BenchmarkReplayFlags(b *testing.B) {
	logs(b, func(b *testing.B, m *benchmark) {
		m.fill(b, accounts, func(_ int, add func(...event.Event)) {
			add(opened()...)
			for first := 0; first < 2000; first += 500 {
				var events []event.Event
				for uid := range 500 {
					events = append(events, added(first+uid+1))
				}
				add(events...)
			}
		})
		m.start()
		m.wait(b)
		m.stop()
		m.fill(b, accounts, func(account int, add func(...event.Event)) {
			for i := account; i < b.N; i += accounts {
				e := &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(domain.UID(rand.IntN(2000) + 1)), Add: event.Seen, Delta: event.Delta{Unseen: -1}}
				if rand.IntN(2) == 0 {
					e.Add, e.Remove, e.Delta.Unseen = 0, event.Seen, 1
				}
				add(e)
			}
		})
		m.replay(b, b.N)
	})
}

// mailbox50k is one account with 50,000 messages in INBOX.
func mailbox50k(b *testing.B) *benchmark {
	m := newBenchmark(b, projectiontest.New(1))
	m.fill(b, 1, func(_ int, add func(...event.Event)) {
		add(opened()...)
		for uid := range 50_000 {
			add(added(uid + 1))
		}
	})
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
	m := newBenchmark(b, projectiontest.New(1))
	m.fill(b, 1, func(_ int, add func(...event.Event)) { add(append(opened(), added(1))...) })
	m.start()
	for b.Loop() {
		m.fill(b, 1, func(_ int, add func(...event.Event)) {
			add(&event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(1), Add: event.Seen, Delta: event.Delta{Unseen: -1}})
		})
		m.wait(b)
	}
}

// BenchmarkDigests compares the digests of 10,000 mailboxes, of 1,000 accounts, with those of another node: both are read from the rows.
func BenchmarkDigests(b *testing.B) {
	m := newBenchmark(b, projectiontest.New(1))
	m.fill(b, 1000, func(_ int, add func(...event.Event)) {
		events := opened()
		for n := range 4 { // beside the six that every account has
			events = append(events, &event.MailboxCreated{Mailbox: domain.MailboxID(n + 7), Name: fmt.Sprint("mailbox ", n), UIDValidity: uint32(n + 7)})
		}
		add(append(events, added(1))...)
	})
	m.start()
	m.wait(b)
	r, err := m.runner.Reader(m.stream, mailboxes.Name)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		here, err := mailboxes.Digests(b.Context(), r, "")
		if err != nil {
			b.Fatal(err)
		}
		there, err := mailboxes.Digests(b.Context(), r, "")
		if err != nil || len(here) != 1000 || len(there) != 1000 {
			b.Fatal(len(here), len(there), err)
		}
		n := 0
		for i := range here {
			n += len(here[i].Mailboxes)
			if here[i].Against(there[i].Digests) != nil {
				b.Fatal(here[i], there[i])
			}
		}
		if n != 10_000 {
			b.Fatal(n)
		}
	}
}
