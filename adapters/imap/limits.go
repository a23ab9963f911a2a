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

	Progress time.Duration // between two signs of life of a command that takes long (RFC 9585); default 10 seconds

	Append int64 // octets of one message (RFC 7889); default 100 MiB

	MetadataValue   int   // octets of one annotation (RFC 5464); default 64 KiB
	MetadataEntries int   // annotations of one mailbox, or of the server for one user; default 100
	MetadataOctets  int64 // annotations of one account, entries and values together; default 1 MiB
	Contexts        int   // searches of a session whose results are kept up to date (RFC 5267); default 16
	Owners          int   // whose mailboxes one LIST shows, beside one's own (RFC 4314); default 1,000
	Mailboxes       int   // that one ESEARCH looks through (RFC 7377); default 1,000

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
	fill(&l.Progress, 10*time.Second)
	fill(&l.Append, 100<<20)
	fill(&l.MetadataValue, 64<<10)
	fill(&l.MetadataEntries, 100)
	fill(&l.MetadataOctets, 1<<20)
	fill(&l.Contexts, 16)
	fill(&l.Mailboxes, 1_000)
	fill(&l.Owners, 1_000)
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
