package webadmin

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// vacationRoutes are about how accounts answer while their owners are away, without a script. Those below /vacation are James's.
var vacationRoutes = []Route{
	{Pattern: "GET /v1/accounts/{account}/vacation", Answer: Vacation{}, serve: (*Server).vacation, Summary: "Show how an account answers while its owner is away"},
	{Pattern: "PUT /v1/accounts/{account}/vacation", Body: Vacation{}, serve: (*Server).setVacation, Summary: "Say how an account answers while its owner is away; what is absent is cleared"},
	{Pattern: "GET /vacation/{user}", serve: (*Server).jamesVacation, Summary: "Show how a user's mail is answered"},
	{Pattern: "POST /vacation/{user}", Body: Vacation{}, serve: (*Server).changeVacation, Summary: "Change how a user's mail is answered; what is absent stays, null clears"},
	{Pattern: "DELETE /vacation/{user}", serve: (*Server).endVacation, Summary: "Answer a user's mail no longer, and forget the texts"},
}

// Vacation is an account's setting, in James's words.
type Vacation struct {
	Enabled bool       `json:"enabled"`
	From    *time.Time `json:"fromDate"` // nil: no bound
	To      *time.Time `json:"toDate"`
	Subject *string    `json:"subject"` // nil: made of the message's
	Text    *string    `json:"textBody"`
	HTML    *string    `json:"htmlBody"`
}

func vacationOf(v *account.Vacation) (shown Vacation) {
	shown.Enabled = v.Enabled
	for to, seconds := range map[**time.Time]int64{&shown.From: v.From, &shown.To: v.To} {
		if seconds != 0 {
			at := time.Unix(seconds, 0).UTC()
			*to = &at
		}
	}
	for to, text := range map[**string]string{&shown.Subject: v.Subject, &shown.Text: v.Text, &shown.HTML: v.HTML} {
		if text != "" {
			*to = &text
		}
	}
	return shown
}

func (v *Vacation) setting(now time.Time) account.Vacation {
	s := account.Vacation{Enabled: v.Enabled, Set: now.Unix()}
	for to, at := range map[*int64]*time.Time{&s.From: v.From, &s.To: v.To} {
		if at != nil {
			*to = at.Unix()
		}
	}
	for to, text := range map[*string]*string{&s.Subject: v.Subject, &s.Text: v.Text, &s.HTML: v.HTML} {
		if text != nil {
			*to = *text
		}
	}
	return s
}

func (s *Server) present(r *http.Request, of door.Account) (v Vacation, err error) {
	err = s.b.Accounts.View(r.Context(), of.ID, func(state *account.State) error {
		v = vacationOf(&state.Scripts.Vacation)
		return nil
	})
	return v, err
}

func (s *Server) vacation(w http.ResponseWriter, r *http.Request) error {
	return s.showVacation(w, r, "account")
}

func (s *Server) jamesVacation(w http.ResponseWriter, r *http.Request) error {
	return s.showVacation(w, r, "user")
}

func (s *Server) showVacation(w http.ResponseWriter, r *http.Request, who string) error {
	found, err := s.find(r.Context(), r.PathValue(who))
	if err != nil {
		return err
	}
	v, err := s.present(r, found)
	if err == nil {
		writeJSON(w, http.StatusOK, v)
	}
	return err
}

func (s *Server) setVacation(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	var v Vacation
	if err := readJSON(r, &v); err != nil {
		return err
	}
	return s.keepVacation(w, r, found, &v)
}

// changeVacation lays the body over what is set.
func (s *Server) changeVacation(w http.ResponseWriter, r *http.Request) error {
	found, err := s.find(r.Context(), r.PathValue("user"))
	if err != nil {
		return err
	}
	v, err := s.present(r, found)
	if err != nil {
		return err
	}
	var body map[string]json.RawMessage
	if err := readJSON(r, &body); err != nil {
		return err
	}
	for name, value := range body {
		field, known := map[string]any{"enabled": &v.Enabled, "fromDate": &v.From, "toDate": &v.To, "subject": &v.Subject, "textBody": &v.Text, "htmlBody": &v.HTML}[name]
		if !known {
			return domain.Errorf(domain.Invalid, "a vacation has no %q", name)
		}
		if err := json.Unmarshal(value, field); err != nil {
			return domain.Wrap(domain.Invalid, err, "read "+name)
		}
	}
	return s.keepVacation(w, r, found, &v)
}

func (s *Server) endVacation(w http.ResponseWriter, r *http.Request) error {
	found, err := s.find(r.Context(), r.PathValue("user"))
	if err != nil {
		return err
	}
	return s.keepVacation(w, r, found, &Vacation{})
}

func (s *Server) keepVacation(w http.ResponseWriter, r *http.Request, of door.Account, v *Vacation) error {
	_, err := s.b.Accounts.Do(r.Context(), of.ID, actor, account.SetVacation{Vacation: v.setting(s.now())})
	return done(w, err)
}
