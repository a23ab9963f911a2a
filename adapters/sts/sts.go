// Package sts finds out the MTA-STS policies of other domains (RFC 8461) and remembers them: a record in DNS says that there is one, a web server has it, and what was learned once
// holds for as long as the policy says, whatever DNS is made to say later.
//
// Invariants:
//   - A policy comes over HTTPS with a certificate for mta-sts.DOMAIN, without redirection, and bounded in octets and time.
//   - A policy that holds is replaced by another, never by a failure to get one.
//   - Nothing here keeps mail waiting for longer than Limits.Time.
//   - What is remembered is bounded. When it is full, what is known stays: nobody can push out a policy by having others asked for.
//
// What is remembered is no truth: who loses it has no protection for mail to a domain until its policy is fetched again, as at the first contact.
package sts

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/mtasts"
	"github.com/streampost/streampost/domain/tlsrpt"
)

// Resolver is what this package asks of DNS. Errors: domain.NotFound for a name that does not exist, all others for what cannot be told now.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
	Addresses(ctx context.Context, host string) ([]netip.Addr, error)
}

// Config is what a Cache works with. Resolver is needed.
type Config struct {
	Resolver Resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil means the network
	Roots    *x509.CertPool                                                       // nil means those of the system
	Clock    func() time.Time                                                     // nil means time.Now
	Load     func() ([]byte, error)                                               // gives what Save was given last; nil means that nothing is kept
	Save     func([]byte) error
	Limits   Limits
	Logger   *slog.Logger         // nil discards
	Count    func(outcome string) // of each look for a policy: fetched, same, none or failed; may be nil
}

// Limits bound what is asked and remembered. A zero field means its default.
type Limits struct {
	Time    time.Duration // for one look; 30 seconds
	Recheck time.Duration // between two looks at the record of a domain; 10 minutes
	Refresh time.Duration // after which a policy is fetched again though its record is the same, or half of its max_age where that is less; 24 hours
	Unused  time.Duration // after which it is no longer fetched anew by itself; 30 days
	Domains int           // that are remembered; 10,000
}

// Cache remembers policies. Its methods may be called at once from many goroutines.
type Cache struct {
	cfg    Config
	client *http.Client

	mu    sync.Mutex
	known map[string]*entry
	dirty bool
}

// entry is what is known of a domain. Without a policy it says that there was none when it was looked for.
type entry struct {
	ID      string         `json:"id"`
	Policy  *mtasts.Policy `json:"policy"`
	Fetched time.Time      `json:"fetched"`
	Used    time.Time      `json:"used"`

	checked time.Time
	problem error         // of the last look
	looking chan struct{} // closed when the look that is under way ends; nil without one
}

// New makes a Cache with what was saved. What cannot be read is forgotten. Errors: domain.Invalid.
func New(cfg Config) (*Cache, error) {
	if cfg.Resolver == nil {
		return nil, domain.Errorf(domain.Invalid, "policies of MTA-STS need a resolver")
	}
	l := &cfg.Limits
	l.Time, l.Recheck = cmp.Or(l.Time, 30*time.Second), cmp.Or(l.Recheck, 10*time.Minute)
	l.Refresh, l.Unused, l.Domains = cmp.Or(l.Refresh, 24*time.Hour), cmp.Or(l.Unused, 30*24*time.Hour), cmp.Or(l.Domains, 10_000)
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cache{cfg: cfg, known: map[string]*entry{}}
	c.client = c.newClient()
	if cfg.Load != nil {
		text, err := cfg.Load()
		if err == nil && len(text) > 0 {
			err = json.Unmarshal(text, &c.known)
		}
		if err != nil {
			cfg.Logger.Warn("the policies of MTA-STS that were known are forgotten: mail is not protected until they are fetched again", "error", err)
			c.known = map[string]*entry{}
		}
		for name, e := range c.known {
			if e == nil || e.Policy == nil {
				delete(c.known, name)
			}
		}
	}
	return c, nil
}

// holds tells whether a policy's time has not run out.
func (e *entry) holds(now time.Time) bool {
	return e.Policy != nil && now.Before(e.Fetched.Add(e.Policy.MaxAge))
}

// stale tells whether a policy should be fetched again before its time runs out.
func (e *entry) stale(now time.Time, refresh time.Duration) bool {
	return e.Policy != nil && now.Sub(e.Fetched) >= min(refresh, e.Policy.MaxAge/2)
}

// Policy gives the policy of a domain; nil when there is none that is known. The error says why the last look for one failed; with it there may be an older policy, which holds. name is
// in lower case and A-labels.
func (c *Cache) Policy(ctx context.Context, name string) (*mtasts.Policy, error) {
	for {
		now := c.cfg.Clock()
		c.mu.Lock()
		e := c.known[name]
		if e == nil {
			e = &entry{}
			if c.sweep(now); len(c.known) < c.cfg.Limits.Domains {
				c.known[name] = e
			}
		}
		if !e.checked.IsZero() && now.Sub(e.checked) < c.cfg.Limits.Recheck && now.After(e.checked.Add(-time.Second)) {
			defer c.mu.Unlock()
			return e.answer(now)
		}
		if wait := e.looking; wait != nil {
			c.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		e.looking = make(chan struct{})
		c.mu.Unlock()
		c.look(ctx, name, e)
		c.mu.Lock()
		defer c.mu.Unlock()
		return e.answer(c.cfg.Clock())
	}
}

// answer is what an entry says. The caller has the lock.
func (e *entry) answer(now time.Time) (*mtasts.Policy, error) {
	if !e.holds(now) {
		return nil, e.problem
	}
	if now.Sub(e.Used) > time.Hour { // as exact as it has to be
		e.Used = now
	}
	return e.Policy, e.problem
}

// look asks DNS, and the web server where the record is new or the policy is old. It ends what others wait for.
func (c *Cache) look(caller context.Context, name string, e *entry) {
	ctx, cancel := context.WithTimeout(caller, c.cfg.Limits.Time)
	defer cancel()
	c.mu.Lock()
	old := *e
	c.mu.Unlock()
	now := c.cfg.Clock()
	outcome := "same"
	texts, err := c.cfg.Resolver.TXT(ctx, "_mta-sts."+name)
	var id string
	var found bool
	var policy mtasts.Policy
	if err == nil {
		if id, found, err = mtasts.ParseRecord(texts); err != nil {
			err = &tlsrpt.Problem{Type: tlsrpt.STSInvalid, Err: err}
		}
	} else if domain.Is(err, domain.NotFound) {
		err = nil
	}
	fetched := false
	switch {
	case err != nil:
		outcome = "failed"
	case !found: // RFC 8461 section 3.1: there is no policy; one that is known holds on.
		outcome = "none"
	case old.holds(now) && id == old.ID && !old.stale(now, c.cfg.Limits.Refresh):
	default:
		if policy, err = c.fetch(ctx, name); err != nil {
			outcome = "failed"
		} else {
			outcome, fetched = "fetched", true
		}
	}
	if err != nil {
		c.cfg.Logger.Info("no policy of MTA-STS could be had", "domain", name, "held", old.holds(now), "error", err)
	}
	if c.cfg.Count != nil {
		c.cfg.Count(outcome)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.problem = err; caller.Err() == nil { // what was cut short says nothing to others
		e.checked = now
	}
	if fetched {
		e.ID, e.Policy, e.Fetched = id, &policy, now
		c.dirty = true
	}
	close(e.looking)
	e.looking = nil
}

// sweep forgets what says nothing any more, when there is no room. The caller has the lock.
func (c *Cache) sweep(now time.Time) {
	if len(c.known) < c.cfg.Limits.Domains {
		return
	}
	for name, e := range c.known {
		if e.looking == nil && !e.holds(now) {
			delete(c.known, name)
		}
	}
}
