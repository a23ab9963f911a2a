package managesieve

import (
	"cmp"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain/account"
)

// Limits bounds what clients may cost the server. A zero field means its default.
type Limits struct {
	// Line bounds connections and their pace. Its Idle, the silence between two commands, is 30 minutes by default, the least that RFC 5804 section 1.2 allows
	// after a login.
	Line      netline.Limits
	Login     time.Duration // from the beginning of a connection to its login; default 2 minutes
	Handshake time.Duration // for a TLS handshake; default 30 seconds
	Work      time.Duration // for one command; default 1 minute

	Failures     int           // failed logins before the connection is closed; default 5
	FailureDelay time.Duration // before a failed login is answered, times the number of failures; default 1 second
	BadCommands  int           // commands in a row that make no sense before the connection is closed; default 50, and 5 before login
}

func (l Limits) withDefaults() Limits {
	l.Line.Idle = cmp.Or(l.Line.Idle, 30*time.Minute)
	l.Login = cmp.Or(l.Login, 2*time.Minute)
	l.Handshake = cmp.Or(l.Handshake, 30*time.Second)
	l.Work = cmp.Or(l.Work, time.Minute)
	l.Failures = cmp.Or(l.Failures, 5)
	l.FailureDelay = cmp.Or(l.FailureDelay, time.Second)
	l.BadCommands = cmp.Or(l.BadCommands, 50)
	return l
}

const (
	badBeforeLogin = 5                       // BadCommands for those who have not logged in
	maxLine        = 8 << 10                 // octets of a command between its literals
	maxArguments   = 4                       // of one command
	maxString      = account.MaxScriptOctets // octets of an argument after login
	maxBefore      = 16 << 10                // and before it
	maxDrain       = 4 << 20                 // octets of arguments that are too long and read away, before the connection is closed instead
)
