package rewriting

import (
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/event"
)

// Loop looks for a loop that mappings of this table are part of, all of which were added to a graph without one, and gives its path, first address and last being the
// same; nil if there is none. Expressions of whole domains are not looked at: what they make of an address shows when there is one.
func (t *Table) Loop(w World, added []Mapping) []string {
	if slices.ContainsFunc(added, func(m Mapping) bool { return domainWide(m.Kind) }) {
		return t.anyLoop(w)
	}
	visited := map[string]bool{} // Each address is looked at once, however many of the sources lead to it.
	for _, m := range added {
		if strings.HasPrefix(m.Source, "@") {
			continue
		}
		if path := t.descend(w, m.Source, visited); path != nil {
			return path
		}
	}
	return nil
}

// anyLoop looks at the whole graph. A loop is either of domains only, or has a source in it.
func (t *Table) anyLoop(w World) []string {
	domains := map[string]bool{}
	visited := map[string]bool{} // from which no loop can be reached
	for table := t; table != nil; table = table.parent {
		for source := range table.from {
			start := source
			if strings.HasPrefix(source, "@") {
				if domains[source] {
					continue
				}
				domains[source] = true
				start = anybody + source
			}
			if path := t.descend(w, start, visited); path != nil {
				for i := range path {
					path[i] = strings.TrimPrefix(path[i], anybody)
				}
				return path
			}
		}
	}
	return nil
}

// anybody is a local part that no address has.
const anybody = "\x00"

// descend is a search in depth for an address that is its own descendant.
func (t *Table) descend(w World, start string, visited map[string]bool) []string {
	type frame struct {
		at   string
		next []string
	}
	if visited[start] {
		return nil
	}
	stack, on := []frame{{start, t.edges(w, start)}}, map[string]bool{start: true}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if len(top.next) == 0 {
			visited[top.at] = true
			delete(on, top.at)
			stack = stack[:len(stack)-1]
			continue
		}
		next := top.next[0]
		top.next = top.next[1:]
		if on[next] {
			path := []string{next}
			for i := len(stack) - 1; ; i-- {
				path = append(path, stack[i].at)
				if stack[i].at == next {
					break
				}
			}
			slices.Reverse(path)
			return path
		}
		if !visited[next] {
			on[next] = true
			stack = append(stack, frame{next, t.edges(w, next)})
		}
	}
	return nil
}

// edges gives every address to which an address may lead, whatever hides it at present, but for what the expressions and catch-alls of its domain make of it: see the
// package comment for why a catch-all is in no loop.
func (t *Table) edges(w World, at string) (next []string) {
	local, host := split(at)
	if _, here := w.Host(host); !here {
		return nil
	}
	for _, m := range t.Of(at) {
		if to, ok := t.target(w, m, at); ok && to != at {
			next = append(next, to)
		}
	}
	if user, _, plus := strings.Cut(local, "+"); plus && user != "" {
		next = append(next, user+"@"+host)
	}
	if m, ok := t.domain(host); ok {
		next = append(next, local+"@"+spell(w, m.Target[1:]))
	}
	return next
}

// target is the address that a mapping of an address leads to.
func (t *Table) target(w World, m Mapping, at string) (string, bool) {
	switch {
	case addressed(m.Kind):
		if a, err := delivery.ParseAddress(m.Target); err == nil {
			return key(w, a), true
		}
	case m.Kind == event.Regex:
		if a, ok := t.rule(m.Target).rewrite(at); ok {
			return key(w, a), true
		}
	}
	return "", false
}

// domain gives the mapping of a whole domain to another one.
func (t *Table) domain(host string) (Mapping, bool) {
	list := t.Of("@" + host)
	if i := slices.IndexFunc(list, func(m Mapping) bool { return domainWide(m.Kind) }); i >= 0 {
		return list[i], true
	}
	return Mapping{}, false
}

func split(address string) (local, host string) {
	at := strings.LastIndexByte(address, '@')
	return address[:at], address[at+1:]
}

// key is an address as sources are spelt.
func key(w World, a delivery.Address) string {
	local, host := split(a.Key())
	return local + "@" + spell(w, host)
}

// spell gives a domain as it is stored, if it is.
func spell(w World, host string) string {
	stored, _ := w.Host(host)
	return stored
}

// LoopError refuses a mapping for the loop that it would make. Its kind is domain.Exists: the rest of the loop is there already.
func LoopError(path []string) error {
	return &domain.Error{Kind: domain.Exists, Msg: "this would make a loop: " + strings.Join(path, " -> "), Hint: "remove one of these mappings first; mapping show lists those of an address"}
}
