package webadmin

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// jamesQuota is what users may use. Limits belong to accounts here: what James sets for everybody or for a domain is the limit that new
// accounts get, from the configuration, and can be read but not set.
var jamesQuota = []Route{
	{Pattern: "GET /quota", serve: (*Server).globalQuota, Summary: "Tell the limits of new accounts"},
	{Pattern: "GET /quota/count", serve: (*Server).globalCount, Summary: "Tell how many messages new accounts may have"},
	{Pattern: "GET /quota/size", serve: (*Server).globalSize, Summary: "Tell how many octets new accounts may have"},
	{Pattern: "PUT /quota", serve: (*Server).configured, Summary: "Refused: the limits of new accounts come from the configuration"},
	{Pattern: "PUT /quota/count", serve: (*Server).configured, Summary: "Refused, see PUT /quota"},
	{Pattern: "DELETE /quota/count", serve: (*Server).configured, Summary: "Refused, see PUT /quota"},
	{Pattern: "PUT /quota/size", serve: (*Server).configured, Summary: "Refused, see PUT /quota"},
	{Pattern: "DELETE /quota/size", serve: (*Server).configured, Summary: "Refused, see PUT /quota"},
	{Pattern: "GET /quota/domains/{domain}", serve: (*Server).domainQuota, Summary: "Tell the limits of new accounts in a domain, which has none of its own"},
	{Pattern: "PUT /quota/domains/{domain}", serve: (*Server).noDomainQuota, Summary: "Refused: domains have no limits of their own"},
	{Pattern: "GET /quota/domains/{domain}/count", serve: (*Server).noDomainLimit, Summary: "Tell that a domain has no limit of its own: 204"},
	{Pattern: "PUT /quota/domains/{domain}/count", serve: (*Server).noDomainQuota, Summary: "Refused, see PUT /quota/domains/{domain}"},
	{Pattern: "DELETE /quota/domains/{domain}/count", serve: (*Server).noDomainQuota, Summary: "Refused, see PUT /quota/domains/{domain}"},
	{Pattern: "GET /quota/domains/{domain}/size", serve: (*Server).noDomainLimit, Summary: "Tell that a domain has no limit of its own: 204"},
	{Pattern: "PUT /quota/domains/{domain}/size", serve: (*Server).noDomainQuota, Summary: "Refused, see PUT /quota/domains/{domain}"},
	{Pattern: "DELETE /quota/domains/{domain}/size", serve: (*Server).noDomainQuota, Summary: "Refused, see PUT /quota/domains/{domain}"},
	{Pattern: "GET /quota/users", serve: (*Server).quotaUsers, Summary: "List users by occupation; ?minOccupationRatio= ?maxOccupationRatio= ?domain= ?limit= ?offset="},
	{Pattern: "GET /quota/users/{user}", serve: (*Server).userQuota, Summary: "Tell a user's limits and use"},
	{Pattern: "PUT /quota/users/{user}", serve: (*Server).setUserQuota, Summary: "Set a user's limits; -1 is none"},
	{Pattern: "GET /quota/users/{user}/count", serve: (*Server).userCount, Summary: "Tell how many messages a user may have"},
	{Pattern: "PUT /quota/users/{user}/count", serve: (*Server).setUserCount, Summary: "Set how many messages a user may have"},
	{Pattern: "DELETE /quota/users/{user}/count", serve: (*Server).clearUserCount, Summary: "Let a user have any number of messages"},
	{Pattern: "GET /quota/users/{user}/size", serve: (*Server).userSize, Summary: "Tell how many octets a user may have"},
	{Pattern: "PUT /quota/users/{user}/size", serve: (*Server).setUserSize, Summary: "Set how many octets a user may have"},
	{Pattern: "DELETE /quota/users/{user}/size", serve: (*Server).clearUserSize, Summary: "Let a user have any number of octets"},
}

// unlimited is how James writes that there is no limit. Ours is 0.
const unlimited = -1

// quotaValues are limits as James writes them: null where nothing is set.
type quotaValues struct {
	Count *int64 `json:"count"`
	Size  *int64 `json:"size"`
}

func quotaOf(l account.Limits) quotaValues {
	return quotaValues{limitOf(l.Messages), limitOf(l.Bytes)}
}

func limitOf(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// computed is what counts in the end: -1 where there is no limit.
func computed(l account.Limits) quotaValues {
	count, size := l.Messages, l.Bytes
	if count == 0 {
		count = unlimited
	}
	if size == 0 {
		size = unlimited
	}
	return quotaValues{&count, &size}
}

// occupation is what a user uses, and the part of the limits that this is.
type occupation struct {
	Size  int64 `json:"size"`
	Count int64 `json:"count"`
	Ratio struct {
		Size  float64 `json:"size"`
		Count float64 `json:"count"`
		Max   float64 `json:"max"`
	} `json:"ratio"`
}

func occupationOf(state *account.State) (o occupation) {
	o.Size, o.Count = state.Usage.Bytes, state.Usage.Messages
	o.Ratio.Size, o.Ratio.Count = ratio(o.Size, state.Limits.Bytes), ratio(o.Count, state.Limits.Messages)
	o.Ratio.Max = max(o.Ratio.Size, o.Ratio.Count)
	return o
}

func ratio(used, limit int64) float64 {
	if limit == 0 {
		return 0
	}
	return float64(used) / float64(limit)
}

// userQuotaBody answers GET /quota/users/{user}.
type userQuotaBody struct {
	Global     *quotaValues `json:"global"`
	Domain     *quotaValues `json:"domain"`
	User       *quotaValues `json:"user"`
	Computed   quotaValues  `json:"computed"`
	Occupation occupation   `json:"occupation"`
}

func (s *Server) globalQuota(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, quotaOf(s.b.NewAccount))
	return nil
}

func (s *Server) globalCount(w http.ResponseWriter, _ *http.Request) error {
	return writeLimit(w, s.b.NewAccount.Messages)
}

func (s *Server) globalSize(w http.ResponseWriter, _ *http.Request) error {
	return writeLimit(w, s.b.NewAccount.Bytes)
}

// configured refuses to set what the configuration says. 405 is what James answers where a sort of quota does not exist.
func (s *Server) configured(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Allow", "GET, HEAD") // RFC 9110 section 15.5.6.
	writeError(w, Error{
		StatusCode: http.StatusMethodNotAllowed, Type: "methodNotAllowed", Message: "the limits of new accounts come from the configuration, and those of accounts belong to them",
		Hint: "see quota in the configuration; PUT /quota/users/{user} sets a user's limits",
	})
	return nil
}

func (s *Server) noDomainQuota(w http.ResponseWriter, r *http.Request) error {
	if err := s.localDomain(r); err != nil {
		return err
	}
	w.Header().Set("Allow", "GET, HEAD") // RFC 9110 section 15.5.6.
	writeError(w, Error{
		StatusCode: http.StatusMethodNotAllowed, Type: "methodNotAllowed", Message: "domains have no limits of their own", Hint: "PUT /quota/users/{user} sets a user's limits",
	})
	return nil
}

// domainQuotaBody answers GET /quota/domains/{domain}.
type domainQuotaBody struct {
	Global   quotaValues `json:"global"`
	Domain   quotaValues `json:"domain"`
	Computed quotaValues `json:"computed"`
}

func (s *Server) domainQuota(w http.ResponseWriter, r *http.Request) error {
	if err := s.localDomain(r); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, domainQuotaBody{Global: quotaOf(s.b.NewAccount), Computed: computed(s.b.NewAccount)})
	return nil
}

func (s *Server) noDomainLimit(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.localDomain(r))
}

// writeLimit answers 204 where no limit is set.
func writeLimit(w http.ResponseWriter, n int64) error {
	if n == 0 {
		return done(w, nil)
	}
	writeJSON(w, http.StatusOK, n)
	return nil
}

func (s *Server) userQuota(w http.ResponseWriter, r *http.Request) error {
	var body userQuotaBody
	err := s.viewUser(r, func(state *account.State) error {
		body = userQuotaBody{Computed: computed(state.Limits), Occupation: occupationOf(state)}
		if state.Limits != (account.Limits{}) {
			values := quotaOf(state.Limits)
			body.User = &values
		}
		return nil
	})
	if err == nil {
		writeJSON(w, http.StatusOK, body)
	}
	return err
}

func (s *Server) userLimits(r *http.Request) (id domain.AccountID, limits account.Limits, err error) {
	found, err := s.user(r)
	if err != nil {
		return "", limits, err
	}
	err = s.b.Accounts.View(r.Context(), found.ID, func(state *account.State) error {
		limits = state.Limits
		return nil
	})
	return found.ID, limits, err
}

func (s *Server) userCount(w http.ResponseWriter, r *http.Request) error {
	_, limits, err := s.userLimits(r)
	if err != nil {
		return err
	}
	return writeLimit(w, limits.Messages)
}

func (s *Server) userSize(w http.ResponseWriter, r *http.Request) error {
	_, limits, err := s.userLimits(r)
	if err != nil {
		return err
	}
	return writeLimit(w, limits.Bytes)
}

// setUserQuota leaves alone what the body leaves out.
func (s *Server) setUserQuota(w http.ResponseWriter, r *http.Request) error {
	var body quotaValues
	if err := readJSON(r, &body); err != nil {
		return err
	}
	return s.changeLimits(w, r, func(l *account.Limits) (err error) {
		if body.Count != nil {
			l.Messages, err = ourLimit(*body.Count)
		}
		if body.Size != nil && err == nil {
			l.Bytes, err = ourLimit(*body.Size)
		}
		return err
	})
}

// ourLimit refuses 0: to James it means that nothing may be kept, which no account here can be told.
func ourLimit(n int64) (int64, error) {
	switch {
	case n == unlimited:
		return 0, nil
	case n <= 0:
		return 0, domain.Errorf(domain.Invalid, "a limit is a positive number, or -1 for none; %d is not", n)
	}
	return n, nil
}

func (s *Server) setUserCount(w http.ResponseWriter, r *http.Request) error {
	return s.setOne(w, r, func(l *account.Limits, n int64) { l.Messages = n })
}

func (s *Server) setUserSize(w http.ResponseWriter, r *http.Request) error {
	return s.setOne(w, r, func(l *account.Limits, n int64) { l.Bytes = n })
}

// setOne reads a body that is a number.
func (s *Server) setOne(w http.ResponseWriter, r *http.Request, set func(*account.Limits, int64)) error {
	var n int64
	if err := readJSON(r, &n); err != nil {
		return err
	}
	n, err := ourLimit(n)
	if err != nil {
		return err
	}
	return s.changeLimits(w, r, func(l *account.Limits) error {
		set(l, n)
		return nil
	})
}

func (s *Server) clearUserCount(w http.ResponseWriter, r *http.Request) error {
	return s.changeLimits(w, r, func(l *account.Limits) error {
		l.Messages = 0
		return nil
	})
}

func (s *Server) clearUserSize(w http.ResponseWriter, r *http.Request) error {
	return s.changeLimits(w, r, func(l *account.Limits) error {
		l.Bytes = 0
		return nil
	})
}

func (s *Server) changeLimits(w http.ResponseWriter, r *http.Request, change func(*account.Limits) error) error {
	id, limits, err := s.userLimits(r)
	if err == nil {
		err = change(&limits)
	}
	if err == nil {
		_, err = s.b.Accounts.Do(r.Context(), id, actor, account.SetLimits{Limits: limits})
	}
	return done(w, err)
}

// quotaUser is an element of GET /quota/users.
type quotaUser struct {
	Username string        `json:"username"`
	Detail   userQuotaBody `json:"detail"`
}

// quotaUsers looks at every account, in the order of their names.
func (s *Server) quotaUsers(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	lowest, err := ratioParameter(r, "minOccupationRatio", 0)
	if err != nil {
		return err
	}
	highest, err := ratioParameter(r, "maxOccupationRatio", math.Inf(1))
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", math.MaxInt64)
	if err != nil {
		return err
	}
	offset, err := number(r, "offset", 0)
	if err != nil {
		return err
	}
	list, err := s.enabled(r)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b door.Account) int { return strings.Compare(a.Login, b.Login) })
	found := []quotaUser{}
	for _, a := range list {
		if at := q.Get("domain"); at != "" && !strings.HasSuffix(a.Login, "@"+strings.ToLower(at)) {
			continue
		}
		user, err := s.quotaOfUser(r.Context(), a)
		if err != nil {
			return err
		}
		if used := user.Detail.Occupation.Ratio.Max; used < lowest || used > highest {
			continue
		}
		if offset > 0 {
			offset--
			continue
		}
		if uint64(len(found)) >= limit {
			break
		}
		found = append(found, user)
	}
	writeJSON(w, http.StatusOK, found)
	return nil
}

func (s *Server) quotaOfUser(ctx context.Context, a door.Account) (user quotaUser, err error) {
	err = s.b.Accounts.View(ctx, a.ID, func(state *account.State) error {
		user = quotaUser{a.Login, userQuotaBody{Computed: computed(state.Limits), Occupation: occupationOf(state)}}
		return nil
	})
	return user, err
}

func ratioParameter(r *http.Request, key string, absent float64) (float64, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 || math.IsNaN(n) {
		return 0, domain.Errorf(domain.Invalid, "%s=%q is not a ratio", key, text)
	}
	return n, nil
}
