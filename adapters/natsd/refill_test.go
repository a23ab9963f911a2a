package natsd_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/nodes"
)

// damage flips a bit in the middle of a stopped server's copy of a stream, whose index a crash would have taken.
func (c *trio) damage(i int, stream string) {
	c.t.Helper()
	msgs := filepath.Join(c.places[i].Dir, "jetstream", "$G", "streams", stream, "msgs")
	block := filepath.Join(msgs, "1.blk")
	octets, err := os.ReadFile(block)
	if err != nil {
		c.t.Fatal(err)
	}
	octets[len(octets)/2] ^= 1
	if err := errors.Join(os.WriteFile(block, octets, 0o600), os.Remove(filepath.Join(msgs, "index.db"))); err != nil {
		c.t.Fatal(err)
	}
}

// copyOf is a server's own copy of a stream.
func (c *trio) copyOf(i int, stream string) (r nodes.Replica) {
	c.t.Helper()
	all, err := c.servers[i].Replicas()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range all {
		if r.Stream == stream {
			return r
		}
	}
	return r
}

// these chooses streams without a look at them.
func these(streams ...string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) { return streams, nil }
}

// TestRefill: a copy with a hole, which its server takes for whole, is thrown away and filled by the others, while the connection of the server's own
// process stays what it is, and with the place of a durable consumer.
func TestRefill(t *testing.T) {
	t.Parallel()
	c := formed(t, 3)
	js := c.stream("LOG", 3, 0)
	insist(t, js, "LOG.a", 100, strings.Repeat("x", 100_000)) // of which the first block file holds some 80
	c.whole("LOG", 100, 0, 1, 2)
	consumer, err := js.CreateConsumer(t.Context(), "LOG", jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	read := func(n int) {
		t.Helper()
		eventually(t, "all messages are read once", func() bool { // its leader may be being elected
			batch, err := consumer.Fetch(n)
			if err != nil {
				return false
			}
			for m := range batch.Messages() {
				if err := m.DoubleAck(t.Context()); err != nil {
					t.Fatal(err)
				}
				n--
			}
			return n == 0
		})
	}
	read(90)
	c.stop(1)
	c.damage(1, "LOG")
	victim := c.start(1)
	eventually(t, "node2 has its copy, with a hole", func() bool { r := c.copyOf(1, "LOG"); return r.Leader != "" && r.Lacks() > 0 })
	bad := c.copyOf(1, "LOG")
	t.Logf("the server calls this copy current: %v, and it lacks %d messages", bad.Current, bad.Lacks())

	conn := victim.Conn()
	if err := victim.Refill(t.Context(), these("LOG", "NONE")); !domain.Is(err, domain.NotFound) {
		t.Errorf("a stream that is not there: %v", err)
	}
	if err := victim.Refill(t.Context(), these("LOG")); err != nil {
		t.Fatal(err)
	}
	c.whole("LOG", 100, 0, 1, 2)
	kept, err := filepath.Glob(filepath.Join(c.places[1].Dir, "quarantine", "*", "msgs", "1.blk"))
	if err != nil || len(kept) == 0 {
		t.Errorf("the bad copy was not kept: %v, %v", kept, err)
	}
	eventually(t, "the connection is there again", conn.IsConnected)
	own, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.Publish(t.Context(), "LOG.a", bytes.Repeat([]byte("x"), 1000)); err != nil {
		t.Errorf("the connection of before: %v", err)
	}
	c.whole("LOG", 101, 0, 1, 2)
	read(11) // what it has not read before, and not more

	alone := start(t, natsd.Config{Dir: t.TempDir()})
	if err := alone.Refill(context.Background(), these("LOG")); !domain.Is(err, domain.Invalid) {
		t.Errorf("a server that stands alone: %v", err)
	}
}
