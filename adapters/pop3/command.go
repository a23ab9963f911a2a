package pop3

import (
	"context"
	"strconv"
	"strings"
)

// states is a set of the session's states (RFC 1939 section 3). QUIT does what the UPDATE state is for.
type states uint8

const (
	authorization states = 1 << iota
	transaction
)

// handler runs one command and writes its positive answer. What it returns becomes -ERR; see blame.
type handler func(ctx context.Context, c *conn, argument string) error

// spec describes a command for the table.
type spec struct {
	states states
	run    handler
}

var commands = map[string]spec{}

// register puts a command into the table. Files call it from init.
func register(name string, in states, run handler) { commands[name] = spec{in, run} }

// noArgument makes a handler of a command that takes none.
func noArgument(run func(ctx context.Context, c *conn) error) handler {
	return func(ctx context.Context, c *conn, argument string) error {
		if argument != "" {
			return senseless("this command takes no argument")
		}
		return run(ctx, c)
	}
}

// cut splits a command line into its name, in upper case, and the rest. More than one space between them is no more than one: old clients are careless.
func cut(line string) (name, argument string) {
	name, argument, _ = strings.Cut(line, " ")
	if name = strings.ToUpper(name); name != "PASS" { // whose argument may have spaces, also at its ends (RFC 1939 section 7).
		argument = strings.TrimSpace(argument)
	}
	return name, argument
}

// numbers reads one to n numbers with spaces between them.
func numbers(argument string, n int) ([]int, error) {
	var read []int
	for _, field := range strings.Fields(argument) {
		number, err := strconv.ParseUint(field, 10, 31)
		if err != nil {
			return nil, senseless("%q is not a number", printable(field))
		}
		read = append(read, int(number))
	}
	if len(read) != n {
		return nil, senseless("this command takes %d numbers", n)
	}
	return read, nil
}

// printable keeps a text, which may quote what a client sent, on its line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, text)
}
