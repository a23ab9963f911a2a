package webadmin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/replicas"
)

// Replicas is replicas.Replicas.
type Replicas interface {
	Set(ctx context.Context, actor string, o replicas.Order) (replicas.Outcome, error)
	Remove(ctx context.Context, actor string, o replicas.Order) (replicas.Outcome, error)
	Pause(ctx context.Context, actor string, o replicas.Order, paused bool) (replicas.Outcome, error)
	Status(ctx context.Context, f replicas.Filter) ([]replicas.Account, []directory.Problem, error)
	Enrolments(ctx context.Context) (map[string]directory.Enrolment, error)
	Test(ctx context.Context) ([]replicas.Health, error)
	Verify(ctx context.Context, sel directory.Selection, nodes []string, different func(replicas.Difference), progress func(done, total int)) (replicas.Verified, error)
}

// TaskReplicaInitialise is the type of task that watches until replicas are there.
const TaskReplicaInitialise = "replica-initialise"

// ReplicaOrder says what is to become of the replicas of which accounts.
type ReplicaOrder struct {
	Destination string   `json:"destination,omitempty"`
	Priority    uint32   `json:"priority,omitempty"` // the lowest is promoted first
	Keep        int      `json:"keep,omitempty"`     // so many replicas on nodes that are chosen, instead of one on destination
	Accounts    []string `json:"accounts,omitempty"` // addresses, ids, and patterns with * and ?
	Domains     []string `json:"domains,omitempty"`
	All         bool     `json:"all,omitempty"`
	Auto        bool     `json:"auto,omitempty"`    // accounts that will be added as well
	Partial     bool     `json:"partial,omitempty"` // do what can be done
}

func (o *ReplicaOrder) order() replicas.Order {
	return replicas.Order{
		Selection:   directory.Selection{Names: o.Accounts, Domains: o.Domains, All: o.All},
		Destination: o.Destination, Priority: o.Priority, Keep: o.Keep, New: o.Auto, Partial: o.Partial,
	}
}

// ReplicaOutcome is what an order did.
type ReplicaOutcome struct {
	Operation domain.TaskID      `json:"operation,omitempty"` // the task that watches until the replicas are there
	Accounts  int                `json:"accounts"`            // that are as was wanted
	Failed    []replicas.Failure `json:"failed"`
	Selectors []string           `json:"selectors,omitempty"` // of accounts to be added
	Unwatched string             `json:"unwatched,omitempty"` // why there is no operation although there should be one
}

// ReplicaWork is the parameters of TaskReplicaInitialise.
type ReplicaWork struct {
	Accounts     []domain.AccountID `json:"accounts,omitempty"` // none: all that have replicas there
	Destinations []string           `json:"destinations,omitempty"`
}

// watchedByName bounds the accounts that one operation names. More are watched as all accounts with replicas on its destinations.
const watchedByName = 1000

// ReplicaCheck says whose replicas are to be compared, on which nodes; none: on all that have rows.
type ReplicaCheck struct {
	Nodes    []string `json:"nodes,omitempty"`
	Accounts []string `json:"accounts,omitempty"`
	Domains  []string `json:"domains,omitempty"`
	All      bool     `json:"all,omitempty"`
}

// Enrolled says which replicas accounts get that are added.
type Enrolled struct {
	Selector     string              `json:"selector"`
	Keep         int                 `json:"keep,omitempty"` // on so many of the destinations; 0: on all
	Destinations []event.Destination `json:"destinations"`
}

var replicaFilter = []Query{
	{"accounts", "Addresses, ids and patterns, with commas between them; may be repeated"}, {"domains", "Domains likewise"}, {"mailHost", "Primaries likewise"},
	{"replicaServer", "Destinations likewise"}, {"accountStatus", "active or paused"}, {"replicaStatus", "available or unavailable"},
	{"state", "initialising, streaming, lagging, paused, diverged or unavailable; may be a list"},
}

var replicaRoutes = []Route{
	{Pattern: "GET /v1/replicas", Answer: []replicas.Account{}, Query: replicaFilter, serve: (*Server).replicas, Summary: "Tell of accounts with replicas, and how far each is; 404 where there is no cluster"},
	{Pattern: "POST /v1/replicas", Body: ReplicaOrder{}, Answer: ReplicaOutcome{}, serve: (*Server).setReplicas, Summary: "Keep replicas of accounts on a node, or change their priority"},
	{Pattern: "POST /v1/replicas/remove", Destroys: true, Body: ReplicaOrder{}, Answer: ReplicaOutcome{}, serve: (*Server).removeReplicas, Summary: "End replicas of accounts on a node"},
	{Pattern: "POST /v1/replicas/pause", Body: ReplicaOrder{}, Answer: ReplicaOutcome{}, serve: (*Server).pauseReplicas, Summary: "Pause replicas of accounts, on one node or on all"},
	{Pattern: "POST /v1/replicas/resume", Body: ReplicaOrder{}, Answer: ReplicaOutcome{}, serve: (*Server).resumeReplicas, Summary: "Resume them"},
	{Pattern: "GET /v1/replicas/enrolments", Answer: []Enrolled{}, serve: (*Server).enrolments, Summary: "Tell which replicas accounts get that are added"},
	{Pattern: "GET /v1/replicas/test", Answer: []replicas.Health{}, serve: (*Server).testReplicas, Summary: "Have every node look whether it reaches the log, the blobs and the keys"},
	{Pattern: "POST /v1/replicas/verify", Streams: true, Body: ReplicaCheck{}, serve: (*Server).verifyReplicas, Summary: "Compare the digests of mailboxes on nodes"},
}

func (s *Server) replicas(w http.ResponseWriter, r *http.Request) error {
	if s.b.Replicas == nil {
		return ErrAlone
	}
	f, err := replicaFilterOf(r.URL.Query())
	if err != nil {
		return err
	}
	all, problems, err := s.b.Replicas.Status(r.Context(), f)
	switch {
	case err != nil:
		return err
	case len(problems) > 0:
		return problems[0].Err
	}
	writeJSON(w, http.StatusOK, notNil(all))
	return nil
}

// replicaFilterOf reads Carbonio's filters and ours.
func replicaFilterOf(q url.Values) (f replicas.Filter, err error) {
	list := func(name string) (all []string) {
		for _, value := range q[name] {
			for part := range strings.SplitSeq(value, ",") {
				if part = strings.TrimSpace(part); part != "" {
					all = append(all, part)
				}
			}
		}
		return all
	}
	either := func(name, yes, no string, into **bool) {
		value, truth := q.Get(name), true
		switch {
		case value == "" || err != nil:
			return
		case value == no:
			truth = false
		case value != yes:
			err = domain.Errorf(domain.Invalid, "%s=%q is neither %s nor %s", name, value, yes, no)
		}
		*into = &truth
	}
	f.Accounts = directory.Selection{Names: list("accounts"), Domains: list("domains")}
	f.MailHosts, f.Replicas = list("mailHost"), list("replicaServer")
	either("accountStatus", "paused", "active", &f.Paused)
	either("replicaStatus", "available", "unavailable", &f.Available)
	for _, state := range list("state") {
		if !slices.Contains(replicas.States, replicas.State(state)) {
			return f, domain.Errorf(domain.Invalid, "%q is no state of a replica: it is one of %v", state, replicas.States)
		}
		f.States = append(f.States, replicas.State(state))
	}
	return f, err
}

func (s *Server) setReplicas(w http.ResponseWriter, r *http.Request) error {
	return s.changeReplicas(w, r, true, func(ctx context.Context, o replicas.Order) (replicas.Outcome, error) {
		return s.b.Replicas.Set(ctx, actor, o)
	})
}

func (s *Server) removeReplicas(w http.ResponseWriter, r *http.Request) error {
	return s.changeReplicas(w, r, false, func(ctx context.Context, o replicas.Order) (replicas.Outcome, error) {
		return s.b.Replicas.Remove(ctx, actor, o)
	})
}

func (s *Server) pauseReplicas(w http.ResponseWriter, r *http.Request) error {
	return s.changeReplicas(w, r, false, func(ctx context.Context, o replicas.Order) (replicas.Outcome, error) {
		return s.b.Replicas.Pause(ctx, actor, o, true)
	})
}

func (s *Server) resumeReplicas(w http.ResponseWriter, r *http.Request) error {
	return s.changeReplicas(w, r, true, func(ctx context.Context, o replicas.Order) (replicas.Outcome, error) {
		return s.b.Replicas.Pause(ctx, actor, o, false)
	})
}

// changeReplicas carries out an order, and has a task watch until the replicas are there where that is to be waited for.
func (s *Server) changeReplicas(w http.ResponseWriter, r *http.Request, watch bool, change func(context.Context, replicas.Order) (replicas.Outcome, error)) error {
	if s.b.Replicas == nil {
		return ErrAlone
	}
	var body ReplicaOrder
	if err := readJSON(r, &body); err != nil {
		return err
	}
	done, err := change(r.Context(), body.order())
	if err != nil {
		return err
	}
	shown := ReplicaOutcome{Accounts: len(done.Accounts), Failed: notNil(done.Failed), Selectors: done.Selectors}
	if watch && len(done.Accounts) > 0 {
		work := ReplicaWork{Destinations: done.Nodes}
		if len(done.Accounts) <= watchedByName {
			work.Accounts = done.Accounts
		}
		text, err := json.Marshal(work)
		if err == nil {
			shown.Operation, err = s.b.Tasks.Submit(r.Context(), actor, TaskReplicaInitialise, text)
		}
		if err != nil {
			shown.Unwatched = err.Error() // the order is carried out, and must not look as if it were not
		}
	}
	writeJSON(w, http.StatusOK, shown)
	return nil
}

func (s *Server) enrolments(w http.ResponseWriter, r *http.Request) error {
	if s.b.Replicas == nil {
		return ErrAlone
	}
	all, err := s.b.Replicas.Enrolments(r.Context())
	if err != nil {
		return err
	}
	shown := []Enrolled{}
	for selector, e := range all {
		shown = append(shown, Enrolled{selector, e.Keep, e.Destinations})
	}
	slices.SortFunc(shown, func(a, b Enrolled) int { return strings.Compare(a.Selector, b.Selector) })
	writeJSON(w, http.StatusOK, shown)
	return nil
}

func (s *Server) testReplicas(w http.ResponseWriter, r *http.Request) error {
	if s.b.Replicas == nil {
		return ErrAlone
	}
	all, err := s.b.Replicas.Test(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(all))
	}
	return err
}

func (s *Server) verifyReplicas(w http.ResponseWriter, r *http.Request) error {
	if s.b.Replicas == nil {
		return ErrAlone
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.limits.Body)
	var check ReplicaCheck
	if err := readJSON(r, &check); err != nil {
		return err
	}
	out := s.lines(w, r)
	sel := directory.Selection{Names: check.Accounts, Domains: check.Domains, All: check.All}
	sum, err := s.b.Replicas.Verify(out.ctx, sel, check.Nodes, func(d replicas.Difference) { _ = out.item(d) }, func(done, total int) {
		out.progress(Progress{Done: uint64(done), Total: uint64(total), Unit: "accounts"})
	})
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}
