// Package migrations holds the SQL definitions of the view store, one file for each projection and kind of store, and one for the head that every
// generation of rows has.
//
// Views are folds of the log, so a definition is never altered in place: a projection whose tables change raises its version, and its view
// is made anew by replay. The files of one store differ from those of another in column types and storage clauses only; the statements that
// run on the tables are the same text everywhere.
package migrations

import (
	"embed"
	"regexp"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// SQLite gives the definition of a projection's tables; empty if there is none of that name.
func SQLite(projection string) string {
	text, err := files.ReadFile("sqlite/" + projection + ".sql")
	if err != nil {
		return ""
	}
	return string(text)
}

// table is a line that begins one. Neither virtual tables nor those that belong to them are meant.
var table = regexp.MustCompile(`(?m)^create table (\w+) \(`)

// summed are tables whose rows have digests in rows of another table: those of messages are in mailboxes.
var summed = map[string]bool{"messages": true}

// found are tables that are no folds: what an extractor found is as good on one node as something else on another.
var found = map[string]bool{"extracts": true}

// Counted names the tables of a projection whose rows count in projections.Digests. They are the same in every kind of store.
func Counted(projection string) (all []string) {
	for _, match := range table.FindAllStringSubmatch(SQLite(projection), -1) {
		if name := match[1]; !summed[name] && !found[name] {
			all = append(all, name)
		}
	}
	return all
}
