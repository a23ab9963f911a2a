package webadmin

import (
	"context"
	"net/http"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// AppPasswords is what door.Directory knows of the passwords that single programs have.
type AppPasswords interface {
	AddAppPassword(ctx context.Context, actor string, id domain.AccountID, name string, expires time.Time, protocols []string) (password string, err error)
	RemoveAppPassword(ctx context.Context, actor string, id domain.AccountID, name string) error
	AppPasswords(ctx context.Context, id domain.AccountID) ([]door.AppPassword, error)
}

// NewAppPassword is the body of POST /v1/accounts/{account}/app-passwords.
type NewAppPassword struct {
	Name      string    `json:"name"`
	Expires   time.Time `json:"expires,omitzero"`
	Protocols []string  `json:"protocols,omitempty"` // imap, smtp, pop3; none: all
}

// MadeAppPassword is the answer: the only time that the password is told.
type MadeAppPassword struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

func (s *Server) addAppPassword(w http.ResponseWriter, r *http.Request) error {
	var body NewAppPassword
	found, err := s.lookup(r)
	if err == nil {
		err = readJSON(r, &body)
	}
	if err != nil {
		return err
	}
	password, err := s.b.Directory.AddAppPassword(r.Context(), actor, found.ID, body.Name, body.Expires, body.Protocols)
	if err == nil {
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, http.StatusCreated, MadeAppPassword{body.Name, password})
	}
	return err
}

func (s *Server) appPasswords(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	list, err := s.b.Directory.AppPasswords(r.Context(), found.ID)
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(list))
	}
	return err
}

func (s *Server) removeAppPassword(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	return done(w, s.b.Directory.RemoveAppPassword(r.Context(), actor, found.ID, r.PathValue("name")))
}
