package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/queue"
)

// QueueCmd looks after mail that is on its way to other servers.
type QueueCmd struct {
	Status   QueueStatusCmd   `cmd:"" help:"Tell how much is queued, and for how long."`
	List     QueueListCmd     `cmd:"" help:"List queued messages, the oldest first."`
	Show     QueueShowCmd     `cmd:"" help:"Show a queued message."`
	Flush    QueueFlushCmd    `cmd:"" help:"Attempt messages now."`
	Hold     QueueHoldCmd     `cmd:"" help:"Attempt no delivery of messages until they are released."`
	Release  QueueReleaseCmd  `cmd:"" help:"Release messages that are held."`
	Redirect QueueRedirectCmd `cmd:"" help:"Have messages go to another host."`
	Priority QueuePriorityCmd `cmd:"" help:"Say which messages that are due come first."`
	Delete   QueueDeleteCmd   `cmd:"" help:"Delete messages."`
	Clear    QueueClearCmd    `cmd:"" help:"Delete all messages."`
}

// WhichQueue names a queue.
type WhichQueue struct {
	Queue string `default:"outgoing" enum:"outgoing,spool" placeholder:"QUEUE" help:"The queue: outgoing, or spool with what waits for the pipeline (${default})."`
}

// QueueFilter selects queued messages.
type QueueFilter struct {
	Sender      string        `placeholder:"ADDRESS" help:"Only from this address; <> is the null sender of reports."`
	Recipient   string        `placeholder:"ADDRESS" help:"Only to this address."`
	Domain      string        `placeholder:"DOMAIN" help:"Only to addresses of this domain."`
	Error       string        `placeholder:"TEXT" help:"Only those whose last error has this text, in any case."`
	OlderThan   time.Duration `placeholder:"TIME" help:"Only those that arrived longer ago, such as 2h."`
	YoungerThan time.Duration `placeholder:"TIME" help:"Only those that arrived since."`
}

// QueueSelection says which messages to work on.
type QueueSelection struct {
	IDs []string `arg:"" optional:"" name:"id" help:"Ids, as queue list shows them."`
	WhichQueue
	QueueFilter
	All  bool `help:"All queued messages."`
	JSON bool `name:"json" help:"Print JSON."`
}

func (s *QueueSelection) order() (o webadmin.QueueOrder, err error) {
	if len(s.IDs) == 0 && s.QueueFilter == (QueueFilter{}) && !s.All {
		return o, usage("say which: ids, --all, or some of --sender, --recipient, --domain, --error, --older-than and --younger-than")
	}
	o = webadmin.QueueOrder{Filter: queue.Filter{Sender: s.Sender, Recipient: s.Recipient, Domain: s.Domain, Error: s.Error}, All: s.All}
	for _, text := range s.IDs {
		id, err := queue.ParseID(text)
		if err != nil {
			return o, usage("%w", err)
		}
		o.IDs = append(o.IDs, id)
	}
	if s.OlderThan > 0 {
		o.Before = queue.Millis(time.Now().Add(-s.OlderThan))
	}
	if s.YoungerThan > 0 {
		o.After = queue.Millis(time.Now().Add(-s.YoungerThan))
	}
	return o, nil
}

// run has an action done to what is selected.
func (s *QueueSelection) run(g *Globals, env *Env, action, done, via string) error {
	o, err := s.order()
	if err != nil {
		return err
	}
	o.Via = via
	return s.send(g, env, action, done, o)
}

func (s *QueueSelection) send(g *Globals, env *Env, action, done string, o webadmin.QueueOrder) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum webadmin.Changed
	if err := server.call(env, http.MethodPost, path("queues", s.Queue, action), o, &sum); err != nil {
		return err
	}
	if s.JSON {
		return env.json(sum)
	}
	env.printf("%d messages %s\n", sum.Messages, done)
	return nil
}

// QueueStatusCmd adds up.
type QueueStatusCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*QueueStatusCmd) Help() string {
	return `Both are known at any size. Destinations where no host could be reached rest for a while; queue flush ends that.

Examples:

  streampost queue status
  streampost queue status --json`
}

// Run prints the sums.
func (c *QueueStatusCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	all := []webadmin.QueueState{}
	if err := server.call(env, http.MethodGet, path("queues"), nil, &all); err != nil {
		return err
	}
	if c.JSON {
		return env.json(all)
	}
	var rows [][]string
	for _, q := range all {
		age := "-"
		if !q.Oldest.IsZero() {
			age = time.Since(q.Oldest).Truncate(time.Second).String()
		}
		rows = append(rows, []string{q.Name, fmt.Sprint(q.Size), octets(q.Octets), age, fmt.Sprint(q.Held), fmt.Sprint(q.Active), fmt.Sprint(q.Destinations), fmt.Sprint(len(q.Resting))})
	}
	return env.table("QUEUE MESSAGES SIZE AGE HELD ACTIVE DESTINATIONS RESTING", rows)
}

// QueueListCmd lists.
type QueueListCmd struct {
	WhichQueue
	QueueFilter
	Held    bool   `help:"Only those that are held."`
	Delayed bool   `help:"Only those that are due later."`
	Limit   int    `default:"50" placeholder:"N" help:"At most so many, up to 1000 (${default})."`
	Next    string `placeholder:"ID" help:"Begin at this message, as the page before says."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*QueueListCmd) Help() string {
	return `A message to several domains is queued once for each. What waits for the pipeline is in the queue spool. Examples:

  streampost queue list
  streampost queue list --domain example.net --error greylist
  streampost queue list --queue spool
  streampost queue list --sender '<>' --older-than 24h --json`
}

// Run prints a page.
func (c *QueueListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	yes := func(is bool) string {
		if is {
			return "true"
		}
		return ""
	}
	asked := query("sender", c.Sender, "recipient", c.Recipient, "domain", c.Domain, "error", c.Error, "olderThan", age(c.OlderThan), "youngerThan", age(c.YoungerThan),
		"held", yes(c.Held), "delayed", yes(c.Delayed), "limit", strconv.Itoa(c.Limit), "next", c.Next)
	var page webadmin.QueuePage
	if err := server.call(env, http.MethodGet, path("queues", c.Queue, "messages")+asked, nil, &page); err != nil {
		return err
	}
	if c.JSON {
		return env.json(page)
	}
	var rows [][]string
	for _, m := range page.Messages {
		var state string
		switch {
		case m.Held:
			state = "held"
		case m.Active:
			state = "active"
		default:
			state = m.NextDelivery.Local().Format(time.DateTime)
		}
		rows = append(rows, []string{m.ID.String(), m.Arrived.Local().Format(time.DateTime), "<" + m.Sender + ">", strings.Join(m.Recipients, " "), fmt.Sprint(m.Attempts), state, strconv.Quote(m.Error)})
	}
	if err := env.table("ID ARRIVED FROM TO ATTEMPTS NEXT ERROR", rows); err != nil {
		return err
	}
	if page.Next != "" {
		env.printf("more from --next %s on\n", page.Next)
	}
	return nil
}

// QueueShowCmd shows a message.
type QueueShowCmd struct {
	WhichQueue
	ID   string `arg:"" help:"Id, as queue list shows it."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*QueueShowCmd) Help() string {
	return `What is known of a message on its way; not what it says. "transfer" is the id that the sender's program was told and that the server's log has.

Examples:

  streampost queue show 00c5f2a9e1b04d77`
}

// Run prints the message.
func (c *QueueShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var e queue.Entry
	if err := server.call(env, http.MethodGet, path("queues", c.Queue, "messages", c.ID), nil, &e); err != nil {
		return err
	}
	if c.JSON {
		return env.json(e)
	}
	at := func(ms int64) string {
		if ms == 0 {
			return "never"
		}
		return time.UnixMilli(ms).Local().Format(time.DateTime)
	}
	rows := [][]string{{"from", "<" + e.Sender + ">"}}
	for _, r := range e.Recipients {
		rows = append(rows, []string{"to", r.Address})
	}
	rows = append(rows, [][]string{
		{"Message-ID", e.MessageID}, {"transfer", e.Transfer}, {"login", e.Login}, {"size", octets(e.Size())}, {"arrived", at(e.Arrived)}, {"due", at(e.Due)}, {"attempts", fmt.Sprint(e.Attempts)},
		{"attempts without an end", fmt.Sprint(e.Unclear)}, {"last error", e.Error}, {"held", strconv.FormatBool(e.Held)}, {"priority", fmt.Sprint(e.Priority)}, {"redirected to", e.Via},
	}...)
	return env.table("message "+c.ID, rows)
}

// QueueFlushCmd flushes.
type QueueFlushCmd struct{ QueueSelection }

// Help teaches.
func (*QueueFlushCmd) Help() string {
	return `Examples:

  streampost queue flush --all
  streampost queue flush --domain example.net`
}

// Run orders it.
func (c *QueueFlushCmd) Run(g *Globals, env *Env) error {
	return c.run(g, env, "flush", "are due now", "")
}

// QueueHoldCmd holds.
type QueueHoldCmd struct{ QueueSelection }

// Help teaches.
func (*QueueHoldCmd) Help() string {
	return `What is held grows older and goes back to its sender when it is released too late. Examples:

  streampost queue hold --sender mallory@example.org`
}

// Run orders it.
func (c *QueueHoldCmd) Run(g *Globals, env *Env) error { return c.run(g, env, "hold", "are held", "") }

// QueueReleaseCmd releases.
type QueueReleaseCmd struct{ QueueSelection }

// Help teaches.
func (*QueueReleaseCmd) Help() string {
	return `Examples:

  streampost queue release --all`
}

// Run orders it.
func (c *QueueReleaseCmd) Run(g *Globals, env *Env) error {
	return c.run(g, env, "release", "are released", "")
}

// QueueRedirectCmd redirects.
type QueueRedirectCmd struct {
	QueueSelection
	Via string `placeholder:"HOST" help:"Host or host:port that takes them; without it where DNS or a route says."`
}

// Help teaches.
func (*QueueRedirectCmd) Help() string {
	return `They are attempted at once. The host has to meet what the route of their domain demands of TLS, and is given no password. Examples:

  streampost queue redirect --domain example.net --via backup-mx.example.net
  streampost queue redirect --domain example.net`
}

// Run orders it.
func (c *QueueRedirectCmd) Run(g *Globals, env *Env) error {
	return c.run(g, env, "redirect", "are redirected", c.Via)
}

// QueuePriorityCmd sets priorities.
type QueuePriorityCmd struct {
	QueueSelection
	To int `required:"" placeholder:"N" help:"From -9 to 9; most mail has 0."`
}

// Help teaches.
func (*QueuePriorityCmd) Help() string {
	return `Of what is due, what has the higher priority is attempted first, whatever its age. Messages to many recipients (outbound.bulk_recipients) and answers of scripts begin with -1.

Examples:

  streampost queue priority --sender news@example.org --to=-5
  streampost queue priority 0123456789abcdef --to 9`
}

// Run orders it.
func (c *QueuePriorityCmd) Run(g *Globals, env *Env) error {
	o, err := c.order()
	if err != nil {
		return err
	}
	o.Priority = c.To
	return c.send(g, env, "priority", fmt.Sprintf("have priority %d", c.To), o)
}

// QueueDeleteCmd deletes.
type QueueDeleteCmd struct{ QueueSelection }

// Help teaches.
func (*QueueDeleteCmd) Help() string {
	return `Senders are not told. Examples:

  streampost queue delete 00c5f2a9e1b04d77
  streampost queue delete --sender mallory@example.org`
}

// Run orders it.
func (c *QueueDeleteCmd) Run(g *Globals, env *Env) error {
	return c.run(g, env, "delete", "are deleted", "")
}

// QueueClearCmd clears.
type QueueClearCmd struct {
	WhichQueue
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*QueueClearCmd) Help() string {
	return `Senders are not told. Examples:

  streampost queue clear`
}

// Run orders it.
func (c *QueueClearCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum clearedQueue
	if err := server.work(env, c.Detached, webadmin.TaskQueueClear, webadmin.JamesQueueOrder{Queue: c.Queue}, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	env.printf("%d messages are deleted, %d are left\n", sum.Initial-sum.Remaining, sum.Remaining)
	return nil
}
