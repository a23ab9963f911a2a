package imap

import (
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/adapters/netline"
)

// Limits bounds what clients may cost the server. A zero field means its default.
type Limits struct {
	// Line bounds connections and their pace. Its Idle, the silence between two commands or during IDLE, is 30 minutes by default, the least
	// that RFC 9051 section 5.4 allows; Connections is 10,000 and PerAddress 2,000, since many users may come from one webmail server.
	Line      netline.Limits
	Login     time.Duration // from the beginning of a connection to its login; default 2 minutes
	Handshake time.Duration // for a TLS handshake; default 30 seconds
	Work      time.Duration // for one decision or one look at the account; default 1 minute

	Append int64 // octets of one message (RFC 7889); default 100 MiB

	Failures     int           // failed logins before the connection is closed; default 5
	FailureDelay time.Duration // before a failed login is answered, times the number of failures; default 1 second
	BadCommands  int           // commands in a row that break the grammar before the connection is closed; default 50, and 5 before login

	BeforeLogin wire.Limits // of one command; default wire.BeforeLogin
	AfterLogin  wire.Limits // of one command; the defaults are wire's
}

func (l Limits) withDefaults() Limits {
	fill(&l.Line.Idle, 30*time.Minute)
	fill(&l.Line.Connections, 10_000)
	fill(&l.Line.PerAddress, 2_000)
	fill(&l.Login, 2*time.Minute)
	fill(&l.Handshake, 30*time.Second)
	fill(&l.Work, time.Minute)
	fill(&l.Append, 100<<20)
	fill(&l.Failures, 5)
	fill(&l.FailureDelay, time.Second)
	fill(&l.BadCommands, 50)
	fill(&l.BeforeLogin, wire.BeforeLogin)
	return l
}

func fill[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
