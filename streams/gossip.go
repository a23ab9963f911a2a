package streams

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
	"golang.org/x/crypto/chacha20poly1305"
)

// Gossip is talk among the nodes of an installation that goes into no log: nobody waits for it, and words may be lost. It is sealed as the log is, so
// that others on the same NATS hear nothing. Who can publish there can repeat words for gossipAge, so a word must do no harm when it is heard twice.
type Gossip struct {
	conn    *nats.Conn
	subject string
	aead    cipher.AEAD
	self    [16]byte // tells own words from those of others
	heard   *nats.Subscription
}

const (
	gossipAge     = 5 * time.Minute // after which a word is not believed; clocks may differ by as much
	gossipWaiting = 1_000           // words that wait to be heard; more are dropped
	gossipOctets  = 1 << 20         // and how long they are together
)

// Gossip begins talk about a topic, which consists of lower-case letters. Errors: as Secret.
func (l *Log) Gossip(ctx context.Context, topic string) (*Gossip, error) {
	secret, err := l.Secret(ctx, "gossip-"+topic)
	if err != nil {
		return nil, err
	}
	g := &Gossip{conn: l.cfg.Conn, subject: l.cfg.Topology.subject("gossip." + topic)}
	if g.aead, err = chacha20poly1305.NewX(secret[:]); err != nil {
		return nil, domain.Wrap(domain.Internal, err, "seal gossip")
	}
	_, _ = rand.Read(g.self[:]) // never fails, see crypto/rand
	return g, nil
}

// Tell says something to all other nodes. An error says for sure that nobody hears it; nil promises nothing.
func (g *Gossip) Tell(words []byte) error {
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(g.self)+8+len(words)+chacha20poly1305.Overhead)
	_, _ = rand.Read(nonce)
	plain := binary.BigEndian.AppendUint64(bytes.Clone(g.self[:]), uint64(time.Now().UnixMilli()))
	return g.conn.Publish(g.subject, g.aead.Seal(nonce, nonce, append(plain, words...), []byte(g.subject)))
}

// Hear has heard called with what other nodes say, one after the other, until Close. It is called once.
func (g *Gossip) Hear(heard func(words []byte)) (err error) {
	g.heard, err = g.conn.Subscribe(g.subject, func(m *nats.Msg) {
		if words, ok := g.open(m.Data, time.Now()); ok {
			heard(words)
		}
	})
	if err == nil {
		err = g.heard.SetPendingLimits(gossipWaiting, gossipOctets)
	}
	if err != nil {
		return unavailable(err, "hear what other nodes say")
	}
	return nil
}

// open reads the words of another node.
func (g *Gossip) open(sealed []byte, now time.Time) (words []byte, ok bool) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, false
	}
	nonce, sealed := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	plain, err := g.aead.Open(nil, nonce, sealed, []byte(g.subject))
	if err != nil || len(plain) < len(g.self)+8 || bytes.HasPrefix(plain, g.self[:]) {
		return nil, false
	}
	said := time.UnixMilli(int64(binary.BigEndian.Uint64(plain[len(g.self):])))
	return plain[len(g.self)+8:], now.Sub(said).Abs() <= gossipAge
}

// Close ends hearing.
func (g *Gossip) Close(context.Context) error {
	if g.heard != nil {
		_ = g.heard.Unsubscribe() // a connection that is gone has no subscriptions
	}
	return nil
}
