package parking_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/queue/queuetest"
	"github.com/streampost/streampost/projections/parking"
)

type blobs struct{}

func (blobs) Open(_ context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	text := "Return-Path: <>\r\nSubject: hello\r\n\r\nHello.\r\n"
	if ref.Size != int64(len(text)) {
		return nil, errors.New("not this blob")
	}
	return io.NopCloser(strings.NewReader(text[off : off+n])), nil
}

// site is repositories on a queue in memory; n messages from alice to bob are in error, the first from a relay.
func site(t *testing.T, n int) (*parking.Lots, *queuetest.Log) {
	t.Helper()
	r := queuetest.New()
	id, now := uint64(0), time.UnixMilli(1000)
	lots, err := parking.New(parking.Config{
		Queue: r, Blobs: blobs{}, Node: "mail1", Known: []string{"quarantine"}, Random: func() uint64 { id++; return id }, Clock: func() time.Time { now = now.Add(time.Second); return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := &queue.Entry{
			Transfer: "c-1", Sender: "alice@example.org", Recipients: []queue.Recipient{{Address: "bob@example.net"}}, Blob: queue.Blob{BlobRef: domain.BlobRef{Size: 43}}, Skip: 17,
			Attributes: map[string]string{"a": "b"},
		}
		cause := parking.Cause{Code: "timeout", Text: "the filter is slow"}
		if i == 0 {
			e.Parking.RemoteAddress, cause.Code = "192.0.2.1", "loop"
		}
		if _, err := lots.Park(t.Context(), "var/mail/error", e, cause); err != nil {
			t.Fatal(err)
		}
	}
	return lots, r
}

// TestEverythingIsKept of a message that is parked, but what attempts have made of it.
func TestEverythingIsKept(t *testing.T) {
	lots, _ := site(t, 0)
	given := queuetest.Full()
	key, err := lots.Park(t.Context(), "rrt-error", given, parking.Cause{Code: "loop", Text: "round and round"})
	if err != nil {
		t.Fatal(err)
	}
	want := queuetest.Full()
	want.ID, want.Node, want.Error, want.Shelf, want.Domain, want.Via = key, "mail1", "round and round", "parked/rrt-error", "", ""
	want.Due, want.Attempts, want.Unclear, want.Last, want.Held, want.Warned, want.Pledge = 0, 0, 0, 0, false, false, nil
	p := &want.Parking
	p.Cause, p.Processor, p.Step, p.Visited, p.Last, p.Times = "loop", "", 0, 0, 2000, p.Times+1
	if got, err := lots.Entry(t.Context(), "rrt-error", key); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, instead of\n%+v", got, err, want)
	}
	if !reflect.DeepEqual(given, queuetest.Full()) {
		t.Errorf("what was given is changed: %+v", given)
	}
}

// TestNegativeFilters select nothing, whoever gives them.
func TestNegativeFilters(t *testing.T) {
	lots, _ := site(t, 2)
	for _, f := range []queue.Filter{{MaxTimes: -1}, {After: -1}, {Before: -1}, {ParkedAfter: -1}, {ParkedBefore: -1}} {
		if done, err := lots.Delete(t.Context(), &parking.Order{Repository: "error", Filter: f}, nil); !domain.Is(err, domain.Invalid) || done.Done != 0 {
			t.Errorf("%+v: %+v, %v", f, done, err)
		}
	}
}

func TestRepositories(t *testing.T) {
	lots, _ := site(t, 2)
	var names []string
	for _, s := range lots.Repositories() {
		names = append(names, s.Name)
		if s.Name == "error" && (s.Size != 2 || s.Octets != 52 || s.Oldest.UnixMilli() != 2000) {
			t.Errorf("%+v", s)
		}
	}
	if got := strings.Join(names, " "); got != "dead error local-address-error quarantine relay-denied rrt-error" {
		t.Error(got)
	}
	if _, err := lots.Repository("no such name"); !domain.Is(err, domain.Invalid) {
		t.Error(err)
	}
}

func TestWhatIsParkedIsShown(t *testing.T) {
	lots, _ := site(t, 3)
	page, err := lots.List("error", &queue.Filter{Cause: "timeout"}, 0, 1, 1)
	if err != nil || len(page.Messages) != 1 || page.Next != "" {
		t.Fatalf("%+v, %v", page, err)
	}
	if m := page.Messages[0]; m.Key != 3 || m.Sender != "alice@example.org" || m.Error != "the filter is slow" || m.Times != 1 || m.First.UnixMilli() != 4000 || !m.Last.Equal(m.First) || m.Octets != 26 {
		t.Errorf("%+v", m)
	}
	if page, err = lots.List("error", &queue.Filter{}, 0, 0, 2); err != nil || len(page.Messages) != 2 || page.Next != queue.ID(3).String() {
		t.Errorf("%+v, %v", page, err)
	}
	e, err := lots.Entry(t.Context(), "error", 1)
	if err != nil || e.Parking.RemoteAddress != "192.0.2.1" || e.Attributes["a"] != "b" {
		t.Fatalf("%+v, %v", e, err)
	}
	in, err := lots.Open(t.Context(), e, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(in); err != nil || string(text) != "Subject: hello\r\n\r\nHello.\r\n" {
		t.Errorf("%q, %v", text, err)
	}
	for _, at := range []string{"dead", "no such name"} {
		if _, err := lots.Entry(t.Context(), at, 1); err == nil {
			t.Errorf("it is in %q as well", at)
		}
	}
	if _, err := lots.Entry(t.Context(), "", 77); !domain.Is(err, domain.NotFound) {
		t.Error(err)
	}
}

// TestReprocessing: some, no faster than one says, a copy, or only a count.
func TestReprocessing(t *testing.T) {
	lots, r := site(t, 5)
	order := func(o parking.Order, want parking.Done) {
		t.Helper()
		o.Repository, o.By, want.Repository = "error", "admin", "error"
		told := 0
		got, err := lots.Reprocess(t.Context(), &o, func(done, total int) { told = done })
		if err != nil || got != want || told != want.Done {
			t.Errorf("%+v: %+v, %v; %d were told", o, got, err, told)
		}
	}
	spool := func() int { return r.State.On(queue.Spool).Len() }
	order(parking.Order{DryRun: true}, parking.Done{Selected: 5, Remaining: 5, DryRun: true})
	order(parking.Order{Filter: queue.Filter{MaxTimes: 1, Cause: "loop"}, Processor: "transport"}, parking.Done{Selected: 1, Done: 1, Remaining: 4})
	order(parking.Order{Limit: 2, Rate: 1000}, parking.Done{Selected: 2, Done: 2, Remaining: 2})
	order(parking.Order{Keep: true, Limit: 1}, parking.Done{Selected: 1, Done: 1, Remaining: 2})
	if copied, err := r.Entries(t.Context(), []queue.ID{6}); err != nil || spool() != 4 || copied[0].Parking.Times != 1 || copied[0].Attributes["a"] != "b" {
		t.Errorf("%d are on the spool, the copy is %+v", spool(), copied)
	}
	order(parking.Order{Filter: queue.Filter{IDs: []queue.ID{1}}}, parking.Done{Remaining: 2}) // it is not there any more
	r.Full = true
	if done, err := lots.Reprocess(t.Context(), &parking.Order{Repository: "error"}, nil); err == nil || done.Remaining != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	ended, end := context.WithCancel(t.Context())
	r.Full = false
	end()
	if done, err := lots.Reprocess(ended, &parking.Order{Repository: "error", Rate: 0.001}, nil); !errors.Is(err, context.Canceled) || done.Done != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := lots.Reprocess(t.Context(), &parking.Order{Repository: "error", Limit: -1}, nil); !domain.Is(err, domain.Invalid) {
		t.Error(err)
	}
}

func TestMovingAndDeleting(t *testing.T) {
	lots, r := site(t, 4)
	done, err := lots.Move(t.Context(), &parking.Order{Repository: "error", To: "custom", Filter: queue.Filter{Cause: "timeout"}}, nil)
	if err != nil || done.Done != 3 || done.Remaining != 1 || r.Appends != 5 { // one append
		t.Errorf("%+v, %v, %d appends", done, err, r.Appends)
	}
	if done, err = lots.Move(t.Context(), &parking.Order{Repository: "custom", To: "custom"}, nil); err != nil || done.Done != 0 || done.Remaining != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := lots.Move(t.Context(), &parking.Order{Repository: "custom", To: "a b"}, nil); !domain.Is(err, domain.Invalid) {
		t.Error(err)
	}
	if done, err = lots.Delete(t.Context(), &parking.Order{Repository: "custom", Limit: 1}, nil); err != nil || done.Done != 1 || done.Remaining != 2 || r.Cuts != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err = lots.Delete(t.Context(), &parking.Order{Repository: "custom"}, nil); err != nil || done.Done != 2 || done.Remaining != 0 || r.Cuts != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if r.State.Total() != 1 {
		t.Errorf("%d are left", r.State.Total())
	}
}
