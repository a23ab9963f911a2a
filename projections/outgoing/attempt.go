package outgoing

import (
	"context"
	"io"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// attempt delivers entries of one destination, one after the other.
func (w *Worker) attempt(name string, ids []queue.ID) {
	deadline := w.cfg.Clock().Add(w.cfg.Limits.Lease - 2*w.cfg.Limits.Attempt)
	entries, err := w.cfg.Queue.Entries(w.ctx, ids)
	if err != nil {
		w.cfg.Logger.Error("the queue cannot be read", "error", err)
		for _, id := range ids {
			w.release(id, w.cfg.Clock().Add(w.cfg.Policy.First))
		}
		return
	}
	var away []queue.Outcome // what a destination without a host that can be reached means for all
	for _, e := range entries {
		switch {
		case w.stopping() || w.cfg.Clock().After(deadline):
			w.release(e.ID, time.UnixMilli(e.Due))
		case e.Pledge != nil && !w.kept(e):
		case away != nil && e.TLS != queue.TLSOptional: // which goes where the others do not dare
			w.settle(e, share(e, away[0]), 0)
		default:
			outcomes, reached, took := w.deliver(e)
			if w.ctx.Err() != nil && undecided(outcomes) {
				w.release(e.ID, time.UnixMilli(e.Due))
				continue
			}
			w.reached(name, reached || !undecided(outcomes)) // before others may see the entry again
			w.settle(e, outcomes, took)
			if !reached && undecided(outcomes) && len(outcomes) > 0 {
				away = outcomes
			}
		}
	}
}

func (w *Worker) stopping() bool {
	select {
	case <-w.ending:
		return true
	case <-w.ctx.Done():
		return true
	default:
		return false
	}
}

// undecided tells whether nothing at all was achieved.
func undecided(outcomes []queue.Outcome) bool {
	for _, o := range outcomes {
		if o.Fate != queue.Deferred {
			return false
		}
	}
	return true
}

// share gives all recipients of an entry the outcome of another's.
func share(e *queue.Entry, o queue.Outcome) (outcomes []queue.Outcome) {
	for _, r := range e.Recipients {
		o.Recipient = r
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// deliver attempts an entry.
func (w *Worker) deliver(e *queue.Entry) (outcomes []queue.Outcome, reached bool, took time.Duration) {
	ctx, cancel := context.WithTimeout(w.ctx, w.cfg.Limits.Attempt)
	defer cancel()
	began := w.cfg.Clock()
	carrier := w.cfg.Remote
	if w.cfg.IsLocal(e.Domain) {
		carrier = w.cfg.Local
	}
	outcomes, reached = carrier.Deliver(ctx, e, func(ctx context.Context) (io.ReadCloser, error) {
		return e.Content(ctx, w.cfg.Blobs, 0, -1)
	})
	return outcomes, reached, w.cfg.Clock().Sub(began)
}

// settle writes down what became of an entry, together with the reports that are due.
func (w *Worker) settle(e *queue.Entry, outcomes []queue.Outcome, took time.Duration) {
	now := w.cfg.Clock()
	v := queue.Decide(e, outcomes, &w.cfg.Policy, now, float64(w.cfg.Random()>>11)/(1<<53))
	v.Result.Node, v.Result.Boot = w.cfg.Node, w.cfg.Boot
	w.tell(e, outcomes, took)
	w.traceAttempt(e, outcomes, took)
	records := []queue.Record{{Result: &v.Result}}
	for _, r := range v.Reports {
		if r.Action == queue.ActionFailed && w.cfg.Bounces != nil {
			for i := range r.Outcomes {
				records = append(records, queue.Record{Put: w.cfg.Bounces(e, &r.Outcomes[i], queue.ID(w.cfg.Random()), queue.Millis(now))})
			}
			continue
		}
		entry, err := w.report(e, &r, now)
		if err != nil {
			w.cfg.Logger.Error("a report cannot be stored", "queued", e.ID, "sender", e.Sender, "action", r.Action, "error", err)
			if r.Action == queue.ActionRelayed || r.Action == queue.ActionDelivered { // A lost receipt is better than a second copy.
				continue
			}
			if domain.Is(err, domain.Invalid) { // Time does not mend an address.
				if r.Action != queue.ActionDelayed {
					v.Dropped = append(v.Dropped, r.Outcomes...)
				}
				continue
			}
			// Those who failed are not done with.
			v.Result.Postpone(r.Outcomes, queue.Millis(now.Add(w.cfg.Policy.First)), r.Action == queue.ActionDelayed)
			continue
		}
		records = append(records, queue.Record{Put: entry})
		w.traceReport(e, &r, entry)
		call(w.cfg.Metrics.Report, r.Action)
		w.cfg.Logger.Info("report", "queued", e.ID, "to", entry.Recipients[0].Address, "action", r.Action, "recipients", len(r.Outcomes), "as", entry.ID)
	}
	if dead := w.dead(e, v.Dropped, now); dead != nil {
		records = append(records, queue.Record{Put: dead})
	}
	for _, o := range v.Dropped {
		if f := w.cfg.Metrics.Dropped; f != nil {
			f()
		}
		w.cfg.Logger.Warn("undeliverable, and nobody to tell", "queued", e.ID, "messageId", e.MessageID, "from", e.Sender, "to", o.Recipient.Address, "answer", o.Text)
	}
	w.cfg.Failpoint("outgoing.result")
	w.write(records)
}

// tell is one log line for each recipient.
func (w *Worker) tell(e *queue.Entry, outcomes []queue.Outcome, took time.Duration) {
	for _, o := range outcomes {
		w.cfg.Logger.Info("delivery attempt", "queued", e.ID, "id", e.Transfer, "messageId", e.MessageID, "from", e.Sender, "to", o.Recipient.Address, "outcome", o.Fate.String(),
			"peer", o.Peer, "status", o.Status, "answer", o.Text, "attempt", e.Attempts+1, "took", took)
		if f := w.cfg.Metrics.Attempt; f != nil {
			f(o.Fate, took)
		}
	}
}

// release gives an entry back without an attempt.
func (w *Worker) release(id queue.ID, due time.Time) {
	w.write([]queue.Record{{Result: &queue.Result{ID: id, Node: w.cfg.Node, Boot: w.cfg.Boot, At: queue.Millis(w.cfg.Clock()), Due: queue.Millis(due)}}})
}

// retry is the pause before a result is offered again.
const retry = time.Second

// write appends a result, however long it takes: what it says has happened.
func (w *Worker) write(records []queue.Record) {
	for {
		err := w.cfg.Queue.Append(context.WithoutCancel(w.ctx), records...)
		if err == nil {
			return
		}
		w.cfg.Logger.Error("what became of a message cannot be written down yet", "error", err)
		select {
		case <-time.After(retry):
		case <-w.ctx.Done(): // The next process takes it for an attempt without an end.
			return
		}
	}
}

func call[T any](f func(T), with T) {
	if f != nil {
		f(with)
	}
}
