package door

import (
	"context"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/sieve"
	"github.com/streampost/streampost/streams"
)

// scripts gives an account's Sieve scripts as they were at a position of its log. Rows that are not there, late or further than that are passed over: the
// log has them all.
func (a *Accounts) scripts(ctx context.Context, id domain.AccountID, at streams.Position) (account.Scripts, error) {
	waiting, cancel := context.WithTimeout(ctx, a.setup.limits.LoadPatience)
	defer cancel()
	found, tx, err := a.views.Scripts(waiting, id, at.Seq)
	if err == nil && tx <= at.Tx {
		return found, nil
	}
	if ctx.Err() != nil {
		return account.Scripts{}, classify(ctx.Err(), "load the account's scripts")
	}
	return a.foldScripts(ctx, id, at.Tx)
}

func (a *Accounts) foldScripts(ctx context.Context, id domain.AccountID, upTo domain.Tx) (s account.Scripts, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = domain.Wrap(domain.Corrupt, fmt.Errorf("account %s: %v", id, r), "the account's log contradicts itself")
		}
	}()
	for e, err := range a.log.ReadAccount(ctx, id, 0) {
		switch {
		case err != nil:
			return s, classify(err, "read the account's log")
		case e.Transaction == nil:
			return s, errErased(id)
		case e.Tx > upTo:
			return s, nil
		}
		for _, fact := range e.Transaction.Events {
			s.Apply(fact)
		}
	}
	return s, nil
}

// PutScript checks a Sieve script and stores it (RFC 5804 section 2.6). A script that does not compile is a *sieve.Error and is not stored. Other errors:
// those of Do, with the limits of account.Scripts.Room.
func (a *Accounts) PutScript(ctx context.Context, id domain.AccountID, actor, name, content string) ([]sieve.Warning, error) {
	script, err := sieve.Compile(content)
	if err != nil {
		return nil, err
	}
	_, err = a.Do(ctx, id, actor, account.PutScript{Name: name, Content: content})
	return script.Warnings, err
}

// Scripts gives an account's scripts. The caller must not change them.
func (a *Accounts) Scripts(ctx context.Context, id domain.AccountID) (s account.Scripts, err error) {
	err = a.View(ctx, id, func(state *account.State) error {
		s = state.Scripts.Clone()
		return nil
	})
	return s, err
}
