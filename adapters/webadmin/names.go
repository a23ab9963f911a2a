package webadmin

import (
	"context"
	"net/http"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/zone"
	"github.com/streampost/streampost/projections/door"
)

// Names is what of a domain's mail has a name in DNS: the keys that sign it, and the records that it needs.
type Names interface {
	AddDKIMKey(ctx context.Context, actor, host, selector, algorithm string) (door.DKIMKey, error)
	DKIMKeys(ctx context.Context, host string) ([]door.DKIMKey, error)
	DKIMKey(ctx context.Context, host, selector string) (door.DKIMKey, error)
	// Activate has a key sign. Unless unchecked, its record has to be in DNS.
	Activate(ctx context.Context, actor, host, selector string, unchecked bool) error
	RetireDKIMKey(ctx context.Context, actor, host, selector string) error
	RemoveDKIMKey(ctx context.Context, actor, host, selector string) error
	// Records lists the records that a domain needs, and with check what DNS says of each.
	Records(ctx context.Context, host string, check bool) ([]zone.Checked, error)
}

// NewDKIMKey is the body of POST /v1/domains/{domain}/dkim.
type NewDKIMKey struct {
	Selector  string `json:"selector,omitempty"`  // empty: one of the day
	Algorithm string `json:"algorithm,omitempty"` // rsa or ed25519; empty: rsa
}

var nameRoutes = []Route{
	{Pattern: "GET /v1/domains/{domain}/dns", Answer: []zone.Checked{}, Query: []Query{{"check", "Compare them with what DNS says"}}, serve: (*Server).records, Summary: "List the records that a domain needs in DNS"},
	{Pattern: "GET /v1/domains/{domain}/dkim", Answer: []door.DKIMKey{}, serve: (*Server).dkimKeys, Summary: "List the keys that sign mail of a domain"},
	{Pattern: "POST /v1/domains/{domain}/dkim", Body: NewDKIMKey{}, Answer: door.DKIMKey{}, Status: http.StatusCreated, serve: (*Server).addDKIMKey, Summary: "Make a key, which signs nothing until it is activated"},
	{Pattern: "GET /v1/domains/{domain}/dkim/{selector}", Answer: door.DKIMKey{}, serve: (*Server).dkimKey, Summary: "Show a key, without its private part"},
	{Pattern: "POST /v1/domains/{domain}/dkim/{selector}/activate", Query: []Query{{"unchecked", "Although DNS does not have its record"}}, serve: (*Server).activateDKIMKey,
		Summary: "Have a key sign, in place of the one of the same algorithm"},
	{Pattern: "POST /v1/domains/{domain}/dkim/{selector}/retire", serve: (*Server).retireDKIMKey, Summary: "Have a key sign no longer"},
	{Pattern: "DELETE /v1/domains/{domain}/dkim/{selector}", serve: (*Server).removeDKIMKey, Summary: "Forget a key that does not sign"},
}

var errNoNames = &domain.Error{Kind: domain.Unavailable, Msg: "the directory cannot be read"}

// named runs f with what is known of names.
func (s *Server) named(f func(Names) error) error {
	if s.b.Names == nil {
		return errNoNames
	}
	return f(s.b.Names)
}

func (s *Server) records(w http.ResponseWriter, r *http.Request) error {
	return s.named(func(n Names) error {
		check := r.URL.Query().Has("check") && r.URL.Query().Get("check") != "false"
		all, err := n.Records(r.Context(), r.PathValue("domain"), check)
		if err == nil {
			writeJSON(w, http.StatusOK, notNil(all))
		}
		return err
	})
}

func (s *Server) dkimKeys(w http.ResponseWriter, r *http.Request) error {
	return s.named(func(n Names) error {
		all, err := n.DKIMKeys(r.Context(), r.PathValue("domain"))
		if err == nil {
			writeJSON(w, http.StatusOK, notNil(all))
		}
		return err
	})
}

func (s *Server) dkimKey(w http.ResponseWriter, r *http.Request) error {
	return s.named(func(n Names) error {
		key, err := n.DKIMKey(r.Context(), r.PathValue("domain"), r.PathValue("selector"))
		if err == nil {
			writeJSON(w, http.StatusOK, key)
		}
		return err
	})
}

func (s *Server) addDKIMKey(w http.ResponseWriter, r *http.Request) error {
	return s.named(func(n Names) error {
		var body NewDKIMKey
		if err := readJSON(r, &body); err != nil {
			return err
		}
		key, err := n.AddDKIMKey(r.Context(), actor, r.PathValue("domain"), body.Selector, body.Algorithm)
		if err == nil {
			writeJSON(w, http.StatusCreated, key)
		}
		return err
	})
}

func (s *Server) activateDKIMKey(w http.ResponseWriter, r *http.Request) error {
	return s.named(func(n Names) error {
		unchecked := r.URL.Query().Has("unchecked") && r.URL.Query().Get("unchecked") != "false"
		return done(w, n.Activate(r.Context(), actor, r.PathValue("domain"), r.PathValue("selector"), unchecked))
	})
}

func (s *Server) retireDKIMKey(w http.ResponseWriter, r *http.Request) error {
	return s.named(func(n Names) error {
		return done(w, n.RetireDKIMKey(r.Context(), actor, r.PathValue("domain"), r.PathValue("selector")))
	})
}

func (s *Server) removeDKIMKey(w http.ResponseWriter, r *http.Request) error {
	return s.named(func(n Names) error {
		return done(w, n.RemoveDKIMKey(r.Context(), actor, r.PathValue("domain"), r.PathValue("selector")))
	})
}
