package integration

import (
	"crypto/tls"
	"fmt"
	"github.com/streampost/streampost/integration/ports"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// natsServer is the nats-server of go.mod, built as its own program once for all tests.
var natsServer = sync.OnceValues(func() (string, error) {
	return compile("nats-server", "github.com/nats-io/nats-server/v2")
})

// natsProcess is a nats-server in a process of its own, and a directory that outlives it.
type natsProcess struct {
	t             testing.TB
	binary, dir   string
	name          string
	port, monitor int
	jetstream     string // members of that section; "-" for a server without it
	payload       string // max_payload
	more          string // of its configuration
	secure        bool   // monitoring over TLS; see tls in more
	cmd           *exec.Cmd
	exited        chan struct{}
}

// newNATS prepares a server that lets in whom more, a part of its configuration, lets in. Its JetStream syncs before it answers.
func newNATS(t testing.TB, more string) *natsProcess {
	t.Helper()
	binary, err := natsServer()
	if err != nil {
		t.Fatal(err)
	}
	return &natsProcess{
		t: t, binary: binary, dir: t.TempDir(), name: "outside", port: ports.Free(t), monitor: ports.Free(t),
		jetstream: "sync_interval: always", payload: "8MB", more: more,
	}
}

// startNATS prepares a server, changed by the options, and starts it.
func startNATS(t testing.TB, more string, options ...func(*natsProcess)) *natsProcess {
	t.Helper()
	n := newNATS(t, more)
	for _, o := range options {
		o(n)
	}
	n.start()
	return n
}

// config is written anew at each start, so that a test may change its mind between.
func (n *natsProcess) config() string {
	text := fmt.Sprintf("server_name: %s\nlisten: \"127.0.0.1:%d\"\n%s: \"127.0.0.1:%d\"\nmax_payload: %s\n", n.name, n.port, n.scheme(), n.monitor, n.payload)
	if n.jetstream != "-" {
		text += fmt.Sprintf("jetstream { store_dir: %q, %s }\n", filepath.Join(n.dir, "store"), n.jetstream)
	}
	return text + n.more + "\n"
}

// launch starts the server and does not wait for it: one of a cluster is ready when the others are.
func (n *natsProcess) launch() {
	n.t.Helper()
	file := filepath.Join(n.dir, "nats.conf")
	if err := os.WriteFile(file, []byte(n.config()), 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.cmd = exec.Command(n.binary, "-c", file, "-l", filepath.Join(n.dir, "nats.log"))
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) { _ = cmd.Wait(); close(exited) }(n.cmd, n.exited)
	n.t.Cleanup(n.kill)
}

func (n *natsProcess) start() {
	n.t.Helper()
	n.launch()
	n.ready("")
}

// ready waits until the server is healthy by its own word, in what query asks about.
func (n *natsProcess) ready(query string) {
	n.t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		answer, err := client.Get(n.address() + "/healthz" + query)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-n.exited:
			deadline = time.Now()
		default:
		}
		if !time.Now().Before(deadline) {
			said, _ := os.ReadFile(filepath.Join(n.dir, "nats.log"))
			n.t.Fatalf("the nats-server is not ready: %v\n%s", err, tail(said, 4<<10))
		}
	}
}

// kill ends the server as a power failure would, only that the kernel keeps what was written.
func (n *natsProcess) kill() { n.signal(syscall.SIGKILL); <-n.exited }

// signal stops and continues the server: to its clients, one that is stopped looks like a machine that hangs.
func (n *natsProcess) signal(s syscall.Signal) { _ = n.cmd.Process.Signal(s) }

func (n *natsProcess) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }
func (n *natsProcess) address() string {
	return fmt.Sprintf("%s://127.0.0.1:%d", n.scheme(), n.monitor)
}

func (n *natsProcess) scheme() string {
	if n.secure {
		return "https"
	}
	return "http"
}

// flags make a Streampost keep its log there. Each of more is a member of streams, such as "user=streampost".
func (n *natsProcess) flags(more ...string) []string {
	return settings(append([]string{"url=" + n.url(), "monitor=" + n.address()}, more...)...)
}

func settings(streams ...string) (flags []string) {
	for _, s := range streams {
		flags = append(flags, "--set", "streams."+s)
	}
	return flags
}
