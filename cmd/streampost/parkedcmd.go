package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/parking"
)

// ParkedCmd looks after mail that could not be processed.
type ParkedCmd struct {
	Count     ParkedCountCmd     `cmd:"" help:"Tell how much is parked where, and since when."`
	List      ParkedListCmd      `cmd:"" help:"List parked messages, the oldest first."`
	Show      ParkedShowCmd      `cmd:"" help:"Show a parked message: envelope, cause, header."`
	Export    ParkedExportCmd    `cmd:"" help:"Write a parked message to a file."`
	Reprocess ParkedReprocessCmd `cmd:"" help:"Process parked messages again."`
	Move      ParkedMoveCmd      `cmd:"" help:"Move parked messages to another repository."`
	Delete    ParkedDeleteCmd    `cmd:"" help:"Delete parked messages."`
}

// ParkedFilter selects parked messages.
type ParkedFilter struct {
	Sender        string        `placeholder:"ADDRESS" help:"Only from this address; <> is the null sender of reports."`
	Recipient     string        `placeholder:"ADDRESS" help:"Only to this address."`
	Domain        string        `placeholder:"DOMAIN" help:"Only to addresses of this domain."`
	RemoteAddress string        `placeholder:"IP" help:"Only those that came from this address."`
	RemoteHost    string        `placeholder:"HOST" help:"Only those that came from this host."`
	Cause         string        `placeholder:"CODE" help:"Only those with this code, such as undeliverable."`
	Error         string        `placeholder:"TEXT" help:"Only those whose error has this text, in any case."`
	OlderThan     time.Duration `placeholder:"TIME" help:"Only those that were parked longer ago, such as 2h."`
	YoungerThan   time.Duration `placeholder:"TIME" help:"Only those that were parked since."`
	MaxTimes      int           `placeholder:"N" help:"Only those that were parked at most so often."`
}

// check refuses numbers that would leave nothing out.
func (f *ParkedFilter) check() error {
	if f.OlderThan < 0 || f.YoungerThan < 0 || f.MaxTimes < 0 {
		return usage("--older-than, --younger-than and --max-times are not negative")
	}
	return nil
}

func (f *ParkedFilter) filter() queue.Filter {
	q := queue.Filter{Sender: f.Sender, Recipient: f.Recipient, Domain: f.Domain, RemoteAddress: f.RemoteAddress, RemoteHost: f.RemoteHost, Cause: f.Cause, Error: f.Error, MaxTimes: f.MaxTimes}
	if f.OlderThan > 0 {
		q.ParkedBefore = queue.Millis(time.Now().Add(-f.OlderThan))
	}
	if f.YoungerThan > 0 {
		q.ParkedAfter = queue.Millis(time.Now().Add(-f.YoungerThan))
	}
	return q
}

// ParkedSelection says which messages to work on, and how.
type ParkedSelection struct {
	Repository string   `arg:"" help:"Such as error, or var/mail/error as James writes it."`
	Keys       []string `arg:"" optional:"" name:"key" help:"Keys, as parked list shows them."`
	ParkedFilter
	All    bool    `help:"All messages of the repository."`
	Limit  int     `placeholder:"N" help:"At most so many, those that are parked longest."`
	Rate   float64 `placeholder:"N" help:"So many messages a second at most."`
	DryRun bool    `help:"Only count."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// run orders a task and prints what it did.
func (s *ParkedSelection) run(g *Globals, env *Env, kind, done string, change func(*parking.Order)) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Limit < 0 || s.Rate < 0 {
		return usage("--limit and --rate are not negative")
	}
	filter := s.filter()
	if len(s.Keys) == 0 && filter.All() && !s.All && s.Limit == 0 {
		return usage("say which: keys, --all, --limit, or some of --sender, --recipient, --domain, --remote-address, --remote-host, --cause, --error, --older-than, --younger-than and --max-times")
	}
	o := parking.Order{Repository: s.Repository, Filter: filter, Limit: s.Limit, Rate: s.Rate, DryRun: s.DryRun}
	for _, text := range s.Keys {
		key, err := queue.ParseID(text)
		if err != nil {
			return usage("%w", err)
		}
		o.Filter.IDs = append(o.Filter.IDs, key)
	}
	change(&o)
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum parking.Done
	if err := server.work(env, s.Detached, kind, o, nil, &sum); err != nil {
		return err
	}
	if s.JSON {
		return env.json(sum)
	}
	if sum.DryRun {
		env.printf("%d messages would be %s, %d are in %s\n", sum.Selected, done, sum.Remaining, sum.Repository)
		return nil
	}
	env.printf("%d messages are %s, %d are left in %s\n", sum.Done, done, sum.Remaining, sum.Repository)
	return nil
}

// ParkedCountCmd counts.
type ParkedCountCmd struct {
	Repository string `arg:"" optional:"" help:"Only this one."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ParkedCountCmd) Help() string {
	return `Counts and ages are known at any size. Age is since when the mail lies there that has been there longest. The exit code is 0 whatever there is.

Examples:

  streampost parked count
  streampost parked count error --json`
}

// Run prints the sums.
func (c *ParkedCountCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	all := []parking.Standing{}
	if c.Repository != "" {
		var one parking.Standing
		err = server.call(env, http.MethodGet, path("parked", c.Repository), nil, &one)
		all = append(all, one)
	} else {
		err = server.call(env, http.MethodGet, path("parked"), nil, &all)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return env.json(all)
	}
	var rows [][]string
	for _, r := range all {
		since := "-"
		if !r.Oldest.IsZero() {
			since = time.Since(r.Oldest).Truncate(time.Second).String()
		}
		rows = append(rows, []string{r.Name, fmt.Sprint(r.Size), octets(r.Octets), since})
	}
	return env.table("REPOSITORY MESSAGES SIZE AGE", rows)
}

// ParkedListCmd lists.
type ParkedListCmd struct {
	Repository string `arg:"" help:"Such as error, or var/mail/error as James writes it."`
	ParkedFilter
	Limit int    `default:"50" placeholder:"N" help:"At most so many, up to 1000 (${default})."`
	Next  string `placeholder:"KEY" help:"Begin at this message, as the page before says."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ParkedListCmd) Help() string {
	return `Examples:

  streampost parked list error
  streampost parked list dead --error 'mailbox is full' --older-than 24h --json`
}

// Run prints a page.
func (c *ParkedListCmd) Run(g *Globals, env *Env) error {
	if err := c.check(); err != nil {
		return err
	}
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	times := ""
	if c.MaxTimes > 0 {
		times = strconv.Itoa(c.MaxTimes)
	}
	asked := query("sender", c.Sender, "recipient", c.Recipient, "domain", c.Domain, "remoteAddress", c.RemoteAddress, "remoteHost", c.RemoteHost, "cause", c.Cause, "error", c.Error,
		"olderThan", age(c.OlderThan), "youngerThan", age(c.YoungerThan), "maxTimes", times, "limit", strconv.Itoa(c.Limit), "next", c.Next)
	var page parking.Page
	if err := server.call(env, http.MethodGet, path("parked", c.Repository, "messages")+asked, nil, &page); err != nil {
		return err
	}
	if c.JSON {
		return env.json(page)
	}
	var rows [][]string
	for _, m := range page.Messages {
		rows = append(rows, []string{m.Key.String(), m.Last.Local().Format(time.DateTime), fmt.Sprint(m.Times), "<" + m.Sender + ">", strings.Join(m.Recipients, " "), cmp.Or(m.Cause, "-"), strconv.Quote(m.Error)})
	}
	if err := env.table("KEY PARKED TIMES FROM TO CAUSE ERROR", rows); err != nil {
		return err
	}
	if page.Next != "" {
		env.printf("more from --next %s on\n", page.Next)
	}
	return nil
}

// ParkedShowCmd shows a message.
type ParkedShowCmd struct {
	Repository string `arg:"" help:"Such as error, or var/mail/error as James writes it."`
	Key        string `arg:"" help:"Key, as parked list shows it."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ParkedShowCmd) Help() string {
	return `What is known of a parked message, and the header of it. The body is not shown: see parked export.

Examples:

  streampost parked show error 00c5f2a9e1b04d77`
}

// Run prints the message.
func (c *ParkedShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var m webadmin.ShownParked
	if err := server.call(env, http.MethodGet, path("parked", c.Repository, "messages", c.Key), nil, &m); err != nil {
		return err
	}
	if c.JSON {
		return env.json(m)
	}
	at := func(ms int64) string { return time.UnixMilli(ms).Local().Format(time.DateTime) }
	rows := [][]string{{"repository", m.Repository}, {"from", "<" + m.Sender + ">"}}
	for _, r := range m.Recipients {
		rows = append(rows, []string{"to", r.Address})
	}
	rows = append(rows, [][]string{
		{"cause", m.Parking.Cause}, {"error", m.Error}, {"parked", fmt.Sprintf("%d times, from %s to %s", m.Parking.Times, at(m.Parking.First), at(m.Parking.Last))}, {"processor", m.Parking.Processor},
		{"came from", strings.TrimSpace(m.Parking.RemoteHost + " " + m.Parking.RemoteAddress)}, {"Message-ID", m.MessageID}, {"transfer", m.Transfer}, {"login", m.Login}, {"size", octets(m.Size())}, {"arrived", at(m.Arrived)},
	}...)
	for name, value := range m.Attributes {
		rows = append(rows, []string{"attribute " + name, value})
	}
	if err := env.table("message "+c.Key, rows); err != nil {
		return err
	}
	env.printf("\n%s", strings.ReplaceAll(m.Header, "\r\n", "\n"))
	return nil
}

// ParkedExportCmd writes a message to a file.
type ParkedExportCmd struct {
	Repository string `arg:"" help:"Such as error, or var/mail/error as James writes it."`
	Key        string `arg:"" help:"Key, as parked list shows it."`
	Output     string `short:"o" placeholder:"FILE" help:"Write to this file, which must not be there; without it to the standard output."`
}

// Help teaches.
func (*ParkedExportCmd) Help() string {
	return `The message as it would travel (RFC 5322).

Examples:

  streampost parked export error 00c5f2a9e1b04d77 > message.eml
  streampost parked export error 00c5f2a9e1b04d77 -o message.eml`
}

// Run writes the message.
func (c *ParkedExportCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	resp, err := server.do(env, http.MethodGet, path("parked", c.Repository, "messages", c.Key, "message"), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if c.Output == "" {
		_, err = io.Copy(env.Stdout, resp.Body)
		return err
	}
	f, err := os.OpenFile(c.Output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(f, resp.Body); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// ParkedReprocessCmd processes messages again.
type ParkedReprocessCmd struct {
	ParkedSelection
	Processor string `placeholder:"NAME" help:"Begin at this processor; relay sends messages on as they are. Without it they are processed from the beginning."`
	Keep      bool   `help:"Process copies, and keep the messages parked."`
}

// Help teaches.
func (*ParkedReprocessCmd) Help() string {
	return `Each message is parked or on its way and never both, whenever the server dies. What cannot be processed comes back, with the time of its first failure and how often it failed; --max-times leaves
out what failed too often.

Examples:

  streampost parked reprocess error --all --dry-run
  streampost parked reprocess error --limit 100 --rate 10
  streampost parked reprocess error --recipient bob@example.org
  streampost parked reprocess dead 00c5f2a9e1b04d77 --processor relay`
}

// Run orders it.
func (c *ParkedReprocessCmd) Run(g *Globals, env *Env) error {
	return c.run(g, env, webadmin.TaskReprocessAll, "processed again", func(o *parking.Order) { o.Processor, o.Keep = c.Processor, c.Keep })
}

// ParkedMoveCmd moves.
type ParkedMoveCmd struct {
	ParkedSelection
	To string `required:"" placeholder:"REPOSITORY" help:"Where to. Any name will do: letters in lower case, digits, and - _ . /"`
}

// Help teaches.
func (*ParkedMoveCmd) Help() string {
	return `One record moves up to a thousand messages, so that none is lost between two places or in both.

Examples:

  streampost parked move error --error 'cannot be decoded' --to broken`
}

// Run orders it.
func (c *ParkedMoveCmd) Run(g *Globals, env *Env) error {
	return c.run(g, env, webadmin.TaskParkedMove, "moved", func(o *parking.Order) { o.To = c.To })
}

// ParkedDeleteCmd deletes.
type ParkedDeleteCmd struct{ ParkedSelection }

// Help teaches.
func (*ParkedDeleteCmd) Help() string {
	return `Nobody is told.

Examples:

  streampost parked delete dead --older-than 720h
  streampost parked delete error 00c5f2a9e1b04d77`
}

// Run orders it.
func (c *ParkedDeleteCmd) Run(g *Globals, env *Env) error {
	return c.run(g, env, webadmin.TaskParkedDelete, "deleted", func(*parking.Order) {})
}
