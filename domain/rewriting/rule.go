package rewriting

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
)

// rule is an expression with its replacement, written with a colon between them as James does: "(.*)@example\.org:${1}@example.com". The expression has to match
// the whole address, in any case. It is of RE2, whose time is linear in the length of an address.
type rule struct {
	expression  *regexp.Regexp
	replacement string
}

// parseRule reads one. The last colon divides it, since no address has one that is not a literal. Errors: domain.Invalid, domain.TooLarge.
func parseRule(text string) (*rule, error) {
	at := strings.LastIndexByte(text, ':')
	switch {
	case len(text) > MaxText:
		return nil, domain.Errorf(domain.TooLarge, "an expression with its replacement has at most %d octets", MaxText)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return nil, domain.Errorf(domain.Invalid, "an expression is one line of UTF-8")
	case at <= 0 || at == len(text)-1:
		return nil, &domain.Error{Kind: domain.Invalid, Msg: "an expression needs a replacement behind a colon", Hint: `such as (.*)@example\.org:${1}@example.com`}
	case !strings.Contains(text[at+1:], "@"):
		return nil, domain.Errorf(domain.Invalid, "the replacement %q has no @: it does not make an address", text[at+1:])
	}
	if err := bounded(text[:at]); err != nil {
		return nil, err
	}
	e, err := regexp.Compile("(?i)^(?:" + text[:at] + ")$")
	if err != nil {
		return nil, domain.Errorf(domain.Invalid, "the expression %q cannot be read: %v", text[:at], err)
	}
	return &rule{e, text[at+1:]}, nil
}

// bounded checks an expression as it stands, before anything is put around it, and how long it takes: a match costs the instructions of its program for each octet.
func bounded(expression string) error {
	tree, err := syntax.Parse(expression, syntax.Perl|syntax.FoldCase)
	if err != nil {
		return domain.Errorf(domain.Invalid, "the expression %q cannot be read: %v", expression, err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return domain.Errorf(domain.Invalid, "the expression %q cannot be read: %v", expression, err)
	}
	if n := len(program.Inst); n > MaxProgram {
		return domain.Errorf(domain.TooLarge, "the expression %q costs %d steps for each character, of at most %d: repeat less in it", expression, n, MaxProgram)
	}
	return nil
}

// rewrite gives what a rule makes of an address. ok is false where it does not match, and where it makes none.
func (r *rule) rewrite(address string) (a delivery.Address, ok bool) {
	if r == nil {
		return a, false
	}
	found := r.expression.FindStringSubmatchIndex(address)
	if found == nil {
		return a, false
	}
	a, err := delivery.Unquoted(string(r.expression.ExpandString(nil, r.replacement, address, found)))
	return a, err == nil && !a.IsNull() && !a.Literal()
}

// anywhere tells whether the domain that a rule makes depends on the address.
func (r *rule) anywhere() bool {
	return strings.Contains(r.replacement[strings.LastIndexByte(r.replacement, '@')+1:], "$")
}

// CheckRule says whether an expression with its replacement can be read. Errors: domain.Invalid, domain.TooLarge.
func CheckRule(text string) error {
	_, err := parseRule(text)
	return err
}
