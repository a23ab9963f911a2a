package main

import (
	"errors"
	"net/http"
)

// DomainCmd manages local domains.
type DomainCmd struct {
	Add   DomainAddCmd   `cmd:"" help:"Make a domain local: mail for it belongs here."`
	List  DomainListCmd  `cmd:"" help:"List local domains."`
	Rm    DomainRmCmd    `cmd:"" help:"Make a domain foreign again. No account may have an address in it."`
	Alias DomainAliasCmd `cmd:"" help:"Manage other names of domains."`
}

// DomainAddCmd makes a domain local.
type DomainAddCmd struct {
	Domain named `arg:"" help:"Domain name, such as example.org."`
}

// Help teaches.
func (*DomainAddCmd) Help() string {
	return `From then on mail for addresses in the domain is accepted where an account has the address and refused elsewhere. For mail from other servers the domain's MX record must name this one.

Examples:

  streampost domain add example.org
  streampost account add alice@example.org`
}

// Run sends the request.
func (c *DomainAddCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodPut, path("domains", string(c.Domain)), nil, nil)
}

// DomainRmCmd makes a domain foreign.
type DomainRmCmd struct {
	Domain named `arg:"" help:"Domain name."`
}

// Help teaches.
func (*DomainRmCmd) Help() string {
	return `Mail for the domain is refused from then on. Nothing is deleted: what accounts have stays theirs.

Examples:

  streampost domain rm example.org`
}

// Run sends the request.
func (c *DomainRmCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodDelete, path("domains", string(c.Domain)), nil, nil)
}

// DomainListCmd lists local domains.
type DomainListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DomainListCmd) Help() string {
	return `Domains whose addresses are delivered here. U-labels are shown; A-labels (xn--...) are understood everywhere.

Examples:

  streampost domain list
  streampost domain list --json`
}

// Run prints the list.
func (c *DomainListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var names []string
	if err := server.call(env, http.MethodGet, path("domains"), nil, &names); err != nil {
		return err
	}
	if c.JSON {
		return env.json(names)
	}
	for _, name := range names {
		env.printf("%s\n", name)
	}
	return nil
}

// named is an argument that cannot be empty, as it is when a script's variable is not set.
type named string

// Validate is called by the parser.
func (n named) Validate() error {
	if n == "" {
		return errors.New("cannot be empty")
	}
	return nil
}
