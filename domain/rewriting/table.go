// Package rewriting says where mail for a local address goes: into mailboxes here, to other servers, or nowhere and why (RFC 5321 sections 3.9 and 4.5.1, RFC 5233).
//
// A Mapping is a fact of the directory: mail for its source goes to its target. A Table is all of them, found by source and by target. Resolve follows them; Loop
// looks for a way back to where it began before a mapping is added.
//
// Order. What an address leads to is the first of these that there is:
//
//  1. the mappings whose source it is: all of them, unless one is a refusal;
//  2. the account that has it;
//  3. for user+detail, 1 and 2 of user. The detail goes on to an account, over aliases too; other people do not get it;
//  4. the expressions of its domain that match it: all of them;
//  5. the domain that its domain stands for, in which it is looked for anew with the same local part;
//  6. for postmaster, who is told by the World;
//  7. the catch-all of its domain. Only the address that the sender wrote, and the same one in another domain, get as far as 6 and 7: a catch-all takes what
//     people mistype, not what mappings name. So a way passes one catch-all at most, and comes to an end when it is back where the sender's address was.
//
// Invariants:
//   - Without expressions of whole domains there is no loop, whichever accounts and mappings come and go: Loop counts a mapping also where something before it in
//     the order hides it.
//   - Resolve ends. What it looks at, how deep, and what it gives are bounded, and a loop is a Fault that shows its path.
//   - Both directions are one set: nothing is in one that is not in the other.
package rewriting

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/event"
)

// Limits of mappings.
const (
	MaxMappings = 1_000_000 // of an installation
	MaxTargets  = 10_000    // of one source, and final recipients of one address
	MaxRegexes  = 100       // of one source
	MaxChange   = 1_000     // in one command
	MaxOctets   = 500_000   // of their sources and targets
	MaxDepth    = 16        // mappings on one way
	MaxText     = 1_000     // octets of an expression with its replacement
	MaxProgram  = 2_000     // instructions of an expression, as RE2 compiles it
	maxSteps    = 100_000   // addresses that one resolution looks at
)

// Mapping is one edge of the graph.
type Mapping struct {
	Source string            `json:"source"` // an address, or "@" and a domain
	Kind   event.MappingKind `json:"kind"`
	Target string            `json:"target"`
}

// Compare orders mappings by source, kind and target.
func (m Mapping) Compare(o Mapping) int {
	return cmp.Or(strings.Compare(m.Source, o.Source), strings.Compare(string(m.Kind), string(o.Kind)), strings.Compare(m.Target, o.Target))
}

// World is what a table needs to know of the directory.
type World interface {
	// Host gives the stored spelling of a domain, and whether it is local.
	Host(name string) (stored string, local bool)
	// Owner finds the account that has exactly this address.
	Owner(address string) (id domain.AccountID, login string, ok bool)
	// Postmaster finds who takes mail for the postmaster of a domain without one.
	Postmaster(host string) (id domain.AccountID, login string, ok bool)
}

// Table is all mappings. The zero Table is not usable, see New.
type Table struct {
	parent *Table // of which this is a changed copy
	from   map[string][]Mapping
	to     map[string]map[Mapping]bool // by Key of the target; nil in a changed copy
	rules  map[string]*rule            // by text; nil for one that cannot be read
	uses   map[string]int              // of rules
	hosts  map[string]int              // mappings by the domain of their source
	count  int
}

// New gives an empty table.
func New() *Table {
	return &Table{from: map[string][]Mapping{}, to: map[string]map[Mapping]bool{}, rules: map[string]*rule{}, uses: map[string]int{}, hosts: map[string]int{}}
}

// Len is how many mappings there are.
func (t *Table) Len() int { return t.count }

// In is how many mappings begin in a domain.
func (t *Table) In(host string) int { return t.hosts[host] }

// Of gives the mappings of a source, in the order in which they were added. The caller does not change them.
func (t *Table) Of(source string) []Mapping {
	list, changed := t.from[source]
	if t.parent != nil && !changed {
		return t.parent.Of(source)
	}
	return list
}

// Has tells whether a mapping is there.
func (t *Table) Has(m Mapping) bool {
	if t.parent == nil {
		return t.to[m.Key()][m]
	}
	return slices.Contains(t.Of(m.Source), m)
}

// To gives the mappings that lead to a target, in order. An address is given as delivery.Address.Key spells it.
func (t *Table) To(target string) []Mapping {
	return slices.SortedFunc(maps.Keys(t.to[target]), Mapping.Compare)
}

// All gives every mapping that a filter takes, in order.
func (t *Table) All(take func(Mapping) bool) []Mapping { return t.First(0, take) }

// First gives the first of them, at most so many; 0 gives all. It sorts no more than twice as many at a time.
func (t *Table) First(most int, take func(Mapping) bool) (all []Mapping) {
	full := false // and nothing behind the last of all is wanted
	for _, list := range t.from {
		for _, m := range list {
			if full && m.Compare(all[most-1]) > 0 || !take(m) {
				continue
			}
			if all = append(all, m); most > 0 && len(all) >= 2*most {
				slices.SortFunc(all, Mapping.Compare)
				all, full = all[:most], true
			}
		}
	}
	slices.SortFunc(all, Mapping.Compare)
	if most > 0 && len(all) > most {
		all = all[:most]
	}
	return all
}

// Select gives those of a list that a filter takes, in order.
func Select(list []Mapping, take func(Mapping) bool) (all []Mapping) {
	for _, m := range list {
		if take(m) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, Mapping.Compare)
	return all
}

// Key is what To finds a mapping by.
func (m Mapping) Key() string {
	if a, err := delivery.ParseAddress(m.Target); err == nil && addressed(m.Kind) {
		return a.Key()
	}
	return m.Target
}

// addressed tells whether targets of a kind are addresses.
func addressed(k event.MappingKind) bool {
	return k == event.Alias || k == event.Group || k == event.Forward || k == event.Address
}

func domainWide(k event.MappingKind) bool { return k == event.Domain || k == event.DomainAlias }

func hostOf(source string) string { return source[strings.LastIndexByte(source, '@')+1:] }

// Add puts a mapping that is not there.
func (t *Table) Add(m Mapping) {
	t.from[m.Source] = append(t.from[m.Source], m)
	key := m.Key()
	if t.to[key] == nil {
		t.to[key] = map[Mapping]bool{}
	}
	t.to[key][m] = true
	t.hosts[hostOf(m.Source)]++
	t.count++
	if m.Kind == event.Regex {
		if t.uses[m.Target]++; t.uses[m.Target] == 1 {
			t.rules[m.Target], _ = parseRule(m.Target) // It was read when it was decided; what cannot be read any more matches nothing.
		}
	}
}

// Remove takes a mapping away that is there.
func (t *Table) Remove(m Mapping) {
	list := slices.DeleteFunc(t.from[m.Source], func(x Mapping) bool { return x == m })
	t.from[m.Source] = list
	if len(list) == 0 {
		delete(t.from, m.Source)
	}
	key := m.Key()
	delete(t.to[key], m)
	if len(t.to[key]) == 0 {
		delete(t.to, key)
	}
	if t.hosts[hostOf(m.Source)]--; t.hosts[hostOf(m.Source)] == 0 {
		delete(t.hosts, hostOf(m.Source))
	}
	t.count--
	if m.Kind == event.Regex {
		if t.uses[m.Target]--; t.uses[m.Target] == 0 {
			delete(t.rules, m.Target)
			delete(t.uses, m.Target)
		}
	}
}

// Drop removes what begins at an address and what leads to it: its account is gone.
func (t *Table) Drop(address string) {
	for _, m := range slices.Clone(t.from[address]) {
		t.Remove(m)
	}
	for m := range maps.Clone(t.to[address]) {
		if addressed(m.Kind) {
			t.Remove(m)
		}
	}
}

// With gives the table as it would be after a change. It shares the rest with this one, which must not change while it is in use.
func (t *Table) With(remove, add []Mapping) *Table {
	c := &Table{parent: t, from: map[string][]Mapping{}, rules: map[string]*rule{}, count: t.count + len(add) - len(remove)}
	own := func(source string) {
		if _, there := c.from[source]; !there {
			c.from[source] = slices.Clone(t.Of(source))
		}
	}
	for _, m := range remove {
		own(m.Source)
		c.from[m.Source] = slices.DeleteFunc(c.from[m.Source], func(x Mapping) bool { return x == m })
	}
	for _, m := range add {
		own(m.Source)
		c.from[m.Source] = append(c.from[m.Source], m)
		if m.Kind == event.Regex {
			c.rules[m.Target], _ = parseRule(m.Target)
		}
	}
	return c
}

func (t *Table) rule(text string) *rule {
	r, there := t.rules[text]
	if !there && t.parent != nil {
		return t.parent.rule(text)
	}
	return r
}
