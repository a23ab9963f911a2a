package webadmin

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// In these routes a mailbox and a message are named without their user, as James does, by what IMAP calls MAILBOXID and EMAILID (RFC 8474 sections 4 and 5):
// a letter, the account's id, a hyphen, and the number in the account.
const (
	kindMailbox = 'F'
	kindMessage = 'M'
)

// globalID makes such a name.
func globalID[N ~uint32 | ~uint64](kind byte, id domain.AccountID, n N) string {
	return string(kind) + string(id) + "-" + strconv.FormatUint(uint64(n), 10)
}

// splitID reads what globalID writes.
func splitID(kind byte, what, text string) (id domain.AccountID, n uint64, err error) {
	name, number, ok := strings.Cut(strings.TrimPrefix(text, string(kind)), "-")
	if id, err = domain.ParseAccountID(name); err == nil {
		n, err = strconv.ParseUint(number, 10, 64)
	}
	if !ok || err != nil || text[0] != kind {
		return "", 0, domain.Errorf(domain.Invalid, "%q is not a %s, such as %s", text, what, globalID(kind, "0123456789abcdef", uint64(17)))
	}
	return id, n, nil
}

// mailboxOrder reads the parameters of a reindexing and finds the mailbox that the path names.
func (s *Server) mailboxOrder(r *http.Request, by repair) (o JamesOrder, err error) {
	if _, err := chosenTask(r, "task", "reIndex"); err != nil {
		return o, err
	}
	if o, err = by.order(r); err != nil {
		return o, err
	}
	o.MailboxID = r.PathValue("mailbox")
	id, n, err := splitID(kindMailbox, "mailboxId", o.MailboxID)
	if err != nil {
		return o, err
	}
	o.Account = id
	return o, s.b.Accounts.View(r.Context(), id, func(state *account.State) error {
		m, found := state.Mailboxes[domain.MailboxID(n)]
		if !found || n > 1<<32-1 {
			return domain.Errorf(domain.NotFound, "there is no mailbox %s", o.MailboxID)
		}
		o.Box = m.Name
		return nil
	})
}

func (s *Server) reindexMailbox(w http.ResponseWriter, r *http.Request) error {
	o, err := s.mailboxOrder(r, reindexing)
	if err != nil {
		return err
	}
	return s.submit(w, r, TaskReindexMailbox, o)
}

func (s *Server) reindexMail(w http.ResponseWriter, r *http.Request) error {
	o, err := s.mailboxOrder(r, reindexing)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(r.PathValue("uid"), 10, 32)
	if err != nil || uid == 0 {
		return domain.Errorf(domain.Invalid, "%q is not a UID", r.PathValue("uid"))
	}
	o.Message, o.UID = domain.UID(uid), domain.UID(uid)
	if err := s.b.Accounts.View(r.Context(), o.Account, func(state *account.State) error {
		if m, found := state.Mailbox(o.Box); found {
			if _, found = m.Index(o.UID); found {
				return nil
			}
		}
		return domain.Errorf(domain.NotFound, "mailbox %s has no message %d", o.MailboxID, uid)
	}); err != nil {
		return err
	}
	return s.submit(w, r, TaskReindexMail, o)
}

// reindexMessage finds one place of the message. All places share a document.
func (s *Server) reindexMessage(w http.ResponseWriter, r *http.Request) error {
	if _, err := chosenTask(r, "task", "reIndex"); err != nil {
		return err
	}
	o, err := reindexing.order(r)
	if err != nil {
		return err
	}
	o.MessageID = r.PathValue("message")
	id, n, err := splitID(kindMessage, "messageId", o.MessageID)
	if err != nil {
		return err
	}
	o.Account = id
	if err := s.b.Accounts.View(r.Context(), id, func(state *account.State) error {
		for _, m := range state.Sorted() {
			for i, email := range m.Email {
				if uint64(email) == n {
					o.Box, o.Message = m.Name, m.UID[i]
					return nil
				}
			}
		}
		return domain.Errorf(domain.NotFound, "there is no message %s", o.MessageID)
	}); err != nil {
		return err
	}
	return s.submit(w, r, TaskReindexMessage, o)
}

// reindexFailed repeats a reindexing for what is still wrong.
func (s *Server) reindexFailed(w http.ResponseWriter, r *http.Request, id domain.TaskID, o JamesOrder) error {
	id, err := domain.ParseTaskID(string(id))
	if err != nil {
		return err
	}
	before, err := s.b.Tasks.Find(r.Context(), id)
	if domain.Is(err, domain.NotFound) {
		return domain.Errorf(domain.Invalid, "reIndexFailedMessagesOf: there is no task %s", id) // James answers 400
	}
	if err != nil {
		return err
	}
	var was JamesOrder
	switch before.Kind {
	case TaskReindexAll, TaskReindexFailed, TaskReindexUser, TaskReindexMailbox:
		if err := json.Unmarshal([]byte(before.Parameters), &was); err != nil {
			return domain.Wrap(domain.Corrupt, err, "the parameters of task "+string(id)+" cannot be read")
		}
	default:
		return domain.Errorf(domain.Invalid, "reIndexFailedMessagesOf: task %s is not a reindexing but %s", id, before.Kind)
	}
	o.Account, o.Box, o.User, o.Username, o.MailboxID, o.Outdated = was.Account, was.Box, was.User, was.Username, was.MailboxID, true
	return s.submit(w, r, TaskReindexFailed, o)
}
