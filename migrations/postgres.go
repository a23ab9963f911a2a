package migrations

import (
	"regexp"
	"strings"
)

// column is a line that defines one: its name, then its type.
var column = regexp.MustCompile(`(?m)^(\s+\w+\s+)(integer|text|blob)\b`)

// types are those of Postgres. Text is ordered by its octets, as SQLite does, so that rows of both stores come in the order of their keys.
var types = map[string]string{"integer": "bigint", "text": `text collate "C"`, "blob": "bytea"}

// Postgres gives the definition of a projection's tables for Postgres; empty if there is none of that name. It is a file of its own where
// there is one, and otherwise the definition for SQLite with other types.
func Postgres(projection string) string {
	if text, err := files.ReadFile("postgres/" + projection + ".sql"); err == nil {
		return string(text)
	}
	text := column.ReplaceAllStringFunc(SQLite(projection), func(line string) string {
		parts := column.FindStringSubmatch(line)
		return parts[1] + types[parts[2]]
	})
	return strings.ReplaceAll(text, ") without rowid;", ");")
}
