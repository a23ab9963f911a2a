package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/projections/history"
)

// then shows the account as it was.
func (c *AccountShowCmd) then(server *client, env *Env) error {
	asked := query("at", c.At, "mailbox", c.Mailbox, "limit", strconv.Itoa(c.Limit))
	if c.From != 0 {
		asked += "&from=" + strconv.FormatUint(uint64(c.From), 10)
	}
	var a webadmin.AccountThen
	if err := server.call(env, http.MethodGet, path("accounts", string(c.Account), "past")+asked, nil, &a); err != nil {
		return err
	}
	if c.JSON {
		return env.json(a)
	}
	env.printf("as of Tx %d of %d, %s\nstorage    %s\nmessages   %d\n\n", a.Tx, a.Head, a.Time.Local().Format(time.DateTime), octets(a.Usage.Bytes), a.Usage.Messages)
	if c.Mailbox != "" {
		var rows [][]string
		for _, m := range a.Messages {
			rows = append(rows, []string{
				strconv.FormatUint(uint64(m.UID), 10), time.Unix(m.Internal, 0).Local().Format(time.DateTime), octets(m.Size), cmp.Or(strings.Join(m.Flags, " "), "-"),
				strconv.QuoteToGraphic(m.From), strconv.QuoteToGraphic(m.Subject),
			})
		}
		return env.table("UID DATE SIZE FLAGS FROM SUBJECT", rows)
	}
	return env.mailboxes(a.Mailboxes)
}

// mailboxes prints a table of mailboxes.
func (e *Env) mailboxes(list []webadmin.Mailbox) error {
	var rows [][]string
	for _, m := range list {
		rows = append(rows, []string{
			m.Name, strconv.FormatInt(m.Messages, 10), strconv.FormatInt(m.Unseen, 10), octets(m.Bytes), strconv.FormatUint(uint64(m.UIDNext), 10),
			strconv.FormatUint(uint64(m.UIDValidity), 10), m.SpecialUse,
		})
	}
	return e.table("MAILBOX MESSAGES UNSEEN SIZE UIDNEXT UIDVALIDITY USE", rows)
}

// AccountRestoreCmd brings back what an account had.
type AccountRestoreCmd struct {
	AccountArg
	At          string `required:"" placeholder:"TIME" help:"When the account was as it should be: a time, a date, how long ago, or a transaction."`
	Mailbox     string `placeholder:"MAILBOX" help:"Only what was in this mailbox."`
	Messages    string `placeholder:"WHICH" help:"Only these: UIDs of --mailbox as they were then (1:20,33), or words such as from:bob."`
	Into        string `placeholder:"MAILBOX" help:"Put everything into this mailbox instead of where it was."`
	DeletedOnly bool   `help:"Leave alone what lies in another mailbox now."`
	OverQuota   bool   `help:"Restore although the account is full."`
	DryRun      bool   `short:"n" help:"Only say what would come back."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*AccountRestoreCmd) Help() string {
	return `Messages that were in a mailbox at that time and are not there now come back: with their flags (all but \Deleted), their dates and their ids, under new UIDs. A mailbox that is gone is made again. What came since stays. Repeating the command restores nothing twice.

Up to 500 messages are one transaction: all or nothing. A larger restoration is several; if it is interrupted, repeat the command.

WHICH may be words, all of which must hold: from:, to:, subject:, mailbox:, attachment:true, received-since:2026-11-01, received-until:; a word alone is looked for in the subject. A value with spaces stands in double quotes.

What was purged, or has lost its blob, is listed and does not come back; the exit code is then 4.

Examples:

  streampost account restore alice@example.org --at '2h ago' --dry-run
  streampost account restore alice@example.org --at 2026-11-23T12:00:00Z --mailbox Work
  streampost account restore alice@example.org --at '1d ago' --mailbox INBOX --messages 1:20,33 --into Found
  streampost account restore alice@example.org --at '1w ago' --messages 'from:bob subject:"annual report"'`
}

// Run orders the restoration.
func (c *AccountRestoreCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	order := restoreOrder{string(c.Account), c.At, c.Mailbox, c.Messages, c.Into, c.DeletedOnly, c.OverQuota, c.DryRun}
	return server.restoration(env, c.Detached, webadmin.TaskRestore, order, c.JSON)
}

// restoration orders a task that restores and tells how it went.
func (c *client) restoration(env *Env, d Detached, kind string, order any, asJSON bool) error {
	var result history.Result
	var failures []history.Failure
	if err := c.work(env, d, kind, order, func(raw json.RawMessage) error {
		var f history.Failure
		failures = append(failures, f)
		return json.Unmarshal(raw, &failures[len(failures)-1])
	}, &result); err != nil {
		return err
	}
	result.Failures = failures
	if asJSON {
		if err := env.json(result); err != nil {
			return err
		}
	} else {
		env.restored(result)
	}
	if result.Failed > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

func (e *Env) restored(r history.Result) {
	for _, f := range r.Failures {
		e.printf("not restored: message %d of %s %s: %s\n", f.Email, f.Mailbox, strconv.QuoteToGraphic(f.Subject), f.Why)
	}
	if r.At != 0 {
		e.printf("as of Tx %d, %s\n", r.At, r.AtTime.Local().Format(time.DateTime))
	}
	done := "restored"
	if r.DryRun {
		done = "would be restored"
	}
	e.printf("%d messages found, %d are there, %d %s (%s), %d cannot be\n", r.Found, r.Present, r.Restored, done, octets(r.Octets), r.Failed)
	var rows [][]string
	for _, name := range sorted(r.Mailboxes) {
		rows = append(rows, []string{name, strconv.FormatInt(r.Mailboxes[name], 10)})
	}
	if rows != nil {
		_ = e.table("MAILBOX MESSAGES", rows) // standard output that is closed takes nothing more
	}
}
