package streams

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
	"golang.org/x/crypto/chacha20poly1305"
)

// Gossip is talk among the nodes of an installation that goes into no log: nobody waits for it, and words may be lost. It is sealed as the log is, so
// that others on the same NATS hear nothing. Who can publish there can repeat words, and nothing is heard twice: each node numbers what it says from its start on, and what is not newer than
// what was heard of it is not heard.
type Gossip struct {
	conn    *nats.Conn
	subject string
	aead    cipher.AEAD
	self    [16]byte // this start of this node
	heard   *nats.Subscription

	telling sync.Mutex
	said    uint64 // the number of the last word; under telling, so that words go in their order

	speakers map[[16]byte]speaker // other nodes, by their starts; only open uses it, for one word at a time
}

// speaker is what was heard of a node since a start.
type speaker struct {
	last uint64    // the number of the last word
	at   time.Time // when that was heard
}

const (
	gossipAge     = 5 * time.Minute // after which a word is not believed; clocks may differ by as much
	gossipWaiting = 1_000           // words that wait to be heard; more are dropped
	gossipOctets  = 1 << 20         // and how long they are together
	gossipStarts  = 1_000           // starts of nodes within two gossipAge that are listened to
	gossipHead    = 16 + 8 + 8      // octets before the words: the start, the time, the number
)

// Gossip begins talk about a topic, which consists of lower-case letters. Errors: as Secret.
func (l *Log) Gossip(ctx context.Context, topic string) (*Gossip, error) {
	secret, err := l.Secret(ctx, "gossip-"+topic)
	if err != nil {
		return nil, err
	}
	g := &Gossip{conn: l.cfg.Conn, subject: l.cfg.Topology.subject("gossip." + topic), speakers: map[[16]byte]speaker{}}
	if g.aead, err = chacha20poly1305.NewX(secret[:]); err != nil {
		return nil, domain.Wrap(domain.Internal, err, "seal gossip")
	}
	_, _ = rand.Read(g.self[:]) // never fails, see crypto/rand
	return g, nil
}

// Tell says something to all other nodes. An error says for sure that nobody hears it; nil promises nothing.
func (g *Gossip) Tell(words []byte) error {
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+gossipHead+len(words)+chacha20poly1305.Overhead)
	_, _ = rand.Read(nonce)
	g.telling.Lock()
	defer g.telling.Unlock()
	g.said++
	plain := binary.BigEndian.AppendUint64(bytes.Clone(g.self[:]), uint64(time.Now().UnixMilli()))
	plain = binary.BigEndian.AppendUint64(plain, g.said)
	return g.conn.Publish(g.subject, g.aead.Seal(nonce, nonce, append(plain, words...), g.about()))
}

// about binds words to their topic, and to how they are laid out: what is laid out otherwise is not understood.
func (g *Gossip) about() []byte { return []byte(g.subject + " 2") }

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
	plain, err := g.aead.Open(nil, nonce, sealed, g.about())
	if err != nil || len(plain) < gossipHead || bytes.HasPrefix(plain, g.self[:]) {
		return nil, false
	}
	said := time.UnixMilli(int64(binary.BigEndian.Uint64(plain[16:])))
	ok = now.Sub(said).Abs() <= gossipAge && g.isNew([16]byte(plain), binary.BigEndian.Uint64(plain[24:]), now)
	return plain[gossipHead:], ok
}

// isNew tells whether a word is newer than all that were heard of a start of a node. A start of which nothing is heard for two gossipAge is forgotten: what was heard of it is too old to be
// believed then, even if its clock was ahead by one.
func (g *Gossip) isNew(start [16]byte, number uint64, now time.Time) bool {
	before, known := g.speakers[start]
	if known && number <= before.last {
		return false
	}
	if !known {
		maps.DeleteFunc(g.speakers, func(_ [16]byte, s speaker) bool { return now.Sub(s.at) > 2*gossipAge })
		if len(g.speakers) >= gossipStarts {
			return false
		}
	}
	g.speakers[start] = speaker{number, now}
	return true
}

// Close ends hearing.
func (g *Gossip) Close(context.Context) error {
	if g.heard != nil {
		_ = g.heard.Unsubscribe() // a connection that is gone has no subscriptions
	}
	return nil
}
