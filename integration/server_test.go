package integration

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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
	dir, err := os.MkdirTemp("", "streampost-binary-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "streampost")
	build := exec.Command("go", "build", "-tags", "failpoints", "-o", binary, "github.com/streampost/streampost/cmd/streampost")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := built(); err == nil {
		os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// server is one data directory and the process that now and then serves it.
type server struct {
	t      testing.TB
	binary string
	data   string
	offset int
	cmd    *exec.Cmd
	exited chan struct{}
	out    bytes.Buffer
}

const password = "correct horse"

// demoServer starts `serve --demo` in a fresh directory.
func demoServer(t testing.TB) *server {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, binary: binary, data: filepath.Join(t.TempDir(), "data"), offset: freeOffset(t)}
	s.start("")
	t.Cleanup(func() {
		s.kill(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("the server printed:\n%s", tail(s.out.Bytes(), 8<<10))
		}
	})
	return s
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// freeOffset finds a port offset at which none of the demo's ports is taken.
func freeOffset(t testing.TB) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		offset := l.Addr().(*net.TCPAddr).Port%20000 + 10000
		l.Close()
		free := true
		for _, port := range []int{1143, 1993, 1025, 1587, 1465, 1124, 8000} {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+offset))
			if free = err == nil; !free {
				break
			}
			l.Close()
		}
		if free {
			return offset
		}
	}
	t.Fatal("no free range of ports")
	return 0
}

func (s *server) addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port+s.offset) }

// start runs the server and waits until it is ready. crash, when not empty, is the crash point at which it is to kill itself ("name:n");
// such a server may die before it is ready, and start then returns false.
func (s *server) start(crash string) bool {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, "serve", "--demo", "--demo-password", password, "--data", s.data, "--port-offset", fmt.Sprint(s.offset))
	s.cmd.Env = append(os.Environ(), "STREAMPOST_CRASH="+crash)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
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
	s.t.Fatalf("the server is not ready after 60 s:\n%s", tail(s.out.Bytes(), 8<<10))
	return false
}

// kill sends a signal and waits for the end.
func (s *server) kill(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		s.t.Errorf("the server still runs 30 s after %v", sig)
		_ = s.cmd.Process.Kill()
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

func (s *server) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, append(args, "--data", s.data)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// clean asserts that log and views are whole.
func (s *server) clean() {
	s.t.Helper()
	s.run("log", "verify")
	s.run("projection", "verify", "--all")
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
