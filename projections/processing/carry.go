package processing

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
)

// Attributes in which the queue of outgoing mail tells the processor bounces what a peer said.
const (
	AttributeStatus = "delivery-status"
	AttributeText   = "delivery-text"
	AttributePeer   = "delivery-peer"
)

// Bounces is the entry that brings a recipient who failed to the processor bounces.
func Bounces(e *queue.Entry, o *queue.Outcome, id queue.ID, now int64) *queue.Entry {
	b := *e
	b.ID, b.Shelf, b.Domain, b.Via, b.Recipients, b.Arrived, b.Due = id, queue.Spool, "", "", []queue.Recipient{o.Recipient}, now, now
	b.Attempts, b.Unclear, b.Last, b.Held, b.Warned, b.Error, b.Head, b.Pledge = 0, 0, 0, false, false, o.Text, "", nil // it is signed again when it leaves
	b.Attributes = maps.Clone(e.Attributes)
	if b.Attributes == nil {
		b.Attributes = map[string]string{}
	}
	b.Attributes[AttributeStatus], b.Attributes[AttributeText], b.Attributes[AttributePeer], b.Attributes[pipeline.AttributeError] = o.Status, o.Text, o.Peer, o.Text
	delete(b.Attributes, pipeline.AttributeDetail)                                                    // of another failure
	b.Parking.Processor, b.Parking.Step, b.Parking.Visited = pipeline.Bounces, 0, e.Parking.Visited+1 // what fails, is sent on and fails again comes to an end
	return &b
}

// carry gives the records that carry out effects. Errors: of blobs that cannot be read or stored; nothing is done then.
func (p *Processor) carry(ctx context.Context, e *queue.Entry, effects []pipeline.Effect, now int64) (records []queue.Record, err error) {
	stored := map[string]queue.Blob{} // by the edits
	for i := range effects {
		f := &effects[i]
		p.count(f.Kind.String())
		switch f.Kind {
		case pipeline.Log:
			p.logLine(e, f)
			continue
		case pipeline.Drop:
			p.cfg.Logger.Info("mail is dropped", "id", e.Transfer, "messageId", e.MessageID, "from", e.Sender, "to", f.Mail.Recipients, "processor", f.Mail.Processor, "step", f.Mail.Step, "cause", f.Text)
			continue
		}
		parts, err := p.parts(ctx, e, f, stored)
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			more, err := p.become(ctx, e, part, f, now)
			if err != nil {
				return nil, err
			}
			records = append(records, more...)
		}
	}
	return records, nil
}

// become gives the records of what becomes of a part.
func (p *Processor) become(ctx context.Context, e, part *queue.Entry, f *pipeline.Effect, now int64) ([]queue.Record, error) {
	switch f.Kind {
	case pipeline.Deliver:
		part.Parking.Visited = f.Mail.Visited
		return p.cfg.Requeue(ctx, part, part.Recipients)
	case pipeline.Park:
		return []queue.Record{p.park(part, f, now)}, nil
	case pipeline.Bounce:
		return p.bounce(part, f, now)
	case pipeline.Send:
		part.Login, part.Parking.First, part.Parking.Last, part.Parking.Times = "", 0, 0, 0
		if len(f.For) == 0 {
			part.EnvelopeID, part.Return = "", ""
		}
		return []queue.Record{p.spool(part, f.Mail, now, now)}, nil
	case pipeline.Retry:
		part.Error = f.Text
		part.Attempts = e.Attempts + 1
		return []queue.Record{p.spool(part, f.Mail, now, now+p.cfg.Policy.Pause(1, float64(p.cfg.Random()>>11)/(1<<53)).Milliseconds())}, nil
	}
	return nil, domain.Errorf(domain.Internal, "an effect %s cannot be carried out here", f.Kind)
}

// parts are the entries of an effect: one, or two where mappings were applied to some of its recipients and not to others.
func (p *Processor) parts(ctx context.Context, e *queue.Entry, f *pipeline.Effect, stored map[string]queue.Blob) (parts []*queue.Entry, err error) {
	known, fresh := recipients(e, f)
	for _, to := range [][]queue.Recipient{known, fresh} {
		if len(to) == 0 {
			continue
		}
		part, err := p.part(ctx, e, f.Mail, stored)
		if err != nil {
			return nil, err
		}
		part.Recipients = to
		parts = append(parts, part)
	}
	if len(fresh) > 0 {
		parts[len(parts)-1].Final = false
	}
	return parts, nil
}

// part is an entry, for nobody yet, with what steps have made of its mail.
func (p *Processor) part(ctx context.Context, e *queue.Entry, m *pipeline.Mail, stored map[string]queue.Blob) (*queue.Entry, error) {
	part := *e
	part.ID, part.Node, part.Domain, part.Via, part.Sender, part.Recipients, part.Attributes = p.id(), p.cfg.Node, "", "", m.Sender, nil, maps.Clone(m.Attributes)
	part.Attempts, part.Unclear, part.Last, part.Held, part.Warned, part.Error = 0, 0, 0, false, false, ""
	if len(m.Edits) == 0 {
		return &part, nil
	}
	key := fmt.Sprintf("%#v", m.Edits)
	blob, is := stored[key]
	if !is {
		var err error
		if blob, err = p.edited(ctx, e, m.Edits); err != nil {
			return nil, err
		}
		stored[key] = blob
	}
	part.Blob, part.Head = blob, "" // what of it is kept lies in the blob
	return &part, nil
}

// spool puts a part on the spool, at the place of a mail.
func (p *Processor) spool(part *queue.Entry, m *pipeline.Mail, now, due int64) queue.Record {
	part.Shelf, part.Arrived, part.Due = queue.Spool, max(part.Arrived, 0), due
	if part.Arrived == 0 {
		part.Arrived = now
	}
	part.Parking.Processor, part.Parking.Step, part.Parking.Visited = m.Processor, m.Step, m.Visited
	return queue.Record{Put: part}
}

// park puts a part into a repository.
func (p *Processor) park(part *queue.Entry, f *pipeline.Effect, now int64) queue.Record {
	shelf, err := queue.Repository(f.Repository)
	if err != nil { // of an answer of a hook
		shelf, _ = queue.Repository(queue.RepositoryError)
	}
	part.Shelf, part.Due, part.Error = shelf, 0, f.Text
	part.Parking.Cause, part.Parking.Processor, part.Parking.Step, part.Parking.Visited = cmp.Or(f.Cause, "unknown"), f.Mail.Processor, f.Mail.Step, 0
	part.Parking.Park(now)
	p.cfg.Logger.Warn("mail is parked", "repository", shelf.Name(), "key", part.ID, "id", part.Transfer, "messageId", part.MessageID, "from", part.Sender, "processor", f.Mail.Processor, "cause", part.Parking.Cause,
		"error", f.Text)
	return queue.Record{Put: part}
}

// bounce tells the sender; where nobody can be told, the mail is parked.
func (p *Processor) bounce(part *queue.Entry, f *pipeline.Effect, now int64) ([]queue.Record, error) {
	if part.Sender == "" { // RFC 5321 section 6.1: no report is about a report.
		return []queue.Record{p.park(part, &pipeline.Effect{Mail: f.Mail, Repository: queue.RepositoryDead, Cause: "undeliverable", Text: f.Text}, now)}, nil
	}
	var outcomes []queue.Outcome
	for _, r := range part.Recipients {
		if !r.Notify.Wants(queue.OnFailure) {
			p.cfg.Logger.Info("mail fails, and its sender does not want to be told", "id", part.Transfer, "messageId", part.MessageID, "from", part.Sender, "to", r.Address, "cause", f.Text)
			continue
		}
		outcomes = append(outcomes, queue.Outcome{
			Recipient: r, Fate: queue.Failed, Status: cmp.Or(part.Attributes[AttributeStatus], f.Status), Text: cmp.Or(f.Text, part.Attributes[AttributeText], "it was refused"), Peer: part.Attributes[AttributePeer],
		})
	}
	if len(outcomes) == 0 {
		return nil, nil
	}
	report, err := p.cfg.Bounce(part, outcomes)
	if err != nil {
		return nil, err
	}
	return []queue.Record{{Put: report}}, nil
}

func (p *Processor) logLine(e *queue.Entry, f *pipeline.Effect) {
	p.cfg.Logger.Info("message", "id", e.Transfer, "messageId", e.MessageID, "from", f.Mail.Sender, "to", f.Mail.Recipients, "octets", f.Mail.Size, "processor", f.Mail.Processor, "step", f.Mail.Step, "comment", f.Text)
}
