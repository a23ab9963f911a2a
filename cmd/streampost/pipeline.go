package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/hook"
	"github.com/streampost/streampost/adapters/smtp"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections/outgoing"
	"github.com/streampost/streampost/projections/parking"
	"github.com/streampost/streampost/projections/processing"
	streamqueue "github.com/streampost/streampost/streams/queue"
)

// compilePipeline reads the steps of the configuration. Errors: domain.Invalid, which tells every mistake.
func compilePipeline(cfg *config.Pipeline) (*pipeline.Program, error) {
	program, err := pipeline.Compile(pipeline.Lines(cfg.Steps), slices.Sorted(maps.Keys(processing.Registered())), pipeline.Limits{Processors: cfg.Visits})
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read pipeline.steps")
	}
	for _, text := range program.Networks() {
		if _, err := readNetwork(text); err != nil {
			return nil, domain.Errorf(domain.Invalid, "pipeline.steps: %q is no network such as 192.0.2.0/24, and no address", text)
		}
	}
	for _, name := range program.Processors() {
		for _, s := range program.Steps(name) {
			if s.Action != "HTTP" {
				continue
			}
			to, err := processing.ParseDestination(s.Params)
			if err == nil {
				_, err = hook.ReadSecret(to.Secret)
			}
			if err != nil {
				return nil, domain.Wrap(domain.Invalid, err, fmt.Sprintf("pipeline.steps: %q", s.Line))
			}
		}
	}
	return program, nil
}

func readNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(text)
}

// inNetworks makes the look at networks, which are read once.
func inNetworks(program *pipeline.Program) func(address string, networks []string) bool {
	read := map[string]netip.Prefix{}
	for _, text := range program.Networks() {
		read[text], _ = readNetwork(text) // compilePipeline has checked it
	}
	return func(address string, networks []string) bool {
		a, err := netip.ParseAddr(address)
		return err == nil && slices.ContainsFunc(networks, func(n string) bool { return read[n].Contains(a.Unmap()) })
	}
}

// bouncesDirectly tells whether the processor bounces does what the queue does by itself: tell the sender.
func bouncesDirectly(program *pipeline.Program) bool {
	steps := program.Steps(pipeline.Bounces)
	return len(steps) == 1 && (steps[0].Action == "DSNBounce" || steps[0].Action == "Bounce") && steps[0].Params["text"] == "" && steps[0].Params["status"] == ""
}

// openPipeline opens parked mail, and the processors with what goes on with mail of the spool, which is a handler of Watermill. While a core is only being looked at, nothing is processed.
func (c *core) openPipeline(parts *lifecycle.Group, opened *streamqueue.Queue, outbound *outgoing.Worker, program *pipeline.Program, node, boot string) (*parking.Lots, *processing.Processor, error) {
	lots, err := parking.New(parking.Config{Queue: opened, Blobs: c.store, Node: node, Known: program.Repositories(), Logger: c.log.With("part", "parked"), Failpoint: c.failpoint})
	if err != nil || c.accounts == nil {
		return lots, nil, err
	}
	hooks := hook.New(c.cfg.Pipeline.Parallel, nil)
	parts.Start(lifecycle.Part{Name: "hooks", Stop: func(context.Context) error { hooks.Close(); return nil }})
	steps, err := processing.New(processing.Config{
		Queue: opened, Blobs: c.store, Directory: c.directory, Program: program, InNetwork: inNetworks(program), Bounce: outbound.Bounce, Requeue: outbound.Requeue, Hook: hooks, Custom: processing.Registered(), Node: node,
		Hostname: c.hostname(), Policy: queue.Policy{Expire: c.cfg.Outbound.ExpireAfter}, Limits: processing.Limits{Call: c.cfg.Pipeline.CallTime, Header: int64(c.cfg.SMTP.Limits.Header)},
		Logger: c.log.With("part", "pipeline"), Metrics: processing.Metrics{Effect: c.metrics.Processed, Called: c.metrics.StepCalled}, Failpoint: c.failpoint,
	})
	if err != nil || c.inspecting {
		return lots, steps, err
	}
	router, err := streamqueue.NewRouter(opened, queue.Spool, streamqueue.SubscriberConfig{Boot: boot, Parallel: c.cfg.Pipeline.Parallel}, c.cfg.Drain,
		func(ctx context.Context, e *queue.Entry, by streamqueue.Holder) error {
			return steps.Handle(ctx, e, processing.Holder(by))
		})
	if err != nil {
		return nil, nil, err
	}
	parts.Start(lifecycle.Part{Name: "pipeline", Run: router.Run, Stop: func(context.Context) error { return router.Close() }})
	return lots, steps, nil
}

// acceptance is the pipeline as listeners see it, also while its queue is not open yet: what is only delivered needs none, and mail cannot pass by steps that somebody configured.
type acceptance struct {
	room  *mailroom
	steps bool // somebody configured some
}

// Accept is that of processing.Processor.
func (a acceptance) Accept(ctx context.Context, e *queue.Entry, local map[string]bool) (taken bool, err error) {
	switch p := a.room.pipeline(); {
	case p != nil:
		return p.Accept(ctx, e, local)
	case a.steps:
		return false, errQueueClosed
	}
	return false, nil
}

// processes gives a listener the pipeline; nil where messages are delivered without one.
func (c *core) processes(kind smtp.Kind) smtp.Pipeline {
	if kind == smtp.LMTP && !c.cfg.Pipeline.LMTP {
		return nil
	}
	return acceptance{&c.mailroom, len(c.cfg.Pipeline.Steps) > 0}
}

// PipelineCmd looks at the processors that mail goes through.
type PipelineCmd struct {
	Show  PipelineShowCmd  `cmd:"" help:"Show the processors and their steps."`
	Check PipelineCheckCmd `cmd:"" help:"Say what is wrong with pipeline.steps."`
	Test  PipelineTestCmd  `cmd:"" help:"Tell which steps a message would meet, and what would become of it."`
}

// PipelineShowCmd shows.
type PipelineShowCmd struct {
	Processor string `arg:"" optional:"" help:"Only this one."`
	JSON      bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*PipelineShowCmd) Help() string {
	return `What it prints are lines for pipeline.steps, those of the defaults included. It reads the configuration and needs no server.

Examples:

  streampost pipeline show
  streampost pipeline show transport`
}

// Run prints the steps.
func (c *PipelineShowCmd) Run(g *Globals, env *Env) error {
	loaded, err := g.load()
	if err != nil {
		return err
	}
	program, err := compilePipeline(&loaded.Config.Pipeline)
	if err != nil {
		return err
	}
	names := program.Processors()
	if c.Processor != "" {
		if !program.Has(c.Processor) {
			return domain.Errorf(domain.NotFound, "there is no processor %q; there are %s", c.Processor, strings.Join(names, ", "))
		}
		names = []string{c.Processor}
	}
	shown := webadmin.ShowPipeline(program, names)
	if c.JSON {
		return env.json(shown)
	}
	for _, p := range shown.Processors {
		for _, line := range p.Steps {
			env.printf("%s\n", line)
		}
	}
	return nil
}

// PipelineCheckCmd checks.
type PipelineCheckCmd struct{}

// Help teaches.
func (*PipelineCheckCmd) Help() string {
	return `It finds every mistake: names of matchers, actions, parameters and processors that there are not, networks and files that cannot be read, processors at whose end mail could be left over, steps that nothing
reaches, and mail that would go in a circle. It warns of steps of root that send on what they have sent themselves. It needs no server, so it can run before a restart.

Examples:

  streampost pipeline check --config /etc/streampost.yaml`
}

// Run checks.
func (c *PipelineCheckCmd) Run(g *Globals, env *Env) error {
	loaded, err := g.load()
	if err != nil {
		return err
	}
	program, err := compilePipeline(&loaded.Config.Pipeline)
	if err != nil {
		return usage("%w", err)
	}
	steps := 0
	for _, name := range program.Processors() {
		steps += len(program.Steps(name))
	}
	for _, text := range program.Warnings() {
		env.tell("warning: %s\n", text)
	}
	env.printf("The pipeline is good: %d steps in %d processors.\n", steps, len(program.Processors()))
	return nil
}

// PipelineTestCmd tries.
type PipelineTestCmd struct {
	From          string            `required:"" placeholder:"ADDRESS" help:"The sender; <> is the null sender."`
	To            []string          `required:"" placeholder:"ADDRESS" help:"A recipient; may be repeated."`
	Login         string            `placeholder:"LOGIN" help:"Who submits it; without it nobody logged in."`
	RemoteAddress string            `placeholder:"IP" help:"Where it comes from."`
	RemoteHost    string            `placeholder:"HOST" help:"What the client calls itself."`
	Attribute     map[string]string `placeholder:"NAME=VALUE" help:"What steps have noted before; may be repeated."`
	Processor     string            `placeholder:"NAME" help:"Where it begins (root)."`
	File          string            `arg:"" optional:"" help:"The message, or only its header; - is the standard input."`
	JSON          bool              `name:"json" help:"Print JSON."`
}

// trialMost is how many octets of a message are sent to the server.
const trialMost = 256 << 10

// Help teaches.
func (*PipelineTestCmd) Help() string {
	return `Nothing is sent, parked or asked of others. It is about the steps that the server runs with.

Examples:

  streampost pipeline test --from carol@example.com --to alice@example.org message.eml
  streampost pipeline test --from '<>' --to bob@example.net --login alice@example.org --remote-address 192.0.2.7`
}

// Run tries.
func (c *PipelineTestCmd) Run(g *Globals, env *Env) error {
	t := processing.Trial{
		Sender: c.From, Recipients: c.To, Login: c.Login, RemoteAddress: c.RemoteAddress, RemoteHost: c.RemoteHost, Attributes: c.Attribute, Processor: c.Processor,
	}
	if c.File != "" {
		in := env.Stdin
		if c.File != "-" {
			f, err := os.Open(c.File)
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, trialMost)) // the rest is not looked at
		if err != nil {
			return err
		}
		t.Message = strings.ToValidUTF8(string(text), "\ufffd")
	}
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var found processing.Found
	if err := server.call(env, http.MethodPost, path("pipeline", "test"), t, &found); err != nil {
		return err
	}
	if c.JSON {
		return env.json(found)
	}
	for _, s := range found.Steps {
		mark := "no "
		if len(s.Matched) > 0 {
			mark = "yes"
		}
		env.printf("%s %s\n", mark, s.Line)
		if len(s.Matched) > 0 && len(s.Others) > 0 {
			env.printf("      for %s; not for %s\n", strings.Join(s.Matched, " "), strings.Join(s.Others, " "))
		}
		if s.Error != "" {
			env.printf("      fails: %s\n", s.Error)
		}
	}
	for _, e := range found.Effects {
		line := e.Effect
		if e.Repository != "" {
			line += " in " + e.Repository
		}
		if e.Cause != "" {
			line += " (" + e.Cause + ")"
		}
		env.printf("-> %s: %s%s\n", line, strings.Join(e.Recipients, " "), e.Ask)
	}
	return nil
}
