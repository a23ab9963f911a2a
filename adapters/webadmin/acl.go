package webadmin

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// aclRoutes are about what others may do with the mailboxes of an account (RFC 4314).
var aclRoutes = []Route{
	{Pattern: "GET /v1/accounts/{account}/acl", Answer: []ACLEntry{}, serve: (*Server).showACL, Summary: "List what others may do with the mailboxes",
		Query: []Query{{"mailbox", "Only this mailbox"}}},
	{Pattern: "PUT /v1/accounts/{account}/acl", Body: ACLChange{}, serve: (*Server).setACL, Summary: "Set what somebody may do with a mailbox"},
	{Pattern: "PUT /v1/accounts/{account}/shared", Body: Shared{}, serve: (*Server).setShared, Summary: "Say whether the mailboxes belong to a group or to a user"},
}

// ACLEntry is what somebody else than the owner may do with a mailbox.
type ACLEntry struct {
	Mailbox    string `json:"mailbox"`
	Identifier string `json:"identifier"` // an address, or anyone; with "-" before it, the rights are taken away
	Rights     string `json:"rights"`     // letters of lrswipkxtea
}

func (s *Server) showACL(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	only := r.URL.Query().Get("mailbox")
	list := []ACLEntry{}
	if err := s.b.Accounts.View(r.Context(), found.ID, func(state *account.State) error {
		list = list[:0]
		if _, ok := state.Mailbox(only); only != "" && !ok {
			return account.ErrNoMailbox
		}
		for _, m := range state.Sorted() {
			if only != "" && m.Name != account.CanonicalName(only) {
				continue
			}
			for _, e := range m.Entries() {
				list = append(list, ACLEntry{m.Name, string(e.Identifier), e.Rights.String()})
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for i := range list {
		if list[i].Identifier, err = s.b.Directory.NameOf(r.Context(), account.Identifier(list[i].Identifier)); err != nil {
			return err
		}
	}
	slices.SortStableFunc(list, func(a, b ACLEntry) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.Identifier, b.Identifier))
	})
	writeJSON(w, http.StatusOK, list)
	return nil
}

// ACLChange is the body of PUT /v1/accounts/{account}/acl.
type ACLChange struct {
	Mailbox    string `json:"mailbox"`
	Identifier string `json:"identifier"` // an address, or anyone; with "-" before it, the rights are taken away
	Rights     string `json:"rights"`     // letters of lrswipkxteacd; with + or - before them they are added or removed; none remove the entry
}

func (s *Server) setACL(w http.ResponseWriter, r *http.Request) error {
	var body ACLChange
	found, err := s.lookup(r)
	if err == nil {
		err = readJSON(r, &body)
	}
	if err != nil {
		return err
	}
	wish := account.SetRights{Mailbox: body.Mailbox}
	letters := body.Rights
	switch {
	case strings.HasPrefix(letters, "+"):
		wish.Mode, letters = account.AddRights, letters[1:]
	case strings.HasPrefix(letters, "-"):
		wish.Mode, letters = account.RemoveRights, letters[1:]
	}
	if wish.Rights, err = account.ParseRights(letters); err != nil {
		return err
	}
	if wish.Identifier, err = s.b.Directory.Identifier(r.Context(), body.Identifier); err != nil {
		return err
	}
	if of, _ := wish.Identifier.Subject(); of == account.Identifier(found.ID) {
		return domain.Errorf(domain.Invalid, "the owner of a mailbox always has all rights")
	}
	_, err = s.b.Accounts.Do(r.Context(), found.ID, actor, wish)
	return done(w, err)
}

// Shared is the body of PUT /v1/accounts/{account}/shared.
type Shared struct {
	Shared bool `json:"shared"`
}

func (s *Server) setShared(w http.ResponseWriter, r *http.Request) error {
	var body Shared
	found, err := s.lookup(r)
	if err == nil {
		err = readJSON(r, &body)
	}
	if err != nil {
		return err
	}
	return done(w, s.b.Directory.SetShared(r.Context(), actor, found.ID, body.Shared))
}
