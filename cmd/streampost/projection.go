package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
)

// ProjectionCmd looks after views.
type ProjectionCmd struct {
	List    ProjectionListCmd    `cmd:"" help:"List the generations of projections and how far they are."`
	Rebuild ProjectionRebuildCmd `cmd:"" help:"Fold the log again into new rows while the old ones are read."`
	Verify  ProjectionVerifyCmd  `cmd:"" help:"Compare rows with what the log makes of them."`
	Digest  ProjectionDigestCmd  `cmd:"" help:"Read the digests of rows, or compare them with another node's."`
	Count   ProjectionCountCmd   `cmd:"" help:"Compare rows with the digests beside them."`
	Prune   ProjectionPruneCmd   `cmd:"" help:"Drop the rows that are kept for builds of other versions."`
	Drop    ProjectionDropCmd    `cmd:"" help:"Drop all rows of a projection without which mail is served."`
	Upgrade ProjectionUpgradeCmd `cmd:"" help:"Say what this build has to do before all its projections are complete."`
}

// ProjectionListCmd lists projections.
type ProjectionListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ProjectionListCmd) Help() string {
	return `One line for each generation of each projection in each stream, the one that serves first: how far it has come in the log, how far behind that is, its size and what is done with it.

Examples:

  streampost projection list
  streampost projection list --json`
}

// Run prints the list.
func (c *ProjectionListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var list []webadmin.Projection
	if err := server.call(env, http.MethodGet, path("projections"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, p := range list {
		state := p.State
		if p.Phase != "" {
			state += " (" + p.Phase + ")"
		}
		rows = append(rows, []string{
			p.Name, fmt.Sprint(p.Version), p.Stream, fmt.Sprint(p.Generation), fmt.Sprint(p.Cursor), fmt.Sprint(p.Head), fmt.Sprint(p.Lag),
			fmt.Sprintf("%.1fs", p.LagTime), octets(p.Octets), state,
		})
	}
	return env.table("PROJECTION VERSION STREAM GENERATION CURSOR HEAD LAG AGE SIZE STATE", rows)
}

// ViewScope says which rows a command is about.
type ViewScope struct {
	All        bool     `help:"All projections of all accounts."`
	Projection string   `placeholder:"NAME" help:"One projection only; see projection list."`
	Stream     string   `placeholder:"STREAM" help:"One stream only; see projection list."`
	Account    []string `placeholder:"ACCOUNT" help:"The rows of this account only, by address or id. May be repeated."`
	Domain     string   `placeholder:"DOMAIN" help:"The rows of all accounts with an address in this domain."`
}

// named says whether anything was chosen.
func (s *ViewScope) named() bool {
	return s.Projection != "" || s.Stream != "" || len(s.Account) > 0 || s.Domain != ""
}

func (s *ViewScope) check() error {
	if s.All && s.named() {
		return usage("--all means everything: leave out --projection, --stream, --account and --domain")
	}
	return nil
}

// work are the scope as parameters of a task, to which a command adds its own.
func (s *ViewScope) work() (work viewWork) {
	work.Projection, work.Stream, work.Domain, work.All = s.Projection, s.Stream, s.Domain, s.All
	for _, name := range s.Account {
		work.Accounts = append(work.Accounts, domain.AccountID(name))
	}
	return work
}

// values are the scope as a query.
func (s *ViewScope) values() url.Values {
	q := url.Values{}
	set(q, "projection", s.Projection)
	set(q, "stream", s.Stream)
	set(q, "domain", s.Domain)
	if s.All {
		set(q, "all", "true")
	}
	q["account"] = s.Account
	return q
}

func set(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

// views does work on views as a task, or in this process.
func (s *session) views(env *Env, d Detached, kind string, scope *ViewScope, work viewWork, item func(json.RawMessage) error, sum any) error {
	q := scope.values()
	number := func(key string, n float64) {
		if n != 0 {
			q.Set(key, strconv.FormatFloat(n, 'f', -1, 64))
		}
	}
	truth := func(key string, is bool) {
		if is {
			q.Set(key, "true")
		}
	}
	number("throttle", float64(work.Throttle))
	number("cpu", work.CPU)
	number("sample", work.Sample)
	if work.Salt != 0 {
		q.Set("salt", strconv.FormatUint(work.Salt, 10))
	}
	truth("dryRun", work.DryRun)
	truth("verify", work.Verify)
	truth("repair", work.Repair)
	truth("fromSnapshot", work.FromSnapshot)
	truth("digests", work.Digests)
	set(q, "mailbox", work.Mailbox)
	number("uid", float64(work.UID))
	_, verb, _ := strings.Cut(kind, "-")
	return s.long(env, d, longWork{kind: kind, parameters: work, route: path("projections", verb) + "?" + q.Encode(), item: item}, sum)
}

// ProjectionRebuildCmd folds the log again.
type ProjectionRebuildCmd struct {
	ViewScope
	Throttle     int     `placeholder:"N" help:"At most N entries a second."`
	CPU          float64 `name:"cpu" placeholder:"SHARE" help:"Work only in this share of the time, above 0 and at most 1."`
	DryRun       bool    `help:"Only say what would be done and how long it would take."`
	Check        bool    `name:"verify" help:"Compare all new rows with another fold of the log before they are switched in."`
	FromSnapshot bool    `help:"Take the rows of accounts with long logs from their snapshots, and fold only what came after."`
	JSON         bool    `name:"json" help:"Print JSON."`
	Detached
}

// Help teaches.
func (*ProjectionRebuildCmd) Help() string {
	return `Views hold nothing that the log does not hold, so a rebuild is always safe. New rows are filled from the log beside the live ones, which are read meanwhile, and take their place in one moment when they have caught up; rows of single accounts are made anew where they are. Cancelling it leaves everything as it was, and a rebuild that the end of the server cuts short is gone on with by the next. The same rebuild twice is one. It works beside a running server, or without one on its data directory.

Examples:

  streampost projection rebuild --account alice@example.org
  streampost projection rebuild --account alice@example.org --from-snapshot
  streampost projection rebuild --projection counters --cpu 0.25
  streampost projection rebuild --all --dry-run
  streampost projection rebuild --domain example.org --projection mailboxes --throttle 5000`
}

// Run rebuilds.
func (c *ProjectionRebuildCmd) Run(g *Globals, env *Env) error {
	if err := c.check(); err != nil {
		return err
	}
	if !c.All && !c.named() {
		return usage("say what to rebuild: --all, --projection NAME, --stream STREAM, --account ACCOUNT or --domain DOMAIN")
	}
	if c.FromSnapshot && len(c.Account) == 0 && c.Domain == "" {
		return usage("--from-snapshot is for single accounts: say --account ACCOUNT or --domain DOMAIN")
	}
	if c.DryRun && c.Check {
		return usage("a dry run makes no rows that could be verified: leave out --dry-run or --verify")
	}
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	work := c.work()
	work.RebuildOptions = webadmin.RebuildOptions{Throttle: c.Throttle, CPU: c.CPU, DryRun: c.DryRun, Verify: c.Check, FromSnapshot: c.FromSnapshot}
	var sum webadmin.Rebuilt
	if err := server.views(env, c.Detached, "projection-rebuild", &c.ViewScope, work, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	if c.DryRun {
		return printPlan(env, sum.Plan)
	}
	env.printf("%d entries are folded again in %s; the longest pause was %s\n", sum.Entries, seconds(sum.Seconds), seconds(sum.Pause))
	return nil
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}

// printPlan prints what is to be done.
func printPlan(env *Env, plan []webadmin.Planned) error {
	var rows [][]string
	var entries uint64
	var took float64
	for _, p := range plan {
		has := "-"
		for i, h := range p.Has {
			if i == 0 {
				has = ""
			} else {
				has += ", "
			}
			has += fmt.Sprintf("%d (version %d, at %d)", h.Generation, h.Version, h.Cursor)
		}
		rows = append(rows, []string{p.Projection, fmt.Sprint(p.Version), p.Stream, has, p.Work, fmt.Sprint(p.Entries), seconds(p.Seconds), octets(p.Octets)})
		entries += p.Entries
		took += p.Seconds
	}
	if err := env.table("PROJECTION VERSION STREAM GENERATIONS WORK ENTRIES TIME SIZE", rows); err != nil {
		return err
	}
	env.printf("%d entries are to be folded, in %s if one projection follows the other\n", entries, seconds(took))
	return nil
}

// ProjectionVerifyCmd compares rows with the log.
type ProjectionVerifyCmd struct {
	ViewScope
	Mailbox string `placeholder:"MAILBOX" help:"Only the rows of this mailbox of the one account."`
	Message uint32 `placeholder:"UID" help:"Only the rows of this message of the mailbox."`

	Sample   float64 `placeholder:"SHARE" help:"Only this share of the accounts, above 0 and at most 1."`
	Salt     uint64  `placeholder:"N" help:"Another number samples other accounts."`
	Digests  bool    `help:"Compare the digests of rows only."`
	Throttle int     `placeholder:"N" help:"Fold at most N entries a second."`
	CPU      float64 `name:"cpu" placeholder:"SHARE" help:"Work only in this share of the time, above 0 and at most 1."`
	Repair   bool    `help:"Make anew what differs."`
	JSON     bool    `name:"json" help:"Print JSON lines."`
	Detached
}

// Help teaches.
func (*ProjectionVerifyCmd) Help() string {
	return `The log is folded into a shadow, which is then compared with the view row by row, at one position while mail goes on. Each difference is printed, with the transaction that last wrote the row as far as that can be told, and the exit code is then 4: rebuild what differs, or say --repair, and report it as a bug. It works beside a running server, or without one on its data directory.

Examples:

  streampost projection verify
  streampost projection verify --sample 0.01 --cpu 0.25
  streampost projection verify --account alice@example.org --repair
  streampost projection verify --account alice@example.org --mailbox INBOX --message 17
  streampost projection verify --digests --throttle 5000`
}

// Run compares.
func (c *ProjectionVerifyCmd) Run(g *Globals, env *Env) error {
	if err := c.check(); err != nil {
		return err
	}
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	if c.Mailbox != "" && (len(c.Account) != 1 || c.Domain != "") || c.Message != 0 && c.Mailbox == "" {
		return usage("a mailbox is one of an account, and a message one of a mailbox: say --account ACCOUNT --mailbox MAILBOX")
	}
	work := c.work()
	work.Mailbox, work.UID = c.Mailbox, domain.UID(c.Message)
	work.Sample, work.Salt, work.CPU, work.Repair, work.Throttle, work.Digests = c.Sample, c.Salt, c.CPU, c.Repair, c.Throttle, c.Digests
	var sum webadmin.Compared
	if err := server.views(env, c.Detached, "projection-verify", &c.ViewScope, work, shown(env, c.JSON, func(d *webadmin.Difference) {
		printDifference(env.Stdout, *d)
	}), &sum); err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else {
		env.printf("%d rows compared, %d differ\n", sum.Rows, sum.Differences)
		if c.Repair && sum.Differences > 0 {
			env.printf("%d accounts and generations are made anew\n", sum.Repaired)
		}
	}
	if sum.Differences > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

func printDifference(out io.Writer, d webadmin.Difference) {
	by := ""
	if d.Tx != 0 {
		by = fmt.Sprintf(" (transaction %d)", d.Tx)
	}
	fmt.Fprintf(out, "%s %s: %s[%s] %s\n  view: %s\n  log:  %s%s\n", d.Stream, d.Projection, d.Table, d.Key, d.Column, d.View, d.Log, by)
}

// ProjectionPruneCmd drops kept generations.
type ProjectionPruneCmd struct {
	Projection string `placeholder:"NAME" help:"Of one projection only."`
	Stream     string `placeholder:"STREAM" help:"Of one stream only."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ProjectionPruneCmd) Help() string {
	return `After an upgrade the rows of the older version stay, so that the older program could be started again at once. This drops them: the older program would then make its rows anew.

Examples:

  streampost projection prune
  streampost projection prune --projection search`
}

// Run prunes.
func (c *ProjectionPruneCmd) Run(g *Globals, env *Env) error {
	return dropViews(g, env, http.MethodPost, path("projections", "prune"), ViewScope{Projection: c.Projection, Stream: c.Stream}, c.JSON)
}

// ProjectionDropCmd drops the live rows of an optional projection.
type ProjectionDropCmd struct {
	Projection string `arg:"" help:"The projection; see projection list."`
	Stream     string `placeholder:"STREAM" help:"In one stream only."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ProjectionDropCmd) Help() string {
	return `Only projections without which mail is served can be dropped. A rebuild makes the rows anew, and so does the next start of the server.

Examples:

  streampost projection drop search`
}

// Run drops.
func (c *ProjectionDropCmd) Run(g *Globals, env *Env) error {
	return dropViews(g, env, http.MethodDelete, path("projections", c.Projection), ViewScope{Stream: c.Stream}, c.JSON)
}

func dropViews(g *Globals, env *Env, method, at string, scope ViewScope, asJSON bool) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var sum webadmin.DroppedViews
	if err := server.call(env, method, at+"?"+scope.values().Encode(), nil, &sum); err != nil {
		return err
	}
	if asJSON {
		return env.json(sum)
	}
	env.printf("%d generations dropped\n", sum.Generations)
	return nil
}

// ProjectionUpgradeCmd tells of an upgrade.
type ProjectionUpgradeCmd struct {
	Plan bool `help:"Say what is to be done and how long it takes; nothing is changed." required:""`
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ProjectionUpgradeCmd) Help() string {
	return `A new version of a projection is built beside the old one when the new program starts, and is served when it is complete; the others are served at once. Run this with the new program while no server runs on the data directory, or ask a running server what it has still to do.

Examples:

  streampost projection upgrade --plan`
}

// Run prints the plan.
func (c *ProjectionUpgradeCmd) Run(g *Globals, env *Env) error {
	plan, err := g.plan(env)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.json(plan)
	}
	return printPlan(env, plan)
}
