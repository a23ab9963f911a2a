package pipeline

import (
	"strings"

	"github.com/streampost/streampost/domain"
)

// A line is
//
//	PROCESSOR: MATCHER -> ACTION [PARAMETER=VALUE ...] [onError=PROCESSOR|ignore|propagate]
//
// where a matcher is a name, or a name with =VALUE, and matchers are put together by not, and, xor, or (in this order of binding) and parentheses. A value with spaces, parentheses or quotes is written
// in double quotes, inside which a backslash protects a quote or a backslash.

// expression is a matcher as it is written: an atom, or an operator on two, or on one for not.
type expression struct {
	op          string // "", not, and, xor, or
	left, right *expression
	name, value string
}

// line is one step as it is written.
type line struct {
	processor string
	matcher   *expression
	action    string
	params    map[string]string
	order     []string
}

type token struct {
	text   string
	quoted bool
	joined bool // no space lies between it and the token before it
}

type parser struct {
	tokens []token
	at     int
}

func (p *parser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return token{}
}

func (p *parser) take(text string) bool {
	if t := p.peek(); p.at < len(p.tokens) && !t.quoted && t.text == text {
		p.at++
		return true
	}
	return false
}

// maxLine bounds a line, in octets.
const maxLine = 4 << 10

// parseLine reads a line. Errors: domain.Invalid.
func parseLine(text string) (*line, error) {
	if len(text) > maxLine {
		return nil, domain.Errorf(domain.Invalid, "a step may have %d octets", maxLine)
	}
	processor, rest, found := strings.Cut(text, ":")
	processor = strings.TrimSpace(processor)
	if !found || !isName(processor) {
		return nil, domain.Errorf(domain.Invalid, "a step begins with the name of its processor and a colon, such as transport: All -> Null")
	}
	tokens, err := tokenize(rest)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	l := &line{processor: processor, params: map[string]string{}}
	if l.matcher, err = p.expression(0); err != nil {
		return nil, err
	}
	if !p.take("->") {
		return nil, domain.Errorf(domain.Invalid, "after the matcher, -> and an action are missing at %q", p.peek().text)
	}
	if l.action = p.peek().text; p.peek().quoted || !isName(l.action) {
		return nil, domain.Errorf(domain.Invalid, "after -> comes the name of an action, not %q", l.action)
	}
	p.at++
	for p.at < len(p.tokens) {
		name := p.peek()
		p.at++
		if name.quoted || !isName(name.text) || !p.take("=") {
			return nil, domain.Errorf(domain.Invalid, "after the action come parameters such as processor=error, not %q", name.text)
		}
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		if _, twice := l.params[name.text]; twice {
			return nil, domain.Errorf(domain.Invalid, "the parameter %s is there twice", name.text)
		}
		l.params[name.text] = value
		l.order = append(l.order, name.text)
	}
	return l, nil
}

func isName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func tokenize(text string) (tokens []token, err error) {
	joined := false
	for text != "" {
		switch c := text[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			text, joined = text[1:], false
			continue
		case strings.HasPrefix(text, "->"):
			tokens = append(tokens, token{"->", false, joined})
			text = text[2:]
		case c == '(' || c == ')' || c == '=':
			tokens = append(tokens, token{text[:1], false, joined})
			text = text[1:]
		case c == '"':
			value, rest, ok := quoted(text[1:])
			if !ok {
				return nil, domain.Errorf(domain.Invalid, "a quote has no end")
			}
			tokens = append(tokens, token{value, true, joined})
			text = rest
		default:
			end := strings.IndexAny(text, " \t\r\n()=\"")
			if len(tokens) > 0 && tokens[len(tokens)-1].text == "=" && joined { // a value may have = in it
				end = strings.IndexAny(text, " \t\r\n()\"")
			}
			if end < 0 {
				end = len(text)
			}
			tokens = append(tokens, token{text[:end], false, joined})
			text = text[end:]
		}
		joined = true
	}
	return tokens, nil
}

func quoted(text string) (value, rest string, ok bool) {
	var b strings.Builder
	for n := 0; n < len(text); n++ {
		switch text[n] {
		case '"':
			return b.String(), text[n+1:], true
		case '\\':
			if n++; n == len(text) {
				return "", "", false
			}
		}
		b.WriteByte(text[n])
	}
	return "", "", false
}

// value reads what follows a =.
func (p *parser) value() (string, error) {
	t := p.peek()
	if p.at >= len(p.tokens) || !t.joined || !t.quoted && strings.ContainsAny(t.text, "()=") && len(t.text) == 1 {
		return "", domain.Errorf(domain.Invalid, "a value is missing behind =")
	}
	p.at++
	return t.text, nil
}

var operators = []string{"or", "xor", "and"} // the weakest first

// depth bounds nesting.
const maxDepth = 50

func (p *parser) expression(level int) (*expression, error) { return p.binary(level, 0) }

func (p *parser) binary(level, depth int) (*expression, error) {
	if depth > maxDepth {
		return nil, domain.Errorf(domain.Invalid, "matchers are nested more than %d deep", maxDepth)
	}
	if level == len(operators) {
		return p.unary(depth)
	}
	left, err := p.binary(level+1, depth)
	for err == nil && p.take(operators[level]) {
		var right *expression
		right, err = p.binary(level+1, depth)
		left = &expression{op: operators[level], left: left, right: right}
	}
	return left, err
}

func (p *parser) unary(depth int) (*expression, error) {
	if depth > maxDepth {
		return nil, domain.Errorf(domain.Invalid, "matchers are nested more than %d deep", maxDepth)
	}
	if p.take("not") {
		e, err := p.unary(depth + 1)
		return &expression{op: "not", left: e}, err
	}
	if p.take("(") {
		e, err := p.binary(0, depth+1)
		if err == nil && !p.take(")") {
			err = domain.Errorf(domain.Invalid, "a ) is missing at %q", p.peek().text)
		}
		return e, err
	}
	t := p.peek()
	if p.at >= len(p.tokens) || t.quoted || !isName(t.text) {
		return nil, domain.Errorf(domain.Invalid, "a matcher is missing at %q", t.text)
	}
	p.at++
	e := &expression{name: t.text}
	var err error
	if p.peek().joined && p.take("=") {
		e.value, err = p.value()
	}
	return e, err
}

// excludes reports whether the expression, as it is written, finds nobody for whom an atom without a value is true.
func (e *expression) excludes(name string) bool {
	switch e.op {
	case "not":
		return e.left.op == "" && e.left.name == name
	case "and":
		return e.left.excludes(name) || e.right.excludes(name)
	case "or":
		return e.left.excludes(name) && e.right.excludes(name)
	}
	return false
}
