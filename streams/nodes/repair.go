package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
)

// Bad says what is wrong with a copy, so that it should be filled anew; empty when nothing is known to be. A copy that is catching up is not bad.
func (r *Replica) Bad() string {
	switch lacks := r.Lacks(); {
	case r.Absent:
		return "is missing"
	case r.Log && lacks > 0:
		return fmt.Sprintf("lacks %d entries", lacks)
	case r.Stale:
		return fmt.Sprintf("ends at entry %d and says that it is current, while others have more", r.Last)
	}
	return ""
}

// MayRefill tells why a node must not throw its copy of a stream away, by what all nodes say: it may when it is among them, and enough others for a quorum
// have all that any of them has, whole and current. Then everything that was ever acknowledged is on these, whatever becomes of the copy. Errors: domain.Conflict.
func MayRefill(all []Status, copies int, node, stream string) error {
	known := false
	var most uint64
	var others []Replica
	var not []string
	for _, s := range all {
		for _, r := range s.Replicas {
			if r.Stream != stream {
				continue
			}
			if most = max(most, r.Last); s.Node == node {
				known = true
			} else {
				others = append(others, r)
				if why := r.unfit(); why != "" {
					not = append(not, s.Node+" "+why)
				}
			}
		}
	}
	good := 0
	for _, r := range others {
		if r.unfit() == "" && r.Last >= most {
			good++
		}
	}
	if !known {
		return domain.Errorf(domain.Conflict, "the copy of %s on %s is kept as it is: the node does not tell what it has", stream, node)
	}
	if quorum := copies/2 + 1; good < quorum || copies < 3 {
		e := &domain.Error{
			Kind: domain.Conflict, Msg: fmt.Sprintf("the copy of %s on %s is kept as it is: %d other nodes have a whole and current one, and %d must", stream, node, good, quorum),
			Hint: "wait until cluster status finds nothing else wrong, or start the nodes that are missing",
		}
		if len(not) > 0 {
			e.Msg += "; " + strings.Join(not, ", ")
		}
		return e
	}
	return nil
}

// unfit says why nothing can be filled from a copy.
func (r *Replica) unfit() string {
	switch bad := r.Bad(); {
	case bad != "":
		return bad
	case !r.Current:
		return "is catching up"
	case r.Leader == "":
		return "knows no leader"
	}
	return ""
}

// Repair is an order to a node to fill bad copies anew.
type Repair struct {
	Stream string `json:"stream,omitempty"` // empty: all
	DryRun bool   `json:"dry_run,omitempty"`
}

// Repaired is what became of a bad copy.
type Repaired struct {
	Node    string  `json:"node"`
	Stream  string  `json:"stream"`
	Bad     string  `json:"bad"`               // what was wrong
	Done    bool    `json:"done"`              // it is whole again
	Refused string  `json:"refused,omitempty"` // why nothing was done
	Seconds float64 `json:"seconds,omitempty"` // that it took
}

// Seconds rounds a duration as Repaired has it.
func Seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// repairTime bounds one node's repair of all its copies.
const repairTime = 15 * time.Minute

// AnswerRepair carries out the orders of other nodes. repair itself makes sure that a copy is bad and that others have it: an order that is heard twice
// does nothing.
func (n *Nodes) AnswerRepair(repair func(context.Context, Repair) ([]Repaired, error)) error {
	subject := "repair." + n.cfg.Node
	return n.answer(subject, func(m *nats.Msg) {
		text, ok := n.open(m.Data, []byte(subject))
		var order Repair
		if !ok || json.Unmarshal([]byte(text), &order) != nil {
			n.cfg.Logger.Warn("somebody who does not know the secret of the cluster orders a repair")
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), repairTime)
		defer cancel()
		var answer repairAnswer
		var err error
		if answer.Done, err = repair(ctx, order); err != nil {
			answer.Error = err.Error()
		}
		reply, err := json.Marshal(answer)
		if err == nil {
			err = m.Respond(reply)
		}
		if err != nil {
			n.cfg.Logger.Warn("another node does not hear what became of the repair that it ordered", "error", err)
		}
	})
}

type repairAnswer struct {
	Done  []Repaired `json:"done"`
	Error string     `json:"error,omitempty"`
}

// Repair has a node fill its bad copies anew, and waits for it. Errors: domain.NotFound when the node is not there, domain.Unavailable.
func (n *Nodes) Repair(ctx context.Context, node string, order Repair) ([]Repaired, error) {
	ctx, cancel := context.WithTimeout(ctx, repairTime)
	defer cancel()
	text, err := json.Marshal(order)
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "order a repair")
	}
	subject := "repair." + node
	m, err := n.cfg.Conn.RequestWithContext(ctx, n.subject(subject), n.seal(string(text), []byte(subject)))
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, domain.Errorf(domain.NotFound, "node %s is not there", node)
	}
	if err != nil {
		return nil, domain.Wrap(domain.Unavailable, err, "wait for the repair on "+node)
	}
	var answer repairAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, domain.Wrap(domain.Internal, err, "read the answer of "+node)
	}
	if answer.Error != "" {
		err = domain.Errorf(domain.Unavailable, "node %s: %s", node, answer.Error)
	}
	return answer.Done, err
}

// First tells whether a node is the first of those with bad copies, by what all say: nodes that repair by themselves take turns in this order.
func First(all []Status, node string) bool {
	for _, s := range all { // sorted by name
		if slices.ContainsFunc(s.Replicas, func(r Replica) bool { return r.Bad() != "" }) {
			return s.Node == node
		}
	}
	return false
}
