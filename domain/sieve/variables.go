package sieve

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// template is a string with variables in it (RFC 5229 section 3).
type template []piece

// piece is text, or a variable when name is not empty; match variables have digits for a name.
type piece struct{ literal, name string }

// constant gives the text of a template without variables.
func (t template) constant() (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].name == "":
		return t[0].literal, true
	}
	return "", false
}

// template compiles a string. Encoded characters are undone first (RFC 5229 section 3).
func (c *compiler) template(at Position, s string) (template, error) {
	if strings.Contains(s, "${") && c.allowed("encoded-character") {
		var err error
		if s, err = encoded(at, s); err != nil {
			return nil, err
		}
	}
	if !strings.Contains(s, "${") || !c.allowed("variables") {
		return template{{literal: s}}, nil
	}
	var t template
	literal := 0
	for i := 0; i < len(s); {
		if name, n := reference(s[i:]); n > 0 {
			if ns, _, dotted := strings.Cut(name, "."); dotted && (ns != "global" || !c.allowed("include")) {
				return nil, at.errorf("${%s} is of a namespace that nobody knows", name) // RFC 5229 section 3: an error at compile time.
			}
			if i > literal {
				t = append(t, piece{literal: s[literal:i]})
			}
			t = append(t, piece{name: name})
			i += n
			literal = i
			continue
		}
		i++
	}
	if literal < len(s) || len(t) == 0 {
		t = append(t, piece{literal: s[literal:]})
	}
	return t, nil
}

// reference reads ${name} at the beginning of s: its name in lower case and its length, or 0. What does not follow the grammar is text.
func reference(s string) (name string, n int) {
	if !strings.HasPrefix(s, "${") {
		return "", 0
	}
	end := shut(s)
	if end < 0 {
		return "", 0
	}
	name = strings.ToLower(s[2:end])
	if isNumber(name) {
		return strconv.Itoa(atoi(name)), end + 1
	}
	for part := range strings.SplitSeq(name, ".") {
		if !isIdentifier(part) {
			return "", 0
		}
	}
	return name, end + 1
}

// shut finds the brace that ends what s begins with, or gives -1. No '$' can stand before it, which keeps the search short where many begin and none ends.
func shut(s string) int {
	end := 2 + strings.IndexAny(s[2:], "$}")
	if end < 2 || s[end] == '$' {
		return -1
	}
	return end
}

func isNumber(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// atoi reads digits; what is too large to be of use is 1,000,000.
func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 1_000_000
	}
	return min(n, 1_000_000)
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		if !isName(s[i]) {
			return false
		}
	}
	return s != "" && !isDigit(s[0])
}

// encoded undoes ${hex: ...} and ${unicode: ...} (RFC 5228 section 2.4.2.4).
func encoded(at Position, s string) (string, error) {
	var b strings.Builder
	for s != "" {
		start := strings.Index(s, "${")
		if start < 0 {
			break
		}
		b.WriteString(s[:start])
		s = s[start:]
		end := shut(s)
		text, ok := "", false
		if end > 0 {
			var err error
			if text, ok, err = decodeEncoded(at, s[2:end]); err != nil {
				return "", err
			}
		}
		if !ok {
			b.WriteString("${")
			s = s[2:]
			continue
		}
		b.WriteString(text)
		s = s[end+1:]
	}
	b.WriteString(s)
	return b.String(), nil
}

func decodeEncoded(at Position, s string) (text string, ok bool, err error) {
	kind, values, colon := strings.Cut(s, ":")
	hex := strings.EqualFold(kind, "hex")
	if !colon || !hex && !strings.EqualFold(kind, "unicode") {
		return "", false, nil
	}
	var out []byte
	words := strings.Fields(values)
	for _, w := range words {
		n, err := strconv.ParseUint(w, 16, 32)
		switch {
		case err != nil, hex && len(w) > 2:
			return "", false, nil
		case hex:
			out = append(out, byte(n))
		case n > unicode.MaxRune || 0xd800 <= n && n <= 0xdfff:
			return "", false, at.errorf("U+%X is not a character", n)
		default:
			out = utf8.AppendRune(out, rune(n))
		}
	}
	return string(out), len(words) > 0, nil
}

// expand puts the values of variables into a template, and pays for it. What grows beyond the limit of a script ends there; without steps there is no text:
// the run fails with the next thing that it does, or at its end.
func (m *machine) expand(t template) string {
	if s, ok := t.constant(); ok {
		return s
	}
	var b strings.Builder
	for _, p := range t {
		if p.name == "" {
			b.WriteString(p.literal)
		} else {
			b.WriteString(m.value(p.name))
		}
		if b.Len() > MaxScript {
			break
		}
	}
	if m.left -= len(t) + b.Len()/64; m.left < 0 {
		return ""
	}
	return b.String()
}

func (m *machine) expandAll(list []template) []string {
	m.left -= len(list) / 64
	all := make([]string, len(list))
	for i, t := range list {
		all[i] = m.expand(t)
	}
	return all
}

// value is a variable's; one that was never set is empty (RFC 5229 section 3).
func (m *machine) value(name string) string {
	if isDigit(name[0]) {
		if n := atoi(name); n < len(m.match) {
			return m.match[n]
		}
		return ""
	}
	vars, name := m.scope(name)
	return vars[name]
}

// scope finds where a variable is kept (RFC 6609 sections 3.4.1 and 3.4.2).
func (m *machine) scope(name string) (map[string]string, string) {
	if rest, ok := strings.CutPrefix(name, "global."); ok {
		return m.global, rest
	}
	if m.frame.global[name] {
		return m.global, name
	}
	return m.frame.vars, name
}

func (m *machine) assign(at Position, name, value string) error {
	vars, name := m.scope(name)
	if _, known := vars[name]; !known && len(m.frame.vars)+len(m.global) >= maxVariables {
		return at.errorf("a script has at most %d variables", maxVariables)
	}
	vars[name] = truncate(value, maxVariable)
	return nil
}

// truncate cuts a text without cutting a character.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// modifiers of set, by precedence: the higher are applied first (RFC 5229 section 4.1).
var modifiers = []struct {
	name, group, needs string
	apply              func(string) string
}{
	{"lower", "40", "", strings.ToLower},
	{"upper", "40", "", strings.ToUpper},
	{"lowerfirst", "30", "", func(s string) string { return first(s, unicode.ToLower) }},
	{"upperfirst", "30", "", func(s string) string { return first(s, unicode.ToUpper) }},
	{"quotewildcard", "20", "", strings.NewReplacer("*", `\*`, "?", `\?`, `\`, `\\`).Replace},
	{"quoteregex", "20", "regex", func(s string) string { return quoteRegex(s) }},
	{"encodeurl", "15", "enotify", encodeURL}, // RFC 5435 section 6.
	{"length", "10", "", func(s string) string { return strconv.Itoa(utf8.RuneCountInString(s)) }},
}

func first(s string, f func(rune) rune) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 || r == utf8.RuneError {
		return s
	}
	return string(f(r)) + s[n:]
}

func init() {
	tags := map[string]tagged{}
	for _, m := range modifiers {
		tags[m.name] = tagged{needs: m.needs, group: m.group}
	}
	commands["set"] = &spec{needs: []string{"variables"}, tags: tags, takes: "ss", command: buildSet}
	tests["string"] = &spec{needs: []string{"variables"}, tags: matchTags, takes: "ll", test: buildString}
}

// variableName checks the name of a variable that is to be changed.
func (c *compiler) variableName(a argument) (string, error) {
	name := strings.ToLower(a.strings[0])
	rest, global := strings.CutPrefix(name, "global.")
	if !isIdentifier(rest) || global && !c.allowed("include") {
		return "", a.errorf("%q is not the name of a variable", a.strings[0])
	}
	return name, nil
}

// buildSet is set (RFC 5229 section 4).
func buildSet(c *compiler, a *arguments) (step, error) {
	name, err := c.variableName(a.place[0])
	if err != nil {
		return nil, err
	}
	value, err := c.template(a.place[1].Position, a.place[1].strings[0])
	if err != nil {
		return nil, err
	}
	var apply []func(string) string
	for _, mod := range modifiers {
		if a.has(mod.name) {
			apply = append(apply, mod.apply)
		}
	}
	return func(m *machine) error {
		s := truncate(m.expand(value), maxVariable)
		for _, f := range apply {
			s = truncate(f(s), 3*maxVariable)
		}
		if err := m.spend(a.Position, 1+len(s)/64); err != nil {
			return err
		}
		return m.assign(a.Position, name, s)
	}, nil
}

// buildString is the test string (RFC 5229 section 5).
func buildString(c *compiler, a *arguments) (predicate, error) {
	sources, err := c.templates(a.place[0])
	if err != nil {
		return nil, err
	}
	match, err := c.matcher(a, a.place[1])
	if err != nil {
		return nil, err
	}
	return func(m *machine) (bool, error) {
		values := m.expandAll(sources)
		if match.kind == "count" { // RFC 5229 section 5: empty strings do not count.
			values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
		}
		return match.any(m, values)
	}, nil
}
