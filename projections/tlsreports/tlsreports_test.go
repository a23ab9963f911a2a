package tlsreports_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/tlsrpt"
	"github.com/streampost/streampost/projections/outgoing"
	"github.com/streampost/streampost/projections/tlsreports"
)

// world is a queue, DNS, a web and a clock.
type world struct {
	t        *testing.T
	now      time.Time
	texts    map[string]string // records, by domain; "?" cannot be told now
	blobs    []string
	sent     []string // "to: report's id"
	mails    []*outgoing.Mail
	posted   []string
	full     error
	kept     []byte
	outcomes []string
}

func (w *world) Accept(_ context.Context, m *outgoing.Mail) error {
	if w.full != nil {
		return w.full
	}
	w.mails = append(w.mails, m)
	w.sent = append(w.sent, m.Recipients[0].Address.String())
	return nil
}

func (w *world) Put(_ context.Context, r io.Reader) (ref domain.BlobRef, err error) {
	text, err := io.ReadAll(r)
	w.blobs = append(w.blobs, string(text))
	return ref, err
}

func (w *world) collector(change ...func(*tlsreports.Config)) *tlsreports.Collector {
	cfg := tlsreports.Config{
		Queue: w, Blobs: w, Hostname: "mail.example.org", From: delivery.Address{Local: "postmaster", Domain: "example.org"}, Node: "mail1", Clock: func() time.Time { return w.now },
		TXT: func(_ context.Context, name string) ([]string, error) {
			switch text := w.texts[strings.TrimPrefix(name, "_smtp._tls.")]; text {
			case "":
				return nil, domain.Errorf(domain.NotFound, "no such name")
			case "?":
				return nil, domain.Errorf(domain.Unavailable, "SERVFAIL")
			default:
				return []string{text}, nil
			}
		},
		Load: func() ([]byte, error) { return w.kept, nil }, Save: func(b []byte) error { w.kept = slices.Clone(b); return nil }, Wait: time.Hour,
		Count: func(outcome string) { w.outcomes = append(w.outcomes, outcome) },
	}
	for _, f := range change {
		f(&cfg)
	}
	return tlsreports.New(cfg)
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: time.Date(2026, 11, 30, 22, 0, 0, 0, time.UTC), texts: map[string]string{"example.net": "v=TLSRPTv1; rua=mailto:tls@example.net"}}
}

func session(name string) tlsrpt.Session {
	return tlsrpt.Session{Policy: tlsrpt.Policy{Kind: tlsrpt.NoPolicy, Domain: name}}
}

// said checks what became of reports so far.
func (w *world) said(when, want string) {
	w.t.Helper()
	if got := fmt.Sprint(w.sent, w.outcomes); got != want {
		w.t.Errorf("%s: %s, want %s", when, got, want)
	}
}

func TestADayIsReportedWhenItHasEnded(t *testing.T) {
	w := newWorld(t)
	c := w.collector()
	c.Observe(session("example.net"))
	c.Observe(session("example.com")) // which wants none
	c.Work(t.Context())
	w.said("the same day", "[] []")
	w.now = w.now.Add(2*time.Hour + 30*time.Minute)
	c.Observe(session("example.net")) // of the next day
	c.Work(t.Context())
	w.said("soon after", "[] []")
	w.now = w.now.Add(time.Hour)
	c.Work(t.Context())
	w.said("later", "[tls@example.net] [unwanted mailed]")
	m := w.mails[0]
	if !m.Sign || m.TLS != "no" || m.Sender.String() != "postmaster@example.org" || !strings.Contains(w.blobs[0], "\r\nMessage-ID: "+m.MessageID+"\r\n") {
		t.Errorf("%+v\n%s", m, w.blobs[0])
	}
	w.now = w.now.Add(2 * time.Hour)
	c.Work(t.Context())
	w.said("once more", "[tls@example.net] [unwanted mailed]")
	w.now = w.now.Add(24 * time.Hour)
	c.Work(t.Context())
	w.said("the next day", "[tls@example.net tls@example.net] [unwanted mailed mailed]")
}

// TestWhatCannotBeSentWaits, for two days.
func TestWhatCannotBeSentWaits(t *testing.T) {
	w := newWorld(t)
	w.texts["example.com"] = "?"
	w.full = errors.New("the queue is full")
	c := w.collector()
	c.Observe(session("example.net"))
	c.Observe(session("example.com"))
	w.now = w.now.Add(4 * time.Hour)
	c.Work(t.Context())
	w.full = nil
	c.Work(t.Context())
	w.said("at once", "[] []")
	w.now = w.now.Add(time.Hour)
	c.Work(t.Context())
	w.said("an hour later", "[tls@example.net] [mailed]")
	w.now = w.now.Add(49 * time.Hour)
	c.Work(t.Context())
	w.said("two days later", "[tls@example.net] [mailed failed]")
}

// TestCountsSurviveARestart, and a report that is made again has the same id.
func TestCountsSurviveARestart(t *testing.T) {
	w := newWorld(t)
	c := w.collector()
	c.Observe(session("example.net"))
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := w.kept
	w.now = w.now.Add(4 * time.Hour)
	w.collector().Work(t.Context())
	w.said("after a restart", "[tls@example.net] [mailed]")
	w.collector().Work(t.Context())
	w.said("after another one", "[tls@example.net] [mailed]")
	w.kept = before
	w.collector().Work(t.Context())
	if len(w.mails) != 2 || w.mails[0].MessageID != w.mails[1].MessageID || w.blobs[0] != w.blobs[1] {
		t.Error("it is another report")
	}
	w.kept = []byte(`{"days":{"x":{"domains":{"example.net":[{"policy":{"Kind":"sts"}}]}},"2026-11-29":null,"2026-11-28":{"domains":{"a":[null]}}}}`)
	c = w.collector()
	c.Work(t.Context())
	w.kept = []byte("{")
	c = w.collector()
	c.Observe(session("example.net"))
	c.Work(t.Context())
	w.said("with a damaged file", "[tls@example.net tls@example.net] [mailed mailed]")
}

func TestReportsAreSentWhereTheyAreWanted(t *testing.T) {
	w := newWorld(t)
	w.texts["example.com"] = "v=TLSRPTv1; rua=https://example.com/tls"
	w.texts["example.net"] += ",https://example.net/tls"
	for _, c := range []struct {
		post func(context.Context, string, []byte) error
		want string
	}{
		{nil, "[tls@example.net] [unwanted mailed] []"},
		{func(_ context.Context, url string, _ []byte) error { w.posted = append(w.posted, url); return nil }, "[tls@example.net] [posted mailed] [https://example.com/tls https://example.net/tls]"},
		{func(context.Context, string, []byte) error { return errors.New("404") }, "[tls@example.net] [mailed] []"},
	} {
		w.sent, w.outcomes, w.posted, w.kept = nil, nil, nil, nil
		collector := w.collector(func(cfg *tlsreports.Config) { cfg.Post = c.post })
		collector.Observe(session("example.net"))
		collector.Observe(session("example.com"))
		w.now = w.now.Add(24 * time.Hour)
		collector.Work(t.Context())
		if got := fmt.Sprint(w.sent, w.outcomes, w.posted); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// TestRunEnds with its context.
func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newWorld(t).collector().Run(ctx); err != nil {
		t.Error(err)
	}
}
