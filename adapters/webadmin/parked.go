package webadmin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/parking"
)

// Parked is parking.Lots.
type Parked interface {
	Repositories() []parking.Standing
	Repository(name string) (parking.Standing, error)
	List(repository string, f *queue.Filter, from queue.ID, offset, most int) (parking.Page, error)
	Entry(ctx context.Context, repository string, key queue.ID) (*queue.Entry, error)
	Open(ctx context.Context, e *queue.Entry, off, n int64) (io.ReadCloser, error)
	Move(ctx context.Context, o *parking.Order, progress func(done, total int)) (parking.Done, error)
	Delete(ctx context.Context, o *parking.Order, progress func(done, total int)) (parking.Done, error)
}

// The types of the tasks that these routes begin. The first three are James's.
const (
	TaskReprocessAll = "reprocessing-all"
	TaskReprocessOne = "reprocessing-one"
	TaskParkedClear  = "clear-mail-repository"
	TaskParkedDelete = "parked-delete"
	TaskParkedMove   = "parked-move"
	TaskParkedExpire = "parked-expire"
)

// ParkedOrder is what to do with which mail of a repository.
type ParkedOrder struct {
	queue.Filter
	All       bool    `json:"all,omitempty"` // needed where the filter leaves nothing out
	Limit     int     `json:"limit,omitempty"`
	Rate      float64 `json:"rate,omitempty"` // messages a second
	DryRun    bool    `json:"dryRun,omitempty"`
	Processor string  `json:"processor,omitempty"` // reprocess: where to begin
	Keep      bool    `json:"keep,omitempty"`      // reprocess: a copy
	To        string  `json:"to,omitempty"`        // move: the repository
}

// ShownParked is a parked message with what it says at its top.
type ShownParked struct {
	queue.Entry
	Repository string `json:"repository"`
	Header     string `json:"header"` // as it is, 64 KiB at most
}

var parkedFilter = []Query{
	{"sender", "Only from this address; <> is the null sender"}, {"recipient", "Only to this address"}, {"domain", "Only to addresses of this domain"}, {"error", "Only those whose error has this text"},
	{"cause", "Only those with this code"}, {"remoteAddress", "Only those that came from this address"}, {"remoteHost", "Only those that came from this host"},
	{"olderThan", "Only those that were parked longer ago, such as 2h"}, {"youngerThan", "Only those that were parked since"}, {"maxTimes", "Only those that were parked at most so often"},
}

// parkedRoutes are James's of mail repositories, and ours with every filter. A repository is named as in James, var/mail/error, or in short, error.
var parkedRoutes = []Route{
	{Pattern: "GET /mailRepositories", Answer: []jamesRepository{}, serve: (*Server).jamesRepositories, Summary: "List repositories"},
	{Pattern: "PUT /mailRepositories/{repository}", Query: []Query{{"protocol", "Has no meaning"}}, serve: (*Server).jamesMakeRepository, Summary: "Say that there be a repository; every one that can be is there"},
	{Pattern: "GET /mailRepositories/{repository}", Answer: jamesRepositorySize{}, serve: (*Server).jamesRepository, Summary: "Tell a repository's size"},
	{Pattern: "GET /mailRepositories/{repository}/mails", Answer: []string{}, Query: jamesParkedFilter, serve: (*Server).jamesParkedMails, Summary: "List the keys of a repository's mails"},
	{Pattern: "GET /mailRepositories/{repository}/mails/{key}", Answer: jamesParked{}, Query: []Query{{"additionalFields", "attributes, headers, textBody, htmlBody, messageSize, perRecipientsHeaders"}}, serve: (*Server).jamesParkedMail,
		Summary: "Show a mail, or give it as it is (Accept: message/rfc822)"},
	{Pattern: "DELETE /mailRepositories/{repository}/mails/{key}", serve: (*Server).jamesDeleteParked, Summary: "Delete a mail"},
	{Pattern: "DELETE /mailRepositories/{repository}/mails", Answer: Submitted{}, Status: http.StatusCreated, serve: (*Server).jamesClearParked, Summary: "Delete all mails of a repository"},
	{Pattern: "PATCH /mailRepositories/{repository}/mails", Body: jamesMove{}, Answer: Submitted{}, Status: http.StatusCreated, Query: append(jamesReprocess[:len(jamesReprocess):len(jamesReprocess)], Query{"limit", "At most so many"}, Query{"maxRetries", "Only those that were parked at most so often"}), serve: (*Server).jamesPatchParked,
		Summary: "Process all mails again (201, a task), or move them (204)"},
	{Pattern: "PATCH /mailRepositories/{repository}/mails/{key}", Body: jamesMove{}, Answer: Submitted{}, Status: http.StatusCreated, Query: jamesReprocess, serve: (*Server).jamesPatchParked, Summary: "Process a mail again (201, a task), or move it (204)"},

	{Pattern: "GET /v1/parked", Answer: []parking.Standing{}, serve: (*Server).repositories, Summary: "List repositories with the size and age of what is parked there"},
	{Pattern: "GET /v1/parked/{repository}", Answer: parking.Standing{}, serve: (*Server).repository, Summary: "Tell a repository's size and age"},
	{Pattern: "GET /v1/parked/{repository}/messages", Answer: parking.Page{}, Query: append(parkedFilter[:len(parkedFilter):len(parkedFilter)], Query{"limit", "At most so many; 50 if absent, 1000 at most"}, Query{"next", "Begin at this message"}),
		serve: (*Server).parkedMessages, Summary: "List parked messages, the oldest first"},
	{Pattern: "GET /v1/parked/{repository}/messages/{key}", Answer: ShownParked{}, serve: (*Server).parkedMessage, Summary: "Show a parked message: envelope, cause, header"},
	{Pattern: "GET /v1/parked/{repository}/messages/{key}/message", Streams: true, AnswerType: messageType, serve: (*Server).parkedContent, Summary: "Give a parked message as it is"},
	{Pattern: "POST /v1/parked/{repository}/reprocess", Body: ParkedOrder{}, Answer: Submitted{}, Status: http.StatusCreated, serve: (*Server).reprocessParked, Summary: "Process parked messages again"},
	{Pattern: "POST /v1/parked/{repository}/move", Body: ParkedOrder{}, Answer: Submitted{}, Status: http.StatusCreated, serve: (*Server).moveParked, Summary: "Move parked messages to another repository"},
	{Pattern: "POST /v1/parked/{repository}/delete", Destroys: true, Body: ParkedOrder{}, Answer: Submitted{}, Status: http.StatusCreated, serve: (*Server).deleteParked, Summary: "Delete parked messages; nobody is told"},
}

const messageType = "message/rfc822"

func (s *Server) lots() (Parked, error) {
	if s.b.Parked != nil {
		if lots := s.b.Parked(); lots != nil {
			return lots, nil
		}
	}
	return nil, domain.Errorf(domain.Unavailable, "the queue cannot be read, and parked mail lies there")
}

// parkedAt finds the repository and, where the path has a key, the message.
func (s *Server) parkedAt(r *http.Request) (lots Parked, at parking.Standing, key queue.ID, err error) {
	if lots, err = s.lots(); err != nil {
		return nil, at, 0, err
	}
	if at, err = lots.Repository(r.PathValue("repository")); err != nil {
		return nil, at, 0, err
	}
	if text := r.PathValue("key"); text != "" {
		key, err = queue.ParseID(text)
	}
	return lots, at, key, err
}

func (s *Server) repositories(w http.ResponseWriter, _ *http.Request) error {
	lots, err := s.lots()
	if err == nil {
		writeJSON(w, http.StatusOK, lots.Repositories())
	}
	return err
}

func (s *Server) repository(w http.ResponseWriter, r *http.Request) error {
	_, at, _, err := s.parkedAt(r)
	if err == nil {
		writeJSON(w, http.StatusOK, at)
	}
	return err
}

// parkedFilterOf reads a filter from a request's parameters; before and after are the names of those about age.
func (s *Server) parkedFilterOf(r *http.Request, before, after string) (f queue.Filter, err error) {
	p := r.URL.Query()
	f = queue.Filter{
		Sender: p.Get("sender"), Recipient: p.Get("recipient"), Domain: p.Get("domain"), Error: p.Get("error"), Cause: p.Get("cause"), RemoteAddress: p.Get("remoteAddress"),
		RemoteHost: p.Get("remoteHost"),
	}
	for name, to := range map[string]*int64{before: &f.ParkedBefore, after: &f.ParkedAfter} {
		age, err := duration(r, name, 0, time.Second)
		if err != nil {
			return f, err
		}
		if age > 0 {
			*to = queue.Millis(s.now().Add(-age))
		}
	}
	times, err := number(r, "maxTimes", 0)
	f.MaxTimes = int(times)
	return f, err
}

func (s *Server) parkedMessages(w http.ResponseWriter, r *http.Request) error {
	lots, at, _, err := s.parkedAt(r)
	if err != nil {
		return err
	}
	f, err := s.parkedFilterOf(r, "olderThan", "youngerThan")
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", 50)
	if err != nil {
		return err
	}
	var from queue.ID
	if next := r.URL.Query().Get("next"); next != "" {
		if from, err = queue.ParseID(next); err != nil {
			return err
		}
	}
	page, err := lots.List(at.Name, &f, from, 0, int(min(limit, 1000)))
	if err == nil {
		writeJSON(w, http.StatusOK, page)
	}
	return err
}

// parkedEntry reads the message that the path names.
func (s *Server) parkedEntry(r *http.Request) (Parked, *queue.Entry, error) {
	lots, at, key, err := s.parkedAt(r)
	if err != nil {
		return nil, nil, err
	}
	e, err := lots.Entry(r.Context(), at.Name, key)
	return lots, e, err
}

// shownHeader bounds how much of a header is shown, in octets.
const shownHeader = 64 << 10

func parkedHeader(ctx context.Context, lots Parked, e *queue.Entry) ([]byte, error) {
	in, err := lots.Open(ctx, e, 0, shownHeader)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, domain.Wrap(domain.Unavailable, err, "read the message")
	}
	if end := bytes.Index(text, []byte("\r\n\r\n")); end >= 0 {
		text = text[:end+2]
	}
	return text, nil
}

func (s *Server) parkedMessage(w http.ResponseWriter, r *http.Request) error {
	lots, e, err := s.parkedEntry(r)
	if err != nil {
		return err
	}
	header, err := parkedHeader(r.Context(), lots, e)
	if err == nil {
		writeJSON(w, http.StatusOK, ShownParked{*e, e.Shelf.Name(), strings.ToValidUTF8(string(header), "\ufffd")})
	}
	return err
}

func (s *Server) parkedContent(w http.ResponseWriter, r *http.Request) error {
	lots, e, err := s.parkedEntry(r)
	if err != nil {
		return err
	}
	return s.sendParked(w, r, lots, e)
}

func (s *Server) sendParked(w http.ResponseWriter, r *http.Request, lots Parked, e *queue.Entry) error {
	in, err := lots.Open(r.Context(), e, 0, -1)
	if err != nil {
		return err
	}
	defer in.Close()
	w.Header().Set("Content-Type", messageType)
	w.Header().Set("Content-Length", strconv.FormatInt(e.Size(), 10))
	w.Header().Set("Cache-Control", "no-store")
	_, err = io.Copy(w, in)
	if err != nil { // the length tells the client that something is missing
		s.log.Warn("a parked message was not sent to its end", "key", e.ID, "err", err)
	}
	return nil
}

// orderParked begins a task.
func (s *Server) orderParked(w http.ResponseWriter, r *http.Request, kind string) error {
	_, at, _, err := s.parkedAt(r)
	if err != nil {
		return err
	}
	var o ParkedOrder
	if err := readJSON(r, &o); err != nil {
		return err
	}
	if o.Filter.All() && !o.All && o.Limit == 0 {
		return domain.Errorf(domain.Invalid, "say which messages, how many, or all")
	}
	order := parking.Order{
		Repository: at.Name, Filter: o.Filter, Limit: o.Limit, Rate: o.Rate, DryRun: o.DryRun, Processor: o.Processor, Keep: o.Keep, To: o.To,
	}
	if err := order.Check(); err != nil {
		return err
	}
	return s.submit(w, r, kind, order)
}

func (s *Server) reprocessParked(w http.ResponseWriter, r *http.Request) error {
	return s.orderParked(w, r, TaskReprocessAll)
}

func (s *Server) moveParked(w http.ResponseWriter, r *http.Request) error {
	return s.orderParked(w, r, TaskParkedMove)
}

func (s *Server) deleteParked(w http.ResponseWriter, r *http.Request) error {
	return s.orderParked(w, r, TaskParkedDelete)
}
