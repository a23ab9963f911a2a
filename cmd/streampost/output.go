package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
)

// table prints rows under a heading, columns aligned.
func (e *Env) table(heading string, rows [][]string) error {
	w := tabwriter.NewWriter(e.Stdout, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.ReplaceAll(heading, " ", "\t"))
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// json prints a value, indented.
func (e *Env) json(v any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// octets gives a number of octets for people.
func octets(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func limitOr(n int64, format func(int64) string) string {
	if n == 0 {
		return "no limit"
	}
	return format(n)
}

// shown gives each thing that a server streams to show, or prints it as it came when JSON is wanted.
func shown[T any](env *Env, raw bool, show func(*T)) func(json.RawMessage) error {
	return func(text json.RawMessage) error {
		if raw {
			env.printf("%s\n", text)
			return nil
		}
		var item T
		if err := json.Unmarshal(text, &item); err != nil {
			return err
		}
		show(&item)
		return nil
	}
}
