package text

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/streampost/streampost/domain/message"
)

func scan(octets string) *message.Summary {
	s := message.NewScanner()
	_, _ = io.WriteString(s, octets)
	summary := s.Finish()
	return &summary
}

func opener(octets string) Opener {
	return func(off, n int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(octets[off : off+n])), nil
	}
}

const mixed = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: Team: a@example.org, b@example.org;\r\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\r\n" +
	"X-Folded: one\r\n two\r\nX-Eight: gr\xfcn\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8; format=flowed\r\n\r\nflowing \r\ntext\r\n" +
	"--b\r\nContent-Type: text/html\r\n\r\n<style>p{}</style><p>caf&eacute;<p>bar\r\n" +
	"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--b--\r\n"

func TestDocument(t *testing.T) {
	d, err := Read(scan(mixed), opener(mixed), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d.Fields = d.Fields[2:5]
	want := Document{
		Subject: "Grüße", From: []string{"Jürgen <j@example.org>"}, To: []string{"Team", "a@example.org", "b@example.org"},
		Fields:      []Field{{"subject", "Grüße"}, {"x-folded", "one two"}, {"x-eight", "grün"}},
		Body:        "flowing text\r\n\ncafé\nbar\r\nsubject: inner\r\n\r\ninner text",
		Attachments: []string{"Übersicht.pdf"},
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("got  %+v\nwant %+v", d, want)
	}
}

// Whatever the limit: the document is text, no longer than allowed, and says whether something is missing.
func TestDocumentIsBounded(t *testing.T) {
	for limit := range int64(400) {
		d, err := Read(scan(mixed), opener(mixed), Limits{Octets: limit + 1})
		if err != nil {
			t.Fatal(err)
		}
		size := len(d.Body)
		for _, f := range d.Fields {
			size += len(f.Name) + len(f.Value)
			if !utf8.ValidString(f.Value) {
				t.Errorf("limit %d: %q", limit, f.Value)
			}
		}
		if int64(size) > limit+1+8 || !utf8.ValidString(d.Body) { // and the ends between parts
			t.Errorf("limit %d: %d octets, %q", limit, size, d.Body)
		}
		if whole := strings.HasSuffix(d.Body, "inner text"); !whole && !d.Truncated || whole && d.Truncated && limit > 250 {
			t.Errorf("limit %d: truncated is %t with %q", limit, d.Truncated, d.Body)
		}
	}
}

func TestUnreadableBlob(t *testing.T) {
	damaged := errors.New("damaged")
	d, err := Read(scan(mixed), func(off, n int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(mixed[off:off+30]), iotest.ErrReader(damaged))), nil
	}, Limits{})
	if !errors.Is(err, damaged) || d.Subject != "Grüße" || len(d.Attachments) != 1 {
		t.Errorf("%v, %+v", err, d)
	}
}

func TestFlowed(t *testing.T) {
	for _, test := range []struct {
		in    string
		delsp bool
		want  string
	}{
		{"", false, ""},
		{"one", false, "one"},
		{"one\r\n", false, "one"},
		{"one\r\n\r\ntwo\r\n", false, "one\r\n\r\ntwo"},
		{"one \r\ntwo\r\n", false, "one two"},
		{"one \r\ntwo\r\n", true, "onetwo"},
		{"one \ntwo", false, "one two"},
		{"one ", false, "one "},
		{" stuffed\r\n >no quote\r\n", false, "stuffed\r\n>no quote"},
		{"> one \r\n> two\r\n", false, "> one two"},
		{"> one \r\n>> two\r\n", false, "> one \r\n>> two"},
		{"-- \r\nname\r\n", false, "-- \r\nname"},
		{"a \r\n-- \r\nb", false, "a -- \r\nb"},
		{">", false, "> "},
		{strings.Repeat("x", 10_000) + " \r\ny", false, strings.Repeat("x", 10_000) + " y"},
		{strings.Repeat("x", 4095) + "\r\ny", false, strings.Repeat("x", 4095) + "\r\ny"},
	} {
		for _, r := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in))} {
			if got, err := io.ReadAll(unflow(r, test.delsp)); err != nil || string(got) != test.want {
				t.Errorf("%.40q, %t: got %.60q, %v, want %.60q", test.in, test.delsp, got, err, test.want)
			}
		}
	}
}

func FuzzFlowed(f *testing.F) {
	f.Add("> one \r\n>> two\r\n", true)
	f.Fuzz(func(t *testing.T, in string, delsp bool) {
		got, err := io.ReadAll(unflow(strings.NewReader(in), delsp))
		slow, slowErr := io.ReadAll(unflow(iotest.OneByteReader(strings.NewReader(in)), delsp))
		if err != nil || slowErr != nil || string(got) != string(slow) {
			t.Errorf("%q depends on its pieces: %q, %q", in, got, slow)
		}
		if len(got) > 2*len(in)+8 {
			t.Errorf("%q grows to %d octets", in, len(got))
		}
	})
}

// Every message of the corpus has text that is text.
func TestCorpus(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("STREAMPOST_CORPUS"), "*.eml"))
	for _, name := range files {
		octets, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Read(scan(string(octets)), opener(string(octets)), Limits{})
		if err != nil || !utf8.ValidString(d.Body) || len(d.Body) > 1<<20+1000 {
			t.Errorf("%s: %v, %d octets", name, err, len(d.Body))
		}
	}
}
