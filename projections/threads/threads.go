// Package threads is the view of conversations: which thread (RFC 8474 THREADID) a message's thread keys lead to.
//
// Invariants:
//   - The first message with a key decides where the key leads, for ever: the row stays when the message goes, and is there when it is restored.
//   - An erased account has no rows. Keys are hashes of Message-IDs and of subjects, so nothing else is there to hide.
package threads

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "threads"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 1 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{{Name: "threads", Key: []string{"account", "thread_key"}}}
}

func (projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{tx: tx, first: map[row]domain.ThreadID{}}, nil
}

type row struct {
	account domain.AccountID
	key     int64 // the bits of the thread key
}

// batch keeps the keys of its messages, so that they are written in the order of the table: keys are spread all over it.
type batch struct {
	tx    projections.Tx
	first map[row]domain.ThreadID
}

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	for _, ev := range e.Transaction.Events {
		added, ok := ev.(*event.MessageAdded)
		if !ok {
			continue
		}
		for _, key := range added.Summary.Keys {
			r := row{e.Account, int64(key)}
			if _, known := b.first[r]; !known {
				b.first[r] = added.Thread
			}
		}
	}
	return nil
}

func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	maps.DeleteFunc(b.first, func(r row, _ domain.ThreadID) bool { return r.account == id })
	_, err := b.tx.Exec(ctx, `delete from threads where account = $1`, string(id))
	return err
}

func (b *batch) Flush(ctx context.Context) error {
	rows := make([][]any, 0, len(b.first))
	for _, r := range slices.SortedFunc(maps.Keys(b.first), func(a, b row) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.key, b.key))
	}) {
		rows = append(rows, []any{string(r.account), r.key, int64(b.first[r])})
	}
	return b.tx.Merge(ctx, "threads", []string{"account", "thread_key", "thread"}, rows, "do nothing")
}

// Find gives the conversation that the first known one of the keys leads to; 0 if none is known.
func Find(ctx context.Context, r projections.Reader, id domain.AccountID, keys []uint64) (domain.ThreadID, error) {
	for some := range slices.Chunk(keys, together) {
		known, err := find(ctx, r, id, some)
		if err != nil {
			return 0, err
		}
		for _, key := range some {
			if thread, is := known[key]; is {
				return thread, nil
			}
		}
	}
	return 0, nil
}

// Keys gives all keys of an account, in no order; nil if there are more than most.
func Keys(ctx context.Context, r projections.Reader, id domain.AccountID, most int) ([]uint64, error) {
	rows, err := r.Query(ctx, `select thread_key from threads where account = $1 limit $2`, string(id), most+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	keys := []uint64{}
	for rows.Next() {
		var key int64
		if err := rows.Scan(&key); err != nil {
			return nil, fmt.Errorf("read a thread key: %w", err)
		}
		keys = append(keys, uint64(key))
	}
	if len(keys) > most {
		return nil, rows.Err()
	}
	return keys, rows.Err()
}

// together is how many keys one query looks for: a message rarely has more.
const together = 8

func find(ctx context.Context, r projections.Reader, id domain.AccountID, keys []uint64) (map[uint64]domain.ThreadID, error) {
	args := make([]any, 1+together)
	args[0] = string(id)
	for i := range together {
		args[1+i] = int64(keys[min(i, len(keys)-1)])
	}
	rows, err := r.Query(ctx, `select thread_key, thread from threads where account = $1 and thread_key in ($2, $3, $4, $5, $6, $7, $8, $9)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var known map[uint64]domain.ThreadID
	for rows.Next() {
		var key int64
		var thread domain.ThreadID
		if err := rows.Scan(&key, &thread); err != nil {
			return nil, fmt.Errorf("read a thread: %w", err)
		}
		if known == nil {
			known = map[uint64]domain.ThreadID{}
		}
		known[uint64(key)] = thread
	}
	return known, rows.Err()
}
