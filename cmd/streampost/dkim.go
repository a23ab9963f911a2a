package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/zone"
	"github.com/streampost/streampost/projections/door"
)

// DKIMCmd manages the keys that sign mail.
type DKIMCmd struct {
	Generate DKIMGenerateCmd `cmd:"" help:"Make a key for a domain, and print the record to publish."`
	List     DKIMListCmd     `cmd:"" help:"List the keys of a domain."`
	Show     DKIMShowCmd     `cmd:"" help:"Print the record of a key."`
	Activate DKIMActivateCmd `cmd:"" help:"Have a key sign."`
	Retire   DKIMRetireCmd   `cmd:"" help:"Have a key sign no longer."`
	Rm       DKIMRmCmd       `cmd:"" help:"Forget a key that does not sign."`
}

// DKIMGenerateCmd makes a key.
type DKIMGenerateCmd struct {
	Domain    named  `arg:"" help:"Local domain."`
	Selector  string `placeholder:"NAME" help:"The name of the key in DNS; one that says the day and the algorithm if absent."`
	Algorithm string `enum:"rsa,ed25519" default:"rsa" help:"rsa (2,048 bits), which all understand, or ed25519, which some do not yet: have one of each."`
	JSON      bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DKIMGenerateCmd) Help() string {
	return `The key signs nothing yet. Publish the record that is printed, wait until it is seen everywhere, and activate the key: from then on mail that users submit leaves signed with it, and the key of the same algorithm that signed until then is retired. The private key is sealed in the directory's log, so that every node has it; it is never printed.

Examples:

  streampost dkim generate example.org
  streampost dkim generate example.org --algorithm ed25519 --selector 2027a
  streampost dkim generate example.org --json`
}

// Run sends the request.
func (c *DKIMGenerateCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var made door.DKIMKey
	if err := server.call(env, http.MethodPost, path("domains", string(c.Domain), "dkim"), webadmin.NewDKIMKey{Selector: c.Selector, Algorithm: c.Algorithm}, &made); err != nil {
		return err
	}
	if c.JSON {
		return env.json(made)
	}
	env.printf("%s\n", recordLine(&made))
	env.tell("Publish this record, and then: streampost dkim activate %s %s\n", made.Domain, made.Selector)
	return nil
}

func recordLine(k *door.DKIMKey) string {
	r := zone.Record{For: "dkim", Name: k.Name, Type: "TXT", Value: k.Record}
	return r.Line()
}

// DKIMListCmd lists keys.
type DKIMListCmd struct {
	Domain named `arg:"" help:"Local domain."`
	JSON   bool  `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DKIMListCmd) Help() string {
	return `A key is pending until it is activated, active while it signs, and retired from then on; its record stays in DNS until it is removed here.

Examples:

  streampost dkim list example.org`
}

// Run prints the list.
func (c *DKIMListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var list []door.DKIMKey
	if err := server.call(env, http.MethodGet, path("domains", string(c.Domain), "dkim"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format(time.RFC3339)
	}
	var rows [][]string
	for _, k := range list {
		rows = append(rows, []string{k.Selector, k.Algorithm, k.Status, k.Created.Format(time.RFC3339), at(k.Activated), at(k.Retired)})
	}
	return env.table("SELECTOR ALGORITHM STATUS CREATED ACTIVATED RETIRED", rows)
}

// DKIMKeyArgs name a key.
type DKIMKeyArgs struct {
	Domain   named `arg:"" help:"Local domain."`
	Selector named `arg:"" help:"The key's selector."`
}

func (a *DKIMKeyArgs) path(more ...string) string {
	return path(append([]string{"domains", string(a.Domain), "dkim", strings.ToLower(string(a.Selector))}, more...)...)
}

// DKIMShowCmd prints a key's record.
type DKIMShowCmd struct {
	DKIMKeyArgs
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DKIMShowCmd) Help() string {
	return `The record as a zone file has it, in strings of at most 255 octets. The private key is shown to nobody.

Examples:

  streampost dkim show example.org 20270131r`
}

// Run prints it.
func (c *DKIMShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var key door.DKIMKey
	if err := server.call(env, http.MethodGet, c.path(), nil, &key); err != nil {
		return err
	}
	if c.JSON {
		return env.json(key)
	}
	env.printf("%s\n", recordLine(&key))
	return nil
}

// DKIMActivateCmd has a key sign.
type DKIMActivateCmd struct {
	DKIMKeyArgs
	Unchecked bool `help:"Do not look whether DNS has its record."`
}

// Help teaches.
func (*DKIMActivateCmd) Help() string {
	return `The key's record has to be in DNS. The key of the same algorithm that signed until now is retired; leave its record in DNS for some days, since mail that it has signed is on its way, and then remove it. A retired key can be activated again.

Examples:

  streampost dkim activate example.org 20270131r
  streampost dkim activate example.org 20270131r --unchecked`
}

// Run sends the request.
func (c *DKIMActivateCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	to := c.path("activate")
	if c.Unchecked {
		to += "?unchecked=true"
	}
	return server.call(env, http.MethodPost, to, nil, nil)
}

// DKIMRetireCmd has a key sign no longer.
type DKIMRetireCmd struct{ DKIMKeyArgs }

// Help teaches.
func (*DKIMRetireCmd) Help() string {
	return `Without another active key the domain's mail leaves unsigned. To replace a key, activate the new one.

Examples:

  streampost dkim retire example.org 20270131r`
}

// Run sends the request.
func (c *DKIMRetireCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodPost, c.path("retire"), nil, nil)
}

// DKIMRmCmd forgets a key.
type DKIMRmCmd struct{ DKIMKeyArgs }

// Help teaches.
func (*DKIMRmCmd) Help() string {
	return `A key that signs cannot be removed. Remove its record from DNS as well.

Examples:

  streampost dkim rm example.org 20260131r`
}

// Run sends the request.
func (c *DKIMRmCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodDelete, c.path(), nil, nil)
}
