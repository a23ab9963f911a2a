package main

import "net/http"

// DomainCmd manages local domains.
type DomainCmd struct {
	Add  DomainAddCmd  `cmd:"" help:"Make a domain local: mail for it belongs here."`
	List DomainListCmd `cmd:"" help:"List local domains."`
	Rm   DomainRmCmd   `cmd:"" help:"Make a domain foreign again. No account may have an address in it."`
}

// DomainAddCmd makes a domain local.
type DomainAddCmd struct {
	Domain string `arg:"" help:"Domain name, such as example.org."`
}

// Run sends the request.
func (c *DomainAddCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodPut, path("domains", c.Domain), nil, nil)
}

// DomainRmCmd makes a domain foreign.
type DomainRmCmd struct {
	Domain string `arg:"" help:"Domain name."`
}

// Run sends the request.
func (c *DomainRmCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodDelete, path("domains", c.Domain), nil, nil)
}

// DomainListCmd lists local domains.
type DomainListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
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
