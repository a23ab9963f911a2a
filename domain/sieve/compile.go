package sieve

import (
	"fmt"
	"slices"
	"strings"
)

// Script is a checked script. It is immutable.
type Script struct {
	body []step
	// Warnings are what is allowed and looks like a mistake.
	Warnings []Warning
	// Size is about how many octets of memory the script takes.
	Size     int
	programs int // what its regular expressions count against maxUsed
}

// Warning is a remark on a script that compiles.
type Warning struct {
	Position
	Msg string
}

func (w Warning) String() string {
	return fmt.Sprintf("line %d, column %d: %s", w.Line, w.Column, w.Msg)
}

// step is a command ready to run, and predicate a test. Their errors keep the message.
type (
	step      func(m *machine) error
	predicate func(m *machine) (bool, error)
)

// spec says what a command or a test takes. The letters of takes are s for a string, l for a list of strings and n for a number, which is also what
// the value of a tag is; "*" alone is one list or two.
type spec struct {
	needs   []string // one of these capabilities; none for what every script may use
	tags    map[string]tagged
	takes   string
	command func(c *compiler, a *arguments) (step, error)
	test    func(c *compiler, a *arguments) (predicate, error)
	tests   bool // takes tests
	block   bool // takes a block
}

// tagged is an argument with a tag. Of those of a group only one may be given.
type tagged struct {
	needs string
	takes byte // 0 for none
	group string
}

var (
	commands = map[string]*spec{}
	tests    = map[string]*spec{}
)

// arguments are those of a command or a test, in the form that its spec demands.
type arguments struct {
	*node
	spec  *spec
	tags  map[string]argument
	place []argument
}

func (a *arguments) has(tag string) bool { _, ok := a.tags[tag]; return ok }

// one gives which tag of a group was given, or otherwise.
func (a *arguments) one(group, otherwise string) string {
	for name := range a.tags {
		if a.spec.tags[name].group == group {
			return name
		}
	}
	return otherwise
}

// compiler checks a script and turns it into steps.
type compiler struct {
	enabled  map[string]bool // what require and ihave have asked for
	used     map[string]bool
	required map[string]Position
	begun    bool // a command other than require has come
	warnings []Warning
	programs int // instructions of all regular expressions; see maxPrograms
}

// Compile checks a script. The error is an *Error.
func Compile(script string) (*Script, error) {
	nodes, tokens, err := parse(script)
	if err != nil {
		return nil, err
	}
	c := &compiler{enabled: map[string]bool{}, used: map[string]bool{}, required: map[string]Position{}}
	// RFC 5228 section 2.7.3: these comparators need no require.
	c.enabled["comparator-i;octet"], c.enabled["comparator-i;ascii-casemap"] = true, true
	body, err := c.block(nodes)
	if err != nil {
		return nil, err
	}
	for name, at := range c.required {
		if !c.used[name] {
			c.warn(at, "%q is required and not used", name)
		}
	}
	slices.SortFunc(c.warnings, func(a, b Warning) int { return (a.Line-b.Line)<<16 + a.Column - b.Column })
	return &Script{body, c.warnings, len(script) + 400*tokens + 64*c.programs, c.programs}, nil
}

func (c *compiler) warn(at Position, format string, args ...any) {
	c.warnings = append(c.warnings, Warning{at, fmt.Sprintf(format, args...)})
}

// allowed marks a capability as used and tells whether it was asked for.
func (c *compiler) allowed(capability string) bool {
	c.used[capability] = true
	return c.enabled[capability]
}

// need checks that one of several capabilities was asked for.
func (c *compiler) need(at Position, what string, capabilities ...string) error {
	ok := len(capabilities) == 0
	for _, name := range capabilities {
		ok = c.allowed(name) || ok
	}
	if !ok {
		return at.errorf("%s needs require %q", what, capabilities[0])
	}
	return nil
}

// block compiles commands in a row, and if with what belongs to it.
func (c *compiler) block(nodes []*node) ([]step, error) {
	steps := make([]step, 0, len(nodes))
	for i := 0; i < len(nodes); i++ {
		n := nodes[i]
		if n.name != "require" {
			c.begun = true
		}
		var s step
		var err error
		if n.name == "if" {
			chain := 1
			for i+chain < len(nodes) && (nodes[i+chain].name == "elsif" || nodes[i+chain].name == "else") {
				if chain++; nodes[i+chain-1].name == "else" {
					break
				}
			}
			s, err = c.conditional(nodes[i : i+chain])
			i += chain - 1
		} else {
			s, err = c.command(n)
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
		if (n.name == "stop" || n.name == "return" || n.name == "error") && i+1 < len(nodes) {
			c.warn(nodes[i+1].Position, "this is never reached")
		}
	}
	return steps, nil
}

// command compiles a command that is no part of a condition.
func (c *compiler) command(n *node) (step, error) {
	s := commands[n.name]
	switch {
	case n.name == "elsif" || n.name == "else":
		return nil, n.errorf("%s follows an if or an elsif", n.name)
	case s == nil && c.enabled["ihave"]: // RFC 5463 section 4: it is an error only if it is reached.
		return unknown(n.errorf("%s is not a command that this server has", n.name)), nil
	case s == nil:
		return nil, n.errorf("%s is not a command that this server has", n.name)
	}
	a, err := c.arguments(n, s)
	if err != nil {
		return nil, err
	}
	run, err := s.command(c, a)
	if err != nil {
		return nil, err
	}
	return func(m *machine) error {
		if err := m.spend(n.Position, 1); err != nil {
			return err
		}
		return run(m)
	}, nil
}

func unknown(err error) step { return func(*machine) error { return err } }

// conditional compiles if with its elsifs and else (RFC 5228 section 3.1).
func (c *compiler) conditional(nodes []*node) (step, error) {
	type branch struct {
		test predicate
		body []step
	}
	branches := make([]branch, 0, len(nodes))
	for _, n := range nodes {
		switch {
		case len(n.args) > 0 || n.list:
			return nil, n.errorf("%s takes one test", n.name)
		case n.name == "else" && len(n.tests) > 0:
			return nil, n.errorf("else takes no test")
		case n.name != "else" && len(n.tests) != 1:
			return nil, n.errorf("%s takes a test", n.name)
		case n.block == nil:
			return nil, n.errorf("%s takes a block", n.name)
		}
		b := branch{test: always}
		var err error
		if n.name != "else" {
			if b.test, err = c.test(n.tests[0]); err != nil {
				return nil, err
			}
		}
		if b.body, err = c.block(n.block); err != nil {
			return nil, err
		}
		branches = append(branches, b)
	}
	return func(m *machine) error {
		for _, b := range branches {
			holds, err := b.test(m)
			if err != nil {
				return err
			}
			if holds {
				return m.steps(b.body)
			}
		}
		return nil
	}, nil
}

func always(*machine) (bool, error) { return true, nil }

// test compiles one test.
func (c *compiler) test(n *node) (predicate, error) {
	s := tests[n.name]
	if s == nil {
		err := n.errorf("%s is not a test that this server has", n.name)
		if c.enabled["ihave"] { // RFC 5463 section 4.
			return func(*machine) (bool, error) { return false, err }, nil
		}
		return nil, err
	}
	if n.block != nil {
		return nil, n.errorf("a test takes no block")
	}
	a, err := c.arguments(n, s)
	if err != nil {
		return nil, err
	}
	run, err := s.test(c, a)
	if err != nil {
		return nil, err
	}
	return func(m *machine) (bool, error) {
		if err := m.spend(n.Position, 1); err != nil {
			return false, err
		}
		return run(m)
	}, nil
}

// arguments checks those of a node against its spec. Tagged ones come before the others (RFC 5228 section 2.6.2).
func (c *compiler) arguments(n *node, s *spec) (*arguments, error) {
	if err := c.need(n.Position, n.name, s.needs...); err != nil {
		return nil, err
	}
	a := &arguments{node: n, spec: s, tags: map[string]argument{}}
	groups := map[string]bool{}
	i := 0
	for ; i < len(n.args) && n.args[i].sort == tag; i++ {
		at := n.args[i]
		t, known := s.tags[at.tag]
		switch {
		case !known:
			return nil, at.errorf("%s has no :%s", n.name, at.tag)
		case a.has(at.tag):
			return nil, at.errorf(":%s stands here twice", at.tag)
		case t.group != "" && groups[t.group]:
			return nil, at.errorf(":%s cannot stand beside another of its kind", at.tag)
		}
		if t.needs != "" {
			if err := c.need(at.Position, ":"+at.tag, t.needs); err != nil {
				return nil, err
			}
		}
		groups[t.group] = true
		value := at
		if t.takes != 0 {
			if i++; i == len(n.args) {
				return nil, at.errorf(":%s takes a value", at.tag)
			}
			value = n.args[i]
			if err := value.fits(":"+at.tag, t.takes); err != nil {
				return nil, err
			}
		}
		a.tags[at.tag] = value
	}
	a.place = n.args[i:]
	takes := s.takes
	if takes == "*" {
		takes = strings.Repeat("l", min(max(len(a.place), 1), 2))
	}
	if len(a.place) != len(takes) {
		return nil, n.errorf("%s takes %d arguments here, not %d", n.name, len(takes), len(a.place))
	}
	for i := range a.place {
		if err := a.place[i].fits(n.name, takes[i]); err != nil {
			return nil, err
		}
	}
	switch {
	case len(n.tests) > 0 && !s.tests:
		return nil, n.tests[0].errorf("%s takes no test", n.name)
	case n.block != nil && !s.block:
		return nil, n.errorf("%s takes no block", n.name)
	}
	return a, nil
}

// fits checks an argument's type.
func (a argument) fits(what string, takes byte) error {
	switch {
	case takes == 'n' && a.sort != number:
		return a.errorf("%s takes a number here", what)
	case takes == 's' && (a.sort != str || a.list && len(a.strings) != 1): // RFC 5228 section 2.4.2.1: a string is a list of one, and so the other way round is harmless.
		return a.errorf("%s takes a string here", what)
	case takes == 'l' && a.sort != str:
		return a.errorf("%s takes strings here", what)
	}
	return nil
}

// constant gives a string that may not be computed.
func (c *compiler) constant(a argument) (string, error) {
	t, err := c.template(a.Position, a.strings[0])
	if err != nil {
		return "", err
	}
	s, ok := t.constant()
	if !ok {
		return "", a.errorf("a string without variables should be here")
	}
	return s, nil
}

// templates compiles strings.
func (c *compiler) templates(a argument) ([]template, error) {
	list := make([]template, len(a.strings))
	for i, s := range a.strings {
		var err error
		if list[i], err = c.template(a.Position, s); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// optional compiles the string of a tag; nil without it.
func (c *compiler) optional(a *arguments, tag string) (template, error) {
	if !a.has(tag) {
		return nil, nil
	}
	return c.template(a.tags[tag].Position, a.tags[tag].strings[0])
}

// merge puts the tags of several groups together.
func merge(sets ...map[string]tagged) map[string]tagged {
	all := map[string]tagged{}
	for _, set := range sets {
		for name, t := range set {
			all[name] = t
		}
	}
	return all
}

func isCapability(name string) bool {
	return slices.Contains(capabilities, strings.ToLower(name))
}
