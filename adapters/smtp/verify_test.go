package smtp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/projections/filing"
)

// judge is a Verifier that says what it is told to, and remembers what it was given.
type judge struct {
	mu      sync.Mutex
	verdict authres.Verdict
	seen    []string
}

func (j *judge) Verify(_ context.Context, a *authres.Arrival) *authres.Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	var rest []byte
	for range 2 { // It may be read as often as anybody likes.
		r, err := a.Rest()
		if err != nil {
			panic(err)
		}
		if rest, err = io.ReadAll(r); err != nil {
			panic(err)
		}
		_ = r.Close()
	}
	j.seen = append(j.seen, fmt.Sprint(a.Address, " ", a.Helo, " ", a.Sender, " ", string(a.Header), string(rest)))
	v := j.verdict
	v.Header = bytes.ReplaceAll(a.Header, []byte("Forged: yes\r\n"), nil)
	return &v
}

func TestVerifiedMessages(t *testing.T) {
	j := &judge{verdict: authres.Verdict{Top: "Authentication-Results: mx.example.org; none\r\n"}}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "message-1"), []byte("of a process that died"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, MX, func(c *Config) { c.Verifier, c.Spool, c.InMemory = j, dir, 10_000 })
	big := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1000) // which lies in a file meanwhile
	for _, text := range []string{hi, "Forged: yes\r\nA: b\r\n\r\nbody\r\n", "\r\nbody\r\n", "A: b\r\n\r\n" + big, "A: " + big[:300] + strings.Repeat(" "+big[:72], 300) + "\r\n" + big} {
		for _, how := range []string{"DATA", "BDAT"} {
			c := s.hello()
			before := len(s.messages(s.alice, "INBOX"))
			if how == "DATA" {
				c.envelope("sender@example.net", "alice@example.org")
				c.send(dots(text))
			} else {
				c.do("MAIL FROM:<sender@example.net>", "250 ")
				c.do("RCPT TO:<alice@example.org>", "250 ")
				c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text))
			}
			c.expect("250 2.0.0 Accepted")
			if got, want := j.seen[len(j.seen)-1], "127.0.0.1 client.example.net sender@example.net "+text; got != want {
				t.Errorf("the verifier was shown %.200q, want %.200q", got, want)
			}
			got := s.messages(s.alice, "INBOX")[before]
			got, ok := strings.CutPrefix(got, "Return-Path: <sender@example.net>\r\nAuthentication-Results: mx.example.org; none\r\nReceived: from client.example.net ")
			if !ok || !strings.HasSuffix(got, strings.Replace("\r\n"+text, "Forged: yes\r\n", "", 1)) {
				t.Errorf("the message is %.300q", got)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestTheHeaderHasABound, also where its first line is no field: everybody reads it up to the first empty line, and the verifier holds it in memory.
func TestTheHeaderHasABound(t *testing.T) {
	j := &judge{verdict: authres.Verdict{Top: "Authentication-Results: mx.example.org; none\r\n"}}
	s := start(t, MX, func(c *Config) { c.Verifier, c.Spool = j, t.TempDir() })
	c := s.hello()
	line := strings.Repeat("x", 998) + "\r\n"
	for text, want := range map[string]string{
		"no field\r\nA: b\r\n" + strings.Repeat(line, 1100): "552 5.3.4", "no field\r\n" + strings.Repeat(line, 1100) + "From: a\r\n": "552 5.3.4", " From: a\r\n" + strings.Repeat("a: b\r\n", 10_001): "552 5.3.4",
		"only a text\r\n" + strings.Repeat(line, 1100): "250 2.0.0", "only a text\r\n\r\n" + strings.Repeat(line, 1100): "250 2.0.0", "\r\n" + strings.Repeat(line, 1100): "250 2.0.0",
	} {
		c.envelope("sender@example.net", "alice@example.org")
		c.send(dots(text))
		c.expect(want)
	}
	if _, err := newSpool("", 10).header(1); err == nil {
		t.Error("more of a header was given than there is")
	}
}

// TestRefusedAtTheEnd: what is refused gets its code at the end of the data, leaves nothing, and is not bounced.
func TestRefusedAtTheEnd(t *testing.T) {
	for _, refusal := range []struct {
		verdict authres.Verdict
		want    string
	}{
		{authres.Verdict{Action: authres.Refuse, Because: "dmarc"}, "550 5.7.26"},
		{authres.Verdict{Action: authres.Refuse, Because: "spf"}, "550 5.7.23"},
		{authres.Verdict{Action: authres.Later, Because: "dmarc"}, "451 4.7.0"},
	} {
		s := start(t, MX, func(c *Config) { c.Verifier = &judge{verdict: refusal.verdict} })
		c := s.hello()
		c.envelope("sender@example.net", "alice@example.org", "bob@example.org")
		c.send(dots(hi))
		c.expect(refusal.want)
		c.envelope("sender@example.net", "alice@example.org")
		c.send(dots("Subject: a\nb\r\n\r\n")) // A message that is broken is refused for that.
		c.expect("550 5.6.11")
		c.do("NOOP", "250 ")
		for _, box := range []string{"INBOX", "Junk"} {
			if n := len(s.messages(s.alice, box)) + len(s.messages(s.bob, box)); n > 0 {
				t.Errorf("%s: %d messages came", refusal.want, n)
			}
		}
	}
}

func TestQuarantineIsTheMailboxForJunk(t *testing.T) {
	s := start(t, MX, func(c *Config) { c.Verifier = &judge{verdict: authres.Verdict{Action: authres.Junk, Because: "dmarc"}} })
	c := s.hello()
	c.envelope("sender@example.net", "alice@example.org", "bob+Archive@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "Junk")
	s.only(s.bob, "Junk")
}

// filed is a Filer that notes what it is given.
type filed struct {
	mu  sync.Mutex
	got []filing.Mail
}

func (f *filed) Deliver(_ context.Context, _ domain.AccountID, _ string, m filing.Mail) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, m)
	return nil
}

// TestScriptsAreToldOfTheVerdict, and whether the header may be internationalized.
func TestScriptsAreToldOfTheVerdict(t *testing.T) {
	j, f := &judge{}, &filed{}
	s := start(t, MX, func(c *Config) { c.Verifier, c.Filer = j, f })
	c := s.hello()
	for n, try := range []struct {
		action     authres.Action
		parameters string
	}{{authres.Accept, ""}, {authres.Junk, ""}, {authres.Junk, " SMTPUTF8"}} {
		j.mu.Lock()
		j.verdict.Action = try.action
		j.mu.Unlock()
		c.do("MAIL FROM:<sender@example.net>"+try.parameters, "250 ")
		c.do("RCPT TO:<alice@example.org>", "250 ")
		c.do("DATA", "354 ")
		c.send(dots(hi))
		c.expect("250 ")
		f.mu.Lock()
		if len(f.got) != n+1 || f.got[n].Junk != (try.action == authres.Junk) || f.got[n].UTF8 != (try.parameters != "") {
			t.Errorf("%+v: %+v", try, f.got)
		}
		f.mu.Unlock()
	}
}

// TestWhoIsNotVerified: users, mail servers that have done it, and clients from trusted networks.
func TestWhoIsNotVerified(t *testing.T) {
	for _, kind := range []Kind{MX, LMTP} {
		s := start(t, kind, func(c *Config) {
			c.Verifier = &judge{verdict: authres.Verdict{Action: authres.Refuse}}
			c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			if kind != MX {
				c.Trusted = nil
			}
		})
		c := s.hello()
		c.envelope("sender@example.net", "alice@example.org")
		c.send(dots(hi))
		c.expect("250 ")
		s.only(s.alice, "INBOX")
	}
}

// TestUsersDoNotForgeResults: what a user submits has no field of this server's results, however it is written and sent; all else stays as it was.
func TestUsersDoNotForgeResults(t *testing.T) {
	s := start(t, Submission, func(c *Config) { c.Results = "mx.example.org" })
	c := s.hello()
	c.do(plainAuth("alice@example.org", "secret"), "235 ")
	for text, want := range map[string]string{
		"Authentication-Results: mx.example.org; dmarc=pass\r\nDate: x\r\nMessage-ID: <1@x>\r\nauthentication-results:\r\n (a)\r\n\tMX.example.org; spf=pass\r\nA: b\r\n\r\nAuthentication-Results: mx.example.org; x\r\n": "Date: x\r\nMessage-ID: <1@x>\r\nA: b\r\n\r\nAuthentication-Results: mx.example.org; x\r\n",
		"Date: x\r\nMessage-ID: <2@x>\r\nno field\r\nAuthentication-Results: mx.example.org; none\r\nB: c\r\n\r\nx\r\n":                                                                                                    "Date: x\r\nMessage-ID: <2@x>\r\nno field\r\nB: c\r\n\r\nx\r\n",
		"Date: x\r\nMessage-ID: <3@x>\r\nAuthentication-Results: other.example; none\r\nL: " + strings.Repeat("y", 50_000) + "\r\n\r\n" + strings.Repeat("x\r\n", 50_000):                                                  "Date: x\r\nMessage-ID: <3@x>\r\nAuthentication-Results: other.example; none\r\nL: " + strings.Repeat("y", 50_000) + "\r\n\r\n" + strings.Repeat("x\r\n", 50_000),
		"Date: x\r\nMessage-ID: <4@x>\r\n": "Date: x\r\nMessage-ID: <4@x>\r\n",
	} {
		before := len(s.messages(s.bob, "INBOX"))
		c.envelope("alice@example.org", "bob@example.org")
		c.send(dots(text))
		c.expect("250 ")
		if got := s.body(s.messages(s.bob, "INBOX")[before]); got != want {
			t.Errorf("%.200q became %.200q", text, got)
		}
	}
	c.envelope("alice@example.org", "bob@example.org")
	c.send(dots("A: b\nc\r\n\r\n"))
	c.expect("550 5.6.11")
	text := strings.Repeat(strings.Repeat("x", 998)+"\r\n", 2000) // that has no header, and is not held in memory
	h := &honest{in: delivery.NewReader(strings.NewReader(text), delivery.Limits{}, delivery.Fields{Top: "Return-Path: <>\r\n"}), id: "mx.example.org"}
	most := 0
	var all strings.Builder
	for p := make([]byte, 1000); ; most = max(most, len(h.header)) {
		n, err := h.Read(p)
		if all.Write(p[:n]); err != nil {
			break
		}
	}
	if all.String() != "Return-Path: <>\r\n"+text || most > 1<<20+10_000 {
		t.Errorf("%d octets passed, %d were held", all.Len(), most)
	}
}
