// Package promotion gives accounts another primary node: one at an operator's wish, or all of a node that is gone.
//
// A promotion is one transaction in the account's log (event.Promoted). It asks nothing of the node that was primary before, so that one may be dead, cut
// off or alive: the log alone decides, by the sequence that an append expects and by the epoch that the caller saw.
//
// Invariants:
//   - An account is promoted whole or not at all, and what became of each is reported.
//   - Nothing is promoted before every name of an order is known to mean something.
//   - At most Order.Threads accounts are in flight.
package promotion

import (
	"context"
	"slices"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

// Accounts is door.Accounts.
type Accounts interface {
	Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error)
	View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error
	Fresh(ctx context.Context, id domain.AccountID) error
}

// Candidate is a node that can become the primary of an account.
type Candidate struct {
	Node string
	// Priority orders candidates that are equally well, lowest number first; those without a replica of the account have the highest.
	Priority int
	// Lag is how many entries its view and its copy of the log are behind.
	Lag uint64
	// LagSeconds is the age of the oldest of these.
	LagSeconds float64
	// Unwell says that the node calls itself unhealthy. It is chosen only where all do, because what they share is away, such as the leader of a stream.
	Unwell bool
}

// Candidates are the nodes that can become an account's primary now, best first: those that are dead are not among them. The present primary may be.
type Candidates interface {
	Candidates(ctx context.Context, id domain.AccountID) ([]Candidate, error)
}

// Order says what to promote.
type Order struct {
	Accounts []domain.AccountID
	To       string // a node; empty: the best candidate of each account that is not its primary
	From     string // accounts that have another primary meanwhile are left alone; empty: any
	Reason   string // for people
	Actor    string // for the log's readers
	Threads  int    // accounts at a time; 0: DefaultThreads
	// Pace is called before each account and may wait; its error ends the work. nil: nothing waits.
	Pace func(context.Context) error
	// Allowed is asked right before each append; its error is that of the account. nil: always.
	Allowed func() error
}

// The bounds of Order.Threads.
const (
	DefaultThreads = 16
	MaxThreads     = 256
)

// Outcome is what became of one account.
type Outcome struct {
	Account domain.AccountID
	Before  account.Primary
	Primary account.Primary // Before where nothing was done
	Err     error
}

// Result is what became of an account, in a word.
type Result string

// The results.
const (
	Promoted  Result = "promoted"
	Unchanged Result = "unchanged" // the node was primary already, or the account is no longer that of the node it was to be taken from
	Failed    Result = "failed"    // see Err; after domain.Unavailable it may still turn out to be promoted
)

// Result says it.
func (o *Outcome) Result() Result {
	switch {
	case o.Err != nil:
		return Failed
	case o.Primary != o.Before:
		return Promoted
	}
	return Unchanged
}

// Sum counts the accounts of an order.
type Sum struct {
	Promoted  int `json:"promoted"`
	Unchanged int `json:"unchanged"`
	Failed    int `json:"failed"`
}

// Promoter promotes accounts.
type Promoter struct {
	accounts   Accounts
	candidates Candidates
}

// New makes a Promoter.
func New(accounts Accounts, candidates Candidates) *Promoter { return &Promoter{accounts, candidates} }

// Run promotes the accounts of an order. each hears of every account, one at a time, in the order in which they are done. Errors of accounts are among the
// outcomes; Run's own is that of ctx or of Pace, which leaves the remaining accounts as they are.
func (p *Promoter) Run(ctx context.Context, o Order, each func(Outcome)) (sum Sum, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	threads := min(max(o.Threads, 0), MaxThreads)
	if threads == 0 {
		threads = DefaultThreads
	}
	ids := make(chan domain.AccountID)
	var workers sync.WaitGroup
	var mu sync.Mutex
	for range min(threads, len(o.Accounts)) {
		workers.Go(func() {
			for id := range ids {
				outcome := p.one(ctx, id, &o)
				mu.Lock()
				sum.count(&outcome)
				each(outcome)
				mu.Unlock()
			}
		})
	}
feed:
	for _, id := range o.Accounts {
		if o.Pace != nil {
			if err := o.Pace(ctx); err != nil {
				cancel(err)
			}
		}
		if ctx.Err() != nil {
			break
		}
		select {
		case ids <- id:
		case <-ctx.Done():
			break feed
		}
	}
	close(ids)
	workers.Wait()
	return sum, context.Cause(ctx)
}

func (s *Sum) count(o *Outcome) {
	switch o.Result() {
	case Failed:
		s.Failed++
	case Promoted:
		s.Promoted++
	default:
		s.Unchanged++
	}
}

// one promotes an account.
func (p *Promoter) one(ctx context.Context, id domain.AccountID, o *Order) Outcome {
	outcome := Outcome{Account: id}
	if outcome.Err = p.accounts.Fresh(ctx, id); outcome.Err != nil { // what another node did a moment ago is seen
		return outcome
	}
	outcome.Err = p.accounts.View(ctx, id, func(s *account.State) error { outcome.Before = s.Primary; return nil })
	if outcome.Primary = outcome.Before; outcome.Err != nil {
		return outcome
	}
	if o.From != "" && outcome.Before.Node != o.From {
		return outcome
	}
	to := o.To
	if to == "" {
		if to, outcome.Err = p.best(ctx, id, outcome.Before.Node); outcome.Err != nil {
			return outcome
		}
	}
	if o.Allowed != nil {
		if outcome.Err = o.Allowed(); outcome.Err != nil {
			return outcome
		}
	}
	done, err := p.accounts.Do(ctx, id, o.Actor, account.Promote{Node: to, Expected: &outcome.Before.Epoch, Reason: o.Reason})
	if outcome.Err = err; err != nil {
		return outcome
	}
	for _, e := range done.Events {
		if e, is := e.(*event.Promoted); is {
			outcome.Primary = account.Primary{Epoch: e.Epoch, Node: e.Node}
		}
	}
	return outcome
}

// best is the first candidate that is not the primary already.
func (p *Promoter) best(ctx context.Context, id domain.AccountID, primary string) (string, error) {
	all, err := p.candidates.Candidates(ctx, id)
	if err != nil {
		return "", err
	}
	someWell := slices.ContainsFunc(all, func(c Candidate) bool { return !c.Unwell })
	all = slices.DeleteFunc(slices.Clone(all), func(c Candidate) bool { return c.Node == primary || c.Unwell && someWell })
	if len(all) == 0 {
		return "", &domain.Error{
			Kind: domain.Unavailable, Msg: "no other node can become the primary of this account",
			Hint: "see cluster status: a node that is to serve mail must answer, be fit and have a whole copy of the log",
		}
	}
	return all[0].Node, nil
}
