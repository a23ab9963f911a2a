package authres

import (
	"io"

	"github.com/streampost/streampost/domain/delivery"
)

// Result is the outcome of a method.
type Result string

// The results of RFC 8601 section 2.7 that are in use here.
const (
	None      Result = "none"      // there is nothing to check
	Pass      Result = "pass"      // it is as it says
	Fail      Result = "fail"      // it is not
	SoftFail  Result = "softfail"  // it probably is not (SPF)
	Neutral   Result = "neutral"   // nothing can be said
	Policy    Result = "policy"    // it would pass, but not here: the signature is too weak, say
	TempError Result = "temperror" // cannot be told now
	PermError Result = "permerror" // can never be told: a record is malformed
)

// Method is what one method found.
type Method struct {
	Name       string // spf, dkim, dmarc
	Result     Result
	Reason     string // for people; may be empty
	Properties []Property
}

// Property is what the method looked at, such as smtp.mailfrom or header.d.
type Property struct{ Type, Name, Value string }

// Arrival is a message of which the last octet is here, and that nobody has yet.
type Arrival struct {
	ID      string // names the transfer in the log
	Address string // the client's IP address as text
	Helo    string // what it called itself
	Sender  delivery.Address
	Known   []Method                      // what was found out before, to be told with the rest
	Header  []byte                        // as it came, without the empty line behind it
	Rest    func() (io.ReadCloser, error) // what follows, which begins with that line
}

// Action is what shall become of a message.
type Action uint8

// The actions.
const (
	Accept Action = iota
	Junk          // it is accepted, and goes to the mailbox for such mail
	Refuse
	Later // it cannot be told now, and the client shall come again
)

var actions = [...]string{"accept", "junk", "refuse", "later"}

func (a Action) String() string { return actions[a] }

// Verdict is what was found out about an Arrival.
type Verdict struct {
	Top     string // the fields to be put in front
	Header  []byte // that goes on in place of Arrival.Header
	Action  Action
	Because string // the method that decided so, spf or dmarc; empty for Accept
}
