package webadmin

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/listen"
)

// Listeners is listen.Listeners.
type Listeners interface {
	Status(ctx context.Context) []listen.Status
	Known(ctx context.Context) ([]string, error)
	Remove(ctx context.Context, id string) error
	Groups(ctx context.Context) ([]listen.Group, error)
	List(ctx context.Context, f listen.Filter, from uint64, limit int) (listen.Page, error)
	Show(ctx context.Context, id uint64) (listen.Shown, error)
	Drop(ctx context.Context, sel listen.Selection, progress func(done, total uint64)) (uint64, error)
}

// The types of the tasks that these routes begin. Those of redeliveries are James's.
const (
	TaskRedeliverAll   = "event-dead-letters-redeliver-all"
	TaskRedeliverGroup = "event-dead-letters-redeliver-group"
	TaskRedeliverOne   = "event-dead-letters-redeliver-one"
	TaskLettersDrop    = "dead-letters-drop"
	TaskReindex        = "opensearch-reindex"
)

// Letter is a dead letter with the transaction that it refers to.
type Letter struct {
	listen.Letter
	Entry   *LogEntry `json:"entry,omitempty"`
	Problem string    `json:"problem,omitempty"` // why there is no entry
}

// ListenerState is a listener, which may be one that this server does not run.
type ListenerState struct {
	listen.Status
	Running bool `json:"running"`
}

// ReindexOrder says what is indexed again: everything, or an account's messages.
type ReindexOrder struct {
	Account string     `json:"account,omitempty"` // an address or id
	Mailbox string     `json:"mailbox,omitempty"`
	Message domain.UID `json:"message,omitempty"` // in the mailbox
}

var letterFilter = []Query{
	{"listener", "Only of this listener's id"}, {"account", "Only of this account"}, {"cause", "Only those whose cause has this text"},
	{"olderThan", "Only those that last failed longer ago, such as 2h"}, {"youngerThan", "Only those that last failed since"},
	{"from", "Begin at this letter"}, {"limit", "At most so many; 100 if absent, 1000 at most"},
}

var redeliverQuery = []Query{{"action", "reDeliver"}, {"limit", "At most so many; all if absent"}}

// letterRoutes are James's of event dead letters, and ours with paging, filters, counts and causes. A group is a listener's id.
var letterRoutes = []Route{
	{Pattern: "GET /events/deadLetter/groups", Answer: []string{}, serve: (*Server).jamesGroups, Summary: "List the groups that have dead letters"},
	{Pattern: "GET /events/deadLetter/groups/{group}", Answer: []string{}, serve: (*Server).jamesLetters, Summary: "List a group's dead letters by id, 100,000 at most"},
	{Pattern: "GET /events/deadLetter/groups/{group}/{letter}", Answer: Letter{}, serve: (*Server).jamesLetter, Summary: "Show a dead letter"},
	{Pattern: "DELETE /events/deadLetter/groups/{group}", serve: (*Server).jamesDropGroup, Summary: "Drop a group's dead letters"},
	{Pattern: "DELETE /events/deadLetter/groups/{group}/{letter}", serve: (*Server).jamesDropLetter, Summary: "Drop a dead letter"},
	{Pattern: "POST /events/deadLetter", Answer: Submitted{}, Status: http.StatusCreated, Query: redeliverQuery, serve: (*Server).jamesRedeliver, Summary: "Redeliver all dead letters"},
	{Pattern: "POST /events/deadLetter/groups/{group}", Answer: Submitted{}, Status: http.StatusCreated, Query: redeliverQuery, serve: (*Server).jamesRedeliver, Summary: "Redeliver a group's dead letters"},
	{Pattern: "POST /events/deadLetter/groups/{group}/{letter}", Answer: Submitted{}, Status: http.StatusCreated, Query: redeliverQuery[:1], serve: (*Server).jamesRedeliver, Summary: "Redeliver a dead letter"},

	{Pattern: "GET /v1/dead-letters/groups", Answer: []listen.Group{}, serve: (*Server).letterGroups, Summary: "Count dead letters by listener"},
	{Pattern: "GET /v1/dead-letters", Answer: listen.Page{}, Query: letterFilter, serve: (*Server).letters, Summary: "List dead letters, the oldest first"},
	{Pattern: "GET /v1/dead-letters/{letter}", Answer: Letter{}, serve: (*Server).jamesLetter, Summary: "Show a dead letter with its transaction"},
	{Pattern: "POST /v1/dead-letters/redeliver", Body: listen.Selection{}, Answer: Submitted{}, Status: http.StatusCreated, serve: (*Server).redeliver, Summary: "Redeliver the dead letters that a selection names"},
	{Pattern: "POST /v1/dead-letters/drop", Destroys: true, Body: listen.Selection{}, Answer: Submitted{}, Status: http.StatusCreated, serve: (*Server).dropLetters, Summary: "Drop the dead letters that a selection names"},

	{Pattern: "GET /v1/listeners", Answer: []ListenerState{}, serve: (*Server).listeners, Summary: "List listeners and how far they are"},
	{Pattern: "DELETE /v1/listeners/{listener}", serve: (*Server).removeListener, Summary: "Remove a listener with its place in the log and its dead letters"},
	{Pattern: "POST /v1/opensearch/reindex", Body: ReindexOrder{}, Answer: Submitted{}, Status: http.StatusCreated, serve: (*Server).reindex, Summary: "Make the OpenSearch index anew, beside the old one, or of an account"},
}

func (s *Server) jamesGroups(w http.ResponseWriter, r *http.Request) error {
	groups, err := s.b.Listeners.Groups(r.Context())
	names := []string{}
	for _, g := range groups {
		names = append(names, g.Listener)
	}
	if err == nil {
		writeJSON(w, http.StatusOK, names)
	}
	return err
}

// jamesMost bounds the one answer that James does not page.
const jamesMost = 100_000

func (s *Server) jamesLetters(w http.ResponseWriter, r *http.Request) error {
	ids := []string{}
	for from := uint64(1); from != 0 && len(ids) < jamesMost; {
		page, err := s.b.Listeners.List(r.Context(), listen.Filter{Listener: r.PathValue("group")}, from, 1000)
		if err != nil {
			return err
		}
		for i := range page.Letters {
			ids = append(ids, strconv.FormatUint(page.Letters[i].ID, 10))
		}
		from = page.Next
	}
	writeJSON(w, http.StatusOK, ids)
	return nil
}

// letterID reads the id in the path.
func letterID(r *http.Request) (uint64, error) {
	id, err := strconv.ParseUint(r.PathValue("letter"), 10, 64)
	if err != nil || id == 0 {
		return 0, domain.Errorf(domain.Invalid, "%q is not the id of a dead letter", r.PathValue("letter"))
	}
	return id, nil
}

func (s *Server) jamesLetter(w http.ResponseWriter, r *http.Request) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	shown, err := s.b.Listeners.Show(r.Context(), id)
	if err != nil {
		return err
	}
	if group := r.PathValue("group"); group != "" && group != shown.Listener {
		return domain.Errorf(domain.NotFound, "%s has no dead letter %d", group, id)
	}
	answer := Letter{Letter: shown.Letter, Problem: shown.Problem}
	if shown.Entry != nil {
		e := entryOf(shown.Entry)
		answer.Entry = &e
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) jamesDropGroup(w http.ResponseWriter, r *http.Request) error {
	return s.drop(w, r, listen.Selection{Filter: listen.Filter{Listener: r.PathValue("group")}})
}

func (s *Server) jamesDropLetter(w http.ResponseWriter, r *http.Request) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	return s.drop(w, r, listen.Selection{Filter: listen.Filter{Listener: r.PathValue("group")}, ID: id})
}

// drop answers as James does, also when there was nothing to drop.
func (s *Server) drop(w http.ResponseWriter, r *http.Request, sel listen.Selection) error {
	if _, err := s.b.Listeners.Drop(r.Context(), sel, nil); err != nil && !domain.Is(err, domain.NotFound) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) jamesRedeliver(w http.ResponseWriter, r *http.Request) error {
	if action := r.URL.Query().Get("action"); action != "reDeliver" {
		return domain.Errorf(domain.Invalid, "action=%q is not one of those supported: reDeliver", action)
	}
	limit, err := number(r, "limit", 0)
	if err == nil && limit == 0 && r.URL.Query().Has("limit") {
		err = domain.Errorf(domain.Invalid, "limit must be greater than 0")
	}
	if err != nil {
		return err
	}
	sel, kind := listen.Selection{Filter: listen.Filter{Listener: r.PathValue("group")}, Limit: limit}, TaskRedeliverAll
	switch {
	case r.PathValue("letter") != "":
		kind = TaskRedeliverOne
		if sel.ID, err = letterID(r); err != nil {
			return err
		}
	case sel.Listener != "":
		kind = TaskRedeliverGroup
	}
	return s.submit(w, r, kind, sel)
}

func (s *Server) letterGroups(w http.ResponseWriter, r *http.Request) error {
	groups, err := s.b.Listeners.Groups(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, notNil(groups))
	}
	return err
}

func (s *Server) letters(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := listen.Filter{Listener: q.Get("listener"), Cause: q.Get("cause")}
	var err error
	if name := q.Get("account"); name != "" {
		if f.Account, err = s.account(r.Context(), name); err != nil {
			return err
		}
	}
	older, err := duration(r, "olderThan", 0, time.Second)
	if err != nil {
		return err
	}
	younger, err := duration(r, "youngerThan", 0, time.Second)
	if err != nil {
		return err
	}
	if older > 0 {
		f.Before = s.now().Add(-older)
	}
	if younger > 0 {
		f.After = s.now().Add(-younger)
	}
	from, err := number(r, "from", 1)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", 100)
	if err != nil {
		return err
	}
	page, err := s.b.Listeners.List(r.Context(), f, from, int(min(limit, 1000)))
	if err == nil {
		writeJSON(w, http.StatusOK, page)
	}
	return err
}

func (s *Server) redeliver(w http.ResponseWriter, r *http.Request) error {
	var sel listen.Selection
	if err := readJSON(r, &sel); err != nil {
		return err
	}
	kind := TaskRedeliverAll
	switch {
	case sel.ID != 0:
		kind = TaskRedeliverOne
	case sel.Listener != "":
		kind = TaskRedeliverGroup
	}
	return s.submit(w, r, kind, sel)
}

func (s *Server) dropLetters(w http.ResponseWriter, r *http.Request) error {
	var sel listen.Selection
	if err := readJSON(r, &sel); err != nil {
		return err
	}
	return s.submit(w, r, TaskLettersDrop, sel)
}

func (s *Server) listeners(w http.ResponseWriter, r *http.Request) error {
	known, err := s.b.Listeners.Known(r.Context())
	if err != nil {
		return err
	}
	all := []ListenerState{}
	running := map[string]bool{}
	for _, l := range s.b.Listeners.Status(r.Context()) {
		running[l.ID] = true
		all = append(all, ListenerState{l, true})
	}
	for _, id := range known {
		if !running[id] {
			all = append(all, ListenerState{Status: listen.Status{ID: id}})
		}
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

func (s *Server) removeListener(w http.ResponseWriter, r *http.Request) error {
	if err := s.b.Listeners.Remove(r.Context(), r.PathValue("listener")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) reindex(w http.ResponseWriter, r *http.Request) error {
	var order ReindexOrder
	if err := readJSON(r, &order); err != nil {
		return err
	}
	return s.submit(w, r, TaskReindex, order)
}
