package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	deleted "github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections/vault"
)

// VaultCmd looks after deleted messages.
type VaultCmd struct {
	List    VaultListCmd    `cmd:"" help:"List an account's deleted messages."`
	Show    VaultShowCmd    `cmd:"" help:"Show one deleted message."`
	Restore VaultRestoreCmd `cmd:"" help:"Put deleted messages back into a mailbox."`
	Export  VaultExportCmd  `cmd:"" help:"Write deleted messages to an mbox file or a zip archive."`
	Purge   VaultPurgeCmd   `cmd:"" help:"Give deleted messages up for good."`
}

// VaultQuery says which deleted messages are meant.
type VaultQuery struct {
	AccountArg
	Query []string `arg:"" optional:"" help:"Words such as from:bob, or James's JSON; everything without."`
}

const queryHelp = `A message is deleted when no mailbox of the account holds it any more. QUERY is words, all of which must hold: from:, to:, subject:, mailbox: (that it was deleted from), attachment:true, id:, deleted-since:2026-11-01, deleted-until:, received-since:, received-until:; a word alone is looked for in the subject. Or it is a query in the JSON of James's deleted messages vault.`

// text is the query in one piece. Words that the shell took out of their quotes get new ones.
func (q *VaultQuery) text() string {
	words := slices.Clone(q.Query)
	for i, word := range words {
		if strings.Contains(word, " ") && !strings.Contains(word, `"`) && !strings.HasPrefix(word, "{") {
			if name, value, named := strings.Cut(word, ":"); named && !strings.Contains(name, " ") {
				words[i] = name + `:"` + value + `"`
			} else {
				words[i] = `"` + word + `"`
			}
		}
	}
	return strings.Join(words, " ")
}

// order is the query as a task's parameters want it.
func (q *VaultQuery) order() (webadmin.VaultOrder, error) {
	order := webadmin.VaultOrder{Account: string(q.Account)}
	if text := q.text(); text != "" {
		if _, err := deleted.ParseTerms(text); err != nil {
			return order, err
		}
		order.Query = mustJSON(text)
	}
	return order, nil
}

// VaultListCmd lists deleted messages.
type VaultListCmd struct {
	VaultQuery
	Limit int    `default:"1000" placeholder:"N" help:"At most so many, up to 10000 (${default})."`
	After uint64 `placeholder:"ID" help:"Begin after this message, the last one of the page before."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*VaultListCmd) Help() string {
	return queryHelp + `

Examples:

  streampost vault list alice@example.org
  streampost vault list alice@example.org from:bob deleted-since:2026-11-01
  streampost vault list alice@example.org 'subject:annual report' --json`
}

// Run prints a page.
func (c *VaultListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	list, err := server.deleted(env, string(c.Account), c.text(), c.Limit, c.After)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, m := range list {
		rows = append(rows, []string{
			m.ID, m.DeletionDate.Local().Format(time.DateTime), octets(m.Size), strings.Join(m.OriginNames, ", "), strconv.QuoteToGraphic(m.Sender), strconv.QuoteToGraphic(m.Subject),
		})
	}
	return env.table("ID DELETED SIZE MAILBOX FROM SUBJECT", rows)
}

// deleted asks for deleted messages.
func (c *client) deleted(env *Env, account, text string, limit int, after uint64) ([]webadmin.Deleted, error) {
	q, err := deleted.ParseTerms(text)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(jamesQuery(q, limit))
	if err != nil {
		return nil, err
	}
	resp, err := c.do(env, http.MethodPost, path("accounts", account, "vault")+query("after", strconv.FormatUint(after, 10)), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	list := []webadmin.Deleted{}
	return list, json.NewDecoder(resp.Body).Decode(&list)
}

// jamesQuery writes a query in James's JSON.
func jamesQuery(q deleted.Query, limit int) map[string]any {
	criteria := []map[string]string{}
	for _, c := range q.Criteria {
		criteria = append(criteria, map[string]string{"fieldName": c.Field, "operator": c.Operator, "value": c.Value})
	}
	all := map[string]any{"combinator": "and", "criteria": criteria}
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	if limit > 0 {
		all["limit"] = limit
	}
	return all
}

// VaultShowCmd shows a deleted message.
type VaultShowCmd struct {
	AccountArg
	ID   uint64 `arg:"" help:"The message's id, as vault list prints it."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*VaultShowCmd) Help() string {
	return `Who wrote the message, when it came and was deleted, and from which mailboxes; vault list tells its id.

Examples:

  streampost vault show alice@example.org 1234`
}

// Run prints what is known of the message.
func (c *VaultShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	list, err := server.deleted(env, string(c.Account), "id:"+strconv.FormatUint(c.ID, 10), 1, 0)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("there is no deleted message %d in the account: it may have been restored or purged", c.ID)
	}
	if c.JSON {
		return env.json(list[0])
	}
	m := list[0]
	env.printf("id          %s\nowner       %s\nfrom        %s\nto          %s\nsubject     %s\nmailbox     %s\ndelivered   %s\ndeleted     %s\nsize        %s\nattachment  %v\n",
		m.ID, m.Owner, strconv.QuoteToGraphic(m.Sender), strings.Join(m.Recipients, " "), strconv.QuoteToGraphic(m.Subject), strings.Join(m.OriginNames, ", "),
		m.DeliveryDate.Local().Format(time.DateTime), m.DeletionDate.Local().Format(time.DateTime), octets(m.Size), m.HasAttachment)
	return nil
}

// VaultRestoreCmd restores deleted messages.
type VaultRestoreCmd struct {
	VaultQuery
	Into      string `xor:"where" placeholder:"MAILBOX" help:"Put them here; the mailbox is made if needed. Restored-Messages without it."`
	Original  bool   `xor:"where" help:"Put each where it was deleted."`
	OverQuota bool   `help:"Restore although the account is full."`
	DryRun    bool   `short:"n" help:"Only say what would come back."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*VaultRestoreCmd) Help() string {
	return queryHelp + `

Restored messages leave the vault. They have the flags with which they were deleted (all but \Deleted), their dates and their ids, and new UIDs.

Examples:

  streampost vault restore alice@example.org
  streampost vault restore alice@example.org from:bob deleted-since:2026-11-20 --original
  streampost vault restore alice@example.org id:1234 --into INBOX`
}

// Run orders the restoration.
func (c *VaultRestoreCmd) Run(g *Globals, env *Env) error {
	order, err := c.order()
	if err != nil {
		return err
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	order.Into, order.Original, order.OverQuota, order.DryRun = c.Into, c.Original, c.OverQuota, c.DryRun
	return server.restoration(env, c.Detached, webadmin.TaskVaultRestore, order, c.JSON)
}

// VaultExportCmd exports deleted messages.
type VaultExportCmd struct {
	VaultQuery
	Format string `enum:"mbox,zip" default:"mbox" help:"mbox, or zip with one file for each message and metadata.jsonl (${default})."`
	Out    string `short:"o" required:"" placeholder:"FILE" help:"Write to this file, which must not exist; - for standard output."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*VaultExportCmd) Help() string {
	return queryHelp + `

Examples:

  streampost vault export alice@example.org --out alice-deleted.mbox
  streampost vault export alice@example.org from:bob --format zip --out bob.zip`
}

// exportSum is what an export printed as JSON says.
type exportSum struct {
	Exported int64 `json:"exported"`
	Failed   int64 `json:"failed"`
}

// Run writes the file.
func (c *VaultExportCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	resp, err := server.do(env, http.MethodGet, path("accounts", string(c.Account), "vault", "export")+query("format", c.Format, "query", c.text()), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if c.Out == "-" {
		_, err = io.Copy(env.Stdout, resp.Body)
		return cutOff(err)
	}
	f, err := os.OpenFile(c.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	if err = errors.Join(cutOff(err), f.Close()); err != nil {
		return errors.Join(err, os.Remove(c.Out))
	}
	var sum exportSum
	sum.Exported, _ = strconv.ParseInt(resp.Trailer.Get("X-Exported"), 10, 64)
	sum.Failed, _ = strconv.ParseInt(resp.Trailer.Get("X-Failed"), 10, 64)
	if c.JSON {
		err = env.json(sum)
	} else {
		env.printf("%d messages are in %s, %d cannot be read\n", sum.Exported, c.Out, sum.Failed)
	}
	if err == nil && sum.Failed > 0 {
		err = &exitError{exitFound, nil}
	}
	return err
}

func cutOff(err error) error {
	if err != nil {
		return fmt.Errorf("the export was cut off before its end, see the server's log: %w", err)
	}
	return nil
}

// VaultPurgeCmd gives deleted messages up.
type VaultPurgeCmd struct {
	Account named    `arg:"" optional:"" help:"Address or id of the account."`
	Query   []string `arg:"" optional:"" help:"Words such as from:bob, or James's JSON."`
	All     bool     `help:"All deleted messages of the account."`
	Expired bool     `help:"In all accounts, what was deleted longer ago than the retention."`
	DryRun  bool     `short:"n" help:"Only say how much it would be."`
	Yes     bool     `help:"Do it. Nothing can bring the messages back."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*VaultPurgeCmd) Help() string {
	return queryHelp + `

A purged message can no longer be restored by any command. Its blob is deleted by the next blob gc, unless another message of any account has the same content. The server purges what is older than vault.retention by itself.

Examples:

  streampost vault purge alice@example.org id:1234 --yes
  streampost vault purge alice@example.org --all --dry-run
  streampost vault purge --expired --yes`
}

// Run orders the purge.
func (c *VaultPurgeCmd) Run(g *Globals, env *Env) error {
	q := VaultQuery{AccountArg{c.Account}, c.Query}
	switch {
	case c.Expired && (c.Account != "" || c.All):
		return usage("--expired is about all accounts: name none")
	case !c.Expired && c.Account == "":
		return usage("say whose messages: an account, or --expired")
	case !c.Expired && (len(c.Query) > 0) == c.All:
		return usage("say which messages: a query, or --all")
	case !c.Yes && !c.DryRun:
		return usage("this would purge messages for ever: see how many with --dry-run, and then say --yes")
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	kind, given := webadmin.TaskVaultExpire, any(expireOrder{DryRun: c.DryRun})
	if !c.Expired {
		order, err := q.order()
		if err != nil {
			return err
		}
		order.DryRun = c.DryRun
		kind, given = webadmin.TaskVaultDelete, order
	}
	var sum vault.Purged
	if err := server.work(env, c.Detached, kind, given, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	done := "were purged"
	if sum.DryRun {
		done = "would be purged"
	}
	env.printf("%d messages (%s) %s\n", sum.Messages, octets(sum.Octets), done)
	return nil
}

// sorted gives a map's keys in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
