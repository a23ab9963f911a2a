package rewriting

import (
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/event"
)

// Steps that are no mappings.
const (
	Plus       event.MappingKind = "plus"       // the detail is left out
	Postmaster event.MappingKind = "postmaster" // the one who takes a postmaster's mail
)

// Step is one on the way of a recipient.
type Step struct {
	Kind event.MappingKind `json:"kind"`
	To   string            `json:"to"`
}

// Final is where mail goes in the end.
type Final struct {
	Account domain.AccountID // empty: it leaves for another server
	Address delivery.Address // of the account, or elsewhere
	Detail  string           // of an account's mailbox
	Path    []Step           // from the address that was asked for; empty: that is it
}

// Dead is an address to which a mapping leads and where mail goes nowhere.
type Dead struct {
	Address string
	Refusal *Refusal // nil: there is no such address
	Path    []Step
}

// Resolution is what becomes of mail for an address.
type Resolution struct {
	Finals []Final
	Dead   []Dead
	// Open: the way depends on an address that nobody has, or on a refusal. Who is added has the mail instead.
	Open bool
}

// Refusal is the answer of an error mapping to an address of which nothing else takes mail.
func (r *Resolution) Refusal() (Refusal, bool) {
	if len(r.Finals) > 0 {
		return Refusal{}, false
	}
	i := slices.IndexFunc(r.Dead, func(d Dead) bool { return d.Refusal != nil })
	if i < 0 {
		return Refusal{}, false
	}
	return *r.Dead[i].Refusal, true
}

// Reason says why an address cannot be resolved.
type Reason string

// The reasons.
const (
	Looping Reason = "a loop"
	Deep    Reason = "too many mappings, one after the other"
	Wide    Reason = "too many recipients"
)

// Fault is an address that cannot be resolved, and the way on which that showed. Of a loop the last address is on the way before.
type Fault struct {
	Address string
	Reason  Reason
	Path    []Step
}

func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString(string(f.Reason) + ": " + f.Address)
	for _, s := range f.Path {
		b.WriteString(" -> (" + string(s.Kind) + ") " + s.To)
	}
	return b.String()
}

// Unwrap gives the error its kind.
func (f *Fault) Unwrap() error { return domain.Errorf(domain.Conflict, "%s", f.Error()) }

// Resolve follows the mappings of an address. Each account, and each address elsewhere, is there once. An address that is not local is its own end. Errors: *Fault.
func (t *Table) Resolve(w World, a delivery.Address) (*Resolution, error) {
	r := &resolver{table: t, world: w, start: a.String(), seen: map[visit]bool{}, accounts: map[domain.AccountID]bool{}, remote: map[string]bool{}}
	if err := r.follow(a, "", true); err != nil {
		return nil, err
	}
	return &r.Resolution, nil
}

// Owner finds the one account whose address, or whose alias, an address is. Groups, forwards and expressions make nobody the owner.
func (t *Table) Owner(w World, a delivery.Address) (Final, bool) {
	r := &resolver{table: t, world: w, start: a.String(), aliases: true, seen: map[visit]bool{}, accounts: map[domain.AccountID]bool{}, remote: map[string]bool{}}
	if r.follow(a, "", true) != nil || len(r.Finals) != 1 || len(r.Dead) > 0 || r.Finals[0].Account == "" {
		return Final{}, false
	}
	return r.Finals[0], true
}

type visit struct {
	address, detail string
	first           bool
}

type resolver struct {
	Resolution
	table *Table
	world World
	start string

	aliases bool // only these are followed

	path     []Step
	on       []string // the addresses of path behind a catch-all, as keys
	seen     map[visit]bool
	accounts map[domain.AccountID]bool
	remote   map[string]bool
}

func (r *resolver) fault(why Reason) error {
	return &Fault{Address: r.start, Reason: why, Path: slices.Clone(r.path)}
}

// step follows one mapping.
func (r *resolver) step(kind event.MappingKind, to delivery.Address, detail string, first bool) error {
	r.path = append(r.path, Step{kind, to.String()})
	err := r.follow(to, detail, first)
	r.path = r.path[:len(r.path)-1]
	return err
}

// follow looks for where an address leads. first is true for the one that was asked for, also in another domain.
func (r *resolver) follow(a delivery.Address, detail string, first bool) error {
	at := key(r.world, a)
	local, host := split(at)
	if _, here := r.world.Host(host); !here {
		if detail != "" {
			a.Local += "+" + detail
		}
		return r.leave(a)
	}
	switch now := (visit{at, detail, first}); {
	case slices.Contains(r.on, at):
		return r.fault(Looping)
	case len(r.path) > MaxDepth:
		return r.fault(Deep)
	case r.seen[now]:
		return nil
	case len(r.seen) >= maxSteps:
		return r.fault(Wide)
	default:
		r.seen[now] = true
	}
	r.on = append(r.on, at)
	defer func() { r.on = r.on[:len(r.on)-1] }()

	if done, err := r.exact(at, detail); done || err != nil {
		return err
	}
	if user, more, plus := strings.Cut(local, "+"); plus && user != "" {
		if more != "" {
			detail = more
		}
		base := user + "@" + host
		r.path = append(r.path, Step{Plus, base})
		done, err := r.exact(base, detail)
		r.path = r.path[:len(r.path)-1]
		if done || err != nil {
			return err
		}
	}
	r.Open = true
	if done, err := r.regexes(at, host); done || err != nil {
		return err
	}
	if m, ok := r.table.domain(host); ok && (!r.aliases || m.Kind == event.DomainAlias) {
		return r.step(m.Kind, delivery.Address{Local: a.Local, Domain: m.Target[1:]}, detail, first)
	}
	if first {
		if done, err := r.last(local, host); done || err != nil {
			return err
		}
	}
	return r.die(a.String(), nil)
}

// exact follows the mappings of an address, or gives its account.
func (r *resolver) exact(at, detail string) (done bool, err error) {
	list := r.table.Of(at)
	if r.aliases {
		list = slices.DeleteFunc(slices.Clone(list), func(m Mapping) bool { return m.Kind != event.Alias })
	}
	if i := slices.IndexFunc(list, func(m Mapping) bool { return m.Kind == event.Error }); i >= 0 {
		return true, r.refuse(at, list[i])
	}
	for _, m := range list {
		to, ok := r.table.target(r.world, m, at)
		switch {
		case !ok:
			continue
		case to == at: // A forward keeps a copy.
			done = r.keep(m.Kind, at, detail) || done
			continue
		}
		done = true
		carried := ""
		if m.Kind == event.Alias {
			carried = detail
		}
		a, err := delivery.ParseAddress(m.Target)
		if m.Kind == event.Regex {
			a, _ = r.table.rule(m.Target).rewrite(at) // as it is written: to is the address as it is compared
		} else if err != nil {
			continue
		}
		if err := r.step(m.Kind, a, carried, false); err != nil {
			return true, err
		}
	}
	if done {
		return true, nil
	}
	if id, login, ok := r.world.Owner(at); ok {
		return true, r.arrive(id, login, detail)
	}
	return false, nil
}

// keep gives the account of an address that has mappings as well.
func (r *resolver) keep(kind event.MappingKind, at, detail string) bool {
	id, login, ok := r.world.Owner(at)
	if !ok {
		return false
	}
	r.path = append(r.path, Step{kind, at})
	_ = r.arrive(id, login, detail)
	r.path = r.path[:len(r.path)-1]
	return true
}

// regexes follows the expressions of a domain.
func (r *resolver) regexes(at, host string) (done bool, err error) {
	for _, m := range r.table.Of("@" + host) {
		if m.Kind != event.Regex || r.aliases {
			continue
		}
		to, ok := r.table.rule(m.Target).rewrite(at)
		if !ok || key(r.world, to) == at {
			continue
		}
		if _, here := r.world.Host(to.Domain); !here && r.table.rule(m.Target).anywhere() {
			continue // Or whoever writes the address would say to which server it is relayed.
		}
		done = true
		if err := r.step(event.Regex, to, "", false); err != nil {
			return true, err
		}
	}
	return done, nil
}

// last is for addresses that nothing else takes.
func (r *resolver) last(local, host string) (done bool, err error) {
	if user, _, _ := strings.Cut(local, "+"); user == postmaster {
		if id, login, ok := r.world.Postmaster(host); ok {
			r.path = append(r.path, Step{Postmaster, login})
			err := r.arrive(id, login, "")
			r.path = r.path[:len(r.path)-1]
			return true, err
		}
	}
	if r.aliases {
		return false, nil
	}
	// Addresses in front of the catch-all may come again behind it. That is no loop: there is no catch-all for them then.
	on := r.on
	r.on = nil
	defer func() { r.on = on }()
	for _, m := range r.table.Of("@" + host) {
		switch m.Kind {
		case event.Error:
			return true, r.refuse(local+"@"+host, m)
		case event.Address:
			a, err := delivery.ParseAddress(m.Target)
			if err != nil || key(r.world, a) == local+"@"+host {
				continue
			}
			done = true
			if err := r.step(m.Kind, a, "", false); err != nil {
				return true, err
			}
		}
	}
	return done, nil
}

const postmaster = "postmaster"

func (r *resolver) refuse(at string, m Mapping) error {
	r.Open = true
	refusal, err := ParseRefusal(m.Target)
	if err != nil {
		refusal, _ = ParseRefusal("")
	}
	return r.die(at, &refusal)
}

func (r *resolver) arrive(id domain.AccountID, login, detail string) error {
	if r.accounts[id] {
		return nil
	}
	r.accounts[id] = true
	a, err := delivery.ParseAddress(login)
	if err != nil {
		return domain.Wrap(domain.Corrupt, err, "the address of account "+string(id))
	}
	return r.end(Final{Account: id, Address: a, Detail: detail, Path: slices.Clone(r.path)})
}

func (r *resolver) leave(a delivery.Address) error {
	if r.remote[a.Key()] {
		return nil
	}
	r.remote[a.Key()] = true
	return r.end(Final{Address: a, Path: slices.Clone(r.path)})
}

func (r *resolver) end(f Final) error {
	if len(r.Finals)+len(r.Dead) >= MaxTargets {
		return r.fault(Wide)
	}
	r.Finals = append(r.Finals, f)
	return nil
}

func (r *resolver) die(address string, why *Refusal) error {
	if len(r.Finals)+len(r.Dead) >= MaxTargets {
		return r.fault(Wide)
	}
	r.Dead = append(r.Dead, Dead{Address: address, Refusal: why, Path: slices.Clone(r.path)})
	return nil
}

// Leads says whether the target of a mapping is an end, or leads to one. Errors: domain.NotFound when nobody is there, *Fault. Mappings of whole domains, expressions and refusals
// are not looked at.
func (t *Table) Leads(w World, m Mapping) error {
	a, err := delivery.ParseAddress(m.Target)
	if !addressed(m.Kind) || err != nil {
		return err
	}
	if m.Source == key(w, a) { // a kept copy
		return nil
	}
	r := &resolver{table: t, world: w, start: a.String(), seen: map[visit]bool{}, accounts: map[domain.AccountID]bool{}, remote: map[string]bool{}}
	if err := r.follow(a, "", false); err != nil {
		return err
	}
	if _, refused := r.Refusal(); len(r.Finals) == 0 && !refused {
		return domain.Errorf(domain.NotFound, "there is no mailbox %s", a)
	}
	return nil
}
