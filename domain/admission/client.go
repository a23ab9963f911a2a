package admission

import (
	"strings"

	"github.com/streampost/streampost/domain/authres"
)

// Client is who speaks.
type Client struct {
	ID      string // of the connection, in logs
	Address []byte // 4 or 16 octets
	Helo    string // what it calls itself
}

// Envelope is what is known of a message before it is here.
type Envelope struct {
	Client    *Client
	Opinion   *Opinion // nil where nobody was asked about the client
	Account   string   // of a user who submits it; empty by MX
	Sender    string   // the address in MAIL, in a form by which equal ones are equal; empty for reports
	Recipient string   // likewise, of one recipient
	Asked     *Asked   // what was found out about the message before; nil: nothing is remembered
}

// Asked is what is found out about a message once, for all its recipients.
type Asked struct {
	SPF       authres.Result // empty as long as nobody has asked
	Proved    bool           // it was counted for its network that a client came again
	Forgetful bool           // what greylisting remembers could not be read or written
}

// Refusal is an answer that lets something not pass.
type Refusal struct {
	Code     int    // of RFC 5321 section 4.2.3
	Enhanced [3]int // of RFC 3463
	Text     string // one line of ASCII
	Why      string // in metrics and logs
}

// Opinion is what is known of a client before it has said what it wants.
type Opinion struct {
	Refusal *Refusal         // of all its recipients but postmasters, or nil
	Junk    bool             // what it brings is filed as junk
	Known   bool             // somebody vouches for it
	Methods []authres.Method // for Authentication-Results
	Fields  string           // of the header, each with its CRLF
}

// Subnet is the network of an address that counts as one: its /24, or the /64 of IPv6, where one machine has them all.
func Subnet(address []byte) []byte {
	if len(address) == 4 {
		return address[:3]
	}
	return address[:min(len(address), 8)]
}

// Filtered is a message after programs of others have looked at it.
type Filtered struct {
	Header  []byte   // that goes on in the place of its own
	Refusal *Refusal // of the whole message, or nil
	Junk    bool     // it is filed as junk
	Discard bool     // it is accepted, and goes nowhere
	By      string   // the name of the program that has refused or discarded it
}

// maxText bounds the text of somebody else in a reply: the line has 512 octets (RFC 5321 section 4.5.3.1.5).
const maxText = 240

// Printable makes text of somebody else fit for a reply or a field: one line of printable ASCII, not too long, and empty if there is nothing in it.
func Printable(text string) string {
	var b strings.Builder
	space := false
	for _, r := range text {
		if r <= ' ' || r >= 0x7f {
			space = true
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		if b.WriteRune(r); b.Len() >= maxText {
			break
		}
	}
	return b.String()
}
