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
	Password string `json:"password"` // plain text or an importable hash
}

func (s *Server) addAccount(w http.ResponseWriter, r *http.Request) error {
	var body NewAccount
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if body.Password == "" {
		return domain.Errorf(domain.Invalid, "a password is needed")
	}
	made, err := s.b.Directory.AddAccount(r.Context(), actor, body.Address, body.Password)
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
	Tx        domain.Tx `json:"tx"`
	Usage     Quota     `json:"usage"`
	Limits    Quota     `json:"limits"` // 0 means none
	Mailboxes []Mailbox `json:"mailboxes"`
}

// Quota is a use or a limit.
type Quota struct {
	Bytes    int64 `json:"bytes"`
	Messages int64 `json:"messages"`
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
			Usage:     Quota{state.Usage.Bytes, state.Usage.Messages},
			Limits:    Quota{state.Limits.Bytes, state.Limits.Messages},
			Mailboxes: []Mailbox{},
		}
		for _, m := range state.Sorted() {
			details.Mailboxes = append(details.Mailboxes, Mailbox{m.Name, m.SpecialUse, m.Counts.Messages, m.Counts.Unseen, m.Counts.Bytes, m.UIDValidity, m.UIDNext, m.ModSeq})
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
}

func (s *Server) setPassword(w http.ResponseWriter, r *http.Request) error {
	var body Password
	found, err := s.lookup(r)
	if err == nil {
		err = readJSON(r, &body)
	}
	if err == nil && body.Password == "" {
		err = domain.Errorf(domain.Invalid, "a password is needed")
	}
	if err != nil {
		return err
	}
	return done(w, s.b.Directory.SetPassword(r.Context(), actor, found.ID, body.Password))
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
	_, err = s.b.Accounts.Do(r.Context(), found.ID, actor, account.SetLimits{Limits: account.Limits{Bytes: body.Bytes, Messages: body.Messages}})
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
