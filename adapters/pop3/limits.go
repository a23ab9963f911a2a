package pop3

import (
	"cmp"
	"time"

	"github.com/streampost/streampost/adapters/netline"
)

// Limits bounds what clients may cost the server. A zero field means its default.
type Limits struct {
	// Line bounds connections and their pace. Its Idle, the silence between two commands, is 10 minutes by default, the least that RFC 1939
	// section 3 allows.
	Line      netline.Limits
	Login     time.Duration // from the beginning of a connection to its login; default 2 minutes
	Handshake time.Duration // for a TLS handshake; default 30 seconds
	Work      time.Duration // for one look at the account, or for its change at QUIT; default 1 minute

	Command int // octets of a command line, its line end aside; default 512, where RFC 2449 section 4 wants 253

	Failures     int           // failed logins before the connection is closed; default 5
	FailureDelay time.Duration // before a failed login is answered, times the number of failures; default 1 second
	BadCommands  int           // commands in a row that make no sense before the connection is closed; default 50, and 5 before login
}

func (l Limits) withDefaults() Limits {
	l.Line.Idle = cmp.Or(l.Line.Idle, 10*time.Minute)
	l.Login = cmp.Or(l.Login, 2*time.Minute)
	l.Handshake = cmp.Or(l.Handshake, 30*time.Second)
	l.Work = cmp.Or(l.Work, time.Minute)
	l.Command = cmp.Or(l.Command, 512)
	l.Failures = cmp.Or(l.Failures, 5)
	l.FailureDelay = cmp.Or(l.FailureDelay, time.Second)
	l.BadCommands = cmp.Or(l.BadCommands, 50)
	return l
}

const (
	// badBeforeLogin is BadCommands for those who have not logged in.
	badBeforeLogin = 5
	// maxResponse bounds one line of a SASL exchange, in base64.
	maxResponse = 16 << 10
	// maxDiscard is how much of a line that is too long is read away before the connection is closed instead.
	maxDiscard = 64 << 10
	// streamBuffer is how much of a message is in memory while it is sent. Damage within the first buffer is answered with -ERR; further on it ends
	// the connection, since what was begun cannot be taken back.
	streamBuffer = 64 << 10
)
