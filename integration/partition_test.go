package integration

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// cable is what routes from one node to another run through. While it is cut nothing arrives, and neither end is told.
type cable struct {
	net.Listener
	to string

	mu    sync.Mutex
	whole *sync.Cond
	cut   bool
	ended bool
	delay time.Duration // of every octet, in each direction
	rate  int           // octets a second, in each direction and for each connection; 0: all that come
	ends  map[net.Conn]bool
}

func lay(t testing.TB, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: l, to: to, ends: map[net.Conn]bool{}}
	c.whole = sync.NewCond(&c.mu)
	t.Cleanup(func() {
		_ = l.Close()
		c.set(func() { c.ended = true })
		c.drop()
	})
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go c.join(in)
		}
	}()
	return c
}

func (c *cable) set(change func()) {
	c.mu.Lock()
	change()
	c.mu.Unlock()
	c.whole.Broadcast()
}

// wait returns while the cable is whole; false when the test is over.
func (c *cable) wait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.cut && !c.ended {
		c.whole.Wait()
	}
	return !c.ended
}

// drop breaks all connections, which both ends are told.
func (c *cable) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for end := range c.ends {
		_ = end.Close()
	}
}

func (c *cable) join(in net.Conn) {
	defer in.Close()
	if !c.wait() {
		return
	}
	c.mu.Lock()
	to := c.to
	c.mu.Unlock()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	c.set(func() { c.ends[in], c.ends[out] = true, true })
	defer c.set(func() { delete(c.ends, in); delete(c.ends, out) })
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			defer func() { done <- struct{}{} }()
			c.carry(way[0], way[1])
		}()
	}
	<-done // then both are closed
}

// parcel is octets on their way.
type parcel struct {
	octets []byte
	due    time.Time
}

// carry passes octets on in one direction, late and slowly where that is wanted. What is under way does not hold up what follows.
func (c *cable) carry(from, to net.Conn) {
	way := make(chan parcel, 256)
	defer close(way)
	go func() {
		defer to.Close()
		for p := range way {
			time.Sleep(time.Until(p.due))
			if !c.wait() {
				continue
			}
			if _, err := to.Write(p.octets); err != nil {
				_ = from.Close()
			}
		}
	}()
	for {
		octets := make([]byte, 64<<10)
		n, err := from.Read(octets)
		if err != nil {
			return
		}
		c.mu.Lock()
		delay, rate := c.delay, c.rate
		c.mu.Unlock()
		next := time.Now()
		if rate > 0 {
			next = next.Add(time.Duration(n) * time.Second / time.Duration(rate))
			time.Sleep(time.Until(next))
		}
		way <- parcel{octets[:n], next.Add(delay)}
	}
}

// network is a cluster whose nodes reach each other through cables only.
type network struct {
	nodes  []*server
	cables map[[2]int]*cable // from, to
}

func wired(t *testing.T, flags ...string) *network {
	t.Helper()
	n := cabled(t, flags...)
	n.start()
	return n
}

// cabled is a network of which no node runs.
func cabled(t *testing.T, flags ...string) *network {
	t.Helper()
	n := &network{nodes: formed(t, 3, flags...), cables: map[[2]int]*cable{}}
	for i, s := range n.nodes {
		// What a node tells the others of its address leads nowhere, so that they use the cables.
		s.flags = append(s.flags[:4+2*len(flags):4+2*len(flags)], "--set", "cluster.advertise=127.0.0.1:9")
		for j, other := range n.nodes {
			if i != j {
				c := lay(t, other.addr(6222))
				n.cables[[2]int{i, j}] = c
				s.flags = append(s.flags, "--join", c.Addr().String())
			}
		}
	}
	return n
}

func (n *network) start() {
	n.nodes[0].launch("")
	for _, s := range n.nodes[1:] {
		s.join()
	}
	for _, s := range n.nodes {
		s.ready("")
	}
}

// change changes all cables.
func (n *network) change(how func(*cable)) {
	for _, c := range n.cables {
		c.set(func() { how(c) })
	}
}

// cut separates pairs of nodes, and heals all others.
func (n *network) cut(pairs ...[2]int) {
	for ends, c := range n.cables {
		c.set(func() {
			c.cut = false
			for _, p := range pairs {
				c.cut = c.cut || ends == p || ends == [2]int{p[1], p[0]}
			}
		})
	}
}

func (n *network) index(s *server) int {
	for i := range n.nodes {
		if n.nodes[i] == s {
			return i
		}
	}
	return -1
}

// TestClusterPartitions cuts nodes off while mail comes in on all of them: the one that leads, two from each other with the third between, and each from
// each. Who is cut off puts senders off, for now; nothing that was acknowledged is lost, nothing is there twice, and in the end all have the same rows.
func TestClusterPartitions(t *testing.T) {
	waits(t)
	n := wired(t, "blobs.kind=jetstream", "cluster.failover.mode=off") // who is primary is up to this test
	whole(t, n.nodes)
	load := newLoad(n.nodes[0])
	for w := range 6 {
		load.on(n.nodes[w%3], w)
	}
	load.wait(50)

	led := n.index(leading(t, n.nodes, "ACCOUNTS_1"))
	a, b := (led+1)%3, (led+2)%3
	name := func(i int) string { return fmt.Sprintf("node%d", i+1) }
	n.nodes[led].run("replica", "promote", "alice@example.org", "--to", name(led))
	open := n.nodes[led].seat(t, "alice@example.org")
	began := time.Now()
	n.cut([2]int{led, a}, [2]int{led, b})
	if got := n.nodes[a].within("the majority goes on", "k1"); got != "" {
		t.Error(got)
	}
	// Whoever is cut off believes to be the primary, and so does the one that is promoted now; only one of them can write.
	if out := n.nodes[a].run("replica", "promote", "alice@example.org", "--to", name(a)); !strings.Contains(out, "(epoch ") {
		t.Errorf("the promotion says %s", out)
	}
	t.Logf("with its leader cut off, the majority went on after %v", time.Since(began).Round(time.Millisecond))
	// What the one that is cut off acknowledges would be lost or diverge.
	var refusals sync.WaitGroup
	for _, command := range []string{"CREATE lost", "APPEND INBOX {15+}\r\nSubject: lost\r\n"} {
		refusals.Go(func() {
			if got := n.nodes[led].imap(command); !strings.Contains(got, "a1 NO [UNAVAILABLE]") {
				t.Errorf("the stale primary answers %s with %s", command, got)
			}
		})
	}
	refusals.Go(func() {
		if err := open.do("STORE 1 +FLAGS (lost)"); err == nil || !strings.Contains(err.Error(), "x NO [UNAVAILABLE]") {
			t.Errorf("the stale primary says of a flag: %v", err)
		}
	})
	refusals.Go(func() {
		if got := n.nodes[led].deliver("lost"); !strings.HasPrefix(got, "451 ") {
			t.Errorf("the stale primary answers a delivery with %s", got)
		}
	})
	refusals.Wait()
	n.cut()
	if got := n.nodes[led].within("the one that was cut off comes back", "k2"); got != "" {
		t.Error(got)
	}

	n.cut([2]int{a, b}) // a bridge: led sees both
	load.wait(50)
	n.cut([2]int{0, 1}, [2]int{1, 2}, [2]int{0, 2}) // nobody has a majority
	// What is sent now may count once all meet again: nobody knows, and nobody is told that it does.
	if got := n.nodes[a].imap("SELECT INBOX", "STORE 1 +FLAGS (perhaps)"); strings.Contains(got, "a2 OK ") {
		t.Errorf("a node without a majority acknowledges: %s", got)
	}
	n.cut()
	if got := n.nodes[b].within("all meet again", "k3"); got != "" {
		t.Error(got)
	}
	load.wait(50)
	load.end()
	whole(t, n.nodes)
	same(t, n.nodes)
	for _, s := range n.nodes {
		got := s.imap("SELECT INBOX", "FETCH 1 (FLAGS)")
		if got := s.imap("STATUS lost (MESSAGES)"); !strings.Contains(got, "a1 NO ") {
			t.Errorf("a mailbox that was refused is there: %s", got)
		}
		if got := s.imap("SELECT INBOX", "SEARCH OR KEYWORD lost SUBJECT lost"); !strings.Contains(got, "* SEARCH\r\n") {
			t.Errorf("what was refused is there: %s", got)
		}
		if out := s.run("account", "show", "alice@example.org"); !strings.Contains(out, "primary    "+name(a)) {
			t.Errorf("a node does not show the new primary: %s", out)
		}
		for _, keyword := range []string{"k1", "k2", "k3"} {
			if !strings.Contains(got, keyword) {
				t.Errorf("%s, which was acknowledged, is not in %s", keyword, got)
			}
		}
	}
}

// within stores a keyword until that is acknowledged, for three minutes at most.
func (s *server) within(what, keyword string) string {
	got := ""
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got = s.imap("SELECT INBOX", "STORE 1 +FLAGS ("+keyword+")"); strings.Contains(got, "a2 OK ") {
			return ""
		}
	}
	return fmt.Sprintf("%s: after three minutes a STORE is answered %s", what, got)
}
