package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestSection is the example of RFC 9051 section 6.4.5.1, whose parts say themselves where they are.
func TestSection(t *testing.T) {
	text := crlf("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "1", "--b", "Content-Type: application/octet-stream", "", "2", "--b",
		"Content-Type: message/rfc822", "", "Subject: 3", "Content-Type: multipart/mixed; boundary=b3", "", "--b3", "", "3.1", "--b3",
		"Content-Type: application/octet-stream", "", "3.2", "--b3--", "", "--b", "Content-Type: multipart/mixed; boundary=b4", "", "--b4",
		"Content-Type: image/gif", "", "4.1", "--b4", "Content-Type: message/rfc822", "", "Subject: 4.2",
		"Content-Type: multipart/mixed; boundary=b42", "", "--b42", "", "4.2.1", "--b42", "Content-Type: multipart/alternative; boundary=b422", "",
		"--b422", "", "4.2.2.1", "--b422", "Content-Type: text/richtext", "", "4.2.2.2", "--b422--", "", "--b42--", "--b4--", "", "--b--", "")
	s := scan(text)
	for _, path := range [][]uint32{{1}, {2}, {3, 1}, {3, 2}, {4, 1}, {4, 2, 1}, {4, 2, 2, 1}, {4, 2, 2, 2}} {
		var name []string
		for _, n := range path {
			name = append(name, string('0'+byte(n)))
		}
		p := s.Root.Section(path...)
		if p == nil || string(text[p.Body:p.End]) != strings.Join(name, ".") {
			t.Errorf("%v is %+v", path, p)
		}
	}
	if p := s.Root.Section(3); p == nil || p.Embedded == nil || p.Embedded.Subject != "3" {
		t.Errorf("3 is %+v", p)
	}
	if p := s.Root.Section(4, 2, 2); p == nil || p.Subtype != "alternative" {
		t.Errorf("4.2.2 is %+v", p)
	}
	if p := s.Root.Section(); p != &s.Root {
		t.Errorf("the empty path is %+v", p)
	}
	for _, path := range [][]uint32{{0}, {5}, {1, 1}, {2, 1}, {3, 3}, {3, 0}, {3, 1, 1}, {4, 2, 3}, {1<<32 - 1}} {
		if p := s.Root.Section(path...); p != nil {
			t.Errorf("%v is %+v", path, p)
		}
	}
}

func TestSectionOfOnePart(t *testing.T) {
	s := scan(crlf("Subject: x", "", "text"))
	if s.Root.Section(1) != &s.Root || s.Root.Section(2) != nil || s.Root.Section(1, 1) != nil {
		t.Error("the body of a message of one part is part 1, and nothing else is")
	}
	s = scan(crlf("Content-Type: message/rfc822", "", "Subject: inner", "", "text"))
	if s.Root.Section(1) != &s.Root || s.Root.Section(1, 1) != &s.Root.Parts[0] || s.Root.Section(1, 2) != nil || s.Root.Section(1, 1, 1) != nil {
		t.Error("part 1.1 is the body of the message inside")
	}
}

func TestFieldReader(t *testing.T) {
	header := "From mbox\r\nSubject: a\r\n b\r\nDATE: c\r\nX-Long: " + strings.Repeat("x", 5000) + "\r\n\ty\r\nSubject : d\r\nno field\r\nTo: e\r\n\r\n"
	long := "X-Long: " + strings.Repeat("x", 5000) + "\r\n\ty\r\n"
	cases := []struct {
		names []string
		not   bool
		want  string
	}{
		{nil, false, "\r\n"},
		{nil, true, header},
		{[]string{"subject"}, false, "Subject: a\r\n b\r\nSubject : d\r\n\r\n"},
		{[]string{"Date", "TO", "absent"}, false, "DATE: c\r\nTo: e\r\n\r\n"},
		{[]string{"x-long"}, false, long + "\r\n"},
		{[]string{"subject", "date", "x-long"}, true, "From mbox\r\nno field\r\nTo: e\r\n\r\n"},
		{[]string{"no field"}, false, "\r\n"},
	}
	for _, c := range cases {
		for _, r := range []io.Reader{strings.NewReader(header), iotest.OneByteReader(strings.NewReader(header)), iotest.DataErrReader(strings.NewReader(header))} {
			got, err := io.ReadAll(FieldReader(r, c.not, c.names...))
			if err != nil || string(got) != c.want {
				t.Errorf("%v, not %v: %v, got\n%q, want\n%q", c.names, c.not, err, got, c.want)
			}
		}
	}
	for in, want := range map[string]string{"": "", "Subject: a": "Subject: a", "To: a\nSubject: b\n\n": "Subject: b\n\n", "Subject": "", "\n": "\n"} {
		got, err := io.ReadAll(FieldReader(strings.NewReader(in), false, "Subject"))
		if err != nil || string(got) != want {
			t.Errorf("of %q is left %q, %v; want %q", in, got, err, want)
		}
	}
}

// TestFieldReaderSplitsHeaders takes every header of the corpus apart and checks that what is named and what is not make up the whole.
func TestFieldReaderSplitsHeaders(t *testing.T) {
	for name, text := range corpus(t) {
		s := scan(text)
		header := text[:s.Root.Body]
		named, err1 := io.ReadAll(FieldReader(bytes.NewReader(header), false, "received", "to", "subject"))
		other, err2 := io.ReadAll(FieldReader(bytes.NewReader(header), true, "received", "to", "subject"))
		end := len("\n")
		if bytes.HasSuffix(header, []byte("\r\n")) {
			end = len("\r\n")
		}
		if len(header) > 0 && s.Root.Body == int64(len(text)) && !bytes.HasSuffix(header, []byte("\n\n")) && !bytes.HasSuffix(header, []byte("\n\r\n")) {
			end = 0
		}
		if err1 != nil || err2 != nil || len(named)+len(other) != len(header)+end {
			t.Errorf("%s: %d and %d octets of %d", name, len(named), len(other), len(header))
		}
	}
}
