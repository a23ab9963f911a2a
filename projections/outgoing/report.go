package outgoing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/dsn"
	"github.com/streampost/streampost/domain/idn"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
)

// storing bounds how long it takes to store a report.
const storing = 30 * time.Second

// report stores a notification and makes the entry that brings it to the sender. What it tells has happened, so that it is not cut off with the attempts.
func (w *Worker) report(e *queue.Entry, r *queue.Report, now time.Time) (*queue.Entry, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), storing)
	defer cancel()
	sender, err := delivery.ParseAddress(e.Sender)
	if err != nil {
		return nil, err
	}
	if w.cfg.Origin != nil {
		sender = w.cfg.Origin(sender)
	}
	told := *e
	told.Sender = sender.String()
	id := queue.ID(w.cfg.Random())
	n := &dsn.Notice{Host: w.cfg.Hostname, ID: id.String(), Now: now, Entry: &told, Report: *r}
	if n.Original, n.Whole, err = w.original(ctx, e, r.Action); err != nil {
		w.cfg.Logger.Warn("a report goes without what it is about", "queued", e.ID, "error", err)
	}
	text := n.Message()
	blob, err := w.cfg.Blobs.Put(ctx, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	head, err := w.sign(ctx, []string{w.cfg.Hostname}, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })
	if err != nil { // A report without a signature is better than none.
		w.cfg.Logger.Warn("a report is not signed", "queued", e.ID, "error", err)
	}
	w.cfg.Failpoint("outgoing.reported")
	at := queue.Millis(now)
	return &queue.Entry{
		ID: id, Node: w.cfg.Node, Transfer: e.Transfer, MessageID: n.MessageID(), Recipients: []queue.Recipient{{Address: told.Sender, Notify: queue.Never}},
		Domain: idn.ASCII(sender.DomainKey()), Blob: queue.Blob{BlobRef: blob}, Head: head, UTF8: e.UTF8, TLS: e.TLS, Arrived: at, Due: at,
		Attributes: map[string]string{pipeline.AttributeServer: "true"},
	}, nil
}

// original reads what a report brings back: of failures all of the message, where the sender wants it (RFC 3461 section 4.3) and has not demanded TLS on the whole way (RFC 8689 section 5), else the header.
func (w *Worker) original(ctx context.Context, e *queue.Entry, action string) (text []byte, whole bool, err error) {
	whole = e.Return == "FULL" && e.TLS != queue.TLSRequired && action == queue.ActionFailed && e.Stored() <= w.cfg.Limits.Returned
	most := e.Stored()
	if !whole {
		most = min(most, w.cfg.Limits.Header)
	}
	r, err := w.cfg.Blobs.Open(ctx, e.Blob.BlobRef, e.Skip, most)
	if err != nil {
		return nil, false, fmt.Errorf("read the message: %w", err)
	}
	defer r.Close()
	if text, err = io.ReadAll(io.LimitReader(r, most)); err != nil {
		return nil, false, fmt.Errorf("read the message: %w", err)
	}
	if whole {
		return text, true, nil
	}
	if end := bytes.Index(text, []byte("\r\n\r\n")); end >= 0 {
		text = text[:end+2]
	} else if end := bytes.LastIndex(text, []byte("\r\n")); end >= 0 {
		text = text[:end+2]
	}
	return text, false, nil
}
