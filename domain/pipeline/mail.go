package pipeline

import (
	"maps"
	"slices"

	"github.com/streampost/streampost/domain/queue"
)

// Mail is a message on its way through the processors.
type Mail struct {
	Sender     string   // an address; empty for the null sender
	Recipients []string // addresses
	Size       int64    // octets
	Junk       bool     // the policy of its author's domain (DMARC) wants it apart
	Login      string   // who submitted it; empty when nobody logged in
	// RemoteAddress and RemoteHost are where it came from.
	RemoteAddress, RemoteHost string
	Attributes                map[string]string
	Edits                     []Edit            // of the header, in the order in which they were made
	Origins                   map[string]string // in whose place recipients came that answers gave, by their keys (delivery.Address.Key); replaced as a whole

	Processor string // where it is; empty: at the beginning
	Step      int    // of the processor
	Visited   int    // processors so far
}

// Attributes that have a meaning.
const (
	AttributeError  = "error"          // what went wrong before it came to this processor
	AttributeDetail = "error-detail"   // the same for operators: it may name servers and files here, and does not leave in reports
	AttributeServer = "sent-by-server" // it was made here: a report, or what an action sent
	AttributeSent   = "sent-on"        // how many actions sent it on, one after the other. Steps and hooks cannot change it
)

// with is the mail for some of its recipients.
func (m *Mail) with(recipients []string) *Mail {
	c := *m
	c.Recipients, c.Attributes, c.Edits = slices.Clone(recipients), maps.Clone(m.Attributes), slices.Clip(m.Edits)
	return &c
}

// World tells what a Program cannot know. Errors say that it cannot be told now.
type World interface {
	LocalDomain(name string) bool
	// LocalRecipient tells whether an address is somebody's here.
	LocalRecipient(address string) (bool, error)
	// InNetwork tells whether an IP address is in one of some networks.
	InNetwork(address string, networks []string) bool
	// Header gives the header of the message as it came, without the empty line.
	Header() (string, error)
}

// Kind is a kind of effect.
type Kind uint8

// The kinds.
const (
	Deliver Kind = iota // to mailboxes here, or to other servers: by the queue
	Park                // in Repository
	Drop                // nothing
	Bounce              // a report to the sender that the recipients failed
	Send                // another message of the mail's content: the mail that the effect has is new, and begins at the beginning. It ends nobody
	Call                // of a custom step or hook: the mail waits at its step for the answer, see Program.Answer
	Retry               // later, at its step
	Log                 // a line. It ends nobody
)

var kindNames = [...]string{"deliver", "park", "drop", "bounce", "send", "call", "retry", "log"}

// String names a kind.
func (k Kind) String() string { return kindNames[k] }

// Effect is something to be carried out for the recipients of Mail.
type Effect struct {
	Kind Kind
	Mail *Mail

	Repository string // Park
	Cause      string // Park: the code
	Text       string // Park, Bounce, Retry, Log: for people
	Status     string // Bounce: RFC 3463
	Call       *Step  // Call: the step

	For    []string     // Send: whose place its recipients take, so that what the sender has asked for goes on with them; empty: nobody's
	Notify queue.Notify // Send: on which events its sender wants to hear, where the recipients take nobody's place
}

// Trace is one step that recipients came to.
type Trace struct {
	Processor string   `json:"processor"`
	Step      int      `json:"step"`
	Line      string   `json:"line"`
	Matched   []string `json:"matched"`
	Others    []string `json:"others,omitempty"`
	Error     string   `json:"error,omitempty"`
}
