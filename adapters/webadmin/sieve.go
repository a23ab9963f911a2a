package webadmin

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/sieve"
	"github.com/streampost/streampost/projections/door"
)

// sieveRoutes are about the scripts by which users filter their mail (RFC 5228). Those below /sieve are James's.
var sieveRoutes = []Route{
	{Pattern: "GET /v1/accounts/{account}/sieve", Answer: []SieveScript{}, serve: (*Server).sieveScripts, Summary: "List a user's Sieve scripts"},
	{Pattern: "GET /v1/accounts/{account}/sieve/{script}", Answer: SieveScript{}, serve: (*Server).sieveScript, Summary: "Show a Sieve script"},
	{Pattern: "PUT /v1/accounts/{account}/sieve/{script}", Body: NewSieveScript{}, Answer: SieveChecked{}, serve: (*Server).putSieve, Summary: "Check a Sieve script and store it; 400 says where it is wrong"},
	{Pattern: "DELETE /v1/accounts/{account}/sieve/{script}", serve: (*Server).deleteSieve, Summary: "Delete a Sieve script that is not active"},
	{Pattern: "PUT /v1/accounts/{account}/active-sieve", Body: ActiveSieve{}, serve: (*Server).activateSieve, Summary: "Say which Sieve script runs when mail arrives; an empty name is none"},

	{Pattern: "PUT /sieve/{user}/scripts/{script}", BodyType: "application/sieve", serve: (*Server).jamesSieve, Summary: "Check a Sieve script and store it; ?activate=true has it run",
		Query: []Query{{"activate", "true: it runs when mail arrives"}}},
	{Pattern: "GET /sieve/quota/default", serve: (*Server).sieveQuota, Summary: "Tell how many octets the scripts of a user may have"},
	{Pattern: "PUT /sieve/quota/default", serve: (*Server).noSieveQuota, Summary: "Refused: the limit is the same for all and cannot be set"},
	{Pattern: "DELETE /sieve/quota/default", serve: (*Server).noSieveQuota, Summary: "Refused, see PUT /sieve/quota/default"},
	{Pattern: "GET /sieve/quota/users/{user}", serve: (*Server).userSieveQuota, Summary: "Tell that a user has no limit of his own: 204"},
	{Pattern: "PUT /sieve/quota/users/{user}", serve: (*Server).noSieveQuota, Summary: "Refused, see PUT /sieve/quota/default"},
	{Pattern: "DELETE /sieve/quota/users/{user}", serve: (*Server).noSieveQuota, Summary: "Refused, see PUT /sieve/quota/default"},
}

// SieveScript is a script of a user.
type SieveScript struct {
	Name    string `json:"name"`
	Active  bool   `json:"active"`
	Octets  int    `json:"octets"`
	Content string `json:"content,omitempty"` // not in lists
}

// NewSieveScript is the body of PUT /v1/accounts/{account}/sieve/{script}.
type NewSieveScript struct {
	Content  string `json:"content"`
	Activate bool   `json:"activate,omitempty"`
}

// SieveChecked is what is to be said about a script that compiles.
type SieveChecked struct {
	Warnings []string `json:"warnings"`
}

// ActiveSieve is the body of PUT /v1/accounts/{account}/active-sieve.
type ActiveSieve struct {
	Name string `json:"name"`
}

func (s *Server) scriptsOf(r *http.Request) (scripts account.Scripts, err error) {
	found, err := s.lookup(r)
	if err == nil {
		err = s.b.Accounts.View(r.Context(), found.ID, func(state *account.State) error {
			scripts = state.Scripts.Clone()
			return nil
		})
	}
	return scripts, err
}

func (s *Server) sieveScripts(w http.ResponseWriter, r *http.Request) error {
	scripts, err := s.scriptsOf(r)
	if err != nil {
		return err
	}
	list := []SieveScript{}
	for name, content := range scripts.Content {
		list = append(list, SieveScript{Name: name, Active: name == scripts.Active, Octets: len(content)})
	}
	slices.SortFunc(list, func(a, b SieveScript) int { return strings.Compare(a.Name, b.Name) })
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) sieveScript(w http.ResponseWriter, r *http.Request) error {
	scripts, err := s.scriptsOf(r)
	if err != nil {
		return err
	}
	name := r.PathValue("script")
	content, there := scripts.Content[name]
	if !there {
		return domain.Errorf(domain.NotFound, "there is no script %q", name)
	}
	writeJSON(w, http.StatusOK, SieveScript{Name: name, Active: name == scripts.Active, Octets: len(content), Content: content})
	return nil
}

func (s *Server) putSieve(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	var body NewSieveScript
	if err := readJSON(r, &body); err != nil {
		return err
	}
	warnings, err := s.store(r, found, body)
	if err == nil {
		writeJSON(w, http.StatusOK, SieveChecked{warnings})
	}
	return err
}

// store checks a script, stores it under the name in the path, and has it run if that is wanted.
func (s *Server) store(r *http.Request, to door.Account, body NewSieveScript) ([]string, error) {
	name := r.PathValue("script")
	found, err := s.b.Accounts.PutScript(r.Context(), to.ID, actor, name, body.Content)
	if wrong := (*sieve.Error)(nil); errors.As(err, &wrong) {
		return nil, domain.Wrap(domain.Invalid, err, "the script is wrong")
	}
	if err != nil {
		return nil, err
	}
	warnings := []string{}
	for _, warning := range found {
		warnings = append(warnings, warning.String())
	}
	if body.Activate {
		_, err = s.b.Accounts.Do(r.Context(), to.ID, actor, account.ActivateScript{Name: name})
	}
	return warnings, err
}

func (s *Server) deleteSieve(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err == nil {
		_, err = s.b.Accounts.Do(r.Context(), found.ID, actor, account.DeleteScript{Name: r.PathValue("script")})
	}
	return done(w, err)
}

func (s *Server) activateSieve(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	var body ActiveSieve
	if err == nil {
		err = readJSON(r, &body)
	}
	if err == nil {
		_, err = s.b.Accounts.Do(r.Context(), found.ID, actor, account.ActivateScript{Name: body.Name})
	}
	return done(w, err)
}

// jamesSieve takes a script as it is, as James does.
func (s *Server) jamesSieve(w http.ResponseWriter, r *http.Request) error {
	found, err := s.find(r.Context(), r.PathValue("user"))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	_, err = s.store(r, found, NewSieveScript{Content: string(text), Activate: r.URL.Query().Get("activate") == "true"})
	return done(w, err)
}

func (s *Server) sieveQuota(w http.ResponseWriter, _ *http.Request) error {
	return writeLimit(w, account.MaxScriptsOctets)
}

func (s *Server) userSieveQuota(w http.ResponseWriter, r *http.Request) error {
	_, err := s.find(r.Context(), r.PathValue("user"))
	return done(w, err)
}

// noSieveQuota refuses to set a limit that is fixed.
func (s *Server) noSieveQuota(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Allow", "GET, HEAD") // RFC 9110 section 15.5.6.
	writeError(w, Error{StatusCode: http.StatusMethodNotAllowed, Type: "methodNotAllowed", Message: "the limit of Sieve scripts is the same for all and cannot be set", Hint: "GET /sieve/quota/default tells it"})
	return nil
}
