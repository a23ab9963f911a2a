package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/projections/door"
)

// AccountCmd manages accounts.
type AccountCmd struct {
	Add     AccountAddCmd     `cmd:"" help:"Create an account."`
	List    AccountListCmd    `cmd:"" help:"List accounts."`
	Show    AccountShowCmd    `cmd:"" help:"Show an account with its mailboxes and quota."`
	Passwd  AccountPasswdCmd  `cmd:"" help:"Replace a password."`
	App     AppPasswordCmd    `cmd:"" name:"app-password" help:"Passwords of single programs."`
	Quota   AccountQuotaCmd   `cmd:"" help:"Set how much an account may hold."`
	Disable AccountDisableCmd `cmd:"" help:"Stop logins. Mail is still accepted."`
	Enable  AccountEnableCmd  `cmd:"" help:"Allow logins again."`
	Blocked AccountBlockedCmd `cmd:"" help:"List logins and addresses that have to wait after failed logins."`
	Unblock AccountUnblockCmd `cmd:"" help:"Forget failed logins."`
	Shared  AccountSharedCmd  `cmd:"" help:"Say that the mailboxes of an account belong to a group."`
	ACL     ACLCmd            `cmd:"" name:"acl" help:"Manage what others may do with mailboxes."`
	Restore AccountRestoreCmd `cmd:"" help:"Bring back what an account had at some time."`
	Erase   AccountEraseCmd   `cmd:"" help:"Erase an account for ever."`
}

// AccountAddCmd creates an account.
type AccountAddCmd struct {
	Address string `arg:"" help:"First address, which is also the login name. Its domain must be local."`
	JSON    bool   `name:"json" help:"Print JSON."`
	Shared  bool   `help:"Its mailboxes belong to a group, see account shared. Without a password nobody logs in to it."`
	PasswordFlags
}

// Help teaches.
func (*AccountAddCmd) Help() string {
	return `The password is asked for on a terminal and read from standard input elsewhere. It may also be an existing hash to import: Argon2id, bcrypt, PBKDF2 or SCRAM keys in their usual written form ($argon2id$..., $2b$..., $pbkdf2-sha256$..., {SCRAM-SHA-256}..., {SCRAM-SHA-1}...).

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
	password := ""
	if !c.Shared || c.Password != "" || c.PasswordFile != "" {
		if password, err = c.password(env); err != nil {
			return err
		}
	}
	wish := webadmin.NewAccount{Address: c.Address, Password: password, Short: c.Short, Shared: c.Shared}
	var made door.Account
	if err := server.call(env, http.MethodPost, path("accounts"), wish, &made); err != nil {
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

// Help teaches.
func (*AccountListCmd) Help() string {
	return `Accounts in order of their names, with their ids, their addresses and whether they may log in.

Examples:

  streampost account list
  streampost account list --json`
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
	state := "enabled"
	if a.Disabled {
		state = "disabled"
	}
	if a.Shared {
		state += ",shared"
	}
	return state
}

// AccountArg is an account on the command line.
type AccountArg struct {
	Account named `arg:"" help:"Address or id of the account."`
}

// AccountShowCmd shows an account.
type AccountShowCmd struct {
	AccountArg
	At      string     `placeholder:"TIME" help:"Show the account as it was at a time or after a transaction."`
	Mailbox string     `placeholder:"MAILBOX" help:"With --at: list this mailbox's messages as they were."`
	From    domain.UID `placeholder:"UID" help:"With --mailbox: begin with this UID."`
	Limit   int        `default:"1000" placeholder:"N" help:"With --mailbox: at most so many messages, up to 10000 (${default})."`
	JSON    bool       `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*AccountShowCmd) Help() string {
	return `--at takes a time (2026-11-23T12:00:00Z), a date (its midnight in UTC), how long ago it was ('2h ago', '90m ago', '3d ago', '1w ago'; --at=-2h does as well), or a transaction's number as log show gives it. What is shown is read from the log, so it is the same whatever happened to the views.

Examples:

  streampost account show alice@example.org
  streampost account show alice@example.org --at '2h ago'
  streampost account show alice@example.org --at 2026-11-23 --mailbox INBOX
  streampost account show alice@example.org --at 1234 --mailbox Work --from 500 --limit 100 --json`
}

// Run prints the account.
func (c *AccountShowCmd) Run(g *Globals, env *Env) error {
	if c.At == "" && (c.Mailbox != "" || c.From != 0) {
		return usage("--mailbox and --from go with --at: what is there now, every mail program shows")
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	if c.At != "" {
		return c.then(server, env)
	}
	var a webadmin.AccountDetails
	if err := server.call(env, http.MethodGet, path("accounts", string(c.Account)), nil, &a); err != nil {
		return err
	}
	if c.JSON {
		return env.json(a)
	}
	primary := ""
	if a.Epoch > 0 {
		primary = fmt.Sprintf("primary    %s (epoch %d)\n", a.Primary, a.Epoch)
	}
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	env.printf("login      %s (%s)\nid         %s\naddresses  %s\nlog        Tx %d\n%sstorage    %s of %s\nmessages   %d of %s\nmailboxes  %d of %s\n\n", a.Login, stateOf(a.Account), a.ID,
		strings.Join(a.Addresses, " "), a.Tx, primary, octets(a.Usage.Bytes), limitOr(a.Limits.Bytes, octets), a.Usage.Messages, limitOr(a.Limits.Messages, count),
		a.Usage.Mailboxes, limitOr(a.Limits.Mailboxes, count))
	return env.mailboxes(a.Mailboxes)
}

// AccountPasswdCmd replaces a password.
type AccountPasswdCmd struct {
	AccountArg
	PasswordFlags
}

// Help teaches.
func (*AccountPasswdCmd) Help() string {
	return `The account's sessions end, and their clients log in again with the new password. App passwords stay, and so do their sessions. Without a file the password is asked for. A hash of another system is imported as it is, see account add.

Examples:

  streampost account passwd alice@example.org
  streampost account passwd alice@example.org --password-file new-password
  echo '{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=' | streampost account passwd alice@example.org`
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
	return server.call(env, http.MethodPut, path("accounts", string(c.Account), "password"), webadmin.Password{Password: password, Short: c.Short}, nil)
}

// AccountQuotaCmd sets limits.
type AccountQuotaCmd struct {
	AccountArg
	Storage   *config.Size `placeholder:"SIZE" help:"Octets of all messages together, such as 2GiB; 0 means no limit."`
	Messages  *int64       `placeholder:"N" help:"Number of messages; 0 means no limit."`
	Mailboxes *int64       `placeholder:"N" help:"Number of mailboxes; 0 means no limit."`
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
	if c.Storage == nil && c.Messages == nil && c.Mailboxes == nil {
		return usage("say what to limit: --storage SIZE, --messages N, --mailboxes N or several")
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
	if c.Mailboxes != nil {
		limits.Mailboxes = *c.Mailboxes
	}
	return server.call(env, http.MethodPut, path("accounts", string(a.ID), "limits"), limits, nil)
}

// AccountDisableCmd stops logins.
type AccountDisableCmd struct{ AccountArg }

// Help teaches.
func (*AccountDisableCmd) Help() string {
	return `The account's sessions end and nobody can log in. Mail for it is still accepted.

Examples:

  streampost account disable alice@example.org`
}

// Run sends the request.
func (c *AccountDisableCmd) Run(g *Globals, env *Env) error {
	return c.setDisabled(g, env, true)
}

// AccountEnableCmd allows logins.
type AccountEnableCmd struct{ AccountArg }

// Help teaches.
func (*AccountEnableCmd) Help() string {
	return `Undoes account disable.

Examples:

  streampost account enable alice@example.org`
}

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
	return `Erasing destroys the account's key: its log and its messages become unreadable for ever, its rows are deleted and its addresses freed. A backup made before still opens them with the master key of that time: rotate the master key, and destroy older copies of keys/. The trace of messages (streampost trace) keeps addresses and Message-IDs for as long as trace.keep says; a shorter one, for one start of the server, removes what is older.

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
