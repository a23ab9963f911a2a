// Package migrations holds the SQL definitions of the view store, one file for each projection and kind of store.
//
// Views are folds of the log, so a definition is never altered in place: a projection whose tables change raises its version, and its view
// is made anew by replay. The files of one store differ from those of another in column types and storage clauses only; the statements that
// run on the tables are the same text everywhere.
package migrations

import "embed"

//go:embed sqlite/*.sql
var files embed.FS

// SQLite gives the definition of a projection's tables; empty if there is none of that name.
func SQLite(projection string) string {
	text, err := files.ReadFile("sqlite/" + projection + ".sql")
	if err != nil {
		return ""
	}
	return string(text)
}
