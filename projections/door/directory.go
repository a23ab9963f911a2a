package door

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/idn"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/door/credential"
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
	guesses    *guesses
	rumours    rumours
	present    presence
	apps       appUse
	erasures   erasures
	shortest   int // characters of a password that somebody chose
	// local is the last durable set of local domains. It outlives a state that has to be loaded again, because "not local" is a permanent
	// refusal and must not be said for want of knowledge.
	local atomic.Pointer[map[string]bool]
	// oldScram says that SCRAM-SHA-1 keys were imported, see HasScram. It stays set until the directory is loaded again.
	oldScram atomic.Bool
}

func newDirectory(ctx context.Context, c Config, s *setup, a *Accounts) (*Directory, error) {
	d := &Directory{log: c.Log, views: c.Views, accounts: a, setup: s, limits: c.NewAccount, shortest: c.MinPassword, erasures: newErasures()}
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
	d.guesses, d.rumours.gossip = newGuesses(c.Guessing), c.Gossip
	d.present = presence{clock: c.Clock, limits: c.Sessions, here: map[domain.AccountID]map[*login]struct{}{}}
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
	if c.Gossip != nil {
		if err := c.Gossip.Hear(d.hear); err != nil {
			return nil, err
		}
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

// settled keeps the set of local domains, and ends sessions that have lost their ground.
func (d *Directory) settled(s *directory.State, _ streams.Position, events []event.Event) {
	d.present.settled(s, events)
	if events == nil {
		d.erasures.heard()
		fresh := make(map[string]bool, len(s.Domains))
		for name := range s.Domains {
			fresh[name] = true
		}
		d.local.Store(&fresh)
		for _, a := range s.Accounts {
			d.noteScram(a.Hash)
		}
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
		case *event.PasswordChanged:
			d.noteScram(e.Hash)
		case *event.AppPasswordRemoved:
			d.apps.forget(e.Account, e.Name)
		case *event.AccountErased:
			d.apps.forget(e.Account, "")
			d.log.Forget(e.Account)
			d.erasures.heard()
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
	local := *d.local.Load()
	return slices.ContainsFunc(idn.Spellings(name), func(host string) bool { return local[host] })
}

// Account is what the directory knows of one account.
type Account struct {
	ID        domain.AccountID `json:"id"`
	Login     string           `json:"login"`
	Addresses []string         `json:"addresses"`
	Disabled  bool             `json:"disabled"`
	Shared    bool             `json:"shared"` // its mailboxes belong to a group
}

func describe(a *directory.Account) Account {
	return Account{ID: a.ID, Login: a.Login(), Addresses: slices.Clone(a.Addresses), Disabled: a.Disabled, Shared: a.Shared}
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

// CheckPassword says whether a password that somebody chose is long enough. Length in characters is the one rule, as NIST SP 800-63B section
// 5.1.1.2 has it; hashes to import say nothing about it. AddAccount and SetPassword themselves take what they are given. Errors: domain.Invalid.
func (d *Directory) CheckPassword(password string) error {
	if _, hash, _ := credential.Import(password); hash || utf8.RuneCountInString(password) >= d.shortest {
		return nil
	}
	return domain.Errorf(domain.Invalid, "the password has %d characters and needs %d or more", utf8.RuneCountInString(password), d.shortest)
}

// SetPassword replaces the password, given as in AddAccount, and ends the account's sessions, see Enter.
func (d *Directory) SetPassword(ctx context.Context, actor string, id domain.AccountID, password string) error {
	hash, scram, err := d.logins.verifiers(ctx, password)
	if err != nil {
		return err
	}
	return d.do(ctx, actor, directory.SetPassword{ID: id, Hash: hash, Scram: scram})
}

// SetDisabled stops or allows logins, and ends the sessions of an account that it disables, see Enter.
func (d *Directory) SetDisabled(ctx context.Context, actor string, id domain.AccountID, disabled bool) error {
	return d.do(ctx, actor, directory.SetDisabled{ID: id, Disabled: disabled})
}

// SetShared says whether an account's mailboxes belong to a group rather than to a user, and so in which namespace others see them.
func (d *Directory) SetShared(ctx context.Context, actor string, id domain.AccountID, shared bool) error {
	return d.do(ctx, actor, directory.SetShared{ID: id, Shared: shared})
}

// Erase removes the account for ever: first from the directory, so that nothing new reaches it, then its key, so that nothing can be read,
// then what is in memory and in the views. Calling it again finishes what was interrupted.
func (d *Directory) Erase(ctx context.Context, actor string, id domain.AccountID) error {
	if err := d.do(ctx, actor, directory.Erase{ID: id}); err != nil {
		return err
	}
	return d.erasures.follow(ctx, d, id)
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
			found, err := s.Find(name)
			a, ok = found, err == nil
		}
		if !ok {
			return domain.Errorf(domain.NotFound, "account %q does not exist", name)
		}
		found = describe(a)
		return nil
	})
	return found, err
}
