package netline

import "strings"

// longestLogged is how much of a text that a client chose is logged, in octets.
const longestLogged = 200

// ForLog makes text that a client chose fit for a log line of bounded length.
func ForLog(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), longestLogged)], "?")
}
