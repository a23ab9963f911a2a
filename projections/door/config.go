package door

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"iter"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/streams"
)

// Log is what the door needs of the log of record; see streams.Log for the meaning of each.
type Log interface {
	StreamOf(id domain.AccountID) string
	Create(ctx context.Context, id domain.AccountID) error
	Erase(ctx context.Context, id domain.AccountID) error
	Forget(id domain.AccountID)
	Append(ctx context.Context, id domain.AccountID, at streams.Position, t *event.Transaction) (streams.Position, error)
	Last(ctx context.Context, id domain.AccountID) (streams.Position, error)
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
	AccountSecret(ctx context.Context, id domain.AccountID, purpose string) ([32]byte, error)
}

// Views is what the door needs of the rows that the projectors keep.
type Views interface {
	// Wait returns once the rows of Load, Emails and Digests show an account's log up to a position of its stream.
	Wait(ctx context.Context, id domain.AccountID, seq domain.Seq) error
	// Load folds an account's rows into a state, and says at which entry of the account's log it stands. The caller owns the state. Rows that
	// are wrong are *projections.Damage.
	Load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error)
	// Emails yields rows as Accounts.Emails does, without waiting.
	Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want Columns) iter.Seq2[Email, error]
	// Thread finds the conversation to which any of a message's thread keys leads; 0 if none does. It waits until its rows show the account's
	// stream up to a position: they are not those that Wait is about.
	Thread(ctx context.Context, id domain.AccountID, s *message.Summary, upTo domain.Seq) (domain.ThreadID, error)
	// ThreadKeys gives all thread keys of an account, in no order; nil if there are more than most. It waits as Thread does.
	ThreadKeys(ctx context.Context, id domain.AccountID, most int, upTo domain.Seq) ([]uint64, error)
	// Vanished gives the UIDs that left a mailbox in transactions after since, and whether they are all. It waits as Thread does.
	Vanished(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, since domain.Tx, upTo domain.Seq) (uids domain.UIDSet, complete bool, err error)
	// Scripts reads an account's Sieve scripts, which are no part of what Load gives, and the Tx of their last change. It waits as Thread does.
	Scripts(ctx context.Context, id domain.AccountID, upTo domain.Seq) (account.Scripts, domain.Tx, error)
	// Digests reads those that are kept beside the account's rows, without waiting.
	Digests(ctx context.Context, id domain.AccountID) (account.Digests, error)
	// Granted tells, in no order, whom which account gives rights on a mailbox, once all rows are complete. Errors: domain.Unavailable when ctx ends before.
	Granted(ctx context.Context, f func(who account.Identifier, owner domain.AccountID)) error
	// Mend makes the rows of Load and Emails of one account anew from the log.
	Mend(ctx context.Context, id domain.AccountID) error
	// Drop removes all rows of an account that was erased. Dropping twice is no error.
	Drop(ctx context.Context, id domain.AccountID) error
}

// Blobs is what the door needs of the store of message bytes; see blob.Store.
type Blobs interface {
	Put(ctx context.Context, r io.Reader) (domain.BlobRef, error)
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Config is what the doors are made of. Log, Views and Blobs are needed; the rest has defaults.
type Config struct {
	Log   Log
	Views Views
	Blobs Blobs

	Clock  func() time.Time // time.Now
	Random io.Reader        // crypto/rand; it must serve concurrent readers
	Logger *slog.Logger     // slog.Default()

	// CacheBytes bounds the memory of states that nobody uses or watches at the moment. Zero means 256 MiB.
	CacheBytes int64
	// NewAccount is the quota of accounts that Directory.AddAccount makes.
	NewAccount account.Limits
	// Postmaster is the address that takes mail for postmaster@ a local domain which has no such address, see Directory.Resolve.
	Postmaster string
	// Secret makes up stable SCRAM salts for users who do not exist. It belongs to the installation; without one the salts last as long as
	// the process.
	Secret []byte
	// MinPassword is the fewest characters of a new password that somebody chose, see Directory.CheckPassword; 0 means 8.
	MinPassword int
	// Shared says that other nodes write to the same log, see Accounts.Fresh.
	Shared bool
	// Guessing slows down who guesses passwords.
	Guessing Guessing
	// Gossip makes other nodes count failed logins as well; nil: there are none.
	Gossip Gossip
	// Sessions bounds those of one account.
	Sessions Sessions
	Limits   Limits
}

// Limits bounds what the doors hold and how long they try. Zero fields take the defaults.
type Limits struct {
	TransactionEvents int           // events that commands may gather in one transaction: 1000
	TransactionBytes  int           // their encoded size in octets: 256 KiB
	ActorBytes        int           // the names of those who share a transaction, in octets: 256
	Attempts          int           // how often a request is decided before it is answered with domain.Conflict: 5
	Backoff           time.Duration // the first pause between two attempts is at most this, each next one twice as long: 10 ms
	AppendTimeout     time.Duration // of one append: 30 s
	LoadTimeout       time.Duration // of loading one state: 60 s
	LoadPatience      time.Duration // for rows that are behind, before one goes on without them, such as with a state from the log: 2 s
	RowsTimeout       time.Duration // of waiting until the view shows what is durable: 10 s
	Passwords         int           // passwords that are hashed at the same time, 19 MiB each: one for each CPU, at least 2
	CachedLogins      int           // logins that need no hashing for a while: 10,000
	CachedLoginTime   time.Duration // that while: 5 min
}

func (c *Config) setDefaults() {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Random = cmp.Or(c.Random, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.CacheBytes = cmp.Or(c.CacheBytes, 256<<20)
	c.MinPassword = cmp.Or(c.MinPassword, 8)
	c.Sessions.setDefaults()
	l := &c.Limits
	l.TransactionEvents = cmp.Or(l.TransactionEvents, 1000)
	l.TransactionBytes = cmp.Or(l.TransactionBytes, 256<<10)
	l.ActorBytes = cmp.Or(l.ActorBytes, 256)
	l.Attempts = cmp.Or(l.Attempts, 5)
	l.Backoff = cmp.Or(l.Backoff, 10*time.Millisecond)
	l.AppendTimeout = cmp.Or(l.AppendTimeout, 30*time.Second)
	l.LoadTimeout = cmp.Or(l.LoadTimeout, time.Minute)
	l.LoadPatience = cmp.Or(l.LoadPatience, 2*time.Second)
	l.RowsTimeout = cmp.Or(l.RowsTimeout, 10*time.Second)
	l.Passwords = cmp.Or(l.Passwords, max(2, runtime.GOMAXPROCS(0)))
	l.CachedLogins = cmp.Or(l.CachedLogins, 10_000)
	l.CachedLoginTime = cmp.Or(l.CachedLoginTime, 5*time.Minute)
}

// Stats counts what the doors did since they were opened, for metrics and tests.
type Stats struct {
	Commands     uint64 // calls of Do, the directory's included
	Transactions uint64 // appends tried
	Conflicts    uint64 // decisions and readings that had to be made again
	Loads        uint64 // states loaded
	Evictions    uint64 // states dropped to free memory
	Mended       uint64 // accounts whose rows were found wrong while they were loaded, and made anew
	Hot          int    // accounts in memory
	HotBytes     int64  // their estimated size
}

type stats struct{ commands, transactions, conflicts, loads, evictions, mended atomic.Uint64 }
