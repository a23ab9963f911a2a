package main

import "github.com/streampost/streampost/domain/event"

// AliasCmd manages other names of addresses.
type AliasCmd struct {
	Add  AliasAddCmd  `cmd:"" help:"Give an address another name."`
	Rm   AliasRmCmd   `cmd:"" help:"Remove another name."`
	List AliasListCmd `cmd:"" help:"List other names."`
}

// AliasAddCmd adds.
type AliasAddCmd struct {
	Alias  named `arg:"" help:"The other name, an address in a local domain that no account has."`
	Target named `arg:"" help:"Address that it stands for; elsewhere, too."`
}

// Help teaches.
func (*AliasAddCmd) Help() string {
	return `Mail for the alias goes to the target, with what follows + in it: sales+lists@ is alice+lists@. The user may send under the alias.

Examples:

  streampost alias add sales@example.org alice@example.org
  streampost alias add zoe@example.org zoe@example.net`
}

// Run sends the request.
func (c *AliasAddCmd) Run(g *Globals, env *Env) error {
	return addTargets(g, env, event.Alias, string(c.Alias), string(c.Target))
}

// AliasRmCmd removes.
type AliasRmCmd struct {
	Alias  named  `arg:"" help:"The other name."`
	Target string `arg:"" optional:"" help:"Address that it stands for, where there are several."`
}

// Help teaches.
func (*AliasRmCmd) Help() string {
	return `Examples:

  streampost alias rm sales@example.org`
}

// Run sends the request.
func (c *AliasRmCmd) Run(g *Globals, env *Env) error {
	if c.Target == "" {
		return removeTargets(g, env, event.Alias, string(c.Alias))
	}
	return removeTargets(g, env, event.Alias, string(c.Alias), c.Target)
}

// AliasListCmd lists.
type AliasListCmd struct {
	Of     string `placeholder:"ADDRESS" help:"Only names of this address."`
	Domain string `placeholder:"DOMAIN" help:"Only names in this domain."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*AliasListCmd) Help() string {
	return `Examples:

  streampost alias list
  streampost alias list --of alice@example.org --json`
}

// Run prints the list.
func (c *AliasListCmd) Run(g *Globals, env *Env) error {
	return listMappings(g, env, c.JSON, "kind", string(event.Alias), "target", c.Of, "domain", c.Domain)
}

// DomainAliasCmd manages other names of domains.
type DomainAliasCmd struct {
	Add  DomainAliasAddCmd  `cmd:"" help:"Make a local domain another name of another one."`
	Rm   DomainAliasRmCmd   `cmd:"" help:"Make it a domain of its own again."`
	List DomainAliasListCmd `cmd:"" help:"List other names of domains."`
}

// DomainAliasAddCmd adds.
type DomainAliasAddCmd struct {
	Alias  named `arg:"" help:"The other name, a local domain."`
	Domain named `arg:"" help:"Local domain that it stands for."`
}

// Help teaches.
func (*DomainAliasAddCmd) Help() string {
	return `Every address of the one is an address of the other. Accounts and mappings that the alias has of its own come first.

Examples:

  streampost domain add example.net
  streampost domain alias add example.net example.org`
}

// Run sends the request.
func (c *DomainAliasAddCmd) Run(g *Globals, env *Env) error {
	return addTargets(g, env, event.DomainAlias, "@"+string(c.Alias), "@"+string(c.Domain))
}

// DomainAliasRmCmd removes.
type DomainAliasRmCmd struct {
	Alias named `arg:"" help:"The other name."`
}

// Help teaches.
func (*DomainAliasRmCmd) Help() string {
	return `Examples:

  streampost domain alias rm example.net`
}

// Run sends the request.
func (c *DomainAliasRmCmd) Run(g *Globals, env *Env) error {
	return removeTargets(g, env, event.DomainAlias, "@"+string(c.Alias))
}

// DomainAliasListCmd lists.
type DomainAliasListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DomainAliasListCmd) Help() string {
	return `Examples:

  streampost domain alias list`
}

// Run prints the list.
func (c *DomainAliasListCmd) Run(g *Globals, env *Env) error {
	return listMappings(g, env, c.JSON, "kind", string(event.DomainAlias))
}
