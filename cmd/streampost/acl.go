package main

import (
	"net/http"
	"net/url"

	"github.com/streampost/streampost/adapters/webadmin"
)

// ACLCmd manages what others may do with the mailboxes of an account.
type ACLCmd struct {
	List ACLListCmd `cmd:"" help:"List what others may do with the mailboxes of an account."`
	Set  ACLSetCmd  `cmd:"" help:"Set what somebody may do with a mailbox."`
	Rm   ACLRmCmd   `cmd:"" help:"Take somebody off the list of a mailbox."`
}

// ACLListCmd lists access control lists.
type ACLListCmd struct {
	AccountArg
	Mailbox string `placeholder:"MAILBOX" help:"Only this mailbox."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ACLListCmd) Help() string {
	return `The owner of an account has all rights on all its mailboxes and is not listed. Somebody may do what any entry about him, or about anyone, gives, without what an entry with "-" before his name takes away. A name that is an id is that of an account that was erased.

Examples:

  streampost account acl list alice@example.org
  streampost account acl list sales@example.org --mailbox INBOX`
}

// Run prints the lists.
func (c *ACLListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	at := path("accounts", string(c.Account), "acl")
	if c.Mailbox != "" {
		at += "?" + url.Values{"mailbox": {c.Mailbox}}.Encode()
	}
	var list []webadmin.ACLEntry
	if err := server.call(env, http.MethodGet, at, nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, e := range list {
		rows = append(rows, []string{e.Mailbox, e.Identifier, e.Rights})
	}
	return env.table("MAILBOX WHO RIGHTS", rows)
}

// ACLSetCmd sets an entry.
type ACLSetCmd struct {
	AccountArg
	Mailbox named  `arg:"" help:"Name of the mailbox, as its owner calls it."`
	Who     named  `arg:"" help:"Address of a user, or anyone; with - before it, rights are taken away."`
	Rights  string `arg:"" help:"Letters; with + before them they are added, with - taken off what is there."`
}

// Help teaches.
func (*ACLSetCmd) Help() string {
	return `The rights of RFC 4314: l sees the mailbox, r reads it, s marks messages seen, w sets other flags, t marks them deleted, e expunges them, i puts messages in, k makes mailboxes below it, x deletes or renames it, a changes this list, p is for mail to the mailbox and not asked for. c stands for kx, d for te. New mailboxes below it get the same list. Who gets - before his name, or rights that begin with -, is written behind --.

Examples:

  streampost account acl set alice@example.org INBOX bob@example.org lrs
  streampost account acl set sales@example.org INBOX anyone lr
  streampost account acl set sales@example.org INBOX bob@example.org +wite
  streampost account acl set -- sales@example.org INBOX -carol@example.org lr`
}

// Run sends the request.
func (c *ACLSetCmd) Run(g *Globals, env *Env) error {
	return c.change(g, env, webadmin.ACLChange{Mailbox: string(c.Mailbox), Identifier: string(c.Who), Rights: c.Rights})
}

// ACLRmCmd removes an entry.
type ACLRmCmd struct {
	AccountArg
	Mailbox named `arg:"" help:"Name of the mailbox, as its owner calls it."`
	Who     named `arg:"" help:"As acl list shows it."`
}

// Help teaches.
func (*ACLRmCmd) Help() string {
	return `A session that has the mailbox open finds it gone. Who may still see it by an entry about anyone is taken that as well by an entry with - before his name.

Examples:

  streampost account acl rm alice@example.org INBOX bob@example.org`
}

// Run sends the request.
func (c *ACLRmCmd) Run(g *Globals, env *Env) error {
	return c.change(g, env, webadmin.ACLChange{Mailbox: string(c.Mailbox), Identifier: string(c.Who)})
}

func (c *AccountArg) change(g *Globals, env *Env, change webadmin.ACLChange) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodPut, path("accounts", string(c.Account), "acl"), change, nil)
}

// AccountSharedCmd says to whom mailboxes belong.
type AccountSharedCmd struct {
	AccountArg
	Undo bool `help:"They belong to a user."`
}

// Help teaches.
func (*AccountSharedCmd) Help() string {
	return `Others see the mailboxes of such an account in the namespace of shared mailboxes, if they have rights on them, and not among those of other users. Nothing else changes: with a password, one can still log in.

Examples:

  streampost account add sales@example.org --shared
  streampost account shared info@example.org
  streampost account acl set sales@example.org INBOX bob@example.org lrswite`
}

// Run sends the request.
func (c *AccountSharedCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodPut, path("accounts", string(c.Account), "shared"), webadmin.Shared{Shared: !c.Undo}, nil)
}
