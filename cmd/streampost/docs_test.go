package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
)

// TestDocumentedLinesAreUnderstood: every command line in the pages, those made from the configuration's comments included, in a block or within a sentence, is one that the program takes.
func TestDocumentedLinesAreUnderstood(t *testing.T) {
	block := regexp.MustCompile(`(?m)^ {4}(?:\./)?streampost ([^#\n]+)`)
	inline := regexp.MustCompile("`(?:streampost )?((?:account|acl|alias|blob|cluster|config|deadletter|domain|forward|group|ha|import|keys|listener|log|mapping|projection|replica|search|snapshot|task|vault) [a-z]+(?: [^`]*)?)`")
	partial := regexp.MustCompile(`^missing flags|^expected "<|but got "EOL"`)
	quoted := regexp.MustCompile(`'[^']*'`)
	n := 0
	for _, page := range []string{"README.md", "CHANGELOG.md", "docs/architecture.md", "docs/configuration.md", "docs/metrics.md", "docs/operator.md", "docs/upgrade.md", "docs/pipeline.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", page))
		if err != nil {
			t.Fatal(err)
		}
		lines := append(block.FindAllStringSubmatch(string(text), -1), inline.FindAllStringSubmatch(string(text), -1)...)
		for _, m := range lines {
			line, _, _ := strings.Cut(quoted.ReplaceAllString(strings.Join(strings.Fields(m[1]), " "), "x"), " >")
			parser, err := newParser(new(CLI))
			if err != nil {
				t.Fatal(err)
			}
			// Within a sentence a command may be named without what it is about.
			if _, err = parser.Parse(strings.Fields(line)); err != nil && !partial.MatchString(err.Error()) {
				t.Errorf("%s: streampost %s: %v", page, line, err)
			}
			n++
		}
	}
	if n < 60 {
		t.Errorf("only %d lines were found", n)
	}
}

// Every command says more than its line in the list of commands, and its examples are commands that the program takes.
func TestEveryCommandTeaches(t *testing.T) {
	parser, err := newParser(new(CLI))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(true) {
		_, examples, found := strings.Cut(leaf.Detail, "Examples:\n\n")
		if !found {
			t.Errorf("streampost %s has no examples", names(leaf))
		}
		for line := range strings.Lines(examples) {
			command, ours := strings.CutPrefix(strings.TrimSpace(line), "streampost ")
			if ours && !strings.HasPrefix(command, names(leaf)) && !strings.Contains(examples, "streampost "+names(leaf)) {
				t.Errorf("the examples of %s do not show it: %s", names(leaf), command)
			}
		}
	}
}

// TestSummary: a line of task list says the numbers of a result and leaves its lists to task show.
func TestSummary(t *testing.T) {
	for result, want := range map[string]string{
		`{"rows":3,"differences":0,"generations":[{"stream":"ACCOUNTS_0"}],"plan":{"a":1}}`: "differences 0, rows 3",
		`{"sum":{"entries":1234567,"dryRun":true,"file":"exports/a.zip"}}`:                  "dryRun true, entries 1234567, file exports/a.zip",
		`{}`:   "",
		`[1]`:  "[1]",
		`null`: "",
	} {
		if got := summaryOf(&webadmin.Task{Result: json.RawMessage(result)}); got != want {
			t.Errorf("%s is shown as %q", result, got)
		}
	}
}
