// Package mtasts reads policies by which domains say that mail to them has to come over verified TLS (MTA-STS, RFC 8461).
//
// A policy is a text on a web server whose certificate names the domain; a record in DNS says that there is one, and changes when it does. This package reads both and
// applies a policy to a host. It asks nobody, and keeps no time.
//
// Invariants: what cannot be read is no policy; a name matches only a pattern that the policy has.
package mtasts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/idn"
)

// Mode says what is done about a host that does not obey a policy.
type Mode string

// The modes (RFC 8461 section 5).
const (
	Enforce Mode = "enforce" // no mail goes there
	Testing Mode = "testing" // it is told in reports only
	None    Mode = "none"    // the domain has no policy any more
)

// Bounds of a policy.
const (
	MaxAge  = 31_557_600 * time.Second // RFC 8461 section 3.2: a year
	MaxText = 64 << 10                 // octets; RFC 8461 section 3.3 advises a bound of that size
	maxMX   = 200
)

// Policy is what a domain demands of the hosts for its mail.
type Policy struct {
	Mode   Mode          `json:"mode"`
	MX     []string      `json:"mx,omitempty"` // patterns in lower case and A-labels
	MaxAge time.Duration `json:"maxAge"`
}

// ParseRecord finds the id of a policy among the texts of _mta-sts.DOMAIN. found is false where none, or more than one, says that there is a policy (RFC 8461 section 3.1). Errors:
// domain.Invalid for a record that cannot be read.
func ParseRecord(texts []string) (id string, found bool, err error) {
	texts = slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return !isRecord(t) })
	if len(texts) != 1 {
		return "", false, nil
	}
	for n, field := range strings.Split(texts[0], ";") {
		name, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
		name, value = strings.TrimRight(name, " \t"), strings.TrimLeft(value, " \t")
		if n == 0 || name != "id" {
			continue
		}
		if value == "" || len(value) > 32 || strings.ContainsFunc(value, func(r rune) bool { return !alphanumeric(r) }) || id != "" {
			return "", false, domain.Errorf(domain.Invalid, "the record of MTA-STS has the id %.40q: it is 1 to 32 letters and digits, once", value)
		}
		id = value
	}
	if id == "" {
		return "", false, domain.Errorf(domain.Invalid, "the record of MTA-STS has no id")
	}
	return id, true, nil
}

// isRecord tells a record from other texts under its name.
func isRecord(text string) bool {
	rest, is := strings.CutPrefix(text, "v=STSv1")
	return is && strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";")
}

func alphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// ParsePolicy reads a policy (RFC 8461 section 3.2). Of a field that comes twice the first counts, mx aside; fields that nobody knows do not count. Errors: domain.Invalid.
func ParsePolicy(text string) (p Policy, err error) {
	wrong := func(format string, args ...any) (Policy, error) {
		return Policy{}, domain.Errorf(domain.Invalid, "the policy of MTA-STS %s", fmt.Sprintf(format, args...))
	}
	if len(text) > MaxText {
		return wrong("has more than %d octets", MaxText)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.Trim(line, " \t\r\n")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return wrong("has the line %.40q", line)
		}
		name, value = strings.TrimRight(name, " \t"), strings.TrimLeft(value, " \t")
		if seen[name] && name != "mx" {
			continue
		}
		switch name {
		case "version":
			if value != "STSv1" {
				return wrong("has the version %.40q", value)
			}
		case "mode":
			if p.Mode = Mode(value); p.Mode != Enforce && p.Mode != Testing && p.Mode != None {
				return wrong("has the mode %.40q", value)
			}
		case "max_age":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil || len(value) > 10 {
				return wrong("has the max_age %.40q", value)
			}
			p.MaxAge = min(time.Duration(n)*time.Second, MaxAge)
		case "mx":
			pattern := idn.ASCII(strings.ToLower(value))
			if !delivery.IsDomain(strings.TrimPrefix(pattern, "*.")) {
				return wrong("has the mx %.80q", value)
			}
			if len(p.MX) == maxMX {
				return wrong("has more than %d hosts", maxMX)
			}
			p.MX = append(p.MX, pattern)
		}
		seen[name] = true
	}
	switch {
	case !seen["version"] || !seen["mode"] || !seen["max_age"]:
		return wrong("lacks version, mode or max_age")
	case len(p.MX) == 0 && p.Mode != None:
		return wrong("names no host")
	}
	return p, nil
}

// Allows tells whether a host is one of a policy's: the same name, or with one more label where the pattern has an asterisk (RFC 8461 section 4.1).
func (p *Policy) Allows(host string) bool {
	host = strings.TrimSuffix(idn.ASCII(strings.ToLower(host)), ".")
	for _, pattern := range p.MX {
		if parent, wild := strings.CutPrefix(pattern, "*."); wild {
			if label, rest, ok := strings.Cut(host, "."); ok && label != "" && rest == parent {
				return true
			}
		} else if host == pattern {
			return true
		}
	}
	return false
}

// Lines is the policy as reports quote it (RFC 8460 section 4.4).
func (p *Policy) Lines() []string {
	lines := []string{"version: STSv1", "mode: " + string(p.Mode)}
	for _, mx := range p.MX {
		lines = append(lines, "mx: "+mx)
	}
	return append(lines, fmt.Sprintf("max_age: %d", int64(p.MaxAge/time.Second)))
}
