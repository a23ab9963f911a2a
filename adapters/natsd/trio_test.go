package natsd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/integration/ports"
	"github.com/streampost/streampost/ops/cluster"
)

// trio is a cluster of servers in this process. A place is an address and a directory; a server may come and go there.
type trio struct {
	t       *testing.T
	secret  cluster.Secret
	places  []natsd.Config
	servers []*natsd.Server
}

// long skips a test that waits for elections, unless it is asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("STREAMPOST_TEST_REPLICAS") == "" {
		t.Skip("STREAMPOST_TEST_REPLICAS is not set")
	}
	t.Parallel()
}

func newSecret() cluster.Secret { return cluster.New() }

// formed starts n servers and waits until they have a leader.
func formed(t *testing.T, n int) *trio {
	t.Helper()
	c := &trio{t: t, secret: newSecret()}
	var seeds []string
	for range n {
		seeds = append(seeds, unused(t))
	}
	for i, address := range seeds {
		c.place(fmt.Sprintf("node%d", i+1), address, seeds...)
	}
	for i := range c.places {
		c.start(i)
	}
	c.gathered(n)
	return c
}

// unused is an address that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", ports.Free(t))
}

// place adds a server that does not run yet.
func (c *trio) place(name, address string, seeds ...string) (index int) {
	c.t.Helper()
	secret, err := c.secret.TLS()
	if err != nil {
		c.t.Fatal(err)
	}
	c.places = append(c.places, natsd.Config{
		Dir:     filepath.Join(c.t.TempDir(), name),
		Cluster: &natsd.Cluster{Node: name, Listen: address, Seeds: seeds, TLS: secret},
	})
	c.servers = append(c.servers, nil)
	return len(c.places) - 1
}

func (c *trio) start(i int) *natsd.Server {
	c.t.Helper()
	s, err := natsd.Start(c.t.Context(), c.places[i])
	if err != nil {
		c.t.Fatal(err)
	}
	c.servers[i] = s
	c.t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func (c *trio) stop(i int) {
	c.t.Helper()
	if err := c.servers[i].Close(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	c.servers[i] = nil
}

// running are the servers that run.
func (c *trio) running() (all []*natsd.Server) {
	for _, s := range c.servers {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 3 minutes it is not so that %s", what)
		}
	}
}

// gathered waits until n servers are there and know who leads.
func (c *trio) gathered(n int) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%d servers are there and one leads", n), func() bool {
		for _, s := range c.running() {
			if g := s.Gathered(); g.Leader == "" || len(g.Nodes) != n {
				return false
			}
		}
		return true
	})
}

// stream makes one with copies on several servers, and writes to it.
func (c *trio) stream(name string, copies, messages int) jetstream.JetStream {
	c.t.Helper()
	js, err := jetstream.New(c.running()[0].Conn())
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Replicas: copies, DenyDelete: true, DenyPurge: true}
	eventually(c.t, "there is room for "+name, func() bool { // servers that came a moment ago may not be known well enough yet
		_, err := js.CreateStream(c.t.Context(), cfg)
		return err == nil
	})
	insist(c.t, js, name+".a", messages, "message")
	return js
}

// insist writes n messages, each once, however often that has to be tried while a stream elects a leader.
func insist(t *testing.T, js jetstream.JetStream, subject string, n int, text string) {
	t.Helper()
	for i := range n {
		eventually(t, "a message is stored", func() bool {
			_, err := js.Publish(t.Context(), subject, []byte(text), jetstream.WithMsgID(fmt.Sprint(subject, n, i)))
			return err == nil
		})
	}
}

// leads is who leads a stream, in the words of one server.
func leads(t *testing.T, s *natsd.Server, stream string) string {
	t.Helper()
	all, err := s.Replicas()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Stream == stream {
			return r.Leader
		}
	}
	return ""
}
