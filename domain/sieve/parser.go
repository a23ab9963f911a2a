package sieve

import (
	"strings"
	"unicode/utf8"
)

// node is a command or a test as the generic grammar has it (RFC 5228 section 8.2): nothing is known yet of what it means.
type node struct {
	Position
	name  string
	args  []argument
	tests []*node
	list  bool    // the tests are in parentheses
	block []*node // nil if there is none
}

// argument is a tag, a number or strings.
type argument struct {
	Position
	sort    sort
	tag     string
	n       int64
	strings []string
	list    bool // the strings are in brackets
}

type parser struct {
	lexer  lexer
	now    token
	tokens int
}

// parse reads a whole script, and tells of how many tokens it is.
func parse(script string) (commands []*node, tokens int, err error) {
	p := parser{lexer: lexer{in: script, line: 1}}
	switch {
	case len(script) > MaxScript:
		return nil, 0, Position{1, 1}.errorf("a script has at most %d octets", MaxScript)
	case !utf8.ValidString(script) || strings.Contains(script, "\x00"): // RFC 5228 sections 2.1 and 8.1.
		return nil, 0, Position{1, 1}.errorf("a script must be valid UTF-8 without NUL")
	}
	if err := p.advance(); err != nil {
		return nil, 0, err
	}
	commands, err = p.commands(0)
	if err == nil && p.now.sort != endOfScript {
		err = p.now.errorf("%v does not belong here", p.now)
	}
	return commands, p.tokens, err
}

func (p *parser) advance() (err error) {
	if p.tokens++; p.tokens > maxTokens {
		return p.now.errorf("a script has at most %d words", maxTokens)
	}
	p.now, err = p.lexer.next()
	return err
}

func (p *parser) commands(depth int) ([]*node, error) {
	list := []*node{}
	for p.now.sort == identifier {
		c, err := p.command(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// command reads one with its arguments, up to its semicolon or with its block.
func (p *parser) command(depth int) (*node, error) {
	n, err := p.named(0)
	if err != nil {
		return nil, err
	}
	switch {
	case p.now.is(punctuation, ";"):
		return n, p.advance()
	case !p.now.is(punctuation, "{"):
		return nil, p.now.errorf("a semicolon or a block should end %q; here is %v", n.name, p.now)
	case depth == maxNesting:
		return nil, p.now.errorf("blocks nest at most %d deep", maxNesting)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if n.block, err = p.commands(depth + 1); err != nil {
		return nil, err
	}
	if !p.now.is(punctuation, "}") {
		return nil, p.now.errorf("the block should end here, not go on with %v", p.now)
	}
	return n, p.advance()
}

// named reads an identifier with arguments and tests.
func (p *parser) named(depth int) (*node, error) {
	if p.now.sort != identifier {
		return nil, p.now.errorf("a test should be here, not %v", p.now)
	}
	if depth > maxNesting {
		return nil, p.now.errorf("tests nest at most %d deep", maxNesting)
	}
	n := &node{Position: p.now.Position, name: p.now.value}
	if err := p.advance(); err != nil {
		return nil, err
	}
	for {
		a, ok, err := p.argument()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		n.args = append(n.args, a)
	}
	if p.now.sort == identifier {
		test, err := p.named(depth + 1)
		n.tests = []*node{test}
		return n, err
	}
	if !p.now.is(punctuation, "(") {
		return n, nil
	}
	n.list = true
	for {
		if err := p.advance(); err != nil {
			return nil, err
		}
		test, err := p.named(depth + 1)
		if err != nil {
			return nil, err
		}
		n.tests = append(n.tests, test)
		if p.now.is(punctuation, ")") {
			return n, p.advance()
		}
		if !p.now.is(punctuation, ",") {
			return nil, p.now.errorf("a comma or a parenthesis should follow the test, not %v", p.now)
		}
	}
}

func (p *parser) argument() (a argument, ok bool, err error) {
	a = argument{Position: p.now.Position, sort: p.now.sort}
	switch {
	case p.now.sort == tag:
		a.tag = p.now.value
	case p.now.sort == number:
		a.n = p.now.n
	case p.now.sort == str:
		a.strings = []string{p.now.value}
	case p.now.is(punctuation, "["):
		a.sort, a.list = str, true
		return a, true, p.stringList(&a)
	default:
		return a, false, nil
	}
	return a, true, p.advance()
}

// stringList reads the strings between brackets.
func (p *parser) stringList(a *argument) error {
	for {
		if err := p.advance(); err != nil {
			return err
		}
		if p.now.sort != str {
			return p.now.errorf("a string should be here, not %v", p.now)
		}
		if a.strings = append(a.strings, p.now.value); len(a.strings) > maxList {
			return p.now.errorf("a list has at most %d strings", maxList)
		}
		if err := p.advance(); err != nil {
			return err
		}
		if p.now.is(punctuation, "]") {
			return p.advance()
		}
		if !p.now.is(punctuation, ",") {
			return p.now.errorf("a comma or a bracket should follow the string, not %v", p.now)
		}
	}
}
