package dsn_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/dsn"
	"github.com/streampost/streampost/domain/queue"
)

var update = flag.Bool("update", false, "write the expected notifications anew")

func notices() map[string]*dsn.Notice {
	arrived := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	e := &queue.Entry{Sender: "alice@example.org", MessageID: "<1@laptop>", EnvelopeID: "QQ 314159", Arrived: arrived.UnixMilli(), Return: "FULL"}
	wide := *e
	wide.UTF8, wide.Sender = true, "jürgen@example.org"
	outcome := queue.Outcome{
		Recipient: queue.Recipient{Address: "bob@example.net", Original: "rfc822;robert@example.net"}, Fate: queue.Failed, Status: "5.1.1", Text: "550 5.1.1 No such user", Peer: "mx.example.net",
	}
	other := queue.Outcome{Recipient: queue.Recipient{Address: "péter@example.com"}, Fate: queue.Failed, Status: "5.1.2", Text: "the domain example.com does not exist"}
	base := func(e *queue.Entry, r queue.Report, original string, whole bool) *dsn.Notice {
		return &dsn.Notice{Host: "mail.example.org", ID: "00000000000000ff", Now: arrived.Add(time.Hour), Entry: e, Report: r, Original: []byte(original), Whole: whole}
	}
	header := "From: alice@example.org\r\nSubject: hi\r\n"
	return map[string]*dsn.Notice{
		"failed":  base(e, queue.Report{Action: queue.ActionFailed, Outcomes: []queue.Outcome{outcome, other}}, header+"\r\nHello.\r\n", true),
		"delayed": base(e, queue.Report{Action: queue.ActionDelayed, Outcomes: []queue.Outcome{{Recipient: outcome.Recipient, Text: "451 later", Peer: "mx.example.net"}}, Until: arrived.Add(120 * time.Hour)}, header, false),
		"relayed": base(e, queue.Report{Action: queue.ActionRelayed, Outcomes: []queue.Outcome{{Recipient: outcome.Recipient, Fate: queue.Gone, Text: "250 OK", Peer: "mx.example.net"}}}, header, false),
		"wide":    base(&wide, queue.Report{Action: queue.ActionFailed, Outcomes: []queue.Outcome{other}}, "Subject: Grüße\r\n", false),
	}
}

func TestNotices(t *testing.T) {
	for name, n := range notices() {
		file := filepath.Join("testdata", name+".eml")
		got := n.Message()
		if *update {
			if err := os.WriteFile(file, got, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
		read(t, got)
	}
}

// read takes a notification apart as a program does: its status part in groups of fields.
func read(t *testing.T, text []byte) (groups []textproto.MIMEHeader) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || parameters["report-type"] != "delivery-status" {
		t.Fatalf("%s, %v", m.Header.Get("Content-Type"), err)
	}
	r := multipart.NewReader(m.Body, parameters["boundary"])
	var kinds []string
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, p.Header.Get("Content-Type"))
		content, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(kinds) != 2 {
			continue
		}
		fields := textproto.NewReader(bufio.NewReader(strings.NewReader(string(content) + "\r\n")))
		for {
			g, err := fields.ReadMIMEHeader()
			if len(g) > 0 {
				groups = append(groups, g)
			}
			if err != nil {
				break
			}
		}
	}
	if len(kinds) < 2 || len(kinds) > 3 || !strings.HasPrefix(kinds[0], "text/plain") || !strings.Contains(kinds[1], "delivery-status") {
		t.Fatalf("the parts are %q", kinds)
	}
	return groups
}

// TestNothingCanBeAdded by what peers and senders choose.
func TestNothingCanBeAdded(t *testing.T) {
	n := notices()["failed"]
	evil := "x\r\nAction: delivered\r\n\r\n--=_00000000000000ff=_\r\nBcc: y@example.net\x00\x1b[31m\xff"
	n.Entry.MessageID, n.Entry.EnvelopeID = evil, evil
	n.Report.Outcomes[0].Text, n.Report.Outcomes[0].Peer, n.Report.Outcomes[0].Status = evil, evil, evil
	n.Report.Outcomes[0].Recipient.Original = evil + ";" + evil
	groups := read(t, n.Message())
	if len(groups) != 3 || groups[1].Get("Action") != "failed" || len(groups[1]["Action"]) != 1 || groups[1].Get("Status") != "5.0.0" {
		t.Errorf("%d groups: %v", len(groups), groups)
	}
}

func TestXtext(t *testing.T) {
	for plain, coded := range map[string]string{"QQ314159": "QQ314159", "a+b=c d": "a+2Bb+3Dc+20d", "ü": "+C3+BC", "": ""} {
		if got := dsn.Xtext(plain); got != coded {
			t.Errorf("%q: %q", plain, got)
		}
		if got, err := parseXtext(coded); err != nil || got != plain {
			t.Errorf("%q: %q, %v", coded, got, err)
		}
	}
	for _, wrong := range []string{"+", "+2", "+2b", "a b", "a=b", "+GG"} {
		if got, err := parseXtext(wrong); err == nil {
			t.Errorf("%q is read as %q", wrong, got)
		}
	}
}

func FuzzNotice(f *testing.F) {
	f.Add("bob@example.net", "rfc822;x", "550 5.1.1 no", "5.1.1", "mx", "Subject: x\r\n", true)
	f.Add("ü@example.net", "utf-8;ü@x", "ü\n", "", "", "\xff\x00", false)
	f.Fuzz(func(t *testing.T, address, original, text, status, peer, message string, wide bool) {
		n := notices()["failed"]
		n.Entry.UTF8 = wide
		n.Whole = false
		if strings.Contains(message, "--=_") {
			return
		}
		n.Original = []byte(message)
		n.Report.Outcomes = []queue.Outcome{{Recipient: queue.Recipient{Address: address, Original: original}, Fate: queue.Failed, Text: text, Status: status, Peer: peer}}
		groups := read(t, n.Message())
		if len(groups) != 2 || len(groups[1]["Action"]) != 1 || len(groups[1]["Final-Recipient"]) != 1 {
			t.Fatalf("%v", groups)
		}
	})
}

func FuzzXtext(f *testing.F) {
	f.Add("a+b=c d")
	f.Add("+2B")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := parseXtext(dsn.Xtext(s)); err != nil || got != s {
			t.Fatalf("%q: %q, %v", s, got, err)
		}
		_, _ = parseXtext(s)
	})
}

// parseXtext decodes what Xtext encodes, as a peer does.
func parseXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < '!' || c > '~' || c == '=':
			return "", fmt.Errorf("a character of xtext is not encoded")
		case c != '+':
			b.WriteByte(c)
		case i+2 >= len(s):
			return "", fmt.Errorf("xtext ends in the middle of a character")
		default:
			high, low := digit(s[i+1]), digit(s[i+2])
			if high < 0 || low < 0 {
				return "", fmt.Errorf("xtext wants two hexadecimal digits in upper case behind +")
			}
			b.WriteByte(byte(high<<4 | low))
			i += 2
		}
	}
	return b.String(), nil
}

func digit(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }
