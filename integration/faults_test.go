package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/ops/cluster"
	"github.com/streampost/streampost/streams/nodes"
)

// chaos is a cluster of three with clients on every node, each of which knows exactly what it was told.
type chaos struct {
	*network
	mirrors
	t *testing.T
}

// fault is something that happens to a cluster, and how it ends: afterwards all is to be well again by itself.
type fault struct {
	name  string
	short bool // it is part of what every change must pass
	do    func(*chaos)
}

// faults are told in a few lines each. c.traffic() returns when clients were served meanwhile, so who calls it says that mail goes on.
var faults = []fault{
	{"the leader is killed", false, func(c *chaos) {
		led := c.leader()
		led.kill(syscall.SIGKILL)
		c.traffic()
		c.back(led)
	}},
	{"the leader is frozen", false, func(c *chaos) {
		led := c.leader()
		c.signal(led, syscall.SIGSTOP)
		c.traffic()
		c.signal(led, syscall.SIGCONT)
	}},
	{"the leader is stopped in order", false, func(c *chaos) {
		led := c.leader()
		led.kill(syscall.SIGTERM)
		c.traffic()
		c.back(led)
	}},
	{"two of three are killed and come back", true, func(c *chaos) {
		some := c.others(c.leader())
		for _, s := range some {
			s.kill(syscall.SIGKILL)
		}
		c.back(some...)
		c.traffic()
	}},
	{"all are killed and come back", false, func(c *chaos) {
		for _, s := range c.nodes {
			s.kill(syscall.SIGKILL)
		}
		c.back(c.nodes...)
		c.traffic()
	}},
	{"the leader is cut off", false, func(c *chaos) {
		led := c.index(c.leader())
		c.cut([2]int{led, (led + 1) % 3}, [2]int{led, (led + 2) % 3})
		c.traffic()
		c.cut()
	}},
	{"two are cut off from each other, and the third is a bridge", false, func(c *chaos) {
		led := c.index(c.leader())
		c.cut([2]int{led, (led + 1) % 3})
		c.traffic()
		c.cut()
	}},
	{"nobody has a majority", false, func(c *chaos) {
		c.cut([2]int{0, 1}, [2]int{1, 2}, [2]int{0, 2})
		if got := c.nodes[1].imapAs("mirror0@example.org", "CREATE lost"); strings.Contains(got, "a1 OK ") {
			c.t.Errorf("a node without a majority acknowledges: %s", got)
		}
		c.cut()
		c.traffic()
	}},
	{"a slow network", false, func(c *chaos) {
		c.change(func(l *cable) { l.delay, l.rate = 30*time.Millisecond, 1<<20 })
		c.traffic()
		c.change(func(l *cable) { l.delay, l.rate = 0, 0 })
	}},
	{"connections that stall and break", true, func(c *chaos) { // which is what packet loss comes to on TCP
		for i := range 6 {
			c.cut([2]int{i % 3, (i + 1) % 3})
			time.Sleep(200 * time.Millisecond) // shorter than anybody's patience: what was sent comes late
			c.cut()
			c.cables[[2]int{i % 3, (i + 2) % 3}].drop()
			c.wait(c.t, 10)
		}
	}},
	{"the disk of a node is full", false, func(c *chaos) {
		s := c.nodes[2] // its data lies on a small file system
		ballast := filepath.Join(s.data, "ballast")
		brim(c.t, ballast)
		c.traffic()
		if err := os.Remove(ballast); err != nil {
			c.t.Fatal(err)
		}
		s.kill(syscall.SIGKILL) // as the operator's guide says: make room and restart the server
		c.back(s)
	}},
	{"the disk of a node is empty", false, func(c *chaos) {
		s := c.leader()
		s.kill(syscall.SIGKILL)
		c.empty(s)
		c.traffic()
		c.back(s)
	}},
	{"bits flip in a copy of the log", false, func(c *chaos) {
		c.damage(syscall.SIGKILL, ".blk", filepath.Join("log", "jetstream", "$G", "streams", "ACCOUNTS_*", "msgs", "*.blk"), flip)
	}},
	{"a copy of the log is cut short", false, func(c *chaos) {
		c.damage(syscall.SIGKILL, ".blk", filepath.Join("log", "jetstream", "$G", "streams", "ACCOUNTS_*", "msgs", "*.blk"), halve)
	}},
	{"bits flip in snapshots", false, func(c *chaos) {
		c.damage(syscall.SIGTERM, "snapshots", filepath.Join("log", "jetstream", "$SYS", "_js_", "*", "snapshots", "*"), flip)
	}},
	{"snapshots are cut short", false, func(c *chaos) {
		c.damage(syscall.SIGTERM, "snapshots", filepath.Join("log", "jetstream", "$SYS", "_js_", "*", "snapshots", "*"), halve)
	}},
	{"the clock of a node jumps by an hour, and back", false, func(c *chaos) {
		s, binary := c.leader(), c.nodes[0].binary
		jump := c.jumping(s)
		s.kill(syscall.SIGTERM)
		c.back(s)
		for _, by := range []time.Duration{time.Hour, -time.Hour} { // by two, the second time
			jump(by)
			c.traffic()
		}
		s.kill(syscall.SIGKILL) // an hour ago is when it starts, too
		c.back(s)
		c.traffic()
		jump(0)
		c.traffic()
		s.kill(syscall.SIGTERM)
		s.binary, s.env = binary, nil
		c.back(s)
	}},
	{"an upgrade, node by node", false, func(c *chaos) {
		for _, s := range c.nodes {
			s.kill(syscall.SIGTERM)
			s.env = []string{"STREAMPOST_AS_VERSION=v0.9.0"}
			c.back(s)
			c.traffic()
		}
		for _, s := range c.nodes {
			s.kill(syscall.SIGTERM)
			s.env = []string{"STREAMPOST_AS_VERSION=v0.10.0"}
			c.back(s)
			c.traffic()
		}
	}},
}

// TestFaults lets one thing after another happen to a cluster while clients on every node deliver, append, flag, move and expunge. In the end of each, every
// node shows all that was acknowledged and nothing twice, no UID stood for two messages, no MODSEQ went back, all nodes have the same rows, and every chain is whole. With
// STREAMPOST_TEST_CHAOS it is all of them, else a few.
func TestFaults(t *testing.T) {
	waits(t)
	all := os.Getenv("STREAMPOST_TEST_CHAOS") != ""
	c := &chaos{t: t, network: cabled(t, "cluster.failover.steady=1s", "cluster.failover.most=1000", "reserve=1MiB")}
	if all {
		c.small(c.nodes[2])
		_, _ = jumpingBinary() // which takes as long as thousands of messages
	}
	c.start()
	whole(t, c.nodes)
	c.begin(t, c.nodes, 4)
	c.nodes[0].run("replica", "promote", "mirror0@example.org,mirror1@example.org,mirror2@example.org,mirror3@example.org", "--to", "node1")
	for _, f := range faults {
		if !all && !f.short {
			continue
		}
		if !t.Run(f.name, func(t *testing.T) {
			c.t = t
			for _, s := range c.nodes {
				s.t = t
			}
			for _, m := range c.all {
				m.t = t
			}
			c.resume(t)
			c.traffic()
			f.do(c)
			c.settle(f.name)
		}) {
			return // what follows would be about the same
		}
	}
	for _, s := range c.nodes {
		s.t = t
		s.clean()
	}
}

// traffic returns when each client was served a few times.
func (c *chaos) traffic() {
	c.t.Helper()
	c.wait(c.t, 60)
}

// leader is the node that leads a stream of accounts. It is asked of one that lives.
func (c *chaos) leader() *server {
	c.t.Helper()
	return leading(c.t, c.nodes, "ACCOUNTS_1")
}

func (c *chaos) others(s *server) (all []*server) {
	for _, other := range c.nodes {
		if other != s {
			all = append(all, other)
		}
	}
	return all
}

func (c *chaos) signal(s *server, sig syscall.Signal) {
	c.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// back starts nodes again.
func (c *chaos) back(some ...*server) {
	c.t.Helper()
	for _, s := range some {
		s.join()
	}
	for _, s := range some {
		s.ready("")
	}
}

// settle ends the traffic, waits until all is well, and compares every node with what clients were told.
func (c *chaos) settle(when string) {
	c.t.Helper()
	began := time.Now()
	c.traffic()
	c.pause()
	for _, s := range c.nodes {
		s.ready("")
	}
	sound(c.t, c.nodes)
	c.compare(when)
	alike(c.t, c.nodes)
	for _, s := range c.nodes {
		if out, err := s.try("log", "verify"); err != nil {
			c.t.Errorf("a chain is not whole: %v\n%s", err, out)
		}
	}
	c.t.Logf("all was well after %v; %d commands were acknowledged so far", time.Since(began).Round(100*time.Millisecond), c.commands.Load())
}

// sound is whole for a cluster that was hurt: it may take longer, and what is found meanwhile is told.
func sound(t *testing.T, all []*server) {
	t.Helper()
	var findings []string
	told := map[string]bool{}
	for began := time.Now(); time.Since(began) < 4*time.Minute; time.Sleep(100 * time.Millisecond) {
		c := all[0].standing()
		if findings = c.Findings; len(findings) == 0 && len(c.Nodes) == len(all) {
			return
		}
		for _, f := range findings {
			if kind := masked([]string{f})[0]; !told[kind] {
				told[kind] = true
				t.Logf("%4.1f s after it ended the cluster still finds: %s", time.Since(began).Seconds(), f)
			}
		}
	}
	t.Fatalf("after four minutes the cluster finds %q", findings)
}

// alike is same, for nodes which may still hear of a change whose client did not wait for it.
func alike(t *testing.T, all []*server) {
	t.Helper()
	digests, said := filepath.Join(t.TempDir(), "digests"), ""
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err := os.WriteFile(digests, []byte(all[0].run("projection", "digest", "--json")), 0o600); err != nil {
			t.Fatal(err)
		}
		alike := true
		for _, s := range all[1:] {
			said, _ = s.try("projection", "digest", "--compare", digests)
			alike = alike && strings.Contains(said, " 0 differ")
		}
		if alike {
			return
		}
	}
	t.Errorf("the rows of two nodes differ: %s", said)
}

// small puts the data of a node that never ran on a file system of its own, which is small.
func (c *chaos) small(s *server) {
	dir := mount(c.t, "size=400m")
	secret, err := os.ReadFile(filepath.Join(s.data, cluster.File))
	if err != nil {
		c.t.Fatal(err)
	}
	s.data = filepath.Join(dir, "data")
	c.make(s, secret)
}

func (c *chaos) make(s *server, secret []byte) {
	c.t.Helper()
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.data, cluster.File), secret, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// empty leaves a node that does not run the secret of the cluster, and nothing else.
func (c *chaos) empty(s *server) {
	c.t.Helper()
	secret, err := os.ReadFile(filepath.Join(s.data, cluster.File))
	if err == nil {
		err = os.RemoveAll(s.data)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.make(s, secret)
}

// damage ends a node, changes files of it, and starts it again. Either the node mends itself, or it says what is bad; then its log is moved away, as the
// operator's guide says, and it gets all anew.
func (c *chaos) damage(end syscall.Signal, what, pattern string, how func([]byte) []byte) {
	c.t.Helper()
	s := c.others(c.nodes[0])[1]
	s.kill(end) // who is stopped in order leaves snapshots
	files, err := filepath.Glob(filepath.Join(s.data, pattern))
	if err != nil {
		c.t.Fatal(err)
	}
	damaged := 0
	for _, file := range files {
		octets, err := os.ReadFile(file)
		if err != nil {
			c.t.Fatal(err)
		}
		if len(octets) < 100 {
			continue
		}
		if err := os.WriteFile(file, how(octets), 0o600); err != nil {
			c.t.Fatal(err)
		}
		damaged++
	}
	if damaged == 0 {
		c.t.Fatalf("there are no %s to damage", what)
	}
	c.traffic()
	s.join()
	if c.mends(s) {
		c.t.Logf("%d %s were damaged, and the node found its way by itself", damaged, what)
		return
	}
	c.t.Logf("%d %s were damaged, and the cluster finds %q", damaged, what, c.nodes[0].standing().Findings)
	s.kill(syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(s.data, "log")); err != nil {
		c.t.Fatal(err)
	}
	c.back(s)
}

// mends waits until a node is well, or has ended, or is known to be bad.
func (c *chaos) mends(s *server) bool {
	c.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		select {
		case <-s.exited:
			return false
		default:
		}
		now := c.nodes[0].standing()
		if len(now.Nodes) == len(c.nodes) && len(now.Findings) == 0 {
			return true
		}
		for _, f := range now.Findings {
			if strings.Contains(f, "lacks") || strings.Contains(f, "have a copy of") && len(now.Nodes) == len(c.nodes) {
				return false
			}
		}
	}
	return false
}

func flip(octets []byte) []byte {
	octets[len(octets)/2] ^= 1
	return octets
}

func halve(octets []byte) []byte { return octets[:len(octets)/2] }

// jumpingBinary is the program whose clock is ahead by as many seconds as the file says that STREAMPOST_TEST_CLOCK names, from when they are written there, whoever
// asks it, the NATS server among them: package time is compiled with a few lines more. libfaketime reaches no Go program, and no production code needs to know of this.
var jumpingBinary = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	changed := string(text)
	for old, more := range map[string]string{"sec, nsec, mono := runtimeNow()\n": "sec, nsec, mono := runtimeNow()\n\tsec += *jump\n", "\t_ \"unsafe\"": "\t\"syscall\"\n\t\"unsafe\""} {
		if strings.Count(changed, old) != 1 {
			return "", fmt.Errorf("%s does not have one line %q", source, old)
		}
		changed = strings.Replace(changed, old, more, 1)
	}
	changed += `
var jump = func() *int64 {
	name, ok := syscall.Getenv("STREAMPOST_TEST_CLOCK")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		panic(err)
	}
	octets, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&octets[0]))
}()
`
	dir, err := os.MkdirTemp("", "jumping-")
	if err != nil {
		return "", err
	}
	scratchMu.Lock()
	scratch = append(scratch, dir)
	scratchMu.Unlock()
	mine, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(mine, []byte(changed), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, source, mine), 0o600); err != nil {
		return "", err
	}
	return compile("jumping", "-overlay", overlay, "-tags", "failpoints", "github.com/streampost/streampost/cmd/streampost")
})

// jumping has a node run with another clock from its next start, and gives what makes that one differ from everybody else's by so much.
func (c *chaos) jumping(s *server) (jump func(time.Duration)) {
	c.t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		c.t.Skip("there is no go command: this test did not run")
	}
	program, err := jumpingBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	clock := filepath.Join(c.t.TempDir(), "clock")
	if err := os.WriteFile(clock, make([]byte, 8), 0o600); err != nil {
		c.t.Fatal(err)
	}
	s.binary, s.env = program, []string{"STREAMPOST_TEST_CLOCK=" + clock}
	return func(by time.Duration) {
		f, err := os.OpenFile(clock, os.O_WRONLY, 0) // what is mapped must not become shorter
		if err == nil {
			_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(by/time.Second))), 0)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			c.t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			now := c.others(s)[0].standing()
			if slices.ContainsFunc(now.Nodes, func(n nodes.Status) bool { return n.Node == name(c.nodes, s) && (n.Skew-by).Abs() < time.Minute }) {
				return
			}
			if time.Now().After(deadline) {
				c.t.Fatalf("nobody sees a clock jump by %v, but %+v", by, now.Nodes)
			}
		}
	}
}
