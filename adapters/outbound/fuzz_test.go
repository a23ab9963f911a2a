package outbound

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// FuzzReply: whatever a peer says is an answer within bounds, or an error.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"220 hi\r\n", "250-a\r\n250 5.1.1 b\r\n", "250", "550 5.1.1\xff\x00\r\n", "250-\r\n250\r\n", strings.Repeat("250-x\r\n", 200)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), 512)
		for range 20 {
			answer, err := readReply(r, 10)
			if err != nil {
				return
			}
			if answer.code < 200 || answer.code > 599 || len(answer.lines) == 0 || len(answer.lines) > 10 || len(answer.text) > maxReplyText+20 || strings.ContainsAny(answer.text, "\r\n\x00") {
				t.Fatalf("%+v", answer)
			}
			if answer.status != "" && answer.status[0] != byte('0'+answer.code/100) {
				t.Fatalf("%d and %s", answer.code, answer.status)
			}
		}
	})
}

// FuzzStuffing: what a server takes out is what was put in.
func FuzzStuffing(f *testing.F) {
	f.Add([]byte(".\r\n..\r\nx\r\n"), 3)
	f.Add([]byte("no end"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if bytes.ContainsAny(bytes.ReplaceAll(b, []byte("\r\n"), nil), "\r\n") {
			return
		}
		w := &stuffer{}
		var sent bytes.Buffer
		cut = min(max(cut, 0), len(b))
		sent.Write(w.stuff(b[:cut]))
		sent.Write(w.stuff(b[cut:]))
		sent.Write(w.end())
		var got bytes.Buffer
		lines := strings.SplitAfter(sent.String(), "\r\n")
		for i, line := range lines {
			if line == ".\r\n" {
				if i != len(lines)-2 {
					t.Fatalf("the message ends early: %q", sent.String())
				}
				break
			}
			got.WriteString(strings.TrimPrefix(line, "."))
		}
		want := string(b)
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if got.String() != want {
			t.Fatalf("%q became %q", want, got.String())
		}
	})
}
