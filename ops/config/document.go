package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed schema.go
var schema string

var durationType = reflect.TypeFor[time.Duration]()

// comments maps "Type.Field" to the field's comment and "Type" to the type's, as schema.go has them.
func comments() map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "schema.go", schema, parser.ParseComments)
	if err != nil {
		panic(err) // the compiler accepted the same text
	}
	found := map[string]string{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			t := spec.(*ast.TypeSpec)
			found[t.Name.Name] = oneLine(gen.Doc.Text())
			if s, ok := t.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						found[t.Name.Name+"."+name.Name] = oneLine(f.Doc.Text())
					}
				}
			}
		}
	}
	return found
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Doc is the field's documentation.
func (f Field) Doc() string { return comments()[f.owner+"."+f.name] }

// WriteYAML prints the configuration as a YAML file that says where each value came from, or only what is not as it would be without being
// said. Secrets are masked.
func (l *Loaded) WriteYAML(w io.Writer, changed bool) error {
	var open []string
	unsaid := Default()
	defaults := Fields(&unsaid)
	for n, f := range Fields(&l.Config) {
		if changed && reflect.DeepEqual(f.value.Interface(), defaults[n].value.Interface()) {
			continue
		}
		path := strings.Split(f.Key, ".")
		for i, section := range path[:len(path)-1] {
			if i < len(open) && open[i] == section {
				continue
			}
			open = append(open[:min(i, len(open))], section)
			if _, err := fmt.Fprintf(w, "%s%s:\n", strings.Repeat("  ", i), section); err != nil {
				return err
			}
		}
		open = open[:len(path)-1]
		line := fmt.Sprintf("%s%s: %s", strings.Repeat("  ", len(path)-1), path[len(path)-1], f.yaml())
		if _, err := fmt.Fprintf(w, "%-60s  # %s\n", line, l.Origin(f.Key)); err != nil {
			return err
		}
	}
	return nil
}

// yaml is the value in YAML's flow form, quoted where it must be.
func (f Field) yaml() string {
	v := f.value.Interface()
	if list, ok := v.([]string); ok {
		quoted := make([]string, len(list))
		for i, s := range list {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	text, err := yaml.Marshal(v)
	if err != nil {
		panic(err) // every type of the schema can be written
	}
	return strings.TrimSpace(string(text))
}

// WriteMarkdown prints docs/configuration.md: every key with its default, its environment variable and its comment.
func WriteMarkdown(w io.Writer, defaults Config) error {
	docs := comments()
	var b strings.Builder
	b.WriteString(preamble)
	section := "none"
	for _, f := range Fields(&defaults) {
		prefix := f.Key[:max(0, strings.LastIndexByte(f.Key, '.'))]
		if prefix != section {
			section = prefix
			title := "Top level"
			if section != "" {
				title = "`" + section + "`"
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", title, docs[f.section])
		}
		fmt.Fprintf(&b, "- **`%s`** (%s, default `%s`, `%s`)  \n  %s\n", f.Key, f.Type(), f.Value(), f.Env(), docs[f.owner+"."+f.name])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const preamble = `# Configuration

This page is made from the comments of ops/config/schema.go by ` + "`streampost docs`" + `; a test fails when the two differ.

Values come from four layers, each stronger than the one before it: the defaults below, a YAML file (` + "`--config`" + `), environment
variables, and flags (` + "`--set KEY=VALUE`" + `). ` + "`streampost config print`" + ` shows the result and where each value came from; ` + "`streampost config check`" + `
says what is wrong with it. An unknown key is an error in every layer, with its line number in the file.

Sizes are numbers of octets with an optional unit (512, 64KiB, 50MiB, 2GiB), durations have units (500ms, 30s, 5m, 24h), and lists in the
environment have commas between their members. A listener's address is ` + "`host:port`, `[v6]:port` or `unix:/path`" + `; an empty list turns the listener off.
`
