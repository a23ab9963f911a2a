package sieve

import (
	"errors"
	"strings"
	"time"

	"github.com/streampost/streampost/domain/delivery"
)

// Context is what a script meets of the world. Nil functions stand for a world without what they tell of.
type Context struct {
	Message Message
	From    delivery.Address // of the envelope; null for a bounce
	To      delivery.Address // of the envelope, as the sender gave it
	Now     time.Time        // in the zone of the server

	MailboxExists func(name string) bool
	ByID          func(id string) bool               // RFC 9042: a mailbox has this MAILBOXID
	SpecialUse    func(mailbox, use string) bool     // RFC 8579: a mailbox, or any when it is "", has this use
	Include       func(name string) (*Script, error) // RFC 6609; a nil Script means that there is none
	Environment   func(item string) (string, bool)   // RFC 5183
	Seen          func(kind, name string) bool       // what an earlier run has had remembered, and not for too long
	Own           func(address string) bool          // the account has this address
	Answered      func() bool                        // the account has given as many answers as it may for now

	Quiet string // why this message makes no mail leave; empty where it may

	Done <-chan struct{} // closed when the run has had its time, as that of a context.Context; nil for never
}

// Kind is what an Action does.
type Kind string

// The kinds of actions. Discard is no action.
const (
	Keep     Kind = "keep" // file into INBOX, or wherever mail goes without a script
	File     Kind = "fileinto"
	Reject   Kind = "reject"
	Redirect Kind = "redirect" // send the message to Address
	Vacation Kind = "vacation" // send Letter
	Notify   Kind = "notify"   // send Letter
)

// Action is something that is to be done with the message.
type Action struct {
	Kind Kind `json:"action"`

	// Of Keep and File: where to. MailboxID, then SpecialUse, and then Mailbox is tried. A place that does not exist is INBOX.
	Mailbox    string   `json:"mailbox,omitempty"`
	MailboxID  string   `json:"mailboxId,omitempty"`
	SpecialUse string   `json:"specialUse,omitempty"`
	Create     bool     `json:"create,omitempty"` // make the mailbox if it does not exist
	Flags      []string `json:"flags,omitempty"`

	// Header is what the header became by editheader, with the empty line; nil if it stays.
	Header *string `json:"header,omitempty"`

	Reason  string  `json:"reason,omitempty"`  // of Reject
	Address string  `json:"address,omitempty"` // of Redirect, as delivery.Address writes it
	Letter  *Letter `json:"letter,omitempty"`  // of Vacation and Notify
}

// Sends tells whether the action makes mail that leaves.
func (a *Action) Sends() bool { return a.Kind == Redirect || a.Kind == Vacation || a.Kind == Notify }

// Outcome is what a run comes to.
type Outcome struct {
	Actions []Action `json:"actions"` // none: the message is discarded
	// Err is why the script did not end well; the actions are then one keep. It is an *Error where a place in the script is to blame.
	Err      error      `json:"-"`
	Steps    int        `json:"steps"` // what the run cost
	Remember []Remember `json:"remember,omitempty"`
	Notes    []string   `json:"notes,omitempty"` // why something that the script says was not done
}

// Inbox is where keep files a message (RFC 5228 section 4.3).
const Inbox = "INBOX"

// Run runs a script on one message.
func (s *Script) Run(ctx *Context) (out Outcome) {
	m := &machine{ctx: ctx, keep: true, left: maxSteps, global: map[string]string{}, own: map[string]bool{}, once: map[string]bool{}, used: map[string]bool{}, programs: s.programs}
	m.header.message = &ctx.Message
	m.frame = newFrame()
	err := m.steps(s.body)
	if err == errStop || err == errReturn {
		err = nil
	}
	if err == nil {
		err = m.finish()
	}
	if err == nil { // The last action may not be paid for, and what is asked of the world when time is over has no answer.
		if err = m.spend(Position{1, 1}, 0); err == nil {
			err = m.inTime(Position{1, 1})
		}
	}
	out.Steps = maxSteps - max(m.left, 0)
	if out.Actions, out.Err = m.actions, err; err != nil {
		out.Actions = []Action{{Kind: Keep, Mailbox: Inbox}} // RFC 5228 section 2.10.6.
		return out
	}
	out.Remember, out.Notes = m.remember, m.notes
	return out
}

// How a script ends early.
var (
	errStop   = errors.New("stop")
	errReturn = errors.New("return")
)

// machine is one run.
type machine struct {
	ctx     *Context
	keep    bool // the implicit keep still holds
	actions []Action
	left    int // steps
	frame   *frame
	global  map[string]string
	match   []string // of the last :matches or :regex (RFC 5229 section 3.2)
	header  header
	once    map[string]bool // scripts that were included
	depth   int             // of inclusion
	count   int             // inclusions

	programs  int             // of the regular expressions of all scripts so far
	used      map[string]bool // scripts that count there, by name
	remember  []Remember
	notes     []string
	vacations int
	own       map[string]bool // addresses that were asked about
	withheld  bool            // a redirect was not done, see withhold
}

// frame is what belongs to one script, included or not: its variables and flags (RFC 6609 section 3.4).
type frame struct {
	vars   map[string]string
	global map[string]bool // names that mean global variables
	flags  []string        // RFC 5232 section 2: the internal variable
}

func newFrame() *frame { return &frame{vars: map[string]string{}, global: map[string]bool{}} }

// stepsBetweenLooks is how often a run looks whether it has had its time.
const stepsBetweenLooks = 64

// spend pays for work: one step for each command and test, one for each 64 octets that are compared or copied, and one for each KiB that is read.
func (m *machine) spend(at Position, steps int) error {
	before := m.left / stepsBetweenLooks
	if m.left -= steps; m.left < 0 {
		return at.errorf("the script takes more than %d steps", maxSteps)
	}
	if m.left/stepsBetweenLooks != before {
		return m.inTime(at)
	}
	return nil
}

// inTime fails when the run has had its time.
func (m *machine) inTime(at Position) error {
	select {
	case <-m.ctx.Done:
		return at.errorf("the script takes too long")
	default:
		return nil
	}
}

func (m *machine) steps(body []step) error {
	for _, s := range body {
		if err := s(m); err != nil {
			return err
		}
	}
	return nil
}

// file adds a delivery. Two into one mailbox are one, with the flags of the last (RFC 5228 section 2.10.3).
func (m *machine) file(at Position, a Action) error {
	a.Header = m.header.edited()
	for i := range m.actions {
		b := &m.actions[i]
		if (b.Kind == Keep || b.Kind == File) && strings.EqualFold(b.Mailbox, a.Mailbox) && b.MailboxID == a.MailboxID && b.SpecialUse == a.SpecialUse {
			m.actions[i] = a
			return nil
		}
	}
	return m.add(at, a)
}

func (m *machine) add(at Position, a Action) error {
	if len(m.actions) == maxActions {
		return at.errorf("a script does at most %d things with a message", maxActions)
	}
	m.actions = append(m.actions, a)
	return nil
}

// finish does the implicit keep, and checks that refusals stand alone (RFC 5429 section 2.1).
func (m *machine) finish() error {
	if m.keep || m.withheld && len(m.actions) == 0 {
		if err := m.file(Position{1, 1}, Action{Kind: Keep, Mailbox: Inbox, Flags: m.frame.flags}); err != nil {
			return err
		}
	}
	for _, a := range m.actions {
		if a.Kind == Reject && len(m.actions) > 1 { // RFC 5230 section 4.7 says so of vacation.
			return errors.New("a message cannot be refused and anything else be done, nor be refused twice")
		}
	}
	return nil
}
