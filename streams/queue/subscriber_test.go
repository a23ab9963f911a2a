package queue_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/queue"
	store "github.com/streampost/streampost/streams/queue"
)

func spooled(id queue.ID) queue.Record {
	r := put(id, "x@example.net")
	r.Put.Shelf, r.Put.Domain, r.Put.Due = queue.Spool, "", 1
	return r
}

// handled runs a handler of the spool until the test ends.
func handled(t *testing.T, q *store.Queue, cfg store.SubscriberConfig, handle store.Handle) {
	t.Helper()
	router, err := store.NewRouter(q, queue.Spool, cfg, time.Minute, handle)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := router.Run(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		if err := router.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// done is the result of an entry that is done with.
func done(e *queue.Entry, by store.Holder) queue.Record {
	return queue.Record{Result: &queue.Result{ID: e.ID, Node: by.Node, Boot: by.Boot, Done: []string{"x@example.net"}}}
}

func untilSpool(t *testing.T, q *store.Queue, is func(*queue.Stock) bool) {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		changed, ok := q.Changed(), false
		q.View(func(s *queue.State) { ok = is(s.On(queue.Spool)) })
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("it takes too long")
		}
	}
}

func TestTheSpoolIsHandedOut(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	appendTo(t, q, spooled(1), put(9, "x@example.net"))
	var calls atomic.Int32
	handled(t, q, store.SubscriberConfig{Boot: "a", Parallel: 2}, func(ctx context.Context, e *queue.Entry, by store.Holder) error {
		calls.Add(1)
		return q.Append(ctx, done(e, by))
	})
	for id := range queue.ID(7) {
		appendTo(t, q, spooled(id+2))
	}
	untilSpool(t, q, func(s *queue.Stock) bool { return s.Len() == 0 })
	q.View(func(s *queue.State) {
		if s.Len() != 1 || s.Claimed() != 0 || calls.Load() != 8 {
			t.Errorf("%d were handed out; the queue of other mail has %d, of which %d are claimed", calls.Load(), s.Len(), s.Claimed())
		}
	})
}

// TestWhatIsRefusedIsGivenAgain, and so is what a handler has forgotten.
func TestWhatIsRefusedIsGivenAgain(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	var calls atomic.Int32
	handled(t, q, store.SubscriberConfig{Boot: "a", Retry: time.Millisecond}, func(ctx context.Context, e *queue.Entry, by store.Holder) error {
		switch calls.Add(1) {
		case 1:
			return errors.New("not now")
		case 2:
			return nil
		case 3:
			panic("a mistake in a step")
		}
		if e.Attempts != 3 {
			t.Errorf("%+v", e)
		}
		return q.Append(ctx, done(e, by))
	})
	appendTo(t, q, spooled(1))
	untilSpool(t, q, func(s *queue.Stock) bool { return s.Len() == 0 })
	if calls.Load() != 4 {
		t.Errorf("%d calls", calls.Load())
	}
}

// TestWhatIsRefusedTooOftenIsParked, so that it is not tried for ever.
func TestWhatIsRefusedTooOftenIsParked(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	var calls atomic.Int32
	handled(t, q, store.SubscriberConfig{Boot: "a", Retry: time.Millisecond, Attempts: 3}, func(context.Context, *queue.Entry, store.Holder) error {
		calls.Add(1)
		return errors.New("never")
	})
	e := spooled(1)
	e.Put.Parking.Processor, e.Put.Parking.Step = "scan", 2
	appendTo(t, q, e)
	untilSpool(t, q, func(s *queue.Stock) bool { return s.Len() == 0 })
	q.View(func(st *queue.State) {
		i := st.Find(1)
		if i == nil || i.Shelf().Name() != queue.RepositoryError || calls.Load() != 3 {
			t.Fatalf("%+v after %d calls", i, calls.Load())
		}
		if p := i.Parking(); p.Cause != "too-often" || p.Processor != "scan" || p.Step != 2 || p.Times != 1 {
			t.Errorf("%+v", p)
		}
	})
}

// TestWhatADeadProcessHadInHand is found by the next one.
func TestWhatADeadProcessHadInHand(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	appendTo(t, q, spooled(1))
	appendTo(t, q, queue.Record{Claim: &queue.Claim{IDs: []queue.ID{1}, Node: "mail1", Boot: "dead", At: 1, Until: 1 << 60}})
	handled(t, q, store.SubscriberConfig{Boot: "a"}, func(ctx context.Context, e *queue.Entry, by store.Holder) error {
		if e.Unclear != 1 {
			t.Errorf("%+v", e)
		}
		return q.Append(ctx, done(e, by))
	})
	untilSpool(t, q, func(s *queue.Stock) bool { return s.Len() == 0 })
}

func TestOnlyTheSpoolIsHandedOut(t *testing.T) {
	s := newSite(t)
	sub, err := store.NewSubscriber(s.open("mail1"), store.SubscriberConfig{Boot: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"", "parked/error"} {
		if _, err := sub.Subscribe(t.Context(), topic); err == nil {
			t.Errorf("%q is handed out", topic)
		}
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Subscribe(t.Context(), string(queue.Spool)); err == nil {
		t.Error("a closed subscriber subscribes")
	}
}

// TestClosingCutsHandlersOff that do not end by themselves, and what they had is there for the next process at once.
func TestClosingCutsHandlersOff(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	sub, err := store.NewSubscriber(q, store.SubscriberConfig{Boot: "a", Drain: time.Millisecond, Retry: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	out, err := sub.Subscribe(t.Context(), string(queue.Spool))
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, q, spooled(1))
	m := <-out
	closed := make(chan error, 1)
	go func() { closed <- sub.Close() }()
	<-m.Context().Done()
	m.Nack()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	q.View(func(st *queue.State) {
		if on := st.On(queue.Spool); on.Len() != 1 || on.Claimed() != 0 {
			t.Errorf("%d are there, %d are claimed", on.Len(), on.Claimed())
		}
	})
}
