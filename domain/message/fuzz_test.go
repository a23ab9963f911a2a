package message

import (
	"bytes"
	"io"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzScanner checks the promises of package message on any octets.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\ntext"), uint8(3))
	f.Add(crlf("From: A <a@x>, G: b@y;", "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: message/rfc822", "", "Subject: y", "",
		"--b", "Content-Type: multipart/digest; boundary=\"c d\"", "", "--c d", "", "", "z", "--c d--", "--b--"), uint8(7))
	f.Add(crlf("Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%A4", "Date: Mon, 2 Jan 2006 15:04:05 -0700",
		"Content-Type: text/html; charset=utf-7", "Content-Transfer-Encoding: quoted-printable", "", "<b>=41&amp;+AOQ-"), uint8(1))
	f.Add([]byte("Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\nAAAA"), uint8(2))
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		s := scan(text)
		checkOffsets(t, &s, int64(len(text)))
		if got := scan(text, int(size)+1); !reflect.DeepEqual(got, s) {
			t.Fatalf("in pieces of %d octets it is\n%+v, at once\n%+v", int(size)+1, got, s)
		}
		if n := utf8.RuneCountInString(s.Preview); n > maxPreview || !utf8.ValidString(s.Preview) {
			t.Fatalf("the preview is %q", s.Preview)
		}
		if len(s.Keys) > maxKeys {
			t.Fatalf("%d keys", len(s.Keys))
		}
		checkWire(t, AppendEnvelope(nil, &s.Envelope))
		checkWire(t, AppendStructure(nil, &s.Root, true))
		checkWire(t, AppendStructure(nil, &s.Root, false))
		s.Root.All(func(p *Part, _ int) bool {
			body := text[p.Body:p.End]
			if r, err := TransferReader(p.Encoding, bytes.NewReader(body)); err == nil {
				r, _ = CharsetReader(p.Param("charset"), r)
				if out, err := io.ReadAll(HTMLText(r)); err != nil || !utf8.Valid(out) {
					t.Fatalf("%q is read as %q, %v", body, out, err)
				}
			}
			return true
		})
		BaseSubject(s.Envelope.Subject)
	})
}

// checkWire fails unless text is one balanced list of strings, literals, numbers and NIL without a stray octet.
func checkWire(t *testing.T, text []byte) {
	t.Helper()
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 || depth == 0 && i != len(text)-1 {
				t.Fatalf("unbalanced: %q", text)
			}
		case c == '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
				if c := text[i]; c == 0 || c == '\r' || c == '\n' || c >= 0x80 {
					t.Fatalf("%q in a quoted string: %q", c, text)
				}
			}
		case c == '{':
			n := 0
			for i++; text[i] != '}'; i++ {
				n = n*10 + int(text[i]-'0')
			}
			if string(text[i+1:i+3]) != "\r\n" || bytes.IndexByte(text[i+3:i+3+n], 0) >= 0 {
				t.Fatalf("a bad literal: %q", text)
			}
			i += 2 + n
		case c == ' ' || '0' <= c && c <= '9' || c == 'N' || c == 'I' || c == 'L':
		default:
			t.Fatalf("a stray %q: %q", c, text)
		}
	}
	if depth != 0 {
		t.Fatalf("unbalanced: %q", text)
	}
}
