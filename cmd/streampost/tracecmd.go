package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/trace"
)

// TraceCmd tells what became of a message.
type TraceCmd struct {
	MessageID string `arg:"" name:"message-id" help:"Its Message-ID, with or without the angle brackets."`
	JSON      bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*TraceCmd) Help() string {
	return `Every step of a message on this installation, in the order of time: who brought it and what was answered, what a Sieve script decided, which mailbox has it (with UID and transaction), its entries in the queue, each attempt with the peer's answer, reports, and what operators removed. How long steps are known is trace.keep in the configuration. Of the last two seconds, only what this node did is known.

Examples:

  streampost trace '<1234@laptop.example.org>'
  streampost trace 1234@laptop.example.org --json`
}

// Run asks.
func (c *TraceCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var steps []webadmin.TraceStep
	if err := server.call(env, http.MethodGet, path("trace")+"?"+url.Values{"messageId": {c.MessageID}}.Encode(), nil, &steps); err != nil {
		return err
	}
	if c.JSON {
		return env.json(steps)
	}
	var rows [][]string
	for i := range steps {
		s := &steps[i]
		rows = append(rows, []string{time.UnixMilli(s.At).Local().Format("2006-01-02 15:04:05.000"), s.Node, string(s.Event), cmp.Or(strings.Join(s.To, " "), "-"), told(s)})
	}
	return env.table("TIME NODE EVENT FOR WHAT", rows)
}

// told says in words what a step was.
func told(s *webadmin.TraceStep) string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	switch s.Event {
	case trace.Accepted, trace.Refused, trace.Discarded:
		say("%s from <%s> by %s", s.Protocol, s.From, cmp.Or(s.Client, "?"))
		if s.Login != "" {
			say("as %s", s.Login)
		}
		say("%s %s", s.Status, cmp.Or(s.Text, "as "+s.Transfer))
	case trace.Delivered:
		say("%s of %s, UID %d, Tx %d", cmp.Or(s.MailboxName, fmt.Sprintf("mailbox %d", s.Mailbox)), cmp.Or(s.AccountName, string(s.Account)), s.UID, s.Tx)
	case trace.Filtered:
		say("%s: %s", s.Outcome, s.Text)
	case trace.Attempt:
		say("%s %s by %s: %s (%d ms, entry %s)", s.Outcome, s.Status, cmp.Or(s.Peer, "this server"), cmp.Or(s.Text, "-"), s.Took, s.Queued)
	case trace.Queued:
		say("from <%s>, %d octets, as %s", s.From, s.Octets, s.Queued)
	default:
		say("%s", strings.TrimSpace(s.Outcome+" "+s.Text))
	}
	return strings.Join(words, " ")
}
