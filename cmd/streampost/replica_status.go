package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/projections/replicas"
)

// replicaFilters are those of replica status. Each is a list.
type replicaFilters struct {
	Domain        []string `placeholder:"DOMAIN" help:"Accounts with an address in this domain; may be repeated."`
	MailHost      []string `placeholder:"NODE" help:"Accounts whose primary is this node."`
	Replica       []string `placeholder:"NODE" help:"Replicas on this node."`
	AccountStatus string   `enum:",active,paused" default:"" placeholder:"STATUS" help:"active or paused: accounts of which not all, or all, replicas are paused."`
	ReplicaStatus string   `enum:",available,unavailable" default:"" placeholder:"STATUS" help:"available or unavailable: replicas whose node answers with rows that can be read, or does not."`
	State         []string `placeholder:"STATE" help:"initialising, streaming, lagging, paused, diverged or unavailable; may be repeated."`
}

func (f *replicaFilters) values() url.Values {
	q := url.Values{"domains": f.Domain, "mailHost": f.MailHost, "replicaServer": f.Replica, "state": f.State}
	if f.AccountStatus != "" {
		q.Set("accountStatus", f.AccountStatus)
	}
	if f.ReplicaStatus != "" {
		q.Set("replicaStatus", f.ReplicaStatus)
	}
	return q
}

// ReplicaStatusCmd shows replicas.
type ReplicaStatusCmd struct {
	Accounts []string `arg:"" optional:"" help:"Addresses, ids, patterns or @FILE; all accounts with replicas if none."`
	replicaFilters
	Check bool `help:"Give the exit code 4 when a replica that is not paused is not streaming."`
	JSON  bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ReplicaStatusCmd) Help() string {
	return `Every node is asked where its rows of each account stand, and that is compared with the log, so that it works with a node dead. LAG is how many of the account's transactions a replica does not show, AGE how old the oldest entry is that it does not show, LEFT how long it still takes at its pace of now.

  initialising  the node makes its first rows of the account
  streaming     the rows follow the log
  lagging       they are more than 100 transactions or 2 seconds behind
  paused        on purpose
  diverged      the rows are not what the log says, or not what they are on the other nodes; see replica verify and projection verify --repair
  unavailable   the node does not answer, or its rows cannot be read

In JSON, sequence is the account's last transaction and itemId the highest email id, of the account and of each replica; lagTransactions, lagSeconds and etaSeconds are null when nobody knows.

Examples:

  streampost replica status
  streampost replica status '*@example.org' --replica mail2 --state lagging --state diverged
  streampost replica status --check --json`
}

// Run prints the replicas.
func (c *ReplicaStatusCmd) Run(g *Globals, env *Env) error {
	var names []string
	if len(c.Accounts) > 0 {
		var err error
		if names, err = new(accountsFlags).names(env, c.Accounts); err != nil {
			return err
		}
	}
	return showReplicas(g, env, names, c.values(), c.JSON, c.Check)
}

// namesAtOnce bounds the accounts that one request names: they are part of its URL.
const namesAtOnce = 300

func showReplicas(g *Globals, env *Env, names []string, filter url.Values, raw, check bool) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	all := []replicas.Account{}
	ask := func(filter url.Values) error {
		var some []replicas.Account
		err := server.call(env, http.MethodGet, path("replicas")+"?"+filter.Encode(), nil, &some)
		all = append(all, some...)
		return err
	}
	if len(names) == 0 {
		err = ask(filter)
	}
	for some := range slices.Chunk(names, namesAtOnce) {
		if err == nil {
			filter["accounts"] = some
			err = ask(filter)
		}
	}
	if err != nil {
		return err
	}
	if raw {
		err = env.json(all)
	} else {
		err = printReplicas(env, all)
	}
	if err != nil || !check {
		return err
	}
	for _, a := range all {
		for _, r := range a.Replicas {
			if r.State != replicas.Streaming && r.State != replicas.Paused {
				return &exitError{exitFound, nil}
			}
		}
	}
	return nil
}

func printReplicas(env *Env, all []replicas.Account) error {
	var rows [][]string
	var causes []string
	seen := map[string]bool{}
	for _, a := range all {
		if len(a.Replicas) == 0 {
			rows = append(rows, []string{a.Name, dash(a.MailHost), fmt.Sprint(a.Sequence), "-", "-", "none", "-", "-", "-", "-"})
		}
		for _, r := range a.Replicas {
			rows = append(rows, []string{
				a.Name, dash(a.MailHost), fmt.Sprint(a.Sequence), r.Destination, fmt.Sprint(r.Priority), string(r.State), fmt.Sprint(r.Sequence),
				countOf(r.LagTransactions), secondsOf(r.LagSeconds), secondsOf(r.ETA),
			})
			if r.Cause != "" && !seen[r.Cause] {
				seen[r.Cause] = true
				causes = append(causes, r.Cause)
			}
		}
	}
	if err := env.table("ACCOUNT HOST TX REPLICA PRIORITY STATE SHOWS LAG AGE LEFT", rows); err != nil {
		return err
	}
	if len(causes) > 0 {
		env.printf("\n")
	}
	for i, cause := range causes {
		if i == shownCauses {
			env.printf("and %d more\n", len(causes)-i)
			break
		}
		env.printf("%s\n", cause)
	}
	return nil
}

// shownCauses bounds what is said below the table.
const shownCauses = 20

func countOf(n *uint64) string {
	if n == nil {
		return "?"
	}
	return strconv.FormatUint(*n, 10)
}

func secondsOf(s *float64) string {
	if s == nil {
		return "?"
	}
	return time.Duration(*s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

// replicaResult is the result of an operation on replicas.
func replicaResult(t *webadmin.Task) (f found[replicas.Initialised, replicas.Failure]) {
	if t != nil {
		_ = json.Unmarshal(t.Result, &f) // one that has failed may have none
	}
	return f
}

func failedReplicas(t *webadmin.Task) bool { return len(replicaResult(t).Items) > 0 }

// printOperation tells how an operation ended.
func printOperation(env *Env, t *webadmin.Task) {
	f := replicaResult(t)
	for _, failure := range f.Items {
		env.printf("failed  %s\n", failure.Error)
	}
	env.printf("operation %s %s: %d replicas of %d accounts follow the log, after %.1f s\n", t.ID, t.Status, f.Sum.Replicas, f.Sum.Accounts, f.Sum.Seconds)
	if t.Error != "" {
		env.printf("%s\n", t.Error)
	}
}

// waitsFor is what a running operation waits for.
func waitsFor(t *webadmin.Task) string {
	var p webadmin.Progress
	if json.Unmarshal(t.Progress, &p) != nil || p.At == "" {
		return ""
	}
	return "; " + p.At
}
