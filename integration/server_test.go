package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/integration/ports"
)

// built is the binary under test, with its crash points, made once for all tests.
var built = sync.OnceValues(func() (string, error) {
	// go test remembers which files a test looked at, and runs it again when they change: the sources of the binary must be among them.
	if err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		return err
	}); err != nil {
		return "", err
	}
	return compile("streampost", "-tags", "failpoints", "github.com/streampost/streampost/cmd/streampost")
})

// scratch is what goes when all tests are done.
var (
	scratchMu sync.Mutex
	scratch   []string
)

// compile builds a program in a directory of its own.
func compile(name string, args ...string) (string, error) {
	dir, err := os.MkdirTemp("", name+"-binary-")
	if err != nil {
		return "", err
	}
	scratchMu.Lock()
	scratch = append(scratch, dir)
	scratchMu.Unlock()
	binary := filepath.Join(dir, name)
	build := exec.Command("go", append([]string{"build", "-o", binary}, args...)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return binary, nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range scratch {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// server is one data directory and the process that now and then serves it.
type server struct {
	t      testing.TB
	binary string
	data   string
	dir    string // that it runs in; empty for the test's own
	offset int
	flags  []string // more of them for serve
	cmd    *exec.Cmd
	exited chan struct{}
	out    printed

	views    string   // URL of the database that keeps the views; empty for files
	env      []string // more of it
	versions string   // projections whose version is to be another, see cmd/streampost/failpoint_crash.go
}

const password = "correct horse"

// printed is what a process printed so far.
type printed struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) Bytes() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.text.Bytes())
}

func (p *printed) String() string { return string(p.Bytes()) }

// demoServer starts `serve --demo` in a fresh directory.
func demoServer(t testing.TB) *server {
	t.Helper()
	s := idleServer(t)
	s.start("")
	return s
}

// idleServer has a directory that is not there yet, and does not run.
func idleServer(t testing.TB) *server {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, binary: binary, data: filepath.Join(t.TempDir(), "data"), offset: ports.FreeOffset(t)}
	if storetest.Postgres() {
		s.views = storetest.URL(t, s.data)
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill(syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("the server printed:\n%s", tail(s.out.Bytes(), 8<<10))
		}
	})
	return s
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func (s *server) addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port+s.offset) }

// start runs the server and waits until it is ready. crash, when not empty, is the crash point at which it is to kill itself ("name:n");
// such a server may die before it is ready, and start then returns false.
func (s *server) start(crash string) bool {
	s.t.Helper()
	s.launch(crash)
	return s.ready(crash)
}

// serve runs the server with other arguments.
func (s *server) serve(args ...string) {
	s.t.Helper()
	s.launchWith("", args...)
	s.ready("")
}

// ready waits until the server is.
func (s *server) ready(crash string) bool {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
		if answer, err := http.Get("http://" + s.addr(8000) + "/readyz"); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-s.exited:
			if crash == "" {
				s.t.Fatalf("the server ended before it was ready:\n%s", tail(s.out.Bytes(), 8<<10))
			}
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.t.Fatalf("the server is not ready after 3 minutes:\n%s", tail(s.out.Bytes(), 8<<10))
	return false
}

// launch runs the server.
func (s *server) launch(crash string) {
	s.t.Helper()
	s.launchWith(crash, append([]string{"serve", "--demo", "--demo-password", password, "--data", s.data}, s.flags...)...)
}

func (s *server) launchWith(crash string, args ...string) {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, append(args, "--port-offset", fmt.Sprint(s.offset))...)
	s.cmd.Dir = s.dir
	s.cmd.Env = append(os.Environ(), "STREAMPOST_CRASH="+crash, "STREAMPOST_VERSIONS="+s.versions, "STREAMPOST_VIEWS_URL="+s.views)
	s.cmd.Env = append(s.cmd.Env, s.env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
}

// dies waits until the process has died at a crash point, and kills it if it does not in time.
func (s *server) dies(crash string, within time.Duration) {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(within):
		s.t.Errorf("crash point %s was not reached", crash)
		s.kill(syscall.SIGKILL)
	}
}

// kill sends a signal and waits for the end.
func (s *server) kill(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.exited:
	case <-time.After(2 * time.Minute):
		s.t.Errorf("the server still runs 2 minutes after %v", sig)
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // which prints what it waits for
		<-s.exited
	}
}

// run runs a subcommand against the server and gives what it printed.
func (s *server) run(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("streampost %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *server) try(args ...string) (string, error) { return s.tryWith(nil, args...) }

func (s *server) tryWith(stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, append(args, "--data", s.data)...)
	cmd.Env, cmd.Stdin = append(os.Environ(), s.env...), stdin
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// clean asserts that log and views are whole.
func (s *server) clean() {
	s.t.Helper()
	s.run("log", "verify")
	s.run("projection", "verify", "--all")
	s.run("projection", "count", "--all")
}

// need skips the test when a program is missing, or fails it when the environment requires the program.
func need(t testing.TB, programs ...string) {
	t.Helper()
	required := os.Getenv("STREAMPOST_REQUIRE")
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if required == "all" || strings.Contains(","+required+",", ","+p+",") {
			t.Fatalf("%s is required (STREAMPOST_REQUIRE=%s) but not installed", p, required)
		}
		t.Skipf("%s is not installed: this test did not run", p)
	}
}
