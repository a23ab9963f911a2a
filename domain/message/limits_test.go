package message

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// feed scans what the given functions write, and gives what was found and how many octets were allocated in all, garbage included.
func feed(lines ...func(w io.Writer)) (s Summary, allocated uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	scanner := NewScanner()
	for _, f := range lines {
		f(scanner)
	}
	s = scanner.Finish()
	runtime.ReadMemStats(&after)
	return s, after.TotalAlloc - before.TotalAlloc
}

// repeat writes a line n times, with a number in place of "%d". It allocates next to nothing itself.
func repeat(n int, format string) func(io.Writer) {
	before, after, _ := strings.Cut(format, "%d")
	return func(w io.Writer) {
		var line []byte
		for i := range n {
			line = append(strconv.AppendInt(append(line[:0], before...), int64(i), 10), after...)
			_, _ = w.Write(line)
		}
	}
}

func text(lines ...string) func(io.Writer) {
	return func(w io.Writer) { _, _ = w.Write(crlf(lines...)) }
}

func TestManyParts(t *testing.T) {
	for _, n := range []int{300, MaxParts - 1, MaxParts, 100_000} {
		var size int64
		s, allocated := feed(text("Content-Type: multipart/mixed; boundary=b", "", ""),
			repeat(n, "--b\r\nContent-ID: <%d>\r\n\r\npart\r\n"), text("--b--", "epilogue"), func(io.Writer) {})
		size = s.Root.End
		want := min(n, MaxParts-1)
		if len(s.Root.Parts) != want {
			t.Errorf("%d of %d parts", len(s.Root.Parts), n)
		}
		last := s.Root.Parts[want-1]
		if last.ID != fmt.Sprintf("<%d>", want-1) || last.End != size-int64(len("\r\n--b--\r\nepilogue")) {
			t.Errorf("the last of %d parts is %+v of %d", n, last, size)
		}
		if allocated > 8<<20 {
			t.Errorf("%d octets for %d parts", allocated, n)
		}
		checkOffsets(t, &s, size)
	}
}

func TestDeepNesting(t *testing.T) {
	for _, n := range []int{MaxDepth - 1, MaxDepth, 10_000} {
		s, allocated := feed(func(w io.Writer) {
			for i := range n {
				fmt.Fprintf(w, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
			}
			fmt.Fprint(w, "\r\nthe innermost\r\n")
			for i := range n {
				fmt.Fprintf(w, "--b%d--\r\n", n-1-i)
			}
		})
		depth := 1
		p := &s.Root
		for len(p.Parts) > 0 {
			p = &p.Parts[0]
			depth++
		}
		if want := min(n+1, MaxDepth); depth != want {
			t.Errorf("%d levels of %d", depth, n)
		}
		if allocated > 4<<20 {
			t.Errorf("%d octets for %d levels", allocated, n)
		}
		checkOffsets(t, &s, s.Root.End)
		if out := AppendStructure(nil, &s.Root, true); bytes.Count(out, []byte("(")) < min(n, MaxDepth) {
			t.Errorf("the structure is %s", out)
		}
	}
}

func TestDeeplyNestedMessages(t *testing.T) {
	s, allocated := feed(repeat(100_000, "Subject: level %d\r\nContent-Type: message/rfc822\r\n\r\n"), text("Subject: the innermost", "", "text"))
	depth := 1
	p := &s.Root
	for ; len(p.Parts) > 0; p = &p.Parts[0] {
		if want := fmt.Sprintf("level %d", depth); p.Embedded.Subject != want {
			t.Fatalf("the envelope inside level %d is of %q", depth, p.Embedded.Subject)
		}
		depth++
	}
	if depth != MaxDepth || allocated > 4<<20 {
		t.Errorf("%d levels, %d octets", depth, allocated)
	}
	checkOffsets(t, &s, s.Root.End)
	AppendStructure(nil, &s.Root, true)
}

func TestMillionHeaderFields(t *testing.T) {
	s, allocated := feed(repeat(500_000, "X-Field-%d: value\r\n\tfolded\r\n"), text("Subject: found", ""), repeat(500_000, "Received: %d\r\n"), text("", "text"))
	if s.Envelope.Subject != "found" || s.Root.Size() != 4 {
		t.Errorf("the subject is %q, the body has %d octets", s.Envelope.Subject, s.Root.Size())
	}
	if allocated > 1<<20 {
		t.Errorf("%d octets were allocated", allocated)
	}
}

// TestHostileHeaders fills what is kept of a message to its limits.
func TestHostileHeaders(t *testing.T) {
	cases := map[string][]func(io.Writer){
		"one endless line":           {text("Subject: "), repeat(1_000_000, "12345%d")},
		"an endless folded field":    {text("Subject: x", ""), repeat(1_000_000, " %d\r\n")},
		"an endless name":            {repeat(1_000_000, "12345%d")},
		"endless recipients":         {text("To: x@y"), repeat(1_000_000, ",\r\n %d")},
		"many recipient fields":      {repeat(200_000, "To: a,b,c,d,%d\r\n")},
		"endless groups":             {text("To: "), repeat(1_000_000, "a:b;\r\n %d,")},
		"endless comments":           {text("From: "), repeat(1_000_000, "(%d")},
		"endless words":              {text("From: "), repeat(100_000, "a.%d \"b\" ")},
		"endless parameters":         {text("Content-Type: text/plain"), repeat(1_000_000, "; a%d=b")},
		"endless sections":           {text("Content-Type: text/plain"), repeat(1_000_000, "; a*%d*=b")},
		"endless references":         {text("Message-ID: <a>", "References:"), repeat(1_000_000, " <%d>")},
		"endless languages":          {text("Content-Language: x"), repeat(1_000_000, ",%d")},
		"many parts with parameters": {text("Content-Type: multipart/mixed; boundary=b", "", ""), repeat(5000, "--b\r\nContent-Type: a/b"+strings.Repeat("; x=y", 300)+"\r\nContent-ID: %d\r\n\r\n")},
		"many messages":              {text("Content-Type: multipart/digest; boundary=b", "", ""), repeat(5000, "--b\r\n\r\nFrom: a"+strings.Repeat(",a", 300)+"\r\nSubject: %d\r\n\r\n")},
		"an endless line of body":    {text("Content-Type: multipart/mixed; boundary=b", "", "--"), repeat(1_000_000, "12345%d")},
		"a long encoded subject":     {text("Message-ID: <a>", "Subject: "), repeat(10_000, "=?utf-8?q?x%d?= ")},
		"a subject of marks":         {text("Message-ID: <a>", "Subject: "), repeat(10_000, "re: [%d] ")},
		"a subject of forwards":      {text("Message-ID: <a>", "Subject: "), text(strings.Repeat("[fwd: ", 5000) + strings.Repeat("]", 5000))},
		"a subject of trailers":      {text("Message-ID: <a>", "Subject: x"), text(strings.Repeat(" (fwd)", 10_000))},
		"a date without an end":      {text("Date: "), repeat(100_000, "(%d")},
	}
	for name, lines := range cases {
		t.Run(name, func(t *testing.T) {
			s, allocated := feed(lines...)
			if allocated > 24<<20 {
				t.Errorf("%d octets were allocated", allocated)
			}
			checkOffsets(t, &s, s.Root.End)
			// What travels in the event stays small as well.
			if wire := len(AppendEnvelope(nil, &s.Envelope)) + len(AppendStructure(nil, &s.Root, true)); wire > 3*maxKept {
				t.Errorf("%d octets of ENVELOPE and BODYSTRUCTURE", wire)
			}
		})
	}
}

// TestHostileBodies looks for scans that take longer than linear time: each message would take hours if they did.
func TestHostileBodies(t *testing.T) {
	boundaries := func(n int) func(io.Writer) {
		return func(w io.Writer) {
			for i := range n { // All alike but for their last octets.
				fmt.Fprintf(w, "Content-Type: multipart/mixed; boundary=%s%03d\r\n\r\n--%s%03d\r\n", strings.Repeat("b", 400), i, strings.Repeat("b", 400), i)
			}
		}
	}
	line := "--" + strings.Repeat("b", 403) + "\r\n"
	s, _ := feed(boundaries(99), func(w io.Writer) {
		for range 50_000 {
			_, _ = io.WriteString(w, line)
		}
	})
	checkOffsets(t, &s, s.Root.End)

	for _, html := range []string{"<", "<!--", "<a", "&", "&#", "<script>", "</", "<a b='", "-"} {
		scan([]byte("Content-Type: text/html\r\n\r\n" + strings.Repeat(html, 100_000)))
	}
	for _, qp := range []string{"=", " ", "= ", "=\r", "\t=", "=3"} {
		scan([]byte("Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(qp, 100_000)))
	}
}
