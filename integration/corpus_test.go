package integration

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"
)

// corpus lists the messages to try: the project's own, and those of the folder that STREAMPOST_CORPUS names (default ../shared/corpus beside
// the checkout) when it is there.
func corpus(t *testing.T) []string {
	files, _ := filepath.Glob("testdata/*.eml")
	dir := os.Getenv("STREAMPOST_CORPUS")
	if dir == "" {
		dir = "../../shared/corpus"
	}
	more, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	if len(more) == 0 {
		t.Logf("no messages in %s: only the project's own are tried", dir)
	}
	return append(files, more...)
}

// crlf gives the form in which a client sends a message: every line ends in CRLF.
func crlf(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	b = bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// TestCorpusRoundTrip appends and delivers every message, by SMTP and by LMTP, and reads it back: the octets are the same, below the fields that a delivery adds.
func TestCorpusRoundTrip(t *testing.T) {
	t.Parallel()
	s := demoServer(t)
	c, err := imapclient.DialInsecure(s.addr(1143), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("alice@example.org", password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	read := func(uid imap.UID) []byte {
		t.Helper()
		section := &imap.FetchItemBodySection{Peek: true}
		messages, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}, RFC822Size: true}).Collect()
		if err != nil || len(messages) != 1 {
			t.Fatalf("FETCH of UID %d: %d messages, %v", uid, len(messages), err)
		}
		body := messages[0].FindBodySection(section)
		if int64(len(body)) != messages[0].RFC822Size {
			t.Errorf("RFC822.SIZE is %d, %d octets came", messages[0].RFC822Size, len(body))
		}
		return body
	}
	for _, file := range corpus(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 20<<20 {
			continue
		}
		name := filepath.Base(file)
		// APPEND takes octets as they are, except NUL (RFC 9051 section 4.3: CHAR8 of a literal).
		appendCmd := c.Append("Archive", int64(len(raw)), nil)
		if _, err := appendCmd.Write(raw); err != nil {
			t.Fatal(err)
		}
		_ = appendCmd.Close()
		data, err := appendCmd.Wait()
		if bytes.IndexByte(raw, 0) >= 0 {
			if err == nil {
				t.Errorf("%s: APPEND took NUL", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: APPEND: %v", name, err)
			continue
		}
		if got := read(data.UID); !bytes.Equal(got, raw) {
			t.Errorf("%s: APPEND changed it: %d octets became %d", name, len(raw), len(got))
		}
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for door, port := range map[string]int{"SMTP": 1025, "LMTP": 1124} {
		line, err := net.Dial("tcp", s.addr(port))
		if err != nil {
			t.Fatal(err)
		}
		client := smtp.NewClient(line)
		if door == "LMTP" {
			client = smtp.NewClientLMTP(line)
		}
		defer client.Close()
		for _, file := range corpus(t) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			wire := crlf(raw)
			name := filepath.Base(file)
			if len(wire) > 20<<20 || bytes.IndexByte(wire, 0) >= 0 {
				continue
			}
			if err := client.Mail("x@example.net", nil); err != nil {
				t.Fatal(err)
			}
			if err := client.Rcpt("alice@example.org", nil); err != nil {
				t.Fatal(err)
			}
			w, err := client.Data()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(w, bytes.NewReader(wire)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Errorf("%s: delivery by %s: %v", name, door, err)
				continue
			}
			status, err := c.Status("INBOX", &imap.StatusOptions{UIDNext: true}).Wait()
			if err != nil {
				t.Fatal(err)
			}
			if want := lineEnd(wire); !bytes.Equal(belowTrace(t, read(status.UIDNext-1), door), want) {
				t.Errorf("%s: the delivery by %s changed it, of %d octets", name, door, len(want))
			}
		}
	}
	s.clean()
}

// lineEnd gives a message the last line end that DATA needs.
func lineEnd(wire []byte) []byte {
	if bytes.HasSuffix(wire, []byte("\r\n")) || len(wire) == 0 {
		return wire
	}
	return append(wire, "\r\n"...)
}

// belowTrace cuts off what a delivery adds: Return-Path and one Received, which says by which door.
func belowTrace(t *testing.T, message []byte, door string) []byte {
	t.Helper()
	trace := regexp.MustCompile(`^(?:Return-Path: <x@example\.net>\r\n)?Received: from [^\r\n]*(?:\r\n\t[^\r\n]*)* with E?` + door + ` [^\r\n]*(?:\r\n\t[^\r\n]*)*\r\n`).Find(message)
	if trace == nil {
		t.Errorf("no trace of %s on top of %.200q", door, message)
	}
	return message[len(trace):]
}
