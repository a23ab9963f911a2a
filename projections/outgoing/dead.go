package outgoing

import (
	"time"

	"github.com/streampost/streampost/domain/queue"
)

// dead parks a message for recipients of whom nobody can be told that they failed, because it has the null sender: it is a report, mostly. Who asked not to be told (NOTIFY=NEVER) is not
// surprised that nobody is.
func (w *Worker) dead(e *queue.Entry, dropped []queue.Outcome, now time.Time) *queue.Entry {
	if e.Sender != "" || len(dropped) == 0 {
		return nil
	}
	shelf, _ := queue.Repository(queue.RepositoryDead)
	d := e.Parked(shelf, "undeliverable", queue.Millis(now))
	d.ID, d.Node, d.Recipients, d.Head = queue.ID(w.cfg.Random()), w.cfg.Node, nil, "" // what leaves again is signed again
	for _, o := range dropped {
		d.Recipients = append(d.Recipients, o.Recipient)
		d.Error = o.Text
		if o.Peer != "" {
			d.Error = o.Peer + ": " + o.Text
		}
	}
	w.cfg.Logger.Warn("mail is parked", "repository", d.Shelf.Name(), "key", d.ID, "queued", e.ID, "id", e.Transfer, "messageId", e.MessageID, "cause", d.Parking.Cause, "error", d.Error)
	return d
}
