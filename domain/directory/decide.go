package directory

import (
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/idn"
)

// Limits of the directory.
const (
	MaxDomains   = 100_000
	MaxAddresses = 1_000 // of one account
	maxHash      = 1_024 // octets of a password verifier
)

// Command is a wish to change the directory. Decide turns it into events, or into the error that the operator gets.
type Command interface {
	decide(s *State) ([]event.Event, error)
}

// Decide is the only way from a wish to facts. It changes nothing; no events and no error mean that there is nothing to do.
func Decide(s *State, c Command) ([]event.Event, error) { return c.decide(s) }

// AddDomain makes a domain local.
type AddDomain struct{ Name string }

func (c AddDomain) decide(s *State) ([]event.Event, error) {
	name, err := NormalDomain(c.Name)
	if err != nil {
		return nil, err
	}
	if numeric(name) {
		return nil, domain.Errorf(domain.Invalid, "%s is not a domain name: its last label is a number, as in an IP address", name)
	}
	if stored, exists := s.Host(name); exists {
		return nil, domain.Errorf(domain.Exists, "domain %s is local already", stored)
	}
	if !idn.Valid(name) {
		return nil, domain.Errorf(domain.Invalid, "%s cannot be registered as a domain: a label has no valid A-label (RFC 5891)", name)
	}
	if len(s.Domains) >= MaxDomains {
		return nil, domain.Errorf(domain.TooLarge, "there are at most %d local domains", MaxDomains)
	}
	return []event.Event{&event.DomainAdded{Name: name}}, nil
}

// RemoveDomain makes a domain foreign again. Addresses in it have to go first, so that no mail is lost by accident.
type RemoveDomain struct{ Name string }

func (c RemoveDomain) decide(s *State) ([]event.Event, error) {
	if _, err := NormalDomain(c.Name); err != nil {
		return nil, err
	}
	name, exists := s.Host(c.Name)
	n := s.Domains[name]
	switch {
	case !exists:
		return nil, domain.Errorf(domain.NotFound, "domain %s is not local", name)
	case n > 0:
		return nil, domain.Errorf(domain.Exists, "domain %s is in use by %d addresses", name, n)
	}
	if n := s.Mappings.In(name); n > 0 {
		return nil, &domain.Error{Kind: domain.Exists, Msg: fmt.Sprintf("domain %s is in use by %d mappings", name, n), Hint: "mapping list --domain " + name + " shows them"}
	}
	for _, m := range s.Mappings.To("@" + name) {
		if m.Kind == event.DomainAlias {
			return nil, domain.Errorf(domain.Exists, "domain %s is in use: %s stands for it", name, m.Source[1:])
		}
	}
	var events []event.Event
	for _, k := range s.DKIM[name] {
		events = append(events, &event.DKIMKeyRemoved{Domain: name, Selector: k.Selector})
	}
	events = append(events, &event.DomainRemoved{Name: name})
	if selector := DomainSelector(name); s.Enrolments[selector].Destinations != nil {
		events = append(events, &event.EnrolmentRemoved{Selector: selector})
	}
	return events, nil
}

// AddAccount registers an account under its first address. The account's own log is open already.
type AddAccount struct {
	ID      domain.AccountID
	Address string
	Hash    string // PHC string; empty: no password opens the account
	Scram   event.ScramKeys
}

func (c AddAccount) decide(s *State) ([]event.Event, error) {
	address, err := s.free(c.Address)
	if err != nil {
		return nil, err
	}
	if id, err := domain.ParseAccountID(string(c.ID)); err != nil || id.Pseudo() {
		return nil, domain.Errorf(domain.Invalid, "%q cannot be an account's id", c.ID)
	}
	_, erased := s.Erased[c.ID]
	if _, exists := s.Accounts[c.ID]; exists || erased {
		return nil, domain.Errorf(domain.Exists, "account %s exists or existed", c.ID)
	}
	if err := checkVerifiers(c.Hash, c.Scram); err != nil {
		return nil, err
	}
	events := []event.Event{&event.AccountAdded{Account: c.ID, Address: address}}
	if c.Hash != "" {
		events = append(events, &event.PasswordChanged{Account: c.ID, Hash: c.Hash, Scram: c.Scram})
	}
	return append(events, s.enrol(c.ID, address)...), nil
}

// free says whether an address can be given to an account, and how it is spelt.
func (s *State) free(raw string) (string, error) {
	address, err := NormalAddress(raw)
	if err != nil {
		return "", err
	}
	host, local := s.Host(domainOf(raw))
	if !local {
		return "", domain.Errorf(domain.NotFound, "domain %s is not local: add it first", domainOf(address))
	}
	if _, taken := s.ByAddress(address); taken {
		return "", domain.Errorf(domain.Exists, "address %s is taken", address)
	}
	address = address[:len(address)-len(domainOf(address))] + host
	for _, m := range s.Mappings.Of(address) {
		if m.Kind == event.Alias || m.Kind == event.Group {
			return "", domain.Errorf(domain.Exists, "address %s is taken: it is a %s of %s", address, m.Kind, m.Target)
		}
	}
	return address, nil
}

func checkVerifiers(hash string, keys event.ScramKeys) error {
	if len(hash) > maxHash {
		return domain.Errorf(domain.TooLarge, "a password hash has at most %d octets", maxHash)
	}
	// RFC 7677 section 4: at least 4096 iterations. SHA-256 makes every key 32 octets long.
	if keys.Iterations != 0 && (keys.Iterations < 4096 || len(keys.Salt) == 0 || len(keys.StoredKey) != 32 || len(keys.ServerKey) != 32) {
		return domain.Errorf(domain.Invalid, "the SCRAM-SHA-256 keys are malformed")
	}
	return nil
}

// find gives an account or the reason why there is none.
func (s *State) find(id domain.AccountID) (*Account, error) {
	if a, ok := s.Accounts[id]; ok {
		return a, nil
	}
	if _, erased := s.Erased[id]; erased {
		return nil, domain.Errorf(domain.Erased, "account %s was erased", id)
	}
	return nil, domain.Errorf(domain.NotFound, "account %s does not exist", id)
}

// AddAddress makes one more address lead to an account.
type AddAddress struct {
	ID      domain.AccountID
	Address string
}

func (c AddAddress) decide(s *State) ([]event.Event, error) {
	a, err := s.find(c.ID)
	if err != nil {
		return nil, err
	}
	address, err := s.free(c.Address)
	if err != nil {
		return nil, err
	}
	if len(a.Addresses) >= MaxAddresses {
		return nil, domain.Errorf(domain.TooLarge, "an account has at most %d addresses", MaxAddresses)
	}
	return []event.Event{&event.AddressAdded{Address: address, Account: a.ID}}, nil
}

// RemoveAddress frees an address. The login address stays as long as the account.
type RemoveAddress struct{ Address string }

func (c RemoveAddress) decide(s *State) ([]event.Event, error) {
	address, err := s.address(c.Address)
	if err != nil {
		return nil, err
	}
	a, ok := s.ByAddress(address)
	switch {
	case !ok:
		return nil, domain.Errorf(domain.NotFound, "address %s does not exist", address)
	case a.Login() == address:
		return nil, domain.Errorf(domain.Invalid, "%s is the login of account %s and stays as long as the account", address, a.ID)
	case len(s.Mappings.Of(address)) > 0:
		return nil, domain.Errorf(domain.Exists, "mail for %s is sent on: remove these mappings first", address)
	}
	return []event.Event{&event.AddressRemoved{Address: address}}, nil
}

// address gives the stored spelling of an address as it was written.
func (s *State) address(raw string) (string, error) {
	address, err := NormalAddress(raw)
	if err != nil {
		return "", err
	}
	return s.spelt(address[:len(address)-len(domainOf(address))] + domainOf(raw)), nil
}

// Find finds the account of an address as it was written. Errors: domain.Invalid, domain.NotFound.
func (s *State) Find(raw string) (*Account, error) {
	address, err := s.address(raw)
	if err != nil {
		return nil, err
	}
	if a, ok := s.ByAddress(address); ok {
		return a, nil
	}
	return nil, domain.Errorf(domain.NotFound, "address %s does not exist", raw)
}

// SetPassword replaces an account's verifiers.
type SetPassword struct {
	ID    domain.AccountID
	Hash  string // PHC string; empty: no password opens the account
	Scram event.ScramKeys
}

func (c SetPassword) decide(s *State) ([]event.Event, error) {
	if _, err := s.find(c.ID); err != nil {
		return nil, err
	}
	if err := checkVerifiers(c.Hash, c.Scram); err != nil {
		return nil, err
	}
	return []event.Event{&event.PasswordChanged{Account: c.ID, Hash: c.Hash, Scram: c.Scram}}, nil
}

// SetDisabled stops or allows logins.
type SetDisabled struct {
	ID       domain.AccountID
	Disabled bool
}

func (c SetDisabled) decide(s *State) ([]event.Event, error) {
	a, err := s.find(c.ID)
	if err != nil || a.Disabled == c.Disabled {
		return nil, err
	}
	return []event.Event{&event.AccountDisabled{Account: c.ID, Disabled: c.Disabled}}, nil
}

// SetShared says whether an account's mailboxes belong to a group.
type SetShared struct {
	ID     domain.AccountID
	Shared bool
}

func (c SetShared) decide(s *State) ([]event.Event, error) {
	a, err := s.find(c.ID)
	if err != nil || a.Shared == c.Shared {
		return nil, err
	}
	return []event.Event{&event.AccountShared{Account: c.ID, Shared: c.Shared}}, nil
}

// Erase removes an account with its addresses. Erasing it again is nothing to do, so that an interrupted erasure can be finished.
type Erase struct{ ID domain.AccountID }

func (c Erase) decide(s *State) ([]event.Event, error) {
	_, err := s.find(c.ID)
	if domain.Is(err, domain.Erased) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []event.Event{&event.AccountErased{Account: c.ID}}, nil
}
