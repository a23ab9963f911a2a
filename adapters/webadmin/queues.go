package webadmin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// Queue is outgoing.Worker.
type Queue interface {
	View(f func(*queue.State))
	Entries(ctx context.Context, ids []queue.ID) ([]*queue.Entry, error)
	Change(ctx context.Context, f *queue.Filter, c queue.Change, progress func(done, total int)) (int, error)
	Resting() map[string]time.Time
}

// The queues, and the types of the tasks that these routes begin, which are James's.
const (
	QueueName       = "outgoing"
	SpoolName       = "spool" // what waits for the pipeline
	TaskQueueClear  = "clear-mail-queue"
	TaskQueueDelete = "delete-mails-from-mail-queue"
)

// QueueState is what a queue holds.
type QueueState struct {
	Name         string               `json:"name"`
	Size         int                  `json:"size"`
	Octets       int64                `json:"octets"`
	Held         int                  `json:"held"`
	Active       int                  `json:"active"` // being attempted
	Destinations int                  `json:"destinations"`
	Oldest       time.Time            `json:"oldest,omitzero"`   // arrival
	Resting      map[string]time.Time `json:"resting,omitempty"` // destinations where no host could be reached from this node, and until when nothing is tried
}

// QueuedMessage is an entry as lists show it.
type QueuedMessage struct {
	ID           queue.ID  `json:"id"`
	Sender       string    `json:"sender"` // empty: the null sender
	Recipients   []string  `json:"recipients"`
	Domain       string    `json:"domain"`
	Arrived      time.Time `json:"arrived"`
	NextDelivery time.Time `json:"nextDelivery"`
	Attempts     int       `json:"attempts"`
	Unclear      int       `json:"unclear,omitempty"`
	Held         bool      `json:"held,omitempty"`
	Active       bool      `json:"active,omitempty"`
	Error        string    `json:"error,omitempty"`
	Priority     int8      `json:"priority,omitempty"`
	Pledged      bool      `json:"pledged,omitempty"` // it is open whether it counts: a script sends it, whose delivery has not come about yet
}

// QueuePage is some of a list.
type QueuePage struct {
	Messages []QueuedMessage `json:"messages"`
	Next     string          `json:"next,omitempty"` // where to go on; absent at the end
}

// QueueOrder says what to do with which entries.
type QueueOrder struct {
	queue.Filter
	All bool   `json:"all,omitempty"` // needed where the filter leaves nothing out
	Via string `json:"via,omitempty"` // redirect: host or host:port; empty: where DNS or a route says
	// Priority is that of priority: from -9 to 9, where most mail has 0.
	Priority int `json:"priority,omitempty"`
}

// Changed is to how many entries it was done.
type Changed struct {
	Messages int `json:"messages"`
}

type jamesQueue struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

type jamesMail struct {
	Name         string   `json:"name"`
	Sender       string   `json:"sender"`
	Recipients   []string `json:"recipients"`
	NextDelivery string   `json:"nextDelivery"`
}

// JamesQueueOrder is the parameters of the tasks. One of sender, name and recipient is set where some are deleted.
type JamesQueueOrder struct {
	Queue     string `json:"queue"`
	Sender    string `json:"sender,omitempty"`
	Name      string `json:"name,omitempty"`
	Recipient string `json:"recipient,omitempty"`
}

var queueFilter = []Query{
	{"sender", "Only from this address; <> is the null sender"}, {"recipient", "Only to this address"}, {"domain", "Only to addresses of this domain"}, {"name", "Only this id"},
	{"error", "Only those whose last error has this text"}, {"olderThan", "Only those that arrived longer ago, such as 2h"}, {"youngerThan", "Only those that arrived since"},
	{"held", "true: only those that are held; false: only the others"}, {"delayed", "true: only those that are due later; false: only the others"},
}

// QueueShelf finds a queue by its name. Errors: domain.NotFound.
func QueueShelf(name string) (queue.Shelf, error) {
	switch name {
	case QueueName:
		return queue.Outgoing, nil
	case SpoolName:
		return queue.Spool, nil
	}
	return "", domain.Errorf(domain.NotFound, "there is no queue %q: there are %s and %s", name, QueueName, SpoolName)
}

// queueRoutes are James's of mail queues, and ours with every filter.
var queueRoutes = []Route{
	{Pattern: "GET /mailQueues", Answer: []string{}, serve: (*Server).jamesQueues, Summary: "List the queues"},
	{Pattern: "GET /mailQueues/{queue}", Answer: jamesQueue{}, serve: (*Server).jamesQueue, Summary: "Tell a queue's size"},
	{Pattern: "GET /mailQueues/{queue}/mails", Answer: []jamesMail{}, Query: []Query{{"limit", "At most so many; all if absent, 100,000 at most"}, {"delayed", "Whether it is due later"}}, serve: (*Server).jamesMails,
		Summary: "List a queue's messages"},
	{Pattern: "DELETE /mailQueues/{queue}/mails", Answer: Submitted{}, Status: http.StatusCreated, Query: []Query{{"sender", "Only from this address"}, {"name", "Only this one"}, {"recipient", "Only to this address"}},
		serve: (*Server).jamesDeleteMails, Summary: "Clear a queue, or delete what one of the parameters names"},
	{Pattern: "PATCH /mailQueues/{queue}/mails", Body: jamesFlush{}, Query: []Query{{"delayed", "true"}}, serve: (*Server).jamesFlushQueue, Summary: "Flush a queue: what is delayed is due now"},
	{Pattern: "PATCH /mailQueues/{queue}", Body: jamesFlush{}, Query: []Query{{"delayed", "true"}}, serve: (*Server).jamesFlushQueue, Summary: "Flush a queue, as James's documentation writes it"},

	{Pattern: "GET /v1/queues", Answer: []QueueState{}, serve: (*Server).queues, Summary: "List the queues with their size and age"},
	{Pattern: "GET /v1/queues/{queue}", Answer: QueueState{}, serve: (*Server).queueState, Summary: "Tell a queue's size and age"},
	{Pattern: "GET /v1/queues/{queue}/messages", Answer: QueuePage{}, Query: append(queueFilter[:len(queueFilter):len(queueFilter)], Query{"limit", "At most so many; 50 if absent, 1000 at most"}, Query{"next", "Begin at this message"}),
		serve: (*Server).queued, Summary: "List a queue's messages, the oldest first"},
	{Pattern: "GET /v1/queues/{queue}/messages/{message}", Answer: queue.Entry{}, serve: (*Server).queuedMessage, Summary: "Show a queued message"},
	{Pattern: "POST /v1/queues/{queue}/flush", Body: QueueOrder{}, Answer: Changed{}, serve: (*Server).flushQueue, Summary: "Make messages due now"},
	{Pattern: "POST /v1/queues/{queue}/hold", Body: QueueOrder{}, Answer: Changed{}, serve: (*Server).holdQueue, Summary: "Attempt no delivery of messages until they are released"},
	{Pattern: "POST /v1/queues/{queue}/release", Body: QueueOrder{}, Answer: Changed{}, serve: (*Server).releaseQueue, Summary: "Release messages that are held"},
	{Pattern: "POST /v1/queues/{queue}/redirect", Body: QueueOrder{}, Answer: Changed{}, serve: (*Server).redirectQueue, Summary: "Have messages go to another host"},
	{Pattern: "POST /v1/queues/{queue}/priority", Body: QueueOrder{}, Answer: Changed{}, serve: (*Server).prioritise, Summary: "Say which messages that are due come first"},
	{Pattern: "POST /v1/queues/{queue}/delete", Destroys: true, Body: QueueOrder{}, Answer: Changed{}, serve: (*Server).deleteQueued, Summary: "Delete messages; their senders are not told"},
}

type jamesFlush struct {
	Delayed *bool `json:"delayed"`
}

// queue finds the queue in the path.
func (s *Server) queue(r *http.Request) (Queue, queue.Shelf, error) {
	shelf, err := QueueShelf(r.PathValue("queue"))
	if err != nil {
		return nil, "", err
	}
	if q := s.queueNow(); q != nil {
		return q, shelf, nil
	}
	return nil, "", domain.Errorf(domain.Unavailable, "the queue cannot be read")
}

// queueNow gives the queue; nil while it cannot be read.
func (s *Server) queueNow() Queue {
	if s.b.Queue == nil {
		return nil
	}
	return s.b.Queue()
}

func (s *Server) state(q Queue, shelf queue.Shelf) (state QueueState) {
	q.View(func(st *queue.State) {
		on := st.On(shelf)
		state = QueueState{Name: shelf.Name(), Size: on.Len(), Octets: on.Octets(), Held: on.Held(), Active: on.Claimed()}
		if oldest := on.Oldest(); oldest != nil {
			state.Oldest = time.UnixMilli(oldest.Arrived)
		}
		if shelf == queue.Outgoing {
			state.Destinations = on.Destinations()
		}
	})
	if shelf == queue.Outgoing {
		state.Resting = q.Resting()
	}
	return state
}

func (s *Server) queues(w http.ResponseWriter, _ *http.Request) error {
	q := s.queueNow()
	if q == nil {
		return domain.Errorf(domain.Unavailable, "the queue cannot be read")
	}
	writeJSON(w, http.StatusOK, []QueueState{s.state(q, queue.Outgoing), s.state(q, queue.Spool)})
	return nil
}

func (s *Server) queueState(w http.ResponseWriter, r *http.Request) error {
	q, shelf, err := s.queue(r)
	if err == nil {
		writeJSON(w, http.StatusOK, s.state(q, shelf))
	}
	return err
}

func (s *Server) jamesQueues(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, []string{QueueName, SpoolName})
	return nil
}

func (s *Server) jamesQueue(w http.ResponseWriter, r *http.Request) error {
	q, shelf, err := s.queue(r)
	if err == nil {
		writeJSON(w, http.StatusOK, jamesQueue{shelf.Name(), s.state(q, shelf).Size})
	}
	return err
}

// queueFilterOf reads a filter from a request's parameters.
func (s *Server) queueFilterOf(r *http.Request) (f queue.Filter, err error) {
	p := r.URL.Query()
	f = queue.Filter{Sender: p.Get("sender"), Recipient: p.Get("recipient"), Domain: p.Get("domain"), Name: p.Get("name"), Error: p.Get("error"), Now: queue.Millis(s.now())}
	for name, to := range map[string]*int64{"olderThan": &f.Before, "youngerThan": &f.After} {
		age, err := duration(r, name, 0, time.Second)
		if err != nil {
			return f, err
		}
		if age > 0 {
			*to = queue.Millis(s.now().Add(-age))
		}
	}
	for name, to := range map[string]**bool{"held": &f.Held, "delayed": &f.Delayed} {
		if text := p.Get(name); text != "" {
			is, err := strconv.ParseBool(text)
			if err != nil {
				return f, domain.Errorf(domain.Invalid, "%s is true or false, not %q", name, text)
			}
			*to = &is
		}
	}
	return f, nil
}

func (s *Server) list(q Queue, shelf queue.Shelf, f *queue.Filter, from queue.ID, most int) (page QueuePage) {
	page.Messages = []QueuedMessage{}
	q.View(func(st *queue.State) {
		items, next := st.On(shelf).List(f, from, most)
		for _, i := range items {
			_, active := st.Claim(i.ID)
			page.Messages = append(page.Messages, QueuedMessage{
				ID: i.ID, Sender: i.Sender(), Recipients: i.Recipients(), Domain: i.Domain(), Arrived: time.UnixMilli(i.Arrived), NextDelivery: time.UnixMilli(i.Due), Attempts: int(i.Attempts),
				Unclear: int(i.Unclear), Held: i.Held, Active: active, Error: i.Error, Priority: i.Priority, Pledged: i.Pledged,
			})
		}
		if next != 0 {
			page.Next = next.String()
		}
	})
	return page
}

func (s *Server) queued(w http.ResponseWriter, r *http.Request) error {
	q, shelf, err := s.queue(r)
	if err != nil {
		return err
	}
	f, err := s.queueFilterOf(r)
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
	writeJSON(w, http.StatusOK, s.list(q, shelf, &f, from, int(min(limit, 1000))))
	return nil
}

func (s *Server) jamesMails(w http.ResponseWriter, r *http.Request) error {
	q, shelf, err := s.queue(r)
	if err != nil {
		return err
	}
	f, err := s.queueFilterOf(r)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", jamesMost)
	if err == nil && limit == 0 {
		err = domain.Errorf(domain.Invalid, "limit must be greater than 0")
	}
	if err != nil {
		return err
	}
	mails := []jamesMail{}
	for _, m := range s.list(q, shelf, &f, 0, int(min(limit, jamesMost))).Messages {
		mails = append(mails, jamesMail{m.ID.String(), m.Sender, m.Recipients, m.NextDelivery.UTC().Format(time.RFC3339Nano)})
	}
	writeJSON(w, http.StatusOK, mails)
	return nil
}

func (s *Server) queuedMessage(w http.ResponseWriter, r *http.Request) error {
	q, shelf, err := s.queue(r)
	if err != nil {
		return err
	}
	id, err := queue.ParseID(r.PathValue("message"))
	if err != nil {
		return err
	}
	entries, err := q.Entries(r.Context(), []queue.ID{id})
	if err != nil {
		return err
	}
	if len(entries) == 0 || entries[0].Shelf != shelf {
		return domain.Errorf(domain.NotFound, "the queue has no message %s", id)
	}
	writeJSON(w, http.StatusOK, entries[0])
	return nil
}

// order does something to what an order names.
func (s *Server) order(w http.ResponseWriter, r *http.Request, change func(*QueueOrder, *queue.Filter) (queue.Change, error)) error {
	q, shelf, err := s.queue(r)
	if err != nil {
		return err
	}
	var o QueueOrder
	if err := readJSON(r, &o); err != nil {
		return err
	}
	f := o.Filter
	f.Now = queue.Millis(s.now())
	if f.All() && !o.All {
		return domain.Errorf(domain.Invalid, "say which messages, or all")
	}
	c, err := change(&o, &f)
	if err != nil {
		return err
	}
	if c.Via != nil && shelf != queue.Outgoing {
		return domain.Errorf(domain.Invalid, "only what goes to other servers can be redirected")
	}
	c.By, c.On = actor, shelf
	n, err := q.Change(r.Context(), &f, c, nil)
	if err == nil {
		writeJSON(w, http.StatusOK, Changed{n})
	}
	return err
}

func (s *Server) flushQueue(w http.ResponseWriter, r *http.Request) error {
	return s.order(w, r, func(*QueueOrder, *queue.Filter) (queue.Change, error) {
		now := queue.Millis(s.now())
		return queue.Change{Due: &now}, nil
	})
}

func (s *Server) holdQueue(w http.ResponseWriter, r *http.Request) error {
	return s.order(w, r, func(*QueueOrder, *queue.Filter) (queue.Change, error) {
		yes := true
		return queue.Change{Held: &yes}, nil
	})
}

func (s *Server) releaseQueue(w http.ResponseWriter, r *http.Request) error {
	return s.order(w, r, func(_ *QueueOrder, f *queue.Filter) (queue.Change, error) {
		yes, no := true, false
		f.Held = &yes
		return queue.Change{Held: &no}, nil
	})
}

func (s *Server) redirectQueue(w http.ResponseWriter, r *http.Request) error {
	return s.order(w, r, func(o *QueueOrder, _ *queue.Filter) (queue.Change, error) {
		if strings.ContainsAny(o.Via, " /@<>\r\n") {
			return queue.Change{}, domain.Errorf(domain.Invalid, "%q is not a host such as relay.example.net or relay.example.net:587", o.Via)
		}
		now := queue.Millis(s.now())
		return queue.Change{Via: &o.Via, Due: &now}, nil
	})
}

func (s *Server) prioritise(w http.ResponseWriter, r *http.Request) error {
	return s.order(w, r, func(o *QueueOrder, _ *queue.Filter) (queue.Change, error) {
		if o.Priority < queue.MinPriority || o.Priority > queue.MaxPriority {
			return queue.Change{}, domain.Errorf(domain.Invalid, "%d is no priority: they are from %d to %d", o.Priority, queue.MinPriority, queue.MaxPriority)
		}
		priority := int8(o.Priority)
		return queue.Change{Priority: &priority}, nil
	})
}

func (s *Server) deleteQueued(w http.ResponseWriter, r *http.Request) error {
	return s.order(w, r, func(*QueueOrder, *queue.Filter) (queue.Change, error) { return queue.Change{Remove: true}, nil })
}

func (s *Server) jamesDeleteMails(w http.ResponseWriter, r *http.Request) error {
	_, shelf, err := s.queue(r)
	if err != nil {
		return err
	}
	p := r.URL.Query()
	o, n := JamesQueueOrder{Queue: shelf.Name(), Sender: p.Get("sender"), Name: p.Get("name"), Recipient: p.Get("recipient")}, 0
	for _, v := range []string{o.Sender, o.Name, o.Recipient} {
		if v != "" {
			n++
		}
	}
	switch n {
	case 0:
		return s.submit(w, r, TaskQueueClear, o)
	case 1:
		return s.submit(w, r, TaskQueueDelete, o)
	}
	return domain.Errorf(domain.Invalid, "give one of sender, name and recipient, or none")
}

func (s *Server) jamesFlushQueue(w http.ResponseWriter, r *http.Request) error {
	q, shelf, err := s.queue(r)
	if err != nil {
		return err
	}
	if is, err := strconv.ParseBool(r.URL.Query().Get("delayed")); err != nil || !is {
		return domain.Errorf(domain.Invalid, "delayed=%q is not one of those supported: true", r.URL.Query().Get("delayed"))
	}
	var body jamesFlush
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if body.Delayed == nil || *body.Delayed {
		return domain.Errorf(domain.Invalid, "the body says what the messages shall be: {\"delayed\":false}")
	}
	yes, now := true, queue.Millis(s.now())
	if _, err := q.Change(r.Context(), &queue.Filter{Delayed: &yes, Now: now}, queue.Change{Due: &now, By: actor, On: shelf}, nil); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
