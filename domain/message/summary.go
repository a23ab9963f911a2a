package message

// Address is one mailbox of an address list, as the header wrote it: encoded words are kept (RFC 2047), quotes and comments are resolved.
// A group is RFC 9051's form: an Address with an empty Host opens it (Mailbox is the group's name), one with both empty closes it.
type Address struct {
	Name    string `json:"name,omitempty"`
	Mailbox string `json:"mailbox,omitempty"`
	Host    string `json:"host,omitempty"`
}

// Envelope is the ENVELOPE of RFC 9051 section 7.5.2: the header's own text, unfolded, not a rewritten form of it.
// Has marks which of the optional fields the header had at all, since IMAP tells NIL from "".
type Envelope struct {
	Date      string    `json:"date,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	From      []Address `json:"from,omitempty"`
	Sender    []Address `json:"sender,omitempty"`
	ReplyTo   []Address `json:"replyTo,omitempty"`
	To        []Address `json:"to,omitempty"`
	Cc        []Address `json:"cc,omitempty"`
	Bcc       []Address `json:"bcc,omitempty"`
	InReplyTo string    `json:"inReplyTo,omitempty"`
	MessageID string    `json:"messageId,omitempty"`
	Has       Field     `json:"-"`
}

// Field is a set of Envelope's optional text fields.
type Field uint8

// The fields whose absence IMAP shows as NIL.
const (
	HasDate Field = 1 << iota
	HasSubject
	HasInReplyTo
	HasMessageID
)

// Param is one parameter of a Content-Type or Content-Disposition field, decoded as RFC 2231 says, name in lower case.
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Part is one node of the MIME tree, with the octet offsets that let a section be served by a ranged read.
// All offsets count from the first octet of the whole message. The header is [Start, Body), the body [Body, End).
type Part struct {
	Type        string    `json:"type"`    // lower case, "text" when the header says nothing usable
	Subtype     string    `json:"subtype"` // lower case
	Params      []Param   `json:"params,omitempty"`
	ID          string    `json:"id,omitempty"`
	Description string    `json:"description,omitempty"`
	Encoding    string    `json:"encoding"` // lower case, "7bit" when absent
	Start       int64     `json:"start"`
	Body        int64     `json:"body"`
	End         int64     `json:"end"`
	Lines       int64     `json:"lines"` // line ends in the body
	MD5         string    `json:"md5,omitempty"`
	Disposition string    `json:"disposition,omitempty"` // lower case
	DispParams  []Param   `json:"dispositionParams,omitempty"`
	Language    []string  `json:"language,omitempty"`
	Location    string    `json:"location,omitempty"`
	Parts       []Part    `json:"parts,omitempty"`    // children of a multipart
	Embedded    *Envelope `json:"embedded,omitempty"` // of a message/rfc822 or message/global part, whose Parts then holds the one root
}

// Size is the body's length in octets, still encoded.
func (p *Part) Size() int64 { return p.End - p.Body }

// Summary is everything about a message that views need, computed once at ingest. It travels in the event, so that rebuilding a view
// reads no blob.
type Summary struct {
	Envelope Envelope `json:"envelope"`
	Root     Part     `json:"root"`
	Preview  string   `json:"preview,omitempty"` // RFC 8970: at most 200 characters of decoded text
	SentAt   int64    `json:"sentAt,omitempty"`  // Unix seconds of the Date field; 0 when it cannot be read
	Keys     []uint64 `json:"-"`                 // thread keys: messages that share one belong together; a message's own is the first

	References []Reference `json:"-"` // of the field of that name; In-Reply-To is not among them
}
