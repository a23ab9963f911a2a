package main

import "github.com/streampost/streampost/domain/event"

// GroupCmd manages groups of recipients.
type GroupCmd struct {
	Add  GroupAddCmd  `cmd:"" help:"Add members to a group, which is made with its first."`
	Rm   GroupRmCmd   `cmd:"" help:"Remove members, or the group."`
	List GroupListCmd `cmd:"" help:"List groups with their members."`
	Show GroupShowCmd `cmd:"" help:"Show the members of a group."`
}

// GroupAddCmd adds.
type GroupAddCmd struct {
	Group   named    `arg:"" help:"The group's address, in a local domain; no account and no alias has it."`
	Members []string `arg:"" optional:"" name:"member" help:"Addresses, here or elsewhere."`
	MemberFile
}

// Help teaches.
func (*GroupAddCmd) Help() string {
	return `Each member gets one copy, on however many ways. A group may have other groups as members, and up to 10,000 addresses in the end. More than 1,000 are added in portions.

Examples:

  streampost group add team@example.org alice@example.org bob@example.org zoe@example.net
  streampost group add all@example.org --from members.txt`
}

// Run sends the request.
func (c *GroupAddCmd) Run(g *Globals, env *Env) error {
	members, err := c.read(env, c.Members)
	if err != nil {
		return err
	}
	if len(members) == 0 {
		return usage("name members, or --from a file")
	}
	return addTargets(g, env, event.Group, string(c.Group), members...)
}

// GroupRmCmd removes.
type GroupRmCmd struct {
	Group   named    `arg:"" help:"The group's address."`
	Members []string `arg:"" optional:"" name:"member" help:"Members; all if absent: the group is gone."`
	MemberFile
}

// Help teaches.
func (*GroupRmCmd) Help() string {
	return `Examples:

  streampost group rm team@example.org bob@example.org
  streampost group rm team@example.org`
}

// Run sends the request.
func (c *GroupRmCmd) Run(g *Globals, env *Env) error {
	members, err := c.read(env, c.Members)
	if err != nil {
		return err
	}
	if c.From != "" && len(members) == 0 {
		return nil
	}
	return removeTargets(g, env, event.Group, string(c.Group), members...)
}

// GroupListCmd lists.
type GroupListCmd struct {
	Member string `placeholder:"ADDRESS" help:"Only groups with this member."`
	Domain string `placeholder:"DOMAIN" help:"Only groups in this domain."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*GroupListCmd) Help() string {
	return `Examples:

  streampost group list
  streampost group list --member alice@example.org`
}

// Run prints the list.
func (c *GroupListCmd) Run(g *Globals, env *Env) error {
	return listMappings(g, env, c.JSON, "kind", string(event.Group), "target", c.Member, "domain", c.Domain)
}

// GroupShowCmd shows.
type GroupShowCmd struct {
	Group named `arg:"" help:"The group's address."`
	JSON  bool  `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*GroupShowCmd) Help() string {
	return `Examples:

  streampost group show team@example.org`
}

// Run prints the members.
func (c *GroupShowCmd) Run(g *Globals, env *Env) error {
	return listMappings(g, env, c.JSON, "kind", string(event.Group), "source", string(c.Group))
}

// ForwardCmd manages where users have their mail sent on to.
type ForwardCmd struct {
	Add  ForwardAddCmd  `cmd:"" help:"Send a user's mail on."`
	Rm   ForwardRmCmd   `cmd:"" help:"Send a user's mail on no longer."`
	List ForwardListCmd `cmd:"" help:"List whose mail is sent on, and where to."`
}

// ForwardAddCmd adds.
type ForwardAddCmd struct {
	User    named    `arg:"" help:"Address of an account."`
	Targets []string `arg:"" name:"target" help:"Addresses, here or elsewhere."`
	Keep    bool     `help:"Keep a copy in the user's mailbox."`
}

// Help teaches.
func (*ForwardAddCmd) Help() string {
	return `Without --keep the user's own mailbox gets nothing any more. Mail that leaves has a return path of the user's domain, which leads back to the sender (SRS), and a field Delivered-To, by which a loop
between two servers is found.

Examples:

  streampost forward add alice@example.org alice@example.net
  streampost forward add bob@example.org carol@example.org --keep`
}

// Run sends the request.
func (c *ForwardAddCmd) Run(g *Globals, env *Env) error {
	targets := c.Targets
	if c.Keep {
		targets = append(targets, string(c.User))
	}
	return addTargets(g, env, event.Forward, string(c.User), targets...)
}

// ForwardRmCmd removes.
type ForwardRmCmd struct {
	User    named    `arg:"" help:"Address of the account."`
	Targets []string `arg:"" optional:"" name:"target" help:"Addresses; all if absent. The user's own address: no copy is kept any more."`
}

// Help teaches.
func (*ForwardRmCmd) Help() string {
	return `Examples:

  streampost forward rm alice@example.org
  streampost forward rm bob@example.org bob@example.org`
}

// Run sends the request.
func (c *ForwardRmCmd) Run(g *Globals, env *Env) error {
	return removeTargets(g, env, event.Forward, string(c.User), c.Targets...)
}

// ForwardListCmd lists.
type ForwardListCmd struct {
	Of   string `placeholder:"ADDRESS" help:"Only of this user."`
	To   string `placeholder:"ADDRESS" help:"Only to this address."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ForwardListCmd) Help() string {
	return `A user who is a target as well keeps a copy.

Examples:

  streampost forward list
  streampost forward list --of alice@example.org --json`
}

// Run prints the list.
func (c *ForwardListCmd) Run(g *Globals, env *Env) error {
	return listMappings(g, env, c.JSON, "kind", string(event.Forward), "source", c.Of, "target", c.To)
}
