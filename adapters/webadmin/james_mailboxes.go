package webadmin

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// jamesMailboxes is what a user's mailboxes are and hold. Where James separates levels by ".", a name of that form is understood too.
var jamesMailboxes = []Route{
	{Pattern: "GET /users/{user}/mailboxes", serve: (*Server).listMailboxes, Summary: "List a user's mailboxes"},
	{Pattern: "DELETE /users/{user}/mailboxes", serve: (*Server).removeMailboxes, Summary: "Delete all mailboxes of a user but INBOX, and empty that"},
	{Pattern: "GET /users/{user}/mailboxes/{mailbox}", serve: (*Server).hasMailbox, Summary: "Tell whether a mailbox exists: 204 or 404"},
	{Pattern: "PUT /users/{user}/mailboxes/{mailbox}", serve: (*Server).putMailbox, Summary: "Create a mailbox"},
	{Pattern: "DELETE /users/{user}/mailboxes/{mailbox}", serve: (*Server).removeMailbox, Summary: "Delete a mailbox and those below it"},
	{Pattern: "GET /users/{user}/mailboxes/{mailbox}/messageCount", serve: (*Server).messageCount, Summary: "Count the messages of a mailbox"},
	{Pattern: "GET /users/{user}/mailboxes/{mailbox}/unseenMessageCount", serve: (*Server).unseenCount, Summary: "Count the unseen messages of a mailbox"},
}

// jamesMailbox is an element of GET /users/{user}/mailboxes.
type jamesMailbox struct {
	Name string `json:"mailboxName"`
	ID   string `json:"mailboxId"` // MAILBOXID
}

func (s *Server) listMailboxes(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	var list []jamesMailbox
	err = s.b.Accounts.View(r.Context(), found.ID, func(state *account.State) error {
		list = []jamesMailbox{}
		for _, m := range state.Sorted() {
			list = append(list, jamesMailbox{m.Name, globalID(kindMailbox, found.ID, m.ID)})
		}
		return nil
	})
	if err == nil {
		writeJSON(w, http.StatusOK, list)
	}
	return err
}

// viewUser runs f on the state of the account that the path names.
func (s *Server) viewUser(r *http.Request, f func(*account.State) error) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	return s.b.Accounts.View(r.Context(), found.ID, f)
}

// mailboxName is the name of the path's mailbox in the account: as it is, or with the separator of James.
func mailboxName(r *http.Request, state *account.State) string {
	name := account.CanonicalName(r.PathValue("mailbox"))
	if _, found := state.Mailbox(name); found {
		return name
	}
	return strings.ReplaceAll(name, ".", "/")
}

// mailbox gives the name of the mailbox that the path names.
func (s *Server) mailbox(r *http.Request, id domain.AccountID) (name string, err error) {
	err = s.b.Accounts.View(r.Context(), id, func(state *account.State) error {
		name = mailboxName(r, state)
		if _, found := state.Mailbox(name); !found {
			return domain.Errorf(domain.NotFound, "the mailbox %s does not exist", r.PathValue("mailbox"))
		}
		return nil
	})
	return name, err
}

// viewMailbox runs f on the mailbox that the path names.
func (s *Server) viewMailbox(r *http.Request, f func(*account.Mailbox)) error {
	return s.viewUser(r, func(state *account.State) error {
		m, found := state.Mailbox(mailboxName(r, state))
		if !found {
			return domain.Errorf(domain.NotFound, "the mailbox %s does not exist", r.PathValue("mailbox"))
		}
		f(m)
		return nil
	})
}

func (s *Server) hasMailbox(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.viewMailbox(r, func(*account.Mailbox) {}))
}

func (s *Server) messageCount(w http.ResponseWriter, r *http.Request) error {
	return s.count(w, r, func(m *account.Mailbox) int64 { return m.Counts.Messages })
}

func (s *Server) unseenCount(w http.ResponseWriter, r *http.Request) error {
	return s.count(w, r, func(m *account.Mailbox) int64 { return m.Counts.Unseen })
}

func (s *Server) count(w http.ResponseWriter, r *http.Request, of func(*account.Mailbox) int64) error {
	var n int64
	err := s.viewMailbox(r, func(m *account.Mailbox) { n = of(m) })
	if err == nil {
		writeJSON(w, http.StatusOK, n)
	}
	return err
}

func (s *Server) putMailbox(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	var name string
	if err := s.b.Accounts.View(r.Context(), found.ID, func(state *account.State) error {
		name = mailboxName(r, state)
		return nil
	}); err != nil {
		return err
	}
	if strings.ContainsAny(name, "%*") || strings.HasPrefix(name, "#") { // RFC 3501 section 5.1: such names cannot be listed, or mean a namespace.
		return domain.Errorf(domain.Invalid, "a mailbox cannot be called %q", name)
	}
	_, err = s.b.Accounts.Do(r.Context(), found.ID, actor, account.CreateMailbox{Name: name, UIDValidity: uint32(s.now().Unix())})
	if domain.Is(err, domain.Exists) {
		err = nil
	}
	return done(w, err)
}

// removeMailbox deletes those below first, so that a failure leaves no orphans.
func (s *Server) removeMailbox(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	var doomed []string
	if err := s.b.Accounts.View(r.Context(), found.ID, func(state *account.State) error {
		doomed = nil
		name := mailboxName(r, state)
		for _, m := range state.Sorted() {
			if m.Name == name || strings.HasPrefix(m.Name, name+"/") {
				doomed = append(doomed, m.Name)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return done(w, s.deleteMailboxes(r.Context(), found.ID, doomed))
}

func (s *Server) removeMailboxes(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	var doomed []string
	var inbox account.Expunge
	if err := s.b.Accounts.View(r.Context(), found.ID, func(state *account.State) error {
		doomed = nil
		for _, m := range state.Sorted() {
			if m.Name == "INBOX" { // RFC 9051 section 6.3.5: it cannot be deleted.
				inbox = account.Expunge{Mailbox: m.ID, UIDs: domain.UIDSet{domain.AllUIDs}, Any: true}
				continue
			}
			doomed = append(doomed, m.Name)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := s.deleteMailboxes(r.Context(), found.ID, doomed); err != nil {
		return err
	}
	_, err = s.b.Accounts.Do(r.Context(), found.ID, actor, inbox)
	return done(w, err)
}

func (s *Server) deleteMailboxes(ctx context.Context, id domain.AccountID, names []string) error {
	slices.Reverse(names) // what is below comes first
	for _, name := range names {
		if _, err := s.b.Accounts.Do(ctx, id, actor, account.DeleteMailbox{Name: name}); err != nil && !domain.Is(err, domain.NotFound) {
			return err
		}
	}
	return nil
}
