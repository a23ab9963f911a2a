// Package nodes lets the nodes of a cluster know of each other: what each is and has, and the master keys, which a node that joins gets from the
// others.
//
// It exists because JetStream tells of its servers, not of what runs on them, and nothing that only nodes may know lies in it. Everything here is
// plain NATS: a question goes to all nodes, and whoever is there answers. Nothing is kept, so nothing can be out of date but an answer.
//
// Master keys travel sealed with a key that derives from the cluster's secret and bound to the question they answer, so that whoever merely
// reaches the NATS servers can neither read nor replay them.
package nodes

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
	"golang.org/x/crypto/chacha20poly1305"
)

// Status is what a node says of itself.
type Status struct {
	Node    string    `json:"node"`
	Role    Role      `json:"role"`
	Version string    `json:"version"`
	Zone    string    `json:"zone,omitempty"`
	Started time.Time `json:"started"`
	// Clock is the node's time when it answered.
	Clock time.Time `json:"clock"`
	// Skew is how far its clock is ahead of the asker's, which is known to half the time that the answer took.
	Skew time.Duration `json:"skew"`
	// Health is healthy, degraded or unhealthy, and Causes say why.
	Health   string    `json:"health"`
	Causes   []string  `json:"causes,omitempty"`
	Replicas []Replica `json:"replicas"`
	// Lag is how many entries the view that is furthest behind has not seen.
	Lag uint64 `json:"lag"`
	// LagSeconds is the age of the oldest of these.
	LagSeconds float64 `json:"lag_seconds"`
}

// Role is what a node is for.
type Role string

const (
	// Mail is a node that keeps the log and serves mail.
	Mail Role = "mail"
	// Witness is a node that only keeps the log.
	Witness Role = "witness"
)

// Replica is a node's own copy of a stream.
type Replica struct {
	Stream  string `json:"stream"`
	Leader  string `json:"leader"` // as this node knows it; empty while there is none
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Entries uint64 `json:"entries"`
	Current bool   `json:"current"`         // it says that it has all that was agreed on
	Log     bool   `json:"log"`             // nothing is ever removed from the stream
	Stale   bool   `json:"stale,omitempty"` // it says that it is current, and lacks what others have had for long
	// Absent says that the node is to have a copy, and has none, or one that takes no part in what the others agree on.
	Absent bool `json:"absent,omitempty"`
	// Group is that of the servers which agree on the stream, where this one takes part in it; empty for a stream with one copy.
	Group string `json:"group,omitempty"`
}

// Lacks counts the sequences up to the last that are not there. In a stream of the log, which nothing is ever removed from, any is damage.
func (r *Replica) Lacks() uint64 { return r.Last - min(r.Entries, r.Last) }

// How long a question waits.
const (
	// askTime bounds a question.
	askTime = 2 * time.Second
	// quiet ends one about keys earlier: so long after the last answer no other is expected. It is doubled until the first.
	quiet = 300 * time.Millisecond
)

// Config says who the node is.
type Config struct {
	Conn   *nats.Conn
	Prefix string // of the log
	Node   string
	Key    [32]byte // derived from the cluster's secret; seals what only nodes may read
	Logger *slog.Logger
}

// Nodes is a node's view of all nodes.
type Nodes struct {
	cfg    Config
	aead   cipher.AEAD
	begins []*nats.Subscription
}

// New makes a node's view of all. It asks at once; it answers when Answer says what.
func New(cfg Config) *Nodes {
	aead, err := chacha20poly1305.NewX(cfg.Key[:])
	if err != nil {
		panic(err) // the length is right by type
	}
	return &Nodes{cfg: cfg, aead: aead}
}

func (n *Nodes) subject(name string) string {
	if n.cfg.Prefix == "" {
		return "nodes." + name
	}
	return n.cfg.Prefix + ".nodes." + name
}

func (n *Nodes) answer(name string, handle func(*nats.Msg)) error {
	sub, err := n.cfg.Conn.Subscribe(n.subject(name), handle)
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "listen to the other nodes")
	}
	n.begins = append(n.begins, sub)
	return nil
}

// Answer tells whoever asks what the node is. status may take half of askTime, so that the answer comes in time.
func (n *Nodes) Answer(status func(context.Context) Status) error {
	return n.answer("status", func(m *nats.Msg) {
		ctx, cancel := context.WithTimeout(context.Background(), askTime/2)
		defer cancel()
		s := status(ctx)
		s.Node, s.Clock = n.cfg.Node, time.Now()
		text, err := json.Marshal(s)
		if err == nil {
			err = m.Respond(text)
		}
		if err != nil {
			n.cfg.Logger.Debug("a question of another node stays without an answer", "error", err)
		}
	})
}

// Close stops answering.
func (n *Nodes) Close(context.Context) error {
	for _, sub := range n.begins {
		_ = sub.Unsubscribe() // the connection may be gone
	}
	return nil
}

// All asks every node what it is, the asker among them, and sorts the answers by name. A node that does not answer in time is not among them; expected
// is how many are, after which nobody waits any longer.
func (n *Nodes) All(ctx context.Context, expected int) ([]Status, error) {
	var all []Status
	asked := time.Now()
	err := n.ask(ctx, "status", nil, askTime, func(m *nats.Msg) bool {
		var s Status
		if json.Unmarshal(m.Data, &s) == nil {
			took := time.Since(asked)
			s.Skew = s.Clock.Sub(asked.Add(took / 2)).Round(time.Millisecond)
			all = append(all, s)
		}
		return len(all) >= expected
	})
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Node, b.Node) })
	return all, err
}

// ask puts a question to all nodes and hands out the answers until they are enough, nobody has said more for the time of patience, or askTime is over.
func (n *Nodes) ask(ctx context.Context, name string, question []byte, patience time.Duration, answer func(*nats.Msg) (enough bool)) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	inbox := n.cfg.Conn.NewInbox()
	answers := make(chan *nats.Msg, 64)
	sub, err := n.cfg.Conn.ChanSubscribe(inbox, answers)
	if err == nil {
		defer func() { _ = sub.Unsubscribe() }()
		err = n.cfg.Conn.PublishRequest(n.subject(name), inbox, question)
	}
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "ask the other nodes")
	}
	silence := time.NewTimer(2 * patience)
	defer silence.Stop()
	for {
		select {
		case m := <-answers:
			if m.Header.Get("Status") != "" { // nobody is there
				return nil
			}
			if answer(m) {
				return nil
			}
			silence.Reset(patience)
		case <-silence.C:
			return nil
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return domain.Wrap(domain.Unavailable, ctx.Err(), "ask the other nodes")
		}
	}
}

// nonce is drawn for every question, so that no earlier answer fits.
func nonce() []byte {
	drawn := make([]byte, 16)
	_, _ = rand.Read(drawn) // it never fails
	return drawn
}
