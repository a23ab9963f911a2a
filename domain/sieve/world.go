package sieve

import "strings"

func init() {
	tests["environment"] = &spec{needs: []string{"environment"}, tags: matchTags, takes: "sl", test: buildEnvironment}
	tests["ihave"] = &spec{needs: []string{"ihave"}, takes: "l", test: buildIHave}
	commands["error"] = &spec{needs: []string{"ihave"}, takes: "s", command: buildError}
	tests["mailboxexists"] = &spec{needs: []string{"mailbox"}, takes: "l", test: buildMailboxExists}
	tests["mailboxidexists"] = &spec{needs: []string{"mailboxid"}, takes: "l", test: buildMailboxIDExists}
	tests["specialuse_exists"] = &spec{needs: []string{"special-use"}, takes: "*", test: buildSpecialUseExists}
}

// buildEnvironment is environment (RFC 5183). An item that nobody knows matches nothing.
func buildEnvironment(c *compiler, a *arguments) (predicate, error) {
	item, err := c.template(a.place[0].Position, a.place[0].strings[0])
	if err != nil {
		return nil, err
	}
	match, err := c.matcher(a, a.place[1])
	return func(m *machine) (bool, error) {
		if m.ctx.Environment == nil {
			return false, nil
		}
		value, known := m.ctx.Environment(strings.ToLower(m.expand(item)))
		if !known {
			return false, nil
		}
		return match.any(m, []string{value})
	}, err
}

// buildIHave is ihave (RFC 5463 section 4). The extensions that it names and that are there count as asked for from here on.
func buildIHave(c *compiler, a *arguments) (predicate, error) {
	all := true
	for _, s := range a.place[0].strings {
		name, err := c.constant(argument{Position: a.place[0].Position, strings: []string{s}})
		if err != nil {
			return nil, err
		}
		all = all && isCapability(name)
	}
	if all {
		for _, name := range a.place[0].strings {
			c.enabled[strings.ToLower(name)] = true
		}
	}
	return func(*machine) (bool, error) { return all, nil }, nil
}

// buildError is error (RFC 5463 section 5): the script ends as if it were wrong.
func buildError(c *compiler, a *arguments) (step, error) {
	reason, err := c.template(a.place[0].Position, a.place[0].strings[0])
	return func(m *machine) error { return a.errorf("%s", m.expand(reason)) }, err
}

// everything tells whether all names of a list are there; nothing is where nobody can tell.
func everything(c *compiler, list argument, there func(m *machine, name string) bool) (predicate, error) {
	names, err := c.templates(list)
	return func(m *machine) (bool, error) {
		for _, name := range m.expandAll(names) {
			if err := m.spend(list.Position, 4); err != nil {
				return false, err
			}
			if !there(m, name) {
				return false, nil
			}
		}
		return true, nil
	}, err
}

// buildMailboxExists is mailboxexists (RFC 5490 section 3.1).
func buildMailboxExists(c *compiler, a *arguments) (predicate, error) {
	return everything(c, a.place[0], func(m *machine, name string) bool { return m.ctx.MailboxExists != nil && m.ctx.MailboxExists(name) })
}

// buildMailboxIDExists is mailboxidexists (RFC 9042 section 5).
func buildMailboxIDExists(c *compiler, a *arguments) (predicate, error) {
	return everything(c, a.place[0], func(m *machine, id string) bool { return m.ctx.ByID != nil && m.ctx.ByID(id) })
}

// buildSpecialUseExists is specialuse_exists (RFC 8579 section 3). With a mailbox, it is that one which has the uses.
func buildSpecialUseExists(c *compiler, a *arguments) (predicate, error) {
	var mailbox template
	if len(a.place) == 2 {
		if len(a.place[0].strings) != 1 {
			return nil, a.place[0].errorf("specialuse_exists looks at one mailbox")
		}
		var err error
		if mailbox, err = c.template(a.place[0].Position, a.place[0].strings[0]); err != nil {
			return nil, err
		}
	}
	return everything(c, a.place[len(a.place)-1], func(m *machine, use string) bool {
		return m.ctx.SpecialUse != nil && m.ctx.SpecialUse(m.expand(mailbox), use)
	})
}
