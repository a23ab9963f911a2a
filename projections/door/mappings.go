package door

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
)

// world is the directory as mappings see it.
func (d *Directory) world(s *directory.State) directory.World {
	return directory.World{State: s, Master: d.postmaster}
}

// Resolve finds the account whose address, or whose alias, an address is. Groups and forwards are not followed, see Rewrite. detail is what follows "+" in the local part,
// for an address that does not exist with it.
//
// Every local domain has a postmaster (RFC 5321 section 4.5.1): where no such address exists, mail for it goes to Config.Postmaster if that
// exists, else to the oldest account of the domain, else to the oldest account. "postmaster" without a domain is accepted too.
//
// Errors: domain.NotFound for an unknown local part of a local domain (and for a foreign domain, see LocalDomain); domain.Invalid for what
// is no address; domain.Unavailable.
func (d *Directory) Resolve(ctx context.Context, address string) (id domain.AccountID, detail string, err error) {
	look := func() error {
		id, detail, err = d.Known(ctx, address)
		return err
	}
	err = d.again(ctx, look(), look)
	return id, detail, err
}

// Known is Resolve as far as this node knows: an address that another node has just made may be domain.NotFound. It asks nobody, so that what strangers write into messages may be looked up.
func (d *Directory) Known(ctx context.Context, address string) (id domain.AccountID, detail string, err error) {
	var a delivery.Address
	if !strings.EqualFold(address, directory.Postmaster) { // RFC 5321 section 4.1.1.3: RCPT TO:<Postmaster>.
		if a.Local, _, err = directory.SplitAddress(address); err != nil {
			return "", "", err
		}
		a.Domain = address[strings.LastIndexByte(address, '@')+1:]
	}
	err = d.view(ctx, func(s *directory.State) (err error) {
		id, detail, err = d.owner(s, a)
		return err
	})
	return id, detail, err
}

func (d *Directory) owner(s *directory.State, a delivery.Address) (id domain.AccountID, detail string, err error) {
	w := d.world(s)
	if a.IsNull() {
		if id, _, ok := w.Postmaster(""); ok {
			return id, "", nil
		}
	} else if found, ok := s.Mappings.Owner(w, a); ok {
		return found.Account, found.Detail, nil
	}
	return "", "", domain.Errorf(domain.NotFound, "there is no mailbox %s", a)
}

// Rewrite says where mail for an address goes, see package rewriting. The zero address is the postmaster without a domain. Errors: domain.NotFound when nobody takes
// it, *rewriting.Fault, domain.Unavailable.
//
// Where nobody has an address, somebody may have been added on another node: a catch-all, a refusal and whatever else stands in for an account is looked at again, as is NotFound.
func (d *Directory) Rewrite(ctx context.Context, a delivery.Address) (r *rewriting.Resolution, err error) {
	look := func() error {
		return d.view(ctx, func(s *directory.State) error {
			if a.IsNull() {
				id, login, ok := d.world(s).Postmaster("")
				if !ok {
					return domain.Errorf(domain.NotFound, "there is no postmaster")
				}
				to, err := delivery.ParseAddress(login)
				r = &rewriting.Resolution{Finals: []rewriting.Final{{Account: id, Address: to}}}
				return err
			}
			if r, err = s.Mappings.Resolve(d.world(s), a); err != nil {
				return err
			}
			if _, refused := r.Refusal(); len(r.Finals) == 0 && !refused {
				return domain.Errorf(domain.NotFound, "there is no mailbox %s", a)
			}
			return nil
		})
	}
	err = look()
	if _, loops := errors.AsType[*rewriting.Fault](err); d.setup.shared && (loops || err == nil && r.Open) {
		if err := fresh(ctx, d.ledger, true); err != nil {
			return nil, err
		}
		err = look()
		return r, err
	}
	err = d.again(ctx, err, look)
	return r, err
}

// ChangeMappings removes mappings and adds others, all or none, see directory.ChangeMappings.
func (d *Directory) ChangeMappings(ctx context.Context, actor string, c directory.ChangeMappings) error {
	return d.do(ctx, actor, c)
}

// MappingFilter says which mappings are meant. Empty fields do not matter.
type MappingFilter struct {
	Source string            // an address, or "@" and a domain
	Target string            // an address, or "@" and a domain
	Domain string            // of the source
	Kind   event.MappingKind // alias, group, ...
	After  rewriting.Mapping // only what comes behind it, in order of source, kind and target
	Limit  int               // the most to give; 0: all
}

// Mappings lists mappings in order of source, kind and target, and tells whether there are more.
func (d *Directory) Mappings(ctx context.Context, f MappingFilter) (list []rewriting.Mapping, more bool, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		host, _ := s.Host(f.Domain)
		take := func(m rewriting.Mapping) bool {
			return (f.Kind == "" || m.Kind == f.Kind) && (f.Domain == "" || strings.HasSuffix(m.Source, "@"+host)) && (f.After.Source == "" || m.Compare(f.After) > 0)
		}
		list, more = nil, false
		var all []rewriting.Mapping
		switch {
		case f.Source != "":
			source := s.Source(f.Source)
			all = rewriting.Select(s.Mappings.Of(source), func(m rewriting.Mapping) bool {
				return take(m) && (f.Target == "" || m.Key() == s.Target(f.Target))
			})
		case f.Target != "":
			all = rewriting.Select(s.Mappings.To(s.Target(f.Target)), take)
		default:
			most := 0
			if f.Limit > 0 {
				most = f.Limit + 1 // One more tells that there are more.
			}
			all = s.Mappings.First(most, take)
		}
		if f.Limit > 0 && len(all) > f.Limit {
			all, more = all[:f.Limit], true
		}
		list = all
		return nil
	})
	return list, more, err
}

// AddressesOf gives the addresses under which an account may send, in order: its own, their aliases, and all of these in domains that stand for theirs. Error:
// domain.NotFound.
func (d *Directory) AddressesOf(ctx context.Context, id domain.AccountID) (names []string, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		a, ok := s.Accounts[id]
		if !ok {
			return domain.Errorf(domain.NotFound, "account %s does not exist", id)
		}
		seen := map[string]bool{}
		for open := slices.Clone(a.Addresses); len(open) > 0; open = open[1:] {
			name := open[0]
			if seen[name] {
				continue
			}
			seen[name] = true
			for _, m := range s.Mappings.To(name) {
				if m.Kind == event.Alias {
					open = append(open, m.Source)
				}
			}
			at := strings.LastIndexByte(name, '@')
			for _, m := range s.Mappings.To(name[at:]) {
				if m.Kind == event.DomainAlias {
					open = append(open, name[:at]+m.Source)
				}
			}
		}
		w := d.world(s)
		names = names[:0]
		for _, name := range slices.Sorted(maps.Keys(seen)) { // Something that comes first may hide an alias.
			address, err := delivery.ParseAddress(name)
			if err != nil {
				return err
			}
			if f, ok := s.Mappings.Owner(w, address); ok && f.Account == id {
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

// Astray is a mapping that leads nowhere, and why.
type Astray struct {
	rewriting.Mapping
	Why error
}

// AstrayMappings looks for mappings that lead nowhere, until ctx ends, and tells how many it has looked at.
func (d *Directory) AstrayMappings(ctx context.Context) (astray []Astray, looked int, err error) {
	all, _, err := d.Mappings(ctx, MappingFilter{})
	if err != nil {
		return nil, 0, err
	}
	for some := range slices.Chunk(all, 1000) { // Others want the directory as well.
		if ctx.Err() != nil {
			break
		}
		var found []Astray
		if err := d.view(ctx, func(s *directory.State) error {
			found = nil
			for _, m := range some {
				if why := s.Mappings.Leads(d.world(s), m); why != nil && s.Mappings.Has(m) {
					found = append(found, Astray{m, why})
				}
			}
			return nil
		}); err != nil {
			return astray, looked, err
		}
		astray, looked = append(astray, found...), looked+len(some)
	}
	return astray, looked, nil
}
