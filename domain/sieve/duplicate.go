package sieve

import "strings"

// What a run has its account remember.
const (
	RememberDuplicate = "duplicate"
	RememberVacation  = "vacation"
)

// Remember is something that later runs for the same account have to know, for a while. It counts when everything that the run came to was done.
type Remember struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Seconds int64  `json:"seconds"`
	Fresh   bool   `json:"fresh,omitempty"` // the run rests on its not being remembered
}

// The times of duplicate, in seconds.
const (
	duplicateUsual = 7 * 86400  // RFC 7352 section 3.1 leaves it to the server.
	duplicateMost  = 90 * 86400 // RFC 7352 section 6: there is a limit.
)

func init() {
	tests["duplicate"] = &spec{needs: []string{"duplicate"}, test: buildDuplicate, tags: map[string]tagged{
		"handle": {takes: 's'}, "header": {takes: 's', group: "id"}, "uniqueid": {takes: 's', group: "id"}, "seconds": {takes: 'n'}, "last": {},
	}}
}

// buildDuplicate is duplicate (RFC 7352 section 3).
func buildDuplicate(c *compiler, a *arguments) (predicate, error) {
	handle, err := c.optional(a, "handle")
	if err != nil {
		return nil, err
	}
	field := template{{literal: "Message-ID"}}
	if a.has("header") {
		if field, err = c.optional(a, "header"); err != nil {
			return nil, err
		}
		if name, ok := field.constant(); ok && !isFieldName(name) {
			return nil, a.tags["header"].errorf("%q is not the name of a field", name)
		}
	}
	unique, err := c.optional(a, "uniqueid")
	if err != nil {
		return nil, err
	}
	seconds := int64(duplicateUsual)
	if a.has("seconds") {
		seconds = min(max(a.tags["seconds"].n, 1), duplicateMost)
	}
	return func(m *machine) (bool, error) {
		id := m.expand(unique)
		if !a.has("uniqueid") {
			values, err := m.values(a.Position, []string{m.expand(field)}, nil)
			if err != nil {
				return false, err
			}
			if len(values) == 0 || strings.TrimSpace(values[0]) == "" { // RFC 7352 section 3.1: what has no name is never a duplicate.
				return false, nil
			}
			id = values[0] // RFC 7352 section 3.1: of several the first counts.
		}
		if err := m.spend(a.Position, 4+len(id)/64); err != nil {
			return false, err
		}
		name := digest(m.expand(handle), id)
		seen := m.ctx.Seen != nil && m.ctx.Seen(RememberDuplicate, name)
		if !seen || a.has("last") { // RFC 7352 section 3: the time runs from the first one, or with :last from the last one.
			m.keepInMind(Remember{RememberDuplicate, name, seconds, !seen})
		}
		return seen, nil
	}, nil
}

// keepInMind has something remembered when the run ends well, once.
func (m *machine) keepInMind(r Remember) {
	for i, old := range m.remember {
		if old.Kind == r.Kind && old.Name == r.Name {
			m.remember[i].Seconds = max(old.Seconds, r.Seconds)
			return
		}
	}
	if len(m.remember) < maxActions {
		m.remember = append(m.remember, r)
	}
}
