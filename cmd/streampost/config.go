package main

// ConfigCmd prints and checks the configuration.
type ConfigCmd struct {
	Print ConfigPrintCmd `cmd:"" help:"Print every key with its value and where that came from; secrets are masked."`
	Check ConfigCheckCmd `cmd:"" help:"Say what is wrong with the configuration."`
}

// ConfigPrintCmd prints the configuration.
type ConfigPrintCmd struct{}

// Help teaches.
func (*ConfigPrintCmd) Help() string {
	return `What it prints is itself a configuration file.

Examples:

  streampost config print > streampost.yaml
  STREAMPOST_LOGGING_LEVEL=debug streampost --set imap.limits.per_address=50 config print | grep -v default`
}

// Run prints.
func (c *ConfigPrintCmd) Run(g *Globals, env *Env) error {
	loaded, err := g.load()
	if err != nil {
		return err
	}
	return loaded.WriteYAML(env.Stdout)
}

// ConfigCheckCmd checks the configuration.
type ConfigCheckCmd struct{}

// Run checks.
func (c *ConfigCheckCmd) Run(g *Globals, env *Env) error {
	if _, err := g.load(); err != nil {
		return err
	}
	env.printf("The configuration is good.\n")
	return nil
}
