package filing

import (
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/sieve"
	"github.com/streampost/streampost/domain/trace"
	"github.com/streampost/streampost/projections/door"
)

// delivered tells the trace where an account has a message.
func (f *Filer) delivered(id domain.AccountID, m *Mail, out door.Outcome) {
	if f.cfg.Trace == nil {
		return
	}
	for _, e := range out.Events {
		if added, ok := e.(*event.MessageAdded); ok {
			f.cfg.Trace(trace.Record{
				Event: trace.Delivered, MessageID: m.Add.Summary.Envelope.MessageID, Transfer: m.ID, From: m.From.String(), To: []string{m.To.String()},
				Account: id, Mailbox: added.Mailbox, UID: added.UID, Tx: out.Tx, Octets: added.Blob.Size,
			})
		}
	}
}

// filtered tells it what a script decided.
func (f *Filer) filtered(id domain.AccountID, m *Mail, script, what string, out *sieve.Outcome) {
	if f.cfg.Trace == nil {
		return
	}
	r := trace.Record{Event: trace.Filtered, MessageID: m.Add.Summary.Envelope.MessageID, Transfer: m.ID, From: m.From.String(), To: []string{m.To.String()}, Account: id, Outcome: what}
	words := []string{"script " + script}
	if out.Err != nil {
		words = append(words, out.Err.Error())
	} else if len(out.Actions) > 0 {
		words = append(words, describe(out.Actions))
	}
	r.Text = strings.Join(append(words, out.Notes...), "; ")
	f.cfg.Trace(r)
}
