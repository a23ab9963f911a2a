package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/streampost/streampost/domain"
	"pgregory.net/rapid"
)

// undo decodes in one piece and octet by octet, which must not differ.
func undo(t interface {
	Helper()
	Fatalf(string, ...any)
}, encoding, in string) string {
	t.Helper()
	var results []string
	for _, from := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
		r, err := TransferReader(encoding, from)
		if err != nil {
			t.Fatalf("%v", err)
		}
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%v", err)
		}
		results = append(results, string(out))
	}
	if results[0] != results[1] || results[0] != results[2] {
		t.Fatalf("%q is read as %q, depending on how it arrives", in, results)
	}
	return results[0]
}

func TestBase64(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"aGVsbG8=":               "hello",
		"aGVs\r\nbG8=\r\n":       "hello",
		"aGVsbG8":                "hello",
		"aGVsbA":                 "hell",
		"aGVsb":                  "hel",
		" a G!V?s b-G8 = = \r\n": "hello",
		"aGVsbG8=aGVsbG8=":       "hellohello",
		"aGVsbA==aGVsbA==":       "hellhell",
		"a\x00GVsbG8=":           "hello",
		"====":                   "",
	} {
		if got := undo(t, "base64", in); got != want {
			t.Errorf("%q is read as %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "octets"))
		in := base64.StdEncoding.EncodeToString([]byte(want))
		for at := rapid.IntRange(1, 76).Draw(t, "width"); at < len(in); at += 78 {
			in = in[:at] + "\r\n" + in[at:]
		}
		if got := undo(t, "base64", in); got != want {
			t.Fatalf("%q is read as %q, want %q", in, got, want)
		}
	})
}

func TestQuotedPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"a b\tc":                        "a b\tc",
		"Gr=C3=BC=c3=9fe":               "Grüße",
		"a=\r\nb":                       "ab",
		"a=\nb":                         "ab",
		"a= \t\r\nb":                    "ab",
		"a  \r\nb\t\nc ":                "a\r\nb\nc",
		"a=20\r\nb":                     "a \r\nb",
		"a==41":                         "a=A",
		"a=4":                           "a=4",
		"a=":                            "a",
		"a= ":                           "a",
		"a=x":                           "a=x",
		"a=\rb":                         "a=\rb",
		"=":                             "",
		"=3D=\r\n":                      "=",
		"a \rb":                         "a \rb",
		"http://x/?a=b&c=d":             "http://x/?a=b&c=d",
		strings.Repeat(" ", 3000) + "a": strings.Repeat(" ", 3000) + "a",
	} {
		if got := undo(t, "quoted-printable", in); got != want {
			t.Errorf("%q is read as %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.StringMatching(`([ -~\täöü=]|\r\n){0,300}`).Draw(t, "text")
		var in bytes.Buffer
		w := quotedprintable.NewWriter(&in)
		_, _ = io.WriteString(w, want)
		_ = w.Close()
		if got := undo(t, "quoted-printable", in.String()); got != want {
			t.Fatalf("%q is read as %q, want %q", in.String(), got, want)
		}
	})
	rapid.Check(t, func(t *rapid.T) { // Whatever comes, the pieces do not matter.
		undo(t, "quoted-printable", rapid.StringMatching(`([=3DA \t\r\nx]){0,60}`).Draw(t, "noise"))
		undo(t, "base64", rapid.StringMatching(`([=3DA \t\r\nx]){0,60}`).Draw(t, "noise"))
	})
}

func TestOtherEncodings(t *testing.T) {
	for _, encoding := range []string{"", "7bit", "8bit", "binary"} {
		if got := undo(t, encoding, "a=41\x00\xff"); got != "a=41\x00\xff" {
			t.Errorf("%s gives %q", encoding, got)
		}
	}
	if _, err := TransferReader("x-uuencode", nil); !domain.Is(err, domain.Invalid) {
		t.Errorf("got %v", err)
	}
	broken := iotest.ErrReader(io.ErrClosedPipe)
	r, _ := TransferReader("base64", broken)
	if _, err := io.ReadAll(r); err != io.ErrClosedPipe {
		t.Errorf("got %v", err)
	}
}

func TestCharsets(t *testing.T) {
	for _, c := range []struct {
		charset, in, want string
		known             bool
	}{
		{"utf-8", "Grüße", "Grüße", true},
		{"", "Gr\xfc\xdfe", "Grüße", true},
		{"US-ASCII", "Gr\xfc\xdfe ü", "Grüße ü", true},
		{"ISO-8859-1", "Gr\xfc\xdfe \x80", "Grüße €", true},
		{"\"iso-8859-15\"", "\xa4", "€", true},
		{"windows-1251", "\xcf\xf0\xe8", "При", true},
		{"koi8-r", "\xf0\xd2\xc9", "При", true},
		{"utf-16", "a\x00\xe4\x00", "aä", true},
		{"utf-16be", "\x00a\x00\xe4", "aä", true},
		{"gb18030", "\xc4\xe3", "你", true},
		{"big5", "\xa7A", "你", true},
		{"shift_jis", "\x93\xfa", "日", true},
		{"euc-kr", "\xc7\xd1", "한", true},
		{"UTF-7", "Hi Mom -+Jjo--!+ACE-+2D3cJA-", "Hi Mom -☺-!!🐤", true},
		{"unicode-1-1-utf-7", "A+ImIDkQ.+- a+", "A≢Α.+ a", true},
		{"no-such-charset", "a\xe4ä", "aää", false},
	} {
		for _, from := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			r, known := CharsetReader(c.charset, from)
			got, err := io.ReadAll(r)
			if err != nil || string(got) != c.want || known != c.known || KnownCharset(c.charset) != c.known {
				t.Errorf("%s: %q is read as %q, %v, %v; want %q, %v", c.charset, c.in, got, known, err, c.want, c.known)
			}
		}
		if got := decodeCharset(c.charset, []byte(c.in)); got != c.want {
			t.Errorf("%s: %q is read as %q at once", c.charset, c.in, got)
		}
	}
}
