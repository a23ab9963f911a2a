package outgoing

import (
	"context"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/trace"
	"github.com/streampost/streampost/projections/filing"
)

// How long it stays open whether a pledged entry counts. A delivery takes minutes at most: what no account has after pledgeDrop is never going to be kept.
const (
	pledgeFirst = time.Minute
	pledgeLater = 5 * time.Minute
	pledgeDrop  = time.Hour
)

// Pledge puts letters into the queue that count once the account has a mark. They are durable when it returns, and nothing of them leaves before Settle, or before the mark was found.
func (w *Worker) Pledge(ctx context.Context, id domain.AccountID, mark string, letters []filing.Letter) (ids []queue.ID, err error) {
	due := queue.Millis(w.cfg.Clock().Add(pledgeFirst))
	var records []queue.Record
	for _, l := range letters {
		m := &Mail{Transfer: l.Transfer, MessageID: l.MessageID, Login: l.Login, Sender: l.Sender, Blob: l.Blob, UTF8: l.UTF8, Sign: l.Own, TLS: l.TLS}
		if l.Sender.IsNull() && l.Notify == queue.Never { // a program's words make way for people's
			m.Priority = -1
		}
		for _, to := range l.To {
			m.Recipients = append(m.Recipients, Recipient{Address: to, Notify: l.Notify})
		}
		made, err := w.entries(ctx, m)
		if err != nil {
			return nil, err
		}
		for _, r := range made {
			r.Put.Pledge, r.Put.Due = &queue.Pledge{Account: id, Mark: mark}, due
			ids = append(ids, r.Put.ID)
			records = append(records, r)
		}
	}
	if err = w.cfg.Queue.Append(ctx, records...); err == nil {
		w.traceQueued(records)
	}
	return ids, err
}

// Settle says of pledged entries whether they count.
func (w *Worker) Settle(ctx context.Context, ids []queue.ID, kept bool) error {
	now := queue.Millis(w.cfg.Clock())
	c := &queue.Change{IDs: ids, By: "sieve", At: now, Remove: !kept}
	if kept {
		c.Keep, c.Due = true, &now
	}
	return w.cfg.Queue.Append(ctx, queue.Record{Change: c})
}

// kept finds out whether a pledged entry counts. If it does not, or if that is not known yet, the entry is dealt with.
func (w *Worker) kept(e *queue.Entry) bool {
	now := w.cfg.Clock()
	var kept bool
	var err error = domain.Errorf(domain.Unavailable, "accounts cannot be read here")
	if w.cfg.Kept != nil {
		ctx, cancel := context.WithTimeout(w.ctx, storing)
		defer cancel()
		kept, err = w.cfg.Kept(ctx, e.Pledge)
	}
	gone := domain.Is(err, domain.Erased) || domain.Is(err, domain.NotFound)
	switch {
	case err == nil && kept: // It is written down, since the mark does not stay for as long as attempts may.
		w.write([]queue.Record{{Change: &queue.Change{IDs: []queue.ID{e.ID}, By: "pledge", At: queue.Millis(now), Keep: true}}})
		return true
	case gone, err == nil && now.Sub(time.UnixMilli(e.Arrived)) > pledgeDrop:
		w.cfg.Logger.Info("a delivery that was to send this did not come about", "queued", e.ID, "id", e.Transfer, "account", e.Pledge.Account, "messageId", e.MessageID)
		w.trace(e, trace.Record{Event: trace.Removed, Text: "the delivery that was to send it did not come about"})
		w.write([]queue.Record{{Change: &queue.Change{IDs: []queue.ID{e.ID}, By: "pledge", At: queue.Millis(now), Remove: true}}})
	default:
		w.release(e.ID, now.Add(pledgeLater))
	}
	return false
}
