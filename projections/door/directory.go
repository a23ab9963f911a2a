package door

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Directory is the door to domains, accounts, addresses and credentials. Its state is always in memory: a few hundred octets an account.
type Directory struct {
	log        Log
	views      Views
	accounts   *Accounts
	setup      *setup
	ledger     *ledger[*directory.State]
	limits     account.Limits // of new accounts
	postmaster string
	logins     *logins
	// local is the last durable set of local domains. It outlives a state that has to be loaded again, because "not local" is a permanent
	// refusal and must not be said for want of knowledge.
	local atomic.Pointer[map[string]bool]
}

func newDirectory(ctx context.Context, c Config, s *setup, a *Accounts) (*Directory, error) {
	d := &Directory{log: c.Log, views: c.Views, accounts: a, setup: s, limits: c.NewAccount}
	if c.Postmaster != "" {
		address, err := directory.NormalAddress(c.Postmaster)
		if err != nil {
			return nil, err
		}
		d.postmaster = address
	}
	secret := c.Secret
	if len(secret) == 0 {
		secret = make([]byte, 32)
		if _, err := io.ReadFull(rand.Reader, secret); err != nil {
			return nil, domain.Wrap(domain.Internal, err, "draw a secret")
		}
	}
	d.logins = newLogins(c.Limits, c.Clock, c.Random, secret)
	d.ledger = newLedger(domain.DirectoryID, c.Log, kind[*directory.State]{
		load:    d.load,
		fold:    (*directory.State).Apply,
		weigh:   func(*directory.State) int64 { return 1 },
		settled: d.settled,
	}, s)
	if err := c.Log.Create(ctx, domain.DirectoryID); err != nil && !domain.Is(err, domain.Exists) {
		return nil, classify(err, "create the directory's log")
	}
	if err := d.view(ctx, func(*directory.State) error { return nil }); err != nil {
		return nil, classify(err, "read the directory")
	}
	return d, nil
}

// load folds the directory's log.
func (d *Directory) load(ctx context.Context, id domain.AccountID) (state *directory.State, at streams.Position, err error) {
	state = directory.New()
	for e, err := range d.log.ReadAccount(ctx, id, 0) {
		if err != nil {
			return nil, at, classify(err, "read the directory's log")
		}
		if err := projections.Link(at, &e); err != nil {
			return nil, at, err
		}
		if err := foldEntry(state, &e); err != nil {
			return nil, at, err
		}
		at = e.Position()
	}
	return state, at, nil
}

func foldEntry(state *directory.State, e *streams.Entry) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = domain.Wrap(domain.Corrupt, fmt.Errorf("transaction %d, position %d: %v", e.Tx, e.Seq, r), "the directory's log contradicts itself")
		}
	}()
	if e.Transaction == nil {
		return domain.Errorf(domain.Corrupt, "the directory's key is gone: Tx %d cannot be read", e.Tx)
	}
	for _, fact := range e.Transaction.Events {
		state.Apply(e.Tx, fact)
	}
	return nil
}

// settled keeps the set of local domains.
func (d *Directory) settled(s *directory.State, _ streams.Position, events []event.Event) {
	if events == nil {
		fresh := make(map[string]bool, len(s.Domains))
		for name := range s.Domains {
			fresh[name] = true
		}
		d.local.Store(&fresh)
		return
	}
	for _, e := range events {
		switch e := e.(type) {
		case *event.DomainAdded:
			next := maps.Clone(*d.local.Load())
			next[e.Name] = true
			d.local.Store(&next)
		case *event.DomainRemoved:
			next := maps.Clone(*d.local.Load())
			delete(next, e.Name)
			d.local.Store(&next)
		}
	}
}

func (d *Directory) view(ctx context.Context, f func(*directory.State) error) error {
	return d.ledger.view(ctx, f)
}

func (d *Directory) do(ctx context.Context, actor string, c directory.Command) error {
	_, err := d.ledger.do(ctx, actor, func(s *directory.State) ([]event.Event, error) { return directory.Decide(s, c) })
	return err
}

// hasErased reports whether an account is known to have been erased.
func (d *Directory) hasErased(id domain.AccountID) bool {
	d.ledger.mu.RLock()
	defer d.ledger.mu.RUnlock()
	if !d.ledger.loaded {
		return false
	}
	_, erased := d.ledger.state.Erased[id]
	return erased
}

// LocalDomain reports whether mail for the domain belongs here. It answers at once, from what was last known to be durable.
func (d *Directory) LocalDomain(name string) bool {
	normal, err := directory.NormalDomain(name)
	return err == nil && (*d.local.Load())[normal]
}

// Resolve finds the account that takes mail for an address. detail is what follows "+" in the local part, for an address that does not exist
// with it.
//
// Every local domain has a postmaster (RFC 5321 section 4.5.1): where no such address exists, mail for it goes to Config.Postmaster if that
// exists, else to the oldest account of the domain, else to the oldest account. "postmaster" without a domain is accepted too.
//
// Errors: domain.NotFound for an unknown local part of a local domain (and for a foreign domain, see LocalDomain); domain.Invalid for what
// is no address; domain.Unavailable.
func (d *Directory) Resolve(ctx context.Context, address string) (id domain.AccountID, detail string, err error) {
	local, host, err := directory.Postmaster, "", error(nil)
	if !strings.EqualFold(address, directory.Postmaster) { // RFC 5321 section 4.1.1.3: RCPT TO:<Postmaster>.
		if local, host, err = directory.SplitAddress(address); err != nil {
			return "", "", err
		}
	}
	err = d.view(ctx, func(s *directory.State) error {
		var a *directory.Account
		a, detail = d.resolve(s, local, host)
		if a == nil {
			return domain.Errorf(domain.NotFound, "there is no mailbox %s", address)
		}
		id = a.ID
		return nil
	})
	return id, detail, err
}

func (d *Directory) resolve(s *directory.State, local, host string) (*directory.Account, string) {
	if _, ok := s.Domains[host]; !ok && host != "" {
		return nil, ""
	}
	if a, ok := s.ByAddress(local + "@" + host); ok {
		return a, ""
	}
	user, detail, _ := strings.Cut(local, "+") // RFC 5233 section 1 names the parts.
	if a, ok := s.ByAddress(user + "@" + host); ok {
		return a, detail
	}
	if user != directory.Postmaster {
		return nil, ""
	}
	if a, ok := s.ByAddress(d.postmaster); ok {
		return a, ""
	}
	if a, ok := s.First(host); ok {
		return a, ""
	}
	a, _ := s.First("")
	return a, ""
}

// Account is what the directory knows of one account.
type Account struct {
	ID        domain.AccountID `json:"id"`
	Login     string           `json:"login"`
	Addresses []string         `json:"addresses"`
	Disabled  bool             `json:"disabled"`
}

func describe(a *directory.Account) Account {
	return Account{ID: a.ID, Login: a.Login(), Addresses: slices.Clone(a.Addresses), Disabled: a.Disabled}
}

// AddDomain makes a domain local. Errors: domain.Exists, domain.Invalid.
func (d *Directory) AddDomain(ctx context.Context, actor, name string) error {
	return d.do(ctx, actor, directory.AddDomain{Name: name})
}

// RemoveDomain makes a domain foreign. Addresses in it must be gone, otherwise domain.Exists.
func (d *Directory) RemoveDomain(ctx context.Context, actor, name string) error {
	return d.do(ctx, actor, directory.RemoveDomain{Name: name})
}

// Domains lists local domains in order.
func (d *Directory) Domains(ctx context.Context) (names []string, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		names = slices.Sorted(maps.Keys(s.Domains))
		return nil
	})
	return names, err
}

// AddAccount creates an account with its first address and opens its mailboxes. The password may be plain text or an importable hash, see
// package credential; an empty one makes an account that no password opens.
//
// The account's key and its mailboxes come first and the directory's fact last. Whatever stops AddAccount in between leaves a log that
// nothing refers to, and no account; calling it again starts with a new id.
func (d *Directory) AddAccount(ctx context.Context, actor, address, password string) (Account, error) {
	c := directory.AddAccount{Address: address}
	var raw [10]byte
	if _, err := io.ReadFull(d.setup.random, raw[:]); err != nil {
		return Account{}, domain.Wrap(domain.Internal, err, "draw an account id")
	}
	c.ID = domain.NewAccountID(raw)
	// A refusal that can be foreseen leaves nothing behind.
	if err := d.view(ctx, func(s *directory.State) error { _, err := directory.Decide(s, c); return err }); err != nil {
		return Account{}, err
	}
	var err error
	if c.Hash, c.Scram, err = d.logins.verifiers(ctx, password); err != nil {
		return Account{}, err
	}
	if err := d.log.Create(ctx, c.ID); err != nil {
		return Account{}, classify(err, "create the account's key")
	}
	if _, err := d.accounts.Do(ctx, c.ID, actor, account.Open{UIDValidity: d.setup.unixTime(), Limits: d.limits}); err != nil {
		return Account{}, err
	}
	if err := d.do(ctx, actor, c); err != nil {
		switch domain.KindOf(err) {
		case domain.Unavailable, domain.Internal, domain.Corrupt: // The account may exist.
		default: // Somebody else was faster, with the address or by removing the domain. Nobody will ever use this log.
			d.abandon(context.WithoutCancel(ctx), c.ID)
		}
		return Account{}, err
	}
	return d.Lookup(ctx, string(c.ID))
}

// abandon destroys the key of an account that did not come about.
func (d *Directory) abandon(ctx context.Context, id domain.AccountID) {
	ctx, cancel := context.WithTimeout(ctx, d.setup.limits.AppendTimeout)
	defer cancel()
	if err := d.log.Erase(ctx, id); err != nil {
		d.setup.logger.Warn("the key of an account that was not added is left behind", "account", id, "error", err)
	}
	d.accounts.forget(id)
}

// AddAddress makes one more address deliver to an account. Errors: domain.Exists, domain.NotFound, domain.Invalid.
func (d *Directory) AddAddress(ctx context.Context, actor string, id domain.AccountID, address string) error {
	return d.do(ctx, actor, directory.AddAddress{ID: id, Address: address})
}

// RemoveAddress frees an address that is not a login. Errors: domain.NotFound, domain.Invalid.
func (d *Directory) RemoveAddress(ctx context.Context, actor, address string) error {
	return d.do(ctx, actor, directory.RemoveAddress{Address: address})
}

// SetPassword replaces the password, given as in AddAccount.
func (d *Directory) SetPassword(ctx context.Context, actor string, id domain.AccountID, password string) error {
	hash, scram, err := d.logins.verifiers(ctx, password)
	if err != nil {
		return err
	}
	return d.do(ctx, actor, directory.SetPassword{ID: id, Hash: hash, Scram: scram})
}

// SetDisabled stops or allows logins. Sessions that are logged in stay.
func (d *Directory) SetDisabled(ctx context.Context, actor string, id domain.AccountID, disabled bool) error {
	return d.do(ctx, actor, directory.SetDisabled{ID: id, Disabled: disabled})
}

// Erase removes the account for ever: first from the directory, so that nothing new reaches it, then its key, so that nothing can be read,
// then what is in memory and in the views. Calling it again finishes what was interrupted.
func (d *Directory) Erase(ctx context.Context, actor string, id domain.AccountID) error {
	if err := d.do(ctx, actor, directory.Erase{ID: id}); err != nil {
		return err
	}
	return d.destroy(ctx, id)
}

func (d *Directory) destroy(ctx context.Context, id domain.AccountID) error {
	if err := d.log.Erase(ctx, id); err != nil && !domain.Is(err, domain.Erased) {
		return classify(err, "destroy the account's key")
	}
	d.accounts.forget(id)
	return classifyNil(d.views.Drop(ctx, id), "remove the account's rows")
}

// FinishErasures repeats what Erase does after its first step for every account that was ever erased, and counts them. It serves the start
// after a crash: the order to erase is in the log, so it is carried out whatever happened in between.
func (d *Directory) FinishErasures(ctx context.Context) (int, error) {
	var erased []domain.AccountID
	err := d.view(ctx, func(s *directory.State) error {
		erased = slices.Sorted(maps.Keys(s.Erased))
		return nil
	})
	for n, id := range erased {
		if err := d.destroy(ctx, id); err != nil {
			return n, err
		}
	}
	return len(erased), err
}

// Accounts lists all accounts in order of login.
func (d *Directory) Accounts(ctx context.Context) (all []Account, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		all = all[:0]
		for _, a := range s.Sorted() {
			all = append(all, describe(a))
		}
		return nil
	})
	return all, err
}

// Lookup finds an account by id or address. Errors: domain.NotFound, domain.Erased.
func (d *Directory) Lookup(ctx context.Context, name string) (found Account, err error) {
	err = d.view(ctx, func(s *directory.State) error {
		id := domain.AccountID(name)
		a, ok := s.Accounts[id]
		if !ok {
			if _, erased := s.Erased[id]; erased {
				return errErased(id)
			}
			if address, err := directory.NormalAddress(name); err == nil {
				a, ok = s.ByAddress(address)
			}
		}
		if !ok {
			return domain.Errorf(domain.NotFound, "account %q does not exist", name)
		}
		found = describe(a)
		return nil
	})
	return found, err
}
