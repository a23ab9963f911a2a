package webadmin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

func (s *Server) projections(w http.ResponseWriter, r *http.Request) error {
	list, err := s.b.Views.List(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(list))
	}
	return err
}

func (s *Server) planViews(w http.ResponseWriter, r *http.Request) error {
	plan, err := s.b.Views.Plan(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(plan))
	}
	return err
}

func (s *Server) rebuildViews(w http.ResponseWriter, r *http.Request) error {
	scope, err := s.viewScope(r)
	if err != nil {
		return err
	}
	all, err := truth(r, "all")
	if err != nil {
		return err
	}
	if err := scope.Named(all); err != nil {
		return err
	}
	var opt RebuildOptions
	if opt.Throttle, err = throttle(r, "throttle"); err != nil {
		return err
	}
	if opt.CPU, err = share(r, "cpu"); err != nil {
		return err
	}
	if opt.DryRun, err = truth(r, "dryRun"); err != nil {
		return err
	}
	if opt.Verify, err = truth(r, "verify"); err != nil {
		return err
	}
	if opt.FromSnapshot, err = truth(r, "fromSnapshot"); err != nil {
		return err
	}
	out := s.lines(w, r)
	sum, err := s.b.Views.Rebuild(out.ctx, scope, opt, out.progress)
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

func (s *Server) verifyViews(w http.ResponseWriter, r *http.Request) error {
	scope, err := s.viewScope(r)
	if err != nil {
		return err
	}
	var opt VerifyOptions
	if opt.Sample, err = share(r, "sample"); err != nil {
		return err
	}
	if opt.Salt, err = number(r, "salt", 0); err != nil {
		return err
	}
	if opt.CPU, err = share(r, "cpu"); err != nil {
		return err
	}
	if opt.Repair, err = truth(r, "repair"); err != nil {
		return err
	}
	if opt.Throttle, err = throttle(r, "throttle"); err != nil {
		return err
	}
	if opt.Digests, err = truth(r, "digests"); err != nil {
		return err
	}
	uid, err := number(r, "uid", 0)
	if err != nil {
		return err
	}
	scope.Mailbox, scope.UID = r.URL.Query().Get("mailbox"), domain.UID(min(uid, 1<<32-1))
	out := s.lines(w, r)
	sum, err := s.b.Views.Verify(out.ctx, scope, opt, func(d Difference) { _ = out.item(d) }, out.progress)
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

func (s *Server) viewDigests(w http.ResponseWriter, r *http.Request) error {
	scope, err := s.viewScope(r)
	if err != nil {
		return err
	}
	mailboxes, err := truth(r, "mailboxes")
	if err != nil {
		return err
	}
	list, err := s.b.Views.Digests(r.Context(), scope, mailboxes)
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(list))
	}
	return err
}

func (s *Server) countViews(w http.ResponseWriter, r *http.Request) error {
	scope, err := s.viewScope(r)
	if err != nil {
		return err
	}
	var opt CountOptions
	if opt.CPU, err = share(r, "cpu"); err != nil {
		return err
	}
	if opt.Repair, err = truth(r, "repair"); err != nil {
		return err
	}
	out := s.lines(w, r)
	sum, err := s.b.Views.Count(out.ctx, scope, opt, func(m Miscount) { _ = out.item(m) }, out.progress)
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

// throttle reads how many entries a second are wanted at most.
func throttle(r *http.Request, key string) (int, error) {
	n, err := number(r, key, 0)
	return int(min(n, 1<<31-1)), err
}

func (s *Server) pruneViews(w http.ResponseWriter, r *http.Request) error {
	return s.dropViews(w, r, s.b.Views.Prune)
}

func (s *Server) discardViews(w http.ResponseWriter, r *http.Request) error {
	return s.dropViews(w, r, s.b.Views.Discard)
}

func (s *Server) dropViews(w http.ResponseWriter, r *http.Request, drop func(context.Context, ViewScope) (DroppedViews, error)) error {
	scope, err := s.viewScope(r)
	if err != nil {
		return err
	}
	if name := r.PathValue("projection"); name != "" {
		scope.Projection = name
	}
	sum, err := drop(r.Context(), scope)
	if err == nil {
		writeJSON(w, http.StatusOK, sum)
	}
	return err
}

// Named refuses to make everything anew for somebody who has only forgotten to say what. Errors: domain.Invalid.
func (s ViewScope) Named(all bool) error {
	named := s.Projection != "" || s.Stream != "" || len(s.Accounts) > 0
	switch {
	case all && named:
		return domain.Errorf(domain.Invalid, "all means everything: leave out projection, stream, account and domain")
	case !all && !named:
		return &domain.Error{Kind: domain.Invalid, Msg: "it is not said what to rebuild", Hint: "name a projection, a stream, an account or a domain, or say all=true"}
	}
	return nil
}

// viewScope reads ?projection=, ?stream=, ?account=, which may be there more than once, and ?domain=, which means all its accounts.
func (s *Server) viewScope(r *http.Request) (scope ViewScope, err error) {
	q := r.URL.Query()
	scope = ViewScope{Projection: q.Get("projection"), Stream: q.Get("stream")}
	for _, name := range q["account"] {
		id, err := s.account(r.Context(), name)
		if err != nil {
			return scope, err
		}
		scope.Accounts = append(scope.Accounts, id)
	}
	name := q.Get("domain")
	if name == "" {
		return scope, nil
	}
	all, err := s.b.Directory.Accounts(r.Context())
	if err == nil {
		all, err = InDomain(all, name)
	}
	for _, a := range all {
		scope.Accounts = append(scope.Accounts, a.ID)
	}
	return scope, err
}

// InDomain gives the accounts that have an address in a domain. Errors: domain.NotFound when there is none.
func InDomain(all []door.Account, name string) ([]door.Account, error) {
	var in []door.Account
	for _, a := range all {
		if slices.ContainsFunc(a.Addresses, func(address string) bool {
			_, host, ok := strings.Cut(address, "@")
			return ok && strings.EqualFold(host, name)
		}) {
			in = append(in, a)
		}
	}
	if len(in) == 0 {
		return nil, domain.Errorf(domain.NotFound, "no account has an address in %s", name)
	}
	return in, nil
}

// share reads a number between 0 and 1.
func share(r *http.Request, key string) (float64, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f > 0 && f <= 1) {
		return 0, domain.Errorf(domain.Invalid, "%s=%q is not a share above 0 and at most 1", key, text)
	}
	return f, nil
}

func truth(r *http.Request, key string) (bool, error) {
	switch text := r.URL.Query().Get(key); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, domain.Errorf(domain.Invalid, "%s=%q is neither true nor false", key, text)
	}
}
