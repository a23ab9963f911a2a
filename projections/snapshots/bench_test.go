package snapshots_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/snapshots"
	"github.com/streampost/streampost/streams"
)

// summary is that of a usual message: text and HTML, one attachment.
func summary(n int) message.Summary {
	address := func(name string) []message.Address {
		return []message.Address{{Name: name, Mailbox: "someone.of.length", Host: "mail.example.org"}}
	}
	text := message.Part{Type: "text", Subtype: "plain", Encoding: "quoted-printable", Params: []message.Param{{Name: "charset", Value: "utf-8"}}, Start: 900, Body: 1000, End: 4000, Lines: 60}
	return message.Summary{
		Envelope: message.Envelope{
			Date: "Mon, 23 Nov 2026 11:12:13 +0100", Subject: fmt.Sprintf("Re: the minutes of meeting number %d", n), From: address("From Somebody"),
			Sender: address(""), ReplyTo: address(""), To: address("To Somebody Else"), InReplyTo: fmt.Sprintf("<%d.in.reply.to@mail.example.org>", rand.Uint64()),
			MessageID: fmt.Sprintf("<%d.%d@mail.example.org>", n, rand.Uint64()), Has: 15,
		},
		Root: message.Part{
			Type: "multipart", Subtype: "mixed", Encoding: "7bit", Params: []message.Param{{Name: "boundary", Value: fmt.Sprintf("----=_Part_%d", rand.Uint64())}}, Body: 800, End: 8192,
			Parts: []message.Part{text, text, {
				Type: "application", Subtype: "pdf", Encoding: "base64", Disposition: "attachment", Start: 4000, Body: 4200, End: 8000, Lines: 50,
				Params: []message.Param{{Name: "name", Value: "minutes.pdf"}}, DispParams: []message.Param{{Name: "filename", Value: "minutes.pdf"}},
			}},
		},
		Preview: "Dear all, here are the minutes of the meeting, as far as I could write them down before the coffee was gone.",
		SentAt:  1_800_000_000, Keys: []uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()},
	}
}

// delivered is the delivery of a usual message, with contents that no compression can do away with where real ones have such.
func delivered(uid int) *event.MessageAdded {
	m := &event.MessageAdded{
		Mailbox: 1, UID: domain.UID(uid), Email: domain.EmailID(uid), Thread: domain.ThreadID(uid), Internal: 1_800_000_000 + int64(uid), Saved: 1_800_000_000 + int64(uid),
		Blob: domain.BlobRef{Size: 4096 + int64(rand.IntN(8192))}, Summary: summary(uid),
	}
	for i := 0; i < len(m.Blob.ID); i += 8 {
		copy(m.Blob.ID[i:], fmt.Appendf(nil, "%08x", rand.Uint32()))
		copy(m.Blob.Key[i:], fmt.Appendf(nil, "%08x", rand.Uint32()))
	}
	return m
}

// cpu is the time that the process has worked, on all cores.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const (
	messages = 100_000
	tail     = 1_000 // transactions after the snapshot
)

// BenchmarkHydrate makes the rows of an account of 100,000 messages, as on a node that has none: from a snapshot and the 1,000 transactions that came after it, and
// from the log alone. The log is in memory, which favours replay: nothing is opened and nothing is proved there.
func BenchmarkHydrate(b *testing.B) {
	ctx := b.Context()
	log := projectiontest.New(1)
	events, _ := account.Decide(account.New(), account.Open{UIDValidity: 1})
	log.Add(alice, 1, events...)
	for uid := 1; uid <= messages; uid++ {
		log.Add(alice, int64(uid), delivered(uid))
	}
	bucket, err := blobfs.Open(b.TempDir(), blobfs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = bucket.Close() })
	store, err := snapshots.New(ctx, bucket, log)
	if err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B, log projections.Log) (*projections.Runner, func()) {
		views, err := storetest.Open(b, b.TempDir(), sqlview.Options{})
		if err != nil {
			b.Fatal(err)
		}
		r := projections.NewRunner(projections.Config{Log: log, Views: views, Projections: rules(), Logger: slog.New(slog.DiscardHandler), Limits: projections.Limits{VerifyEvery: -1}})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = r.Run(ctx) }()
		return r, func() { cancel(); <-ended; _ = views.Close() }
	}
	wait := func(b *testing.B, r *projections.Runner) {
		head, _ := log.Head(ctx, stream)
		if err := r.Wait(ctx, stream, head); err != nil {
			b.Fatal(err)
		}
	}
	source, endSource := run(b, log)
	wait(b, source)
	maker := snapshots.NewMaker(snapshots.Config{Store: store, Views: source})
	var made *snapshots.Header
	make := func(b *testing.B) {
		h, err := maker.Make(ctx, alice)
		if err != nil {
			b.Fatal(err)
		}
		made = h
		b.ReportMetric(float64(h.Octets)/1e6, "MB")
	}
	make(b) // also when only the others are run
	b.Run("make", func(b *testing.B) {
		for b.Loop() {
			make(b)
		}
	})
	endSource()
	for range tail {
		log.Add(alice, 1, &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(domain.UID(rand.IntN(messages) + 1)), Add: event.Flagged})
	}
	last, _ := log.Last(ctx, alice)
	log.Add(bob, 1, events...)
	// A node without the account's rows is one whose rows were made when the account had none.
	empty := func(b *testing.B) (*projections.Runner, func()) {
		r, end := run(b, without{log})
		wait(b, r)
		return r, end
	}
	// Each reports when the account is served, which is what the benchmark's clock measures, and when the files are as they stay: SQLite moves the pages from
	// its log to the file after that. Processor time is that of both.
	hydrate := func(b *testing.B, from projections.Snapshots, check func(projections.Hydrated) bool) {
		var used, settled time.Duration
		for range b.N {
			b.StopTimer()
			r, end := empty(b)
			before, began := cpu(), time.Now()
			b.StartTimer()
			done, err := r.Hydrate(ctx, alice, from)
			b.StopTimer()
			if err != nil || !check(done) {
				b.Fatal(done, err)
			}
			end()
			settled += time.Since(began)
			used += cpu() - before
			b.ReportMetric(float64(done.Rows), "rows")
		}
		b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
		b.ReportMetric(settled.Seconds()/float64(b.N), "settled-s/op")
	}
	b.Run("replay", func(b *testing.B) {
		hydrate(b, nothing{}, func(done projections.Hydrated) bool { return done.From == 0 && done.Tail == int(last.Tx) })
	})
	// What comes before the snapshot is read no more. No server holds it in memory, where the collector would look at a quarter of a gigabyte of it again and again.
	for seq := domain.Seq(1); seq < made.At.Seq; seq++ {
		log.Spoil(stream, seq, func(e *streams.Entry) { e.Transaction = nil })
	}
	b.Run("snapshot", func(b *testing.B) {
		hydrate(b, store, func(done projections.Hydrated) bool { return done.From > 0 && done.Tail == tail })
	})
}
