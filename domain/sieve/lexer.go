package sieve

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Position is a place in a script. Lines and columns count from 1, columns in octets.
type Position struct{ Line, Column int }

// Error is what is wrong with a script, and where.
type Error struct {
	Position
	Msg string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg) }

func (p Position) errorf(format string, args ...any) *Error {
	return &Error{p, fmt.Sprintf(format, args...)}
}

// sort is what a token is.
type sort uint8

const (
	endOfScript sort = iota
	identifier
	tag
	number
	str
	punctuation
)

// token is one word of a script (RFC 5228 section 8.1). value is in lower case for identifiers and tags, and without quotes for strings.
type token struct {
	Position
	sort  sort
	value string
	n     int64
}

func (t token) String() string {
	switch t.sort {
	case endOfScript:
		return "the end of the script"
	case tag:
		return ":" + t.value
	case number:
		return fmt.Sprint(t.n)
	case str:
		return "a string"
	}
	return fmt.Sprintf("%q", t.value)
}

func (t token) is(s sort, value string) bool { return t.sort == s && t.value == value }

type lexer struct {
	in        string
	at        int
	line      int
	lineStart int
}

func (l *lexer) here() Position { return Position{l.line, l.at - l.lineStart + 1} }

func (l *lexer) peek(ahead int) byte {
	if l.at+ahead < len(l.in) {
		return l.in[l.at+ahead]
	}
	return 0
}

// take advances over n octets and counts lines.
func (l *lexer) take(n int) string {
	s := l.in[l.at : l.at+n]
	for i := range len(s) {
		if s[i] == '\n' {
			l.line++
			l.lineStart = l.at + i + 1
		}
	}
	l.at += n
	return s
}

// space skips white space and comments (RFC 5228 section 2.3).
func (l *lexer) space() error {
	for l.at < len(l.in) {
		switch c := l.in[l.at]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			l.take(1)
		case c == '#':
			end := strings.IndexByte(l.in[l.at:], '\n')
			if end < 0 {
				end = len(l.in) - l.at
			}
			l.take(end)
		case c == '/' && l.peek(1) == '*':
			from := l.here()
			end := strings.Index(l.in[l.at+2:], "*/")
			if end < 0 {
				return from.errorf("the comment has no end")
			}
			l.take(end + 4)
		default:
			return nil
		}
	}
	return nil
}

// next gives the next token.
func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	t := token{Position: l.here()}
	if l.at == len(l.in) {
		return t, nil
	}
	switch c := l.in[l.at]; {
	case isName(c) && !isDigit(c):
		t.sort, t.value = identifier, strings.ToLower(l.name())
		if t.value == "text" && l.peek(0) == ':' {
			l.take(1)
			return l.multiline(t)
		}
	case c == ':' && isName(l.peek(1)) && !isDigit(l.peek(1)):
		l.take(1)
		t.sort, t.value = tag, strings.ToLower(l.name())
	case isDigit(c):
		return l.number(t)
	case c == '"':
		return l.quoted(t)
	case strings.IndexByte("()[]{},;", c) >= 0:
		t.sort, t.value = punctuation, l.take(1)
	default:
		r, _ := utf8.DecodeRuneInString(l.in[l.at:])
		return t, t.errorf("%q does not belong here", r)
	}
	return t, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isName(c byte) bool { return c == '_' || isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

func (l *lexer) name() string {
	n := 0
	for isName(l.peek(n)) {
		n++
	}
	return l.take(n)
}

// number reads a number with its quantifier (RFC 5228 section 2.4.1).
func (l *lexer) number(t token) (token, error) {
	t.sort = number
	for isDigit(l.peek(0)) {
		digit := int64(l.take(1)[0] - '0')
		if t.n > (math.MaxInt64-digit)/10 {
			return t, t.errorf("the number is too large")
		}
		t.n = t.n*10 + digit
	}
	shift := 0
	switch l.peek(0) {
	case 'k', 'K':
		shift = 10
	case 'm', 'M':
		shift = 20
	case 'g', 'G':
		shift = 30
	}
	if shift > 0 {
		l.take(1)
	}
	if isName(l.peek(0)) {
		return t, t.errorf("a number is digits, with K, M or G behind them")
	}
	if t.n > math.MaxInt64>>shift {
		return t, t.errorf("the number is too large")
	}
	t.n <<= shift
	return t, nil
}

// quoted reads a quoted string (RFC 5228 section 2.4.2). A backslash before an octet that needs none stands for nothing.
func (l *lexer) quoted(t token) (token, error) {
	t.sort = str
	l.take(1)
	var b strings.Builder
	for l.at < len(l.in) {
		switch c := l.take(1)[0]; c {
		case '"':
			t.value = b.String()
			return t, nil
		case '\\':
			if l.at < len(l.in) {
				b.WriteString(l.take(1))
			}
		default:
			b.WriteByte(c)
		}
	}
	return t, t.errorf("the string has no end")
}

// multiline reads the lines behind "text:" up to the one that is a dot (RFC 5228 section 2.4.2).
func (l *lexer) multiline(t token) (token, error) {
	t.sort = str
	for l.peek(0) == ' ' || l.peek(0) == '\t' {
		l.take(1)
	}
	if l.peek(0) == '#' {
		for l.at < len(l.in) && l.peek(0) != '\n' {
			l.take(1)
		}
	}
	if l.peek(0) == '\r' {
		l.take(1)
	}
	if l.peek(0) != '\n' {
		return t, t.errorf("a line end follows text:")
	}
	l.take(1)
	var b strings.Builder
	for l.at < len(l.in) {
		end := strings.IndexByte(l.in[l.at:], '\n')
		if end < 0 {
			break
		}
		line := l.take(end + 1)
		if line == ".\n" || line == ".\r\n" {
			t.value = b.String()
			return t, nil
		}
		line = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(line, "."), "\n"), "\r")
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	return t, t.errorf("the text has no line that is a dot")
}
