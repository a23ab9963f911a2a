package webadmin

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections/door"
)

// jamesMappings are James's routes of recipient rewriting. Unlike there, each change is looked at for loops, those of domains too.
var jamesMappings = []Route{
	{Pattern: "GET /address/groups", serve: (*Server).jamesAddressGroups, Summary: "List groups"},
	{Pattern: "DELETE /address/groups", serve: (*Server).jamesRemoveGroups, Summary: "Remove the groups of a JSON list"},
	{Pattern: "GET /address/groups/{group}", serve: (*Server).jamesGroup, Summary: "List the members of a group"},
	{Pattern: "DELETE /address/groups/{group}", serve: (*Server).jamesRemoveGroup, Summary: "Remove a group"},
	{Pattern: "PUT /address/groups/{group}/{member}", serve: (*Server).jamesAddMember, Summary: "Add a member to a group"},
	{Pattern: "DELETE /address/groups/{group}/{member}", serve: (*Server).jamesRemoveMember, Summary: "Remove a member from a group"},

	{Pattern: "GET /address/forwards", serve: (*Server).jamesForwards, Summary: "List who has mail sent on"},
	{Pattern: "GET /address/forwards/{user}", serve: (*Server).jamesForward, Summary: "List where a user's mail is sent on to"},
	{Pattern: "PUT /address/forwards/{user}/targets/{target}", serve: (*Server).jamesAddForward, Summary: "Send a user's mail on; the user as the target keeps a copy"},
	{Pattern: "DELETE /address/forwards/{user}/targets/{target}", serve: (*Server).jamesRemoveForward, Summary: "Send a user's mail on no longer"},

	{Pattern: "GET /address/aliases", serve: (*Server).jamesAliases, Summary: "List addresses that have aliases"},
	{Pattern: "GET /address/aliases/{user}", serve: (*Server).jamesAliasesOf, Summary: "List the aliases of an address"},
	{Pattern: "PUT /address/aliases/{user}/sources/{alias}", serve: (*Server).jamesAddAlias, Summary: "Give an address an alias"},
	{Pattern: "DELETE /address/aliases/{user}/sources/{alias}", serve: (*Server).jamesRemoveAlias, Summary: "Remove an alias"},

	{Pattern: "GET /domains/{domain}/aliases", serve: (*Server).jamesDomainAliases, Summary: "List the aliases of a domain"},
	{Pattern: "PUT /domains/{domain}/aliases/{alias}", serve: (*Server).jamesAddDomainAlias, Summary: "Make a local domain an alias of another"},
	{Pattern: "DELETE /domains/{domain}/aliases/{alias}", serve: (*Server).jamesRemoveDomainAlias, Summary: "Remove an alias of a domain"},

	{Pattern: "GET /domainMappings", serve: (*Server).jamesDomainMappings, Summary: "List mappings of domains"},
	{Pattern: "GET /domainMappings/{domain}", serve: (*Server).jamesDomainMapping, Summary: "Tell where a domain's mail goes"},
	{Pattern: "PUT /domainMappings/{domain}", serve: (*Server).jamesPutDomainMapping, Summary: "Have a domain's mail go to the domain in the body"},
	{Pattern: "DELETE /domainMappings/{domain}", serve: (*Server).jamesRemoveDomainMapping, Summary: "Remove the mapping of a domain"},

	{Pattern: "GET /mappings", serve: (*Server).jamesAllMappings, Summary: "List all mappings by source"},
	{Pattern: "PUT /mappings", serve: (*Server).jamesImportMappings, Summary: "Add mappings, in the form in which they are listed"},
	{Pattern: "GET /mappings/user/{user}", serve: (*Server).jamesUserMappings, Summary: "List the mappings of an address"},
	{Pattern: "GET /mappings/sources/{target}", serve: (*Server).jamesSources, Summary: "List what leads to an address; ?type= says how"},
	{Pattern: "DELETE /mappings/sources/{target}", serve: (*Server).jamesRemoveSources, Summary: "Remove what leads to an address; ?type= says how"},
	{Pattern: "POST /mappings/address/{source}/targets/{target}", serve: (*Server).jamesAddAddress, Summary: "Put an address in the place of another"},
	{Pattern: "DELETE /mappings/address/{source}/targets/{target}", serve: (*Server).jamesRemoveAddress, Summary: "Remove a mapping of an address"},
	{Pattern: "POST /mappings/regex/{source}/targets/{target}", serve: (*Server).jamesAddRegex, Summary: "Rewrite addresses by an expression"},
	{Pattern: "DELETE /mappings/regex/{source}/targets/{target}", serve: (*Server).jamesRemoveRegex, Summary: "Remove an expression"},

	{Pattern: "GET /users/{user}/allowedFromHeaders", serve: (*Server).jamesFrom, Summary: "List the addresses under which a user may send"},
}

// jamesMapping is an element of James's lists.
type jamesMapping struct {
	Type    string `json:"type"`
	Mapping string `json:"mapping"`
}

func jamesName(k event.MappingKind) string { return strings.ToUpper(string(k[:1])) + string(k[1:]) }

func jamesKind(name string) (event.MappingKind, error) {
	for _, k := range directory.MappingKinds {
		if strings.EqualFold(name, string(k)) {
			return k, nil
		}
	}
	return "", domain.Errorf(domain.Invalid, "%q is no type of mapping", name)
}

// jamesSource writes a source of a whole domain as James does.
func jamesSource(source string) string {
	if strings.HasPrefix(source, "@") {
		return "*" + source
	}
	return source
}

func describeMapping(m rewriting.Mapping) jamesMapping {
	return jamesMapping{jamesName(m.Kind), strings.TrimPrefix(m.Target, "@")}
}

// all gives every mapping that a filter takes.
func (s *Server) allMappings(ctx context.Context, f door.MappingFilter) ([]rewriting.Mapping, error) {
	list, _, err := s.b.Directory.Mappings(ctx, f)
	return list, err
}

// change adds a mapping, or removes it; either is done already where there is nothing to do.
func (s *Server) change(w http.ResponseWriter, r *http.Request, add bool, kind event.MappingKind, source, target string) error {
	c := directory.ChangeMappings{}
	if m := []rewriting.Mapping{{Source: source, Kind: kind, Target: target}}; add {
		c.Add = m
	} else {
		c.Remove = m
	}
	err := s.b.Directory.ChangeMappings(r.Context(), actor, c)
	if domain.Is(err, domain.NotFound) && (kind != event.Forward || !add) && kind != event.DomainAlias { // The domain of the source is not local, which James calls a wrong argument.
		err = domain.Wrap(domain.Invalid, err, "the source is not in the domain list")
	}
	return done(w, err)
}

// missing is James's answer where a list would be empty.
func missing(w http.ResponseWriter, what string) error {
	writeError(w, Error{StatusCode: http.StatusNotFound, Type: "InvalidArgument", Message: what})
	return nil
}

// parameter reads an address in the path.
func parameter(r *http.Request, name string) (string, error) {
	a, err := delivery.ParseAddress(r.PathValue(name))
	if err != nil {
		return "", domain.Wrap(domain.Invalid, err, r.PathValue(name)+" is not an address")
	}
	return a.String(), nil
}

// sourcesOf lists the sources of a kind, each once.
func (s *Server) sourcesOf(w http.ResponseWriter, r *http.Request, kind event.MappingKind) error {
	list, err := s.allMappings(r.Context(), door.MappingFilter{Kind: kind})
	if err != nil {
		return err
	}
	names := []string{}
	for _, m := range list {
		names = append(names, m.Source)
	}
	writeJSON(w, http.StatusOK, slices.Compact(names))
	return nil
}

// targetsOf gives the targets of a source, in order.
func (s *Server) targetsOf(r *http.Request, kind event.MappingKind, parameterName string) (targets []string, err error) {
	source, err := parameter(r, parameterName)
	if err != nil {
		return nil, err
	}
	list, err := s.allMappings(r.Context(), door.MappingFilter{Kind: kind, Source: source})
	for _, m := range list {
		targets = append(targets, m.Target)
	}
	return targets, err
}

func (s *Server) jamesAddressGroups(w http.ResponseWriter, r *http.Request) error {
	return s.sourcesOf(w, r, event.Group)
}

func (s *Server) jamesGroup(w http.ResponseWriter, r *http.Request) error {
	members, err := s.targetsOf(r, event.Group, "group")
	switch {
	case err != nil:
		return err
	case len(members) == 0:
		return missing(w, "The group does not exist")
	}
	writeJSON(w, http.StatusOK, members)
	return nil
}

func (s *Server) jamesRemoveGroup(w http.ResponseWriter, r *http.Request) error {
	return s.removeGroups(w, r, []string{r.PathValue("group")})
}

func (s *Server) jamesRemoveGroups(w http.ResponseWriter, r *http.Request) error {
	var names []string
	if err := readJSON(r, &names); err != nil {
		return err
	}
	return s.removeGroups(w, r, names)
}

// removeGroups removes all or, when one does not exist, none.
func (s *Server) removeGroups(w http.ResponseWriter, r *http.Request, names []string) error {
	var remove []rewriting.Mapping
	for _, name := range names {
		if _, err := delivery.ParseAddress(name); err != nil {
			return err
		}
		list, err := s.allMappings(r.Context(), door.MappingFilter{Kind: event.Group, Source: name})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return missing(w, "The group does not exist")
		}
		remove = append(remove, list...)
	}
	return done(w, s.changeMany(r.Context(), remove, nil))
}

// changeMany changes any number of mappings, in portions.
func (s *Server) changeMany(ctx context.Context, remove, add []rewriting.Mapping) error {
	for some := range slices.Chunk(remove, rewriting.MaxChange) {
		if err := s.b.Directory.ChangeMappings(ctx, actor, directory.ChangeMappings{Remove: some}); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(add, rewriting.MaxChange) {
		if err := s.b.Directory.ChangeMappings(ctx, actor, directory.ChangeMappings{Add: some}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) jamesAddMember(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, true, event.Group, r.PathValue("group"), r.PathValue("member"))
}

func (s *Server) jamesRemoveMember(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, false, event.Group, r.PathValue("group"), r.PathValue("member"))
}

func (s *Server) jamesForwards(w http.ResponseWriter, r *http.Request) error {
	return s.sourcesOf(w, r, event.Forward)
}

type jamesForward struct {
	MailAddress string `json:"mailAddress"`
}

func (s *Server) jamesForward(w http.ResponseWriter, r *http.Request) error {
	targets, err := s.targetsOf(r, event.Forward, "user")
	switch {
	case err != nil:
		return err
	case len(targets) == 0:
		return missing(w, "The forward does not exist")
	}
	list := []jamesForward{}
	for _, to := range targets {
		list = append(list, jamesForward{to})
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) jamesAddForward(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, true, event.Forward, r.PathValue("user"), r.PathValue("target"))
}

func (s *Server) jamesRemoveForward(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, false, event.Forward, r.PathValue("user"), r.PathValue("target"))
}

func (s *Server) jamesAliases(w http.ResponseWriter, r *http.Request) error {
	list, err := s.allMappings(r.Context(), door.MappingFilter{Kind: event.Alias})
	if err != nil {
		return err
	}
	names := []string{}
	for _, m := range list {
		names = append(names, m.Target)
	}
	slices.Sort(names)
	writeJSON(w, http.StatusOK, slices.Compact(names))
	return nil
}

type jamesAlias struct {
	Source string `json:"source"`
}

func (s *Server) jamesAliasesOf(w http.ResponseWriter, r *http.Request) error {
	target, err := parameter(r, "user")
	if err != nil {
		return err
	}
	return s.aliases(w, r, event.Alias, target)
}

// aliases lists what stands for an address or a domain.
func (s *Server) aliases(w http.ResponseWriter, r *http.Request, kind event.MappingKind, target string) error {
	list, err := s.allMappings(r.Context(), door.MappingFilter{Kind: kind, Target: target})
	if err != nil {
		return err
	}
	names := []jamesAlias{}
	for _, m := range list {
		names = append(names, jamesAlias{strings.TrimPrefix(m.Source, "@")})
	}
	writeJSON(w, http.StatusOK, names)
	return nil
}

func (s *Server) jamesAddAlias(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, true, event.Alias, r.PathValue("alias"), r.PathValue("user"))
}

func (s *Server) jamesRemoveAlias(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, false, event.Alias, r.PathValue("alias"), r.PathValue("user"))
}

func (s *Server) jamesDomainAliases(w http.ResponseWriter, r *http.Request) error {
	if err := s.localDomain(r); err != nil {
		return err
	}
	return s.aliases(w, r, event.DomainAlias, "@"+r.PathValue("domain"))
}

func (s *Server) jamesAddDomainAlias(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, true, event.DomainAlias, "@"+r.PathValue("alias"), "@"+r.PathValue("domain"))
}

func (s *Server) jamesRemoveDomainAlias(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, false, event.DomainAlias, "@"+r.PathValue("alias"), "@"+r.PathValue("domain"))
}

func (s *Server) jamesDomainMappings(w http.ResponseWriter, r *http.Request) error {
	list, err := s.allMappings(r.Context(), door.MappingFilter{Kind: event.Domain})
	if err != nil {
		return err
	}
	all := map[string][]string{}
	for _, m := range list {
		all[m.Source[1:]] = append(all[m.Source[1:]], m.Target[1:])
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

func (s *Server) domainMapping(r *http.Request) ([]rewriting.Mapping, error) {
	return s.allMappings(r.Context(), door.MappingFilter{Kind: event.Domain, Source: "@" + r.PathValue("domain")})
}

func (s *Server) jamesDomainMapping(w http.ResponseWriter, r *http.Request) error {
	list, err := s.domainMapping(r)
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return domain.Errorf(domain.NotFound, "Cannot find mappings for %s", r.PathValue("domain"))
	}
	writeJSON(w, http.StatusOK, []string{list[0].Target[1:]})
	return nil
}

// jamesPutDomainMapping replaces the one that is there.
func (s *Server) jamesPutDomainMapping(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	list, err := s.domainMapping(r)
	if err != nil {
		return err
	}
	target, err := directory.NormalDomain(strings.TrimSpace(string(body)))
	if err != nil {
		return err
	}
	if len(list) == 1 && list[0].Target == "@"+target {
		return done(w, nil)
	}
	err = s.b.Directory.ChangeMappings(r.Context(), actor, directory.ChangeMappings{
		Remove: list, Add: []rewriting.Mapping{{Source: "@" + r.PathValue("domain"), Kind: event.Domain, Target: "@" + target}},
	})
	if domain.Is(err, domain.NotFound) {
		err = domain.Wrap(domain.Invalid, err, "the source is not in the domain list")
	}
	return done(w, err)
}

func (s *Server) jamesRemoveDomainMapping(w http.ResponseWriter, r *http.Request) error {
	list, err := s.domainMapping(r)
	if err != nil {
		return err
	}
	return done(w, s.changeMany(r.Context(), list, nil))
}

func (s *Server) jamesAllMappings(w http.ResponseWriter, r *http.Request) error {
	list, err := s.allMappings(r.Context(), door.MappingFilter{})
	if err != nil {
		return err
	}
	all := map[string][]jamesMapping{}
	for _, m := range list {
		all[jamesSource(m.Source)] = append(all[jamesSource(m.Source)], describeMapping(m))
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

func (s *Server) jamesImportMappings(w http.ResponseWriter, r *http.Request) error {
	var body map[string][]jamesMapping
	if err := readJSON(r, &body); err != nil {
		return err
	}
	var add []rewriting.Mapping
	for source, list := range body {
		for _, m := range list {
			kind, err := jamesKind(m.Type)
			if err != nil {
				return err
			}
			add = append(add, rewriting.Mapping{Source: source, Kind: kind, Target: m.Mapping})
		}
	}
	slices.SortFunc(add, rewriting.Mapping.Compare)
	return done(w, s.changeMany(r.Context(), nil, add))
}

func (s *Server) jamesUserMappings(w http.ResponseWriter, r *http.Request) error {
	source, err := parameter(r, "user")
	if err != nil {
		return err
	}
	list, err := s.allMappings(r.Context(), door.MappingFilter{Source: source})
	if err != nil {
		return err
	}
	all := []jamesMapping{}
	for _, m := range list {
		all = append(all, describeMapping(m))
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// leading finds what leads to an address in the way that the query says.
func (s *Server) leading(r *http.Request) ([]rewriting.Mapping, error) {
	kind, err := jamesKind(r.URL.Query().Get("type"))
	if err != nil {
		return nil, err
	}
	target, err := parameter(r, "target")
	if err != nil {
		return nil, err
	}
	return s.allMappings(r.Context(), door.MappingFilter{Kind: kind, Target: target})
}

func (s *Server) jamesSources(w http.ResponseWriter, r *http.Request) error {
	list, err := s.leading(r)
	if err != nil {
		return err
	}
	names := []string{}
	for _, m := range list {
		names = append(names, jamesSource(m.Source))
	}
	writeJSON(w, http.StatusOK, names)
	return nil
}

func (s *Server) jamesRemoveSources(w http.ResponseWriter, r *http.Request) error {
	list, err := s.leading(r)
	if err != nil {
		return err
	}
	return done(w, s.changeMany(r.Context(), list, nil))
}

func (s *Server) jamesAddAddress(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, true, event.Address, r.PathValue("source"), r.PathValue("target"))
}

func (s *Server) jamesRemoveAddress(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, false, event.Address, r.PathValue("source"), r.PathValue("target"))
}

func (s *Server) jamesAddRegex(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, true, event.Regex, wholeDomain(r.PathValue("source")), r.PathValue("target"))
}

func (s *Server) jamesRemoveRegex(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, false, event.Regex, wholeDomain(r.PathValue("source")), r.PathValue("target"))
}

// wholeDomain understands a source without @ as a domain, as James does.
func wholeDomain(source string) string {
	if !strings.Contains(source, "@") {
		return "@" + source
	}
	return source
}

func (s *Server) jamesFrom(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	names, err := s.b.Directory.AddressesOf(r.Context(), found.ID)
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(names))
	}
	return err
}
