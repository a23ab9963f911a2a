package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/projections/promotion"
)

// ReplicaPromoteCmd gives accounts another primary.
type ReplicaPromoteCmd struct {
	Accounts []named `arg:"" optional:"" placeholder:"ACCOUNT" help:"Addresses or ids, also several with commas between them, or @FILE with one a line."`
	From     string  `placeholder:"NODE" help:"All accounts of which this node is the primary; with accounts: only those of them."`
	To       string  `placeholder:"NODE" help:"The new primary. Without it, each account goes to the node that is best for it."`
	Threads  int     `default:"${promoteThreads}" placeholder:"N" help:"Accounts at a time (${default})."`
	Reason   string  `placeholder:"TEXT" help:"Why; it is kept in the log."`
	JSON     bool    `name:"json" help:"Print JSON lines."`
}

// Help teaches.
func (*ReplicaPromoteCmd) Help() string {
	return `The primary of an account is the node that its clients are sent to. A promotion is written into the account's own log. It waits for nothing that is dead, so it works when the old primary is gone; what was acknowledged stays, and clients find the same UIDs, UIDVALIDITY and mod-sequences. If the old primary lives, its sessions go on there unless cluster.sessions says otherwise: every node serves every account. Failback is the same command.

An account whose primary is the named node already is left as it is. Of two operators who promote an account at the same time one is refused. Each account that cannot be promoted is shown with the reason, all others are promoted, and the exit code is then 4.

Examples:

  streampost replica promote alice@example.org --to mail2
  streampost replica promote alice@example.org,bob@example.org --to mail2 --reason maintenance
  streampost replica promote @accounts.txt --to mail2 --threads 32
  streampost replica promote --from mail1
  streampost replica promote --from mail1 --to mail3 --json`
}

// Run sends the order.
func (c *ReplicaPromoteCmd) Run(g *Globals, env *Env) error {
	order := webadmin.Promotion{From: c.From, To: c.To, Threads: c.Threads, Reason: c.Reason}
	for _, arg := range c.Accounts {
		names, err := accountNames(string(arg))
		if err != nil {
			return err
		}
		order.Accounts = append(order.Accounts, names...)
	}
	if len(order.Accounts) == 0 && (c.From == "" || len(c.Accounts) > 0) {
		return usage("say what to promote: accounts, @FILE, or --from NODE for all accounts of a node")
	}
	return promote(g, env, order, c.JSON)
}

// accountNames reads one argument: a name, several with commas, or the lines of a file, where # begins a comment.
func accountNames(arg string) (names []string, err error) {
	text, file := strings.CutPrefix(arg, "@")
	if file {
		content, err := os.ReadFile(text)
		if err != nil {
			return nil, usage("read the list of accounts: %w", err)
		}
		text = strings.ReplaceAll(string(content), "\n", ",")
	}
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" && !strings.HasPrefix(name, "#") {
			names = append(names, name)
		}
	}
	return names, nil
}

// promote sends an order and shows what became of each account.
func promote(g *Globals, env *Env, order webadmin.Promotion, raw bool) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	text, err := json.Marshal(order)
	if err != nil {
		return err
	}
	var sum promotion.Sum
	err = server.stream(env, http.MethodPost, path("replicas", "promote"), strings.NewReader(string(text)), shown(env, raw, func(a *webadmin.PromotedAccount) {
		name := cmp.Or(a.Login, string(a.Account))
		switch a.Outcome {
		case promotion.Promoted:
			env.printf("%s: %s -> %s (epoch %d)\n", name, dash(a.From), a.Node, a.Epoch)
		case promotion.Failed:
			env.printf("%s: FAILED, its primary is still %s: %s\n", name, dash(a.From), a.Error)
		default:
			env.printf("%s: unchanged, its primary is %s (epoch %d)\n", name, dash(a.Node), a.Epoch)
		}
	}), &sum)
	if err != nil {
		return err
	}
	if raw {
		env.printf("%s\n", mustJSON(sum))
	} else {
		env.printf("%d promoted, %d unchanged, %d failed\n", sum.Promoted, sum.Unchanged, sum.Failed)
	}
	if sum.Failed > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

// HaPromoteCmd takes Carbonio's arguments.
type HaPromoteCmd struct {
	Arguments []string `arg:"" placeholder:"NAME VALUE" help:"accounts A,B | input_file FILE | source_mail_host NODE, then destination NODE, threads N."`
	JSON      bool     `name:"json" help:"Print JSON lines."`
}

// Help teaches.
func (*HaPromoteCmd) Help() string {
	return `For scripts that were written for Carbonio: pairs of a name and a value, as there. It does what replica promote does. Hosts are names of nodes.

Examples:

  streampost ha promoteAccounts source_mail_host mail1 threads 5
  streampost ha promoteAccounts accounts alice@example.org,bob@example.org destination mail2
  streampost ha promoteAccounts input_file accounts.txt`
}

// Run translates and sends the order.
func (c *HaPromoteCmd) Run(g *Globals, env *Env) error {
	order, err := carbonioPromotion(c.Arguments)
	if err != nil {
		return err
	}
	return promote(g, env, order, c.JSON)
}

// carbonioPromotion reads pairs of a name and a value.
func carbonioPromotion(args []string) (order webadmin.Promotion, err error) {
	if len(args)%2 != 0 {
		return order, usage("promoteAccounts takes pairs of a name and a value; %s has none", args[len(args)-1])
	}
	for i := 0; i < len(args) && err == nil; i += 2 {
		switch name, value := args[i], args[i+1]; name {
		case "accounts":
			order.Accounts, err = accountNames(value)
		case "input_file":
			order.Accounts, err = accountNames("@" + value)
		case "source_mail_host":
			order.From = value
		case "destination":
			order.To = value
		case "threads":
			if order.Threads, err = strconv.Atoi(value); err != nil {
				err = usage("threads wants a number, not %q", value)
			}
		default:
			err = usage("promoteAccounts has no argument %s: there are accounts, input_file, source_mail_host, destination and threads", name)
		}
	}
	if err == nil && len(order.Accounts) == 0 && order.From == "" {
		err = usage("say what to promote: accounts, input_file or source_mail_host")
	}
	return order, err
}
