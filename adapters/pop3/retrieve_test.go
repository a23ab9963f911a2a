package pop3

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// What a client has after RETR are the stored octets, as many as LIST says.
func TestRetrieveGivesTheStoredOctets(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for name, text := range map[string]string{
		"dots":                     "Subject: dots\r\n\r\n.\r\n..\r\n.text\r\nno.dot\r\n...\r\n",
		"a dot in the header":      ".: x\r\n\r\nbody\r\n",
		"long lines":               "Subject: long\r\n\r\n" + long + "\r\n." + long + "\r\n",
		"dots around the buffer":   "Subject: b\r\n\r\n" + strings.Repeat("x", streamBuffer-16) + "\r\n.\r\nend\r\n",
		"CR and LF apart":          strings.Repeat("x", streamBuffer-1) + "\r\n.\r\n",
		"octets above 127 and NUL": "Subject: \xc3\xa9\x00\xff\r\n\r\n\x80\r\n",
		"only a header":            "Subject: x\r\n",
		"nothing but a line end":   "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.deliver(text)
			c := s.login()
			c.says("LIST 1", fmt.Sprintf("+OK 1 %d", len(text)))
			if got := c.fetches("RETR 1"); got != text {
				t.Errorf("got %.200q", got)
			}
			if got := c.fetches("TOP 1 10000"); got != text {
				t.Errorf("TOP gave %.200q", got)
			}
			c.says("STAT", fmt.Sprintf("+OK 1 %d", len(text)))
		})
	}
}

// A message without a line end at its end gets the one that the final dot needs. What no line should have goes as it is, and whoever takes a LF for
// a line end, as most do, finds no end of the answer in it.
func TestRetrieveOfWhatIsNoText(t *testing.T) {
	for stored, sent := range map[string]string{
		"":                                "\r\n.\r\n",
		"Subject: x":                      "Subject: x\r\n.\r\n",
		"Subject: x\r\n\r\nbody":          "Subject: x\r\n\r\nbody\r\n.\r\n",
		"Subject: x\n\nbody\n.\n+OK\n":    "Subject: x\n\nbody\n..\n+OK\n\r\n.\r\n",
		"Subject: x\r\n\r\nbody\r":        "Subject: x\r\n\r\nbody\r\r\n.\r\n",
		"Subject: x\r\n\r\nbody\r.\r\n\r": "Subject: x\r\n\r\nbody\r.\r\n\r\r\n.\r\n",
	} {
		var out bytes.Buffer
		for cut := range len(stored) + 1 { // however it arrives
			out.Reset()
			w := &stuffer{w: &out, begins: true, ended: true}
			_, _ = io.WriteString(w, stored[:cut])
			_, _ = io.WriteString(w, stored[cut:])
			_ = w.end()
			if stored == "" {
				sent = ".\r\n"
			}
			if out.String() != sent {
				t.Errorf("%q in two pieces of %d and %d is sent as %q", stored, cut, len(stored)-cut, out.String())
			}
		}
	}
}

func TestTop(t *testing.T) {
	const text = "Subject: x\r\nX: y\r\n\r\none\r\n.two\r\n\r\nfour\r\n"
	for lines, want := range map[int]string{
		0: "Subject: x\r\nX: y\r\n\r\n",
		1: "Subject: x\r\nX: y\r\n\r\none\r\n",
		2: "Subject: x\r\nX: y\r\n\r\none\r\n.two\r\n",
		3: "Subject: x\r\nX: y\r\n\r\none\r\n.two\r\n\r\n",
		9: text,
	} {
		for cut := range len(text) { // however it arrives
			var out bytes.Buffer
			w := &top{w: &out, left: lines, empty: true}
			if _, err := io.WriteString(w, text[:cut]); err == nil {
				_, _ = io.WriteString(w, text[cut:])
			}
			if out.String() != want {
				t.Errorf("%d lines in two pieces at %d: %q", lines, cut, out.String())
			}
		}
	}
	s := start(t)
	s.deliver(text)
	s.deliver("\r\nall of it is body\r\n")
	c := s.login()
	c.says("TOP 1 2", "+OK ...", "Subject: x", "X: y", "", "one", "..two", ".")
	c.says("TOP 2 0", "+OK ...", "", ".")
	c.says("TOP 1", "-ERR this command takes 2 numbers")
	c.says("TOP 1 -1", `-ERR "-1" is not a number`)
	c.says("TOP 3 0", "-ERR there is no message 3")
}

// Damage that shows before the first octet goes out is an answer; the session goes on.
func TestDamagedMessages(t *testing.T) {
	s := start(t, quiet)
	var blobs []domain.BlobID
	for n := range 2 {
		uid := s.deliver(mail(n))
		for e, err := range s.Accounts.Emails(t.Context(), s.account, 1, domain.UIDs(uid), door.WantBlob) {
			if err != nil {
				t.Fatal(err)
			}
			blobs = append(blobs, e.Blob.ID)
		}
	}
	s.Blobs.Remove(blobs[0])
	s.Blobs.Damage(blobs[1])
	s.deliver(mail(9))
	c := s.login()
	c.says("RETR 1", "-ERR [SYS/PERM] the message's octets are missing or damaged (...)")
	c.says("TOP 2 0", "-ERR [SYS/PERM] the message's octets are missing or damaged (...)")
	c.says("RETR 3", "+OK 52 octets", "From: ...", "Subject: number 9", "", "text 9", ".")
	c.says("QUIT", "+OK goodbye")
}

// A message goes through a buffer, whatever its size.
func TestMessagesAreNotHeldInMemory(t *testing.T) {
	const size = 32 << 20
	s := start(t)
	s.deliver("Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78))
	c := s.login()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.send("RETR 1\r\nNOOP\r\n")
	for line, err := c.r.ReadSlice('\n'); !bytes.HasPrefix(line, []byte("+OK nothing")); line, err = c.r.ReadSlice('\n') {
		if err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > size/8 {
		t.Errorf("sending %d octets allocated %d", size, used)
	}
}
