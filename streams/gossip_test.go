package streams_test

import (
	"bytes"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestGossip: other nodes hear what one says, the one itself and other topics do not, and on the way it cannot be read or changed.
func TestGossip(t *testing.T) {
	n := startNode(t)
	ctx := deadline(t)
	heard := make(chan string, 10)
	for _, name := range []string{"one", "two", "other topic"} {
		topic := "logins"
		if name == "other topic" {
			topic = "else"
		}
		g, err := n.log.Gossip(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Hear(func(words []byte) { heard <- name + " hears " + string(words) }); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = g.Close(ctx) }()
	}
	spied := make(chan *nats.Msg, 10)
	spy, err := n.server.Conn().ChanSubscribe("gossip.>", spied)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spy.Unsubscribe() }()
	expect := func(want ...string) {
		t.Helper()
		said := map[string]bool{}
		for range want {
			said[<-heard] = true
		}
		for _, w := range want {
			if !said[w] {
				t.Errorf("heard: %v, want %v", said, want)
			}
		}
	}
	third, err := n.log.Gossip(ctx, "logins")
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Hear(func([]byte) { t.Error("a node hears itself") }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = third.Close(ctx) }()
	if err := third.Tell([]byte("secret words")); err != nil {
		t.Fatal(err)
	}
	expect("one hears secret words", "two hears secret words")
	sealed := <-spied
	if bytes.Contains(sealed.Data, []byte("secret")) {
		t.Error("the words are not sealed")
	}
	for i := range sealed.Data { // none of which is heard
		spoilt := bytes.Clone(sealed.Data)
		spoilt[i] ^= 1
		if err := n.server.Conn().Publish(sealed.Subject, spoilt); err != nil {
			t.Fatal(err)
		}
	}
	for _, garbage := range [][]byte{nil, {1}, make([]byte, 100)} {
		if err := n.server.Conn().Publish(sealed.Subject, garbage); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.server.Conn().Publish(sealed.Subject, sealed.Data); err != nil { // nor is it heard twice
		t.Fatal(err)
	}
	if err := third.Tell([]byte("the end")); err != nil {
		t.Fatal(err)
	}
	expect("one hears the end", "two hears the end")
}
