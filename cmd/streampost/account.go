package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/projections/door"
)

// AccountCmd manages accounts.
type AccountCmd struct {
	Add     AccountAddCmd     `cmd:"" help:"Create an account."`
	List    AccountListCmd    `cmd:"" help:"List accounts."`
	Show    AccountShowCmd    `cmd:"" help:"Show an account with its mailboxes and quota."`
	Passwd  AccountPasswdCmd  `cmd:"" help:"Replace a password."`
	Quota   AccountQuotaCmd   `cmd:"" help:"Set how much an account may hold."`
	Disable AccountDisableCmd `cmd:"" help:"Stop logins. Mail is still accepted."`
	Enable  AccountEnableCmd  `cmd:"" help:"Allow logins again."`
	Erase   AccountEraseCmd   `cmd:"" help:"Erase an account for ever."`
}

// AccountAddCmd creates an account.
type AccountAddCmd struct {
	Address string `arg:"" help:"First address, which is also the login name. Its domain must be local."`
	JSON    bool   `name:"json" help:"Print JSON."`
	PasswordFlags
}

// Help teaches.
func (*AccountAddCmd) Help() string {
	return `The password is asked for on a terminal and read from standard input elsewhere. It may also be an existing hash to import: Argon2id, bcrypt or PBKDF2 in its usual written form ($argon2id$..., $2b$..., $pbkdf2-sha256$...).

Examples:

  streampost domain add example.org
  streampost account add carol@example.org
  pwgen 20 1 | tee carol.txt | streampost account add carol@example.org`
}

// Run sends the request.
func (c *AccountAddCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	password, err := c.password(env)
	if err != nil {
		return err
	}
	var made door.Account
	if err := server.call(env, http.MethodPost, path("accounts"), webadmin.NewAccount{Address: c.Address, Password: password}, &made); err != nil {
		return err
	}
	if c.JSON {
		return env.json(made)
	}
	env.printf("%s has the id %s\n", made.Login, made.ID)
	return nil
}

// AccountListCmd lists accounts.
type AccountListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the list.
func (c *AccountListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var list []door.Account
	if err := server.call(env, http.MethodGet, path("accounts"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, a := range list {
		rows = append(rows, []string{a.Login, string(a.ID), stateOf(a), strings.Join(a.Addresses, " ")})
	}
	return env.table("LOGIN ID STATE ADDRESSES", rows)
}

func stateOf(a door.Account) string {
	if a.Disabled {
		return "disabled"
	}
	return "enabled"
}

// AccountArg is an account on the command line.
type AccountArg struct {
	Account named `arg:"" help:"Address or id of the account."`
}

// AccountShowCmd shows an account.
type AccountShowCmd struct {
	AccountArg
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the account.
func (c *AccountShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var a webadmin.AccountDetails
	if err := server.call(env, http.MethodGet, path("accounts", string(c.Account)), nil, &a); err != nil {
		return err
	}
	if c.JSON {
		return env.json(a)
	}
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	env.printf("login      %s (%s)\nid         %s\naddresses  %s\nlog        Tx %d\nstorage    %s of %s\nmessages   %d of %s\n\n", a.Login, stateOf(a.Account), a.ID,
		strings.Join(a.Addresses, " "), a.Tx, octets(a.Usage.Bytes), limitOr(a.Limits.Bytes, octets), a.Usage.Messages, limitOr(a.Limits.Messages, count))
	var rows [][]string
	for _, m := range a.Mailboxes {
		rows = append(rows, []string{m.Name, count(m.Messages), count(m.Unseen), octets(m.Bytes), fmt.Sprint(m.UIDNext), fmt.Sprint(m.UIDValidity), m.SpecialUse})
	}
	return env.table("MAILBOX MESSAGES UNSEEN SIZE UIDNEXT UIDVALIDITY USE", rows)
}

// AccountPasswdCmd replaces a password.
type AccountPasswdCmd struct {
	AccountArg
	PasswordFlags
}

// Run sends the request.
func (c *AccountPasswdCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	password, err := c.password(env)
	if err != nil {
		return err
	}
	return server.call(env, http.MethodPut, path("accounts", string(c.Account), "password"), webadmin.Password{Password: password}, nil)
}

// AccountQuotaCmd sets limits.
type AccountQuotaCmd struct {
	AccountArg
	Storage  *config.Size `placeholder:"SIZE" help:"Octets of all messages together, such as 2GiB; 0 means no limit."`
	Messages *int64       `placeholder:"N" help:"Number of messages; 0 means no limit."`
}

// Help teaches.
func (*AccountQuotaCmd) Help() string {
	return `A limit that is not named stays as it is. What is over a new limit is kept, but nothing comes in until enough is deleted.

Examples:

  streampost account quota carol@example.org --storage 5GiB
  streampost account quota carol@example.org --storage 0 --messages 100000`
}

// Run sends the request.
func (c *AccountQuotaCmd) Run(g *Globals, env *Env) error {
	if c.Storage == nil && c.Messages == nil {
		return usage("say what to limit: --storage SIZE, --messages N or both")
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	var a webadmin.AccountDetails
	if err := server.call(env, http.MethodGet, path("accounts", string(c.Account)), nil, &a); err != nil {
		return err
	}
	limits := a.Limits
	if c.Storage != nil {
		limits.Bytes = int64(*c.Storage)
	}
	if c.Messages != nil {
		limits.Messages = *c.Messages
	}
	return server.call(env, http.MethodPut, path("accounts", string(a.ID), "limits"), limits, nil)
}

// AccountDisableCmd stops logins.
type AccountDisableCmd struct{ AccountArg }

// Run sends the request.
func (c *AccountDisableCmd) Run(g *Globals, env *Env) error {
	return c.setDisabled(g, env, true)
}

// AccountEnableCmd allows logins.
type AccountEnableCmd struct{ AccountArg }

// Run sends the request.
func (c *AccountEnableCmd) Run(g *Globals, env *Env) error {
	return c.setDisabled(g, env, false)
}

func (c *AccountArg) setDisabled(g *Globals, env *Env, disabled bool) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodPut, path("accounts", string(c.Account), "disabled"), webadmin.Disabled{Disabled: disabled}, nil)
}

// AccountEraseCmd erases an account.
type AccountEraseCmd struct {
	AccountArg
	Yes bool `help:"Do it. Nothing can bring the account back."`
}

// Help teaches.
func (*AccountEraseCmd) Help() string {
	return `Erasing destroys the account's key: its log and its messages become unreadable for ever, its rows are deleted and its addresses freed. A backup made before still opens them with the master key of that time: rotate the master key, and destroy older copies of keys/.

Examples:

  streampost account erase bob@example.org --yes
  streampost keys rotate`
}

// Run asks for --yes and sends the request.
func (c *AccountEraseCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var a webadmin.AccountDetails
	if err := server.call(env, http.MethodGet, path("accounts", string(c.Account)), nil, &a); err != nil {
		return err
	}
	if !c.Yes {
		return usage("this would erase %s with %d messages (%s) for ever: say --yes", a.Login, a.Usage.Messages, octets(a.Usage.Bytes))
	}
	if err := server.call(env, http.MethodDelete, path("accounts", string(a.ID)), nil, nil); err != nil {
		return err
	}
	env.printf("%s is erased\n", a.Login)
	return nil
}
