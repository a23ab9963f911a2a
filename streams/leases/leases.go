// Package leases keeps what the nodes of a cluster say of themselves while they live, and which of them is in charge, in a key-value bucket of JetStream.
//
// Keys are lease.<node> and control. The layout is that of NATS's buckets (ADR-8), so that `nats kv watch` shows it.
//
// Invariants:
//   - A renewal that is acknowledged was agreed on by a quorum: who can renew is not cut off.
//   - control changes on the condition that its revision is the one that was read, so of two who want it one gets it.
//   - Everything is read from the leader of the bucket, never from a copy that may lag behind.
//   - It lies in memory: leases need not outlive a stop of all nodes. Should two nodes be in charge by that, the epoch of each account still lets one of them win.
//   - A lease that nobody renews is forgotten after a day.
//
// No question is asked twice: who renews does so at his next beat.
package leases

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/failover"
)

// Config says where the bucket is.
type Config struct {
	Conn     *nats.Conn
	Prefix   string // of the log
	Replicas int    // copies, as of the log
}

// Bucket is the bucket. Its methods may be called at once from several goroutines.
type Bucket struct {
	js     jetstream.JetStream
	config jetstream.StreamConfig
	name   string
	stream chan jetstream.Stream // holds it once it is known to be there
}

const (
	forgotten = 24 * time.Hour // a lease that is not renewed
	largest   = 64 << 10       // octets of a value
)

// New makes a Bucket; what uses it first makes the bucket if there is none.
func New(cfg Config) (*Bucket, error) {
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, unavailable(err)
	}
	b := &Bucket{js: js, name: "nodes", stream: make(chan jetstream.Stream, 1)}
	if cfg.Prefix != "" {
		b.name = cfg.Prefix + "_nodes"
	}
	b.config = jetstream.StreamConfig{
		Name:              "KV_" + b.name,
		Description:       "Streampost: which nodes live, and which of them is in charge.",
		Subjects:          []string{b.subject(">")},
		Storage:           jetstream.MemoryStorage,
		Replicas:          max(cfg.Replicas, 1),
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        largest,
		MaxAge:            forgotten,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
	}
	return b, nil
}

func (b *Bucket) subject(key string) string { return "$KV." + b.name + "." + key }

const control = "control"

func lease(node string) string { return "lease." + node }

// open gives the stream, and makes it when there is none.
func (b *Bucket) open(ctx context.Context) (jetstream.Stream, error) {
	select {
	case s := <-b.stream:
		b.stream <- s
		return s, nil
	default:
	}
	s, err := b.js.Stream(ctx, b.config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = b.js.CreateStream(ctx, b.config)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	select {
	case b.stream <- s:
	default: // another was as fast
	}
	return s, nil
}

func unavailable(err error) error {
	return domain.Wrap(domain.Unavailable, err, "speak to the bucket of the nodes' leases")
}

// Renew writes what a node says of itself. Errors: domain.Unavailable.
func (b *Bucket) Renew(ctx context.Context, l failover.Lease) error {
	text, err := json.Marshal(l)
	if err != nil {
		return domain.Wrap(domain.Internal, err, "write a lease")
	}
	if _, err = b.open(ctx); err != nil {
		return err
	}
	if _, err = b.js.Publish(ctx, b.subject(lease(l.Node)), text); err != nil {
		return unavailable(err)
	}
	return nil
}

// All reads the leases of all nodes. Errors: domain.Unavailable.
func (b *Bucket) All(ctx context.Context) (all []failover.Lease, err error) {
	s, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(b.subject(lease(">"))))
	if err != nil {
		return nil, unavailable(err)
	}
	for subject := range info.State.Subjects {
		m, err := s.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // it was forgotten in this moment
		}
		if err != nil {
			return nil, unavailable(err)
		}
		var l failover.Lease
		if err := json.Unmarshal(m.Data, &l); err == nil { // what a later version writes is not known here
			all = append(all, l)
		}
	}
	return all, nil
}

// Control reads who is in charge, in words of his own, and the revision on which Take depends; 0 when nobody has ever been. Errors: domain.Unavailable.
func (b *Bucket) Control(ctx context.Context) (words []byte, revision uint64, err error) {
	s, err := b.open(ctx)
	if err != nil {
		return nil, 0, err
	}
	m, err := s.GetLastMsgForSubject(ctx, b.subject(control))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, 0, nil
	case err != nil:
		return nil, 0, unavailable(err)
	}
	return m.Data, m.Sequence, nil
}

// Take takes or keeps charge, if its revision is still the one that was read, and gives the new one. Errors: domain.Conflict when another was first;
// domain.Unavailable, after which it may be taken or not.
func (b *Bucket) Take(ctx context.Context, words []byte, revision uint64) (uint64, error) {
	ack, err := b.js.Publish(ctx, b.subject(control), words, jetstream.WithExpectLastSequencePerSubject(revision))
	var refused *jetstream.APIError
	switch {
	case errors.As(err, &refused) && (refused.ErrorCode == wrongLastSequence || refused.ErrorCode == wrongLastSequenceConstant):
		return 0, domain.Errorf(domain.Conflict, "another node has taken charge")
	case err != nil:
		return 0, unavailable(err)
	}
	return ack.Sequence, nil
}

// Codes of the server's answers when an expectation does not hold. The second is also given while the message before is in flight: the next attempt tells.
const (
	wrongLastSequence         = 10071
	wrongLastSequenceConstant = 10164
)
