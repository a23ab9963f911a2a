package main

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
)

// WebhookCmd looks after webhooks.
type WebhookCmd struct {
	List WebhookListCmd `cmd:"" help:"List webhooks and how they are doing."`
	Test WebhookTestCmd `cmd:"" help:"Send a webhook's receiver a test event."`
}

// WebhookListCmd lists.
type WebhookListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*WebhookListCmd) Help() string {
	return `The webhooks of listeners.webhooks: which events go where, how many secrets sign them, and whether the receiver wants nothing for a while, or nothing any more. How far each is, listener list tells.

Examples:

  streampost webhook list
  streampost webhook list --json`
}

// Run prints the list.
func (c *WebhookListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	list := []webadmin.Webhook{}
	if err := server.call(env, http.MethodGet, path("webhooks"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, h := range list {
		state := "ready"
		switch {
		case h.Problem != "":
			state = h.Problem
		case h.Gone:
			state = "gone: the receiver answered 410"
		case !h.Until.IsZero():
			state = "waits until " + h.Until.Local().Format(time.DateTime)
		}
		rows = append(rows, []string{h.Name, h.Listener, h.Site, cmp.Or(strings.Join(h.Events, ","), "*"), fmt.Sprint(h.Secrets), state})
	}
	return env.table("WEBHOOK LISTENER SITE EVENTS SECRETS STATE", rows)
}

// WebhookTestCmd pings.
type WebhookTestCmd struct {
	Name string `arg:"" help:"The webhook's name; see webhook list."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*WebhookTestCmd) Help() string {
	return `An event of the type ping, signed as all are, is sent once and at once. A receiver that takes it gets events again if it said that it was gone (410) or busy. Without a success the exit code is 4.

Examples:

  streampost webhook test crm`
}

// Run sends the test event.
func (c *WebhookTestCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var answer webadmin.Pinged
	if err := server.call(env, http.MethodPost, path("webhooks", c.Name, "test"), nil, &answer); err != nil {
		return err
	}
	switch {
	case c.JSON:
		if err := env.json(answer); err != nil {
			return err
		}
	case answer.Problem == "":
		env.printf("the receiver took it: %d, after %.3f s\n", answer.Status, answer.Seconds)
	default:
		env.printf("%s\n", answer.Problem)
	}
	if answer.Problem != "" {
		return &exitError{exitFound, nil}
	}
	return nil
}
