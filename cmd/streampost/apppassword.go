package main

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/projections/door"
)

// AppPasswordCmd manages the passwords of single programs.
type AppPasswordCmd struct {
	Add  AppPasswordAddCmd  `cmd:"" help:"Draw a password for one program."`
	List AppPasswordListCmd `cmd:"" help:"List an account's app passwords."`
	Rm   AppPasswordRmCmd   `cmd:"" help:"Remove an app password and end its sessions."`
}

// AppPasswordAddCmd draws a password.
type AppPasswordAddCmd struct {
	AccountArg
	Name    string   `arg:"" help:"What the password is for, such as 'old phone'."`
	For     []string `placeholder:"PROTOCOL" enum:"imap,smtp,pop3" help:"Protocols that it opens: imap, smtp, pop3, with commas between them. All if absent."`
	Expires string   `placeholder:"TIME" help:"When it stops to work: a date, a time, or how long from now, such as 90d or 12h."`
	JSON    bool     `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*AppPasswordAddCmd) Help() string {
	return `The password is printed once and kept nowhere. It works beside the account's own password, with PLAIN and LOGIN over TLS but not with SCRAM, so tell the program to send the password itself. Case, hyphens and spaces make no difference in it.

Examples:

  streampost account app-password add alice@example.org 'old phone'
  streampost account app-password add alice@example.org scanner --for smtp --expires 365d`
}

// Run sends the request.
func (c *AppPasswordAddCmd) Run(g *Globals, env *Env) error {
	expires, err := expiry(c.Expires, time.Now())
	if err != nil {
		return err
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	var made webadmin.MadeAppPassword
	body := webadmin.NewAppPassword{Name: c.Name, Expires: expires, Protocols: c.For}
	if err := server.call(env, http.MethodPost, path("accounts", string(c.Account), "app-passwords"), body, &made); err != nil {
		return err
	}
	if c.JSON {
		return env.json(made)
	}
	env.printf("%s\n", made.Password)
	return nil
}

// expiry reads a time to come; the zero time if there is none.
func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usage("--expires %s is neither a date (2027-01-31), a time (2027-01-31T12:00:00Z) nor a duration (90d, 12h)", text)
}

// AppPasswordListCmd lists app passwords.
type AppPasswordListCmd struct {
	AccountArg
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*AppPasswordListCmd) Help() string {
	return `The passwords themselves are known to nobody. LAST USED is what the running server has seen since its start; its log names the app password of every login.

Examples:

  streampost account app-password list alice@example.org`
}

// Run prints the list.
func (c *AppPasswordListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var list []door.AppPassword
	if err := server.call(env, http.MethodGet, path("accounts", string(c.Account), "app-passwords"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	at := func(t *time.Time, none string) string {
		if t == nil {
			return none
		}
		return t.Format(time.RFC3339)
	}
	var rows [][]string
	for _, p := range list {
		protocols := strings.Join(p.Protocols, ",")
		if protocols == "" {
			protocols = "all"
		}
		rows = append(rows, []string{p.Name, protocols, p.Created.Format(time.RFC3339), at(p.Expires, "never"), at(p.LastUsed, "-")})
	}
	return env.table("NAME FOR CREATED EXPIRES LAST_USED", rows)
}

// AppPasswordRmCmd removes an app password.
type AppPasswordRmCmd struct {
	AccountArg
	Name string `arg:"" help:"Its name."`
}

// Help teaches.
func (*AppPasswordRmCmd) Help() string {
	return `Sessions that were opened with it end at once; those of other passwords go on.

Examples:

  streampost account app-password rm alice@example.org 'old phone'`
}

// Run sends the request.
func (c *AppPasswordRmCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodDelete, path("accounts", string(c.Account), "app-passwords", c.Name), nil, nil)
}
