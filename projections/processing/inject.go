package processing

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
)

// maxInjected bounds the recipients of a message that an operator sends.
const maxInjected = 1000

// Inject takes a message of an operator, of so many octets at most: its sender is the address of the From field, and its recipients are those of To, Cc and Bcc. It is on the spool when Inject returns, and may go to
// other servers. Errors: domain.Invalid when it has no sender or no recipients, domain.TooLarge; those of blobs and of Queue.Append.
func (p *Processor) Inject(ctx context.Context, transfer string, r io.Reader, most int64) (queue.ID, error) {
	scanner := message.NewScanner()
	at := p.cfg.Clock()
	fields := delivery.Fields{Date: delivery.Date(at), MessageID: "<" + transfer + "@" + cmp.Or(p.cfg.Hostname, "localhost") + ">", NoBcc: true}
	in := delivery.NewReader(io.TeeReader(delivery.CRLF(r), scanner), delivery.Limits{Message: most}, fields)
	blob, err := p.cfg.Blobs.Put(ctx, in)
	if in.Fault() != delivery.NoFault {
		return 0, in.Err()
	}
	if err != nil {
		return 0, err
	}
	envelope := scanner.Finish().Envelope
	now := queue.Millis(at)
	e := &queue.Entry{
		ID: p.id(), Node: p.cfg.Node, Transfer: transfer, MessageID: cmp.Or(envelope.MessageID, fields.MessageID), Blob: queue.Blob{BlobRef: blob}, UTF8: in.WideHeader(), Arrived: now, Due: now, Shelf: queue.Spool,
		Attributes: map[string]string{pipeline.AttributeServer: "true"},
	}
	from, err := mailboxes(envelope.From)
	if err != nil || len(from) == 0 {
		return 0, domain.Errorf(domain.Invalid, "the message has no From field with an address")
	}
	e.Sender = from[0]
	to, err := mailboxes(slices.Concat(envelope.To, envelope.Cc, envelope.Bcc))
	if err != nil || len(to) == 0 || len(to) > maxInjected {
		return 0, domain.Errorf(domain.Invalid, "the message has %d addresses in its To, Cc and Bcc fields: 1 to %d are wanted, and all have to be addresses", len(to), maxInjected)
	}
	for _, a := range to {
		e.Recipients = append(e.Recipients, queue.Recipient{Address: a})
	}
	return e.ID, p.cfg.Queue.Append(ctx, queue.Record{Put: e})
}

// mailboxes gives the addresses of a list, each once. Groups are passed over.
func mailboxes(list []message.Address) (all []string, err error) {
	for _, a := range list {
		if a.Mailbox == "" || a.Host == "" {
			continue
		}
		address, err := delivery.Unquoted(a.Mailbox + "@" + a.Host)
		if err != nil {
			return nil, err
		}
		if text := address.String(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all, nil
}
