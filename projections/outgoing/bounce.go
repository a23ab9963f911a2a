package outgoing

import "github.com/streampost/streampost/domain/queue"

// Bounce makes the entry that tells the sender of a message, who is not the null sender, what became of recipients that failed. It is not in the queue yet. Errors: of blobs that cannot be read or stored.
func (w *Worker) Bounce(e *queue.Entry, outcomes []queue.Outcome) (*queue.Entry, error) {
	entry, err := w.report(e, &queue.Report{Action: queue.ActionFailed, Outcomes: outcomes}, w.cfg.Clock())
	if err != nil {
		return nil, err
	}
	call(w.cfg.Metrics.Report, queue.ActionFailed)
	w.cfg.Logger.Info("report", "id", e.Transfer, "to", e.Sender, "action", queue.ActionFailed, "recipients", len(outcomes), "as", entry.ID)
	return entry, nil
}
