package wire

import "fmt"

// Limits bounds what one command may cost. A zero field means its default.
type Limits struct {
	Command int64 // octets of the whole command, literals that are streamed aside; default 8 MiB, so that a set of a million numbers passes
	Kept    int64 // octets that its arguments take in memory together; default 1 MiB
	Literal int64 // octets of one literal among the arguments; default 512 KiB
	Depth   int   // nesting of parentheses; default 50
	Nesting int   // of keys that hold keys without parentheses, as NOT and OR; default 500, since clients write long chains of OR
	Items   int   // elements of all lists together; default 20,000
	Ranges  int   // ranges of one number set once they are merged; default 200,000
	Drain   int64 // octets read away after an error before the connection is closed instead; default 16 MiB
}

// BeforeLogin is what a client that has not said who it is may ask of the server: enough for LOGIN with non-synchronising literals.
var BeforeLogin = Limits{Command: 128 << 10, Kept: 64 << 10, Literal: 32 << 10, Depth: 10, Items: 200, Ranges: 200, Drain: 256 << 10}

// withDefaults fills the zero fields in.
func (l Limits) withDefaults() Limits {
	fill(&l.Command, 8<<20)
	fill(&l.Kept, 1<<20)
	fill(&l.Literal, 512<<10)
	fill(&l.Depth, 50)
	fill(&l.Nesting, 500)
	fill(&l.Items, 20_000)
	fill(&l.Ranges, 200_000)
	fill(&l.Drain, 16<<20)
	return l
}

func fill[T int | int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// SyntaxError is a command that breaks the grammar or a limit. It is answered with a tagged BAD, and the connection goes on.
type SyntaxError struct {
	Code string // response code without brackets, or empty: TOOBIG, LIMIT
	Text string // for the client
}

func (e *SyntaxError) Error() string { return e.Text }

// Syntaxf makes a SyntaxError for a rule that only the command knows.
func Syntaxf(format string, args ...any) *SyntaxError {
	return &SyntaxError{Text: fmt.Sprintf(format, args...)}
}

// CloseError says that the reader's position is no longer known or not worth finding: the server says BYE and closes.
type CloseError struct {
	Code string // response code without brackets, or empty: TOOBIG
	Text string // for the client
}

func (e *CloseError) Error() string { return e.Text }
