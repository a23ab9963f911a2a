package delivery

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/streampost/streampost/domain"
)

// read gives what comes out of a Reader, through small reads and through big ones, which must agree.
func read(t *testing.T, in string, limits Limits, add Fields) (string, *Reader, error) {
	t.Helper()
	r := NewReader(strings.NewReader(in), limits, add)
	out, err := io.ReadAll(r)
	for name, src := range map[string]io.Reader{"octets": iotest.OneByteReader(strings.NewReader(in)), "halves": iotest.HalfReader(strings.NewReader(in)), "data with EOF": iotest.DataErrReader(strings.NewReader(in))} {
		for _, size := range []int{1, 7, 10_000} {
			other := NewReader(src, limits, add)
			var b bytes.Buffer
			_, err2 := io.CopyBuffer(struct{ io.Writer }{&b}, struct{ io.Reader }{other}, make([]byte, size))
			if (err == nil) != (err2 == nil) || err == nil && b.String() != string(out) || other.Fault() != r.Fault() {
				t.Fatalf("%s read by %d: %q (%v), else %q (%v)", name, size, b.String(), err2, out, err)
			}
			src = strings.NewReader(in)
		}
	}
	return string(out), r, err
}

func TestReaderAddsAndDropsFields(t *testing.T) {
	const top = "Return-Path: <s@example.org>\r\nReceived: x\r\n"
	for _, c := range []struct{ name, in, want string }{
		{"usual", "Subject: a\r\n\r\nbody\r\n", top + "Subject: a\r\n\r\nbody\r\n"},
		{"empty", "", top},
		{"no header", "\r\nbody\r\n", top + "\r\nbody\r\n"},
		{"no body", "Subject: a\r\n", top + "Subject: a\r\n"},
		{"no last line end", "Subject: a\r\n\r\nbody", top + "Subject: a\r\n\r\nbody"},
		{"old return path", "Return-Path: <old@x>\r\nSubject: a\r\n\r\nReturn-Path: body\r\n", top + "Return-Path: <old@x>\r\nSubject: a\r\n\r\nReturn-Path: body\r\n"},
		{"mbox separator", "From a@b Mon Jan 1\r\nSubject: a\r\n\r\n", top + "From a@b Mon Jan 1\r\nSubject: a\r\n\r\n"},
		{"NUL and 8 bit", "Subject: \xe4\r\n\r\n\x00\x80\r\n", top + "Subject: \xe4\r\n\r\n\x00\x80\r\n"},
	} {
		got, r, err := read(t, c.in, Limits{}, Fields{Top: top})
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if r.Size() != int64(len(c.in)) {
			t.Errorf("%s: size %d", c.name, r.Size())
		}
	}
}

func TestReaderCompletesSubmissions(t *testing.T) {
	add := Fields{Date: "D", MessageID: "<i@x>"}
	for in, want := range map[string]string{
		"Subject: a\r\n\r\nbody\r\n":                      "Subject: a\r\nDate: D\r\nMessage-ID: <i@x>\r\n\r\nbody\r\n",
		"DATE: mine\r\nSubject: a\r\n\r\nDate: no\r\n":    "DATE: mine\r\nSubject: a\r\nMessage-ID: <i@x>\r\n\r\nDate: no\r\n",
		"Date: mine\r\nMessage-Id: <m@y>\r\n\r\nbody\r\n": "Date: mine\r\nMessage-Id: <m@y>\r\n\r\nbody\r\n",
		"Subject: a\r\n":                                  "Subject: a\r\nDate: D\r\nMessage-ID: <i@x>\r\n",
		"Subject: a":                                      "Subject: a\r\nDate: D\r\nMessage-ID: <i@x>\r\n",
		"":                                                "Date: D\r\nMessage-ID: <i@x>\r\n",
		"\r\nbody\r\n":                                    "Date: D\r\nMessage-ID: <i@x>\r\n\r\nbody\r\n",
		"Subject: a\r\nnot a field\r\n":                   "Subject: a\r\nDate: D\r\nMessage-ID: <i@x>\r\nnot a field\r\n",
		"not a field\r\nbody\r\n\r\nbody\r\n":             "Date: D\r\nMessage-ID: <i@x>\r\nnot a field\r\nbody\r\n\r\nbody\r\n",
	} {
		if got, _, err := read(t, in, Limits{}, add); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// TestReaderHidesBcc, whatever its form, and nothing else.
func TestReaderHidesBcc(t *testing.T) {
	long := strings.Repeat("x", 3*bufferSize)
	for _, c := range []struct{ in, want string }{
		{"From: a\r\nBcc: b\r\nSubject: c\r\n\r\nBcc: text\r\n", "From: a\r\nSubject: c\r\nDate: d\r\n\r\nBcc: text\r\n"},
		{"bcc : b,\r\n\tc,\r\n d\r\nFrom: a\r\n", "From: a\r\nDate: d\r\n"},
		{"Bcc: " + long + "\r\nFrom: a\r\nBCC:\r\n\r\n", "From: a\r\nDate: d\r\n\r\n"},
		{"Bcc: b", "Date: d\r\n"},
		{"no field\r\nBcc: b\r\n c\r\nFrom: a\r\n\r\nBcc: text\r\n", "Date: d\r\nno field\r\nFrom: a\r\n\r\nBcc: text\r\n"},
		{"Bccs: b\r\n\r\n", "Bccs: b\r\nDate: d\r\n\r\n"},
	} {
		if got, _, err := read(t, c.in, Limits{}, Fields{Date: "d", NoBcc: true}); err != nil || got != c.want {
			t.Errorf("%.60q: %.80q, %v", c.in, got, err)
		}
	}
}

func TestReaderTellsWideHeaders(t *testing.T) {
	for in, want := range map[string]bool{"Subject: a\r\n\r\n\xc3\xbc\r\n": false, "Subject: \xc3\xbc\r\n\r\n": true, "Subject: a\r\n \xff\r\n": true, "": false, "a text\r\nof \xc3\xbc\r\n": false} {
		if _, r, err := read(t, in, Limits{}, Fields{}); err != nil || r.WideHeader() != want {
			t.Errorf("%q: %v, %v", in, r.WideHeader(), err)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		name   string
		in     string
		limits Limits
		fault  Fault
		kind   domain.Kind
	}{
		{"bare LF in header", "Subject: a\nTo: b\r\n\r\n", Limits{}, BareLine, domain.Invalid},
		{"bare LF in body", "Subject: a\r\n\r\na\nb\r\n", Limits{}, BareLine, domain.Invalid},
		{"bare LF first", "\nSubject: a\r\n", Limits{}, BareLine, domain.Invalid},
		{"bare LF after CRLF", "a: b\r\n\r\n\n", Limits{}, BareLine, domain.Invalid},
		{"bare LF far down", "a: b\r\n\r\n" + long + "\r\n" + long + "\n", Limits{}, BareLine, domain.Invalid},
		{"bare CR in header", "Subject: a\rTo: b\r\n\r\n", Limits{}, BareLine, domain.Invalid},
		{"bare CR in body", "a: b\r\n\r\na\rb\r\n", Limits{}, BareLine, domain.Invalid},
		{"CR CR LF", "a: b\r\n\r\na\r\r\n", Limits{}, BareLine, domain.Invalid},
		{"CR at the end", "a: b\r\n\r\na\r", Limits{}, BareLine, domain.Invalid},
		{"CR as the last octet of the buffer", "a: " + strings.Repeat("x", bufferSize-4) + "\rb\r\n\r\n", Limits{}, BareLine, domain.Invalid},
		{"too big", "a: b\r\n\r\nbody\r\n", Limits{Message: 13}, TooBig, domain.TooLarge},
		{"header too big", "a: b\r\nc: d\r\n\r\n", Limits{Header: 10}, BigHeader, domain.TooLarge},
		{"one field too big", "a: " + long, Limits{Header: 4500}, BigHeader, domain.TooLarge},
		{"too many fields", strings.Repeat("a: b\r\n", 4) + "\r\n", Limits{Fields: 3}, BigHeader, domain.TooLarge},
		{"long line in header", "a: " + long + "\r\n\r\n", Limits{Line: 5000}, LongLine, domain.TooLarge},
		{"long line in body", "\r\n" + long + "\r\n", Limits{Line: 5000}, LongLine, domain.TooLarge},
		{"loop", strings.Repeat("RECEIVED: x\r\n", 4) + "\r\n", Limits{Hops: 3}, Loop, domain.Invalid},
		{"header too big, behind a line that is no field", "no field\r\na: b\r\n" + strings.Repeat("c\r\n", 5000), Limits{Header: 10_000}, BigHeader, domain.TooLarge},
		{"a field behind more than a header may have", "no field\r\n" + strings.Repeat("c\r\n", 5000) + "a: b\r\n", Limits{Header: 10_000}, BigHeader, domain.TooLarge},
		{"too many fields, behind a line that is no field", " x\r\n" + strings.Repeat("a: b\r\n", 4) + "\r\n", Limits{Fields: 3}, BigHeader, domain.TooLarge},
		{"loop, behind a line that is no field", "Received\u00a0: x\r\n" + strings.Repeat("Received: x\r\n", 4) + "\r\n", Limits{Hops: 3}, Loop, domain.Invalid},
	} {
		_, r, err := read(t, c.in, c.limits, Fields{Top: "Received: here\r\n", Date: "D"})
		if r.Fault() != c.fault || !domain.Is(err, c.kind) || !errors.Is(r.Err(), err) {
			t.Errorf("%s: fault %d, %v", c.name, r.Fault(), err)
		}
	}
}

func TestReaderAcceptsWhatIsJustWithinLimits(t *testing.T) {
	in := "Received: x\r\nReceived: y\r\n\r\n" + strings.Repeat("Received: z\r\n", 10)
	limits := Limits{Message: int64(len(in)), Header: 28, Fields: 2, Hops: 2, Line: 13}
	if got, _, err := read(t, in, limits, Fields{}); err != nil || got != in {
		t.Errorf("%q, %v", got, err)
	}
	for text, size := range map[string]int64{ // Texts without header, and where theirs ends.
		"only a text\r\n\r\n" + strings.Repeat("of many lines\r\n", 1000): 13, "\r\n" + strings.Repeat("Received: z\r\n", 1000): 0, strings.Repeat("only a text\r\n", 1000): 26, "A: b\r\nno field": 14, "A: b\r\n\r\n": 6, "": 0,
	} {
		if got, r, err := read(t, text, Limits{Header: 28, Fields: 2, Hops: 2}, Fields{Top: "Top: x\r\n"}); err != nil || got != "Top: x\r\n"+text || r.HeaderSize() != size {
			t.Errorf("%.40q has a header of %d octets, %v", text, r.HeaderSize(), err)
		}
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader("a: b\r\n"), iotest.ErrReader(broken)), Limits{}, Fields{})
	if _, err := io.ReadAll(r); !errors.Is(err, broken) || r.Fault() != NoFault || !errors.Is(r.Err(), broken) {
		t.Errorf("%v, %v", err, r.Err())
	}
}

func TestReaderKeepsTheCorpus(t *testing.T) {
	dir := os.Getenv("STREAMPOST_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	if len(files) == 0 {
		t.Skip("no corpus: set STREAMPOST_CORPUS")
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		in := onWire(raw)
		r := NewReader(bytes.NewReader(in), Limits{}, Fields{Top: "X: y\r\n"})
		out, err := io.ReadAll(r)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(f), err)
			continue
		}
		if !bytes.HasSuffix(in, bytes.TrimPrefix(out, []byte("X: y\r\n"))) {
			t.Errorf("%s was changed", filepath.Base(f))
		}
	}
}

// onWire gives a file the line ends that a client sends.
func onWire(raw []byte) []byte {
	s := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(raw))
	return []byte(strings.ReplaceAll(s, "\n", "\r\n"))
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("Return-Path: <a@b>\r\nSubject: a\r\n b\r\n\r\nbody\r\n"), 3)
	f.Add([]byte("From x\r\na\rb\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		size = max(1, size%5000)
		limits := Limits{Message: 1 << 20, Header: 8000, Fields: 50, Line: 5000, Hops: 5}
		r := NewReader(bytes.NewReader(in), limits, Fields{Top: "T: t\r\n"})
		var out bytes.Buffer
		_, err := io.CopyBuffer(struct{ io.Writer }{&out}, struct{ io.Reader }{r}, make([]byte, size))
		if err != nil {
			if r.Fault() == NoFault {
				t.Fatalf("an error without a fault: %v", err)
			}
			return
		}
		if s := strings.ReplaceAll(string(in), "\r\n", ""); strings.ContainsAny(s, "\r\n") {
			t.Fatal("a bare CR or LF passed")
		}
		body, ok := bytes.CutPrefix(out.Bytes(), []byte("T: t\r\n"))
		if !ok || !bytes.Equal(in, body) {
			t.Fatalf("%q became %q", in, out.Bytes())
		}
	})
}

// The addresses for which a message was sent on before are those of its Delivered-To fields, and only of the header.
func TestPassed(t *testing.T) {
	in := "Delivered-To: Alice@Example.org\r\ndelivered-to : <bob@example.net>\r\nDelivered-To: nonsense\r\nDelivered-To: " + strings.Repeat("x", 600) + "@example.org\r\nSubject: a\r\n Delivered-To: eve@example.org\r\n\r\nDelivered-To: carol@example.org\r\n"
	_, r, err := read(t, in, Limits{}, Fields{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"alice@example.org": true, "bob@example.net": true, "carol@example.org": false, "eve@example.org": false, "nonsense": false} {
		if r.Passed(key) != want {
			t.Errorf("%s: %v", key, !want)
		}
	}
}
