package sieve

func init() {
	commands["include"] = &spec{needs: []string{"include"}, takes: "s", command: buildInclude, tags: map[string]tagged{
		"personal": {group: "location"}, "global": {group: "location"}, "once": {}, "optional": {},
	}}
	commands["return"] = &spec{needs: []string{"include"}, command: func(*compiler, *arguments) (step, error) {
		return func(*machine) error { return errReturn }, nil
	}}
	commands["global"] = &spec{needs: []string{"include"}, takes: "l", command: buildGlobal}
}

// buildInclude is include (RFC 6609 section 3.2). There are personal scripts only: a global one is never there.
func buildInclude(c *compiler, a *arguments) (step, error) {
	name, err := c.constant(a.place[0])
	if err != nil {
		return nil, err
	}
	if a.has("global") && !a.has("optional") {
		return nil, a.tags["global"].errorf("this server has no global scripts")
	}
	return func(m *machine) error {
		if a.has("once") && m.once[name] || a.has("global") {
			return nil
		}
		switch m.count++; {
		case m.depth == maxIncludes:
			return a.errorf("scripts include each other more than %d deep", maxIncludes) // RFC 6609 section 3.1: also what finds a loop.
		case m.count > maxIncluded:
			return a.errorf("a script includes others at most %d times", maxIncluded)
		}
		script, err := m.included(name)
		if err != nil {
			return a.errorf("the script %q cannot be included: %v", name, err)
		}
		if script == nil {
			if a.has("optional") {
				return nil
			}
			return a.errorf("the script %q does not exist", name)
		}
		if !m.used[name] {
			m.used[name] = true
			if m.programs += script.programs; m.programs > maxUsed {
				return a.errorf("the regular expressions of all scripts that are used become more than %d instructions", maxUsed)
			}
		}
		m.once[name] = true
		m.depth++
		outer := m.frame
		m.frame = newFrame()
		m.frame.flags = outer.flags
		err = m.steps(script.body)
		outer.flags = m.frame.flags
		m.frame = outer
		m.depth--
		if err == errReturn {
			return nil
		}
		return err
	}, nil
}

func (m *machine) included(name string) (*Script, error) {
	if m.ctx.Include == nil {
		return nil, nil
	}
	return m.ctx.Include(name)
}

// buildGlobal is global (RFC 6609 section 3.4.1).
func buildGlobal(c *compiler, a *arguments) (step, error) {
	if err := c.need(a.Position, "global", "variables"); err != nil {
		return nil, err
	}
	for _, name := range a.place[0].strings {
		if !isIdentifier(name) {
			return nil, a.place[0].errorf("%q is not the name of a variable", name)
		}
	}
	return func(m *machine) error {
		for _, name := range a.place[0].strings {
			m.frame.global[asciiLower(name)] = true
		}
		return nil
	}, nil
}
