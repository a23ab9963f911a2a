package smtp

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// The end of a message is CRLF.CRLF, wherever reads are cut; a dot that was added goes, and whatever else is in the message stays.
func TestMessageContent(t *testing.T) {
	for sent, want := range map[string]string{
		".\r\n":                         "",
		"a\r\n.\r\n":                    "a\r\n",
		"..\r\n..a\r\n.b\r\n.\r\n":      ".\r\n.a\r\nb\r\n",
		"a.\r\n\r\n.\r\n":               "a.\r\n\r\n",
		"a\n.\r\nb\r\n.\r\n":            "a\n.\r\nb\r\n",
		"a\r.\r\nb\r\n.\r\n":            "a\r.\r\nb\r\n",
		"a\r\n.\rb\r\n.\r\n":            "a\r\n\rb\r\n",
		"a\r\n.\r\r\n.\r\n":             "a\r\n\r\r\n",
		"\r\r\n.\r\n":                   "\r\r\n",
		strings.Repeat("x", 9) + "\r\n": "",
	} {
		for _, octets := range []int{1, 2, 3, 100} {
			for _, cut := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, func(r io.Reader) io.Reader { return r }} {
				c := &conn{server: &Server{}, in: bufio.NewReaderSize(cut(strings.NewReader(sent+"QUIT\r\n")), 16)}
				c.server.cfg.Limits.Replies = 10
				c.dialogue.replied(c, []byte("354 "))
				var got []byte
				var err error
				for buffer := make([]byte, octets); err == nil; {
					var n int
					n, err = c.message(strings.NewReader("of go-smtp")).Read(buffer)
					got = append(got, buffer[:n]...)
				}
				rest, _ := c.in.Peek(6)
				switch {
				case want == "" && sent != ".\r\n":
					if err != io.ErrUnexpectedEOF {
						t.Errorf("%q: %q, %v", sent, got, err)
					}
				case err != io.EOF || string(got) != want || string(rest) != "QUIT\r\n":
					t.Errorf("%q, %d at a time: %q, %v, then %q", sent, octets, got, err, rest)
				}
			}
		}
	}
}
