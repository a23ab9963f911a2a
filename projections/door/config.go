package door

import (
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
	Append(ctx context.Context, id domain.AccountID, at streams.Position, t *event.Transaction) (streams.Position, error)
	Last(ctx context.Context, id domain.AccountID) (streams.Position, error)
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
}

// Views is what the door needs of the rows that the projectors keep.
type Views interface {
	// Wait returns once the views show a stream up to a position.
	Wait(ctx context.Context, stream string, seq domain.Seq) error
	// Load folds an account's rows into a state, and says at which entry of the account's log it stands. The caller owns the state.
	Load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error)
	// Emails yields rows as Accounts.Emails does, without waiting.
	Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want Columns) iter.Seq2[Email, error]
	// Thread finds the conversation to which any of a message's thread keys leads; 0 if none does.
	Thread(ctx context.Context, id domain.AccountID, s *message.Summary) (domain.ThreadID, error)
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
	Limits Limits
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
	RowsTimeout       time.Duration // of waiting until the view shows what is durable: 30 s
	Passwords         int           // passwords that are hashed at the same time, 19 MiB each: one for each CPU, at least 2
	CachedLogins      int           // logins that need no hashing for a while: 10,000
	CachedLoginTime   time.Duration // that while: 5 min
}

func orElse[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func (c *Config) setDefaults() {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	orElse(&c.Random, rand.Reader)
	orElse(&c.Logger, slog.Default())
	orElse(&c.CacheBytes, 256<<20)
	l := &c.Limits
	orElse(&l.TransactionEvents, 1000)
	orElse(&l.TransactionBytes, 256<<10)
	orElse(&l.ActorBytes, 256)
	orElse(&l.Attempts, 5)
	orElse(&l.Backoff, 10*time.Millisecond)
	orElse(&l.AppendTimeout, 30*time.Second)
	orElse(&l.LoadTimeout, time.Minute)
	orElse(&l.RowsTimeout, 30*time.Second)
	orElse(&l.Passwords, max(2, runtime.GOMAXPROCS(0)))
	orElse(&l.CachedLogins, 10_000)
	orElse(&l.CachedLoginTime, 5*time.Minute)
}

// Stats counts what the doors did since they were opened, for metrics and tests.
type Stats struct {
	Commands     uint64 // calls of Do, the directory's included
	Transactions uint64 // appends tried
	Conflicts    uint64 // decisions and readings that had to be made again
	Loads        uint64 // states loaded
	Evictions    uint64 // states dropped to free memory
	Hot          int    // accounts in memory
	HotBytes     int64  // their estimated size
}

type stats struct{ commands, transactions, conflicts, loads, evictions atomic.Uint64 }
