package webadmin

import (
	"context"
	"net/http"
	"strconv"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// alive is 200 as long as there is an answer: what is damaged is not repaired by a restart.
func (s *Server) alive(w http.ResponseWriter, r *http.Request) error {
	answer := map[string]string{"status": "healthy"}
	if s.b.Damaged != nil {
		if cause := s.b.Damaged(r.Context()); cause != "" {
			answer["status"], answer["cause"] = "degraded", cause
		}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) error {
	ready, report := s.b.Ready(r.Context())
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, report)
	return nil
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	status, err := s.b.Status(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, status)
	}
	return err
}

func (s *Server) doctor(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, http.StatusOK, notNil(s.b.Doctor(r.Context())))
	return nil
}

// LogEntry is one transaction as `log show` gives it. Transaction is absent when the account was erased.
type LogEntry struct {
	Account     domain.AccountID `json:"account"`
	Tx          domain.Tx        `json:"tx"`
	Stream      string           `json:"stream"`
	Seq         domain.Seq       `json:"seq"`
	Erased      bool             `json:"erased,omitempty"`
	Transaction any              `json:"transaction,omitempty"`
}

func entryOf(e *streams.Entry) LogEntry {
	shown := LogEntry{Account: e.Account, Tx: e.Tx, Stream: e.Stream, Seq: e.Seq, Erased: e.Erased}
	if e.Transaction != nil {
		shown.Transaction = e.Transaction
	}
	return shown
}

func (s *Server) showLog(w http.ResponseWriter, r *http.Request) error {
	id, err := s.account(r.Context(), r.PathValue("account"))
	if err != nil {
		return err
	}
	from, err := number(r, "from", 1)
	if err != nil {
		return err
	}
	out := s.lines(w, r)
	shown := 0
	for e, err := range s.b.Log.ReadAccount(r.Context(), id, 0) {
		if err == nil && e.Tx >= domain.Tx(from) {
			shown++
			err = out.item(entryOf(&e))
		}
		if err != nil {
			return out.fail(err)
		}
	}
	return out.result(map[string]int{"entries": shown})
}

func (s *Server) verifyLog(w http.ResponseWriter, r *http.Request) error {
	scope, err := s.scope(r)
	if err == nil {
		scope.Archive, err = truth(r, "archive")
	}
	if err == nil {
		scope.Mend, err = truth(r, "mend")
	}
	if err != nil {
		return err
	}
	out := s.lines(w, r)
	sum, err := s.b.Log.Verify(out.ctx, scope, func(d Damage) { _ = out.item(d) }, out.progress)
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

func (s *Server) rotateKeys(w http.ResponseWriter, r *http.Request) error {
	out := s.lines(w, r)
	n, err := s.b.Log.RotateMaster(out.ctx, out.progress)
	if err != nil {
		return out.fail(err)
	}
	return out.result(map[string]int{"keys": n})
}

// scope reads ?account=, ?stream= and ?projection=.
func (s *Server) scope(r *http.Request) (scope Scope, err error) {
	q := r.URL.Query()
	scope = Scope{Stream: q.Get("stream"), Projection: q.Get("projection")}
	if name := q.Get("account"); name != "" {
		scope.Account, err = s.account(r.Context(), name)
	}
	return scope, err
}

// account finds an account by address or id. An id needs no entry in the directory, so that the log of an erased account can still be
// verified and the directory's own log shown.
func (s *Server) account(ctx context.Context, name string) (domain.AccountID, error) {
	if id, err := domain.ParseAccountID(name); err == nil {
		return id, nil
	}
	found, err := s.find(ctx, name)
	return found.ID, err
}

func number(r *http.Request, key string, absent uint64) (uint64, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, domain.Errorf(domain.Invalid, "%s=%q is not a number", key, text)
	}
	return n, nil
}
