package main

import (
	"cmp"
	"context"
	"hash/fnv"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/failover"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/promotion"
	"github.com/streampost/streampost/streams/nodes"
)

// liveNodes are the nodes that answer, as candidates of every account. Its replicas come first, see order; but each node can serve it, so that an account
// finds another primary when none of them is there, or when nobody has said where its replicas are.
type liveNodes struct {
	ask    func(context.Context) ([]nodes.Status, error)
	stream func(domain.AccountID) string
	placed func(context.Context, domain.AccountID) ([]directory.Placement, error) // as this node knows it, without asking anybody

	asking sync.Mutex // held by who asks
	mu     sync.Mutex // guards what follows
	asked  time.Time
	all    []nodes.Status
}

const (
	// answersHold is for how long answers of the nodes hold, so that many accounts cost one question.
	answersHold = 3 * time.Second
	// askAhead is how old answers are before they are asked for ahead of need, see prepare.
	askAhead = time.Second
	// askNodesFor is how long the nodes have to answer. They do so within a second, which they need while a stream has no leader.
	askNodesFor = 1200 * time.Millisecond
)

func (c *core) liveNodes() *liveNodes {
	return &liveNodes{
		ask: func(ctx context.Context) ([]nodes.Status, error) {
			ctx, cancel := context.WithTimeout(ctx, askNodesFor)
			defer cancel()
			return c.nodes.All(ctx, c.expected())
		},
		stream: c.streams.StreamOf,
		placed: c.directory.PlacementsOf,
	}
}

// expected is how many nodes should answer: those that are there, without one that has just died and is known to be silent.
func (c *core) expected() int {
	there := c.nats.Gathered().Nodes
	if c.controller != nil {
		charge, _ := c.controller.Charge()
		for _, n := range charge.Nodes {
			if n.State == failover.Silent {
				there = slices.DeleteFunc(there, func(node string) bool { return node == n.Node })
			}
		}
	}
	return len(there)
}

// mail gives the nodes that serve mail and answer.
func (l *liveNodes) mail(ctx context.Context) ([]nodes.Status, error) {
	if all, known := l.known(answersHold); known {
		return all, nil
	}
	l.asking.Lock()
	defer l.asking.Unlock()
	if all, known := l.known(answersHold); known { // somebody else has asked meanwhile
		return all, nil
	}
	if err := l.renew(ctx); err != nil {
		return nil, err
	}
	all, _ := l.known(answersHold)
	return all, nil
}

// known gives answers that are not older than asked for.
func (l *liveNodes) known(age time.Duration) (all []nodes.Status, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all), !l.asked.IsZero() && time.Since(l.asked) <= age
}

func (l *liveNodes) renew(ctx context.Context) error {
	all, err := l.ask(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all, l.asked = slices.DeleteFunc(all, func(n nodes.Status) bool { return n.Role != nodes.Mail }), time.Now()
	return nil
}

// prepare asks the nodes ahead of need, in the background, so that moving accounts does not begin with that.
func (l *liveNodes) prepare() {
	if _, known := l.known(askAhead); known || !l.asking.TryLock() {
		return
	}
	go func() {
		defer l.asking.Unlock()
		_ = l.renew(context.Background()) // who needs it asks again, and hears of errors
	}()
}

// Candidates lists the nodes that answer: replicas of the account that follow it, in order of priority, and then the others, the least behind first.
func (l *liveNodes) Candidates(ctx context.Context, id domain.AccountID) ([]promotion.Candidate, error) {
	all, err := l.mail(ctx)
	if err != nil {
		return nil, err
	}
	placed, err := l.placed(ctx, id)
	if err != nil {
		return nil, err
	}
	stream, last := l.stream(id), uint64(0)
	for _, n := range all {
		for _, r := range n.Replicas {
			if r.Stream == stream {
				last = max(last, r.Last)
			}
		}
	}
	var candidates []promotion.Candidate
	for _, n := range all {
		c := promotion.Candidate{Node: n.Node, Lag: n.Lag, LagSeconds: n.LagSeconds, Unwell: n.Health == string(health.Unhealthy)}
		for _, r := range n.Replicas {
			if r.Stream == stream {
				c.Lag += last - r.Last
			}
		}
		candidates = append(candidates, c)
	}
	order(id, candidates, placed)
	return candidates, nil
}

// order sorts candidates: first the replicas that have caught up and are not paused, by priority; then whoever else has caught up; then the rest, the least
// behind first. It tells each its priority.
func order(id domain.AccountID, candidates []promotion.Candidate, placed []directory.Placement) {
	for i := range candidates {
		c := &candidates[i]
		c.Priority = unplaced
		for _, p := range placed {
			if p.Node == c.Node && !p.Paused {
				c.Priority = int(p.Priority)
			}
		}
	}
	slices.SortFunc(candidates, func(a, b promotion.Candidate) int {
		return cmp.Or(cmp.Compare(behind(&a), behind(&b)), cmp.Compare(a.Priority, b.Priority), cmp.Compare(draw(id, a.Node), draw(id, b.Node)))
	})
}

// unplaced is the priority of nodes without a replica: the last.
const unplaced = math.MaxInt

// behind is a candidate's lag, where it is worth a difference.
func behind(c *promotion.Candidate) uint64 {
	if c.Lag <= caughtUpEntries && c.LagSeconds <= caughtUpTime.Seconds() {
		return 0
	}
	return max(c.Lag, 1)
}

// A node that is no further behind counts as having all: it has caught up before clients have come.
const (
	caughtUpEntries = 1_000
	caughtUpTime    = time.Second
)

// draw spreads the accounts over nodes that are as good: the lowest gets it, whoever draws.
func draw(id domain.AccountID, node string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, string(id)+" "+node) // a hash takes everything
	return h.Sum64()
}

// promotions gives accounts another primary, for the admin door and for the controller.
type promotions struct {
	nodes    *liveNodes
	promoter *promotion.Promoter
	fresh    func(context.Context) error // returns when all that was ordered about replicas is known here
	of       func(ctx context.Context, node string) ([]domain.AccountID, error)
	count    func(cause, outcome string)
	tell     func(notice) // administrators
}

func (c *core) newPromotions() *promotions {
	live := c.liveNodes()
	return &promotions{nodes: live, promoter: promotion.New(c.accounts, live), fresh: c.directory.Fresh, of: c.accountsOf, count: c.metrics.Promoted, tell: c.tellPromotions()}
}

// accountsOf lists the accounts whose primary is a node, by all that the log holds now.
func (c *core) accountsOf(ctx context.Context, node string) ([]domain.AccountID, error) {
	for _, stream := range c.accountStreams() {
		if _, err := c.caughtUp(ctx, stream, mailboxes.Name); err != nil {
			return nil, err
		}
	}
	return mailboxes.Store{Runner: c.runner}.OfPrimary(ctx, node)
}

// Promote checks an order as a whole and then runs it.
func (p *promotions) Promote(ctx context.Context, order promotion.Order, each func(promotion.Outcome), progress func(webadmin.Progress)) (promotion.Sum, error) {
	if order.To != "" {
		if err := p.serves(ctx, order.To); err != nil {
			return promotion.Sum{}, err
		}
	} else if err := p.fresh(ctx); err != nil { // once for all accounts
		return promotion.Sum{}, err
	}
	if len(order.Accounts) == 0 {
		var err error
		if order.Accounts, err = p.of(ctx, order.From); err != nil {
			return promotion.Sum{}, err
		}
		if len(order.Accounts) == 0 {
			return promotion.Sum{}, &domain.Error{
				Kind: domain.NotFound, Msg: "no account has the primary " + order.From,
				Hint: "account show says which primary an account has; those that were never promoted have none",
			}
		}
	}
	done, all := uint64(0), moved{From: order.From}
	sum, err := p.promoter.Run(ctx, order, func(o promotion.Outcome) {
		p.count("operator", string(o.Result()))
		all.add(o)
		each(o)
		done++
		progress(webadmin.Progress{Done: done, Total: uint64(len(order.Accounts)), Unit: "accounts", At: string(o.Account)})
	})
	all.end(sum, err)
	p.tell(all.notice("operator"))
	return sum, err
}

// serves refuses a node to which no client could go.
func (p *promotions) serves(ctx context.Context, node string) error {
	all, err := p.nodes.mail(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, n := range all {
		if n.Node == node {
			return nil
		}
		names = append(names, n.Node)
	}
	return &domain.Error{
		Kind: domain.NotFound, Msg: "no node " + node + " that serves mail answers: nothing was promoted",
		Hint: "those that do are " + strings.Join(names, ", "),
	}
}
