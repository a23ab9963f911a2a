package directory

import (
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
)

// MappingKinds are all of them, in the order in which they are shown.
var MappingKinds = []event.MappingKind{event.Alias, event.Group, event.Forward, event.Address, event.Domain, event.DomainAlias, event.Regex, event.Error}

// World is a directory as mappings see it. Master is the address of who takes mail for postmasters of domains that have none.
type World struct {
	*State
	Master string
}

// Host gives the stored spelling of a domain.
func (w World) Host(name string) (string, bool) { return w.State.Host(name) }

// Owner finds the account that has exactly this address.
func (w World) Owner(address string) (id domain.AccountID, login string, ok bool) {
	a, ok := w.ByAddress(address)
	if !ok {
		return "", "", false
	}
	return a.ID, a.Login(), true
}

// Postmaster gives who takes mail for the postmaster of a domain without one (RFC 5321 section 4.5.1): the one who is named for that, else the oldest account of
// the domain, else the oldest account.
func (w World) Postmaster(host string) (id domain.AccountID, login string, ok bool) {
	a, ok := w.ByAddress(w.Master)
	if w.Master == "" || !ok {
		if a, ok = w.First(host); !ok {
			a, ok = w.First("")
		}
	}
	if !ok {
		return "", "", false
	}
	return a.ID, a.Login(), true
}

// ChangeMappings removes mappings and adds others, all or none. What is there already, or is not there to be removed, is nothing to do, unless Strict is set. Check names
// addresses that can be resolved afterwards. Errors: domain.Exists for a loop, with its path, and for a source that something else has.
type ChangeMappings struct {
	Remove []rewriting.Mapping
	Add    []rewriting.Mapping
	Strict bool // what is to be removed has to be there
	Check  []string
}

func (c ChangeMappings) decide(s *State) ([]event.Event, error) {
	if len(c.Remove)+len(c.Add) > rewriting.MaxChange {
		return nil, domain.Errorf(domain.TooLarge, "at most %d mappings are changed at a time", rewriting.MaxChange)
	}
	octets := 0
	for _, m := range slices.Concat(c.Remove, c.Add) {
		octets += len(m.Source) + len(m.Target)
	}
	if octets > rewriting.MaxOctets {
		return nil, domain.Errorf(domain.TooLarge, "mappings of at most %d octets are changed at a time", rewriting.MaxOctets)
	}
	var events []event.Event
	var remove, add []rewriting.Mapping
	for _, m := range c.Remove {
		m, err := s.spellMapping(m)
		if err != nil {
			return nil, err
		}
		if !s.Mappings.Has(m) || slices.Contains(remove, m) {
			if c.Strict {
				return nil, domain.Errorf(domain.NotFound, "there is no such mapping: %s of %s to %s", m.Kind, m.Source, m.Target)
			}
			continue
		}
		remove = append(remove, m)
		events = append(events, &event.MappingRemoved{Source: m.Source, Kind: m.Kind, Target: m.Target})
	}
	less := s.Mappings
	if len(remove) > 0 {
		less = less.With(remove, nil)
	}
	for _, m := range c.Add {
		m, err := s.spellMapping(m)
		if err != nil {
			return nil, err
		}
		if less.Has(m) || slices.Contains(add, m) {
			continue
		}
		if err := s.mayAdd(less, add, m); err != nil {
			return nil, err
		}
		add = append(add, m)
		events = append(events, &event.MappingAdded{Source: m.Source, Kind: m.Kind, Target: m.Target})
	}
	if s.Mappings.Len()+len(add)-len(remove) > rewriting.MaxMappings {
		return nil, domain.Errorf(domain.TooLarge, "there are at most %d mappings", rewriting.MaxMappings)
	}
	after := s.Mappings.With(remove, add)
	if path := after.Loop(World{State: s}, add); path != nil {
		return nil, rewriting.LoopError(path)
	}
	for _, text := range c.Check {
		a, err := delivery.ParseAddress(text)
		if err != nil {
			return nil, err
		}
		if _, err := after.Resolve(World{State: s}, a); err != nil {
			return nil, domain.Errorf(domain.Exists, "%s could still not be delivered: %v", text, err)
		}
	}
	return events, nil
}

// mayAdd checks a mapping against those of the same source, and against who has the address. more are those that the same command adds.
func (s *State) mayAdd(t *rewriting.Table, more []rewriting.Mapping, m rewriting.Mapping) error {
	_, login, taken := World{State: s}.Owner(m.Source)
	names := m.Kind == event.Alias || m.Kind == event.Group
	switch {
	case names && taken:
		return domain.Errorf(domain.Exists, "%s is an address of the account %s and cannot be a %s", m.Source, login, m.Kind)
	case m.Kind == event.Forward && !taken:
		return &domain.Error{Kind: domain.NotFound, Msg: "no account has the address " + m.Source, Hint: "an alias, a group or a mapping of kind address needs none"}
	}
	targets, regexes := 0, 0
	check := func(other rewriting.Mapping) error {
		targets++
		if other.Kind == event.Regex {
			regexes++
		}
		switch whole := m.Kind == event.Domain || m.Kind == event.DomainAlias; {
		case names && other.Kind != m.Kind && (other.Kind == event.Alias || other.Kind == event.Group):
			return domain.Errorf(domain.Exists, "%s is a %s already", m.Source, other.Kind)
		case whole && (other.Kind == event.Domain || other.Kind == event.DomainAlias):
			return domain.Errorf(domain.Exists, "the domain %s stands for %s already", m.Source[1:], other.Target[1:])
		}
		return nil
	}
	for _, other := range t.Of(m.Source) {
		if err := check(other); err != nil {
			return err
		}
	}
	for _, other := range more {
		if other.Source == m.Source {
			if err := check(other); err != nil {
				return err
			}
		}
	}
	switch {
	case targets >= rewriting.MaxTargets:
		return domain.Errorf(domain.TooLarge, "%s has %d mappings, the most there may be", m.Source, targets)
	case m.Kind == event.Regex && regexes >= rewriting.MaxRegexes:
		return domain.Errorf(domain.TooLarge, "%s has %d expressions, the most there may be", m.Source, regexes)
	}
	return nil
}

// spellMapping gives the one spelling under which a mapping is stored.
func (s *State) spellMapping(m rewriting.Mapping) (rewriting.Mapping, error) {
	var err error
	if m.Source, err = s.source(m); err != nil {
		return m, err
	}
	switch m.Kind {
	case event.Alias, event.Group, event.Forward, event.Address:
		if m.Target, err = s.target(m.Target); err != nil {
			return m, err
		}
		if m.Target == m.Source && m.Kind != event.Forward {
			return m, domain.Errorf(domain.Invalid, "source and target of a mapping are the same: %s", m.Source)
		}
	case event.Domain, event.DomainAlias:
		name, err := NormalDomain(strings.TrimPrefix(m.Target, "@"))
		if err != nil {
			return m, err
		}
		stored, local := s.Host(name)
		switch {
		case "@"+stored == m.Source:
			return m, domain.Errorf(domain.Invalid, "source and target of a mapping are the same: %s", stored)
		case !local && m.Kind == event.DomainAlias:
			return m, &domain.Error{Kind: domain.NotFound, Msg: "the domain " + name + " is not local", Hint: "a mapping of kind domain leads to domains elsewhere"}
		}
		m.Target = "@" + stored
	case event.Error:
		refusal, err := rewriting.ParseRefusal(m.Target)
		if err != nil {
			return m, err
		}
		m.Target = refusal.String()
	case event.Regex:
		if err := rewriting.CheckRule(m.Target); err != nil {
			return m, err
		}
	}
	return m, nil
}

// source gives the spelling of a source. "*@" and a domain is understood as well.
func (s *State) source(m rewriting.Mapping) (string, error) {
	if !slices.Contains(MappingKinds, m.Kind) {
		return "", domain.Errorf(domain.Invalid, "%q is no kind of mapping", m.Kind)
	}
	raw := strings.TrimPrefix(m.Source, "*")
	name, whole := strings.CutPrefix(raw, "@")
	of, wide := m.Kind == event.Domain || m.Kind == event.DomainAlias, m.Kind == event.Address || m.Kind == event.Error || m.Kind == event.Regex
	switch {
	case of && !whole:
		return "", domain.Errorf(domain.Invalid, "the source of a mapping of kind %s is a domain, written @example.org", m.Kind)
	case whole && !of && !wide:
		return "", domain.Errorf(domain.Invalid, "the source of a mapping of kind %s is an address", m.Kind)
	}
	address := ""
	if !whole {
		var err error
		if address, err = NormalAddress(raw); err != nil {
			return "", err
		}
		name = domainOf(raw)
	}
	normal, err := NormalDomain(name)
	if err != nil {
		return "", err
	}
	stored, local := s.Host(name)
	if !local {
		return "", domain.Errorf(domain.NotFound, "domain %s is not local: add it first", normal)
	}
	if whole {
		return "@" + stored, nil
	}
	return address[:len(address)-len(domainOf(address))] + stored, nil
}

// target gives the spelling of an address to which mail goes. Elsewhere the case of a local part may matter (RFC 5321 section 2.4).
func (s *State) target(raw string) (string, error) {
	a, err := delivery.ParseAddress(raw)
	if err != nil {
		return "", err
	}
	if a.Literal() {
		return "", domain.Errorf(domain.Invalid, "%s has no domain: mail is not sent on to an address literal", raw)
	}
	stored, local := s.Host(a.Domain)
	if local {
		address, err := NormalAddress(raw)
		if err != nil {
			return "", err
		}
		return address[:len(address)-len(domainOf(address))] + stored, nil
	}
	if a.Domain, err = NormalDomain(a.Domain); err != nil {
		return "", err
	}
	return a.String(), nil
}

// Source gives the spelling of a source as somebody wrote it, and Target that of an address that is a target. What is neither stays as it is.
func (s *State) Source(raw string) string {
	for _, kind := range []event.MappingKind{event.Address, event.Domain} {
		if spelt, err := s.source(rewriting.Mapping{Source: raw, Kind: kind}); err == nil {
			return spelt
		}
	}
	return raw
}

// Target is Source for targets, as rewriting.Table.To wants them.
func (s *State) Target(raw string) string {
	if name, whole := strings.CutPrefix(raw, "@"); whole {
		stored, _ := s.Host(name)
		return "@" + stored
	}
	spelt, err := s.target(raw)
	if err != nil {
		return raw
	}
	if a, err := delivery.ParseAddress(spelt); err == nil {
		return a.Key()
	}
	return spelt
}
