package mbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/mbox"
)

const from = "From alice@example.org Thu Feb  3 04:05:06 2022\n"

func read(t *testing.T, file string) (bodies []string, messages []*mbox.Message) {
	t.Helper()
	r := mbox.NewReader(strings.NewReader(file), int64(len(file)))
	for {
		m, err := r.Next()
		if err == io.EOF {
			return bodies, messages
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(m.Open())
		if err != nil || int64(len(body)) != m.Size {
			t.Fatalf("%d octets, Size says %d, %v", len(body), m.Size, err)
		}
		bodies, messages = append(bodies, strings.ReplaceAll(string(body), "\r\n", "\n")), append(messages, m)
		if strings.Count(string(body), "\n") != strings.Count(string(body), "\r\n") {
			t.Fatalf("%q has bare LF", body)
		}
	}
}

func TestSeparators(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"empty":       {"", nil},
		"blank":       {"\n\n", nil},
		"one":         {from + "A: b\n\nbody\n\n", []string{"A: b\n\nbody\n"}},
		"two":         {from + "A: b\n\nbody\n\n" + from + "C: d\n\nmore\n", []string{"A: b\n\nbody\n", "C: d\n\nmore\n"}},
		"crlf":        {strings.ReplaceAll(from+"A: b\n\nbody\n\n"+from+"C: d\n\nmore\n", "\n", "\r\n"), []string{"A: b\n\nbody\n", "C: d\n\nmore\n"}},
		"no body":     {from + "A: b\n\n" + from + "C: d\n\n", []string{"A: b\n\n", "C: d\n\n"}},
		"header only": {from + "A: b\n", []string{"A: b\n"}},
		"empty lines": {from + "A: b\n\nbody\n\n\n\n" + from + "C: d\n\nx", []string{"A: b\n\nbody\n\n\n", "C: d\n\nx"}},
		"prose":       {from + "A: b\n\nHe wrote:\n\nFrom here on it is easy.\n\n" + from + "C: d\n\nx\n", []string{"A: b\n\nHe wrote:\n\nFrom here on it is easy.\n", "C: d\n\nx\n"}},
		"no blank":    {from + "A: b\n\nbody\n" + from + "x\n", []string{"A: b\n\nbody\n" + from + "x\n"}},
		"mboxo":       {from + "A: b\n\n>From here\n", []string{"A: b\n\nFrom here\n"}},
		"mboxrd":      {from + "A: b\n\n>>From here\n> From\n", []string{"A: b\n\n>From here\n> From\n"}},
		"loose":       {"From \nA: b\n\nx\n\nFrom \nC: d\n\ny\n", []string{"A: b\n\nx\n", "C: d\n\ny\n"}},
		"thunderbird": {"From - Thu Feb 03 04:05:06 2022\nA: b\n\nx\n", []string{"A: b\n\nx\n"}},
		"length":      {from + "Content-Length: 54\n\n" + from + "\n>From\n" + "\n" + from + "C: d\n\ny\n", nil}, // filled below
		"wrong":       {from + "Content-Length: 3\n\nbody\n\n" + from + "C: d\n\ny\n", []string{"Content-Length: 3\n\nbody\n", "C: d\n\ny\n"}},
		"huge":        {from + "Content-Length: 99999\n\nbody\n\n" + from + "C: d\n\ny\n", []string{"Content-Length: 99999\n\nbody\n", "C: d\n\ny\n"}},
		"negative":    {from + "Content-Length: -3\n\nbody\n", []string{"Content-Length: -3\n\nbody\n"}},
	} {
		if name == "length" { // mboxcl2: a separator inside the body, and nothing is unquoted
			body := "hello\n\n" + from + "\n>From me\n"
			head := fmt.Sprintf("Content-Length: %d\n\n", len(body))
			c.file, c.want = from+head+body+"\n"+from+"C: d\n\ny\n", []string{head + body, "C: d\n\ny\n"}
		}
		if got, _ := read(t, c.file); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}

func TestDatesAndFlags(t *testing.T) {
	file := from + "Status: RO\nX-Status: AF\nX-Keywords: $Junk work\n\nx\n\n" +
		"From - Thu Feb 03 04:05:06 2022\nX-Mozilla-Status: 0003\n\nx\n\n" +
		"From a@b Thu Feb  3 04:05:06 +0100 2022\nX-Mozilla-Status: 0009\n\nx\n\n" +
		"From MAILER-DAEMON Thu Feb  3 04:05 2022\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nx\n"
	_, got := read(t, file)
	at := time.Date(2022, 2, 3, 4, 5, 6, 0, time.UTC)
	for i, want := range []struct {
		date  time.Time
		flags string
		skip  bool
	}{
		{at, `[$Junk \Answered \Flagged \Seen work]`, false},
		{at, `[\Answered \Seen]`, false},
		{at.Add(-time.Hour), `[\Seen]`, true},
		{at.Add(-6 * time.Second), `[]`, true},
	} {
		if m := got[i]; !m.Date.Equal(want.date) || fmt.Sprint(m.Flags) != want.flags || (m.Skip != "") != want.skip {
			t.Errorf("message %d: %s %s %q", i, m.Date, m.Flags, m.Skip)
		}
	}
}

func TestResume(t *testing.T) {
	file := from + "A: 1\n\nx\n\n" + from + "A: 2\n\nx\n\n" + from + "A: 3\n\nx\n"
	_, all := read(t, file)
	r := mbox.NewReader(strings.NewReader(file), int64(len(file)))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.Resume(all[2].Offset)
	m, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(m.Open()); !bytes.HasPrefix(body, []byte("A: 3")) {
		t.Errorf("%q", body)
	}
}

func TestNotAnMbox(t *testing.T) {
	file := "Subject: a message\n\nx\n"
	if _, err := mbox.NewReader(strings.NewReader(file), int64(len(file))).Next(); !errors.Is(err, mbox.ErrFormat) {
		t.Error(err)
	}
}

func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	file := from + "A: " + long + "\n\n" + long + "\n\n" + from + "B: c\n\ny\n"
	got, _ := read(t, file)
	if len(got) != 2 || got[0] != "A: "+long+"\n\n"+long+"\n" {
		t.Errorf("%d messages", len(got))
	}
}

// Whatever the file, every octet lies in at most one message and walking it ends.
func FuzzReader(f *testing.F) {
	f.Add([]byte(from + "Content-Length: 5\n\nbody\n\n" + from + "A: b\n\n>From x\n"))
	f.Add([]byte("From \n\nFrom \n\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := mbox.NewReader(bytes.NewReader(file), int64(len(file)))
		last := int64(-1)
		for {
			m, err := r.Next()
			if err != nil {
				return
			}
			if m.Offset <= last {
				t.Fatalf("a message at %d after one at %d", m.Offset, last)
			}
			last = m.Offset
			if n, err := io.Copy(io.Discard, m.Open()); err != nil || n != m.Size {
				t.Fatalf("%d octets of %d: %v", n, m.Size, err)
			}
		}
	})
}
