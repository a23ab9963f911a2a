package webadmin

import (
	"context"
	"errors"
	"net/http"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// actor is what the log records as the author of changes made through this door.
const actor = "admin"

func (s *Server) domains(w http.ResponseWriter, r *http.Request) error {
	names, err := s.b.Directory.Domains(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(names))
	}
	return err
}

func (s *Server) addDomain(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.b.Directory.AddDomain(r.Context(), actor, r.PathValue("domain")))
}

func (s *Server) removeDomain(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.b.Directory.RemoveDomain(r.Context(), actor, r.PathValue("domain")))
}

func (s *Server) accounts(w http.ResponseWriter, r *http.Request) error {
	list, err := s.b.Directory.Accounts(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(list))
	}
	return err
}

// NewAccount is the body of POST /v1/accounts.
type NewAccount struct {
	Address  string `json:"address"`
	Password string `json:"password"`         // plain text or an importable hash; a shared account needs none
	Short    bool   `json:"short,omitempty"`  // take a password that is shorter than logins.min_password
	Shared   bool   `json:"shared,omitempty"` // its mailboxes belong to a group
}

func (s *Server) addAccount(w http.ResponseWriter, r *http.Request) error {
	var body NewAccount
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if body.Password != "" || !body.Shared {
		if err := s.checkPassword(body.Password, body.Short); err != nil {
			return err
		}
	}
	made, err := s.b.Directory.AddAccount(r.Context(), actor, body.Address, body.Password)
	if err == nil && body.Shared {
		made.Shared = true
		err = s.b.Directory.SetShared(r.Context(), actor, made.ID, true)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/accounts/"+string(made.ID))
	writeJSON(w, http.StatusCreated, made)
	return nil
}

// AccountDetails is an account with what is in it.
type AccountDetails struct {
	door.Account
	Tx domain.Tx `json:"tx"`
	// Primary is the node that the account's clients are sent to; empty before the first promotion, which are counted by Epoch.
	Primary   string    `json:"primary"`
	Epoch     uint64    `json:"epoch"`
	Usage     Quota     `json:"usage"`
	Limits    Quota     `json:"limits"` // 0 means none
	Mailboxes []Mailbox `json:"mailboxes"`
}

// Quota is a use or a limit.
type Quota struct {
	Bytes     int64 `json:"bytes"`
	Messages  int64 `json:"messages"`
	Mailboxes int64 `json:"mailboxes"`
}

func usageOf(s *account.State) Quota {
	return Quota{s.Usage.Bytes, s.Usage.Messages, int64(len(s.Mailboxes))}
}

// Mailbox is a mailbox as an operator sees it.
type Mailbox struct {
	Name        string     `json:"name"`
	SpecialUse  string     `json:"specialUse,omitempty"`
	Messages    int64      `json:"messages"`
	Unseen      int64      `json:"unseen"`
	Bytes       int64      `json:"bytes"`
	UIDValidity uint32     `json:"uidValidity"`
	UIDNext     domain.UID `json:"uidNext"`
	ModSeq      domain.Tx  `json:"highestModSeq"`
}

func (s *Server) showAccount(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	var details AccountDetails
	err = s.b.Accounts.View(r.Context(), found.ID, func(state *account.State) error {
		details = AccountDetails{
			Account:   found,
			Tx:        state.Tx,
			Primary:   state.Primary.Node,
			Epoch:     state.Primary.Epoch,
			Usage:     usageOf(state),
			Limits:    Quota(state.Limits),
			Mailboxes: mailboxesOf(state),
		}
		return nil
	})
	if err == nil {
		writeJSON(w, http.StatusOK, details)
	}
	return err
}

// Password is the body of PUT /v1/accounts/{account}/password.
type Password struct {
	Password string `json:"password"`
	Short    bool   `json:"short,omitempty"` // as in NewAccount
}

func (s *Server) setPassword(w http.ResponseWriter, r *http.Request) error {
	var body Password
	found, err := s.lookup(r)
	if err == nil {
		err = readJSON(r, &body)
	}
	if err == nil {
		err = s.checkPassword(body.Password, body.Short)
	}
	if err != nil {
		return err
	}
	return done(w, s.b.Directory.SetPassword(r.Context(), actor, found.ID, body.Password))
}

func (s *Server) checkPassword(password string, short bool) error {
	if password == "" {
		return domain.Errorf(domain.Invalid, "a password is needed")
	}
	if short {
		return nil
	}
	err := s.b.Directory.CheckPassword(password)
	var refused *domain.Error
	if errors.As(err, &refused) && refused.Hint == "" {
		hinted := *refused
		hinted.Hint = "choose a longer one; --short takes it nevertheless, and logins.min_password sets the length"
		return &hinted
	}
	return err
}

// Disabled is the body of PUT /v1/accounts/{account}/disabled.
type Disabled struct {
	Disabled bool `json:"disabled"`
}

func (s *Server) setDisabled(w http.ResponseWriter, r *http.Request) error {
	var body Disabled
	found, err := s.lookup(r)
	if err == nil {
		err = readJSON(r, &body)
	}
	if err != nil {
		return err
	}
	return done(w, s.b.Directory.SetDisabled(r.Context(), actor, found.ID, body.Disabled))
}

func (s *Server) setLimits(w http.ResponseWriter, r *http.Request) error {
	var body Quota
	found, err := s.lookup(r)
	if err == nil {
		err = readJSON(r, &body)
	}
	if err != nil {
		return err
	}
	_, err = s.b.Accounts.Do(r.Context(), found.ID, actor, account.SetLimits{Limits: account.Limits(body)})
	return done(w, err)
}

func (s *Server) eraseAccount(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	return done(w, s.b.Directory.Erase(r.Context(), actor, found.ID))
}

func (s *Server) lookup(r *http.Request) (door.Account, error) {
	return s.find(r.Context(), r.PathValue("account"))
}

// find gives an account by address or id. Who named none is told how to see all.
func (s *Server) find(ctx context.Context, name string) (door.Account, error) {
	found, err := s.b.Directory.Lookup(ctx, name)
	var known *domain.Error
	if errors.As(err, &known) && known.Kind == domain.NotFound && known.Hint == "" {
		hinted := *known
		hinted.Hint = "account list shows all"
		return found, &hinted
	}
	return found, err
}

// done answers 204 to what succeeded.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// notNil makes an empty list [] in JSON, not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
