package managesieve

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

// Whatever comes, the reader gives commands, refusals and the end, in bounded memory, and goes on only where the next command begins.
func FuzzReader(f *testing.F) {
	f.Add("NOOP \"a\"\r\nPUTSCRIPT \"x\" {3+}\r\nabc\r\n")
	f.Add("A {5}\r\nB 12 {9999999+}\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := reader{in: bufio.NewReader(strings.NewReader(text)), string: 64}
		for range len(text) + 2 {
			req, err := r.command()
			var wrong *refusal
			switch {
			case errors.As(err, &wrong) && wrong.closing, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				return
			case err != nil && wrong == nil:
				t.Fatalf("%v", err)
			case err == nil && req.name == "":
				t.Fatal("a command has no name")
			}
			for _, a := range req.args {
				if len(a.text) > maxLine {
					t.Fatal("an argument is too long")
				}
			}
		}
		t.Fatal("the reader does not end")
	})
}
