package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/integration/ports"
	"github.com/streampost/streampost/ops/config"
)

var update = flag.Bool("update", false, "write the pages in docs/ that are made from the program")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"streampost": main})
}

// TestScripts tells one story per file in testdata.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("OFFSET", strconv.Itoa(ports.FreeOffset(t)))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready,
			"exits": exits,
			"post":  post,
			"hold":  hold,
			"hears": hears,
			"lose":  lose,
			"rest":  rest,
			"tells": tells,
			"boxid": boxid,
			"waits": waits,
			"flip":  flip,
			"fifo":  fifo,

			"submit":   submit,
			"queued":   queued,
			"parked":   parkedAt,
			"hook":     startHook,
			"says":     says,
			"receiver": receiver,
			"received": received,
			"exported": exportedFiles,
			"inbox":    inbox,
			"transfer": transfer,
			"first":    first,
			"peer":     peer,
			"got":      got,
			"shows":    shows,
		},
	})
}

// rest asks the server of a data directory and checks what it answers: rest DATA METHOD PATH STATUS TEXT [BODY]
func rest(ts *testscript.TestScript, _ bool, args []string) {
	body := ""
	if len(args) > 5 {
		body = args[5]
	}
	status, text := asked(ts, args[0], args[1], args[2], body)
	if strconv.Itoa(status) != args[3] || !strings.Contains(text, args[4]) {
		ts.Fatalf("%s %s answered %d %s, want %s with %s", args[1], args[2], status, text, args[3], args[4])
	}
}

// tells orders a task and waits for it, and checks what it tells in the end: tells DATA METHOD PATH TEXT...
func tells(ts *testscript.TestScript, _ bool, args []string) {
	status, text := asked(ts, args[0], args[1], args[2], "")
	var order webadmin.Submitted
	if err := json.Unmarshal([]byte(text), &order); err != nil || status != http.StatusCreated {
		ts.Fatalf("%s %s answered %d %s", args[1], args[2], status, text)
	}
	_, text = asked(ts, args[0], "GET", "/tasks/"+string(order.ID)+"/await?timeout=2min", "")
	for _, want := range args[3:] {
		if !strings.Contains(text, want) {
			ts.Fatalf("%s %s: the task lacks %s: %s", args[1], args[2], want, text)
		}
	}
	ts.Setenv("TASK", string(order.ID))
}

// boxid puts the mailboxId of a mailbox into a variable, and the id of its account into ACCOUNT: boxid DATA USER MAILBOX NAME
func boxid(ts *testscript.TestScript, _ bool, args []string) {
	_, text := asked(ts, args[0], "GET", "/users/"+args[1]+"/mailboxes", "")
	found := regexp.MustCompile(`"mailboxName":"` + regexp.QuoteMeta(args[2]) + `","mailboxId":"([^"]+)"`).FindStringSubmatch(text)
	if found == nil {
		ts.Fatalf("there is no mailbox %s in %s", args[2], text)
	}
	ts.Setenv(args[3], found[1])
	account, _, _ := strings.Cut(strings.TrimPrefix(found[1], "F"), "-")
	ts.Setenv("ACCOUNT", account)
}

func asked(ts *testscript.TestScript, data, method, path, body string) (status int, text string) {
	access, err := readAccess(ts.MkAbs(data))
	ts.Check(err)
	req, err := http.NewRequest(method, access.URL+path, strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Password", access.Token)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	ts.Check(err)
	return resp.StatusCode, string(all)
}

// waits waits until the server of a data directory has no open task: waits DATA
func waits(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		_, waiting := asked(ts, args[0], "GET", "/tasks?status=waiting", "")
		_, running := asked(ts, args[0], "GET", "/tasks?status=inProgress", "")
		if strings.TrimSpace(waiting) == "[]" && strings.TrimSpace(running) == "[]" {
			return
		}
	}
	ts.Fatalf("there are open tasks after a minute")
}

// shows waits until the answer to a GET holds a text: shows DATA PATH TEXT
func shows(ts *testscript.TestScript, _ bool, args []string) {
	text := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, text = asked(ts, args[0], "GET", args[1], ""); strings.Contains(text, args[2]) {
			return
		}
	}
	ts.Fatalf("GET %s never told %s: %s", args[1], args[2], text)
}

// ready waits until the server at $OFFSET answers /readyz.
func ready(ts *testscript.TestScript, _ bool, _ []string) {
	offset, err := strconv.Atoi(ts.Getenv("OFFSET"))
	ts.Check(err)
	url := fmt.Sprintf("http://127.0.0.1:%d/readyz", 8000+offset)
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	ts.Fatalf("the server is not ready after three minutes")
}

// fifo makes a named pipe that nobody writes to: fifo NAME
func fifo(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o600))
}

// exits runs streampost and checks its exit code: exits CODE ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits code args...")
	}
	err := ts.Exec("streampost", args[1:]...)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// post delivers a message over LMTP at $OFFSET: post RCPT FILE
func post(ts *testscript.TestScript, _ bool, args []string) {
	offset, err := strconv.Atoi(ts.Getenv("OFFSET"))
	ts.Check(err)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", 1124+offset))
	ts.Check(err)
	defer c.Close()
	ts.Check(c.SetDeadline(time.Now().Add(3 * time.Minute)))
	body := strings.ReplaceAll(ts.ReadFile(args[1]), "\n", "\r\n")
	_, err = fmt.Fprintf(c, "LHLO test\r\nMAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\n", args[0])
	ts.Check(err)
	var got bytes.Buffer
	read := func(until string) {
		for !strings.Contains(got.String(), until) {
			piece := make([]byte, 4096)
			n, err := c.Read(piece)
			got.Write(piece[:n])
			if err != nil {
				ts.Fatalf("%v after %s", err, got.String())
			}
		}
	}
	read("\r\n354 ")
	_, err = fmt.Fprintf(c, "%s.\r\nQUIT\r\n", body)
	ts.Check(err)
	read("\r\n221 ")
	if !strings.Contains(got.String(), "\r\n250 2.0.0") && !strings.Contains(got.String(), "\r\n250 2.1.5") {
		ts.Fatalf("the message was not accepted: %s", got.String())
	}
}

// hold opens a connection to a port of the server, shifted by $OFFSET, and reads its greeting: hold NAME PORT
func hold(ts *testscript.TestScript, _ bool, args []string) {
	offset, err := strconv.Atoi(ts.Getenv("OFFSET"))
	ts.Check(err)
	port, err := strconv.Atoi(args[1])
	ts.Check(err)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port+offset))
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	ts.Check(c.SetDeadline(time.Now().Add(3 * time.Minute)))
	greeting := make([]byte, 4096)
	_, err = c.Read(greeting)
	ts.Check(err)
	held.Store(ts.Getenv("WORK")+args[0], c)
}

// held are the connections of all scripts, which run at the same time.
var held sync.Map

// hears reads a held connection to its end and looks for a text: hears NAME TEXT
func hears(ts *testscript.TestScript, _ bool, args []string) {
	c, ok := held.Load(ts.Getenv("WORK") + args[0])
	if !ok {
		ts.Fatalf("no connection is called %s", args[0])
	}
	rest, err := io.ReadAll(c.(net.Conn))
	if err != nil || !strings.Contains(string(rest), args[1]) {
		ts.Fatalf("%s heard %q, then %v", args[0], rest, err)
	}
}

// lose cuts the last entries off a stream's files, as a disk that lies about its writes does: lose DATA STREAM
func lose(ts *testscript.TestScript, _ bool, args []string) {
	dir := filepath.Join(ts.MkAbs(args[0]), "log", "jetstream", "$G", "streams", args[1], "msgs")
	blocks, err := filepath.Glob(filepath.Join(dir, "*.blk"))
	ts.Check(err)
	if len(blocks) == 0 {
		ts.Fatalf("%s has no blocks", dir)
	}
	for _, name := range blocks {
		info, err := os.Stat(name)
		ts.Check(err)
		ts.Check(os.Truncate(name, info.Size()/2))
	}
	ts.Check(os.Remove(filepath.Join(dir, "index.db")))
}

// flip turns one bit in the first block of a stream over: flip DATA STREAM OFFSET
func flip(ts *testscript.TestScript, _ bool, args []string) {
	name := filepath.Join(ts.MkAbs(args[0]), "log", "jetstream", "$G", "streams", args[1], "msgs", "1.blk")
	content, err := os.ReadFile(name)
	ts.Check(err)
	at, err := strconv.Atoi(args[2])
	ts.Check(err)
	content[at] ^= 4
	ts.Check(os.WriteFile(name, content, 0o600))
}

// The pages in docs/ that are made from the program say what it says.
func TestGeneratedPages(t *testing.T) {
	for name, write := range generated {
		var want bytes.Buffer
		if err := write(&want); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("docs/%s is not what the program says: run go test ./cmd/streampost -update (%v)", name, err)
		}
	}
}

// No limit of an adapter is left out of the configuration: every field of every Limits is set by the defaults.
func TestEveryLimitIsConfigured(t *testing.T) {
	c := config.Default()
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		for i := range v.NumField() {
			field := path + "." + v.Type().Field(i).Name
			if f := v.Field(i); f.Kind() == reflect.Struct {
				check(field, f)
			} else if f.IsZero() {
				t.Errorf("%s has no key in the configuration", field)
			}
		}
	}
	check("imap", reflect.ValueOf(imapLimits(c.IMAP.Limits)))
	check("managesieve", reflect.ValueOf(manageSieveLimits(c.ManageSieve.Limits)))
	check("pop3", reflect.ValueOf(pop3Limits(c.POP3.Limits)))
	check("smtp", reflect.ValueOf(smtpLimits(c.SMTP.Limits)))
	check("submission", reflect.ValueOf(smtpLimits(c.Submission.Limits)))
	check("lmtp", reflect.ValueOf(smtpLimits(c.LMTP.Limits)))
}
