package processing_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/processing"
)

// narrow is a queue that takes so many octets at once.
type narrow struct {
	processing.Queue
	most int
}

func (n narrow) Append(ctx context.Context, records ...queue.Record) error {
	if text, err := queue.Marshal(records); err != nil || len(text) > n.most {
		return domain.Errorf(domain.TooLarge, "an append takes %d octets", len(text))
	}
	return n.Queue.Append(ctx, records...)
}

// TestWhatTheQueueDoesNotTake is parked as it is: it would be the same the next time.
func TestWhatTheQueueDoesNotTake(t *testing.T) {
	s := newSite(t, "root: All -> SetMailAttribute name=verdict value="+strings.Repeat("v", 3000), "root: All -> Resend to=bob@example.org", "root: All -> RemoteDelivery")
	s.cfg.Queue = narrow{s.log, 4000}
	s.accept(s.arriving("alice@example.org"), true)
	s.lies("spool: alice@example.org")
	s.handle()
	s.lies("error: alice@example.org")
	if e := s.parked("error"); e.Parking.Cause != "too-large" || !strings.Contains(e.Error, "octets") {
		t.Errorf("%+v", e)
	}
}

// TestAPanicIsAFailure of the message, which rests, and is parked in the end.
func TestAPanicIsAFailure(t *testing.T) {
	s := newSite(t, "root: All -> HTTP url=http://127.0.0.1:1/", "root: All -> RemoteDelivery")
	s.cfg.Requeue = func(context.Context, *queue.Entry, []queue.Recipient) ([]queue.Record, error) { panic("a mistake") }
	s.hooks.replies = []any{&processing.Reply{}}
	s.accept(s.arriving("alice@example.org"), true)
	tries := 0
	for ; tries < 100 && s.handle() > 0; tries++ {
		s.now = s.now.Add(2 * time.Hour)
	}
	s.lies("error: alice@example.org")
	if e := s.parked("error"); tries != 30 || e.Parking.Cause != "too-often" || !strings.Contains(e.Error, "a mistake") {
		t.Errorf("%+v after %d tries", e, tries)
	}
}

// TestStrangersHearNothingOfHooks: reports and metrics name the step, and only operators see what went wrong.
func TestStrangersHearNothingOfHooks(t *testing.T) {
	for end, where := range map[string]string{"Bounce": "outgoing", "ToRepository repository=kept": "kept"} {
		s := newSite(t, "root: All -> HTTP url=http://scanner.internal:8080/mail onError=tell", "root: All -> RemoteDelivery", "tell: All -> "+end)
		s.hooks.replies = []any{domain.Errorf(domain.Unavailable, "dial 10.0.0.1: refused")}
		step := ""
		s.cfg.Metrics.Called = func(name, _ string, _ time.Duration) { step = name }
		s.accept(s.arriving("alice@example.org"), true)
		s.handle()
		if step != "root-0" {
			t.Errorf("metrics have the step %q", step)
		}
		if where == "kept" {
			if e := s.parked("kept"); !strings.Contains(e.Error, "10.0.0.1") {
				t.Errorf("the operator sees %q", e.Error)
			}
			continue
		}
		if e := s.log.On(queue.Outgoing); len(e) != 1 || strings.Contains(e[0].Error, "10.0.0.1") || strings.Contains(e[0].Error, "scanner") || !strings.Contains(e[0].Error, "step 0 of the processor root") {
			t.Errorf("the sender is told %+v", e)
		}
	}
	if _, err := processing.ParseDestination(map[string]string{"url": "http://user:hunter2@127.0.0.1/"}); !domain.Is(err, domain.Invalid) || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

// slow is a custom step that answers when nobody waits any more.
type slow struct{}

func (slow) MailFrom(ctx context.Context, _ string, _ map[string]string) error {
	<-ctx.Done()
	return ctx.Err()
}
func (slow) RcptTo(context.Context, string) (bool, error)           { return true, nil }
func (slow) Header(context.Context, string, string) error           { return nil }
func (slow) Body(context.Context, []byte) error                     { return nil }
func (slow) EndOfMessage(context.Context) (*pipeline.Answer, error) { return nil, nil }

// TestWhatTakesTooLong counts as an attempt.
func TestWhatTakesTooLong(t *testing.T) {
	s := newSite(t, "root: All -> Custom step=filter", "root: All -> RemoteDelivery")
	s.cfg.Custom = map[string]func() processing.Filter{"filter": func() processing.Filter { return slow{} }}
	s.accept(s.arriving("alice@example.org"), true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.processor().Handle(ctx, s.log.On(queue.Spool)[0], processing.Holder{}); err != nil {
		t.Fatal(err)
	}
	if e := s.log.On(queue.Spool)[0]; e.Attempts != 1 || e.Error != "its steps take too long" || e.Due <= s.now.UnixMilli() {
		t.Errorf("%+v", e)
	}
}

// TestLongAttributes of an answer are a failure of the step.
func TestLongAttributes(t *testing.T) {
	s := newSite(t, "root: All -> HTTP url=http://127.0.0.1:1/", "root: All -> RemoteDelivery")
	s.hooks.replies = []any{&processing.Reply{Attributes: map[string]string{"verdict": strings.Repeat("v", 5000)}}}
	s.accept(s.arriving("alice@example.org"), true)
	s.handle()
	s.lies("error: alice@example.org")
}
