package managesieve

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// argument is a string or a number.
type argument struct {
	text    string
	number  uint64
	numeric bool
}

// request is one command with its arguments.
type request struct {
	name string // in upper case
	args []argument
}

// reader reads commands (RFC 5804 section 4).
type reader struct {
	in     *bufio.Reader
	string int // octets of an argument
	line   int // octets that are left for the command, its literals aside
}

// errTooLong says that an argument was too long; it was read away.
var errTooLong = refused("QUOTA/MAXSIZE", "an argument is too long")

// unclear ends a connection on which nobody knows where the next command begins.
func unclear(text string) *refusal { return &refusal{text: text, closing: true} }

// command reads one. Errors: a *refusal, after which the next command can be read unless it is closing; those of the connection.
func (r *reader) command() (request, error) {
	r.line = maxLine
	word, err := r.word()
	if err != nil {
		return request{}, err
	}
	req := request{name: strings.ToUpper(word)}
	var late *refusal // what is wrong with an argument that could be read away
	for {
		next, err := r.octet()
		if err != nil {
			return req, err
		}
		switch next {
		case '\r', '\n':
			if err := r.lineEnd(next); err != nil {
				return req, err
			}
			if late != nil {
				return req, late
			}
			return req, nil
		case ' ':
		default:
			return req, r.skip("a space should separate arguments")
		}
		a, err := r.argument()
		if refusal, wrong := err.(*refusal); wrong && refusal == errTooLong {
			late, err = refusal, nil
		}
		if err != nil {
			return req, err
		}
		if req.args = append(req.args, a); len(req.args) > maxArguments {
			return req, r.skip("too many arguments")
		}
	}
}

func (r *reader) octet() (byte, error) {
	if r.line--; r.line < 0 {
		return 0, unclear("the line is too long")
	}
	return r.in.ReadByte()
}

// lineEnd takes CRLF; a bare LF will do.
func (r *reader) lineEnd(first byte) error {
	if first == '\n' {
		return nil
	}
	next, err := r.octet()
	if err == nil && next != '\n' {
		return unclear("a line ends with CRLF")
	}
	return err
}

// skip reads to the end of the line after an error. A brace may be that of a literal, whose octets must not be taken for commands.
func (r *reader) skip(text string) error {
	for {
		c, err := r.octet()
		switch {
		case err != nil:
			return err
		case c == '{':
			return unclear(text)
		case c == '\n':
			return senseless("%s", text)
		}
	}
}

// word reads a command's name. Empty lines are passed over.
func (r *reader) word() (string, error) {
	var word []byte
	for {
		c, err := r.octet()
		if err != nil {
			return "", err
		}
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
			word = append(word, c)
		case len(word) > 0 && (c == ' ' || c == '\r' || c == '\n'):
			return string(word), r.in.UnreadByte()
		case c == '\r' || c == '\n':
			if err := r.lineEnd(c); err != nil {
				return "", err
			}
		default:
			return "", r.skip("a command is letters")
		}
	}
}

// argument reads a quoted string, a literal or a number.
func (r *reader) argument() (argument, error) {
	c, err := r.octet()
	if err != nil {
		return argument{}, err
	}
	switch {
	case c == '"':
		return r.quoted()
	case c == '{':
		return r.literal()
	case '0' <= c && c <= '9':
		digits := []byte{c}
		for len(digits) < 10 {
			next, err := r.in.Peek(1)
			if err != nil {
				return argument{}, err
			}
			if next[0] < '0' || next[0] > '9' {
				break
			}
			c, err := r.octet()
			if err != nil {
				return argument{}, err
			}
			digits = append(digits, c)
		}
		n, err := strconv.ParseUint(string(digits), 10, 32)
		if err != nil {
			return argument{}, r.skip("the number is too large")
		}
		return argument{number: n, numeric: true}, nil
	case c == '\r' || c == '\n':
		if err := r.lineEnd(c); err != nil {
			return argument{}, err
		}
		return argument{}, senseless("an argument is missing")
	}
	return argument{}, r.skip("an argument is a string or a number")
}

// quoted reads a string up to its second quote.
func (r *reader) quoted() (argument, error) {
	var text []byte
	for {
		c, err := r.octet()
		switch {
		case err != nil:
			return argument{}, err
		case c == '"':
			if !utf8.Valid(text) {
				return argument{}, r.skip("a string is UTF-8")
			}
			return argument{text: string(text)}, nil
		case c == '\\':
			if c, err = r.octet(); err != nil {
				return argument{}, err
			}
			if c != '"' && c != '\\' {
				return argument{}, unclear("a backslash stands before a quote or a backslash only")
			}
		case c == '\r' || c == '\n' || c == 0:
			return argument{}, unclear("a quoted string stays on its line")
		}
		text = append(text, c)
	}
}

// literal reads a string of a given length. Only those that are sent without a wait exist in this protocol (RFC 5804 section 4, literal-c2s).
func (r *reader) literal() (argument, error) {
	var head []byte
	for {
		c, err := r.octet()
		if err != nil {
			return argument{}, err
		}
		if c == '}' {
			break
		}
		if head = append(head, c); len(head) > 12 {
			return argument{}, unclear("the literal is malformed")
		}
	}
	digits, plus := strings.CutSuffix(string(head), "+")
	size, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || !plus {
		return argument{}, unclear("a literal is {octets+}")
	}
	c, err := r.octet()
	if err != nil {
		return argument{}, err
	}
	if c != '\r' && c != '\n' {
		return argument{}, unclear("a line end follows the length of a literal")
	}
	if err := r.lineEnd(c); err != nil {
		return argument{}, err
	}
	if size > uint64(r.string) {
		if size > maxDrain {
			return argument{}, unclear("the literal is too long")
		}
		if _, err := io.CopyN(io.Discard, r.in, int64(size)); err != nil {
			return argument{}, err
		}
		return argument{}, errTooLong
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r.in, text); err != nil {
		return argument{}, err
	}
	return argument{text: string(text)}, nil // Whether it is UTF-8 is checked where it matters, by those who can say so.
}

// response reads what a client says within an authentication exchange: one string on a line of its own.
func (r *reader) response() (string, error) {
	r.line = maxLine * 4
	a, err := r.argument()
	if err != nil {
		return "", err
	}
	c, err := r.octet()
	if err != nil {
		return "", err
	}
	if a.numeric || c != '\r' && c != '\n' {
		return "", unclear("a response is one string")
	}
	return a.text, r.lineEnd(c)
}
