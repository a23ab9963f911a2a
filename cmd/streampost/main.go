// Command streampost is the whole server and the tool that runs it.
//
// serve runs the server; server.go is the one place where its parts are made and joined. Every other subcommand has a file of its own and
// speaks to a running server through the REST door (package webadmin), which it finds through the data directory. Errors become one line on
// standard error and an exit code, see exit.go.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/projections/promotion"
)

// CLI is the command line. Its help texts are also docs/cli.md.
type CLI struct {
	Globals

	Serve      ServeCmd      `cmd:"" help:"Run the server."`
	Domain     DomainCmd     `cmd:"" help:"Manage local domains."`
	Account    AccountCmd    `cmd:"" help:"Manage accounts."`
	Alias      AliasCmd      `cmd:"" help:"Manage other names of addresses."`
	Group      GroupCmd      `cmd:"" help:"Manage groups of recipients."`
	Forward    ForwardCmd    `cmd:"" help:"Manage where users have their mail sent on to."`
	Mapping    MappingCmd    `cmd:"" help:"Look after all mappings of recipients: also of domains, expressions, refusals and catch-alls."`
	Import     ImportCmd     `cmd:"" help:"Import mail from mbox files or maildirs."`
	Status     StatusCmd     `cmd:"" help:"Show what the server is and does."`
	Cluster    ClusterCmd    `cmd:"" help:"Form, watch and try a cluster."`
	Replica    ReplicaCmd    `cmd:"" help:"Keep replicas of accounts on nodes of a cluster, watch them, and promote them."`
	Ha         HaCmd         `cmd:"" name:"ha" aliases:"MailReplica" help:"Look after replicas with the commands of Carbonio's Active Replica."`
	Log        LogCmd        `cmd:"" help:"Read and verify the log of record."`
	Projection ProjectionCmd `cmd:"" help:"List, rebuild and verify views."`
	Snapshot   SnapshotCmd   `cmd:"" help:"Manage the rows that are kept of accounts with long logs."`
	Search     SearchCmd     `cmd:"" help:"Look after the search index."`
	Task       TaskCmd       `cmd:"" help:"List, show, cancel and await long work."`
	Pipeline   PipelineCmd   `cmd:"" help:"Look at the processors that mail goes through."`
	Parked     ParkedCmd     `cmd:"" help:"Look after mail that could not be processed."`
	Queue      QueueCmd      `cmd:"" help:"Look after mail that is on its way to other servers."`
	DKIM       DKIMCmd       `cmd:"" name:"dkim" help:"Manage the keys that sign mail."`
	DNS        DNSCmd        `cmd:"" name:"dns" help:"Print and check the DNS records of a domain."`
	Trace      TraceCmd      `cmd:"" help:"Tell what became of a message, step by step."`
	Sieve      SieveCmd      `cmd:"" help:"Manage the scripts by which users filter their mail."`
	Deadletter DeadletterCmd `cmd:"" help:"Look after what listeners could not handle."`
	Listener   ListenerCmd   `cmd:"" help:"List and remove listeners."`
	Webhook    WebhookCmd    `cmd:"" help:"List and test webhooks."`
	Vault      VaultCmd      `cmd:"" help:"Look after deleted messages."`
	Blob       BlobCmd       `cmd:"" help:"Look after the stored octets of messages."`
	Keys       KeysCmd       `cmd:"" help:"Manage the master key."`
	Doctor     DoctorCmd     `cmd:"" help:"Look for what is wrong or risky."`
	Config     ConfigCmd     `cmd:"" help:"Print and check the configuration."`
	Docs       DocsCmd       `cmd:"" help:"Write the reference pages that are made from this program."`
	Version    VersionCmd    `cmd:"" help:"Show the version."`
}

// Globals are the flags of every command.
type Globals struct {
	ConfigFile string   `name:"config" env:"STREAMPOST_CONFIG" placeholder:"FILE" help:"YAML configuration file."`
	Data       string   `placeholder:"DIR" help:"Data directory, also of the running server that a command speaks to (${data})."`
	Set        []string `placeholder:"KEY=VALUE" sep:"none" help:"Set one key of the configuration; may be repeated."`
	URL        string   `env:"STREAMPOST_URL" placeholder:"URL" help:"Admin URL of the running server, instead of looking into the data directory."`
	Token      string   `env:"STREAMPOST_TOKEN" placeholder:"TOKEN" help:"Admin token for --url; better given in the environment."`
}

// load reads the configuration with the layers that the flags name.
func (g *Globals) load(more ...config.Set) (*config.Loaded, error) {
	src := config.Source{File: g.ConfigFile, Environ: os.Environ()}
	for _, s := range g.Set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usage("--set wants KEY=VALUE, not %q", s)
		}
		src.Sets = append(src.Sets, config.Set{Key: key, Value: value, Flag: "--set"})
	}
	if g.Data != "" {
		src.Sets = append(src.Sets, config.Set{Key: "data", Value: g.Data, Flag: "--data"})
	}
	src.Sets = append(src.Sets, more...)
	loaded, err := config.Load(config.Default(), src)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return loaded, nil
}

// Env is where a command reads and writes. Its context ends on SIGINT and SIGTERM.
type Env struct {
	context.Context
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

func (e *Env) printf(format string, args ...any) { _, _ = fmt.Fprintf(e.Stdout, format, args...) }
func (e *Env) tell(format string, args ...any)   { _, _ = fmt.Fprintf(e.Stderr, format, args...) }

func newParser(cli *CLI, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(cli, append([]kong.Option{
		kong.Name("streampost"),
		kong.Description("A mail platform whose log of record is NATS JetStream.\n\nTry it: streampost serve --demo"),
		kong.Vars{"data": config.Default().Data, "mappingKinds": mappingKinds, "promoteThreads": strconv.Itoa(promotion.DefaultThreads)},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.UsageOnError(),
	}, options...)...)
}

func main() {
	// The first signal asks for an orderly end. NotifyContext is undone by it, so that a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	var cli CLI
	parser, err := newParser(&cli)
	if err != nil {
		panic(err) // the grammar above is wrong
	}
	env := &Env{Context: ctx, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	command, err := parser.Parse(os.Args[1:])
	if err != nil {
		env.tell("streampost: %v\nTry streampost --help.\n", err)
		os.Exit(exitUsage)
	}
	os.Exit(report(env, command.Run(&cli.Globals, env)))
}
