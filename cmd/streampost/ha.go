package main

import (
	"net/url"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
)

// HaCmd is the commands of Carbonio's Active Replica, with its names and its order of arguments, so that scripts go on working. Each does what a subcommand of
// replica does: what is said there holds here. Arguments behind the first ones are pairs of a name and a value.
type HaCmd struct {
	SetAccountDestination    HaSetCmd     `cmd:"" name:"setAccountDestination" help:"replica set: destination priority [accounts a,b | input_file path]."`
	GetAccountStatus         HaStatusCmd  `cmd:"" name:"getAccountStatus" help:"replica status: [mailHost | replicaServer | accounts | domains | accountStatus | replicaStatus value]."`
	RemoveAccountDestination HaRemoveCmd  `cmd:"" name:"removeAccountDestination" help:"replica remove: destination [accounts a,b | input_file path]."`
	PromoteAccounts          HaPromoteCmd `cmd:"" name:"promoteAccounts" help:"replica promote: [accounts a,b | input_file path | source_mail_host host] [threads n]."`
	PauseReplicas            HaPauseCmd   `cmd:"" name:"pauseReplicas" help:"replica pause: [accounts a,b | input_file path]."`
	RestartReplicas          HaRestartCmd `cmd:"" name:"restartReplicas" help:"replica resume: [accounts a,b | input_file path]."`
	Test                     HaTestCmd    `cmd:"" name:"test" help:"replica test."`
	Monitor                  HaMonitorCmd `cmd:"" name:"monitor" help:"replica monitor: operation_uuid [operation_host]."`
}

// haFlags are those that every one of Carbonio's commands takes.
type haFlags struct {
	JSON bool `name:"json" help:"Print JSON."`
	Sync bool `help:"Wait for the end of the operation."`
}

// pairs reads arguments that are names with values.
func pairs(args []string, names ...string) (map[string]string, error) {
	values := map[string]string{}
	for len(args) > 0 {
		name := args[0]
		switch {
		case !slices.Contains(names, name):
			return nil, usage("%q is none of the arguments: they are %s, each with a value behind it", name, strings.Join(names, ", "))
		case len(args) == 1:
			return nil, usage("%s needs a value behind it", name)
		}
		if _, twice := values[name]; twice {
			return nil, usage("%s is given twice", name)
		}
		values[name], args = args[1], args[2:]
	}
	return values, nil
}

// haAccounts reads accounts as Carbonio wants them: by name, in a list or in a file. It knows no patterns there, and so no account is meant by accident.
func haAccounts(env *Env, args []string) (names []string, err error) {
	given, err := pairs(args, "accounts", "input_file")
	if err != nil {
		return nil, err
	}
	switch file, from := given["input_file"]; {
	case from && given["accounts"] != "":
		return nil, usage("say accounts or input_file, not both")
	case from:
		names, err = readNames(env, file)
	default:
		names = list(given["accounts"])
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.ContainsAny(name, "*?") {
			return nil, usage("%q is a pattern, which Carbonio does not know here: use streampost replica", name)
		}
	}
	if len(names) == 0 {
		return nil, usage("say accounts and a list with commas, or input_file and a path")
	}
	return names, nil
}

func (f haFlags) order() *replicaOrder { return &replicaOrder{JSON: f.JSON} }

// HaSetCmd is setAccountDestination.
type HaSetCmd struct {
	Destination string   `arg:"" help:"The node."`
	Priority    uint32   `arg:"" help:"The lowest is promoted first."`
	Args        []string `arg:"" optional:"" name:"name value" help:"accounts and a list with commas, or input_file and a path."`
	haFlags
}

// Help teaches.
func (*HaSetCmd) Help() string {
	return `As streampost replica set.

Examples:

  streampost ha setAccountDestination mail2 10 accounts alice@example.org,bob@example.org
  streampost ha setAccountDestination mail3 20 input_file accounts.txt --sync`
}

// Run sends the order.
func (c *HaSetCmd) Run(g *Globals, env *Env) error {
	names, err := haAccounts(env, c.Args)
	if err != nil {
		return err
	}
	return c.order().send(g, env, path("replicas"), "have replicas", webadmin.ReplicaOrder{Destination: c.Destination, Priority: c.Priority, Accounts: names}, c.Sync)
}

// HaStatusCmd is getAccountStatus.
type HaStatusCmd struct {
	Args []string `arg:"" optional:"" name:"name value" help:"mailHost, replicaServer, accounts, domains, accountStatus (active or paused) or replicaStatus (available or unavailable), each with a value or a list with commas behind it; nothing or all: every account with replicas."`
	haFlags
}

// Help teaches.
func (*HaStatusCmd) Help() string {
	return `As streampost replica status; the JSON has Carbonio's fields and more.

Examples:

  streampost ha getAccountStatus
  streampost ha getAccountStatus replicaServer mail2 replicaStatus unavailable
  streampost ha getAccountStatus accounts alice@example.org --json`
}

// Run prints the replicas.
func (c *HaStatusCmd) Run(g *Globals, env *Env) error {
	args := c.Args
	if len(args) == 1 && args[0] == "all" {
		args = nil
	}
	given, err := pairs(args, "mailHost", "replicaServer", "accounts", "domains", "accountStatus", "replicaStatus")
	if err != nil {
		return err
	}
	filter := url.Values{}
	for name, value := range given {
		if name != "accounts" {
			filter.Set(name, value)
		}
	}
	return showReplicas(g, env, list(given["accounts"]), filter, c.JSON, false)
}

// HaRemoveCmd is removeAccountDestination.
type HaRemoveCmd struct {
	Destination string   `arg:"" help:"The node."`
	Args        []string `arg:"" optional:"" name:"name value" help:"accounts and a list with commas, or input_file and a path."`
	haFlags
}

// Help teaches.
func (*HaRemoveCmd) Help() string {
	return `As streampost replica remove.

Examples:

  streampost ha removeAccountDestination mail2 accounts alice@example.org`
}

// Run sends the order.
func (c *HaRemoveCmd) Run(g *Globals, env *Env) error {
	names, err := haAccounts(env, c.Args)
	if err != nil {
		return err
	}
	return c.order().send(g, env, path("replicas", "remove"), "have no replica on "+c.Destination+" any more", webadmin.ReplicaOrder{Destination: c.Destination, Accounts: names}, false)
}

// HaPauseCmd is pauseReplicas.
type HaPauseCmd struct {
	Args []string `arg:"" optional:"" name:"name value" help:"accounts and a list with commas, or input_file and a path."`
	haFlags
}

// Help teaches.
func (*HaPauseCmd) Help() string {
	return `As streampost replica pause.

Examples:

  streampost ha pauseReplicas accounts alice@example.org`
}

// Run sends the order.
func (c *HaPauseCmd) Run(g *Globals, env *Env) error {
	names, err := haAccounts(env, c.Args)
	if err != nil {
		return err
	}
	return c.order().send(g, env, path("replicas", "pause"), "are paused", webadmin.ReplicaOrder{Accounts: names}, false)
}

// HaRestartCmd is restartReplicas.
type HaRestartCmd struct {
	Args []string `arg:"" optional:"" name:"name value" help:"accounts and a list with commas, or input_file and a path."`
	haFlags
}

// Help teaches.
func (*HaRestartCmd) Help() string {
	return `As streampost replica resume.

Examples:

  streampost ha restartReplicas accounts alice@example.org --sync`
}

// Run sends the order.
func (c *HaRestartCmd) Run(g *Globals, env *Env) error {
	names, err := haAccounts(env, c.Args)
	if err != nil {
		return err
	}
	return c.order().send(g, env, path("replicas", "resume"), "are resumed", webadmin.ReplicaOrder{Accounts: names}, c.Sync)
}

// HaTestCmd is test.
type HaTestCmd struct {
	Brokers        string `arg:"" optional:"" help:"Carbonio's Kafka brokers. There are none here, and what is given is not used: every node looks at what it needs."`
	Authentication string `arg:"" optional:"" help:"That of the brokers; not used."`
	haFlags
}

// Help teaches.
func (*HaTestCmd) Help() string {
	return `As streampost replica test.

Examples:

  streampost ha test`
}

// Run asks the nodes.
func (c *HaTestCmd) Run(g *Globals, env *Env) error {
	return (&ReplicaTestCmd{JSON: c.JSON}).Run(g, env)
}

// HaMonitorCmd is monitor.
type HaMonitorCmd struct {
	Operation domain.TaskID `arg:"" help:"The operation's UUID."`
	Host      string        `arg:"" optional:"" name:"operation-host" help:"The node that runs it. It is not needed: any node tells of any operation."`
	haFlags
}

// Help teaches.
func (*HaMonitorCmd) Help() string {
	return `As streampost replica monitor.

Examples:

  streampost ha monitor 2f1b9b9e-5f3c-4ad5-9d0b-0d8f4a1c7e11`
}

// Run follows the operation.
func (c *HaMonitorCmd) Run(g *Globals, env *Env) error {
	return (&ReplicaMonitorCmd{Operation: c.Operation, JSON: c.JSON}).Run(g, env)
}
