// Package projections turns the log into views: rows that answer questions. A projection is the rule, a projector is the goroutine that
// applies the rules of one stream, a view is the rows.
//
// Invariants:
//   - The log is the only truth. Every row follows from entries; deleting all rows and replaying gives equal rows, whatever the batches were.
//   - Rows and cursor commit together. An entry at or below a projection's cursor is not applied again, and an entry is never skipped.
//   - Each account's transactions are dense and chained by hash (see Link). A gap, a repetition or a changed entry stops the projector of its
//     stream in a visible state; it is never passed over.
//   - One goroutine writes a view. Rebuilding and erasing run on it, between batches.
//   - A reader never holds the writer up: it reads a committed state, for a bounded time.
//
// Projections see the view store as Tx, and read it as Reader; adapters/sqlview implements both. Statements use $1 placeholders and the SQL
// that SQLite and Postgres share.
package projections

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Scope says which streams a projection reads.
type Scope uint8

// The scopes.
const (
	AccountStreams  Scope = iota // every stream of accounts
	DirectoryStream              // the directory's
)

// Projection is a rule that folds entries into rows.
type Projection interface {
	// Name is unique and names the definition in package migrations.
	Name() string
	// Version counts changes of the rule or its tables. Rows of another version are made anew.
	Version() int
	Scope() Scope
	// Tables lists what the projection owns, for comparing and dropping. The first key column of a table of accounts is account.
	Tables() []Table
	// Begin starts the work of one SQL transaction.
	Begin(ctx context.Context, tx Tx) (Batch, error)
}

// Table names a table and the columns of its primary key, in order.
type Table struct {
	Name   string
	Key    []string
	Secret []string // columns that no report shows
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

// Tx is a write transaction on a view.
type Tx interface {
	// Exec runs a statement and tells how many rows it changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
	// Create makes a projection's empty tables.
	Create(ctx context.Context, projection string) error
}

// Reader reads committed rows.
type Reader interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	// Snapshot runs f on one state of the view, which commits meanwhile do not change. f must be brief: it holds one of few connections.
	Snapshot(ctx context.Context, f func(Reader) error) error
}

// View is the rows of one stream.
type View interface {
	Reader
	// Update runs f in a write transaction, which commits when f returns nil. Errors of the store are domain.Unavailable.
	Update(ctx context.Context, f func(Tx) error) error
	// Scrub returns once nothing of deleted rows is left in the store's files.
	Scrub(ctx context.Context) error
}

// Views is the view store of this node.
type Views interface {
	// Open gives a stream's view, fresh and empty when there is none or when what there is cannot be read. The same View is given again until
	// it is reset.
	Open(ctx context.Context, stream string) (View, error)
	// Reset drops a stream's view; the next Open gives an empty one.
	Reset(ctx context.Context, stream string) error
	// Shadow makes an empty view that lives until release is called, for comparing.
	Shadow(ctx context.Context, stream string) (v View, release func(), err error)
}

// Log is the log of record, as far as projectors read it; *streams.Log is one.
type Log interface {
	// Streams names every stream, the directory's first.
	Streams() []string
	StreamOf(id domain.AccountID) string
	// Head is the last durable position of a stream, Last that of an account.
	Head(ctx context.Context, stream string) (domain.Seq, error)
	Last(ctx context.Context, id domain.AccountID) (streams.Position, error)
	// Follow calls f with batches of durable entries after a position, in order and without gaps, until ctx ends or f fails.
	Follow(ctx context.Context, stream string, after domain.Seq, f func([]streams.Entry) error) error
	// Read yields the entries of a stream after one position up to and including another.
	Read(ctx context.Context, stream string, after, upTo domain.Seq) iter.Seq2[streams.Entry, error]
	// ReadAccount yields an account's entries after a position up to its present end.
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
}

// Link checks that an entry follows directly on the position that its account's log had reached: the next Tx, chained to the last hash.
// Errors: domain.Corrupt, naming account and Tx.
func Link(last streams.Position, e *streams.Entry) error {
	switch {
	case e.Tx != last.Tx+1:
		return domain.Errorf(domain.Corrupt, "log of account %s: transaction %d at position %d follows transaction %d", e.Account, e.Tx, e.Seq, last.Tx)
	case e.Prev != last.Hash:
		return domain.Errorf(domain.Corrupt, "log of account %s: transaction %d at position %d is not chained to the one before it", e.Account, e.Tx, e.Seq)
	case e.Seq <= last.Seq:
		return domain.Errorf(domain.Corrupt, "log of account %s: transaction %d at position %d lies before its predecessor", e.Account, e.Tx, e.Seq)
	}
	return nil
}

// Damage is the error of a Batch that finds the view, not the log, to be wrong: a row that an earlier entry must have made is missing, or one is
// there that none can have made. The runner makes the account's rows anew and tries once more.
type Damage struct {
	Account domain.AccountID
	What    string
}

func (d *Damage) Error() string { return fmt.Sprintf("view of account %s: %s", d.Account, d.What) }
