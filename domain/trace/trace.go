// Package trace is what becomes of a message on this installation, step by step: who brought it, what filters did with it, where it lies, where it went and what was answered. Operators ask for it by Message-ID.
//
// A record tells of one step. It is for people, and nothing depends on it: what is true is in the accounts' logs and in the queue.
package trace

import (
	"bytes"
	"cmp"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Event is a sort of step.
type Event string

// The sorts of steps.
const (
	Accepted  Event = "accepted"  // a client brought it, and was told that it is taken
	Refused   Event = "refused"   // a client brought it, and was told why not
	Discarded Event = "discarded" // a client brought it and was told that it is taken, and a milter had nobody get it
	Filtered  Event = "filtered"  // a Sieve script decided
	Delivered Event = "delivered" // a mailbox has it
	Queued    Event = "queued"    // it waits to leave
	Attempt   Event = "attempt"   // it was offered to a peer, or to a mailbox by the queue
	Reported  Event = "reported"  // its sender is told what became of it
	Removed   Event = "removed"   // an operator took it out of the queue
)

// Record is a step. Fields that an event has nothing to say of are empty.
type Record struct {
	At        int64            `json:"at"` // Unix milliseconds
	Node      string           `json:"node,omitempty"`
	Event     Event            `json:"event"`
	MessageID string           `json:"messageId"`
	Transfer  string           `json:"transfer,omitempty"` // the id in the 250 and in the server's log
	Client    string           `json:"client,omitempty"`   // its address
	Login     string           `json:"login,omitempty"`
	Protocol  string           `json:"protocol,omitempty"`
	From      string           `json:"from,omitempty"` // of the envelope
	To        []string         `json:"to,omitempty"`
	Account   domain.AccountID `json:"account,omitempty"`
	Mailbox   domain.MailboxID `json:"mailbox,omitempty"`
	UID       domain.UID       `json:"uid,omitempty"`
	Tx        domain.Tx        `json:"tx,omitempty"`
	Queued    string           `json:"queued,omitempty"` // the id of the entry
	Peer      string           `json:"peer,omitempty"`
	Outcome   string           `json:"outcome,omitempty"` // of an attempt, a filter or a report
	Status    string           `json:"status,omitempty"`  // RFC 3463, or the reply code
	Text      string           `json:"text,omitempty"`
	Took      int64            `json:"took,omitempty"` // milliseconds
	Octets    int64            `json:"octets,omitempty"`
}

// Buckets is how many parts records are kept in, by Message-ID, so that one search reads one part.
const Buckets = 16

// The bounds of what a record tells.
const (
	maxText       = 500
	maxRecipients = 100
)

// Bounded cuts what is too long.
func (r Record) Bounded() Record {
	r.MessageID, r.Text = cut(r.MessageID, maxText), cut(r.Text, maxText)
	if more := len(r.To) - maxRecipients; more > 0 {
		r.To = append(slices.Clone(r.To[:maxRecipients]), "...")
	}
	return r
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

// Normal is the form in which Message-IDs are compared: without angle brackets and what is around them.
func Normal(id string) string {
	id = strings.TrimSpace(id)
	if begin, end := strings.IndexByte(id, '<'), strings.LastIndexByte(id, '>'); begin >= 0 && end > begin {
		id = id[begin+1 : end]
	}
	return cut(id, maxText)
}

// Bucket is where records about a message are kept.
func Bucket(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(Normal(id))) // never fails
	return int(h.Sum32() % Buckets)
}

// Marshal writes records, a line for each.
func Marshal(all []Record) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for i := range all {
		if err := enc.Encode(&all[i]); err != nil {
			return nil, domain.Wrap(domain.Internal, err, "write a record of the trace")
		}
	}
	return b.Bytes(), nil
}

// Find reads the records about a message out of what Marshal wrote.
func Find(text []byte, id string) (all []Record, err error) {
	for line := range bytes.Lines(text) {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, domain.Wrap(domain.Corrupt, err, "read a record of the trace")
		}
		if Normal(r.MessageID) == Normal(id) {
			all = append(all, r)
		}
	}
	return all, nil
}

// Sort puts records into the order of their time.
func Sort(all []Record) {
	slices.SortStableFunc(all, func(a, b Record) int { return cmp.Compare(a.At, b.At) })
}
