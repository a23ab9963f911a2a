package imap

import (
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
)

// ClientRule takes capabilities away from clients that stumble over them. They are known by what they say in ID (RFC 2971), so the rule holds from then on;
// what a client has switched on by ENABLE before stays on.
type ClientRule struct {
	Fields  map[string]string // what fields of ID say, by name in lower case; an asterisk stands for any text, and case does not matter
	Below   string            // versions before this one, such as 5.10; empty means any
	Without []string          // as Config.Without
}

// rule is a ClientRule ready for use.
type rule struct {
	fields  map[string]*regexp.Regexp
	below   string
	without map[string]bool
}

// switchedOff gives the set of capabilities that go when the named ones do. Errors: domain.Invalid for a name that is no capability.
func switchedOff(names []string) (map[string]bool, error) {
	off := map[string]bool{}
	for _, name := range names {
		known := false
		for _, c := range capabilities {
			if strings.EqualFold(c.name, name) {
				known, off[c.name] = true, true
			}
		}
		if !known {
			return nil, domain.Errorf(domain.Invalid, "IMAP has no capability %q that could be switched off", name)
		}
	}
	for name, base := range requires {
		if off[base] {
			off[name] = true
		}
	}
	return off, nil
}

// rules makes the rules of all clients ready.
func rules(clients []ClientRule) ([]rule, error) {
	var all []rule
	for _, client := range clients {
		off, err := switchedOff(client.Without)
		if err != nil {
			return nil, err
		}
		made := rule{map[string]*regexp.Regexp{}, client.Below, off}
		for field, pattern := range client.Fields {
			made.fields[field] = regexp.MustCompile(`(?is)^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`)
		}
		all = append(all, made)
	}
	return all, nil
}

// fits tells whether a client is one that the rule is for.
func (r rule) fits(id map[string]string) bool {
	for field, pattern := range r.fields {
		if value, said := id[field]; !said || !pattern.MatchString(value) {
			return false
		}
	}
	return r.below == "" || id["version"] != "" && earlier(id["version"], r.below)
}

// earlier compares versions number by number. What is no number ends a version: 5.2b is 5.2.
func earlier(a, b string) bool {
	for a != "" || b != "" {
		var x, y int
		x, a = number(a)
		y, b = number(b)
		if x != y {
			return x < y
		}
	}
	return false
}

// number cuts the first number off a version; 0 where there is none.
func number(version string) (n int, rest string) {
	digits := 0
	for digits < len(version) && version[digits] >= '0' && version[digits] <= '9' {
		digits++
	}
	n, err := strconv.Atoi(version[:digits])
	if rest, more := strings.CutPrefix(version[digits:], "."); more && err == nil {
		return n, rest
	}
	return n, ""
}

// identified applies the rules to a client that has said who it is, and tells whether that changed what it is offered.
func (c *conn) identified(id map[string]string) bool {
	off := c.server.without
	for _, r := range c.server.rules {
		if r.fits(id) {
			off = maps.Clone(off)
			for name := range r.without {
				off[name] = true
			}
		}
	}
	changed := !maps.Equal(off, c.without)
	if changed {
		c.without, c.mechanisms = off, c.server.mechanisms(off)
	}
	return changed
}
