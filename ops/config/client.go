package config

import (
	"fmt"
	"regexp"
	"strings"
)

// ClientRule is one member of imap.clients.
type ClientRule struct {
	Fields  map[string]string // patterns of what fields of ID say, by name in lower case
	Below   string            // versions before this one; empty means any
	Without []string          // capabilities
}

var clientWord = regexp.MustCompile(`^\s*(?:([A-Za-z][A-Za-z-]*)([=<])(?:"([^"]*)"|([^\s"]+))|([^\s"=<]+))(?:\s+|$)`)

// ParseClientRule reads a rule such as
//
//	name="Some Mail" version<5.2 without CONDSTORE QRESYNC
func ParseClientRule(text string) (ClientRule, error) {
	r := ClientRule{Fields: map[string]string{}}
	wrong := func(what string) (ClientRule, error) {
		return r, fmt.Errorf(`the rule %q %s: it reads as name="Some Mail" version<5.2 without CONDSTORE QRESYNC`, text, what)
	}
	without := false
	for rest := strings.TrimSpace(text); rest != ""; {
		m := clientWord.FindStringSubmatch(rest)
		if m == nil {
			return wrong("cannot be read at " + rest)
		}
		rest = rest[len(m[0]):]
		field, operator, value, word := strings.ToLower(m[1]), m[2], m[3]+m[4], m[5]
		switch {
		case without && strings.Contains(m[0], "<"):
			return wrong("has a condition behind without")
		case without: // AUTH=PLAIN looks like a condition
			r.Without = append(r.Without, strings.TrimSpace(m[0]))
		case strings.EqualFold(word, "without"):
			without = true
		case word != "":
			return wrong("has no condition in " + word)
		case operator == "<" && field != "version":
			return wrong("compares something else than version")
		case operator == "<":
			r.Below = value
		default:
			r.Fields[field] = value
		}
	}
	if len(r.Fields) == 0 && r.Below == "" || len(r.Without) == 0 {
		return wrong("lacks a condition or a capability")
	}
	return r, nil
}
