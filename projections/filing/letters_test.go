package filing_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/filing"
)

// post is a queue that shows what was put into it.
type post struct {
	d       *desk
	open    map[queue.ID]pledged
	sent    []filing.Letter
	dropped int
	fail    error // of Pledge
	deaf    error // of Settle
}

type pledged struct {
	mark   string
	letter filing.Letter
}

func (p *post) Pledge(_ context.Context, _ domain.AccountID, mark string, letters []filing.Letter) (ids []queue.ID, err error) {
	if p.fail != nil {
		return nil, p.fail
	}
	for _, l := range letters {
		id := queue.ID(len(p.open) + 1)
		p.open[id] = pledged{mark, l}
		ids = append(ids, id)
	}
	return ids, nil
}

func (p *post) Settle(_ context.Context, ids []queue.ID, kept bool) error {
	if p.deaf != nil {
		return p.deaf
	}
	for _, id := range ids {
		if kept {
			p.sent = append(p.sent, p.open[id].letter)
		} else {
			p.dropped++
		}
	}
	return nil
}

// posting is a desk whose scripts send mail.
func posting(t *testing.T, change ...func(*filing.Config)) (*desk, *post) {
	d := open(t)
	p := &post{d: d, open: map[queue.ID]pledged{}}
	cfg := filing.Config{
		Accounts: d.node.Accounts, Queue: p, Hostname: "mail.example.org", Resolve: d.node.Directory.Resolve,
		Count: func(outcome string, _ int, _ time.Duration) { d.outcomes = append(d.outcomes, outcome) },
	}
	for _, f := range change {
		f(&cfg)
	}
	d.filer = filing.New(cfg)
	return d, p
}

func (p *post) text(l filing.Letter) string {
	p.d.t.Helper()
	r, err := p.d.node.Accounts.Open(p.d.t.Context(), l.Blob, 0, -1)
	if err != nil {
		p.d.t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		p.d.t.Fatal(err)
	}
	return string(all)
}

func TestRedirect(t *testing.T) {
	d, p := posting(t, func(c *filing.Config) {
		c.Sender = func(original, forwarder delivery.Address) delivery.Address {
			return delivery.Address{Local: "srs=" + original.Local, Domain: forwarder.Domain}
		}
	})
	d.script(`require "copy"; redirect :copy "carol@example.com"; redirect "dave@example.com";`)
	if err := d.deliver(func(m *filing.Mail) { m.TLS = queue.TLSRequired }); err != nil {
		t.Fatal(err)
	}
	d.holds()
	if p.sent[0].TLS != queue.TLSRequired || p.sent[1].TLS != queue.TLSRequired {
		t.Errorf("what the sender demands of the way is forgotten: %+v", p.sent)
	}
	if len(p.sent) != 2 || p.sent[0].Sender.String() != "srs=bob@example.org" || p.sent[1].To[0].String() != "dave@example.com" {
		t.Fatalf("%+v", p.sent)
	}
	if got := p.text(p.sent[0]); got != "X-Sieve-Redirected-From: alice@example.org\r\n"+text {
		t.Errorf("%q", got)
	}
	// RFC 5228 section 10: what has no sender gets none.
	if err := d.deliver(func(m *filing.Mail) { m.From = delivery.Address{} }); err != nil || !p.sent[2].Sender.IsNull() {
		t.Errorf("%v, %+v", err, p.sent[2:])
	}
}

// TestRedirectsDoNotLoop: a message that comes back to the account is kept, also where the account's own address has a plus sign.
func TestRedirectsDoNotLoop(t *testing.T) {
	d, p := posting(t)
	d.id = d.node.AddAccount(t, "a+b@example.org", "correct horse battery")
	d.script(`redirect "carol@example.net";`)
	body := text
	deliver := func(to string) {
		t.Helper()
		stored, err := d.node.Accounts.Ingest(t.Context(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.deliver(func(m *filing.Mail) { m.Add.Blob, m.Add.Summary, m.To.Local = stored.Blob, stored.Summary, to }); err != nil {
			t.Fatal(err)
		}
	}
	deliver("A+b")
	if len(p.sent) != 1 {
		t.Fatalf("%+v", p.sent)
	}
	if body = p.text(p.sent[0]); !strings.HasPrefix(body, "X-Sieve-Redirected-From: A+b@example.org\r\n") {
		t.Errorf("%q", body)
	}
	deliver("a+b")
	if len(p.sent) != 1 {
		t.Errorf("%d were sent", len(p.sent))
	}
	d.holds("INBOX")
}

// TestInternationalizedMail is what needs SMTPUTF8, and no other: octets that a header has without leave go on as they came.
func TestInternationalizedMail(t *testing.T) {
	d, p := posting(t)
	d.script(`redirect "carol@example.net";`)
	stored, err := d.node.Accounts.Ingest(t.Context(), strings.NewReader("Subject: caf\xe9\r\nFrom: bob@example.net\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	for n, change := range []func(m *filing.Mail){
		func(m *filing.Mail) { m.Add.Blob, m.Add.Summary = stored.Blob, stored.Summary },
		func(m *filing.Mail) { m.UTF8 = true },
		func(m *filing.Mail) { m.Add.Blob, m.Add.Summary, m.UTF8 = stored.Blob, stored.Summary, true },
		func(m *filing.Mail) { m.From.Local = "jörg" },
	} {
		if err := d.deliver(change); err != nil || len(p.sent) != n+1 || p.sent[n].UTF8 != (n >= 2) {
			t.Errorf("%d: %v, %+v", n, err, p.sent)
		}
	}
	d.node.AddAccount(t, "jörg@example.org", "correct horse battery")
	d.id = d.node.AddAccount(t, "zoe@example.org", "correct horse battery")
	d.script(`require "vacation"; vacation :addresses "alice@example.org" :from "Zoë <zoë@example.org>" "away";`)
	if err := d.deliver(func(m *filing.Mail) { m.To.Local = "zoë" }); err != nil || len(p.sent) != 5 || !p.sent[4].UTF8 {
		t.Errorf("%v, %+v", err, p.sent[4:])
	}
}

func TestRedirectsEndAtALimit(t *testing.T) {
	d, p := posting(t)
	d.script(`redirect "carol@example.com";`)
	var marks []account.SetMark
	for n := range filing.MaxForwards - 1 {
		marks = append(marks, account.SetMark{Mark: account.Mark{Kind: account.MarkRedirect, Name: fmt.Sprint(n)}, Until: 100})
	}
	d.do(account.LeaveMarks{Marks: marks, Now: 5})
	for range 2 {
		if err := d.deliver(); err != nil {
			t.Fatal(err)
		}
	}
	d.holds("INBOX") // the second one
	if len(p.sent) != 1 {
		t.Errorf("%d were sent", len(p.sent))
	}
}

// TestARecipientCounts: a notification to several is as many.
func TestARecipientCounts(t *testing.T) {
	d, p := posting(t)
	d.script(`require "enotify"; notify "mailto:a@example.net,b@example.net?cc=c@example.net";`)
	var marks []account.SetMark
	for n := range filing.MaxForwards - 5 {
		marks = append(marks, account.SetMark{Mark: account.Mark{Kind: account.MarkRedirect, Name: fmt.Sprint(n)}, Until: 100})
	}
	d.do(account.LeaveMarks{Marks: marks, Now: 5})
	for range 2 {
		if err := d.deliver(); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.sent) != 1 {
		t.Errorf("%d were sent", len(p.sent))
	}
}

// TestAnswersEndAtALimit: beyond it messages are filed as the script says, and a sender who had no answer gets it later.
func TestAnswersEndAtALimit(t *testing.T) {
	d, p := posting(t)
	d.script(`require ["vacation","fileinto"]; vacation "away"; fileinto "Archive";`)
	var marks []account.SetMark
	for n := range filing.MaxAnswers - 1 {
		marks = append(marks, account.SetMark{Mark: account.Mark{Kind: account.MarkAnswer, Name: fmt.Sprint(n)}, Until: 100})
	}
	d.do(account.LeaveMarks{Marks: marks, Now: 5})
	deliver := func(from string, at int64, answers int) {
		t.Helper()
		if err := d.deliver(func(m *filing.Mail) { m.From.Local, m.Add.Now = from, at }); err != nil || len(p.sent) != answers {
			t.Fatalf("%v, %d answers, want %d", err, len(p.sent), answers)
		}
	}
	deliver("bob", 5, 1)
	deliver("carol", 5, 1)
	deliver("carol", 101, 2)
	d.holds("Archive", "Archive", "Archive")
}

// TestForgedMailIsNotAnswered: what DMARC sends to Junk makes no mail leave.
func TestForgedMailIsNotAnswered(t *testing.T) {
	d, p := posting(t)
	d.script(`require ["vacation","copy"]; vacation "away"; redirect :copy "carol@example.com";`)
	d.do(account.SetVacation{Vacation: account.Vacation{Enabled: true, Text: "away", Set: 1}})
	if err := d.deliver(func(m *filing.Mail) { m.Junk, m.Add.Mailbox = true, "Archive" }); err != nil || len(p.sent) > 0 {
		t.Errorf("%v, %d were sent", err, len(p.sent))
	}
	d.holds("Archive")
}

// TestACopyByID is filed where the id says, not where the name does.
func TestACopyByID(t *testing.T) {
	d, _ := posting(t)
	d.do(account.CreateMailbox{Name: "Answers", UIDValidity: 7})
	var id domain.MailboxID
	if err := d.node.Accounts.View(t.Context(), d.id, func(s *account.State) error {
		m, _ := s.Mailbox("Answers")
		id = m.ID
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	d.script(fmt.Sprintf(`require ["vacation","fcc","mailboxid"]; vacation :fcc "Nowhere" :mailboxid "F%s-%d" "away";`, d.id, id))
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX", "Answers")
}

func TestVacation(t *testing.T) {
	d, p := posting(t)
	d.script(`require ["vacation","fcc","mailbox"]; vacation :days 7 :fcc "INBOX" "away";`)
	for range 2 {
		if err := d.deliver(); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.sent) != 1 || !p.sent[0].Sender.IsNull() || p.sent[0].To[0].String() != "bob@example.net" || p.sent[0].Notify != queue.Never {
		t.Fatalf("%+v", p.sent)
	}
	if got := p.text(p.sent[0]); !strings.HasPrefix(got, "From: alice@example.org\r\nTo: bob@example.net\r\nSubject: Auto: lunch\r\n") || !strings.Contains(got, "\r\nAuto-Submitted: auto-replied\r\n") {
		t.Errorf("%q", got)
	}
	d.holds("INBOX", "INBOX", "INBOX") // two messages, and a copy of the one answer
	week := int64(7 * 24 * time.Hour / time.Second)
	if err := d.deliver(func(m *filing.Mail) { m.Add.Now = 5 + week }); err != nil || len(p.sent) != 2 {
		t.Errorf("a week later: %v, %d answers", err, len(p.sent))
	}
}

// TestBriefMarks hold beside as many long ones as there may be.
func TestBriefMarks(t *testing.T) {
	d, _ := posting(t)
	d.script(`require ["duplicate","fileinto"]; if duplicate :seconds 60 :uniqueid "x" { fileinto "Archive"; }`)
	var marks []account.SetMark
	for n := range account.MaxMarks {
		marks = append(marks, account.SetMark{Mark: account.Mark{Kind: account.MarkDuplicate, Name: fmt.Sprint(n)}, Until: 1 << 40})
	}
	d.do(account.LeaveMarks{Marks: marks, Now: 5})
	for _, at := range []int64{5, 6, 70} {
		if err := d.deliver(func(m *filing.Mail) { m.Add.Now = at }); err != nil {
			t.Fatal(err)
		}
	}
	d.holds("INBOX", "INBOX", "Archive")
}

// TestTwoAtOnce: of two deliveries that both find nothing to hold them back, the second decides again.
func TestTwoAtOnce(t *testing.T) {
	var d *desk
	first := true
	d, p := posting(t, func(c *filing.Config) {
		c.Failpoint = func(name string) {
			if name == "filing.pledged" && first {
				first = false
				if err := d.deliver(); err != nil {
					d.t.Error(err)
				}
			}
		}
	})
	d.script(`require ["vacation","duplicate"]; vacation "away"; if duplicate :uniqueid "x" { discard; }`)
	if err := d.deliver(); !domain.Is(err, domain.Conflict) {
		t.Fatalf("%v", err)
	}
	if len(p.sent) != 1 || p.dropped != 1 {
		t.Errorf("%d answers, %d dropped", len(p.sent), p.dropped)
	}
	if err := d.deliver(); err != nil || len(p.sent) != 1 {
		t.Errorf("%v, %d answers", err, len(p.sent))
	}
	d.holds("INBOX")
}

// TestAQueueThatFails puts the message off, and nothing of it has happened.
func TestAQueueThatFails(t *testing.T) {
	d, p := posting(t)
	d.script(`require ["copy","vacation"]; vacation "away"; redirect :copy "carol@example.com";`)
	p.fail = domain.Errorf(domain.Unavailable, "no")
	if err := d.deliver(); !domain.Is(err, domain.Unavailable) {
		t.Errorf("%v", err)
	}
	d.holds()
	// Whoever works on the queue finds the mark where nobody told.
	p.fail, p.deaf = nil, errors.New("deaf")
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX")
	kept := func(mark string) (kept bool) {
		_ = d.node.Accounts.View(t.Context(), d.id, func(s *account.State) error {
			kept = s.Scripts.Marks.Has(account.Mark{Kind: account.MarkSent, Name: mark}, 6)
			return nil
		})
		return kept
	}
	var marks []string
	for _, o := range p.open {
		marks = append(marks, o.mark)
	}
	if marks = slices.Compact(marks); len(p.open) != 2 || len(marks) != 1 || !kept(marks[0]) || kept("other") {
		t.Errorf("%v", p.open)
	}
}

func TestWithoutAQueueMessagesAreKept(t *testing.T) {
	d := open(t)
	d.script(`redirect "carol@example.com";`)
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX")
	if got := fmt.Sprint(d.outcomes); got != "[failed]" {
		t.Error(got)
	}
}

// TestLongestVacation is answered with, whatever its letters.
func TestLongestVacation(t *testing.T) {
	d, p := posting(t)
	for n, letter := range []string{"\"", "ü", "\u00ff\n"} {
		long := strings.Repeat(letter, account.MaxVacationText/len(letter))
		for m, v := range []account.Vacation{{Text: long}, {Text: long, HTML: long}} {
			v.Enabled, v.Set = true, int64(2*n+m+1)
			d.do(account.SetVacation{Vacation: v})
			if err := d.deliver(); err != nil || len(p.sent) != 2*n+m+1 {
				t.Fatalf("%q: %v, %d answers", letter, err, len(p.sent))
			}
		}
	}
	got := p.text(p.sent[3])
	_, got, _ = strings.Cut(got, "text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	got, _, _ = strings.Cut(got, "--=_vacation--")
	if text, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, strings.NewReader(got))); err != nil || string(text) != strings.Repeat("ü", account.MaxVacationText/2) {
		t.Errorf("%d octets, %v", len(text), err)
	}
}

// TestAVacationWithoutAQueue says nothing, and the script does what it does.
func TestAVacationWithoutAQueue(t *testing.T) {
	d := open(t)
	d.script(`require "fileinto"; fileinto "Archive";`)
	d.do(account.SetVacation{Vacation: account.Vacation{Enabled: true, Text: "away", Set: 1}})
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("Archive")
	if got := fmt.Sprint(d.outcomes); got != "[filed]" {
		t.Error(got)
	}
}

// TestVacationSetting answers without a script, and beside one that does not answer itself.
func TestVacationSetting(t *testing.T) {
	d, p := posting(t)
	set := func(v account.Vacation) {
		t.Helper()
		d.do(account.SetVacation{Vacation: v})
	}
	deliver := func(at int64, answers int) {
		t.Helper()
		if err := d.deliver(func(m *filing.Mail) { m.Add.Now = at }); err != nil || len(p.sent) != answers {
			t.Fatalf("at %d: %v, %d answers, want %d", at, err, len(p.sent), answers)
		}
	}
	set(account.Vacation{Enabled: true, From: 10, To: 20, Text: `away "\`, Set: 1})
	deliver(5, 0)
	deliver(10, 1)
	deliver(11, 1)
	deliver(20, 1)
	if got := p.text(p.sent[0]); !strings.Contains(got, "\r\nSubject: Auto: lunch\r\n") || !strings.HasSuffix(got, "\r\n\r\naway \"\\\r\n") {
		t.Errorf("%q", got)
	}
	set(account.Vacation{Enabled: true, Subject: "bye", Text: "away", HTML: "<b>grüße</b>", Set: 2}) // another time: another answer
	deliver(30, 2)
	if got := p.text(p.sent[1]); !strings.Contains(got, "\r\nSubject: bye\r\n") || !strings.Contains(got, "Content-Type: multipart/alternative; boundary=\"=_vacation\"\r\n\r\n--=_vacation\r\n") || !strings.Contains(got, "<b>gr=C3=BC=C3=9Fe</b>\r\n--=_vacation--\r\n") {
		t.Errorf("%q", got)
	}
	set(account.Vacation{Enabled: true, Text: "again", Set: 3})
	d.script("discard;")
	deliver(31, 2)
	d.script(`require "vacation"; vacation "mine";`)
	deliver(32, 3)
	d.script(`require "fileinto"; fileinto "Archive";`)
	deliver(33, 4)
	set(account.Vacation{Set: 4})
	deliver(34, 4)
	d.holds("INBOX", "INBOX", "INBOX", "INBOX", "INBOX", "INBOX", "Archive", "Archive")
}
