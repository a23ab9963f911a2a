package promotion

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/failover"
)

// Leases is the bucket of leases; see leases.Bucket for the meaning of each.
type Leases interface {
	Renew(ctx context.Context, l failover.Lease) error
	All(ctx context.Context) ([]failover.Lease, error)
	Control(ctx context.Context) (words []byte, revision uint64, err error)
	Take(ctx context.Context, words []byte, revision uint64) (uint64, error)
}

// ControllerConfig is what a Controller needs.
type ControllerConfig struct {
	Node   string
	Boot   string // differs at each start
	Mail   bool   // the node serves mail; only such nodes are ever in charge
	Leases Leases
	Limits failover.Limits
	Advise bool          // never move anything, only say what should be
	Charge time.Duration // for which who was in charge is still believed to be; 0: 5 s
	Rate   int           // accounts a second; 0: 1,000
	// Unfit says why this node cannot serve well; empty when it can. It may block.
	Unfit func(context.Context) string
	// Suspect hears, again and again, that some node has been silent for longer than usual, so that what Candidates must find out is known in time. It
	// returns at once, and may be nil.
	Suspect func()
	// Of lists the accounts whose primary is a node, at once; those that it does not know yet are asked for again.
	Of func(ctx context.Context, node string) ([]domain.AccountID, error)
	// Accounts and Candidates are those of a Promoter.
	Accounts   Accounts
	Candidates Candidates
	// Each hears of every account that is moved; may be nil.
	Each func(Outcome)
	// Ended hears when the accounts of a node were moved as far as possible; the next node's are not before it returns. It may be nil.
	Ended  func(node string, sum Sum, err error)
	Clock  func() time.Time // time.Now
	Logger *slog.Logger
}

// Charge is what who is in charge says of himself, for all to read.
type Charge struct {
	Node   string `json:"node"` // empty: who was in charge has given it up
	Boot   string `json:"boot"`
	Term   uint64 `json:"term"` // rises whenever another takes charge
	Advise bool   `json:"advise"`
	failover.Judgement
	// Moving is the node whose accounts are being moved.
	Moving string `json:"moving,omitempty"`
}

// Controller renews a node's lease, watches those of the others, and, on the one node that is in charge, moves the accounts of nodes that are gone.
//
// Each tick renews the charge on the condition of its revision, and only then acts: who cannot write to a quorum does nothing. Between ticks the charge is
// believed for Charge, by this node's clock, and each account is moved on the condition of its own epoch, so that a process that was frozen in the
// midst of moving does no harm when it goes on.
type Controller struct {
	cfg   ControllerConfig
	judge *failover.Judge // of the goroutine that ticks

	mu       sync.Mutex
	lease    failover.Lease
	checked  time.Time // when Unfit last answered
	renewed  time.Time // the lease
	charged  time.Time // when the charge was last renewed; zero: this node is not in charge
	last     Charge    // as read or written last
	revision uint64    // of last
	since    time.Time // when that revision was first seen
	moving   string
	moved    []string             // nodes whose accounts were found to move since the last tick
	again    map[string]time.Time // when accounts of an evacuated node are looked for once more
	work     sync.WaitGroup
}

// How often Unfit is asked, and for how long its answer holds.
const (
	unfitEvery = 5 * time.Second
	unfitHolds = 30 * time.Second
	// againEvery is how often a node that was evacuated is asked for once more.
	againEvery = 3 * time.Second
	// patience is the least that a beat or a tick waits for the bucket, however often they come.
	patience = time.Second
	// suspected is the phi from which on a node's accounts may soon have to be moved.
	suspected = 1
	// evacuateThreads is how many accounts are moved at a time. Those of a stream without a leader wait, and should not keep the others.
	evacuateThreads = 64
)

// NewController makes a Controller.
func NewController(cfg ControllerConfig) *Controller {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Charge == 0 {
		cfg.Charge = 5 * time.Second
	}
	if cfg.Rate == 0 {
		cfg.Rate = 1_000
	}
	if cfg.Limits.Beat == 0 {
		cfg.Limits.Beat = 500 * time.Millisecond
	}
	if cfg.Suspect == nil {
		cfg.Suspect = func() {}
	}
	if cfg.Each == nil {
		cfg.Each = func(Outcome) {}
	}
	if cfg.Ended == nil {
		cfg.Ended = func(string, Sum, error) {}
	}
	now := cfg.Clock()
	return &Controller{
		cfg: cfg, judge: failover.NewJudge(cfg.Limits, cfg.Advise), checked: now, renewed: now, again: map[string]time.Time{},
		lease: failover.Lease{Node: cfg.Node, Mail: cfg.Mail, Boot: cfg.Boot},
	}
}

// Run beats and ticks until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	var all sync.WaitGroup
	every := func(interval time.Duration, f func(context.Context)) {
		all.Go(func() {
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for {
				once, cancel := context.WithTimeout(ctx, max(interval, patience))
				f(once)
				cancel()
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	every(c.cfg.Limits.Beat, c.Beat)
	every(unfitEvery, c.Check)
	if c.cfg.Mail {
		every(c.cfg.Limits.Beat, func(once context.Context) { c.Tick(once, ctx) })
	}
	all.Wait()
	c.work.Wait()
	return nil
}

// Beat renews the lease.
func (c *Controller) Beat(ctx context.Context) {
	c.mu.Lock()
	c.lease.Beat++
	l, now := c.lease, c.cfg.Clock()
	if silent := now.Sub(c.checked); silent > unfitHolds && l.Unfit == "" {
		l.Unfit = fmt.Sprintf("its checks have not come to an end for %v", silent.Round(time.Second)) // such as on a disk that hangs
	}
	c.mu.Unlock()
	err := c.cfg.Leases.Renew(ctx, l)
	if err != nil {
		c.cfg.Logger.Debug("the lease is not renewed", "error", err)
		return
	}
	c.mu.Lock()
	c.renewed = now
	c.mu.Unlock()
}

// Check asks whether the node is fit.
func (c *Controller) Check(ctx context.Context) {
	why := ""
	if c.cfg.Unfit != nil {
		why = c.cfg.Unfit(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if (why == "") != (c.lease.Unfit == "") {
		c.cfg.Logger.Warn("whether this node is fit for accounts has changed", "unfit", why)
	}
	c.lease.Unfit, c.checked = why, c.cfg.Clock()
}

// Leave says that the node is being stopped, so that it is given time to come back, and lets another take charge at once.
func (c *Controller) Leave(ctx context.Context) error {
	c.mu.Lock()
	c.lease.Leaving = true
	charge, revision, mine := c.last, c.revision, !c.charged.IsZero()
	c.charged = time.Time{}
	c.mu.Unlock()
	c.Beat(ctx)
	if mine {
		charge.Node, charge.Boot = "", ""
		if words, err := json.Marshal(charge); err == nil {
			_, _ = c.cfg.Leases.Take(ctx, words, revision) // or else the others wait until it has run out
		}
	}
	return nil
}

// Tick reads the leases, takes or keeps the charge if it is this node's, and acts. What it begins to move goes on until moving ends.
func (c *Controller) Tick(ctx, moving context.Context) {
	if all, err := c.cfg.Leases.All(ctx); err == nil {
		c.judge.Observe(c.cfg.Clock(), all)
	} else {
		c.cfg.Logger.Debug("the leases cannot be read", "error", err)
	}
	words, revision, err := c.cfg.Leases.Control(ctx)
	now := c.cfg.Clock()
	c.mu.Lock()
	for _, node := range c.moved {
		c.judge.Moved(now, node)
	}
	c.moved = nil
	if err != nil {
		c.lose(now)
		c.mu.Unlock()
		return
	}
	if revision != c.revision || revision == 0 {
		c.last = Charge{}
		_ = json.Unmarshal(words, &c.last) // what nobody understands is nobody's, and runs out
		c.revision, c.since = revision, now
	}
	mine := c.last.Node == c.cfg.Node && c.last.Boot == c.cfg.Boot
	free := revision == 0 || c.last.Node == "" || now.Sub(c.since) >= c.cfg.Charge
	leaving := c.lease.Leaving
	next := Charge{Node: c.cfg.Node, Boot: c.cfg.Boot, Term: c.last.Term, Advise: c.cfg.Advise, Moving: c.moving}
	if !mine {
		c.charged = time.Time{}
		next.Term++
	}
	c.mu.Unlock()
	next.Judgement = c.judge.Judge(now)
	if leaving || !mine && !free {
		return
	}
	text, err := json.Marshal(next)
	if err == nil {
		revision, err = c.cfg.Leases.Take(ctx, text, revision)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.lose(now)
		return
	}
	if !mine {
		c.cfg.Logger.Info("this node is in charge of failover", "term", next.Term, "advise", c.cfg.Advise)
	}
	c.report(c.last.Judgement, next.Judgement)
	if slices.ContainsFunc(next.Nodes, func(n failover.Judged) bool { return n.Phi >= suspected }) {
		c.cfg.Suspect()
	}
	c.last, c.revision, c.since, c.charged = next, revision, now, now
	c.act(moving, now, next)
}

// lose gives up a charge that has run out.
func (c *Controller) lose(now time.Time) {
	if !c.charged.IsZero() && now.Sub(c.charged) >= c.cfg.Charge {
		c.charged = time.Time{}
		c.cfg.Logger.Warn("this node is no longer in charge of failover, since it does not reach the log")
	}
}

// report logs what has changed.
func (c *Controller) report(before, now failover.Judgement) {
	for _, n := range now.Nodes {
		i := slices.IndexFunc(before.Nodes, func(b failover.Judged) bool { return b.Node == n.Node })
		if i >= 0 && before.Nodes[i].State != n.State {
			level := slog.LevelWarn
			if n.State == failover.Live || n.State == failover.Returning {
				level = slog.LevelInfo
			}
			c.cfg.Logger.Log(context.Background(), level, "a node does otherwise", "node", n.Node, "state", n.State, "before", before.Nodes[i].State, "phi", n.Phi, "why", n.Why)
		}
	}
	if now.Withheld != "" && now.Withheld != before.Withheld {
		for _, a := range now.Advice {
			c.cfg.Logger.Warn("the accounts of a node are not moved", "node", a.Node, "why", a.Why, "withheld", now.Withheld,
				"hint", "streampost replica promote --from "+a.Node)
		}
	}
}

// act begins to move the accounts of one node, unless one is being moved.
func (c *Controller) act(ctx context.Context, now time.Time, charge Charge) {
	for _, e := range charge.Evacuate {
		if c.moving != "" || now.Before(c.again[e.Node]) {
			continue
		}
		c.moving = e.Node
		c.work.Go(func() {
			left := c.evacuate(ctx, e, charge)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.moving = ""
			if delete(c.again, e.Node); !left {
				c.again[e.Node] = c.cfg.Clock().Add(againEvery)
			}
		})
	}
}

// evacuate moves the accounts of a node, and tells whether some are left that can be tried again at once.
func (c *Controller) evacuate(ctx context.Context, e failover.Evacuation, charge Charge) (left bool) {
	ids, err := c.cfg.Of(ctx, e.Node)
	if err != nil {
		c.cfg.Logger.Warn("the accounts of a node that is gone cannot be listed: it is tried again", "node", e.Node, "error", err)
		return true
	}
	if len(ids) == 0 {
		return false
	}
	c.mu.Lock()
	c.moved = append(c.moved, e.Node)
	c.mu.Unlock()
	c.cfg.Logger.Warn("the accounts of a node get another primary", "node", e.Node, "why", e.Why, "accounts", len(ids), "term", charge.Term)
	began := time.Now()
	pace := newPace(c.cfg.Rate)
	sum, err := New(c.cfg.Accounts, chosen{c.cfg.Candidates, charge.Targets}).Run(ctx, Order{
		Accounts: ids, From: e.Node, Threads: evacuateThreads, Actor: "failover", Reason: reason(fmt.Sprintf("%s, in term %d: %s: %s", c.cfg.Node, charge.Term, e.Node, e.Why)),
		Allowed: c.allowed,
		Pace: func(ctx context.Context) error {
			if err := c.allowed(); err != nil {
				return err
			}
			return pace.wait(ctx)
		},
	}, func(o Outcome) {
		if o.Err != nil {
			c.cfg.Logger.Warn("an account keeps its primary, which is gone", "account", o.Account, "node", e.Node, "error", o.Err)
		}
		c.cfg.Each(o)
	})
	c.cfg.Logger.Warn("the accounts of a node have another primary", "node", e.Node, "promoted", sum.Promoted, "unchanged", sum.Unchanged, "failed", sum.Failed,
		"took", time.Since(began).Round(time.Millisecond), "error", err)
	c.cfg.Ended(e.Node, sum, err)
	return sum.Failed > 0 && sum.Promoted > 0
}

// InCharge tells whether this node believes to be in charge.
func (c *Controller) InCharge() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.charged.IsZero() && c.cfg.Clock().Sub(c.charged) < c.cfg.Charge
}

func (c *Controller) allowed() error {
	if !c.InCharge() {
		return domain.Errorf(domain.Unavailable, "this node is no longer in charge")
	}
	return nil
}

// Charge is what this node last knew of who is in charge. Renewed is how long ago its own lease was renewed.
func (c *Controller) Charge() (charge Charge, renewed time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.cfg.Clock().Sub(c.renewed)
}

// chosen leaves of the candidates those that are targets. A target that is not among them, because it took long to answer, is the last: its lease says that it lives.
type chosen struct {
	of      Candidates
	targets []string
}

func (c chosen) Candidates(ctx context.Context, id domain.AccountID) ([]Candidate, error) {
	all, err := c.of.Candidates(ctx, id)
	all = slices.DeleteFunc(slices.Clone(all), func(n Candidate) bool { return !slices.Contains(c.targets, n.Node) })
	for _, node := range c.targets {
		if err == nil && !slices.ContainsFunc(all, func(n Candidate) bool { return n.Node == node }) {
			all = append(all, Candidate{Node: node, Priority: math.MaxInt, Lag: math.MaxUint64, Unwell: true})
		}
	}
	return all, err
}

// reason cuts a text to what a promotion may say.
func reason(text string) string {
	if len(text) > account.MaxReason {
		text = strings.ToValidUTF8(text[:account.MaxReason], "")
	}
	return text
}

// pace lets so much a second pass. One goroutine uses it.
type pace struct {
	every time.Duration
	next  time.Time
}

func newPace(rate int) *pace { return &pace{every: time.Second / time.Duration(rate)} }

func (p *pace) wait(ctx context.Context) error {
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	due := p.next.Sub(now)
	p.next = p.next.Add(p.every)
	if due < time.Millisecond { // finer than what a timer is good for
		return nil
	}
	timer := time.NewTimer(due)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
