package directory

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// MaxEnrolments bounds the selectors for which accounts get replicas when they are added.
const MaxEnrolments = 1_000

// Enrolment gives replicas to accounts that are added while it lasts.
type Enrolment struct {
	Keep         int // how many of the destinations an account gets; 0: all of them, with their priorities
	Destinations []event.Destination
}

// The forms of a selector of an enrolment.
const (
	SelectAll    = "all"
	selectDomain = "domain:"
	selectName   = "name:"
)

// DomainSelector selects the accounts with an address in a domain.
func DomainSelector(name string) string { return selectDomain + name }

// NameSelector selects the accounts with an address that fits a pattern, see Matches.
func NameSelector(pattern string) string { return selectName + pattern }

// selector gives the one spelling of a selector. Errors: domain.NotFound for a domain that is not local, domain.Invalid.
func (s *State) selector(text string) (string, error) {
	if name, ok := strings.CutPrefix(text, selectDomain); ok {
		host, err := s.localDomain(name)
		return selectDomain + host, err
	}
	if pattern, ok := strings.CutPrefix(text, selectName); ok {
		if !Wild(pattern) {
			return "", domain.Errorf(domain.Invalid, "%q is no pattern: * stands for any text and ? for one character", pattern)
		}
		return selectName + strings.ToLower(pattern), nil
	}
	if text != SelectAll {
		return "", &domain.Error{Kind: domain.Invalid, Msg: fmt.Sprintf("%q selects no accounts", text), Hint: `say "all", "domain:" and a domain, or "name:" and a pattern`}
	}
	return text, nil
}

// localDomain gives the stored spelling of a domain. Errors: domain.Invalid, domain.NotFound.
func (s *State) localDomain(name string) (string, error) {
	if Wild(name) {
		return "", domain.Errorf(domain.Invalid, "%q is no domain: wildcards stand in names of accounts, such as *@example.org", name)
	}
	if _, err := NormalDomain(name); err != nil {
		return "", err
	}
	host, local := s.Host(name)
	if !local {
		return "", domain.Errorf(domain.NotFound, "domain %s is not local", name)
	}
	return host, nil
}

// selects tells whether a selector in its one spelling means an account with an address.
func selects(selector, address string) bool {
	if host, ok := strings.CutPrefix(selector, selectDomain); ok {
		return domainOf(address) == host
	}
	if pattern, ok := strings.CutPrefix(selector, selectName); ok {
		return Matches(pattern, address)
	}
	return selector == SelectAll
}

// Enrol gives replicas to accounts that will be added: on one node with a priority, beside other nodes of the same selector; or, when Keep is not 0, on
// so many of the nodes that there are now, instead of what was set for the selector.
// Errors: domain.NotFound, domain.Invalid, domain.TooLarge.
type Enrol struct {
	Selector string
	Node     string
	Priority uint32
	Keep     int
	Nodes    []string // that can be a destination
}

func (c Enrol) decide(s *State) ([]event.Event, error) {
	selector, err := s.selector(c.Selector)
	if err != nil {
		return nil, err
	}
	before, exists := s.Enrolments[selector]
	if !exists && len(s.Enrolments) >= MaxEnrolments {
		return nil, domain.Errorf(domain.TooLarge, "there are at most %d selectors of new accounts", MaxEnrolments)
	}
	if c.Keep != 0 {
		if err := keep(c.Keep, c.Nodes); err != nil {
			return nil, err
		}
		next := Enrolment{Keep: c.Keep}
		for _, node := range slices.Sorted(slices.Values(c.Nodes)) {
			next.Destinations = append(next.Destinations, event.Destination{Node: node})
		}
		return enrolled(selector, before, next), nil
	}
	if err := destination(c.Node, c.Nodes); err != nil {
		return nil, err
	}
	next := Enrolment{Destinations: []event.Destination{{Node: c.Node, Priority: c.Priority}}}
	if before.Keep == 0 {
		next.Destinations = append(next.Destinations, without(before.Destinations, c.Node)...)
	}
	if len(next.Destinations) > MaxReplicas {
		return nil, domain.Errorf(domain.TooLarge, "an account has at most %d replicas", MaxReplicas)
	}
	slices.SortFunc(next.Destinations, func(a, b event.Destination) int { return strings.Compare(a.Node, b.Node) })
	return enrolled(selector, before, next), nil
}

// enrolled is the fact of a change, if there is one.
func enrolled(selector string, before, next Enrolment) []event.Event {
	if before.Keep == next.Keep && slices.Equal(before.Destinations, next.Destinations) {
		return nil
	}
	return []event.Event{&event.EnrolmentSet{Selector: selector, Keep: uint32(next.Keep), Destinations: next.Destinations}}
}

func without(all []event.Destination, node string) []event.Destination {
	return slices.DeleteFunc(slices.Clone(all), func(d event.Destination) bool { return d.Node == node })
}

// Dismiss ends what Enrol began: for one node, or altogether. Errors: domain.NotFound, domain.Invalid.
type Dismiss struct {
	Selector string
	Node     string // empty: all
}

func (c Dismiss) decide(s *State) ([]event.Event, error) {
	selector, err := s.selector(c.Selector)
	if err != nil {
		return nil, err
	}
	before, exists := s.Enrolments[selector]
	left := without(before.Destinations, c.Node)
	switch {
	case !exists, c.Node != "" && len(left) == len(before.Destinations):
		return nil, domain.Errorf(domain.NotFound, "new accounts of %q get no replica%s", selector, on(c.Node))
	case c.Node == "" || len(left) == 0:
		return []event.Event{&event.EnrolmentRemoved{Selector: selector}}, nil
	}
	return enrolled(selector, before, Enrolment{Keep: min(before.Keep, len(left)), Destinations: left}), nil
}

func on(node string) string {
	if node == "" {
		return ""
	}
	return fmt.Sprintf(" on node %q", node)
}

// enrol gives a new account its replicas. Where several selectors mean it, it gets those of all; for a node that more than one names, the first
// selector in order decides.
func (s *State) enrol(id domain.AccountID, address string) (events []event.Event) {
	a := &Account{ID: id}
	var load map[string]int
	for _, selector := range slices.Sorted(maps.Keys(s.Enrolments)) {
		if !selects(selector, address) {
			continue
		}
		var more []event.Event
		if e := s.Enrolments[selector]; e.Keep > 0 {
			if load == nil {
				load = s.load()
			}
			var nodes []string
			for _, d := range e.Destinations {
				nodes = append(nodes, d.Node)
			}
			more = a.fill(e.Keep, nodes, load)
		} else {
			for _, d := range e.Destinations {
				if a.placed(d.Node) < 0 && len(a.Placements)+len(more) < MaxReplicas {
					more = append(more, &event.ReplicaPlaced{Account: id, Node: d.Node, Priority: d.Priority})
				}
			}
		}
		for _, e := range more {
			placed := e.(*event.ReplicaPlaced)
			a.place(placed.Node, placed.Priority)
		}
		events = append(events, more...)
	}
	return events
}
