package gate

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/authres"
)

// notebook is a Memory that forgets when it is told to.
type notebook struct {
	mu      sync.Mutex
	entries map[string][]byte
	broken  bool
}

func (n *notebook) Load(_ context.Context, name string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broken {
		return nil, domain.Errorf(domain.Unavailable, "gone")
	}
	return n.entries[name], nil
}

func (n *notebook) Save(_ context.Context, name string, value []byte, keep time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broken || keep <= 0 {
		return domain.Errorf(domain.Unavailable, "gone")
	}
	n.entries[name] = value
	return nil
}

func TestGreylisting(t *testing.T) {
	memory, now, told := &notebook{entries: map[string][]byte{}}, &clock{now: time.Unix(1_700_000_000, 0)}, counts{}
	asked := 0
	node := func() *Gate {
		g, err := New(Config{ID: "mx.example.org", Now: now.Now, Greylist: &Greylist{
			Greylisting: admission.Greylisting{Delay: 5 * time.Minute, Window: 48 * time.Hour, Keep: 35 * 24 * time.Hour, Prove: 2}, Memory: memory, Told: func(outcome string) { told.note(outcome) },
			Allows: func(_ context.Context, host string, _ netip.Addr) authres.Result {
				asked++
				if host == "spf.example" {
					return authres.Pass
				}
				return authres.Fail
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	one, two := node(), node()
	for i, c := range []struct {
		at                         *Gate
		address, sender, recipient string
		after                      time.Duration
		want                       string
		outcome                    string
	}{
		{one, "192.0.2.1", "a@x.example", "alice@example.org", 0, "451 4.7.1 Greylisted: nobody here knows this sender yet, come again in 5 minutes [greylist]", "waiting"},
		{two, "192.0.2.9", "a@x.example", "alice@example.org", 4 * time.Minute, "451 4.7.1 Greylisted: nobody here knows this sender yet, come again in a minute [greylist]", "waiting"}, // another node, another machine of the same network
		{two, "192.0.2.9", "a@x.example", "bob@example.org", 0, "451 ", "waiting"},
		{two, "192.0.2.200", "a@x.example", "alice@example.org", time.Minute, "ok", "returned"},
		{one, "192.0.2.1", "a@x.example", "alice@example.org", time.Hour, "ok", "known"},
		{one, "198.51.100.1", "a@x.example", "alice@example.org", 0, "451 ", "waiting"},
		{one, "198.51.100.1", "a@spf.example", "alice@example.org", 0, "ok", "spf"},
		{one, "192.0.2.1", "list+1@x.example", "alice@example.org", 0, "451 ", "waiting"},
		{one, "192.0.2.1", "list+2@x.example", "alice@example.org", 6 * time.Minute, "ok", "returned"},
		{one, "192.0.2.1", "never@heard.example", "bob@example.org", 0, "ok", "network"}, // which has proved itself
		{one, "2001:db8::1", "", "bob@example.org", 0, "451 ", "waiting"},
		{one, "2001:db8::ffff", "", "bob@example.org", 5 * time.Minute, "ok", "returned"},
		{one, "2001:db8:0:1::1", "", "bob@example.org", 0, "451 ", "waiting"},
	} {
		now.pass(c.after)
		asked = 0
		e := &admission.Envelope{Client: client(c.address), Sender: c.sender, Recipient: c.recipient, Asked: &admission.Asked{}}
		if got := answered(c.at.Recipient(t.Context(), e)); !strings.HasPrefix(got, c.want) {
			t.Errorf("%d: %s, want %s", i, got, c.want)
		}
		if got := told.taken(); got != c.outcome {
			t.Errorf("%d: %s, want %s", i, got, c.outcome)
		}
		for n := range 3 {
			e.Recipient = fmt.Sprint(i, n)
			c.at.Recipient(t.Context(), e)
		}
		if told.taken(); asked > 1 {
			t.Errorf("%d: SPF was asked %d times about one message", i, asked)
		}
	}
	known := &admission.Envelope{Client: client("203.0.113.1"), Opinion: &admission.Opinion{Known: true}, Recipient: "x"}
	if got := answered(one.Recipient(t.Context(), known)); got != "ok" || told.taken() != "" {
		t.Errorf("who is on a white list is told %s", got)
	}
	if got := one.Recipient(t.Context(), &admission.Envelope{Account: "id1", Recipient: "x"}); got != nil || told.taken() != "" {
		t.Errorf("a user is told %v", got)
	}
	memory.broken = true
	if got := answered(one.Recipient(t.Context(), &admission.Envelope{Client: client("203.0.113.1"), Recipient: "x"})); got != "ok" || told.taken() != "failed" {
		t.Errorf("without a memory: %s", got)
	}
}

// slow is a memory that notes until when it may take to save.
type slow struct {
	notebook
	until time.Time
}

func (s *slow) Save(ctx context.Context, name string, value []byte, keep time.Duration) error {
	s.until, _ = ctx.Deadline()
	return s.notebook.Save(ctx, name, value, keep)
}

// TestSPFLeavesTimeToRemember, so that a domain whose name servers do not answer is put off as well.
func TestSPFLeavesTimeToRemember(t *testing.T) {
	memory := &slow{notebook: notebook{entries: map[string][]byte{}}}
	var until time.Time
	g, err := New(Config{ID: "mx.example.org", Limits: Limits{Time: time.Hour}, Greylist: &Greylist{
		Greylisting: admission.Greylisting{Delay: 5 * time.Minute, Window: time.Hour, Keep: time.Hour}, Memory: memory,
		Allows: func(ctx context.Context, _ string, _ netip.Addr) authres.Result {
			until, _ = ctx.Deadline()
			return authres.TempError
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := answered(g.Recipient(t.Context(), &admission.Envelope{Client: client("192.0.2.1"), Sender: "a@dead.example", Recipient: "alice@example.org"}))
	if left := memory.until.Sub(until); !strings.HasPrefix(got, "451 ") || left < 20*time.Minute {
		t.Errorf("%s, with %v left to remember", got, left)
	}
}

// TestOneMessageProvesANetworkOnce, however many recipients it has.
func TestOneMessageProvesANetworkOnce(t *testing.T) {
	memory, now, told := &notebook{entries: map[string][]byte{}}, &clock{now: time.Unix(1_700_000_000, 0)}, counts{}
	g, err := New(Config{ID: "mx.example.org", Now: now.Now, Greylist: &Greylist{
		Greylisting: admission.Greylisting{Delay: time.Minute, Window: time.Hour, Keep: time.Hour, Prove: 2}, Memory: memory, Told: func(outcome string) { told.note(outcome) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	send := func(recipients ...string) string {
		e := &admission.Envelope{Client: client("192.0.2.1"), Sender: "a@x.example", Asked: &admission.Asked{}}
		for _, e.Recipient = range recipients {
			g.Recipient(t.Context(), e)
		}
		return told.taken()
	}
	send("a", "b", "c")
	now.pass(2 * time.Minute)
	if got := send("a", "b", "c") + "; " + send("d"); got != "returned; returned; returned; waiting" {
		t.Errorf("%s", got)
	}
	now.pass(2 * time.Minute)
	if got := send("d") + "; " + send("e"); got != "returned; network" {
		t.Errorf("a second message: %s", got)
	}
}

// hung is a memory that never answers.
type hung struct{ asked int }

func (h *hung) Load(ctx context.Context, _ string) ([]byte, error) {
	h.asked++
	<-ctx.Done()
	return nil, domain.Wrap(domain.Unavailable, ctx.Err(), "load")
}
func (h *hung) Save(context.Context, string, []byte, time.Duration) error { return nil }

// TestAMemoryThatHangsIsAskedOnce about one message, and puts nobody off.
func TestAMemoryThatHangsIsAskedOnce(t *testing.T) {
	memory, told := &hung{}, counts{}
	g, err := New(Config{ID: "mx.example.org", Limits: Limits{Time: time.Millisecond}, Greylist: &Greylist{Memory: memory, Told: func(outcome string) { told.note(outcome) }}})
	if err != nil {
		t.Fatal(err)
	}
	e := &admission.Envelope{Client: client("192.0.2.1"), Asked: &admission.Asked{}}
	for i := range 3 {
		e.Recipient = fmt.Sprint(i)
		if r := g.Recipient(t.Context(), e); r != nil {
			t.Errorf("%s", answered(r))
		}
	}
	if got := told.taken(); memory.asked != 1 || got != "failed; failed; failed" {
		t.Errorf("asked %d times: %s", memory.asked, got)
	}
}

func TestSeriesOfSenders(t *testing.T) {
	for sender, want := range map[string]string{
		"a@x": "a@x", "a+1@x": "a@x", "bounce-123-45@x": "bounce-#-#@x", "1@2.x": "#@2.x", "": "", "prvs=12a=b@x": "prvs@x", "+a@x": "+a@x", "\"a@b\"@x": "\"a@b\"@x",
	} {
		if got := series(sender); got != want {
			t.Errorf("%s: %s", sender, got)
		}
	}
}
