package gate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/streampost/streampost/domain/admission"
)

// Rates bound what one client, sender, recipient or account takes in an hour. 0 means no bound.
type Rates struct {
	AddressMessages   int // by MX from one IPv4 address or IPv6 /64
	AddressRecipients int
	SenderMessages    int // by MX with one envelope sender
	RecipientMessages int // by MX to one recipient
	AccountMessages   int // that an account submits
	AccountRecipients int
	Remembered        int // of each kind that is bounded; 50,000. Who was seen longest ago is forgotten
}

// Gossip carries words to the other nodes of the installation. None of them is promised to arrive.
type Gossip interface {
	Tell(words []byte) error
	Hear(heard func(words []byte)) error
}

// The kinds of what is counted.
const (
	addressMessages = iota
	addressRecipients
	senderMessages
	recipientMessages
	accountMessages
	accountRecipients
	kinds
)

// rates counts what is taken, on this node and, where it has a Gossip, on all.
type rates struct {
	gossip Gossip // nil: there are no other nodes, or they count alone

	mu      sync.Mutex
	buckets [kinds]admission.Buckets
	taken   map[taking]int16 // here since the others were told the last time, less what was put back
}

type taking struct {
	kind byte
	key  admission.Key
}

func newRates(r Rates, gossip Gossip) *rates {
	l := &rates{gossip: gossip, taken: map[taking]int16{}}
	for kind, hourly := range [kinds]int{r.AddressMessages, r.AddressRecipients, r.SenderMessages, r.RecipientMessages, r.AccountMessages, r.AccountRecipients} {
		l.buckets[kind] = admission.Buckets{Hourly: hourly, Most: cmp.Or(r.Remembered, 50_000)}
	}
	return l
}

// count is one thing that is counted, and what is said when it is one too many.
type count struct {
	kind byte
	name string
	why  string
	text string
}

// take takes one of each, or of none, and says how long the first that is used up will be so.
func (l *rates) take(now time.Time, counts ...count) *admission.Refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range counts {
		b := &l.buckets[c.kind]
		if b.Hourly == 0 {
			continue
		}
		key := keyOf(c)
		wait, ok := b.Take(now, key)
		if ok {
			l.note(taking{c.kind, key}, 1)
			continue
		}
		for _, before := range counts[:i] {
			l.putBack(now, before)
		}
		code := 451 // RFC 5321 section 4.3.2 has no 450 for MAIL.
		switch c.kind {
		case accountRecipients, addressRecipients:
			code = 452 // there are too many recipients
		case recipientMessages:
			code = 450 // the mailbox is not available, for policy
		}
		return &admission.Refusal{Code: code, Enhanced: [3]int{4, 7, 1}, Text: fmt.Sprintf(c.text, b.Hourly) + ", try again in " + inMinutes(wait), Why: c.why}
	}
	return nil
}

// putBack puts back what was taken in vain. The lock is held.
func (l *rates) putBack(now time.Time, c count) {
	if b := &l.buckets[c.kind]; b.Hourly > 0 {
		b.Return(now, keyOf(c))
		l.note(taking{c.kind, keyOf(c)}, -1)
	}
}

// inMinutes is a time as people say it, never too short.
func inMinutes(wait time.Duration) string {
	if n := int(math.Ceil(wait.Minutes())); n > 1 {
		return fmt.Sprintf("%d minutes", n)
	}
	return "a minute"
}

// keyOf names a bucket, on all nodes alike.
func keyOf(c count) admission.Key {
	sum := sha256.Sum256(append([]byte{c.kind}, c.name...))
	return admission.Key(sum[:16])
}

// maxTaken bounds what the others are told at once. Of what is beyond, each node knows its own share.
const maxTaken = 5_000

func (l *rates) note(t taking, n int) {
	if l.gossip == nil {
		return
	}
	now := int(l.taken[t]) + n
	switch {
	case now == 0:
		delete(l.taken, t)
	case l.taken[t] != 0 || len(l.taken) < maxTaken:
		l.taken[t] = int16(max(min(now, math.MaxInt16), math.MinInt16))
	}
}

// Words between nodes: a version, and for each thing taken its kind, its key and how much of it, in two's complement: less than nothing was put back.
const (
	wordsVersion = 2
	wordOctets   = 1 + 16 + 2
)

// tell tells the other nodes what was taken here, in words of at most 64 KiB.
func (l *rates) tell() {
	l.mu.Lock()
	taken := l.taken
	l.taken = map[taking]int16{}
	l.mu.Unlock()
	words := []byte{wordsVersion}
	for t, n := range taken {
		words = append(append(words, t.kind), t.key[:]...)
		if words = binary.BigEndian.AppendUint16(words, uint16(n)); len(words) > 64<<10-wordOctets {
			_ = l.gossip.Tell(words) // who misses it counts alone
			words = []byte{wordsVersion}
		}
	}
	if len(words) > 1 {
		_ = l.gossip.Tell(words)
	}
}

// hear takes what was taken on another node.
func (l *rates) hear(now time.Time, words []byte) {
	if len(words) == 0 || words[0] != wordsVersion {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for words = words[1:]; len(words) >= wordOctets; words = words[wordOctets:] {
		if kind := words[0]; int(kind) < kinds && l.buckets[kind].Hourly > 0 {
			l.buckets[kind].Lose(now, admission.Key(words[1:17]), int(int16(binary.BigEndian.Uint16(words[17:]))))
		}
	}
}

// tellEvery is how often the other nodes are told.
const tellEvery = time.Second

// Hear hears what the other nodes of the installation take. It is called once, and only with a Gossip. Errors: those of the Gossip.
func (g *Gate) Hear() error {
	return g.rates.gossip.Hear(func(words []byte) { g.rates.hear(g.cfg.Now(), words) })
}

// Run tells the other nodes what is taken here, until ctx ends. Without a Gossip it only waits.
func (g *Gate) Run(ctx context.Context) error {
	if g.rates.gossip == nil {
		<-ctx.Done()
		return nil
	}
	turn := time.NewTicker(tellEvery)
	defer turn.Stop()
	for {
		select {
		case <-turn.C:
			g.rates.tell()
		case <-ctx.Done():
			return nil
		}
	}
}

// Sender says whether a client, or an account, may begin another message.
func (g *Gate) Sender(_ context.Context, e *admission.Envelope) *admission.Refusal {
	if e.Account != "" {
		return g.rates.take(g.cfg.Now(), count{accountMessages, e.Account, "account-rate", "Your account has sent its %d messages of this hour"})
	}
	counts := []count{{addressMessages, source(e.Client), "address-rate", "Your address has sent its %d messages of this hour"}}
	if e.Sender != "" { // Reports have no sender, and one that all share.
		counts = append(counts, bySender(e))
	}
	return g.rates.take(g.cfg.Now(), counts...)
}

// Recipient says whether a client, or an account, may have one more recipient, who is here or may be sent to.
func (g *Gate) Recipient(ctx context.Context, e *admission.Envelope) *admission.Refusal {
	if e.Account != "" {
		return g.rates.take(g.cfg.Now(), count{accountRecipients, e.Account, "account-rate", "Your account has sent to its %d recipients of this hour"})
	}
	if r := g.greylisted(ctx, e); r != nil {
		return r
	}
	return g.rates.take(g.cfg.Now(),
		count{addressRecipients, source(e.Client), "address-rate", "Your address has sent to its %d recipients of this hour"},
		toRecipient(e))
}

func bySender(e *admission.Envelope) count {
	return count{senderMessages, e.Sender, "sender-rate", "This sender has sent the %d messages of this hour"}
}

func toRecipient(e *admission.Envelope) count {
	return count{recipientMessages, e.Recipient, "recipient-rate", "This recipient has had the %d messages of this hour"}
}

// Unsent puts back what was taken of a sender and of a recipient, each of whom may be empty, for a message that did not come: others in whose names a client speaks are not to pay for what it
// does not bring. Its own address, or account, has paid.
func (g *Gate) Unsent(e *admission.Envelope) {
	if e.Account != "" {
		return
	}
	g.rates.mu.Lock()
	defer g.rates.mu.Unlock()
	if e.Sender != "" {
		g.rates.putBack(g.cfg.Now(), bySender(e))
	}
	if e.Recipient != "" {
		g.rates.putBack(g.cfg.Now(), toRecipient(e))
	}
}

// source is where a client comes from: its address, or the /64 of IPv6, of which one machine has all addresses.
func source(c *admission.Client) string {
	if len(c.Address) == 16 {
		return string(admission.Subnet(c.Address))
	}
	return string(c.Address)
}
