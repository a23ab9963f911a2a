package gate

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	resolver "github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/integration/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// counts notes what a Gate tells.
type counts struct {
	mu  sync.Mutex
	all []string
}

func (c *counts) note(words ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, strings.Join(words, " "))
}

// taken gives what was noted since the last call, in order of the alphabet.
func (c *counts) taken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.all)
	all := strings.Join(c.all, "; ")
	c.all = nil
	return all
}

// gated makes a Gate that asks a name server.
func gated(t testing.TB, server string, change func(*Config)) *Gate {
	t.Helper()
	r, err := resolver.New(resolver.Config{Servers: []string{server}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Resolver: r, ID: "mx.example.org", Limits: Limits{Time: time.Minute}}
	change(&cfg)
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func client(address string) *admission.Client {
	return &admission.Client{ID: "c1", Address: netip.MustParseAddr(address).AsSlice(), Helo: "client.example.net"}
}

// summary is an opinion in a line.
func summary(o *admission.Opinion) string {
	text := ""
	if r := o.Refusal; r != nil {
		text = fmt.Sprintf("%d %d.%d.%d %s [%s] ", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text, r.Why)
	}
	return fmt.Sprintf("%sjunk=%v known=%v", text, o.Junk, o.Known)
}

func TestListsOfAddresses(t *testing.T) {
	server := dnstest.Start(t,
		"1.2.0.192.bl.example. A 127.0.0.2", `1.2.0.192.bl.example. TXT "Spam source,\013\010 see https://bl.example/1" "92.0.2.1"`,
		"1.2.0.192.other.example. A 127.0.0.9",
		"2.2.0.192.bl.example. A 127.255.255.254", "2.2.0.192.other.example. A 192.0.2.80",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example. A 127.0.0.3",
		"3.2.0.192.bl.example. A 127.0.0.2", "3.2.0.192.friends.example. A 127.0.10.2",
		"4.2.0.192.bl.example. CNAME listed.bl.example.", "listed.bl.example. A 127.0.0.4",
		"5.2.0.192.bl.example. TXT \"only a text\"", "6.2.0.192.bl.example. AAAA ::1",
		"9.2.0.192.other.example. A 127.0.0.2",
	)
	server.Let("7.2.0.192.bl.example", dnstest.ServFail)
	server.Let("8.2.0.192.bl.example", dnstest.CutAlways)
	server.Let("9.2.0.192.bl.example", dnstest.Refused)
	server.TXT("4.2.0.192.bl.example", strings.Repeat("x", 60_000)) // which no reply has room for, and belongs to an alias
	var noted counts
	g := gated(t, server.Addr, func(c *Config) {
		c.Lists = []admission.List{{Zone: "bl.example", Score: 100}, {Zone: "other.example", Score: 50, Answers: []admission.Range{{From: [4]byte{127, 0, 0, 2}, To: [4]byte{127, 0, 0, 8}}}}, {Zone: "friends.example", Allow: true}}
		c.Listed = func(zone, result string) { noted.note(zone, result) }
	})
	const clear = "bl.example clear; friends.example clear; other.example clear"
	for address, want := range map[string][2]string{
		"192.0.2.1":   {"550 5.7.1 Refused: your address [192.0.2.1] is listed by bl.example: Spam source, see https://bl.example/192.0.2.1 [list] junk=true known=false", "bl.example listed; friends.example clear; other.example clear"},
		"192.0.2.2":   {"junk=false known=false", clear},
		"2001:db8::1": {"550 5.7.1 Refused: your address [2001:db8::1] is listed by bl.example [list] junk=true known=false", "bl.example listed; friends.example clear; other.example clear"},
		"192.0.2.3":   {"junk=false known=true", "bl.example listed; friends.example listed; other.example clear"},
		"192.0.2.4":   {"550 5.7.1 Refused: your address [192.0.2.4] is listed by bl.example [list] junk=true known=false", "bl.example listed; friends.example clear; other.example clear"},
		"192.0.2.5":   {"junk=false known=false", clear},
		"192.0.2.6":   {"junk=false known=false", clear},
		"192.0.2.7":   {"junk=false known=false", "bl.example failed; friends.example clear; other.example clear"},
		"192.0.2.8":   {"junk=false known=false", "bl.example failed; friends.example clear; other.example clear"},
		"192.0.2.9":   {"junk=true known=false", "bl.example failed; friends.example clear; other.example listed"},
		"192.0.2.200": {"junk=false known=false", clear},
	} {
		if got := summary(g.Client(t.Context(), client(address))); got != want[0] && !strings.Contains(got, strings.Repeat("x", 200)) {
			t.Errorf("%s: %s, want %s", address, got, want[0])
		}
		if got := noted.taken(); got != want[1] {
			t.Errorf("%s: %s, want %s", address, got, want[1])
		}
	}
}

// stub answers as it is told, without a network.
type stub func(ctx context.Context, name, kind string) ([]string, error)

func (s stub) Values(ctx context.Context, name, kind string) ([]string, error) {
	return s(ctx, name, kind)
}
func (s stub) PTR(ctx context.Context, address netip.Addr) ([]string, error) {
	return s(ctx, address.String(), "PTR")
}
func (s stub) TXT(ctx context.Context, name string) ([]string, error) { return s(ctx, name, "TXT") }

// TestSilentListsRefuseNobody, and keep nobody waiting longer than the bound says, however many clients wait for them.
func TestSilentListsRefuseNobody(t *testing.T) {
	var noted counts
	var most, now int
	var mu sync.Mutex
	g, err := New(Config{
		ID: "mx.example.org", Lists: []admission.List{{Zone: "silent.example", Score: 100}, {Zone: "mute.example", Score: 100}}, Limits: Limits{Time: 50 * time.Millisecond, Open: 3},
		Listed: func(_, result string) { noted.note(result) },
		Resolver: stub(func(ctx context.Context, _, _ string) ([]string, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			now--
			mu.Unlock()
			return nil, domain.Wrap(domain.Unavailable, ctx.Err(), "look up")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if got := summary(g.Client(t.Context(), client("192.0.2.1"))); got != "junk=false known=false" {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	if got := noted.taken(); most > 3 || got != strings.TrimSuffix(strings.Repeat("failed; ", 20), "; ") {
		t.Errorf("%d questions at a time; %s", most, got)
	}
}

// TestTextsAreAskedForRefusals only, and not for long.
func TestTextsAreAskedForRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		lists []admission.List
		want  string
	}{
		"one":     {[]admission.List{{Zone: "bl.example", Score: 100}}, "bl.example"},
		"sum":     {[]admission.List{{Zone: "bl.example", Score: 60}, {Zone: "tag.example"}, {Zone: "other.example", Score: 40}, {Zone: "friends.example", Allow: true, Score: 100}}, "bl.example; other.example"},
		"junk":    {[]admission.List{{Zone: "bl.example", Score: 50}}, ""},
		"friends": {[]admission.List{{Zone: "bl.example", Score: 50}, {Zone: "friends.example", Allow: true, Score: 100}}, ""},
	} {
		var asked counts
		g, err := New(Config{ID: "mx.example.org", Lists: c.lists, Limits: Limits{Time: time.Hour}, Resolver: stub(func(ctx context.Context, name, kind string) ([]string, error) {
			if kind == "TXT" {
				asked.note(strings.TrimPrefix(name, "1.2.0.192."))
				if until, _ := ctx.Deadline(); time.Until(until) > time.Minute {
					t.Errorf("%s: it is waited for a text until %v", name, until)
				}
			}
			return []string{"127.0.0.2"}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		g.Client(t.Context(), client("192.0.2.1"))
		if got := asked.taken(); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestListsThatFailAreToldOnce in a minute, each.
func TestListsThatFailAreToldOnce(t *testing.T) {
	now := &clock{now: time.Unix(1_700_000_000, 0)}
	var log bytes.Buffer
	g, err := New(Config{
		ID: "mx.example.org", Now: now.Now, Lists: []admission.List{{Zone: "a.example"}, {Zone: "b.example"}}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Resolver: stub(func(context.Context, string, string) ([]string, error) {
			return nil, domain.Errorf(domain.Unavailable, "no")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 2, 4} {
		g.Client(t.Context(), client("192.0.2.1"))
		if got := strings.Count(log.String(), "level=WARN"); got != want {
			t.Errorf("%d lines, want %d: %s", got, want, log.String())
		}
		now.pass(40 * time.Second)
	}
}

// TestAFailingListLeavesTheOthers what they say.
func TestAFailingListLeavesTheOthers(t *testing.T) {
	g, err := New(Config{
		ID: "mx.example.org", Lists: []admission.List{{Zone: "bad.example", Score: 100}, {Zone: "odd.example", Score: 100}, {Zone: "good.example", Score: 100}},
		Resolver: stub(func(_ context.Context, name, kind string) ([]string, error) {
			switch {
			case strings.HasSuffix(name, ".bad.example"):
				return nil, domain.Errorf(domain.Unavailable, "no")
			case strings.HasSuffix(name, ".odd.example"):
				return []string{"", "x", "::1", "127.0.0", "999.0.0.1", "::ffff:127.0.0.2"}, nil
			case kind == "TXT":
				return nil, domain.Errorf(domain.TooLarge, "huge")
			}
			return slices.Repeat([]string{"127.0.0.2"}, 1000), nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := g.Client(t.Context(), client("192.0.2.1"))
	if got := summary(o); got != "550 5.7.1 Refused: your address [192.0.2.1] is listed by good.example [list] junk=true known=false" || len(o.Fields) > 500 {
		t.Errorf("%s %q", got, o.Fields)
	}
	if _, err := New(Config{}); !domain.Is(err, domain.Invalid) {
		t.Error(err)
	}
}

// TestTestPoints: a list says by two addresses whether it works (RFC 5782 section 5).
func TestTestPoints(t *testing.T) {
	server := dnstest.Start(t, "2.0.0.127.good.example. A 127.0.0.2", "*.x. A 192.0.2.1", "2.0.0.127.refusing.example. A 127.255.255.254")
	six, _ := admission.TestPoints(true)
	server.Add(t, dns.Fqdn(admission.Question(six, "six.example"))+" A 127.0.0.2")
	for _, address := range [][]byte{{127, 0, 0, 1}, {127, 0, 0, 2}} {
		server.Add(t, dns.Fqdn(admission.Question(address, "all.example"))+" A 127.0.0.2")
	}
	server.Let("2.0.0.127.broken.example", dnstest.ServFail)
	g := gated(t, server.Addr, func(c *Config) {
		for _, zone := range []string{"good.example", "six.example", "all.example", "none.example", "refusing.example", "broken.example"} {
			c.Lists = append(c.Lists, admission.List{Zone: zone})
		}
	})
	all := g.Test(t.Context())
	for i, want := range []string{"", "", "it lists 127.0.0.1", "it does not list 127.0.0.2", "it does not list 127.0.0.2", "it does not answer"} {
		if h := all[i]; (h.Wrong == "") != (want == "") || !strings.HasPrefix(h.Wrong, want) {
			t.Errorf("%+v", h)
		}
	}
}
