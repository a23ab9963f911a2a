package queue

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
)

// ID names an entry. It is drawn at random and never used again.
type ID uint64

// String is the form that operators see: 16 hexadecimal digits.
func (id ID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ParseID reads what String writes. Errors: domain.Invalid.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, domain.Errorf(domain.Invalid, "%q is not the id of a queued message: 16 hexadecimal digits", s)
	}
	return ID(n), nil
}

// MarshalText writes an ID.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads one.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// Notify says on which events the sender wants to hear of a recipient (RFC 3461 section 4.1). Zero means what that section says of an absent
// parameter: failure, and delay.
type Notify uint8

// The events.
const (
	OnSuccess Notify = 1 << iota
	OnFailure
	OnDelay
	Never
)

// Wants tells whether the sender wants to hear of an event.
func (n Notify) Wants(event Notify) bool {
	if n == 0 {
		n = OnFailure | OnDelay
	}
	return n&Never == 0 && n&event != 0
}

// String is the value of the parameter; empty when it was absent.
func (n Notify) String() string {
	var all []string
	for i, name := range []string{"SUCCESS", "FAILURE", "DELAY", "NEVER"} {
		if n&(1<<i) != 0 {
			all = append(all, name)
		}
	}
	return strings.Join(all, ",")
}

// Recipient is one address that an entry is for.
type Recipient struct {
	Address  string `json:"address"`            // as delivery.Address writes it
	Original string `json:"original,omitempty"` // ORCPT: type, semicolon, address without encoding
	Notify   Notify `json:"notify,omitempty"`
}

// Entry is a message for recipients of one domain. Times are Unix milliseconds.
type Entry struct {
	ID         ID          `json:"id"`
	Node       string      `json:"node,omitempty"`     // that took the message
	Transfer   string      `json:"transfer,omitempty"` // the id in the 250 and in the log of the server
	MessageID  string      `json:"messageId,omitempty"`
	Login      string      `json:"login,omitempty"` // who submitted it
	Sender     string      `json:"sender"`          // as delivery.Address writes it; empty for the null sender
	Recipients []Recipient `json:"recipients"`      // those without a final answer
	Domain     string      `json:"domain"`          // of the recipients, in lower case and A-labels
	Via        string      `json:"via,omitempty"`   // the host, or host:port, where an operator redirected it
	Blob       Blob        `json:"blob"`
	Skip       int64       `json:"skip,omitempty"`  // octets at the blob's beginning that do not leave: the Return-Path of final delivery
	Head       string      `json:"head,omitempty"`  // fields that are sent in front of it: whom it is sent on for, and its signatures
	Final      bool        `json:"final,omitempty"` // mappings were applied: recipients here are mailboxes
	UTF8       bool        `json:"utf8,omitempty"`  // needs SMTPUTF8
	// Priority is from MinPriority to MaxPriority: of what is due, the higher comes first. Most mail has 0.
	Priority   int8   `json:"priority,omitempty"`
	Junk       bool   `json:"junk,omitempty"` // the policy of its author's domain (DMARC) wants it apart
	Return     string `json:"return,omitempty"`
	EnvelopeID string `json:"envelopeId,omitempty"`
	TLS        string `json:"tls,omitempty"` // what the sender demands of the way (RFC 8689): TLSRequired, TLSOptional or nothing
	Arrived    int64  `json:"arrived"`

	Due      int64  `json:"due"`
	Attempts int    `json:"attempts,omitempty"`
	Unclear  int    `json:"unclear,omitempty"` // attempts whose end nobody wrote down: the peer may have the message
	Last     int64  `json:"last,omitempty"`    // attempt's end
	Error    string `json:"error,omitempty"`   // of the last attempt
	Held     bool   `json:"held,omitempty"`    // by an operator
	// Pledge is set as long as it is open whether the entry counts.
	Pledge *Pledge `json:"pledge,omitempty"`
	Warned bool    `json:"warned,omitempty"` // the sender knows that it takes time

	Shelf      Shelf             `json:"shelf,omitempty"` // where it lies
	Parking    Parking           `json:"parking,omitzero"`
	Attributes map[string]string `json:"attributes,omitempty"` // what processors have noted about it
}

// What a sender may demand of the way.
const (
	TLSRequired = "require" // verified TLS, from one server that promises this to the next
	TLSOptional = "no"      // that the message arrives, whatever the recipient's domain demands
)

// Pledge ties an entry to a transaction of an account: a delivery whose script sends mail puts the entry first, then appends what it does in the account together with a mark, and last says
// here that the entry is kept. Where that is missing because the process died, the mark tells.
type Pledge struct {
	Account domain.AccountID `json:"account"`
	Mark    string           `json:"mark"`
}

// The bounds of priorities, which are those of RFC 6710 section 4.
const (
	MinPriority = -9
	MaxPriority = 9
)

// Blob says where a message lies, in one short word.
type Blob struct{ domain.BlobRef }

// MarshalText writes id, key and size in base64.
func (b Blob) MarshalText() ([]byte, error) {
	raw := binary.BigEndian.AppendUint64(slices.Concat(b.ID[:], b.Key[:]), uint64(b.BlobRef.Size))
	return base64.RawStdEncoding.AppendEncode(nil, raw), nil
}

// UnmarshalText reads what MarshalText writes.
func (b *Blob) UnmarshalText(text []byte) error {
	raw, err := base64.RawStdEncoding.AppendDecode(nil, text)
	if err != nil || len(raw) != len(b.ID)+len(b.Key)+8 {
		return domain.Errorf(domain.Corrupt, "%q says not where a message lies", text)
	}
	n := copy(b.ID[:], raw)
	n += copy(b.Key[:], raw[n:])
	b.BlobRef.Size = int64(binary.BigEndian.Uint64(raw[n:]))
	return nil
}

// Size is how many octets are sent.
func (e *Entry) Size() int64 { return int64(len(e.Head)) + e.Stored() }

// Stored is how many of them lie in the blob.
func (e *Entry) Stored() int64 { return max(e.Blob.Size-e.Skip, 0) }

// maxError bounds the error that is kept of an attempt, in octets.
const maxError = 300

// Place is where an entry's record lies in the queue's stream.
type Place struct {
	Seq   domain.Seq
	Index int // among the records of one message of the stream
}

// Record is one fact of the queue. Exactly one field is set.
type Record struct {
	Put    *Entry  `json:"put,omitempty"`    // new, or carried: written again as it is now
	Claim  *Claim  `json:"claim,omitempty"`  // a node wants to attempt entries
	Lapse  *Lapse  `json:"lapse,omitempty"`  // claims end that nobody will
	Result *Result `json:"result,omitempty"` // what an attempt has done to an entry
	Change *Change `json:"change,omitempty"` // an operator's
	Clear  *Clear  `json:"clear,omitempty"`
}

// Claim is a node's wish to attempt entries. For an entry that another holds, or that lies on another shelf by now, it does not count, and never for one in a repository.
type Claim struct {
	IDs   []ID   `json:"ids"`
	Node  string `json:"node"`
	Boot  string `json:"boot"` // the process: a node knows by it what it had in hand when it died
	At    int64  `json:"at"`
	Until int64  `json:"until"`        // others may claim from then on
	On    *Shelf `json:"on,omitempty"` // where the node saw them; absent in records of the first versions: on whichever queue they are
}

// Lapse frees entries whose attempt had no end: its process died. Who did not die keeps his claim until it runs out.
type Lapse struct {
	IDs  []ID   `json:"ids"`
	Node string `json:"node"`
	Boot string `json:"boot"`
	At   int64  `json:"at"`
}

// Result ends an attempt.
type Result struct {
	ID     ID       `json:"id"`
	Node   string   `json:"node"`
	Boot   string   `json:"boot"`
	At     int64    `json:"at"`
	Done   []string `json:"done,omitempty"` // addresses with a final answer
	Due    int64    `json:"due,omitempty"`  // of the others
	Error  string   `json:"error,omitempty"`
	Warned bool     `json:"warned,omitempty"`
	Tried  bool     `json:"tried,omitempty"` // counts as an attempt; otherwise the entry was put off without one
	Move   *Move    `json:"move,omitempty"`  // what is left goes to another shelf
}

// Change is what an operator does to entries that lie on a shelf; on another one it does not count. Nil fields stay.
type Change struct {
	IDs      []ID    `json:"ids"`
	On       Shelf   `json:"on,omitempty"`
	By       string  `json:"by"`
	At       int64   `json:"at"`
	Held     *bool   `json:"held,omitempty"`
	Due      *int64  `json:"due,omitempty"`
	Via      *string `json:"via,omitempty"`
	Remove   bool    `json:"remove,omitempty"`
	Priority *int8   `json:"priority,omitempty"`
	Keep     bool    `json:"keep,omitempty"` // the pledge is kept: the entry counts
	Move     *Move   `json:"move,omitempty"` // unless it is being attempted
}

// Clear removes every entry that is on a shelf.
type Clear struct {
	By    string `json:"by"`
	At    int64  `json:"at"`
	Shelf Shelf  `json:"shelf,omitempty"`
}

// Marshal writes records as they lie in one message of the stream.
func Marshal(records []Record) ([]byte, error) {
	b, err := json.Marshal(records)
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "write records of the queue")
	}
	return b, nil
}

// Unmarshal reads what Marshal wrote, also in later versions: what it does not know it passes over. Errors: domain.Corrupt.
func Unmarshal(b []byte) (records []Record, err error) {
	if err := json.Unmarshal(b, &records); err != nil {
		return nil, domain.Wrap(domain.Corrupt, err, "read records of the queue")
	}
	return records, nil
}

// Millis is a time as entries have it.
func Millis(t time.Time) int64 { return t.UnixMilli() }
