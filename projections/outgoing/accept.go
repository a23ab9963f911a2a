package outgoing

import (
	"context"
	"io"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/idn"
	"github.com/streampost/streampost/domain/queue"
)

// Mail is a message for other servers.
type Mail struct {
	Transfer   string // names it in the server's log
	MessageID  string
	Login      string
	Sender     delivery.Address
	Recipients []Recipient
	Blob       domain.BlobRef // durable
	Skip       int64          // octets at its beginning that stay here
	Top        string         // whole header fields that are put in front of it
	Final      bool           // mappings were applied: what recipients here lead to is not asked again
	Sign       bool           // its sender logged in, so that this server vouches for it
	Unclear    bool           // the recipients' mailboxes may have it already: they are asked first
	UTF8       bool
	Junk       bool   // see queue.Entry
	Return     string // RET, or nothing
	EnvelopeID string
	TLS        string // see queue.Entry
	Priority   int8   // see queue.Entry; what goes to many recipients has one less
}

// Recipient is one of them.
type Recipient struct {
	Address  delivery.Address
	Original string // ORCPT
	Notify   queue.Notify
}

// together is how many recipients of a domain share an entry (RFC 5321 section 4.5.3.1.8: what every server takes).
const together = 100

// Accept signs a message and puts it into the queue. It is durable, for all recipients, when Accept returns. Errors: those of Queue.Append and of Signer.
func (w *Worker) Accept(ctx context.Context, m *Mail) error { return w.AcceptAll(ctx, m) }

// AcceptAll is Accept of several, all or none.
func (w *Worker) AcceptAll(ctx context.Context, mails ...*Mail) error {
	var records []queue.Record
	for _, m := range mails {
		made, err := w.entries(ctx, m)
		if err != nil {
			return err
		}
		records = append(records, made...)
	}
	w.cfg.Failpoint("outgoing.accept")
	err := w.cfg.Queue.Append(ctx, records...)
	if err == nil {
		w.traceQueued(records)
	}
	return err
}

// Entry is the message as entries have it, for all of its recipients, and not signed.
func (m *Mail) Entry() *queue.Entry {
	e := &queue.Entry{
		Transfer: m.Transfer, MessageID: m.MessageID, Login: m.Login, Sender: m.Sender.String(), Blob: queue.Blob{BlobRef: m.Blob}, Skip: m.Skip, UTF8: m.UTF8, Head: m.Top, Final: m.Final, Junk: m.Junk,
		Return: m.Return, EnvelopeID: m.EnvelopeID, TLS: m.TLS, Priority: m.Priority,
	}
	for _, r := range m.Recipients {
		e.Recipients = append(e.Recipients, queue.Recipient{Address: r.Address.String(), Original: r.Original, Notify: r.Notify})
	}
	return e
}

// entries makes those of a message, which is signed if that is wanted. Errors: those of Signer.
func (w *Worker) entries(ctx context.Context, m *Mail) (records []queue.Record, err error) {
	e := m.Entry()
	e.Node = w.cfg.Node
	if bulk := w.cfg.Limits.Bulk; bulk > 0 && len(m.Recipients) > bulk {
		e.Priority = max(e.Priority-1, queue.MinPriority)
	}
	if m.Sign {
		open := func() (io.ReadCloser, error) {
			return w.cfg.Blobs.Open(ctx, m.Blob, m.Skip, max(m.Blob.Size-m.Skip, 0))
		}
		signed, err := w.sign(ctx, speaks(m), open)
		if err != nil {
			return nil, err
		}
		e.Head += signed
	}
	records, err = Split(e, e.Recipients, func() queue.ID { return queue.ID(w.cfg.Random()) }, queue.Millis(w.cfg.Clock()))
	if m.Unclear {
		for _, r := range records {
			r.Put.Unclear = 1
		}
	}
	return records, err
}

// Requeue makes the entries that bring a message, which comes from elsewhere than a client, to some recipients, as records. What a user submitted is signed, unless it is already. Errors: those of Signer; domain.Invalid.
func (w *Worker) Requeue(ctx context.Context, e *queue.Entry, to []queue.Recipient) ([]queue.Record, error) {
	c := *e
	if c.Login != "" && c.Head == "" {
		sender, err := delivery.ParseAddress(c.Sender)
		if err != nil && c.Sender != "" {
			return nil, err
		}
		open := func() (io.ReadCloser, error) { return w.cfg.Blobs.Open(ctx, c.Blob.BlobRef, c.Skip, c.Stored()) }
		if c.Head, err = w.sign(ctx, speaks(&Mail{Sender: sender, Login: c.Login}), open); err != nil {
			return nil, err
		}
	}
	return Split(&c, to, func() queue.ID { return queue.ID(w.cfg.Random()) }, queue.Millis(w.cfg.Clock()))
}

// Split makes the entries that bring a message to some recipients, as records: one for each domain, and for each hundred of its recipients. Errors: domain.Invalid.
func Split(e *queue.Entry, to []queue.Recipient, id func() queue.ID, now int64) (records []queue.Record, err error) {
	domains := map[string][]queue.Recipient{}
	var names []string
	for _, r := range to {
		address, err := delivery.ParseAddress(r.Address)
		if err != nil {
			return nil, err
		}
		name := idn.ASCII(address.DomainKey())
		if len(domains[name]) == 0 {
			names = append(names, name)
		}
		domains[name] = append(domains[name], r)
	}
	for _, name := range names {
		for some := range slices.Chunk(domains[name], together) {
			records = append(records, queue.Record{Put: &queue.Entry{
				ID: id(), Node: e.Node, Transfer: e.Transfer, MessageID: e.MessageID, Login: e.Login, Sender: e.Sender, Recipients: some, Domain: name, Blob: e.Blob, Skip: e.Skip, Head: e.Head, Final: e.Final,
				UTF8: e.UTF8, Junk: e.Junk, Return: e.Return, EnvelopeID: e.EnvelopeID, TLS: e.TLS, Priority: e.Priority, Arrived: now, Due: now,
				Parking: e.Parking, Attributes: e.Attributes,
			}})
		}
	}
	return records, nil
}
