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
//   - Names are stored in the one spelling of NormalDomain and NormalAddress.
package directory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// State is the directory as its log has made it up to Tx. Outside this package it is read only.
type State struct {
	Tx        domain.Tx
	Domains   map[string]int // how many addresses lie in each local domain
	Accounts  map[domain.AccountID]*Account
	Addresses map[string]domain.AccountID
	Erased    map[domain.AccountID]domain.Tx // accounts that were erased, and when
}

// Account is one account.
type Account struct {
	ID        domain.AccountID
	Addresses []string // the first is the login name
	Disabled  bool     // logins are refused; mail is still accepted
	Hash      string   // PHC string, or empty: no password opens the account
	Scram     event.ScramKeys
	Added     domain.Tx
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
	}
}

// Apply folds one event of transaction tx. Like account.State.Apply it panics on a fact that contradicts the state.
func (s *State) Apply(tx domain.Tx, e event.Event) {
	s.Tx = tx
	switch e := e.(type) {
	case *event.DomainAdded:
		if s.local(e.Name) {
			panic(fmt.Sprintf("domain %s is added twice", e.Name))
		}
		s.Domains[e.Name] = 0
	case *event.DomainRemoved:
		if s.Domains[e.Name] != 0 {
			panic(fmt.Sprintf("domain %s is removed with %d addresses in it", e.Name, s.Domains[e.Name]))
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
	case *event.AccountErased:
		for _, address := range slices.Clone(s.account(e.Account).Addresses) {
			s.unlink(address)
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
	default:
		panic(fmt.Sprintf("%s is not an event of the directory", event.Name(e)))
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

// ByAddress finds the account that an address in its stored spelling leads to.
func (s *State) ByAddress(address string) (*Account, bool) {
	a, ok := s.Accounts[s.Addresses[address]]
	return a, ok
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
