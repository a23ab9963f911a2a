package webadmin

import (
	"context"
	"net/http"
	"time"

	"github.com/streampost/streampost/domain"
)

// The tasks of snapshots.
const (
	TaskSnapshotMake   = "snapshot-make"
	TaskSnapshotVerify = "snapshot-verify"
)

// Snapshots are the accounts' rows that are kept for hydration.
type Snapshots interface {
	List(ctx context.Context, f func(Snapshot) error) error
	Remove(ctx context.Context, id domain.AccountID) error
}

// Snapshot tells of one that is stored.
type Snapshot struct {
	Account     domain.AccountID `json:"account,omitempty"`
	Tx          domain.Tx        `json:"tx,omitempty"`  // of the account, that it shows last
	Seq         domain.Seq       `json:"seq,omitempty"` // of the stream
	Hash        string           `json:"hash,omitempty"`
	Made        time.Time        `json:"made"`
	Octets      int64            `json:"octets"`
	Projections map[string]int   `json:"projections,omitempty"` // versions by name
	Behind      domain.Tx        `json:"behind"`                // transactions of the account since
	Problem     string           `json:"problem,omitempty"`     // why it cannot be used
}

// snapshotRoutes list and remove. Making and verifying are tasks: snapshot-make and snapshot-verify.
var snapshotRoutes = []Route{
	{Pattern: "GET /v1/snapshots", Streams: true, serve: (*Server).snapshots, Summary: "List the stored snapshots of accounts' rows"},
	{Pattern: "DELETE /v1/snapshots/{account}", serve: (*Server).removeSnapshot, Summary: "Remove an account's snapshot; nothing is lost"},
}

func (s *Server) snapshots(w http.ResponseWriter, r *http.Request) error {
	out := s.lines(w, r)
	n := 0
	err := s.b.Snapshots.List(out.ctx, func(one Snapshot) error {
		n++
		return out.item(one)
	})
	if err != nil {
		return out.fail(err)
	}
	return out.result(map[string]int{"snapshots": n})
}

func (s *Server) removeSnapshot(w http.ResponseWriter, r *http.Request) error {
	id, err := s.account(r.Context(), r.PathValue("account"))
	if err == nil {
		err = s.b.Snapshots.Remove(r.Context(), id)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
