package outgoing_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/projections/outgoing"
)

// TestJunkFromTheQueue goes to the mailbox for junk.
func TestJunkFromTheQueue(t *testing.T) {
	n := doortest.Start(t)
	id := n.AddAccount(t, "alice@example.org", "correct horse battery")
	local := &outgoing.Mailboxes{Accounts: n.Accounts, Directory: n.Directory, Filer: filing.New(filing.Config{Accounts: n.Accounts})}
	e := &queue.Entry{ID: 1, Sender: "carol@example.com", Recipients: []queue.Recipient{{Address: "alice@example.org"}}, Domain: "example.org", Final: true, Junk: true}
	outcomes, _ := local.Deliver(t.Context(), e, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("Subject: forged\r\n\r\nHello.\r\n")), nil
	})
	if len(outcomes) != 1 || outcomes[0].Fate != queue.Delivered {
		t.Fatalf("%+v", outcomes)
	}
	if err := n.Accounts.View(t.Context(), id, func(s *account.State) error {
		inbox, _ := s.Mailbox("INBOX")
		junk := 0
		for _, b := range s.Mailboxes {
			if b.SpecialUse == `\Junk` {
				junk += b.Len()
			}
		}
		if inbox.Len() != 0 || junk != 1 {
			t.Errorf("the inbox has %d messages, the mailbox for junk %d", inbox.Len(), junk)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestReportsAreFiled: what the queue brings to a mailbox here goes where the account's script wants it, and once even when nobody wrote down how an attempt ended.
func TestReportsAreFiled(t *testing.T) {
	n := doortest.Start(t)
	id := n.AddAccount(t, "alice@example.org", "correct horse battery")
	if _, err := n.Accounts.PutScript(t.Context(), id, "test", "main", `require ["fileinto", "mailbox"]; if envelope :is "from" "" { fileinto :create "Reports"; }`); err == nil {
		t.Fatal("a script without its require is taken")
	}
	if _, err := n.Accounts.PutScript(t.Context(), id, "test", "main", `require ["envelope", "fileinto", "mailbox"]; if envelope :is "from" "" { fileinto :create "Reports"; }`); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Accounts.Do(t.Context(), id, "test", account.ActivateScript{Name: "main"}); err != nil {
		t.Fatal(err)
	}
	local := &outgoing.Mailboxes{Accounts: n.Accounts, Directory: n.Directory, Filer: filing.New(filing.Config{Accounts: n.Accounts})}
	report := &queue.Entry{ID: 1, Recipients: []queue.Recipient{{Address: "alice@example.org"}, {Address: "nobody@example.org"}}, Domain: "example.org"}
	text := func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("From: mail@example.org\r\nSubject: Undelivered\r\n\r\nSorry.\r\n")), nil
	}
	for _, before := range [][2]int{{0, 0}, {0, 1}, {1, 0}} {
		report.Attempts, report.Unclear = before[0], before[1]
		outcomes, reached := local.Deliver(t.Context(), report, text)
		if !reached || len(outcomes) != 2 || outcomes[0].Fate != queue.Delivered || outcomes[1].Fate != queue.Failed || outcomes[1].Status != "5.1.1" {
			t.Errorf("after %d attempts and %d unclear ones: %+v, %v", before[0], before[1], outcomes, reached)
		}
	}
	if err := n.Accounts.View(t.Context(), id, func(s *account.State) error {
		inbox, _ := s.Mailbox("INBOX")
		reports, filed := s.Mailbox("Reports")
		if inbox.Len() != 0 || !filed || reports.Len() != 1 {
			t.Errorf("the inbox has %d messages, Reports %d", inbox.Len(), reports.Len())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
