package event

import (
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"google.golang.org/protobuf/encoding/protowire"
)

// MessageAdded is a message that came into a mailbox from outside: a delivery, an APPEND or an import.
type MessageAdded struct {
	Mailbox  domain.MailboxID `json:"mailbox"`
	UID      domain.UID       `json:"uid"`
	Email    domain.EmailID   `json:"email"`
	Thread   domain.ThreadID  `json:"thread"`
	Blob     domain.BlobRef   `json:"blob"`
	Flags    Flags            `json:"flags"`
	Internal int64            `json:"internalDate"` // INTERNALDATE, Unix seconds
	Saved    int64            `json:"savedDate"`    // SAVEDATE (RFC 8514), Unix seconds
	Summary  message.Summary  `json:"summary"`
}

// Delta is what the message adds to the counters.
func (e *MessageAdded) Delta() Delta { return DeltaOf(e.Flags, e.Blob.Size) }

// DeltaOf is what one message with these flags and this size adds to the counters.
func DeltaOf(f Flags, size int64) Delta {
	d := Delta{Messages: 1, Bytes: size}
	if f&Seen == 0 {
		d.Unseen = 1
	}
	if f&Deleted != 0 {
		d.Deleted = 1
	}
	return d
}

func (e *MessageAdded) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	uintField(c, 2, &e.UID)
	uintField(c, 3, &e.Email)
	uintField(c, 4, &e.Thread)
	c.Bytes(5, e.Blob.ID[:])
	c.Bytes(6, e.Blob.Key[:])
	c.Sint(7, &e.Blob.Size)
	uintField(c, 8, &e.Flags)
	c.Sint(9, &e.Internal)
	c.Sint(10, &e.Saved)
	c.Message(11, true, func(c *coder) { summaryFields(c, &e.Summary) })
}

// MessagesCopied puts copies of messages into another mailbox (RFC 9051 COPY). The sources, in rising order of UID, get First, First+1 and so
// on; flags, dates, email and thread are those of the source at this moment, SAVEDATE is Saved. Delta is what To gains.
type MessagesCopied struct {
	From  domain.MailboxID `json:"from"`
	To    domain.MailboxID `json:"to"`
	UIDs  domain.UIDSet    `json:"uids"`
	First domain.UID       `json:"first"`
	Saved int64            `json:"savedDate"`
	Delta Delta            `json:"delta"`
}

func (e *MessagesCopied) fields(c *coder) {
	transferFields(c, &e.From, &e.To, &e.UIDs, &e.First, &e.Saved, &e.Delta)
}

// MessagesMoved is MessagesCopied together with the expunge of the sources, as one fact (RFC 6851). Delta is what To gains and From loses.
type MessagesMoved struct {
	From  domain.MailboxID `json:"from"`
	To    domain.MailboxID `json:"to"`
	UIDs  domain.UIDSet    `json:"uids"`
	First domain.UID       `json:"first"`
	Saved int64            `json:"savedDate"`
	Delta Delta            `json:"delta"`
}

func (e *MessagesMoved) fields(c *coder) {
	transferFields(c, &e.From, &e.To, &e.UIDs, &e.First, &e.Saved, &e.Delta)
}

func transferFields(c *coder, from, to *domain.MailboxID, uids *domain.UIDSet, first *domain.UID, saved *int64, delta *Delta) {
	uintField(c, 1, from)
	uintField(c, 2, to)
	c.UIDs(3, uids)
	uintField(c, 4, first)
	c.Sint(5, saved)
	c.Message(6, *delta != Delta{}, delta.fields)
}

// FlagsChanged clears Remove and then sets Add on each message of UIDs. Only messages that really change are listed.
type FlagsChanged struct {
	Mailbox domain.MailboxID `json:"mailbox"`
	UIDs    domain.UIDSet    `json:"uids"`
	Add     Flags            `json:"add"`
	Remove  Flags            `json:"remove"`
	Delta   Delta            `json:"delta"`
}

func (e *FlagsChanged) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	c.UIDs(2, &e.UIDs)
	uintField(c, 3, &e.Add)
	uintField(c, 4, &e.Remove)
	c.Message(5, e.Delta != Delta{}, e.Delta.fields)
}

// MessagesExpunged removes messages from a mailbox; Delta is the (negative) sum of what goes.
type MessagesExpunged struct {
	Mailbox domain.MailboxID `json:"mailbox"`
	UIDs    domain.UIDSet    `json:"uids"`
	Delta   Delta            `json:"delta"`
}

func (e *MessagesExpunged) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	c.UIDs(2, &e.UIDs)
	c.Message(3, e.Delta != Delta{}, e.Delta.fields)
}

func addressFields(a *message.Address) func(*coder) {
	return func(c *coder) {
		c.String(1, &a.Name)
		c.String(2, &a.Mailbox)
		c.String(3, &a.Host)
	}
}

func envelopeFields(c *coder, e *message.Envelope) {
	c.String(1, &e.Date)
	c.String(2, &e.Subject)
	repeated(c, 3, &e.From, addressFields)
	repeated(c, 4, &e.Sender, addressFields)
	repeated(c, 5, &e.ReplyTo, addressFields)
	repeated(c, 6, &e.To, addressFields)
	repeated(c, 7, &e.Cc, addressFields)
	repeated(c, 8, &e.Bcc, addressFields)
	c.String(9, &e.InReplyTo)
	c.String(10, &e.MessageID)
	uintField(c, 11, &e.Has)
}

func paramFields(p *message.Param) func(*coder) {
	return func(c *coder) {
		c.String(1, &p.Name)
		c.String(2, &p.Value)
	}
}

func partFields(p *message.Part) func(*coder) {
	return func(c *coder) {
		c.String(1, &p.Type)
		c.String(2, &p.Subtype)
		repeated(c, 3, &p.Params, paramFields)
		c.String(4, &p.ID)
		c.String(5, &p.Description)
		c.String(6, &p.Encoding)
		c.Sint(7, &p.Start)
		c.Sint(8, &p.Body)
		c.Sint(9, &p.End)
		c.Sint(10, &p.Lines)
		c.String(11, &p.MD5)
		c.String(12, &p.Disposition)
		repeated(c, 13, &p.DispParams, paramFields)
		c.Strings(14, &p.Language)
		c.String(15, &p.Location)
		repeated(c, 16, &p.Parts, partFields)
		if c.has(17, p.Embedded != nil) {
			if p.Embedded == nil {
				p.Embedded = new(message.Envelope)
			}
			c.Message(17, true, func(c *coder) { envelopeFields(c, p.Embedded) })
		}
	}
}

func summaryFields(c *coder, s *message.Summary) {
	c.Message(1, true, func(c *coder) { envelopeFields(c, &s.Envelope) })
	c.Message(2, true, partFields(&s.Root))
	restFields(c, s)
}

// restFields are those of a Summary that are neither its envelope nor its tree.
func restFields(c *coder, s *message.Summary) {
	c.String(3, &s.Preview)
	c.Sint(4, &s.SentAt)
	fixed64s(c, 5, &s.Keys)
	fixed64s(c, 6, &s.References)
}

// MarshalSummary gives the encoding of a Summary alone, for views that keep it beside their rows.
func MarshalSummary(s *message.Summary) []byte {
	c := &coder{encoding: true}
	summaryFields(c, s)
	return c.out
}

// UnmarshalHead reads what MarshalSummary wrote, but for the MIME tree, which takes most of the time.
func UnmarshalHead(b []byte) (s message.Summary, err error) {
	err = decode(b, maxDepth, func(c *coder) {
		c.each(2, protowire.BytesType, func(*rawField) {})
		c.Message(1, true, func(c *coder) { envelopeFields(c, &s.Envelope) })
		restFields(c, &s)
	})
	return s, err
}

// UnmarshalSummary reads what MarshalSummary wrote.
func UnmarshalSummary(b []byte) (s message.Summary, err error) {
	err = decode(b, maxDepth, func(c *coder) { summaryFields(c, &s) })
	return s, err
}
