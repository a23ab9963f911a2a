package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/listen"
)

// DeadletterCmd looks after dead letters.
type DeadletterCmd struct {
	Groups    DeadletterGroupsCmd    `cmd:"" help:"Count dead letters by listener."`
	List      DeadletterListCmd      `cmd:"" help:"List dead letters, the oldest first."`
	Show      DeadletterShowCmd      `cmd:"" help:"Show a dead letter with its transaction."`
	Redeliver DeadletterRedeliverCmd `cmd:"" help:"Give dead letters to their listeners again."`
	Drop      DeadletterDropCmd      `cmd:"" help:"Give dead letters up."`
}

// DeadletterGroupsCmd counts.
type DeadletterGroupsCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DeadletterGroupsCmd) Help() string {
	return `A listener does something for each change that the log holds, such as feeding a search cluster. What it could not do after several attempts becomes a dead letter: a reference to the change with the cause, never its content. The account's later changes go on.

Examples:

  streampost deadletter groups
  streampost deadletter groups --json`
}

// Run prints the groups.
func (c *DeadletterGroupsCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	groups := []listen.Group{}
	if err := server.call(env, http.MethodGet, path("dead-letters", "groups"), nil, &groups); err != nil {
		return err
	}
	if c.JSON {
		return env.json(groups)
	}
	var rows [][]string
	for _, g := range groups {
		rows = append(rows, []string{g.Listener, fmt.Sprint(g.Count), fmt.Sprint(g.Accounts), g.Oldest.Local().Format(time.DateTime), strconv.FormatBool(g.Running)})
	}
	return env.table("LISTENER LETTERS ACCOUNTS OLDEST RUNNING", rows)
}

// LetterFilter selects dead letters.
type LetterFilter struct {
	Listener    string        `placeholder:"ID" help:"Only of this listener, such as opensearch-1."`
	Account     string        `placeholder:"ACCOUNT" help:"Only of this account, by address or id."`
	Cause       string        `placeholder:"TEXT" help:"Only those whose cause has this text, in any case."`
	OlderThan   time.Duration `placeholder:"TIME" help:"Only those that last failed longer ago, such as 2h."`
	YoungerThan time.Duration `placeholder:"TIME" help:"Only those that last failed since."`
}

func (f *LetterFilter) filter() listen.Filter {
	out := listen.Filter{Listener: f.Listener, Account: domain.AccountID(f.Account), Cause: f.Cause}
	if f.OlderThan > 0 {
		out.Before = time.Now().Add(-f.OlderThan)
	}
	if f.YoungerThan > 0 {
		out.After = time.Now().Add(-f.YoungerThan)
	}
	return out
}

// DeadletterListCmd lists.
type DeadletterListCmd struct {
	LetterFilter
	Limit int    `default:"50" placeholder:"N" help:"At most so many, up to 1000 (${default})."`
	From  uint64 `placeholder:"LETTER" help:"Begin at this letter, as the page before says."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DeadletterListCmd) Help() string {
	return `Examples:

  streampost deadletter list --listener opensearch-1
  streampost deadletter list --cause mapper_parsing --older-than 1h --json`
}

// Run prints a page.
func (c *DeadletterListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	asked := query("listener", c.Listener, "account", c.Account, "cause", c.Cause, "olderThan", age(c.OlderThan), "youngerThan", age(c.YoungerThan),
		"limit", strconv.Itoa(c.Limit), "from", nonzero(c.From))
	var page listen.Page
	if err := server.call(env, http.MethodGet, path("dead-letters")+asked, nil, &page); err != nil {
		return err
	}
	if c.JSON {
		return env.json(page)
	}
	var rows [][]string
	for _, l := range page.Letters {
		rows = append(rows, []string{fmt.Sprint(l.ID), l.Listener, string(l.Account), fmt.Sprint(l.Tx), fmt.Sprint(l.Attempts), l.Last.Local().Format(time.DateTime), strconv.Quote(l.Cause)})
	}
	if err := env.table("LETTER LISTENER ACCOUNT TX ATTEMPTS LAST CAUSE", rows); err != nil {
		return err
	}
	if page.Next != 0 {
		env.printf("more from --from %d on\n", page.Next)
	}
	return nil
}

// age writes a duration as the REST door reads it; nothing for none.
func age(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return strconv.Itoa(max(int(d.Seconds()), 1)) + "s"
}

func nonzero(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// DeadletterShowCmd shows a letter.
type DeadletterShowCmd struct {
	Letter uint64 `arg:"" help:"The letter's id."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DeadletterShowCmd) Help() string {
	return `A letter refers to an entry of the log and says why the listener gave up; it holds no mail.

Examples:

  streampost deadletter show 17`
}

// Run prints a letter.
func (c *DeadletterShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var raw json.RawMessage
	if err := server.call(env, http.MethodGet, path("dead-letters", strconv.FormatUint(c.Letter, 10)), nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", strings.TrimSpace(string(raw)))
		return nil
	}
	var l struct {
		webadmin.Letter
		Entry struct{ Transaction json.RawMessage } `json:"entry"`
	}
	if err := json.Unmarshal(raw, &l); err != nil {
		return err
	}
	rows := [][]string{
		{"listener", l.Listener}, {"account", string(l.Account)}, {"transaction", fmt.Sprintf("%d, in %s at %d", l.Tx, l.Stream, l.Seq)}, {"cause", l.Cause},
		{"attempts", fmt.Sprintf("%d, from %s to %s", l.Attempts, l.First.Local().Format(time.DateTime), l.Last.Local().Format(time.DateTime))},
	}
	if l.Problem != "" {
		rows = append(rows, []string{"problem", l.Problem})
	} else {
		rows = append(rows, []string{"content", string(l.Entry.Transaction)})
	}
	return env.table(fmt.Sprintf("letter %d", c.Letter), rows)
}

// LetterSelection says which letters to work on.
type LetterSelection struct {
	LetterFilter
	Letter uint64 `placeholder:"LETTER" help:"This one only."`
	All    bool   `help:"All dead letters."`
	Limit  uint64 `placeholder:"N" help:"At most so many."`
}

func (s *LetterSelection) selection() (listen.Selection, error) {
	if s.LetterFilter == (LetterFilter{}) && s.Letter == 0 && !s.All {
		return listen.Selection{}, usage("say which: --all, --letter LETTER, or some of --listener, --account, --cause, --older-than and --younger-than")
	}
	return listen.Selection{Filter: s.filter(), ID: s.Letter, Limit: s.Limit}, nil
}

// DeadletterRedeliverCmd redelivers.
type DeadletterRedeliverCmd struct {
	LetterSelection
	Rate float64 `placeholder:"N" help:"So many letters a second at most."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DeadletterRedeliverCmd) Help() string {
	return `Each letter is tried once, those of an account in the order of its log. One that fails again stays with its new cause, and the next ones are tried. The exit code is then 4.

Examples:

  streampost deadletter redeliver --all
  streampost deadletter redeliver --listener opensearch-1 --cause rejected --rate 500
  streampost deadletter redeliver --letter 1234`
}

// Run orders the redelivery.
func (c *DeadletterRedeliverCmd) Run(g *Globals, env *Env) error {
	sel, err := c.selection()
	if err != nil {
		return err
	}
	sel.Rate = c.Rate
	server, err := g.connect()
	if err != nil {
		return err
	}
	kind := webadmin.TaskRedeliverAll
	switch {
	case sel.ID != 0:
		kind = webadmin.TaskRedeliverOne
	case sel.Listener != "":
		kind = webadmin.TaskRedeliverGroup
	}
	var sum listen.Redelivered
	if err := server.work(env, c.Detached, kind, sel, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		if err := env.json(sum); err != nil {
			return err
		}
	} else {
		env.printf("%d redelivered, %d failed again, %d of erased accounts dropped\n", sum.Successful, sum.Failed, sum.Skipped)
	}
	if sum.Failed > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

// DeadletterDropCmd drops.
type DeadletterDropCmd struct {
	LetterSelection
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DeadletterDropCmd) Help() string {
	return `The changes stay in the log; only their listener never hears of them. For a search cluster, search reindex --opensearch makes up for that.

Examples:

  streampost deadletter drop --letter 1234
  streampost deadletter drop --listener opensearch-1 --older-than 720h`
}

// Run orders the drop.
func (c *DeadletterDropCmd) Run(g *Globals, env *Env) error {
	sel, err := c.selection()
	if err != nil {
		return err
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum dropped
	if err := server.work(env, c.Detached, webadmin.TaskLettersDrop, sel, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	env.printf("%d dropped\n", sum.Dropped)
	return nil
}

// ListenerCmd looks after listeners.
type ListenerCmd struct {
	List   ListenerListCmd   `cmd:"" help:"List listeners and how far they are."`
	Remove ListenerRemoveCmd `cmd:"" help:"Remove a listener that is not configured any more, and all that is left of it."`
}

// ListenerListCmd lists.
type ListenerListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ListenerListCmd) Help() string {
	return `What each listener still has before it, what it has handled, how many dead letters it has, and the error that makes it wait.

Examples:

  streampost listener list
  streampost listener list --json`
}

// Run prints the list.
func (c *ListenerListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	list := []webadmin.ListenerState{}
	if err := server.call(env, http.MethodGet, path("listeners"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, l := range list {
		state := "working"
		switch {
		case !l.Running:
			state = "not running"
		case l.Outage:
			state = "waiting"
		}
		rows = append(rows, []string{l.ID, state, fmt.Sprint(l.Lag), fmt.Sprint(l.Handled), fmt.Sprint(l.Retries), fmt.Sprint(l.DeadLetters), strconv.Quote(l.Error)})
	}
	return env.table("LISTENER STATE LAG HANDLED FAILURES LETTERS ERROR", rows)
}

// ListenerRemoveCmd removes.
type ListenerRemoveCmd struct {
	ID string `arg:"" help:"The listener's id, such as opensearch-1; see listener list."`
}

// Help teaches.
func (*ListenerRemoveCmd) Help() string {
	return `Its place in the log and its dead letters are deleted. A listener that is still configured begins anew at the next start.

Examples:

  streampost listener remove opensearch-1`
}

// Run removes.
func (c *ListenerRemoveCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := server.call(env, http.MethodDelete, path("listeners", c.ID), nil, nil); err != nil {
		return err
	}
	env.printf("nothing is left of listener %s\n", c.ID)
	return nil
}
