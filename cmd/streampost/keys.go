package main

// KeysCmd manages the master key.
type KeysCmd struct {
	Rotate KeysRotateCmd `cmd:"" help:"Make a new master key and wrap every account's key with it."`
}

// KeysRotateCmd makes a new master key.
type KeysRotateCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	Detached
}

// Help teaches.
func (*KeysRotateCmd) Help() string {
	return `The messages and the log are not touched: only the accounts' keys are wrapped anew. Make a new backup of keys/ afterwards; the old backup still opens what was backed up with it. A master key from the environment is rotated by the operator, see docs/operator.md.

Examples:

  streampost keys rotate
  streampost keys rotate --detach`
}

// Run rotates.
func (c *KeysRotateCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var sum rotated
	if err := server.long(env, c.Detached, longWork{kind: "keys-rotate", route: path("keys", "rotate")}, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	env.printf("%d keys and secrets are wrapped with the new master key\n", sum.Keys)
	return nil
}
