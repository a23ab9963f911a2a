// Package greylist keeps what greylisting remembers of clients, for all nodes of an installation, in a key-value bucket of JetStream. See package admission.
//
// Keys are digests under a secret of the installation, so that the bucket tells nobody who writes to whom, and values are times and counts. The layout is that of NATS's buckets (ADR-8).
//
// Invariants:
//   - What is remembered is a convenience: a bucket that cannot be read, is gone, or has lost its end in a crash makes clients come again, or lets them pass, and loses no mail.
//   - Its size is bounded: of more entries than that the oldest go. Each goes by itself when it is no longer of use (the TTL of messages, ADR-43).
//   - Everything is read from the leader of the bucket, so that a client which another node has put off is known here.
package greylist

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// Config says where the bucket is.
type Config struct {
	Conn     *nats.Conn
	Prefix   string   // of the log
	Replicas int      // copies, as of the log
	Entries  int64    // at most
	Secret   [32]byte // of the installation, for this purpose
}

// Bucket is the bucket. Its methods may be called at once from several goroutines.
type Bucket struct {
	js     jetstream.JetStream
	config jetstream.StreamConfig
	prefix string // of subjects
	secret [32]byte

	mu     sync.Mutex
	stream jetstream.Stream // nil until it is known to be there
}

const (
	largest   = 128                  // octets of a value
	forgotten = 400 * 24 * time.Hour // an entry whose own time was not kept
)

// New makes a Bucket; what uses it first makes the bucket in JetStream if there is none. Errors: domain.Unavailable.
func New(cfg Config) (*Bucket, error) {
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, unavailable(err)
	}
	name := "greylist"
	if cfg.Prefix != "" {
		name = cfg.Prefix + "_greylist"
	}
	b := &Bucket{js: js, prefix: "$KV." + name + ".", secret: cfg.Secret}
	b.config = jetstream.StreamConfig{
		Name:              "KV_" + name,
		Description:       "Streampost: whom greylisting has seen.",
		Subjects:          []string{b.prefix + ">"},
		Replicas:          max(cfg.Replicas, 1),
		MaxMsgsPerSubject: 1,
		MaxMsgs:           cfg.Entries,
		MaxMsgSize:        largest,
		MaxAge:            forgotten,
		Discard:           jetstream.DiscardOld,
		AllowMsgTTL:       true,
		AllowRollup:       true,
		DenyDelete:        true,
	}
	return b, nil
}

// open gives the stream, and makes it when there is none.
func (b *Bucket) open(ctx context.Context) (jetstream.Stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stream != nil {
		return b.stream, nil
	}
	s, err := b.js.Stream(ctx, b.config.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s, err = b.js.CreateStream(ctx, b.config)
	case err == nil && s.CachedInfo().Config.MaxMsgs != b.config.MaxMsgs:
		is := s.CachedInfo().Config
		is.MaxMsgs = b.config.MaxMsgs
		if updated, failed := b.js.UpdateStream(ctx, is); failed == nil { // otherwise the old bound stays, which is one
			s = updated
		}
	}
	if err != nil {
		return nil, unavailable(err)
	}
	b.stream = s
	return s, nil
}

func unavailable(err error) error {
	return domain.Wrap(domain.Unavailable, err, "speak to the bucket of the greylist")
}

// subject is where an entry lies. What names it, of which parts say the kind, are divided by octets that no part has.
func (b *Bucket) subject(name string) string {
	h := hmac.New(sha256.New, b.secret[:])
	h.Write([]byte(name))
	return b.prefix + hex.EncodeToString(h.Sum(nil)[:16])
}

// Load gives an entry; nil if there is none. Errors: domain.Unavailable.
func (b *Bucket) Load(ctx context.Context, name string) ([]byte, error) {
	stream, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, b.subject(name))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case gone(err):
		b.forget()
		_, err := b.open(ctx) // which has nothing yet
		return nil, err
	case err != nil:
		return nil, unavailable(err)
	}
	return m.Data, nil
}

// Save puts an entry in the place of what was there, for a time. Errors: domain.Unavailable.
func (b *Bucket) Save(ctx context.Context, name string, value []byte, keep time.Duration) error {
	if _, err := b.open(ctx); err != nil {
		return err
	}
	put := func() error {
		_, err := b.js.Publish(ctx, b.subject(name), value, jetstream.WithMsgTTL(max(keep, time.Second)), jetstream.WithExpectStream(b.config.Name))
		return err
	}
	err := put()
	if gone(err) {
		b.forget()
		if _, err := b.open(ctx); err != nil {
			return err
		}
		err = put()
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// gone tells whether there is no bucket any more, since somebody has deleted it.
func gone(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// forget has the bucket looked for, and made if need be, by whoever uses it next.
func (b *Bucket) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stream = nil
}

// Entries is how many there are. Errors: domain.Unavailable.
func (b *Bucket) Entries(ctx context.Context) (uint64, error) {
	stream, err := b.open(ctx)
	if err != nil {
		return 0, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, unavailable(err)
	}
	return info.State.Msgs, nil
}
