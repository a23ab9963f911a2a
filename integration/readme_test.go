package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/integration/ports"
)

// TestReadmeTour runs the lines of README.md's five minutes, in order, as they stand there but for the ports: each must succeed and show what it promises.
func TestReadmeTour(t *testing.T) {
	need(t, "curl")
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, found := strings.Cut(string(page), "\n## Five minutes\n")
	tour, _, ended := strings.Cut(tour, "\n## ")
	if !found || !ended {
		t.Fatal("the page has no five minutes")
	}
	dir, home := t.TempDir(), t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "streampost")); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, "Maildir", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "Maildir", "new", "1.own"), []byte("Subject: my own\n\nmail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, binary: "./streampost", data: "streampost-data", dir: dir, offset: ports.FreeOffset(t)}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill(syscall.SIGKILL)
		}
	})
	promised := map[string]string{
		"MAILINDEX=7":                   "It works.",
		"-X UIDL":                       `(?m)^7 \d+\.7\r$`,
		"log show":                      `MessageAdded .*summary="hello"`,
		"log verify":                    `, 0 damaged`,
		"projection verify":             `0 differ`,
		"EXPUNGE":                       `\* 7 EXPUNGE`,
		"account show":                  `(?m)^INBOX +7 `,
		"account restore":               `(?m)\b1 .*restored|restored 1\b`,
		"import maildir":                `1 messages imported, 0 refused`,
		"account erase bob@example.org": `erased`,
	}
	ports := regexp.MustCompile(`127\.0\.0\.1:(\d+)`)
	var script strings.Builder // what one shell has run, so that its variables hold
	for _, block := range regexp.MustCompile(`(?m)(?:^ {4}.*\n)+`).FindAllString(tour, -1) {
		block = strings.ReplaceAll(block, "|\n", "|")
		for line := range strings.Lines(block) {
			line = ports.ReplaceAllStringFunc(strings.TrimSpace(line), func(address string) string {
				port, _ := strconv.Atoi(ports.FindStringSubmatch(address)[1])
				return s.addr(port)
			})
			switch {
			case strings.HasPrefix(line, "go build"): // which the tests have done
				continue
			case strings.HasPrefix(line, "./streampost serve"):
				s.serve(strings.Fields(line)[1:]...)
				continue
			case strings.HasPrefix(line, "rm -r"): // with the server stopped, as the page says
				s.kill(syscall.SIGTERM)
				s.cmd = nil
			}
			if variable, _, ok := strings.Cut(line, "="); ok && !strings.ContainsAny(variable, " .") {
				second := time.Now().Truncate(time.Second).Add(time.Second) // a clock of whole seconds must have passed what came before
				time.Sleep(time.Until(second))
				out, err := exec.Command("sh", "-c", line+"; echo $"+variable).Output()
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				fmt.Fprintf(&script, "%s=%s\n", variable, strings.TrimSpace(string(out)))
				continue
			}
			shell := exec.Command("sh", "-c", script.String()+line)
			shell.Stdin = strings.NewReader("a password of my own\n") // for account add, which would ask for it
			shell.Dir, shell.Env = dir, append(os.Environ(), "HOME="+home)
			out, err := shell.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			for part, want := range promised {
				if strings.Contains(line, part) {
					delete(promised, part)
					if !regexp.MustCompile(want).Match(out) {
						t.Errorf("%s: no %q in\n%s", line, want, out)
					}
				}
			}
		}
	}
	for part := range promised {
		t.Errorf("the tour no longer shows %q", part)
	}
}
