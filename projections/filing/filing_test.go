package filing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/filing"
)

const text = "From: bob@example.net\r\nTo: alice@example.org\r\nSubject: lunch\r\n\r\nAt noon?\r\n"

// desk is an account with a Filer.
type desk struct {
	t        *testing.T
	node     *doortest.Node
	id       domain.AccountID
	filer    *filing.Filer
	outcomes []string
}

func open(t *testing.T) *desk {
	d := &desk{t: t, node: doortest.Start(t)}
	d.id = d.node.AddAccount(t, "alice@example.org", "correct horse battery")
	d.filer = filing.New(filing.Config{Accounts: d.node.Accounts, Count: func(outcome string, _ int, _ time.Duration) { d.outcomes = append(d.outcomes, outcome) }})
	return d
}

func (d *desk) do(c account.Command) door.Outcome {
	d.t.Helper()
	out, err := d.node.Accounts.Do(d.t.Context(), d.id, "test", c)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// script makes a script the active one.
func (d *desk) script(script string) {
	d.t.Helper()
	if _, err := d.node.Accounts.PutScript(d.t.Context(), d.id, "test", "main", script); err != nil {
		d.t.Fatal(err)
	}
	d.do(account.ActivateScript{Name: "main"})
}

// deliver delivers the message once.
func (d *desk) deliver(change ...func(*filing.Mail)) error {
	d.t.Helper()
	stored, err := d.node.Accounts.Ingest(d.t.Context(), strings.NewReader(text))
	if err != nil {
		d.t.Fatal(err)
	}
	m := filing.Mail{
		ID: "1", MayRefuse: true, From: delivery.Address{Local: "bob", Domain: "example.net"}, To: delivery.Address{Local: "alice", Domain: "example.org"},
		Add: account.AddMessage{Mailbox: account.Inbox, Fallback: true, Blob: stored.Blob, Summary: stored.Summary, Internal: 5, Now: 5},
	}
	for _, f := range change {
		f(&m)
	}
	return d.filer.Deliver(d.t.Context(), d.id, "lmtp", m)
}

// holds checks which mailboxes hold messages, with the flags of each.
func (d *desk) holds(want ...string) {
	d.t.Helper()
	var got []string
	if err := d.node.Accounts.View(d.t.Context(), d.id, func(s *account.State) error {
		got = nil
		for _, m := range s.Sorted() {
			for i := range m.UID {
				got = append(got, strings.TrimSpace(m.Name+" "+strings.Join(s.FlagNames(m.Flags[i]), " ")))
			}
		}
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("the account holds %q, want %q", got, want)
	}
}

func TestDeliver(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   []string
	}{
		"copies, flags and a new mailbox are one transaction": {
			`require ["fileinto","copy","mailbox","imap4flags"]; fileinto :copy :flags ["\\Seen","$work"] :create "Projects/One"; fileinto :copy :create "Projects/Two"; keep :flags "\\Flagged";`,
			[]string{`INBOX \Flagged`, `Projects/One \Seen $work`, `Projects/Two`},
		},
		"a mailbox that is not there is INBOX": {`require "fileinto"; fileinto "Missing";`, []string{"INBOX"}},
		"two that are not there are one":       {`require "fileinto"; fileinto "Missing"; fileinto "Other";`, []string{"INBOX"}},
		"another case finds it":                {`require "fileinto"; fileinto "archive";`, []string{"Archive"}},
		"a special use":                        {`require ["fileinto","special-use"]; if specialuse_exists "\\Junk" { fileinto :specialuse "\\Junk" "Spam"; }`, []string{"Junk"}},
		"a discard":                            {`if header "subject" "lunch" { discard; }`, nil},
		"a fault keeps":                        {`require "include"; include "missing"; discard;`, []string{"INBOX"}},
		"a name that none can have":            {`require ["fileinto","mailbox"]; fileinto :create "a//b";`, []string{"INBOX"}},
		"the body":                             {`require "body"; if body :contains "noon" { discard; }`, nil},
		"a mailbox that is there":              {`require ["mailbox"]; if mailboxexists "Sent" { discard; }`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.script(test.script)
			before := d.tx()
			if err := d.deliver(); err != nil {
				t.Fatal(err)
			}
			d.holds(test.want...)
			if after := d.tx(); after > before+1 {
				t.Errorf("%d transactions", after-before)
			}
		})
	}
}

func (d *desk) tx() (tx domain.Tx) {
	d.t.Helper()
	if err := d.node.Accounts.View(d.t.Context(), d.id, func(s *account.State) error { tx = s.Tx; return nil }); err != nil {
		d.t.Fatal(err)
	}
	return tx
}

func TestWithoutScript(t *testing.T) {
	d := open(t)
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX")
	if len(d.outcomes) > 0 {
		t.Errorf("a script ran: %q", d.outcomes)
	}
}

// keep goes where plus-addressing would have gone.
func TestKeepFollowsTheAddress(t *testing.T) {
	d := open(t)
	d.script("keep;")
	if err := d.deliver(func(m *filing.Mail) { m.Add.Mailbox = "Archive" }); err != nil {
		t.Fatal(err)
	}
	d.holds("Archive")
}

func TestRefusal(t *testing.T) {
	d := open(t)
	d.script(`require "reject"; reject "not today";`)
	var refused *filing.Refused
	if err := d.deliver(); !errors.As(err, &refused) || refused.Reason != "not today" {
		t.Errorf("the error is %v", err)
	}
	d.holds()
	if err := d.deliver(func(m *filing.Mail) { m.MayRefuse = false }); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX")
	if got := fmt.Sprint(d.outcomes); got != "[refused failed]" {
		t.Error(got)
	}
}

// What the account has no room for is kept once, as without a script.
func TestNoRoomForCopies(t *testing.T) {
	d := open(t)
	d.script(`require ["fileinto","copy"]; fileinto :copy "Archive"; keep;`)
	d.do(account.SetLimits{Limits: account.Limits{Messages: 1}})
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX")
	if err := d.deliver(); !domain.Is(err, domain.OverQuota) {
		t.Errorf("the error is %v", err)
	}
	if got := fmt.Sprint(d.outcomes); got != "[failed failed]" {
		t.Error(got)
	}
}

// The message is stored with a few headers at most.
func TestManyHeaders(t *testing.T) {
	d := open(t)
	script := `require ["editheader","fileinto","mailbox"];`
	for i := range 5 {
		script += fmt.Sprintf(`addheader "X" "y"; fileinto :create "A%d"; fileinto :create "B%d";`, i, i)
	}
	d.script(script)
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX")
	if got := fmt.Sprint(d.outcomes); got != "[failed]" {
		t.Error(got)
	}
}

// broken is a door whose messages cannot even be opened.
type broken struct{ filing.Accounts }

func (broken) Open(context.Context, domain.BlobRef, int64, int64) (io.ReadCloser, error) {
	panic("the shelf is gone")
}

func TestPanicKeeps(t *testing.T) {
	d := open(t)
	d.filer = filing.New(filing.Config{Accounts: broken{d.node.Accounts}, Logger: slog.New(slog.DiscardHandler)})
	d.script(`if header "subject" "lunch" { discard; }`)
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX")
}

// A copy has the header of the moment at which it was filed (RFC 5293).
func TestEditedHeader(t *testing.T) {
	d := open(t)
	d.script(`require ["editheader","fileinto","copy"]; fileinto :copy "Archive"; deleteheader "Subject"; addheader "X-Seen" "yes";`)
	if err := d.deliver(); err != nil {
		t.Fatal(err)
	}
	d.holds("INBOX", "Archive")
	if got := d.read("Archive"); got != text {
		t.Errorf("the copy is %q", got)
	}
	if got, want := d.read(account.Inbox), "X-Seen: yes\r\n"+strings.Replace(text, "Subject: lunch\r\n", "", 1); got != want {
		t.Errorf("the edited message is %q", got)
	}
}

// read gives the octets of the one message in a mailbox.
func (d *desk) read(mailbox string) string {
	d.t.Helper()
	var box domain.MailboxID
	if err := d.node.Accounts.View(d.t.Context(), d.id, func(s *account.State) error {
		m, _ := s.Mailbox(mailbox)
		box = m.ID
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	for e, err := range d.node.Accounts.Emails(d.t.Context(), d.id, box, domain.UIDSet{domain.AllUIDs}, door.WantBlob) {
		if err != nil {
			d.t.Fatal(err)
		}
		r, err := d.node.Accounts.Open(d.t.Context(), e.Blob, 0, -1)
		if err != nil {
			d.t.Fatal(err)
		}
		all, err := io.ReadAll(r)
		if err != nil {
			d.t.Fatal(err)
		}
		return string(all)
	}
	d.t.Fatal("there is no message")
	return ""
}
