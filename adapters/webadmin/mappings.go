package webadmin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections/door"
)

// Rewriting is what door.Directory knows of mappings.
type Rewriting interface {
	ChangeMappings(ctx context.Context, actor string, c directory.ChangeMappings) error
	Mappings(ctx context.Context, f door.MappingFilter) (list []rewriting.Mapping, more bool, err error)
	Rewrite(ctx context.Context, a delivery.Address) (*rewriting.Resolution, error)
	AddressesOf(ctx context.Context, id domain.AccountID) ([]string, error)
}

// mappingPage is how many mappings one answer has at most.
const mappingPage = 10_000

var mappingRoutes = []Route{
	{Pattern: "GET /v1/mappings", Answer: MappingPage{}, serve: (*Server).mappings, Summary: "List mappings of recipients, in order of source, kind and target", Query: []Query{
		{"source", "Only of this address, or @ and a domain"}, {"target", "Only to this address, or @ and a domain"}, {"domain", "Only of sources in this domain"},
		{"kind", "Only alias, group, forward, address, domain, domainAlias, regex or error"}, {"limit", "At most so many; 1000 if absent, 10,000 at most"}, {"next", "Go on where a page ended"},
	}},
	{Pattern: "POST /v1/mappings", Body: NewMappings{}, serve: (*Server).addMappings, Summary: "Add mappings, all or none; a loop is refused with its path"},
	{Pattern: "POST /v1/mappings/change", Destroys: true, Body: MappingChange{}, serve: (*Server).changeMappings, Summary: "Remove mappings and add others, all or none"},
	{Pattern: "GET /v1/mappings/resolve/{address}", Answer: Resolved{}, serve: (*Server).resolveMapping, Summary: "Tell where mail for an address goes, and on which way"},
}

// MappingPage is some of a list.
type MappingPage struct {
	Mappings []rewriting.Mapping `json:"mappings"`
	Next     string              `json:"next,omitempty"` // where to go on; absent at the end
}

// NewMappings is the body of POST /v1/mappings.
type NewMappings struct {
	Add []rewriting.Mapping `json:"add"`
}

// MappingChange is the body of POST /v1/mappings/change.
type MappingChange struct {
	Remove []rewriting.Mapping `json:"remove,omitempty"`
	Add    []rewriting.Mapping `json:"add,omitempty"`
	Strict bool                `json:"strict,omitempty"` // what is to be removed has to be there
	Check  []string            `json:"check,omitempty"`  // addresses that have to resolve afterwards
}

// Resolved is where mail for an address goes.
type Resolved struct {
	Address    string        `json:"address"`
	Recipients []ResolvedTo  `json:"recipients"`
	Nowhere    []ResolvedTo  `json:"nowhere,omitempty"` // where mappings lead and nobody is
	Fault      *FaultyAnswer `json:"fault,omitempty"`   // there is no end
}

// ResolvedTo is one end of the way.
type ResolvedTo struct {
	Address string           `json:"address"`
	Account domain.AccountID `json:"account,omitempty"` // absent: it leaves for another server
	Detail  string           `json:"detail,omitempty"`
	Refusal string           `json:"refusal,omitempty"`
	Path    []rewriting.Step `json:"path,omitempty"`
}

// FaultyAnswer is why there is no end, and the way on which that shows.
type FaultyAnswer struct {
	Reason rewriting.Reason `json:"reason"`
	Path   []rewriting.Step `json:"path"`
}

func (s *Server) mappings(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := door.MappingFilter{Source: q.Get("source"), Target: q.Get("target"), Domain: q.Get("domain"), Kind: event.MappingKind(q.Get("kind")), Limit: 1000}
	if f.Kind != "" && !slices.Contains(directory.MappingKinds, f.Kind) {
		return domain.Errorf(domain.Invalid, "%q is no kind of mapping", f.Kind)
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mappingPage {
			return domain.Errorf(domain.Invalid, "limit is a number from 1 to %d", mappingPage)
		}
		f.Limit = n
	}
	if text := q.Get("next"); text != "" {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err == nil {
			err = json.Unmarshal(raw, &f.After)
		}
		if err != nil {
			return domain.Errorf(domain.Invalid, "next is not what a page has given")
		}
	}
	list, more, err := s.b.Directory.Mappings(r.Context(), f)
	if err != nil {
		return err
	}
	page := MappingPage{Mappings: notNil(list)}
	if more {
		raw, err := json.Marshal(list[len(list)-1])
		if err != nil {
			return err
		}
		page.Next = base64.RawURLEncoding.EncodeToString(raw)
	}
	writeJSON(w, http.StatusOK, page)
	return nil
}

func (s *Server) addMappings(w http.ResponseWriter, r *http.Request) error {
	var body NewMappings
	if err := readJSON(r, &body); err != nil {
		return err
	}
	return done(w, s.b.Directory.ChangeMappings(r.Context(), actor, directory.ChangeMappings{Add: body.Add}))
}

func (s *Server) changeMappings(w http.ResponseWriter, r *http.Request) error {
	var body MappingChange
	if err := readJSON(r, &body); err != nil {
		return err
	}
	return done(w, s.b.Directory.ChangeMappings(r.Context(), actor, directory.ChangeMappings(body)))
}

func (s *Server) resolveMapping(w http.ResponseWriter, r *http.Request) error {
	a, err := delivery.ParseAddress(r.PathValue("address"))
	if err != nil {
		return err
	}
	found, err := s.b.Directory.Rewrite(r.Context(), a)
	answer := Resolved{Address: a.String(), Recipients: []ResolvedTo{}}
	var fault *rewriting.Fault
	switch {
	case errors.As(err, &fault):
		answer.Fault = &FaultyAnswer{fault.Reason, fault.Path}
	case domain.Is(err, domain.NotFound) && found != nil:
	case err != nil:
		return err
	}
	if found != nil {
		for _, f := range found.Finals {
			answer.Recipients = append(answer.Recipients, ResolvedTo{Address: f.Address.String(), Account: f.Account, Detail: f.Detail, Path: f.Path})
		}
		for _, d := range found.Dead {
			dead := ResolvedTo{Address: d.Address, Path: d.Path}
			if d.Refusal != nil {
				dead.Refusal = d.Refusal.String()
			}
			answer.Nowhere = append(answer.Nowhere, dead)
		}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}
