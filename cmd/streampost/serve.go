package main

import (
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/webhook"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/logging"
)

// ServeCmd runs the server.
type ServeCmd struct {
	Demo         bool     `help:"Make the domain example.org with the accounts alice and bob and a few messages, and print what to try."`
	DemoPassword string   `placeholder:"PASSWORD" help:"Password of both demo accounts, instead of random ones."`
	Join         []string `placeholder:"HOST" help:"Be a node of a cluster: the address of another node, host or host:port; may be repeated. See streampost cluster init --help."`
	Witness      bool     `help:"Be a node that keeps a copy of the log and serves no mail."`
	PortOffset   *int     `placeholder:"N" help:"Add N to the port of every listener, so that several instances fit on one machine."`
}

// Help teaches.
func (*ServeCmd) Help() string {
	return `Without --demo it serves what is in the data directory with the given configuration; an empty directory becomes an empty installation. All listeners are on loopback unless the configuration says otherwise.

SIGTERM or SIGINT ends it in order: it takes no new connections, finishes the commands in flight, says goodbye and closes the log, all within the configured drain time. A second signal ends it at once; nothing that was acknowledged is lost then either. SIGHUP makes it read its certificate again.

Examples:

  streampost serve --demo
  streampost serve --demo --demo-password secret --data /tmp/two --port-offset 100
  streampost serve --config /etc/streampost.yaml
  streampost serve --join mail1.example.org`
}

// Run serves until a signal or a failure.
func (c *ServeCmd) Run(g *Globals, env *Env) error {
	var sets []config.Set
	if c.PortOffset != nil {
		sets = append(sets, config.Set{Key: "port_offset", Value: strconv.Itoa(*c.PortOffset), Flag: "--port-offset"})
	}
	if len(c.Join) > 0 {
		sets = append(sets, config.Set{Key: "cluster.join", Value: strings.Join(c.Join, ","), Flag: "--join"})
	}
	if c.Witness {
		sets = append(sets, config.Set{Key: "cluster.witness", Value: "true", Flag: "--witness"})
	}
	if c.DemoPassword != "" && !c.Demo {
		return usage("--demo-password needs --demo")
	}
	loaded, err := g.load(sets...)
	if err != nil {
		return err
	}
	cfg := &loaded.Config
	if _, err := compilePipeline(&cfg.Pipeline); err != nil {
		return usage("%w", err)
	}
	if _, err := makeWebhooks(&cfg.Listeners, nil, webhook.Config{}); err != nil {
		return usage("%w", err)
	}
	log, err := logging.New(env.Stderr, cfg.Logging.Format, cfg.Logging.Level)
	if err != nil {
		return err
	}
	if cfg.Cluster.Witness {
		return witness(env, cfg, log)
	}
	s, err := newServer(env, cfg, log)
	if err != nil {
		return err
	}
	if c.Demo {
		err = s.demo(env, c.DemoPassword)
	}
	if err == nil {
		err = s.start(env)
	}
	if err == nil && c.Demo {
		s.tellDemo(env)
	}
	if err == nil {
		log.Info("serving", "data", s.data.path, "version", version())
		err = s.group.Wait(env)
	}
	if env.interrupted() {
		log.Info("stopping", "within", cfg.Drain)
	}
	if stopErr := s.close(); err == nil {
		err = stopErr
	} else if stopErr != nil {
		log.Error("stop", "err", stopErr)
	}
	if err == nil {
		log.Info("stopped")
	}
	return err
}
