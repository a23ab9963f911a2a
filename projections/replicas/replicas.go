// Package replicas keeps accounts on the nodes where operators want them: it carries out orders, and tells how far each replica is.
//
// Every node of a cluster projects every stream of the log into views of its own. So a replica is not copied by anybody. It is an order, a fact of the
// directory (domain/directory), that a node's rows of an account count: they are watched, compared, and may become the primary ones. What a node has is asked
// of the node itself (streams/nodes), and compared with the log, so that a node which is dead or behind cannot say that it is well.
//
// Invariants:
//   - An order is looked at as a whole before any of it is done. What fails afterwards is told for each account.
//   - Nobody believes a node's word that it is current. Its rows are those of the log when they stand at the log's last transaction of the account, with the
//     hash of that entry, and with the digest that the other nodes have there.
//   - A node that does not answer holds up a question for two seconds at most, and then none for ten, whatever the number of accounts.
package replicas

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/streams"
)

// Directory is door.Directory.
type Directory interface {
	Placed(ctx context.Context, sel directory.Selection) ([]door.Placed, []directory.Problem, error)
	Try(ctx context.Context, c directory.Command) error
	ChangePlacements(ctx context.Context, actor string, ids []domain.AccountID, command func([]domain.AccountID) directory.Command) map[domain.AccountID]error
	ChangeEnrolments(ctx context.Context, actor string, c directory.Command) error
	Enrolments(ctx context.Context) (map[string]directory.Enrolment, error)
	Destinations(ctx context.Context) ([]string, error)
}

// Log is the log of record; see streams.Log.
type Log interface {
	StreamOf(id domain.AccountID) string
	Head(ctx context.Context, stream string) (domain.Seq, error)
	Last(ctx context.Context, id domain.AccountID) (streams.Position, error)
}

// Nodes are all nodes; see nodes.Nodes.
type Nodes interface {
	Ask(ctx context.Context, name string, question any, expected int, answer func(node string, said json.RawMessage, failure string)) error
	Reply(name string, reply func(ctx context.Context, question json.RawMessage) (any, error)) error
}

// Limits bound what is asked and when a replica counts as lagging. Zero fields have the defaults in their comments.
type Limits struct {
	AtOnce       int           // accounts in one question: 500
	Transactions uint64        // by which a replica may be behind before it lags: 100
	Age          time.Duration // and of the oldest entry that it does not show: 2 s
	Looks        int           // at accounts that change while they are compared: 10
	Pause        time.Duration // between two looks: 300 ms
	Patience     time.Duration // with replicas that are waited for while none of them gets any further, and with a log that cannot be asked: 5 min
}

func (l Limits) withDefaults() Limits {
	l.AtOnce = cmp.Or(l.AtOnce, 500)
	l.Transactions = cmp.Or(l.Transactions, 100)
	l.Age = cmp.Or(l.Age, 2*time.Second)
	l.Looks = cmp.Or(l.Looks, 10)
	l.Pause = cmp.Or(l.Pause, 300*time.Millisecond)
	l.Patience = cmp.Or(l.Patience, 5*time.Minute)
	return l
}

// Config is what Replicas works with.
type Config struct {
	Directory Directory
	Log       Log
	Nodes     Nodes
	// Members gives the nodes that the cluster consists of, and those of them that are there.
	Members func() (all, there []string)
	// Primaries gives the nodes that clients of accounts are sent to. It may be nil, and an account may be without: any node serves any account.
	Primaries func(ctx context.Context) (map[domain.AccountID]string, error)
	Limits    Limits
}

// Replicas is the replicas of a cluster, as seen from one of its nodes.
type Replicas struct {
	cfg Config

	mu        sync.Mutex
	silent    map[string]time.Time // nodes that did not answer, and when
	witnesses map[string]bool      // what nodes said the last time, whether they are there now or not
}

// New makes it. It asks nobody yet.
func New(cfg Config) *Replicas {
	cfg.Limits = cfg.Limits.withDefaults()
	return &Replicas{cfg: cfg, silent: map[string]time.Time{}, witnesses: map[string]bool{}}
}

// The names of the questions.
const (
	askStanding = "replicas"
	askHealth   = "replicas.test"
)

// Witness makes a node without views say so when it is asked, instead of keeping the asker waiting.
func Witness(n Nodes) error {
	nothing := func(context.Context, json.RawMessage) (any, error) { return answer{Witness: true}, nil }
	if err := n.Reply(askStanding, nothing); err != nil {
		return err
	}
	return n.Reply(askHealth, func(context.Context, json.RawMessage) (any, error) { return Health{Witness: true}, nil })
}

// destinations are the nodes that can have replicas: members that answer and are no witnesses. One that does not answer may be a witness, and is dead weight
// if it is not: it counts only when an order names it and it has replicas already. Errors: domain.Unavailable for a named one that does not answer.
func (r *Replicas) destinations(ctx context.Context, named string) (nodes []string, err error) {
	heard, err := r.gatherAll(ctx, question{})
	if err != nil {
		return nil, err
	}
	all, _ := r.cfg.Members()
	silent := false
	for _, node := range all {
		switch h := heard[node]; {
		case h != nil && h.failure == "":
			if !h.Witness {
				nodes = append(nodes, node)
			}
		case node == named:
			silent = true
		}
	}
	if !silent {
		return nodes, nil
	}
	has, err := r.cfg.Directory.Destinations(ctx)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(has, named):
		return nil, &domain.Error{
			Kind: domain.Unavailable, Msg: "node " + named + " does not answer, and has no replicas yet: nothing was done", Hint: "replica test shows what each node reaches",
		}
	}
	return append(nodes, named), nil
}
