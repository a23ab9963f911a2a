package door_test

import (
	"io"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

const letter = "From: a@example.org\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n"

func TestADeliveryIsSeenWithItsRowsAndBytes(t *testing.T) {
	n := doortest.Start(t)
	alice := n.AddAccount(t, "alice@example.org", "")
	uid := doortest.Deliver(t, n.Accounts, alice, "INBOX", letter, `\Flagged`)

	var inbox domain.MailboxID
	err := n.Accounts.View(t.Context(), alice, func(s *account.State) error {
		m, _ := s.Mailbox("inbox")
		inbox = m.ID
		if m.Len() != 1 || m.UID[0] != uid || strings.Join(s.FlagNames(m.Flags[0]), " ") != `\Flagged` {
			t.Errorf("INBOX holds %d messages, the first with UID %d and flags %v", m.Len(), m.UID[0], s.FlagNames(m.Flags[0]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for e, err := range n.Accounts.Emails(t.Context(), alice, inbox, domain.UIDs(uid), door.WantBlob|door.WantEnvelope) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if len(e.Envelope) == 0 {
			t.Error("the row has no envelope")
		}
		r, err := n.Accounts.Open(t.Context(), e.Blob, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(r); string(text) != letter || err != nil {
			t.Errorf("the message reads %q, %v", text, err)
		}
		r.Close()
	}
	if seen != 1 {
		t.Errorf("%d rows, want 1", seen)
	}
}
