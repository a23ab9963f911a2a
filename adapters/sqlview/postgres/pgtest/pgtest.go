// Package pgtest finds or starts a PostgreSQL server for tests.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a database server of this process, or one that STREAMPOST_POSTGRES_URL names.
type Server struct {
	admin string // the URL of a role that may create roles and databases
	bin   string // empty when it is not ours
	dir   string
	cmd   *exec.Cmd
	rein  io.WriteCloser // see leash
	port  int
	owner *syscall.Credential
}

// TB is what tests of package testing and of rapid have in common.
type TB interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Program is what STREAMPOST_REQUIRE has to name for tests not to be skipped.
const Program = "postgres"

var started = sync.OnceValues(start)

// Shared gives a server that all tests of the process share. Without one the test is skipped, or fails where STREAMPOST_REQUIRE asks for it.
func Shared(t TB) *Server {
	t.Helper()
	s, err := started()
	return available(t, s, err)
}

// Own gives a server that the test may stop and start. It is skipped as by Shared.
func Own(t testing.TB) *Server {
	t.Helper()
	s, err := fresh()
	s = available(t, s, err)
	t.Cleanup(s.end)
	return s
}

func available(t TB, s *Server, err error) *Server {
	t.Helper()
	if err == nil {
		return s
	}
	required := os.Getenv("STREAMPOST_REQUIRE")
	if required == "all" || slices.Contains(strings.Split(required, ","), Program) {
		t.Fatalf("PostgreSQL is required (STREAMPOST_REQUIRE=%s): %v", required, err)
	}
	t.Skipf("this test did not run, for want of PostgreSQL: %v", err)
	return nil
}

// start finds a server or makes one.
func start() (*Server, error) {
	if u := os.Getenv("STREAMPOST_POSTGRES_URL"); u != "" {
		return &Server{admin: u}, nil
	}
	return fresh()
}

// fresh makes a cluster and runs it.
func fresh() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "streampost-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir}
	if err := s.create(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// programs finds the directory of initdb and postgres.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // where Debian puts them
	if len(found) == 0 {
		return "", errors.New("initdb is not installed and STREAMPOST_POSTGRES_URL is not set")
	}
	return filepath.Dir(slices.Max(found)), nil
}

func (s *Server) create() error {
	if os.Geteuid() == 0 { // initdb refuses the superuser
		for _, name := range []string{"postgres", "nobody"} {
			if u, err := user.Lookup(name); err == nil {
				uid, _ := strconv.ParseUint(u.Uid, 10, 32)
				gid, _ := strconv.ParseUint(u.Gid, 10, 32)
				s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
				if err := os.Chown(s.dir, int(uid), int(gid)); err != nil {
					return err
				}
				break
			}
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	if out, err := s.command("initdb", "-D", s.data(), "-U", "admin", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C").CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	s.admin = fmt.Sprintf("postgres://admin@127.0.0.1:%d/postgres?sslmode=disable", s.port)
	return s.Start()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(program string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(program) {
		program = filepath.Join(s.bin, program)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return cmd
}

// leash runs a server until a line comes, which stops it at once, as a crash does, or the test process ends, however it does, which also removes its
// directory. An immediate shutdown is a SIGQUIT: https://www.postgresql.org/docs/current/server-shutdown.html
const leash = `"$@" & server=$!; read -r stay; kill -QUIT $server; wait $server; [ -n "$stay" ] || rm -rf "$0"`

// Start runs the server after Stop, and waits until it answers.
func (s *Server) Start() error {
	s.cmd = s.command("/bin/sh", "-c", leash, s.dir, filepath.Join(s.bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port), "-k", s.dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200")
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if s.rein, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.admin)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("postgres does not answer: %w\n%s", err, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server at once, as a crash does.
func (s *Server) Stop() {
	_, _ = io.WriteString(s.rein, "stay\n")
	_ = s.cmd.Wait()
}

func (s *Server) end() {
	if s.bin == "" {
		return
	}
	_ = s.rein.Close()
	_ = s.cmd.Wait()
}

var databases atomic.Int64

// Database makes an empty database that belongs to a role with the rights that ops/postgres/role.sql gives and no others, and gives its URL.
func (s *Server) Database(t TB) string {
	t.Helper()
	ctx := context.Background()
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), databases.Add(1))
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, statement := range role(t, name, "secret") {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	u, err := url.Parse(s.admin)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword(name, "secret"), "/"+name
	return u.String()
}

// role gives the statements of the operators' script, for a role and a database of another name.
func role(t TB, name, password string) (statements []string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	script, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../../../ops/postgres/role.sql"))
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(string(script)) {
		if !strings.HasPrefix(line, "--") {
			lines.WriteString(line)
		}
	}
	text := strings.NewReplacer("streampost_views", name, "streampost", name, ":password", "'"+password+"'").Replace(lines.String())
	for statement := range strings.SplitSeq(text, ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	return statements
}
