package smtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/batv"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/domain/srs"
	"github.com/streampost/streampost/domain/trace"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/projections/outgoing"
)

// Kind is what a listener is for.
type Kind uint8

// The kinds of listener.
const (
	MX         Kind = iota // mail from anybody, for local addresses
	Submission             // mail from users who log in (RFC 6409)
	LMTP                   // mail from a local mail server (RFC 2033)
)

var kindNames = [...]string{"smtp", "submission", "lmtp"}

func (k Kind) String() string { return kindNames[k] }

// Accounts is what this package needs of door.Accounts.
type Accounts interface {
	Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error)
	View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error
	Ingest(ctx context.Context, r io.Reader) (door.Stored, error)
	Thread(ctx context.Context, id domain.AccountID, s *message.Summary) (domain.ThreadID, error)
}

// Filer is what this package needs of filing.Filer.
type Filer interface {
	Deliver(ctx context.Context, id domain.AccountID, actor string, m filing.Mail) error
}

// Directory is what this package needs of door.Directory.
type Directory interface {
	LocalDomain(name string) bool
	Resolve(ctx context.Context, address string) (id domain.AccountID, detail string, err error)
	Rewrite(ctx context.Context, a delivery.Address) (*rewriting.Resolution, error)
	sasl.Directory
	Enter(ctx context.Context, who door.Identity, end func()) (leave func(), err error)
}

// Queue is outgoing.Worker.
type Queue interface {
	Accept(ctx context.Context, m *outgoing.Mail) error
}

// Parking keeps mail that cannot be delivered until an operator has looked at it.
type Parking interface {
	// Park is done when the message is durable in the repository. Its recipients are those of RCPT.
	Park(ctx context.Context, repository string, e *queue.Entry, cause string) error
}

// Pipeline is processing.Processor.
type Pipeline interface {
	Accept(ctx context.Context, e *queue.Entry, local map[string]bool) (taken bool, err error)
}

// Config is what a Server works with. Accounts, Directory and Hostname are needed.
type Config struct {
	Accounts     Accounts
	Directory    Directory
	Hostname     string      // in the greeting and in Received
	Filer        Filer       // nil: no recipient has a Sieve script
	TLS          *tls.Config // nil: no STARTTLS, and no implicit TLS
	Tokens       sasl.Tokens // nil: no access tokens are taken
	Queue        Queue       // takes what users send to others, and what is sent on; nil: such recipients are refused
	BATV         batv.Secret // takes marks off recipients that were senders here; empty: there are none
	CheckBounces bool        // refuses reports by MX to recipients without a mark
	SRS          srs.Secret  // rewrites the sender of what is sent on; empty: it stays
	Parking      Parking     // takes mail for recipients whose mappings go round in a loop; nil: they are refused
	Pipeline     Pipeline    // decides what becomes of messages; nil: they are delivered
	CheckFrom    bool        // users may have addresses of their own account in From and Sender only

	Gate     Gate                                        // says who may bring mail by MX and submission, and how much; nil: everybody, as he likes
	Filter   func(c *admission.Client, id string) Filter // begins to look at a message by MX; nil: nobody looks
	Verifier Verifier                                    // of what comes by MX; nil: nothing is verified
	Results  string                                      // the name of this server in Authentication-Results: users send no such field; empty: they may
	Trusted  []netip.Prefix                              // where it comes from unverified, and nobody is asked about the client
	Spool    string                                      // the directory for large messages that are being verified, and nothing else; empty: that of the system for such files
	InMemory int64                                       // octets of a message that are in memory meanwhile; 0 means 64 KiB

	PlaintextOnLoopback bool // clients on this machine may log in without TLS
	QuotaTemporary      bool // a full mailbox is 452 4.2.2 instead of 552 5.2.2: senders try again for days
	Limits              Limits
	Proxies             []netip.Prefix // see netline.Config

	Logger    *slog.Logger // nil means slog.Default
	Metrics   Metrics
	Trace     func(trace.Record) // is told what became of each message; nil tells nobody
	Failpoint func(name string)  // called with "smtp.before-reply" after a delivery is durable; nil in production
}

// Limits bound what clients can use up. A zero field means its default.
type Limits struct {
	Line    netline.Limits  // connections, silence and slowness, for each listener
	Content delivery.Limits // the bytes of a message

	Recipients    int           // of one message; 1,000 (RFC 5321 section 4.5.3.1.8 demands 100)
	Copies        int           // of one message, with all the members of the groups that are named; 20,000
	BadRecipients int           // refused recipients on one connection; 100. Then it is closed, which slows down guessing
	AuthFailures  int           // failed logins on one connection; 3. Then it is closed
	AuthDelay     time.Duration // pause after a failed login, doubled each time; 1 second
	Replies       int           // lines of reply on one connection since the last accepted message; 10,000. Then it is closed
	Work          time.Duration // how long the server itself may work on a command; 1 minute
	Parallel      int           // accounts of one message that are written at the same time; 32
	Remembered    int           // half-delivered messages that are remembered; 1,000
	RememberFor   time.Duration // for how long; 24 hours
}

func (l Limits) withDefaults() Limits {
	if l.Content.Message == 0 {
		l.Content.Message = 50 << 20
	}
	if l.Content.Line == 0 {
		l.Content.Line = 64 << 10
	}
	l.Recipients = cmp.Or(l.Recipients, 1000)
	l.Copies = cmp.Or(l.Copies, 2*rewriting.MaxTargets)
	l.BadRecipients = cmp.Or(l.BadRecipients, 100)
	l.AuthFailures = cmp.Or(l.AuthFailures, 3)
	l.AuthDelay = cmp.Or(l.AuthDelay, time.Second)
	l.Replies = cmp.Or(l.Replies, 10_000)
	l.Work = cmp.Or(l.Work, time.Minute)
	l.Parallel = cmp.Or(l.Parallel, 32)
	l.Remembered = cmp.Or(l.Remembered, 1000)
	l.RememberFor = cmp.Or(l.RememberFor, 24*time.Hour)
	return l
}

// Metrics are told what happens. Each function may be nil; all may be called at the same time.
type Metrics struct {
	Opened    func()                                                 // a connection was accepted
	Closed    func()                                                 // and closed
	Limited   func()                                                 // or refused because of a limit
	Login     func(ok bool)                                          // an AUTH exchange ended
	Refused   func(code int)                                         // a sender, a recipient, a login or a message was refused with this reply code
	Gated     func(why string)                                       // and that was by the gate
	Looped    func(found string)                                     // a recipient's mail goes round: by its "mappings", or between "servers"
	Delivered func(recipients int, octets int64, took time.Duration) // a message is durable in that many mailboxes, or in the queue; took counts from the end of the bytes
}
