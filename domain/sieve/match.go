package sieve

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain/collation"
	"golang.org/x/text/unicode/norm"
)

// matchTags are the match types and comparators (RFC 5228 section 2.7, RFC 5231 section 4).
var matchTags = map[string]tagged{
	"is":         {group: "match"},
	"contains":   {group: "match"},
	"matches":    {group: "match"},
	"regex":      {needs: "regex", group: "match"},
	"value":      {needs: "relational", takes: 's', group: "match"},
	"count":      {needs: "relational", takes: 's', group: "match"},
	"comparator": {takes: 's'},
}

// comparator orders and folds text (RFC 4790).
type comparator string

const (
	octet          comparator = "i;octet"
	asciiCasemap   comparator = "i;ascii-casemap"
	asciiNumeric   comparator = "i;ascii-numeric"
	unicodeCasemap comparator = "i;unicode-casemap"
)

// fold gives the form in which texts are equal if their octets are.
func (c comparator) fold(s string) string {
	switch c {
	case asciiCasemap:
		return asciiLower(s)
	case unicodeCasemap:
		return collation.Casemap(s)
	case asciiNumeric:
		return numeric(s)
	}
	return s
}

func asciiLower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[j] = c + ('a' - 'A')
				}
			}
			return string(b)
		}
	}
	return s
}

// numeric gives the digits that a text begins with, without leading zeros (RFC 4790 section 9.1). A text that begins with none is infinity.
func numeric(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == 0 {
		return "infinity"
	}
	return cmp.Or(strings.TrimLeft(s[:n], "0"), "0")
}

// compare orders two texts.
func (c comparator) compare(a, b string) int {
	a, b = c.fold(a), c.fold(b)
	if c == asciiNumeric && a != b {
		switch {
		case a == "infinity":
			return 1
		case b == "infinity":
			return -1
		}
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}

// matcher compares values with keys.
type matcher struct {
	Position
	kind       string
	relation   string
	comparator comparator
	keys       []template
	patterns   []*expression // of regex, where the key is constant; nil elsewhere
	silent     bool          // leaves the match variables alone
}

// matcher compiles what the tags of a test say of how it compares.
func (c *compiler) matcher(a *arguments, keys argument) (*matcher, error) {
	mt := &matcher{Position: a.Position, kind: a.one("match", "is"), comparator: asciiCasemap}
	if a.has("comparator") {
		name, err := c.constant(a.tags["comparator"])
		if err != nil {
			return nil, err
		}
		mt.comparator = comparator(strings.ToLower(name))
		if !isCapability("comparator-" + name) {
			return nil, a.tags["comparator"].errorf("%q is not a comparator that this server has", name)
		}
		if err := c.need(a.tags["comparator"].Position, "the comparator", "comparator-"+string(mt.comparator)); err != nil {
			return nil, err
		}
	}
	if mt.kind == "value" || mt.kind == "count" {
		relation, err := c.constant(a.tags[mt.kind])
		if err != nil {
			return nil, err
		}
		mt.relation = strings.ToLower(relation)
		if _, known := relations[mt.relation]; !known {
			return nil, a.tags[mt.kind].errorf("%q is none of gt, ge, lt, le, eq and ne", relation)
		}
	}
	if mt.comparator == asciiNumeric && mt.kind != "is" && mt.kind != "value" && mt.kind != "count" { // RFC 4790 section 9.1.1: it has no substrings.
		return nil, a.errorf(":%s does not work with i;ascii-numeric", mt.kind)
	}
	var err error
	if mt.keys, err = c.templates(keys); err != nil {
		return nil, err
	}
	if mt.kind != "regex" {
		return mt, nil
	}
	mt.patterns = make([]*expression, len(mt.keys))
	for i, key := range mt.keys {
		if text, ok := key.constant(); ok {
			if mt.patterns[i], err = mt.regex(keys.Position, text); err != nil {
				return nil, err
			}
			if c.programs += mt.patterns[i].weight; c.programs > maxPrograms {
				return nil, keys.errorf("the regular expressions of a script become more than %d instructions", maxPrograms)
			}
		}
	}
	return mt, nil
}

// relations are the operators of RFC 5231 section 4.1.
var relations = map[string]func(order int) bool{
	"gt": func(o int) bool { return o > 0 },
	"ge": func(o int) bool { return o >= 0 },
	"lt": func(o int) bool { return o < 0 },
	"le": func(o int) bool { return o <= 0 },
	"eq": func(o int) bool { return o == 0 },
	"ne": func(o int) bool { return o != 0 },
}

// any tells whether a value matches a key.
func (mt *matcher) any(m *machine, values []string) (bool, error) {
	keys := m.expandAll(mt.keys)
	if mt.kind == "count" { // RFC 5231 section 4.2.
		n := strconv.Itoa(len(values))
		for _, key := range keys {
			if relations[mt.relation](asciiNumeric.compare(n, key)) {
				return true, nil
			}
		}
		return false, nil
	}
	patterns := slices.Clone(mt.patterns) // Each key with variables is compiled once for all values.
	for _, value := range values {
		for i, key := range keys {
			if err := m.spend(mt.Position, 1+(len(value)+len(key))/64); err != nil {
				return false, err
			}
			if mt.kind == "regex" && patterns[i] == nil {
				var err error
				if patterns[i], err = mt.computed(m, key); err != nil {
					return false, err
				}
			}
			ok, err := mt.one(m, key, value, patterns, i)
			if ok || err != nil {
				return ok, err
			}
		}
	}
	return false, nil
}

// one compares a value with a key, whose regular expression is patterns[i].
func (mt *matcher) one(m *machine, key, value string, patterns []*expression, i int) (bool, error) {
	switch mt.kind {
	case "is":
		return mt.comparator.fold(value) == mt.comparator.fold(key), nil
	case "contains":
		return strings.Contains(mt.comparator.fold(value), mt.comparator.fold(key)), nil
	case "value":
		return relations[mt.relation](mt.comparator.compare(value, key)), nil
	case "matches":
		return mt.glob(m, key, value)
	}
	pattern := patterns[i]
	if err := m.spend(mt.Position, 1+len(value)*pattern.size/1024); err != nil { // An octet meets each instruction once at most.
		return false, err
	}
	found := pattern.FindStringSubmatch(value)
	if found == nil {
		return false, nil
	}
	mt.remember(m, found)
	return true, nil
}

// computed compiles a regular expression that holds variables, and pays for that.
func (mt *matcher) computed(m *machine, key string) (*expression, error) {
	if err := m.spend(mt.Position, 20+len(key)); err != nil {
		return nil, err
	}
	pattern, err := mt.regex(mt.Position, key)
	if err != nil {
		return nil, err
	}
	return pattern, m.spend(mt.Position, pattern.weight/4)
}

func (mt *matcher) remember(m *machine, found []string) {
	if mt.silent {
		return
	}
	m.match = make([]string, len(found))
	for i, s := range found {
		m.match[i] = truncate(s, maxVariable)
	}
}

// expression is a regular expression.
type expression struct {
	*regexp.Regexp
	size   int // instructions of its program
	weight int // what it counts against maxPrograms
}

// regex compiles a regular expression within its limits.
func (mt *matcher) regex(at Position, pattern string) (*expression, error) {
	if len(pattern) > maxPattern {
		return nil, at.errorf("a regular expression has at most %d octets", maxPattern)
	}
	if mt.comparator != octet {
		pattern = "(?i)" + pattern
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, at.errorf("the regular expression is wrong: %v", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxProgram {
		return nil, at.errorf("the regular expression is too large")
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, at.errorf("the regular expression is wrong: %v", err)
	}
	re.Longest()
	weight := len(program.Inst)
	for i := range program.Inst {
		weight += len(program.Inst[i].Rune) / 16
	}
	return &expression{re, len(program.Inst), weight}, nil
}

func quoteRegex(s string) string { return regexp.QuoteMeta(s) }

// glob is :matches (RFC 5228 section 2.7.1). Each wildcard takes as little as it can (RFC 5229 section 3.2).
func (mt *matcher) glob(m *machine, pattern, value string) (bool, error) {
	if mt.comparator == unicodeCasemap {
		pattern, value = norm.NFC.String(pattern), norm.NFC.String(value)
	}
	want := mt.pattern(pattern)
	have, at := mt.units(value)
	bounds := make([]int, len(want)+1) // where in value each unit of the pattern begins
	star, from := -1, 0                // the last * and where what follows it was tried
	i, j := 0, 0
	for tried := 1; i < len(have) || j < len(want); tried++ {
		if tried%64 == 0 {
			if err := m.spend(mt.Position, 1); err != nil {
				return false, err
			}
		}
		switch {
		case j < len(want) && want[j].star:
			bounds[j] = i
			star, from = j, i
			j++
		case j < len(want) && i < len(have) && (want[j].any || want[j].text == have[i]):
			bounds[j] = i
			i++
			j++
		case star >= 0 && from < len(have):
			from++
			i, j = from, star+1
		default:
			return false, nil
		}
	}
	bounds[len(want)] = len(have)
	found := []string{value}
	for j, w := range want {
		if w.star || w.any {
			found = append(found, value[at[bounds[j]]:at[bounds[j+1]]])
		}
	}
	mt.remember(m, found)
	return true, nil
}

// unit is a character of a pattern.
type unit struct {
	text      string // folded
	star, any bool
}

// pattern splits a pattern into units; a backslash takes the next one literally.
func (mt *matcher) pattern(pattern string) (units []unit) {
	for i := 0; i < len(pattern); {
		c := pattern[i]
		if c == '*' || c == '?' {
			units = append(units, unit{star: c == '*', any: c == '?'})
			i++
			continue
		}
		if c == '\\' && i+1 < len(pattern) {
			i++
		}
		n := mt.width(pattern[i:])
		units = append(units, unit{text: mt.comparator.fold(pattern[i : i+n])})
		i += n
	}
	return units
}

// units splits a value into folded characters, and tells where each begins; the last place is the end.
func (mt *matcher) units(value string) (units []string, at []int) {
	for i := 0; i < len(value); {
		n := mt.width(value[i:])
		units, at = append(units, mt.comparator.fold(value[i:i+n])), append(at, i)
		i += n
	}
	return units, append(at, len(value))
}

// width is how many octets the first character has: one for i;octet, which knows no others.
func (mt *matcher) width(s string) int {
	if mt.comparator == octet {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}
