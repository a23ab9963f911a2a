package outgoing

import (
	"time"

	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/trace"
)

// trace tells of a step of an entry.
func (w *Worker) trace(e *queue.Entry, r trace.Record) {
	if w.cfg.Trace == nil {
		return
	}
	r.MessageID, r.Transfer, r.Login, r.From, r.Queued, r.Octets = e.MessageID, e.Transfer, e.Login, e.Sender, e.ID.String(), e.Size()
	if r.To == nil {
		for _, to := range e.Recipients {
			r.To = append(r.To, to.Address)
		}
	}
	w.cfg.Trace(r)
}

// traceQueued tells of entries that are in the queue.
func (w *Worker) traceQueued(records []queue.Record) {
	for _, r := range records {
		if r.Put != nil {
			w.trace(r.Put, trace.Record{Event: trace.Queued})
		}
	}
}

// traceAttempt tells what became of each recipient.
func (w *Worker) traceAttempt(e *queue.Entry, outcomes []queue.Outcome, took time.Duration) {
	for _, o := range outcomes {
		w.trace(e, trace.Record{Event: trace.Attempt, To: []string{o.Recipient.Address}, Peer: o.Peer, Outcome: o.Fate.String(), Status: o.Status, Text: o.Text, Took: took.Milliseconds()})
	}
}

// traceReport tells, of the message that it is about, that a report is made.
func (w *Worker) traceReport(e *queue.Entry, r *queue.Report, as *queue.Entry) {
	to := make([]string, len(r.Outcomes))
	for n, o := range r.Outcomes {
		to[n] = o.Recipient.Address
	}
	w.trace(e, trace.Record{Event: trace.Reported, To: to, Outcome: r.Action, Text: "as " + as.MessageID})
}
