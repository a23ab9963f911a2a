package streampost

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every direct dependency has its reason in docs/dependencies.md, and every reason its dependency.
func TestDependenciesHaveReasons(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") {
			direct[fields[0]] = true
		}
	}
	reasoned := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\|$").FindAllStringSubmatch(readDoc(t, "dependencies.md"), -1) {
		reasoned[m[1]] = true
	}
	for path := range direct {
		if !reasoned[path] {
			t.Errorf("docs/dependencies.md gives no reason for %s", path)
		}
	}
	for path := range reasoned {
		if !direct[path] {
			t.Errorf("docs/dependencies.md has a reason for %s, which go.mod does not require", path)
		}
	}
}

// Every file that docs/rfc.md names exists, and every test that it names is in its file.
func TestRFCTableIsTrue(t *testing.T) {
	rows := regexp.MustCompile(`(?m)^\| (?:RFC|draft)[^|]*\|[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|$`).FindAllStringSubmatch(readDoc(t, "rfc.md"), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d rows can be read", len(rows))
	}
	name := regexp.MustCompile("`([^`]+)`")
	for _, row := range rows {
		if status := strings.TrimSpace(row[1]); status != "yes" && status != "part" && status != "no" {
			t.Errorf("status %q: %s", status, row[0])
		} else if status == "no" {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(row[2], -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s: %v", row[0], err)
			}
		}
		areThere(t, row[0], row[3])
	}
}

// areThere checks that the tests which a cell of a table names, as file:Test or as a file alone, are there.
func areThere(t *testing.T, row, cell string) {
	t.Helper()
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		file, test, named := strings.Cut(m[1], ":")
		text, err := os.ReadFile(file)
		if err != nil || named && !strings.Contains(string(text), "func "+test+"(") {
			t.Errorf("%s names the test %s, which is not there (%v)", strings.TrimSpace(row), m[1], err)
		}
	}
}

// The guide has a row for each of James's procedures that views do away with, and what shows it is there.
func TestJamesTableIsTrue(t *testing.T) {
	rows := regexp.MustCompile(`(?m)^\| (\d+) \|[^|]*\|[^|]*\|([^|]*)\|[^|]*\|([^|]*)\|$`).FindAllStringSubmatch(readDoc(t, "operator.md"), -1)
	var numbers []string
	for _, row := range rows {
		numbers = append(numbers, row[1])
		areThere(t, row[0], row[3])
		if strings.TrimSpace(row[3]) == "" && !strings.HasPrefix(strings.TrimSpace(row[2]), "not here yet") {
			t.Errorf("nothing shows row %s", row[1])
		}
	}
	if got, want := strings.Join(numbers, " "), "1 2 3 4 5 11 12 13 14 15 16 17 18 19 20 21 24 25 26 27 28 29 30 31 32 33 34"; got != want {
		t.Errorf("the rows are %s, want %s", got, want)
	}
}

// Links between pages lead somewhere.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	for _, page := range append(pages, "README.md", "CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
}

// Every metric, command and key that a page mentions exists: the pages that are made from the program hold them all.
func TestMentionedCommandsExist(t *testing.T) {
	cli := readDoc(t, "cli.md")
	mentioned := regexp.MustCompile("(?m)streampost ((?:serve|domain|account|import|status|log|projection|keys|doctor|config|docs|version)(?: [a-z][a-z-]*)?)")
	for _, page := range []string{"README.md", "docs/operator.md", "docs/upgrade.md", "docs/architecture.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mentioned.FindAllStringSubmatch(string(text), -1) {
			word, _, _ := strings.Cut(m[1], " ")
			if !strings.Contains(cli, "## streampost "+m[1]+"\n") && !strings.Contains(cli, "## streampost "+m[1]+" ") && !strings.Contains(cli, "## streampost "+word+"\n") {
				t.Errorf("%s mentions streampost %s, which is not a command", page, m[1])
			}
		}
	}
}

// The repository holds no file that git ignores by mistake and that the build needs.
func TestNothingNeededIsIgnored(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	out, err := exec.Command("git", "ls-files", "--others", "--ignored", "--exclude-standard", "*.go", "*.md", "*.sql", "*.eml", "*.txtar", "*.proto").Output()
	if err != nil {
		t.Skip("not a git checkout")
	}
	if len(out) > 0 {
		t.Errorf("ignored by git: %s", out)
	}
}
