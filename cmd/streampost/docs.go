package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/metrics"
)

// DocsCmd writes the reference pages.
type DocsCmd struct {
	Dir string `arg:"" default:"docs" help:"Directory to write into."`
}

// Help teaches.
func (*DocsCmd) Help() string {
	return `Writes configuration.md, cli.md and metrics.md as this program knows them.

Examples:

  streampost docs
  streampost docs /tmp/reference`
}

// generated are the pages that are made from the program.
var generated = map[string]func(io.Writer) error{
	"configuration.md": func(w io.Writer) error { return config.WriteMarkdown(w, config.Default()) },
	"cli.md":           writeCLI,
	"metrics.md":       metrics.WriteMarkdown,
}

// Run writes the pages.
func (c *DocsCmd) Run(_ *Globals, env *Env) error {
	for name, write := range generated {
		var page bytes.Buffer
		if err := write(&page); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.Dir, name), page.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeCLI makes docs/cli.md from the grammar.
func writeCLI(w io.Writer) error {
	var cli CLI
	parser, err := newParser(&cli)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("# Command line\n\nThis page is made from the program by `streampost docs`; a test fails when the two differ.\n\n")
	b.WriteString("Commands that need a running server find its address and token in the data directory (`--data`), or take `--url` and `STREAMPOST_TOKEN`.\n")
	b.WriteString("`log`, `projection`, `keys`, `task list`, `task show`, `task cancel` and `doctor` also work while no server runs: they open the data directory themselves.\n")
	b.WriteString("Every list has `--json`.\n\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", e.code, e.meaning)
	}
	b.WriteString("\n## Flags of every command\n\n")
	writeFlags(&b, parser.Model.Flags)
	for _, leaf := range parser.Model.Leaves(true) {
		fmt.Fprintf(&b, "\n## streampost %s\n\n%s\n\n```\nstreampost %s\n```\n", names(leaf), leaf.Help, summary(leaf))
		if help := leaf.Detail; help != "" {
			fmt.Fprintf(&b, "\n%s\n", markdown(help))
		}
		if len(leaf.Positional)+len(leaf.Flags) > 0 {
			b.WriteString("\n")
		}
		for _, p := range leaf.Positional {
			fmt.Fprintf(&b, "- `%s`: %s\n", p.Summary(), p.Help)
		}
		writeFlags(&b, leaf.Flags)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func names(n *kong.Node) string {
	if n.Parent == nil || n.Parent.Type == kong.ApplicationNode {
		return n.Name
	}
	return names(n.Parent) + " " + n.Name
}

// summary is the command with its arguments, without the flags of every command.
func summary(n *kong.Node) string {
	words := []string{names(n)}
	for _, p := range n.Positional {
		words = append(words, p.Summary())
	}
	for _, f := range n.Flags {
		if f.Required {
			words = append(words, flagForm(f))
		}
	}
	if len(n.Flags) > 0 {
		words = append(words, "[flags]")
	}
	return strings.Join(words, " ")
}

func flagForm(f *kong.Flag) string {
	if f.Target.Kind() == reflect.Bool {
		return "--" + f.Name
	}
	return "--" + f.Name + "=" + f.FormatPlaceHolder()
}

func writeFlags(b *strings.Builder, flags []*kong.Flag) {
	for _, f := range flags {
		if f.Name == "help" {
			continue
		}
		fmt.Fprintf(b, "- `%s`", flagForm(f))
		for _, env := range f.Envs {
			fmt.Fprintf(b, " (`%s`)", env)
		}
		fmt.Fprintf(b, ": %s\n", f.Help)
	}
}

// markdown turns the indented examples of a help text into code blocks.
func markdown(help string) string {
	var b strings.Builder
	code := false
	for line := range strings.Lines(help) {
		if indented := strings.HasPrefix(line, "  "); indented != code && strings.TrimSpace(line) != "" {
			b.WriteString("```\n")
			code = indented
		}
		b.WriteString(strings.TrimPrefix(line, "  "))
	}
	text := strings.TrimRight(b.String(), "\n")
	if code {
		text += "\n```"
	}
	return text
}
