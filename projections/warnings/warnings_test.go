package warnings_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/warnings"
	"github.com/streampost/streampost/streams"
)

type desk struct {
	t       *testing.T
	node    *doortest.Node
	id      domain.AccountID
	now     time.Time
	w       *warnings.Warnings
	counted []int
}

func open(t *testing.T) *desk {
	d := &desk{t: t, node: doortest.Start(t), now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}
	d.id = d.node.AddAccount(t, "alice@example.org", "correct horse battery")
	template, err := warnings.Parse(warnings.Usual)
	if err != nil {
		t.Fatal(err)
	}
	d.w = warnings.New(warnings.Config{
		Accounts: d.node.Accounts, Address: func(context.Context, domain.AccountID) (string, error) { return "alice@example.org", nil }, Hostname: "mail.example.org",
		Policy: account.WarnPolicy{Percent: []int{50, 90}, Grace: 3600}, Template: template, Clock: func() time.Time { return d.now }, Count: func(p int) { d.counted = append(d.counted, p) },
	})
	d.do(account.SetLimits{Limits: account.Limits{Messages: 10}})
	return d
}

func (d *desk) do(c account.Command) {
	d.t.Helper()
	if _, err := d.node.Accounts.Do(d.t.Context(), d.id, "test", c); err != nil {
		d.t.Fatal(err)
	}
}

// add puts messages into INBOX.
func (d *desk) add(n int) {
	d.t.Helper()
	for range n {
		stored, err := d.node.Accounts.Ingest(d.t.Context(), strings.NewReader("Subject: x\r\n\r\n"))
		if err != nil {
			d.t.Fatal(err)
		}
		d.do(account.AddMessage{Mailbox: account.Inbox, Blob: stored.Blob, Summary: stored.Summary, Internal: 5, Now: 5})
	}
}

// hear has the listener told, twice, as it may be.
func (d *desk) hear() {
	d.t.Helper()
	entry := streams.Entry{Account: d.id, Transaction: &event.Transaction{Events: []event.Event{&event.MessageAdded{}}}}
	for range 2 {
		if done, err := d.w.Handle(d.t.Context(), []streams.Entry{entry, entry}); done != 2 || err != nil {
			d.t.Fatalf("%d, %v", done, err)
		}
	}
}

func (d *desk) warned(want ...int) {
	d.t.Helper()
	d.hear()
	if !slices.Equal(d.counted, want) {
		d.t.Errorf("the warnings are %v, want %v", d.counted, want)
	}
}

// last is the last message of INBOX.
func (d *desk) last() string {
	d.t.Helper()
	for email, err := range d.node.Accounts.Emails(d.t.Context(), d.id, 1, domain.UIDs(d.uids()[len(d.uids())-1]), door.WantBlob) {
		if err != nil {
			d.t.Fatal(err)
		}
		r, err := d.node.Accounts.Open(d.t.Context(), email.Blob, 0, -1)
		if err != nil {
			d.t.Fatal(err)
		}
		defer r.Close()
		all, err := io.ReadAll(r)
		if err != nil {
			d.t.Fatal(err)
		}
		return string(all)
	}
	return ""
}

func (d *desk) uids() (uids []domain.UID) {
	d.t.Helper()
	if err := d.node.Accounts.View(d.t.Context(), d.id, func(s *account.State) error {
		uids = slices.Clone(s.Mailboxes[1].UID)
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	return uids
}

// keep expunges all but the first n messages.
func (d *desk) keep(n int) {
	d.t.Helper()
	uids := domain.UIDs(d.uids()[n:]...)
	d.do(account.Expunge{Mailbox: 1, UIDs: uids, Any: true})
}

func TestOneWarningForEachCrossing(t *testing.T) {
	d := open(t)
	d.add(4)
	d.warned()
	d.add(1)
	d.warned(50)
	if text := d.last(); !strings.Contains(text, "Subject: Your mailbox is 50% full\r\n") || !strings.Contains(text, "To: <alice@example.org>\r\n") || !strings.Contains(text, "It has 5 of 10 messages.\r\n") {
		t.Errorf("%s", text)
	}
	d.add(1)
	d.warned(50)
	d.add(3) // with the warning there are ten
	d.warned(50, 90)
	if n := len(d.uids()); n != 11 { // although there is no room
		t.Errorf("%d messages", n)
	}
	d.keep(2)
	d.warned(50, 90)
	d.add(3)
	d.warned(50, 90) // within the grace period
	d.now = d.now.Add(2 * time.Hour)
	d.warned(50, 90, 50)
}

func TestTheHighestOfSeveralIsTold(t *testing.T) {
	d := open(t)
	d.add(9)
	d.warned(90)
}

func TestTemplates(t *testing.T) {
	for text, want := range map[string]string{
		"Subject: {{.Percent}}\n\n{{.Nothing}}": "Nothing", "no subject\n\nx": "begins with a line", "Subject: x": "begins with a line", "Subject: {{": "template",
		"Subject: a\nX: b\n\nx": "begins with a line",
	} {
		if _, err := warnings.Parse(text); !domain.Is(err, domain.Invalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
