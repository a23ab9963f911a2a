package pipeline

import (
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
)

// hasHeader finds mail with a field, or with a field of a value.
func hasHeader(value string) (matcher, error) {
	name, want, valued := strings.Cut(value, "=")
	if err := checkField(name, ""); err != nil {
		return nil, err
	}
	return whole(func(m *Mail, w World) (bool, error) {
		all, err := m.values(w, name)
		return slices.ContainsFunc(all, func(v string) bool { return !valued || strings.EqualFold(v, want) }), err
	}), nil
}

func hasHeaderWithPrefix(value string) (matcher, error) {
	if err := checkField(value, ""); err != nil {
		return nil, err
	}
	return whole(func(m *Mail, w World) (bool, error) {
		all, err := m.fields(w)
		return slices.ContainsFunc(all, func(f field) bool {
			return len(f.name) >= len(value) && strings.EqualFold(f.name[:len(value)], value)
		}), err
	}), nil
}

// compareHeader compares the number in a field: "X-Spam-Score > 5".
func compareHeader(value string) (matcher, error) {
	parts := strings.Fields(value)
	compare := map[string]func(a, b float64) bool{
		">": func(a, b float64) bool { return a > b }, ">=": func(a, b float64) bool { return a >= b }, "<": func(a, b float64) bool { return a < b },
		"<=": func(a, b float64) bool { return a <= b }, "==": func(a, b float64) bool { return a == b },
	}
	if len(parts) != 3 || compare[parts[1]] == nil {
		return nil, domain.Errorf(domain.Invalid, "%q is no comparison such as X-Spam-Score >= 5", value)
	}
	want, err := strconv.ParseFloat(parts[2], 64)
	if err != nil {
		return nil, domain.Errorf(domain.Invalid, "%q is no number", parts[2])
	}
	if err := checkField(parts[0], ""); err != nil {
		return nil, err
	}
	return whole(func(m *Mail, w World) (bool, error) {
		all, err := m.values(w, parts[0])
		return slices.ContainsFunc(all, func(v string) bool {
			is, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return err == nil && compare[parts[1]](is, want)
		}), err
	}), nil
}

func subject(is func(subject, want string) bool) func(string) (matcher, error) {
	return func(value string) (matcher, error) {
		if value == "" {
			return nil, domain.Errorf(domain.Invalid, "it needs a value: a text")
		}
		return whole(func(m *Mail, w World) (bool, error) {
			all, err := m.values(w, "Subject")
			return slices.ContainsFunc(all, func(v string) bool { return is(v, value) }), err
		}), nil
	}
}

// isMarkedAsSpam looks at the verdict of DMARC and at the fields that filters write.
func isMarkedAsSpam(m *Mail, w World) (bool, error) {
	if m.Junk {
		return true, nil
	}
	all, err := m.fields(w)
	return slices.ContainsFunc(all, func(f field) bool {
		switch strings.ToLower(f.name) {
		case "x-spam-flag", "x-spam-status", "x-spam", "org.apache.james.rspamd.flag":
			return strings.HasPrefix(strings.ToLower(f.value()), "yes")
		}
		return false
	}), err
}

func isFromMailingList(m *Mail, w World) (bool, error) {
	all, err := m.fields(w)
	return slices.ContainsFunc(all, func(f field) bool {
		switch strings.ToLower(f.name) {
		case "list-id", "list-post", "list-unsubscribe", "x-mailing-list": // RFC 2919, RFC 2369.
			return true
		case "precedence":
			return strings.EqualFold(f.value(), "list") || strings.EqualFold(f.value(), "bulk")
		}
		return false
	}), err
}
