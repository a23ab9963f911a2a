package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var updateWalkthroughs = flag.Bool("update", false, "write what commands print into docs/walkthroughs.md")

// TestWalkthroughs runs the commands of docs/walkthroughs.md one after the other, each as it stands there, and compares what they print but for numbers, ids and
// widths of columns. Comments in the page say which node dies and which one comes back.
func TestWalkthroughs(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_CHAOS") == "" {
		t.Skip("STREAMPOST_TEST_CHAOS is not set: this test did not run")
	}
	const page = "../docs/walkthroughs.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	all := startNodes(t, "cluster.failover.mode=advise", "cluster.failover.steady=1s")
	steady(t, all)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "accounts"), "alice@example.org\nbob@example.org\n")
	node := func(line string) *server {
		var n int
		if _, err := fmt.Sscanf(line[strings.Index(line, "node"):], "node%d", &n); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return all[n-1]
	}
	var out, printed, shown []string // the page as it would be, what the last command printed, and what the page has of it
	inside := false
	end := func() {
		if !*updateWalkthroughs && !slices.Equal(masked(printed), masked(shown)) {
			t.Errorf("the page has\n%s\nand the command printed\n%s", strings.Join(shown, "\n"), strings.Join(printed, "\n"))
		}
		printed, shown = nil, nil
	}
	for _, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "```console":
			inside = true
		case line == "```":
			inside = false
			end()
		case strings.HasPrefix(line, "<!-- kill "):
			node(line).kill(syscall.SIGKILL)
			if got := all[0].within("the others go on", "k1"); got != "" {
				t.Fatal(got)
			}
		case strings.HasPrefix(line, "<!-- start "):
			s := node(line)
			s.join()
			s.ready("")
			steady(t, all)
		case inside && strings.HasPrefix(line, "$ streampost "):
			end()
			cmd := exec.Command(all[0].binary, append(strings.Fields(line)[2:], "--data", all[0].data)...)
			cmd.Dir = dir
			said, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", line, err, said)
			}
			printed = strings.Split(strings.TrimRight(string(said), "\n"), "\n")
			if out = append(out, line); *updateWalkthroughs {
				out = append(out, printed...)
			}
			continue
		case inside:
			shown = append(shown, line)
			continue
		}
		out = append(out, line)
	}
	if *updateWalkthroughs {
		if err := os.WriteFile(page, []byte(strings.Join(out, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// masked leaves out of lines what is another each time, their order included.
func masked(lines []string) (all []string) {
	for _, line := range lines {
		line = regexp.MustCompile(`\b[0-9a-z]{16,}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`).ReplaceAllString(line, "ID")
		line = regexp.MustCompile(`\bnode\w+|commit \w+|\bdevelopment\b`).ReplaceAllString(line, "NODE") // who leads is JetStream's choice
		line = regexp.MustCompile(`-?\d[\d.,]*(ns|µs|ms|s|m\d[\d.]*s)?`).ReplaceAllString(line, "N")
		all = append(all, strings.Join(strings.Fields(line), " "))
	}
	slices.Sort(all)
	return all
}
