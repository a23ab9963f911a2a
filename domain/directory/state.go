// Package directory is the directory aggregate: which domains are local, which accounts exist, which addresses lead to them, and how their
// users prove who they are (RFC 5321, RFC 5802, RFC 6531).
//
// Decide(state, command) gives events or an error and changes nothing. State.Apply(tx, event) folds one event. Both are pure: identifiers
// and password verifiers arrive in the command.
//
// Invariants, for every state reached by folding a log:
//   - Every address lies in a local domain and leads to exactly one account, which lists it; an account lists at least one.
//   - An account's Login is its first address.
//   - An account's id is never used twice, not even after the account was erased.
//   - Only local domains have DKIM keys, and of each algorithm at most one that signs.
//   - An account has at most one replica on a node; they are in order of priority.
//   - Mappings begin in local domains, and none names an account that was erased. Without expressions of whole domains there is no loop of them, see package rewriting.
//   - Names are stored in the one spelling of NormalDomain and NormalAddress; those from before A-labels and U-labels were one name stay as they are.
package directory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/idn"
	"github.com/streampost/streampost/domain/rewriting"
)

// State is the directory as its log has made it up to Tx. Outside this package it is read only.
type State struct {
	Tx        domain.Tx
	Domains   map[string]int // how many addresses lie in each local domain
	Accounts  map[domain.AccountID]*Account
	Addresses map[string]domain.AccountID
	Erased    map[domain.AccountID]domain.Tx // accounts that were erased, and when

	Enrolments map[string]Enrolment // of accounts that will be added, by selector
	Mappings   *rewriting.Table     // of recipients
	DKIM       map[string][]DKIMKey // keys of local domains, the oldest first
}

// Account is one account.
type Account struct {
	ID        domain.AccountID
	Addresses []string // the first is the login name
	Disabled  bool     // logins are refused; mail is still accepted
	Shared    bool     // its mailboxes belong to a group
	Hash      string   // PHC string, or empty: no password opens the account
	Scram     event.ScramKeys
	Added     domain.Tx
	// AppPasswords are in the order in which they were added.
	AppPasswords []AppPassword
	// Placements are the account's replicas in the order in which they are promoted.
	Placements []Placement
}

// AppPassword is a password of one program, beside the account's own.
type AppPassword struct {
	Name      string   // unique in the account
	Hash      [32]byte // SHA-256 of the password, which is random
	Created   int64    // Unix seconds
	Expires   int64    // Unix seconds; 0: never
	Protocols []string // that it opens; none: all
}

// Opens reports whether the password is good for a protocol at a time in Unix seconds.
func (p *AppPassword) Opens(protocol string, now int64) bool {
	return (p.Expires == 0 || now < p.Expires) && (len(p.Protocols) == 0 || slices.Contains(p.Protocols, protocol))
}

// App finds an app password by name.
func (a *Account) App(name string) (AppPassword, bool) {
	if i := a.app(name); i >= 0 {
		return a.AppPasswords[i], true
	}
	return AppPassword{}, false
}

func (a *Account) app(name string) int {
	return slices.IndexFunc(a.AppPasswords, func(p AppPassword) bool { return p.Name == name })
}

// Login is the account's first address.
func (a *Account) Login() string { return a.Addresses[0] }

// New gives the state before the first transaction.
func New() *State {
	return &State{
		Domains:   map[string]int{},
		Accounts:  map[domain.AccountID]*Account{},
		Addresses: map[string]domain.AccountID{},
		Erased:    map[domain.AccountID]domain.Tx{},

		Enrolments: map[string]Enrolment{},
		Mappings:   rewriting.New(),
		DKIM:       map[string][]DKIMKey{},
	}
}

// Apply folds one event of transaction tx. Like account.State.Apply it panics on a fact that contradicts the state.
func (s *State) Apply(tx domain.Tx, e event.Event) {
	s.Tx = tx
	switch e := e.(type) {
	case *event.DomainAdded:
		if _, twice := s.Domains[e.Name]; twice {
			panic(fmt.Sprintf("domain %s is added twice", e.Name))
		}
		s.Domains[e.Name] = 0
	case *event.DomainRemoved:
		if s.Domains[e.Name] != 0 {
			panic(fmt.Sprintf("domain %s is removed with %d addresses in it", e.Name, s.Domains[e.Name]))
		}
		if n := s.Mappings.In(e.Name); n > 0 {
			panic(fmt.Sprintf("domain %s is removed with %d mappings that begin in it", e.Name, n))
		}
		delete(s.Domains, e.Name)
	case *event.AccountAdded:
		if s.Accounts[e.Account] != nil {
			panic(fmt.Sprintf("account %s is added twice", e.Account))
		}
		s.Accounts[e.Account] = &Account{ID: e.Account, Added: tx}
		s.link(e.Address, e.Account)
	case *event.AccountDisabled:
		s.account(e.Account).Disabled = e.Disabled
	case *event.AccountShared:
		s.account(e.Account).Shared = e.Shared
	case *event.AccountErased:
		for _, address := range slices.Clone(s.account(e.Account).Addresses) {
			s.unlink(address)
			s.Mappings.Drop(address)
		}
		delete(s.Accounts, e.Account)
		s.Erased[e.Account] = tx
	case *event.AddressAdded:
		s.link(e.Address, e.Account)
	case *event.AddressRemoved:
		if a, ok := s.ByAddress(e.Address); ok && a.Login() == e.Address {
			panic(fmt.Sprintf("login %s is removed before its account", e.Address))
		}
		s.unlink(e.Address)
	case *event.PasswordChanged:
		a := s.account(e.Account)
		a.Hash, a.Scram = e.Hash, e.Scram
	case *event.AppPasswordAdded:
		a := s.account(e.Account)
		if a.app(e.Name) >= 0 || len(e.Hash) != len(AppPassword{}.Hash) {
			panic(fmt.Sprintf("app password %q of account %s is malformed or added twice", e.Name, e.Account))
		}
		a.AppPasswords = append(a.AppPasswords, AppPassword{e.Name, [32]byte(e.Hash), e.Created, e.Expires, e.Protocols})
	case *event.AppPasswordRemoved:
		a := s.account(e.Account)
		i := a.app(e.Name)
		if i < 0 {
			panic(fmt.Sprintf("app password %q of account %s does not exist", e.Name, e.Account))
		}
		a.AppPasswords = slices.Delete(a.AppPasswords, i, i+1)
	case *event.ReplicaPlaced:
		s.account(e.Account).place(e.Node, e.Priority)
	case *event.ReplicaRemoved:
		a, i := s.placement(e.Account, e.Node)
		a.Placements = slices.Delete(a.Placements, i, i+1)
	case *event.ReplicaPaused:
		a, i := s.placement(e.Account, e.Node)
		a.Placements[i].Paused = e.Paused
	case *event.EnrolmentSet:
		s.Enrolments[e.Selector] = Enrolment{Keep: int(e.Keep), Destinations: e.Destinations}
	case *event.EnrolmentRemoved:
		if _, exists := s.Enrolments[e.Selector]; !exists {
			panic(fmt.Sprintf("new accounts of %q were given no replicas", e.Selector))
		}
		delete(s.Enrolments, e.Selector)
	case *event.MappingAdded:
		m := rewriting.Mapping(*e)
		if _, local := s.Domains[domainOf(m.Source)]; !local || s.Mappings.Has(m) {
			panic(fmt.Sprintf("mapping of %s to %s begins in a foreign domain or is added twice", m.Source, m.Target))
		}
		s.Mappings.Add(m)
	case *event.MappingRemoved:
		m := rewriting.Mapping(*e)
		if !s.Mappings.Has(m) {
			panic(fmt.Sprintf("mapping of %s to %s does not exist", m.Source, m.Target))
		}
		s.Mappings.Remove(m)
	default:
		if !s.applyDKIM(e) {
			panic(fmt.Sprintf("%s is not an event of the directory", event.Name(e)))
		}
	}
}

func (s *State) account(id domain.AccountID) *Account {
	a, ok := s.Accounts[id]
	if !ok {
		panic(fmt.Sprintf("account %s does not exist", id))
	}
	return a
}

// link makes a free address lead to an account.
func (s *State) link(address string, id domain.AccountID) {
	host := domainOf(address)
	if _, local := s.Domains[host]; !local {
		panic(fmt.Sprintf("address %s lies in a foreign domain", address))
	}
	if _, taken := s.Addresses[address]; taken {
		panic(fmt.Sprintf("address %s is added twice", address))
	}
	a := s.account(id)
	a.Addresses = append(a.Addresses, address)
	s.Addresses[address] = id
	s.Domains[host]++
}

// unlink frees an address.
func (s *State) unlink(address string) {
	id, ok := s.Addresses[address]
	if !ok {
		panic(fmt.Sprintf("address %s does not exist", address))
	}
	a := s.account(id)
	a.Addresses = slices.DeleteFunc(a.Addresses, func(x string) bool { return x == address })
	delete(s.Addresses, address)
	s.Domains[domainOf(address)]--
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// ByAddress finds the account that an address leads to, in either spelling of its domain. The local part is in its normal form.
func (s *State) ByAddress(address string) (*Account, bool) {
	a, ok := s.Accounts[s.Addresses[s.spelt(address)]]
	return a, ok
}

// spelt gives the spelling under which an address is stored. An address that is stored exactly as it is given comes first: logs from before the
// two spellings of a domain were one name may have both.
func (s *State) spelt(address string) string {
	at := strings.LastIndexByte(address, '@')
	for _, host := range idn.Spellings(address[at+1:]) {
		if stored := address[:at+1] + host; s.Addresses[stored] != "" {
			return stored
		}
	}
	return address
}

// Host gives the spelling under which a domain is stored, in the same order.
func (s *State) Host(name string) (stored string, local bool) {
	for _, host := range idn.Spellings(name) {
		if _, local := s.Domains[host]; local {
			return host, true
		}
	}
	return name, false
}

// Sorted gives the accounts in order of login.
func (s *State) Sorted() []*Account {
	all := make([]*Account, 0, len(s.Accounts))
	for _, a := range s.Accounts {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *Account) int { return strings.Compare(a.Login(), b.Login()) })
	return all
}

// First gives the oldest account with an address in a local domain; an empty name stands for any domain.
func (s *State) First(host string) (*Account, bool) {
	var first *Account
	for _, a := range s.Accounts {
		if host != "" && !slices.ContainsFunc(a.Addresses, func(x string) bool { return domainOf(x) == host }) {
			continue
		}
		if first == nil || cmp.Or(cmp.Compare(a.Added, first.Added), cmp.Compare(a.ID, first.ID)) < 0 {
			first = a
		}
	}
	return first, first != nil
}
