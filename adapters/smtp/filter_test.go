package smtp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/trace"
)

// sifter is a Filter that says what it is told to.
type sifter struct {
	mail, recipient *admission.Refusal
	filtered        admission.Filtered
	told            []string
	ended           atomic.Int32
}

func (f *sifter) Mail(_ context.Context, sender string) *admission.Refusal {
	f.told = append(f.told, "mail "+sender)
	return f.mail
}

func (f *sifter) Recipient(_ context.Context, to string) *admission.Refusal {
	f.told = append(f.told, "rcpt "+to)
	return f.recipient
}

func (f *sifter) Message(_ context.Context, header []byte, rest func() (io.ReadCloser, error)) (admission.Filtered, error) {
	r, err := rest()
	if err != nil {
		return admission.Filtered{}, err
	}
	body, err := io.ReadAll(r)
	f.told = append(f.told, fmt.Sprintf("%q %q", header, body))
	got := f.filtered
	got.Header = append(append([]byte{}, header...), got.Header...)
	return got, err
}

func (f *sifter) End() { f.ended.Add(1) }

// TestFilters: what they refuse is refused at their stage, what they change is changed, and they are let go of in the end.
func TestFilters(t *testing.T) {
	no := &admission.Refusal{Code: 554, Enhanced: [3]int{5, 7, 9}, Text: "No", Why: "milter"}
	f := &sifter{}
	began := ""
	s := start(t, MX, func(c *Config) {
		c.Filter = func(c *admission.Client, id string) Filter {
			began = fmt.Sprint(c.Address, " ", c.Helo)
			return f
		}
		c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} // whom to verify is another matter
		c.Verifier = told(func(*authres.Arrival) *authres.Verdict { return &authres.Verdict{Action: authres.Refuse} })
	})
	c := s.hello()
	f.filtered.Header = []byte("X-Spam: no\r\n")
	c.envelope("sender@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 2.0.0 Accepted")
	c.do("NOOP", "250 ") // A message is let go of after its answer.
	got := s.only(s.alice, "INBOX")
	if !strings.HasPrefix(got, "Return-Path: <sender@example.net>\r\nReceived: from ") || !strings.HasSuffix(got, "\r\nSubject: hi\r\nX-Spam: no\r\n\r\nHello.\r\n") {
		t.Errorf("%s", got)
	}
	if want := `[127 0 0 1] client.example.net mail sender@example.net rcpt alice@example.org "Subject: hi\r\n" "\r\nHello.\r\n"`; began+" "+strings.Join(f.told, " ") != want || f.ended.Load() == 0 {
		t.Errorf("%s %s, ended %d times", began, f.told, f.ended.Load())
	}

	f.filtered = admission.Filtered{Junk: true}
	c.envelope("sender@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "Junk")

	f.filtered = admission.Filtered{Discard: true}
	c.envelope("sender@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 2.0.0 Accepted")
	f.filtered = admission.Filtered{Refusal: no}
	c.envelope("sender@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("554 5.7.9 No")
	f.recipient = no
	c.do("MAIL FROM:<sender@example.net>", "250 ")
	c.do("RCPT TO:<alice@example.org>", "554 5.7.9 No")
	f.recipient = nil
	c.do("RCPT TO:<bob@example.org>", "250 ")
	before := f.ended.Load()
	c.do("RSET", "250 ")
	if f.ended.Load() == before {
		t.Error("a transaction that was given up is not let go of")
	}
	f.mail = no
	before = f.ended.Load()
	c.do("MAIL FROM:<sender@example.net>", "554 5.7.9 No")
	c.do("RCPT TO:<alice@example.org>", "503 ")
	if f.ended.Load() == before {
		t.Error("a sender that was refused is not let go of")
	}
	s.only(s.alice, "INBOX")
}

// lines are those of a log.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestDiscardedMailLeavesATrace of who wanted it so, in the trace of messages and in the log: nobody else knows of it.
func TestDiscardedMailLeavesATrace(t *testing.T) {
	log := make(lines, 100)
	records := make(chan trace.Record, 10)
	s := start(t, MX, func(c *Config) {
		c.Filter = func(*admission.Client, string) Filter {
			return &sifter{filtered: admission.Filtered{Discard: true, By: "clamav"}}
		}
		c.Trace, c.Logger = func(r trace.Record) { records <- r }, slog.New(slog.NewTextHandler(log, nil))
	})
	c := s.hello()
	c.envelope("sender@example.net", "alice@example.org", "bob@example.org")
	c.send(dots("Subject: virus\r\nmessage-id:\r\n <1@example.net>\r\n\r\nHello.\r\n"))
	c.expect("250 2.0.0 Accepted")
	r := <-records
	if r.Event != trace.Discarded || r.MessageID != "<1@example.net>" || r.From != "sender@example.net" || strings.Join(r.To, " ") != "alice@example.org bob@example.org" || r.Status != "250" ||
		r.Text != "as "+r.Transfer+", and discarded by clamav" || r.Client != "127.0.0.1" || r.Octets == 0 {
		t.Errorf("%+v", r)
	}
	line := <-log
	for !strings.Contains(line, "discarded") { // It was written before the record.
		line = <-log
	}
	for _, want := range []string{"filter=clamav", "from=sender@example.net", `recipients="[alice@example.org bob@example.org]"`, "messageId=<1@example.net>"} {
		if !strings.Contains(line, want) {
			t.Errorf("the log has no %s: %s", want, line)
		}
	}
	if len(records) > 0 {
		t.Errorf("and %+v", <-records)
	}
}

// TestFiltersOfBigMessages, which wait in a file: the filter and the mailbox get the same octets.
func TestFiltersOfBigMessages(t *testing.T) {
	f := &sifter{filtered: admission.Filtered{Header: []byte("X-Spam: no\r\n")}}
	s := start(t, MX, func(c *Config) {
		c.Filter, c.Spool, c.InMemory = func(*admission.Client, string) Filter { return f }, t.TempDir(), 1000
	})
	c := s.hello()
	body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1000)
	c.do("MAIL FROM:<>", "250 ")
	c.do("RCPT TO:<alice@example.org>", "250 ")
	text := "A: b\r\n\r\n" + body
	c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text))
	c.expect("250 ")
	if got := s.only(s.alice, "INBOX"); !strings.HasSuffix(got, "\r\nA: b\r\nX-Spam: no\r\n\r\n"+body) || !strings.Contains(strings.Join(f.told, ""), fmt.Sprintf("%q", "\r\n"+body)) {
		t.Errorf("%.300s", got)
	}
}
