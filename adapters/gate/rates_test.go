package gate

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/admission"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func rated(t testing.TB, r Rates, gossip Gossip) (*Gate, *clock) {
	t.Helper()
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	g, err := New(Config{ID: "mx.example.org", Rates: r, Gossip: gossip, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return g, c
}

func answered(r *admission.Refusal) string {
	if r == nil {
		return "ok"
	}
	return fmt.Sprintf("%d %d.%d.%d %s [%s]", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text, r.Why)
}

// TestRates: each kind has its own bound and its own words, and who is put off is let in as time passes.
func TestRates(t *testing.T) {
	from := func(address, sender, recipient string) *admission.Envelope {
		return &admission.Envelope{Client: client(address), Sender: sender, Recipient: recipient}
	}
	account := &admission.Envelope{Account: "id1", Sender: "a@x", Recipient: "b@x"}
	for name, c := range map[string]struct {
		rates      Rates
		recipients bool
		one        *admission.Envelope
		other      *admission.Envelope // which is counted apart
		want       string
	}{
		"address":            {Rates{AddressMessages: 2}, false, from("192.0.2.1", "a@x", ""), from("192.0.2.2", "a@x", ""), "451 4.7.1 Your address has sent its 2 messages of this hour, try again in 30 minutes [address-rate]"},
		"network":            {Rates{AddressMessages: 2}, false, from("2001:db8::1", "a@x", ""), from("2001:db8:0:1::1", "a@x", ""), "451 4.7.1 Your address has sent its 2 messages of this hour, try again in 30 minutes [address-rate]"},
		"address recipients": {Rates{AddressRecipients: 2}, true, from("192.0.2.1", "a@x", "b@x"), from("192.0.2.2", "a@x", "b@x"), "452 4.7.1 Your address has sent to its 2 recipients of this hour, try again in 30 minutes [address-rate]"},
		"sender":             {Rates{SenderMessages: 2}, false, from("192.0.2.1", "a@x", ""), from("192.0.2.1", "b@x", ""), "451 4.7.1 This sender has sent the 2 messages of this hour, try again in 30 minutes [sender-rate]"},
		"recipient":          {Rates{RecipientMessages: 2}, true, from("192.0.2.1", "a@x", "b@x"), from("192.0.2.1", "a@x", "c@x"), "450 4.7.1 This recipient has had the 2 messages of this hour, try again in 30 minutes [recipient-rate]"},
		"account":            {Rates{AccountMessages: 2}, false, account, &admission.Envelope{Account: "id2"}, "451 4.7.1 Your account has sent its 2 messages of this hour, try again in 30 minutes [account-rate]"},
		"account recipients": {Rates{AccountRecipients: 2}, true, account, &admission.Envelope{Account: "id2"}, "452 4.7.1 Your account has sent to its 2 recipients of this hour, try again in 30 minutes [account-rate]"},
	} {
		g, now := rated(t, c.rates, nil)
		ask := g.Sender
		if c.recipients {
			ask = g.Recipient
		}
		for _, want := range []string{"ok", "ok", c.want, c.want} {
			if got := answered(ask(t.Context(), c.one)); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		if got := answered(ask(t.Context(), c.other)); got != "ok" {
			t.Errorf("%s: another is told %s", name, got)
		}
		now.pass(30 * time.Minute)
		if got := answered(ask(t.Context(), c.one)); got != "ok" {
			t.Errorf("%s: half an hour later: %s", name, got)
		}
	}
	g, _ := rated(t, Rates{}, nil)
	for range 100 {
		if g.Sender(t.Context(), account) != nil || g.Recipient(t.Context(), from("192.0.2.1", "", "b@x")) != nil || g.Sender(t.Context(), from("192.0.2.1", "", "b@x")) != nil {
			t.Fatal("something is bounded that is not to be")
		}
	}
}

// TestWhatIsRefusedIsNotCounted: a message that is one too many for its sender takes nothing from its address.
func TestWhatIsRefusedIsNotCounted(t *testing.T) {
	g, _ := rated(t, Rates{AddressMessages: 3, SenderMessages: 1}, nil)
	for i, want := range []string{"ok", "sender-rate", "sender-rate", "sender-rate"} {
		if got := answered(g.Sender(t.Context(), &admission.Envelope{Client: client("192.0.2.1"), Sender: "a@x"})); !strings.Contains(got, want) {
			t.Errorf("%d: %s", i, got)
		}
	}
	for i, want := range []string{"ok", "ok", "address-rate"} {
		if got := answered(g.Sender(t.Context(), &admission.Envelope{Client: client("192.0.2.1")})); !strings.Contains(got, want) {
			t.Errorf("%d: %s", i, got)
		}
	}
}

// TestWhatIsNotSentIsPutBack on all nodes, for its sender and its recipient; the client's own address has paid.
func TestWhatIsNotSentIsPutBack(t *testing.T) {
	v := &village{}
	var nodes [2]*Gate
	for i := range nodes {
		nodes[i], _ = rated(t, Rates{AddressMessages: 20, AddressRecipients: 20, SenderMessages: 2, RecipientMessages: 2}, &villager{village: v})
		if err := nodes[i].Hear(); err != nil {
			t.Fatal(err)
		}
	}
	from := func(address string) *admission.Envelope {
		return &admission.Envelope{Client: client(address), Sender: "a@x", Recipient: "b@x"}
	}
	for range 20 {
		e := from("192.0.2.1")
		if got := answered(nodes[0].Sender(t.Context(), e)) + answered(nodes[0].Recipient(t.Context(), e)); got != "okok" {
			t.Fatal(got)
		}
		nodes[0].rates.tell()
		nodes[0].Unsent(e)
		nodes[0].rates.tell()
	}
	if got := answered(nodes[0].Sender(t.Context(), from("192.0.2.1"))); !strings.Contains(got, "address-rate") {
		t.Errorf("its own address: %s", got)
	}
	for i, want := range []string{"okok", "okok", "sender-raterecipient-rate"} {
		got := answered(nodes[1].Sender(t.Context(), from("192.0.2.2"))) + answered(nodes[1].Recipient(t.Context(), from("192.0.2.2")))
		for _, why := range []string{"sender-rate", "recipient-rate"} {
			if strings.Contains(want, why) != strings.Contains(got, why) {
				t.Errorf("%d: others are told %s", i, got)
			}
		}
	}
	account := &admission.Envelope{Account: "id1", Sender: "a@x"}
	nodes[0].Unsent(account) // nothing of it was counted for its sender
	if got := answered(nodes[1].Sender(t.Context(), from("192.0.2.3"))); !strings.Contains(got, "sender-rate") {
		t.Errorf("%s", got)
	}
}

// village is a Gossip of nodes in one process.
type village struct {
	mu  sync.Mutex
	all []func([]byte)
}

type villager struct {
	*village
	self int
}

func (v *villager) Hear(heard func([]byte)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.self = len(v.all)
	v.all = append(v.all, heard)
	return nil
}

func (v *villager) Tell(words []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, heard := range v.all {
		if i != v.self {
			heard(words)
		}
	}
	return nil
}

// TestNodesCountTogether: what is taken on one node is missing on the others as soon as they have heard of it.
func TestNodesCountTogether(t *testing.T) {
	v := &village{}
	var nodes []*Gate
	for range 3 {
		g, _ := rated(t, Rates{AccountMessages: 30, AddressMessages: 30}, &villager{village: v})
		nodes = append(nodes, g)
		if err := g.Hear(); err != nil {
			t.Fatal(err)
		}
	}
	e := &admission.Envelope{Account: "id1"}
	taken := 0
	for round := range 40 {
		for _, g := range nodes {
			if g.Sender(t.Context(), e) == nil {
				taken++
			}
			if round%5 == 4 {
				g.rates.tell()
			}
		}
	}
	if taken < 30 || taken > 30+2*5*3 {
		t.Errorf("%d messages were let in on three nodes", taken)
	}
	for _, words := range [][]byte{nil, {}, {2}, {1, 0}, {2, 200, 1}, append([]byte{2, 77}, make([]byte, 40)...), binary.BigEndian.AppendUint16(append([]byte{2, accountMessages}, make([]byte, 16)...), 32767), binary.BigEndian.AppendUint16(append([]byte{2, accountMessages}, make([]byte, 16)...), 32768)} {
		nodes[0].rates.hear(time.Now(), words)
	}
	for i := range maxTaken * 2 {
		nodes[0].Sender(t.Context(), &admission.Envelope{Account: fmt.Sprint(i)})
	}
	if n := len(nodes[0].rates.taken); n > maxTaken {
		t.Errorf("%d words wait to be told", n)
	}
	nodes[0].rates.tell()
	ended, end := context.WithCancel(t.Context())
	end()
	if err := nodes[0].Run(ended); err != nil {
		t.Error(err)
	}
}
