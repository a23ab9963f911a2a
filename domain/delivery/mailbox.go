package delivery

import (
	"strings"

	"github.com/streampost/streampost/domain/account"
)

// Mailbox says where mail for user+detail goes (RFC 5233): into the mailbox that is named like the detail, in any case, and into INBOX if there is
// none. Senders choose the detail, so it cannot lead to where users expect only what they put there themselves: \Sent, \Drafts and \Trash.
func Mailbox(s *account.State, detail string) string {
	if detail == "" {
		return account.Inbox
	}
	name := account.CanonicalName(detail)
	if account.CheckName(name) != nil {
		return account.Inbox
	}
	if m, ok := s.Mailbox(name); ok {
		return open(m)
	}
	for _, m := range s.Sorted() {
		if strings.EqualFold(m.Name, name) {
			return open(m)
		}
	}
	return account.Inbox
}

func open(m *account.Mailbox) string {
	switch m.SpecialUse {
	case `\Sent`, `\Drafts`, `\Trash`:
		return account.Inbox
	}
	return m.Name
}
