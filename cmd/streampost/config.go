package main

import (
	"crypto/tls"

	"github.com/streampost/streampost/adapters/webhook"
)

// ConfigCmd prints and checks the configuration.
type ConfigCmd struct {
	Print ConfigPrintCmd `cmd:"" help:"Print every key with its value and where that came from; secrets are masked."`
	Check ConfigCheckCmd `cmd:"" help:"Say what is wrong with the configuration."`
}

// ConfigPrintCmd prints the configuration.
type ConfigPrintCmd struct {
	Changed bool `help:"Print only what differs from the defaults."`
}

// Help teaches.
func (*ConfigPrintCmd) Help() string {
	return `What it prints is itself a configuration file.

Examples:

  streampost config print > streampost.yaml
  STREAMPOST_LOGGING_LEVEL=debug streampost --set imap.limits.per_address=50 config print --changed`
}

// Run prints.
func (c *ConfigPrintCmd) Run(g *Globals, env *Env) error {
	loaded, err := g.load()
	if err != nil {
		return err
	}
	return loaded.WriteYAML(env.Stdout, c.Changed)
}

// ConfigCheckCmd checks the configuration.
type ConfigCheckCmd struct{}

// Help teaches.
func (*ConfigCheckCmd) Help() string {
	return `It finds unknown keys, values that cannot be, addresses that are given twice, a certificate that cannot be loaded. It touches no data and needs no server, so it can run before a restart.

Examples:

  streampost config check --config /etc/streampost.yaml
  streampost config check --config /etc/streampost.yaml && systemctl restart streampost`
}

// Run checks.
func (c *ConfigCheckCmd) Run(g *Globals, env *Env) error {
	loaded, err := g.load()
	if err != nil {
		return err
	}
	if t := loaded.Config.TLS; t.Certificate != "" {
		if _, err := tls.LoadX509KeyPair(t.Certificate, t.Key); err != nil {
			return usage("tls.certificate and tls.key: %w", err)
		}
	}
	if _, err := compilePipeline(&loaded.Config.Pipeline); err != nil {
		return usage("%w", err)
	}
	if _, err := makeWebhooks(&loaded.Config.Listeners, nil, webhook.Config{}); err != nil {
		return usage("%w", err)
	}
	env.printf("The configuration is good.\n")
	return nil
}
