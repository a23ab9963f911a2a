package streams_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/streams"
)

// traced is the variable that makes TestTracedHelper do its work: the directory of its log.
const traced = "STREAMPOST_TRACED_LOG"

// TestTracedHelper is no test: TestNoAnswerBeforeTheSync runs it under strace. It appends and writes a line for each acknowledged append.
func TestTracedHelper(t *testing.T) {
	dir := os.Getenv(traced)
	if dir == "" {
		t.Skip("runs under strace only, as the child of TestNoAnswerBeforeTheSync")
	}
	n := &node{t: t, dir: dir}
	n.config.Topology.Shards = 2
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	defer n.stop()
	filler := strings.Repeat("x", 250_000)
	var wg sync.WaitGroup
	for range 4 {
		w := n.writer()
		wg.Go(func() {
			at := streams.Position{}
			for i := range 50 {
				text := "small"
				if i%2 == 0 {
					text = filler // so that blocks roll over
				}
				entry := note("%s", text)
				next, err := n.log.Append(deadline(t), w.id, at, entry)
				if err != nil {
					t.Error(err)
					return
				}
				at = next
				fmt.Fprintf(os.Stdout, "acknowledged %x\n", entry.ID)
			}
		})
	}
	wg.Wait()
}

// call is one system call of the trace: when it began and ended, in lines of the trace.
type call struct {
	begin, end int
	name, text string
}

var resumed = regexp.MustCompile(`^<\.\.\. (\w+) resumed>(.*)$`)

// parseTrace reads what strace -f wrote.
func parseTrace(t *testing.T, name string) (calls []call) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	unfinished := map[string]call{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for at := 0; lines.Scan(); at++ {
		pid, text, _ := strings.Cut(lines.Text(), " ")
		text = strings.TrimSpace(text)
		if before, open := strings.CutSuffix(text, "<unfinished ...>"); open {
			unfinished[pid] = call{begin: at, text: before}
			continue
		}
		c := call{begin: at, end: at, text: text}
		if m := resumed.FindStringSubmatch(text); m != nil {
			c = unfinished[pid]
			c.end, c.text = at, c.text+m[2]
		}
		c.name, _, _ = strings.Cut(c.text, "(")
		calls = append(calls, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

var (
	messageID = regexp.MustCompile(`Nats-Msg-Id: ?([0-9a-f]{32})`)
	answered  = regexp.MustCompile(`"acknowledged ([0-9a-f]{32})\\n"`)
	path      = regexp.MustCompile(`^\w+\(\d+<([^>]*)>`)
	opened    = regexp.MustCompile(`^openat\(.*, "([^"]*\.blk)", [^)]*O_CREAT`)
)

// TestNoAnswerBeforeTheSync traces the system calls of a process that appends: no answer is given before an fdatasync of the file has
// ended that began after the entry was written there, and before an fsync of the directory that began after the file was made.
func TestNoAnswerBeforeTheSync(t *testing.T) {
	required := strings.Contains(os.Getenv("STREAMPOST_REQUIRE"), "strace")
	strace, err := exec.LookPath("strace")
	if err != nil {
		if required {
			t.Fatal(err)
		}
		t.Skip("strace is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "trace")
	cmd := exec.CommandContext(deadline(t), strace, "-f", "-y", "-s", "300", "-o", out, "-e", "trace=pwrite64,write,openat,fsync,fdatasync",
		self, "-test.run", "^TestTracedHelper$")
	cmd.Env = append(os.Environ(), traced+"="+filepath.Join(dir, "data"))
	if text, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(text), "Operation not permitted") && !required {
			t.Skipf("strace may not trace here: %s", text)
		}
		t.Fatalf("%v: %s", err, text)
	}

	written := map[string]call{} // by message id
	syncs := map[string][]call{} // by path
	created := map[string]call{} // by path
	answers := map[string]call{} // by message id
	for _, c := range parseTrace(t, out) {
		switch c.name {
		case "openat":
			if m := opened.FindStringSubmatch(c.text); m != nil && !strings.Contains(c.text, "= -1") {
				created[m[1]] = c
			}
		case "fsync", "fdatasync":
			if m := path.FindStringSubmatch(c.text); m != nil && strings.HasSuffix(c.text, "= 0") {
				syncs[m[1]] = append(syncs[m[1]], c)
			}
		case "write", "pwrite64":
			if m := answered.FindStringSubmatch(c.text); m != nil {
				answers[m[1]] = c
			} else if p := path.FindStringSubmatch(c.text); p != nil && strings.HasSuffix(p[1], ".blk") {
				if m := messageID.FindStringSubmatch(c.text); m != nil {
					written[m[1]] = c
				}
			}
		}
	}
	if len(answers) != 200 {
		t.Fatalf("the trace has %d answers, want 200", len(answers))
	}
	between := func(name string, after, before int) bool {
		for _, s := range syncs[name] {
			if s.begin > after && s.end < before {
				return true
			}
		}
		return false
	}
	blocks := map[string]bool{}
	for id, answer := range answers {
		w, found := written[id]
		if !found {
			t.Fatalf("the trace has no write of entry %s", id)
		}
		block := path.FindStringSubmatch(w.text)[1]
		blocks[block] = true
		if !between(block, w.end, answer.begin) {
			t.Errorf("entry %s was written to %s at line %d and answered at line %d, with no sync between", id, block, w.end, answer.begin)
		}
		if made, known := created[block]; !known {
			t.Errorf("the trace does not show how %s was made", block)
		} else if !between(filepath.Dir(block), made.end, answer.begin) {
			t.Errorf("entry %s was answered at line %d, before the name of %s was durable", id, answer.begin, block)
		}
	}
	if len(blocks) < 3 {
		t.Errorf("the entries are in %d blocks: this test needs more", len(blocks))
	}
}
