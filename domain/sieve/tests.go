package sieve

import (
	"slices"
	"strings"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
)

// addressTags pick a part of an address (RFC 5228 section 2.7.4, RFC 5233 section 4).
var addressTags = map[string]tagged{
	"all":       {group: "part"},
	"localpart": {group: "part"},
	"domain":    {group: "part"},
	"user":      {needs: "subaddress", group: "part"},
	"detail":    {needs: "subaddress", group: "part"},
}

// maxAddresses bounds the addresses of one test.
const maxAddresses = 4096

func init() {
	tests["true"] = &spec{test: func(*compiler, *arguments) (predicate, error) { return always, nil }}
	tests["false"] = &spec{test: func(*compiler, *arguments) (predicate, error) {
		return func(*machine) (bool, error) { return false, nil }, nil
	}}
	tests["not"] = &spec{tests: true, test: buildNot}
	tests["allof"] = &spec{tests: true, test: func(c *compiler, a *arguments) (predicate, error) { return c.several(a, false) }}
	tests["anyof"] = &spec{tests: true, test: func(c *compiler, a *arguments) (predicate, error) { return c.several(a, true) }}
	tests["size"] = &spec{tags: map[string]tagged{"over": {takes: 'n', group: "size"}, "under": {takes: 'n', group: "size"}}, test: buildSize}
	tests["exists"] = &spec{takes: "l", test: buildExists}
	tests["header"] = &spec{tags: merge(matchTags, indexTags), takes: "ll", test: buildHeader}
	tests["address"] = &spec{tags: merge(matchTags, indexTags, addressTags), takes: "ll", test: buildAddress}
	tests["envelope"] = &spec{needs: []string{"envelope"}, tags: merge(matchTags, addressTags), takes: "ll", test: buildEnvelope}
}

func buildNot(c *compiler, a *arguments) (predicate, error) {
	if len(a.tests) != 1 || a.list {
		return nil, a.errorf("not takes one test")
	}
	test, err := c.test(a.tests[0])
	return func(m *machine) (bool, error) {
		ok, err := test(m)
		return !ok, err
	}, err
}

// several is allof or anyof (RFC 5228 sections 5.2 and 5.3): the first test that decides is the last that runs.
func (c *compiler) several(a *arguments, any bool) (predicate, error) {
	if len(a.tests) == 0 || !a.list {
		return nil, a.errorf("%s takes tests in parentheses", a.name)
	}
	list := make([]predicate, len(a.tests))
	for i, n := range a.tests {
		var err error
		if list[i], err = c.test(n); err != nil {
			return nil, err
		}
	}
	return func(m *machine) (bool, error) {
		for _, test := range list {
			if ok, err := test(m); err != nil || ok == any {
				return ok, err
			}
		}
		return !any, nil
	}, nil
}

// buildSize is size (RFC 5228 section 5.9): a message of just this size is neither over nor under it.
func buildSize(_ *compiler, a *arguments) (predicate, error) {
	which := a.one("size", "")
	if which == "" {
		return nil, a.errorf("size takes :over or :under")
	}
	limit := a.tags[which].n
	return func(m *machine) (bool, error) {
		if which == "over" {
			return m.ctx.Message.Size > limit, nil
		}
		return m.ctx.Message.Size < limit, nil
	}, nil
}

// buildExists is exists (RFC 5228 section 5.5).
func buildExists(c *compiler, a *arguments) (predicate, error) {
	names, err := c.templates(a.place[0])
	return func(m *machine) (bool, error) {
		for _, name := range m.expandAll(names) {
			if found, err := m.named(a.Position, name); err != nil || len(found) == 0 {
				return false, err
			}
		}
		return true, nil
	}, err
}

// buildHeader is header (RFC 5228 section 5.7).
func buildHeader(c *compiler, a *arguments) (predicate, error) {
	names, err := c.templates(a.place[0])
	if err != nil {
		return nil, err
	}
	only, err := indexOf(a)
	if err != nil {
		return nil, err
	}
	match, err := c.matcher(a, a.place[1])
	return func(m *machine) (bool, error) {
		values, err := m.values(a.Position, m.expandAll(names), only)
		if err != nil {
			return false, err
		}
		for i := range values {
			values[i] = message.DecodeWords(values[i]) // RFC 5228 section 2.7.2.
		}
		return match.any(m, values)
	}, err
}

// partOf gives a part of an address, and whether it has one.
func partOf(part string, a delivery.Address) (string, bool) {
	user, detail, plus := strings.Cut(a.Local, "+")
	switch part {
	case "localpart":
		return a.Local, true
	case "domain":
		return a.Domain, true
	case "user":
		return user, true
	case "detail": // RFC 5233 section 4: without a separator there is none, which is not the same as an empty one.
		return detail, plus
	}
	if a.Domain == "" {
		return a.Local, true
	}
	return a.Local + "@" + a.Domain, true
}

// addressFields are those that hold addresses: the test address looks at no others (RFC 5228 section 5.1).
var addressFields = []string{
	"apparently-to", "bcc", "cc", "delivered-to", "disposition-notification-to", "envelope-to", "errors-to", "from", "mail-followup-to", "mail-reply-to",
	"reply-to", "resent-bcc", "resent-cc", "resent-from", "resent-reply-to", "resent-sender", "resent-to", "return-path", "return-receipt-to", "sender",
	"to", "x-original-to",
}

// buildAddress is address (RFC 5228 section 5.1).
func buildAddress(c *compiler, a *arguments) (predicate, error) {
	names, err := c.templates(a.place[0])
	if err != nil {
		return nil, err
	}
	only, err := indexOf(a)
	if err != nil {
		return nil, err
	}
	part := a.one("part", "all")
	match, err := c.matcher(a, a.place[1])
	return func(m *machine) (bool, error) {
		named := slices.DeleteFunc(m.expandAll(names), func(s string) bool { return !slices.Contains(addressFields, asciiLower(s)) })
		fields, err := m.values(a.Position, named, only)
		if err != nil {
			return false, err
		}
		var values []string
		for _, f := range fields {
			for _, found := range message.ParseAddresses(f, maxAddresses-len(values)) {
				if found.Host == "" { // the beginning or the end of a group
					continue
				}
				if v, ok := partOf(part, delivery.Address{Local: found.Mailbox, Domain: found.Host}); ok {
					values = append(values, v)
				}
			}
		}
		return match.any(m, values)
	}, err
}

// buildEnvelope is envelope (RFC 5228 section 5.4).
func buildEnvelope(c *compiler, a *arguments) (predicate, error) {
	names, err := c.templates(a.place[0])
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if s, ok := name.constant(); ok && !strings.EqualFold(s, "from") && !strings.EqualFold(s, "to") {
			return nil, a.place[0].errorf("the envelope has no part %q", a.place[0].strings[i])
		}
	}
	part := a.one("part", "all")
	match, err := c.matcher(a, a.place[1])
	return func(m *machine) (bool, error) {
		var values []string
		for _, name := range m.expandAll(names) {
			var address delivery.Address
			switch strings.ToLower(name) {
			case "from":
				address = m.ctx.From
			case "to":
				address = m.ctx.To
			default:
				return false, a.place[0].errorf("the envelope has no part %q", name)
			}
			if v, ok := partOf(part, address); ok { // RFC 5228 section 5.4: the null reverse-path is an empty string in all its parts.
				values = append(values, v)
			}
		}
		return match.any(m, values)
	}, err
}
