package smtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
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

// Directory is what this package needs of door.Directory.
type Directory interface {
	LocalDomain(name string) bool
	Resolve(ctx context.Context, address string) (id domain.AccountID, detail string, err error)
	Authenticate(ctx context.Context, login, password string) (door.Identity, error)
	Scram(ctx context.Context, login string) (door.Identity, event.ScramKeys, error)
}

// Config is what a Server works with. Accounts, Directory and Hostname are needed.
type Config struct {
	Accounts  Accounts
	Directory Directory
	Hostname  string      // in the greeting and in Received
	TLS       *tls.Config // nil: no STARTTLS, and no implicit TLS

	PlaintextOnLoopback bool // clients on this machine may log in without TLS
	QuotaTemporary      bool // a full mailbox is 452 4.2.2 instead of 552 5.2.2: senders try again for days
	Limits              Limits

	Logger    *slog.Logger // nil means slog.Default
	Metrics   Metrics
	Failpoint func(name string) // called with "smtp.before-reply" after a delivery is durable; nil in production
}

// Limits bound what clients can use up. A zero field means its default.
type Limits struct {
	Line    netline.Limits  // connections, silence and slowness, for each listener
	Content delivery.Limits // the bytes of a message

	Recipients    int           // of one message; 1,000 (RFC 5321 section 4.5.3.1.8 demands 100)
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
	Delivered func(recipients int, octets int64, took time.Duration) // a message is durable in that many mailboxes; took counts from the end of the bytes
}
