package webadmin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// jamesDirectory is domains and users. A user that is deleted keeps mail and address, as in James: the account is disabled here, and creating it
// again enables it. Only action=deleteData ends what is stored, and then for ever.
var jamesDirectory = []Route{
	{Pattern: "GET /domains", serve: (*Server).domains, Summary: "List local domains"},
	{Pattern: "GET /domains/{domain}", serve: (*Server).hasDomain, Summary: "Tell whether a domain is local: 204 or 404"},
	{Pattern: "PUT /domains/{domain}", serve: (*Server).jamesAddDomain, Summary: "Make a domain local"},
	{Pattern: "DELETE /domains/{domain}", serve: (*Server).jamesRemoveDomain, Summary: "Make a domain foreign"},
	{Pattern: "GET /domains/{domain}/users", serve: (*Server).domainUsers, Summary: "List the users of a domain"},

	{Pattern: "GET /users", serve: (*Server).users, Summary: "List users; ?hasNoMailboxes and ?hasNotAllSystemMailboxes select some of them"},
	{Pattern: "HEAD /users/{user}", serve: (*Server).hasUser, Summary: "Tell whether a user exists: 200 or 404"},
	{Pattern: "PUT /users/{user}", serve: (*Server).putUser, Summary: "Create a user; ?force replaces the password of one that exists"},
	{Pattern: "DELETE /users/{user}", serve: (*Server).disableUser, Summary: "Disable a user; mail stays"},
	{Pattern: "POST /users/{user}/verify", serve: (*Server).verifyUser, Summary: "Check a password: 204 or 401"},
}

func (s *Server) hasDomain(w http.ResponseWriter, r *http.Request) error {
	if err := s.localDomain(r); err != nil {
		return err
	}
	return done(w, nil)
}

func (s *Server) localDomain(r *http.Request) error {
	name := r.PathValue("domain")
	names, err := s.b.Directory.Domains(r.Context())
	if err == nil && !slices.Contains(names, strings.ToLower(name)) {
		err = domain.Errorf(domain.NotFound, "the domain %s does not exist", name)
	}
	return err
}

// jamesAddDomain succeeds also when the domain is there.
func (s *Server) jamesAddDomain(w http.ResponseWriter, r *http.Request) error {
	err := s.b.Directory.AddDomain(r.Context(), actor, r.PathValue("domain"))
	if domain.Is(err, domain.Exists) {
		err = nil
	}
	return done(w, err)
}

// jamesRemoveDomain succeeds also when the domain is not there.
func (s *Server) jamesRemoveDomain(w http.ResponseWriter, r *http.Request) error {
	err := s.b.Directory.RemoveDomain(r.Context(), actor, r.PathValue("domain"))
	if domain.Is(err, domain.NotFound) {
		err = nil
	}
	return done(w, err)
}

func (s *Server) domainUsers(w http.ResponseWriter, r *http.Request) error {
	if err := s.localDomain(r); err != nil {
		return err
	}
	list, err := s.enabled(r)
	if err != nil {
		return err
	}
	names := []string{}
	for _, a := range list {
		if strings.HasSuffix(a.Login, "@"+strings.ToLower(r.PathValue("domain"))) {
			names = append(names, a.Login)
		}
	}
	writeJSON(w, http.StatusOK, names)
	return nil
}

// enabled lists the accounts that James would call users.
func (s *Server) enabled(r *http.Request) ([]door.Account, error) {
	list, err := s.b.Directory.Accounts(r.Context())
	return slices.DeleteFunc(list, func(a door.Account) bool { return a.Disabled }), err
}

// username is an element of GET /users.
type username struct {
	Username string `json:"username"`
}

func (s *Server) users(w http.ResponseWriter, r *http.Request) error {
	list, err := s.enabled(r)
	if err != nil {
		return err
	}
	names := []username{}
	for _, a := range list {
		selected, err := s.selected(r, a)
		if err != nil {
			return err
		}
		if selected {
			names = append(names, username{a.Login})
		}
	}
	writeJSON(w, http.StatusOK, names)
	return nil
}

// selected tells whether a user meets the conditions of the query, which are looked up only where there are any.
func (s *Server) selected(r *http.Request, a door.Account) (selected bool, err error) {
	q := r.URL.Query()
	if !q.Has("hasNoMailboxes") && !q.Has("hasNotAllSystemMailboxes") {
		return true, nil
	}
	err = s.b.Accounts.View(r.Context(), a.ID, func(state *account.State) error {
		selected = !q.Has("hasNoMailboxes") || len(state.Mailboxes) == 0
		if q.Has("hasNotAllSystemMailboxes") {
			selected = selected && slices.ContainsFunc(account.FirstUses, func(use string) bool {
				_, has := state.BySpecialUse(use)
				return !has
			})
		}
		return nil
	})
	return selected, err
}

// user finds the account that the path names. Errors: domain.NotFound, also for one that is disabled.
func (s *Server) user(r *http.Request) (door.Account, error) {
	found, err := s.find(r.Context(), r.PathValue("user"))
	if err == nil && found.Disabled {
		return found, domain.Errorf(domain.NotFound, "the user %s does not exist", r.PathValue("user"))
	}
	return found, err
}

func (s *Server) hasUser(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.user(r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) putUser(w http.ResponseWriter, r *http.Request) error {
	var body Password
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if body.Password == "" {
		return domain.Errorf(domain.Invalid, "a password is needed")
	}
	ctx, name := r.Context(), r.PathValue("user")
	found, err := s.b.Directory.Lookup(ctx, name)
	switch {
	case domain.Is(err, domain.NotFound):
		_, err = s.b.Directory.AddAccount(ctx, actor, name, body.Password)
	case err != nil:
	case !found.Disabled && !r.URL.Query().Has("force"):
		err = domain.Errorf(domain.Exists, "the user %s exists", name)
	default:
		if err = s.b.Directory.SetPassword(ctx, actor, found.ID, body.Password); err == nil && found.Disabled {
			err = s.b.Directory.SetDisabled(ctx, actor, found.ID, false)
		}
	}
	return done(w, err)
}

// disableUser succeeds also when there is no such user.
func (s *Server) disableUser(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err == nil {
		err = s.b.Directory.SetDisabled(r.Context(), actor, found.ID, true)
	}
	if domain.Is(err, domain.NotFound) {
		err = nil
	}
	return done(w, err)
}

func (s *Server) verifyUser(w http.ResponseWriter, r *http.Request) error {
	var body Password
	if err := readJSON(r, &body); err != nil {
		return err
	}
	_, err := s.b.Directory.Authenticate(r.Context(), r.PathValue("user"), body.Password)
	if domain.Is(err, domain.Denied) {
		writeError(w, Error{StatusCode: http.StatusUnauthorized, Type: "unauthorized", Message: "the password is wrong, or there is no such user"})
		return nil
	}
	return done(w, err)
}
