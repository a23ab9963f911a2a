package gate

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/authres"
)

// Resolver asks DNS. Errors: domain.NotFound for a name that does not exist, domain.Unavailable for what cannot be told now, others for what can never be.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
	Values(ctx context.Context, name, kind string) ([]string, error) // of A and AAAA records, as text
	PTR(ctx context.Context, address netip.Addr) ([]string, error)
}

// Config is what a Gate works with. ID is needed, and for whatever is asked of DNS, Resolver.
type Config struct {
	Resolver Resolver
	ID       string // of this server in fields of the header
	Lists    []admission.List
	Reverse  bool                 // looks whether an address has a name that leads back to it
	Helo     bool                 // looks at the name that a client gives itself
	Own      []string             // names of this server, in A-labels and lower case, without a last dot
	Strict   admission.Strictness // what is refused for these names
	Rates    Rates
	Gossip   Gossip    // nil: this node counts alone
	Greylist *Greylist // nil: nobody is put off for being new
	Limits   Limits

	Listed func(zone, result string)  // is told how each list has answered: listed, clear or failed; nil counts nothing
	Named  func(check, result string) // likewise how reverse and helo turned out
	Now    func() time.Time           // nil means time.Now
	Logger *slog.Logger               // nil discards
}

// Limits bound what clients can cost. A zero field means its default.
type Limits struct {
	Time    time.Duration // for all that is asked about one client; 4 seconds
	Open    int           // questions at a time to lists, about all clients, and as many about names; 256
	Answers int           // that are looked at, of one name; 20
}

// Gate finds out about clients. Its methods may be called at once from many goroutines.
type Gate struct {
	cfg   Config
	open  chan struct{} // holds one for each open question to a list
	names chan struct{} // likewise about names, which are not to wait for lists, nor lists for them
	sum   int           // of the scores of all lists
	rates *rates

	mu     sync.Mutex
	warned map[string]time.Time // when it was last said of a list that it fails
}

// New makes a Gate. Errors: domain.Invalid.
func New(cfg Config) (*Gate, error) {
	if cfg.Resolver == nil && (cfg.Reverse || len(cfg.Lists) > 0) || cfg.ID == "" {
		return nil, domain.Errorf(domain.Invalid, "looking at clients needs a resolver and a name for what is found")
	}
	l := &cfg.Limits
	l.Time, l.Open, l.Answers = cmp.Or(l.Time, 4*time.Second), cmp.Or(l.Open, 256), cmp.Or(l.Answers, 20)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := &Gate{cfg: cfg, open: make(chan struct{}, l.Open), names: make(chan struct{}, l.Open), rates: newRates(cfg.Rates, cfg.Gossip), warned: map[string]time.Time{}}
	for i := range cfg.Lists {
		if !cfg.Lists[i].Allow {
			g.sum += max(cfg.Lists[i].Score, 0)
		}
	}
	return g, nil
}

// inPassing is how long is waited for what decides nothing.
const inPassing = time.Second

// Client says what is known of a client.
func (g *Gate) Client(ctx context.Context, c *admission.Client) *admission.Opinion {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Limits.Time)
	defer cancel()
	var wg sync.WaitGroup
	findings := make([]admission.Finding, len(g.cfg.Lists))
	for i := range g.cfg.Lists {
		wg.Go(func() { findings[i] = g.ask(ctx, &g.cfg.Lists[i], c.Address) })
	}
	var reverse authres.Result
	if g.cfg.Reverse {
		wg.Go(func() { reverse = g.reverse(ctx, c.Address) })
	}
	wg.Wait()
	helo := ""
	if g.cfg.Helo {
		helo = g.greeting(c.Helo, c.Address)
		g.named("helo", cmp.Or(helo, "good"))
	}
	if g.cfg.Reverse {
		g.named("reverse", string(reverse))
	}
	o := &admission.Opinion{}
	o.Weigh(findings, written(c.Address), g.cfg.ID)
	o.Name(reverse, helo, written(c.Address), g.cfg.Strict)
	if helo != "" || reverse != "" && reverse != authres.Pass {
		g.cfg.Logger.Info("a client's names", "conn", c.ID, "address", written(c.Address), "helo", admission.Printable(c.Helo), "wrong", helo, "reverse", string(reverse))
	}
	return o
}

func (g *Gate) named(check, result string) {
	if g.cfg.Named != nil {
		g.cfg.Named(check, result)
	}
}

func written(address []byte) string {
	a, _ := netip.AddrFromSlice(address)
	return a.Unmap().String()
}

// question waits for its turn among those that are open and asks. Errors: domain.Unavailable when its turn does not come, and those of ask.
func question(ctx context.Context, open chan struct{}, ask func() error) error {
	select {
	case open <- struct{}{}:
		defer func() { <-open }()
		return ask()
	case <-ctx.Done():
		return domain.Wrap(domain.Unavailable, ctx.Err(), "ask DNS")
	}
}
