package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/task"
)

// ReplicaCmd looks after replicas of accounts on the nodes of a cluster.
type ReplicaCmd struct {
	Set       ReplicaSetCmd       `cmd:"" help:"Keep replicas of accounts on a node, or change their priority."`
	Status    ReplicaStatusCmd    `cmd:"" help:"Show replicas: what state they are in and how far behind."`
	Promote   ReplicaPromoteCmd   `cmd:"" help:"Make another node the primary of accounts."`
	Remove    ReplicaRemoveCmd    `cmd:"" help:"End replicas of accounts on a node."`
	Pause     ReplicaPauseCmd     `cmd:"" help:"Pause replicas of accounts."`
	Resume    ReplicaResumeCmd    `cmd:"" help:"Resume replicas that are paused."`
	Monitor   ReplicaMonitorCmd   `cmd:"" help:"Follow an operation on replicas until it ends."`
	Test      ReplicaTestCmd      `cmd:"" help:"Have every node look whether it reaches the log, the blobs and the keys."`
	Verify    ReplicaVerifyCmd    `cmd:"" help:"Compare mailboxes on nodes by their digests."`
	Enrolment ReplicaEnrolmentCmd `cmd:"" help:"List which replicas accounts get that are added."`
}

// accountsFlags say which accounts are meant, beside those that are named.
type accountsFlags struct {
	Domain []string `placeholder:"DOMAIN" help:"All accounts with an address in this domain; may be repeated."`
	All    bool     `help:"All accounts."`
}

const accountsHelp = `Accounts are addresses or ids, with commas between them or one by one; patterns such as 'a*@example.org', in which * stands for any text and ? for one character; or @FILE, in which each line is one of these (@- reads standard input). --domain and --all name many. There are no classes of service in this directory that could select accounts: use domains and patterns.`

// names reads accounts from the command line and from the files that it names.
func (f *accountsFlags) names(env *Env, args []string) (all []string, err error) {
	for _, arg := range args {
		file, from := strings.CutPrefix(arg, "@")
		if !from {
			all = append(all, list(arg)...)
			continue
		}
		lines, err := readNames(env, file)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	if len(all)+len(f.Domain) == 0 && !f.All {
		return nil, usage("it is not said which accounts are meant: name some, or say --domain or --all")
	}
	return all, nil
}

// list parts a list with commas.
func list(text string) (all []string) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// readNames reads a file with one name in a line; # begins a comment.
func readNames(env *Env, name string) (all []string, err error) {
	var in io.Reader = env.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, usage("read the list of accounts: %w", err)
		}
		defer file.Close()
		in = file
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		all = append(all, list(text)...)
	}
	if err := lines.Err(); err != nil {
		return nil, usage("read the list of accounts: %w", err)
	}
	if len(all) == 0 {
		return nil, usage("the list of accounts %s is empty", name)
	}
	return all, nil
}

// replicaOrder is what the commands that change replicas have in common.
type replicaOrder struct {
	accountsFlags
	Partial bool `help:"Do what can be done and list what cannot, instead of doing nothing when a name is wrong."`
	JSON    bool `name:"json" help:"Print JSON."`
}

// send has a server carry out an order, and tells what it did.
func (o *replicaOrder) send(g *Globals, env *Env, route, done string, order webadmin.ReplicaOrder, wait bool) error {
	order.Domains, order.All, order.Partial = o.Domain, o.All, o.Partial
	server, err := g.connect()
	if err != nil {
		return err
	}
	var outcome webadmin.ReplicaOutcome
	if err := server.call(env, http.MethodPost, route, order, &outcome); err != nil {
		return err
	}
	var ended *webadmin.Task
	if wait && outcome.Operation != "" {
		if ended, err = server.await(env, outcome.Operation); err != nil {
			return err
		}
	}
	if o.JSON {
		shown := struct {
			webadmin.ReplicaOutcome
			Ended *webadmin.Task `json:"ended,omitempty"` // the operation, when it was waited for
		}{outcome, ended}
		if err := env.json(shown); err != nil {
			return err
		}
	} else {
		o.print(env, done, &outcome, ended)
	}
	switch {
	case len(outcome.Failed) > 0 || failedReplicas(ended):
		return &exitError{exitFound, nil}
	case ended != nil && ended.Status != task.Completed.String():
		return &exitError{exitFailed, nil}
	}
	return nil
}

func (o *replicaOrder) print(env *Env, done string, outcome *webadmin.ReplicaOutcome, ended *webadmin.Task) {
	for _, f := range outcome.Failed {
		env.printf("failed  %s: %s\n", f.Name, f.Error)
	}
	env.printf("%d accounts %s", outcome.Accounts, done)
	if len(outcome.Failed) > 0 {
		env.printf(", %d failed", len(outcome.Failed))
	}
	env.printf("\n")
	for _, s := range outcome.Selectors {
		env.printf("and those that will be added: %s\n", s)
	}
	switch {
	case ended != nil:
		printOperation(env, ended)
	case outcome.Operation != "":
		env.printf("operation %s\n", outcome.Operation)
	case outcome.Unwatched != "":
		env.tell("Nobody watches how it goes on, look at replica status: %s\n", outcome.Unwatched)
	}
}

// ReplicaSetCmd sets replicas.
type ReplicaSetCmd struct {
	Args []string `arg:"" optional:"" name:"destination priority accounts" help:"The node, the priority (the lowest is promoted first), and the accounts; with --keep only accounts."`
	replicaOrder
	Keep int  `placeholder:"N" help:"Give each account so many replicas, on the nodes that have the fewest, instead of one on a node that is named. None is removed."`
	Auto bool `help:"Accounts as well that will be added and that --all, --domain or a pattern means."`
	Wait bool `help:"Wait until the replicas follow the log, or have failed to."`
}

// Help teaches.
func (*ReplicaSetCmd) Help() string {
	return accountsHelp + `

Repeat it with another node and priority for several replicas of an account. When a name is wrong nothing is done at all, unless you say --partial: then what cannot be done is listed and the exit code is 4. An operation then watches until the replicas follow the log; replica monitor follows it, and administrators are told when it ends (cluster.notify).

Examples:

  streampost replica set mail2 10 alice@example.org,bob@example.org
  streampost replica set mail3 20 @accounts.txt --wait
  streampost replica set mail2 10 --domain example.org --auto
  streampost replica set --keep 2 --all --auto`
}

// Run sends the order.
func (c *ReplicaSetCmd) Run(g *Globals, env *Env) error {
	order, accounts := webadmin.ReplicaOrder{Keep: c.Keep, Auto: c.Auto}, c.Args
	switch {
	case c.Keep < 0:
		return usage("--keep wants how many replicas an account is to have")
	case c.Keep == 0:
		if len(c.Args) < 2 {
			return usage("say the node, the priority and the accounts, as in: streampost replica set mail2 10 alice@example.org")
		}
		priority, err := strconv.ParseUint(c.Args[1], 10, 32)
		if err != nil {
			return usage("%q is no priority: it is a number from 0 to %d, and the lowest is promoted first", c.Args[1], uint32(1<<32-1))
		}
		order.Destination, order.Priority, accounts = c.Args[0], uint32(priority), c.Args[2:]
	}
	var err error
	if order.Accounts, err = c.names(env, accounts); err != nil {
		return err
	}
	return c.send(g, env, path("replicas"), "have replicas", order, c.Wait)
}

// ReplicaRemoveCmd ends replicas.
type ReplicaRemoveCmd struct {
	Destination named    `arg:"" help:"The node. It need not be there any more."`
	Accounts    []string `arg:"" optional:"" help:"Accounts."`
	replicaOrder
	Auto bool `help:"Accounts that will be added and that --all, --domain or a pattern means get no replica there any more either; with --all whatever meant them."`
}

// Help teaches.
func (*ReplicaRemoveCmd) Help() string {
	return accountsHelp + `

Accounts that are named one by one must have a replica there; of a domain, a pattern or all, those that have none are passed over.

Examples:

  streampost replica remove mail2 alice@example.org
  streampost replica remove mail3 --all --auto`
}

// Run sends the order.
func (c *ReplicaRemoveCmd) Run(g *Globals, env *Env) error {
	names, err := c.names(env, c.Accounts)
	if err != nil {
		return err
	}
	order := webadmin.ReplicaOrder{Destination: string(c.Destination), Accounts: names, Auto: c.Auto}
	return c.send(g, env, path("replicas", "remove"), "have no replica on "+string(c.Destination)+" any more", order, false)
}

// ReplicaPauseCmd pauses replicas.
type ReplicaPauseCmd struct {
	Accounts []string `arg:"" optional:"" help:"Accounts."`
	replicaOrder
	Destination string `placeholder:"NODE" help:"Only their replicas on this node."`
}

// Help teaches.
func (*ReplicaPauseCmd) Help() string {
	return accountsHelp + `

A replica that is paused is not promoted, not waited for, and not reported as lagging or diverged. Its node reads no message of the account for the index of words, which is most of what a replica costs. Its rows go on following the log with those of all other accounts, so there is no time after which it could not be resumed.

Examples:

  streampost replica pause alice@example.org
  streampost replica pause --domain example.org --destination mail3`
}

// Run sends the order.
func (c *ReplicaPauseCmd) Run(g *Globals, env *Env) error {
	names, err := c.names(env, c.Accounts)
	if err != nil {
		return err
	}
	return c.send(g, env, path("replicas", "pause"), "are paused", webadmin.ReplicaOrder{Destination: c.Destination, Accounts: names}, false)
}

// ReplicaResumeCmd resumes replicas.
type ReplicaResumeCmd struct {
	Accounts []string `arg:"" optional:"" help:"Accounts."`
	replicaOrder
	Destination string `placeholder:"NODE" help:"Only their replicas on this node."`
	Wait        bool   `help:"Wait until the replicas follow the log, or have failed to."`
}

// Help teaches.
func (*ReplicaResumeCmd) Help() string {
	return accountsHelp + `

An operation watches until the replicas follow the log and the index of words has caught up with them.

Examples:

  streampost replica resume alice@example.org --wait
  streampost replica resume --all --destination mail3`
}

// Run sends the order.
func (c *ReplicaResumeCmd) Run(g *Globals, env *Env) error {
	names, err := c.names(env, c.Accounts)
	if err != nil {
		return err
	}
	return c.send(g, env, path("replicas", "resume"), "are resumed", webadmin.ReplicaOrder{Destination: c.Destination, Accounts: names}, c.Wait)
}

// ReplicaMonitorCmd follows an operation.
type ReplicaMonitorCmd struct {
	Operation domain.TaskID `arg:"" help:"The operation, as replica set printed it."`
	JSON      bool          `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ReplicaMonitorCmd) Help() string {
	return `It prints how far the operation is whenever that changes, until it ends. Operations are tasks of the whole cluster: any node tells of any of them, and if the one that runs it dies, another goes on with it. The exit code is 0 when all replicas follow the log, 4 when some do not, and 1 when the operation failed or was cancelled. Interrupting it interrupts no operation.

Examples:

  streampost replica monitor 2f1b9b9e-5f3c-4ad5-9d0b-0d8f4a1c7e11`
}

// Run follows.
func (c *ReplicaMonitorCmd) Run(g *Globals, env *Env) error {
	if _, err := domain.ParseTaskID(string(c.Operation)); err != nil {
		return usage("an operation is named by one UUID, and %q is none", c.Operation)
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	t, err := server.follow(env, c.Operation, !c.JSON)
	if err != nil {
		return err
	}
	if c.JSON {
		err = env.json(t)
	} else {
		printOperation(env, t)
	}
	switch {
	case err != nil:
		return err
	case t.Status != task.Completed.String():
		return &exitError{exitFailed, nil}
	case failedReplicas(t):
		return &exitError{exitFound, nil}
	}
	return nil
}

// follow prints the progress of a task as it changes, and gives the task when it has ended.
func (c *client) follow(env *Env, id domain.TaskID, tell bool) (*webadmin.Task, error) {
	for last := ""; ; {
		var t webadmin.Task
		err := c.call(env, http.MethodGet, path("tasks", string(id), "await")+query("timeout", look), nil, &t)
		if err == nil {
			return &t, nil
		}
		var refused *webadmin.Error
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusRequestTimeout {
			return nil, err
		}
		if err := c.call(env, http.MethodGet, path("tasks", string(id)), nil, &t); err != nil {
			return nil, err
		}
		if now := summaryOf(&t) + waitsFor(&t); tell && now != last {
			last = now
			env.printf("%s  %s\n", t.Status, now)
		}
	}
}

// ReplicaEnrolmentCmd lists what new accounts get.
type ReplicaEnrolmentCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ReplicaEnrolmentCmd) Help() string {
	return `Each selector says which accounts it means; an account gets the replicas of all selectors that mean it, in the moment in which it is added. Change it with --auto of replica set and replica remove.

Examples:

  streampost replica enrolment`
}

// Run prints the list.
func (c *ReplicaEnrolmentCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var all []webadmin.Enrolled
	if err := server.call(env, http.MethodGet, path("replicas", "enrolments"), nil, &all); err != nil {
		return err
	}
	if c.JSON {
		return env.json(all)
	}
	var rows [][]string
	for _, e := range all {
		keep := "all of"
		if e.Keep > 0 {
			keep = fmt.Sprintf("%d of", e.Keep)
		}
		var nodes []string
		for _, d := range e.Destinations {
			if node := d.Node; e.Keep == 0 {
				nodes = append(nodes, fmt.Sprintf("%s:%d", node, d.Priority))
			} else {
				nodes = append(nodes, node)
			}
		}
		rows = append(rows, []string{e.Selector, keep, strings.Join(nodes, " ")})
	}
	return env.table("SELECTOR GETS NODES", rows)
}
