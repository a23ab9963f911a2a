package sieve

import (
	"slices"
	"strings"
)

func init() {
	commands["require"] = &spec{takes: "l", command: buildRequire}
	commands["stop"] = &spec{command: func(*compiler, *arguments) (step, error) { return func(*machine) error { return errStop }, nil }}
	commands["discard"] = &spec{command: func(*compiler, *arguments) (step, error) {
		return func(m *machine) error { m.keep = false; return nil }, nil // RFC 5228 section 4.4: it only cancels the implicit keep.
	}}
	commands["keep"] = &spec{tags: flagTag, command: buildKeep}
	commands["fileinto"] = &spec{needs: []string{"fileinto"}, takes: "s", command: buildFileInto, tags: merge(flagTag, map[string]tagged{
		"copy":       {needs: "copy"},
		"create":     {needs: "mailbox"},
		"mailboxid":  {needs: "mailboxid", takes: 's', group: "place"},
		"specialuse": {needs: "special-use", takes: 's', group: "place"}, // RFC 9042 section 4.2: not both.
	})}
	commands["reject"] = &spec{needs: []string{"reject"}, takes: "s", command: buildReject}
	commands["ereject"] = &spec{needs: []string{"ereject"}, takes: "s", command: buildReject}
}

// buildRequire is require (RFC 5228 section 3.2).
func buildRequire(c *compiler, a *arguments) (step, error) {
	if c.begun {
		return nil, a.errorf("require comes before all other commands")
	}
	for _, name := range a.place[0].strings {
		name = strings.ToLower(name)
		if !isCapability(name) {
			return nil, a.place[0].errorf("%q is not offered by this server", name)
		}
		c.enabled[name] = true
		if !strings.HasPrefix(name, "comparator-") {
			c.required[name] = a.place[0].Position
		}
	}
	return func(*machine) error { return nil }, nil
}

// buildKeep is keep (RFC 5228 section 4.3).
func buildKeep(c *compiler, a *arguments) (step, error) {
	flags, err := c.flagsOf(a)
	return func(m *machine) error {
		m.keep = false
		return m.file(a.Position, Action{Kind: Keep, Mailbox: Inbox, Flags: flags(m)})
	}, err
}

// buildFileInto is fileinto (RFC 5228 section 4.1) with what RFC 3894, RFC 5232, RFC 5490, RFC 8579 and RFC 9042 add to it.
func buildFileInto(c *compiler, a *arguments) (step, error) {
	flags, err := c.flagsOf(a)
	if err != nil {
		return nil, err
	}
	mailbox, err := c.template(a.place[0].Position, a.place[0].strings[0])
	if err != nil {
		return nil, err
	}
	id, err := c.optional(a, "mailboxid")
	if err != nil {
		return nil, err
	}
	use, err := c.optional(a, "specialuse")
	if err != nil {
		return nil, err
	}
	if s, ok := mailbox.constant(); ok && s == "" {
		return nil, a.place[0].errorf("a mailbox has a name")
	}
	return func(m *machine) error {
		if !a.has("copy") { // RFC 3894 section 3.
			m.keep = false
		}
		return m.file(a.Position, Action{
			Kind: File, Mailbox: m.expand(mailbox), MailboxID: m.expand(id), SpecialUse: m.expand(use), Create: a.has("create"), Flags: flags(m),
		})
	}, nil
}

// buildReject is reject and ereject (RFC 5429), which are the same where the message is refused before it was accepted.
func buildReject(c *compiler, a *arguments) (step, error) {
	reason, err := c.template(a.place[0].Position, a.place[0].strings[0])
	return func(m *machine) error {
		m.keep = false
		return m.add(a.Position, Action{Kind: Reject, Reason: truncate(m.expand(reason), maxVariable)})
	}, err
}

// flagTag is :flags (RFC 5232 section 5).
var flagTag = map[string]tagged{"flags": {needs: "imap4flags", takes: 'l'}}

// flagsOf gives what computes the flags that a message is filed with: those of :flags, else those of the internal variable.
func (c *compiler) flagsOf(a *arguments) (func(m *machine) []string, error) {
	if !a.has("flags") {
		return func(m *machine) []string { return slices.Clone(m.frame.flags) }, nil
	}
	list, err := c.templates(a.tags["flags"])
	return func(m *machine) []string { return m.flags(m.expandAll(list)) }, err
}

// flags gives the flags in strings, and pays for comparing them with each other. Without steps there are none; see expand.
func (m *machine) flags(list []string) []string {
	for _, s := range list {
		m.left -= 1 + len(s)/16
	}
	if m.left < 0 {
		return nil
	}
	return normalFlags(nil, list)
}

// normalFlags adds flags to a set. A string may hold several with spaces between them; what cannot be a flag is left out (RFC 5232 section 2).
func normalFlags(set, more []string) []string {
	for _, s := range more {
		for _, f := range strings.Fields(s) {
			if isFlag(f) && len(set) < maxFlags && !slices.ContainsFunc(set, func(g string) bool { return strings.EqualFold(f, g) }) {
				set = append(set, f)
			}
		}
	}
	return set
}

// isFlag tells flags that a delivery may set. \Recent is the server's own (RFC 9051 section 2.3.2).
func isFlag(s string) bool {
	if rest, system := strings.CutPrefix(s, `\`); system {
		return slices.ContainsFunc([]string{"answered", "flagged", "deleted", "seen", "draft"}, func(f string) bool { return strings.EqualFold(f, rest) })
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(`(){%*"\]`, s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

func init() {
	for name, change := range map[string]func(have, more []string) []string{
		"setflag": func(_, more []string) []string { return more },
		"addflag": normalFlags,
		"removeflag": func(have, less []string) []string {
			return slices.DeleteFunc(have, func(f string) bool {
				return slices.ContainsFunc(less, func(g string) bool { return strings.EqualFold(f, g) })
			})
		},
	} {
		commands[name] = &spec{needs: []string{"imap4flags"}, takes: "*", command: func(c *compiler, a *arguments) (step, error) {
			return buildFlags(c, a, change)
		}}
	}
	tests["hasflag"] = &spec{needs: []string{"imap4flags"}, tags: matchTags, takes: "*", test: buildHasFlag}
}

// flagVariables gives the variables that a command on flags names, and its list of flags (RFC 5232 section 3). Without variables there is the internal one.
func (c *compiler) flagVariables(a *arguments) (names []string, flags argument, err error) {
	flags = a.place[len(a.place)-1]
	if len(a.place) == 1 {
		return nil, flags, nil
	}
	if err := c.need(a.Position, "a variable for flags", "variables"); err != nil {
		return nil, flags, err
	}
	for _, s := range a.place[0].strings {
		name, err := c.variableName(argument{Position: a.place[0].Position, strings: []string{s}})
		if err != nil {
			return nil, flags, err
		}
		names = append(names, name)
	}
	return names, flags, nil
}

// buildFlags is setflag, addflag and removeflag (RFC 5232 section 3).
func buildFlags(c *compiler, a *arguments, change func(have, more []string) []string) (step, error) {
	names, flags, err := c.flagVariables(a)
	if err != nil {
		return nil, err
	}
	list, err := c.templates(flags)
	if len(names) > 1 {
		return nil, a.errorf("%s changes one variable", a.name)
	}
	return func(m *machine) error {
		more := m.flags(m.expandAll(list))
		if err := m.spend(a.Position, 1+len(more)); err != nil {
			return err
		}
		if len(names) == 0 {
			m.frame.flags = change(slices.Clone(m.frame.flags), more)
			return nil
		}
		have := m.flags([]string{m.value(names[0])})
		return m.assign(a.Position, names[0], strings.Join(change(have, more), " "))
	}, err
}

// buildHasFlag is hasflag (RFC 5232 section 4).
func buildHasFlag(c *compiler, a *arguments) (predicate, error) {
	names, flags, err := c.flagVariables(a)
	if err != nil {
		return nil, err
	}
	match, err := c.matcher(a, flags)
	if err != nil {
		return nil, err
	}
	return func(m *machine) (bool, error) {
		if len(names) == 0 {
			return match.any(m, m.frame.flags)
		}
		var have []string
		for _, name := range names {
			have = append(have, m.flags([]string{m.value(name)})...)
		}
		return match.any(m, have)
	}, nil
}
