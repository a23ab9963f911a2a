package main

import (
	"net/http"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/account"
)

// SieveVacationCmd shows or sets how mail is answered while a user is away.
type SieveVacationCmd struct {
	AccountArg
	Text    string `placeholder:"FILE" help:"Answer with the text in this file; - is standard input."`
	Subject string `placeholder:"TEXT" help:"Subject of answers; without it, that of the message with Auto: before it."`
	From    string `placeholder:"TIME" help:"Answer from then on, such as 2026-12-24 or 2026-12-24T12:00:00Z."`
	To      string `placeholder:"TIME" help:"Answer until then."`
	Off     bool   `help:"Answer no longer."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SieveVacationCmd) Help() string {
	return `Without --text and --off, it shows what is set. Each sender has one answer until it is set anew; lists, programs, bulk mail and whoever did not write to an address of the user have none, and neither has a message that the user's script refuses, discards or answers itself.

Examples:

  streampost sieve vacation alice@example.org
  streampost sieve vacation alice@example.org --text away.txt --from 2026-12-24 --to 2027-01-02
  streampost sieve vacation alice@example.org --off`
}

// moment reads a time or a day; nil for nothing.
func moment(text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.ParseInLocation(time.DateOnly, text, time.Local)
	}
	if err != nil {
		return nil, usage("%q is no time such as 2026-12-24 or 2026-12-24T12:00:00Z", text)
	}
	return &at, nil
}

// Run shows or sets it.
func (c *SieveVacationCmd) Run(g *Globals, env *Env) error {
	if c.Off && c.Text != "" {
		return usage("--off and --text exclude each other")
	}
	var v webadmin.Vacation
	if c.Text != "" {
		text, err := readText(env, c.Text, account.MaxVacationText)
		if err != nil {
			return err
		}
		v.Enabled, v.Text = true, &text
		if c.Subject != "" {
			v.Subject = &c.Subject
		}
		if v.From, err = moment(c.From); err == nil {
			v.To, err = moment(c.To)
		}
		if err != nil {
			return err
		}
	} else if c.Subject != "" || c.From != "" || c.To != "" {
		return usage("--subject, --from and --to go with --text")
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	at := path("accounts", string(c.Account), "vacation")
	if c.Off || c.Text != "" {
		return server.call(env, http.MethodPut, at, v, nil)
	}
	if err := server.call(env, http.MethodGet, at, nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return env.json(v)
	}
	if !v.Enabled {
		env.printf("mail is not answered\n")
		return nil
	}
	shown := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Local().Format(time.DateTime)
	}
	rows := [][]string{{"from", shown(v.From)}, {"to", shown(v.To)}}
	for _, field := range []struct {
		name  string
		value *string
	}{{"subject", v.Subject}, {"text", v.Text}, {"HTML", v.HTML}} {
		if field.value != nil {
			rows = append(rows, []string{field.name, *field.value})
		}
	}
	return env.table("mail is answered", rows)
}
