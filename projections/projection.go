// Package projections turns the log into views: rows that answer questions. A projection is the rule, a projector is the goroutine that
// applies the rules of one stream, a view is the rows.
//
// The rows of one projection in one stream are a generation. Readers see the live one. A rebuild, a new version of the rule or a damaged file
// fills another generation beside it, which is switched in when it has caught up, so nobody ever reads rows that are half made.
//
// Invariants:
//   - The log is the only truth. Every row follows from entries; deleting all rows and replaying gives equal rows, whatever the batches were.
//   - Rows and head commit together. An entry at or below a generation's head is not applied again, and an entry is never skipped.
//   - Each account's transactions are dense and chained by hash (see Link). A gap, a repetition or a changed entry stops all projections of its
//     stream in a visible state; it is never passed over. What only one projection cannot apply stops only that one.
//   - One goroutine at a time writes a generation. Switching, mending and erasing run on the goroutine of the group, between batches.
//   - A reader never holds a writer up: it reads a committed state, for a bounded time.
//
// Projections see the view store as Tx, and read it as Reader; adapters/sqlview implements both. Statements use $1 placeholders and the SQL
// that SQLite and Postgres share.
package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/streams"
)

// Scope says which streams a projection reads.
type Scope uint8

// The scopes.
const (
	AccountStreams  Scope = iota // every stream of accounts
	DirectoryStream              // the directory's
	TaskStream                   // that of tasks
)

// Projection is a rule that folds entries into rows.
type Projection interface {
	// Name is unique and names the definition in package migrations. It has no dot.
	Name() string
	// Version counts changes of the rule or its tables, from 1. Rows of another version are not read: a generation of this one is made.
	Version() int
	Scope() Scope
	// Tables lists what the projection owns, for comparing and dropping. The first key column of a table of accounts is account.
	Tables() []Table
	// Begin starts the work of one SQL transaction.
	Begin(ctx context.Context, tx Tx) (Batch, error)
}

// Apart is implemented by projections that may be slow: they follow the log in a group of their own, and Runner.Wait does not wait for them.
type Apart interface{ Apart() bool }

// Optional is implemented by projections without which mail is served, if less well: their rows may be dropped.
type Optional interface{ Optional() bool }

// Deferring is implemented by projections that leave a part of some accounts' rows for later, on this node. What a comparison with the log finds in those is
// no difference.
type Deferring interface {
	Defers(id domain.AccountID) bool
}

// Table names a table and the columns of its primary key, in order.
type Table struct {
	Name   string
	Key    []string
	Secret []string // columns that no report shows
	Tx     string   // the column that holds the Tx which last wrote the row; empty if there is none
	// Wrong is an SQL condition on the rows of what is no table but tells of others: they count in no digest while it is false.
	Wrong string
	// Summed says that other rows of the projection hold digests of these, so that they count in those (Summer).
	Summed bool
}

// Summer is implemented by projections with tables that are Summed.
type Summer interface {
	// Missum tells by how much digests of rows are off in the rows that hold them, for each account of which any is; of one account, or of all when
	// id is empty. It tells how many rows it read.
	Missum(ctx context.Context, r Reader, id domain.AccountID) (off map[string]account.Digest, rows int64, err error)
}

// Batch folds entries within one SQL transaction. It may keep rows in memory until Flush.
type Batch interface {
	// Apply folds an entry. An erased entry removes the account's rows. Errors: domain.Corrupt when the entry contradicts those before it;
	// *Damage, also from Flush, when the rows do.
	Apply(ctx context.Context, e *streams.Entry) error
	// Remove deletes what was ever readable of an account, as an erased entry does.
	Remove(ctx context.Context, id domain.AccountID) error
	// Flush writes what Apply kept.
	Flush(ctx context.Context) error
}

// Tx is a write transaction on a view. Arguments and values are int64, string, []byte and nil. After a statement failed the transaction can
// only be given up: return the error. Errors: domain.Exists for a duplicate key, domain.Unavailable.
type Tx interface {
	// Exec runs a statement and tells how many rows it changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
	// Each runs a statement once for every row of arguments, in order, and tells how many rows each run changed.
	Each(ctx context.Context, query string, rows [][]any) (changed []int64, err error)
	// Insert adds rows to a table. The store may do it in any order. Rows of one account stand together. Errors: *Duplicate for a duplicate key of an account.
	Insert(ctx context.Context, table string, columns []string, rows [][]any) error
	// Merge adds rows of different keys to a table; what stands behind ON CONFLICT says what becomes of those whose key is there already.
	Merge(ctx context.Context, table string, columns []string, rows [][]any, conflict string) error
	// Amend has f put others in the place of the numbers that columns of the rows with some keys hold; f gets each place in keys once, in any order, and
	// must not use the transaction. Keys are different and rise; their last value is a number. When no row has one of them nothing is changed, and
	// missing is its place; otherwise it is -1.
	Amend(ctx context.Context, table string, key, columns []string, keys [][]any, f func(place int, numbers []int64)) (missing int, err error)
	// Copy adds rows as Insert does, but their account's digest does not follow (Digests): whoever copies rows knows it, and says so by Restart.
	Copy(ctx context.Context, table string, columns []string, rows [][]any) error
	// Restart begins the digest of an account's rows anew, at that of rows which are copied, and at 0 where none are: of rows whose place others take, nobody
	// knows what was counted.
	Restart(ctx context.Context, id string, at account.Digest) error
}

// Reader reads committed rows.
type Reader interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	// Snapshot runs f on one state of the view, which commits meanwhile do not change. f must be brief: it holds one of few connections.
	Snapshot(ctx context.Context, f func(Reader) error) error
}

// Generation names one set of rows of a projection in a stream. Numbers begin at 1.
type Generation struct {
	Stream, Projection string
	Number             int
}

func (g Generation) String() string { return fmt.Sprintf("%s.%s.%d", g.Stream, g.Projection, g.Number) }

// View is the rows of one generation: the projection's tables; the table head with its one row (columns version, ready, seq, at, counted), all 0 at
// first; and the table Digests.
type View interface {
	Reader
	// Update runs f in a write transaction, which commits when f returns nil. Errors of the store are domain.Unavailable.
	Update(ctx context.Context, f func(Tx) error) error
	// Scrub returns once nothing of deleted rows is left in the store's files, those taken aside included.
	Scrub(ctx context.Context) error
}

// ErrDamaged is in the chain of every error that says that a view's rows cannot be read or written any more, whatever is tried.
var ErrDamaged = errors.New("the view is damaged")

// Views is the view store of this node.
type Views interface {
	// Generations lists all that the store has, in no order.
	Generations(ctx context.Context) ([]Generation, error)
	// Open gives a generation, made with its empty tables when it is not there. The same View is given until it is dropped. Errors:
	// domain.Corrupt with ErrDamaged when it cannot be read.
	Open(ctx context.Context, g Generation) (View, error)
	// Copy makes a generation that holds what another holds at one committed state, but is of version 0 and not ready: whoever finds it after a crash
	// cannot know what it was made for. Errors: domain.Exists.
	Copy(ctx context.Context, from, to Generation) error
	// Drop deletes a generation; one that is not there is no error. Queries and snapshots that run go on to their end, later ones get
	// domain.Unavailable.
	Drop(ctx context.Context, g Generation) error
	// Aside drops a damaged generation, but keeps what is left of it for inspection where that is possible.
	Aside(ctx context.Context, g Generation) error
	// Scratch makes empty tables of a projection that live until release is called, for comparing.
	Scratch(ctx context.Context, projection string) (v View, release func(), err error)
	// Size tells how many octets a generation takes; 0 when it is not there.
	Size(ctx context.Context, g Generation) (int64, error)
}

// Log is the log of record, as far as projectors read it; *streams.Log is one.
type Log interface {
	// Streams names every stream, the directory's first.
	Streams() []string
	StreamOf(id domain.AccountID) string
	// Head is the last durable position of a stream, Last that of an account.
	Head(ctx context.Context, stream string) (domain.Seq, error)
	// Reaches makes sure that a stream has what was read of it before: domain.Corrupt says that it has lost that, domain.Unavailable that nobody knows.
	Reaches(ctx context.Context, stream string, after domain.Seq) error
	Last(ctx context.Context, id domain.AccountID) (streams.Position, error)
	// Follow calls f with batches of durable entries after a position, in order and without gaps, until ctx ends or f fails.
	Follow(ctx context.Context, stream string, after domain.Seq, f func([]streams.Entry) error) error
	// Read yields the entries of a stream after one position up to and including another.
	Read(ctx context.Context, stream string, after, upTo domain.Seq) iter.Seq2[streams.Entry, error]
	// ReadAccount yields an account's entries after a position up to its present end.
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
}

// ErrLog is in the chain of every error that says that the log itself is wrong, so that no projection can go beyond it.
var ErrLog = errors.New("the log is not what was written")

// Link checks that an entry follows directly on the position that its account's log had reached: the next Tx, chained to the last hash.
// Errors: domain.Corrupt with ErrLog, naming account and Tx.
func Link(last streams.Position, e *streams.Entry) error {
	var what string
	switch {
	case e.Tx != last.Tx+1:
		what = fmt.Sprintf("follows transaction %d", last.Tx)
	case e.Prev != last.Hash:
		what = "is not chained to the one before it"
	case e.Seq <= last.Seq:
		what = "lies before its predecessor"
	default:
		return nil
	}
	err := domain.Errorf(domain.Corrupt, "log of account %s: transaction %d at position %d %s", e.Account, e.Tx, e.Seq, what)
	err.Err = ErrLog
	return err
}

// Damage is the error of a Batch that finds the view, not the log, to be wrong: a row that an earlier entry must have made is missing, or one is
// there that none can have made. The runner makes the account's rows anew and tries once more.
type Damage struct {
	Account domain.AccountID
	What    string
}

func (d *Damage) Error() string { return fmt.Sprintf("view of account %s: %s", d.Account, d.What) }

// Duplicate is the error of Tx.Insert for a row of an account whose key another has. It is domain.Exists.
type Duplicate struct {
	Account domain.AccountID
	Err     error
}

func (d *Duplicate) Error() string { return d.Err.Error() }
func (d *Duplicate) Unwrap() error { return d.Err }

// Fresh says what it means for a Batch that a row which it adds is there already: *Damage to the account that the error names, or else to id. Other
// errors stay as they are.
func Fresh(err error, id domain.AccountID) error {
	var duplicate *Duplicate
	if errors.As(err, &duplicate) {
		id = duplicate.Account
	}
	if domain.Is(err, domain.Exists) && id != "" {
		return &Damage{Account: id, What: err.Error()}
	}
	return err
}
