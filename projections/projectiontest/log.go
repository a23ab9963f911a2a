// Package projectiontest is a log in memory, for tests of projections and of those who use them.
//
// It keeps the promises of streams.Log that concern readers: dense transactions, a hash chain, entries in order. Nothing is sealed; a Hash is
// made of what the entry says. Unlike the real log it can be spoilt (Spoil), to show that readers notice.
package projectiontest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"iter"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// Log is a log in memory. Its methods may be called concurrently.
type Log struct {
	mu      sync.Mutex
	names   []string
	entries map[string][]streams.Entry // by stream; the entry at position n is entries[n-1]
	last    map[domain.AccountID]streams.Position
	erased  map[domain.AccountID]bool
	changed chan struct{}
	down    error
}

// New makes an empty log with a number of account streams, the directory's and that of tasks.
func New(shards int) *Log {
	l := &Log{
		names: []string{"DIRECTORY"}, entries: map[string][]streams.Entry{}, last: map[domain.AccountID]streams.Position{},
		erased: map[domain.AccountID]bool{}, changed: make(chan struct{}),
	}
	for i := range shards {
		l.names = append(l.names, fmt.Sprintf("ACCOUNTS_%d", i))
	}
	l.names = append(l.names, "TASKS")
	return l
}

// Streams names every stream.
func (l *Log) Streams() []string { return l.names }

// StreamOf names the stream of an account.
func (l *Log) StreamOf(id domain.AccountID) string {
	switch id {
	case domain.DirectoryID:
		return l.names[0]
	case domain.TasksID:
		return l.names[len(l.names)-1]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return l.names[1+int(h.Sum32()%uint32(len(l.names)-2))]
}

// Create does nothing: nothing is sealed.
func (l *Log) Create(context.Context, domain.AccountID) error { return nil }

// Erase makes the account's transactions unreadable.
func (l *Log) Erase(_ context.Context, id domain.AccountID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erased[id] = true
	return nil
}

// Forget does nothing: this log has no keys.
func (l *Log) Forget(domain.AccountID) {}

// Append adds a transaction. Errors: domain.Conflict, domain.Erased, and what Fail was given.
func (l *Log) Append(_ context.Context, id domain.AccountID, at streams.Position, t *event.Transaction) (streams.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.down != nil:
		return streams.Position{}, l.down
	case l.erased[id]:
		return streams.Position{}, domain.Errorf(domain.Erased, "account %s was erased", id)
	case l.last[id] != at:
		return streams.Position{}, domain.Errorf(domain.Conflict, "account %s stands at %d", id, l.last[id].Tx)
	}
	return l.append(streams.Entry{Account: id, Tx: at.Tx + 1, Prev: at.Hash, Transaction: t}), nil
}

func (l *Log) append(e streams.Entry) streams.Position {
	e.Stream = l.StreamOf(e.Account)
	e.Seq = domain.Seq(len(l.entries[e.Stream]) + 1)
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %x %x", e.Account, e.Tx, e.Prev, event.Marshal(e.Transaction))
	e.Hash = streams.Hash(h.Sum(nil))
	l.entries[e.Stream] = append(l.entries[e.Stream], e)
	l.last[e.Account] = e.Position()
	l.wake()
	return e.Position()
}

// Add appends events to an account's log wherever it stands.
func (l *Log) Add(id domain.AccountID, at int64, events ...event.Event) streams.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last[id]
	return l.append(streams.Entry{Account: id, Tx: last.Tx + 1, Prev: last.Hash, Transaction: &event.Transaction{At: at, Events: events}})
}

// Spoil changes an entry that is in the log already.
func (l *Log) Spoil(stream string, seq domain.Seq, f func(*streams.Entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.entries[stream][seq-1])
}

// Fail makes every operation fail until it is called with nil.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = err
	l.wake()
}

func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Last reads where an account's log stands.
func (l *Log) Last(_ context.Context, id domain.AccountID) (streams.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[id], l.down
}

// Head is the last position of a stream.
func (l *Log) Head(_ context.Context, stream string) (domain.Seq, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return domain.Seq(len(l.entries[stream])), l.down
}

// Reaches tells whether a stream is long enough.
func (l *Log) Reaches(ctx context.Context, stream string, after domain.Seq) error {
	head, err := l.Head(ctx, stream)
	if err == nil && head < after {
		err = domain.Errorf(domain.Corrupt, "the stream %s ends at %d", stream, head)
	}
	return err
}

// Follow calls f with all entries after a position, and then with new ones.
func (l *Log) Follow(ctx context.Context, stream string, after domain.Seq, f func([]streams.Entry) error) error {
	for {
		entries, changed, err := l.after(stream, after)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := f(entries); err != nil {
			return err
		}
		after = entries[len(entries)-1].Seq
	}
}

// after gives at most 256 entries.
func (l *Log) after(stream string, after domain.Seq) ([]streams.Entry, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.entries[stream]
	all = all[min(int(after), len(all)):]
	entries := append([]streams.Entry(nil), all[:min(256, len(all))]...)
	for i := range entries {
		if l.erased[entries[i].Account] {
			entries[i].Transaction, entries[i].Erased = nil, true
		}
	}
	return entries, l.changed, l.down
}

// Read yields the entries after one position up to another.
func (l *Log) Read(_ context.Context, stream string, after, upTo domain.Seq) iter.Seq2[streams.Entry, error] {
	return func(yield func(streams.Entry, error) bool) {
		for after < upTo {
			entries, _, err := l.after(stream, after)
			if err != nil {
				yield(streams.Entry{}, err)
				return
			}
			if len(entries) == 0 {
				return
			}
			for _, e := range entries {
				if after = e.Seq; after > upTo || !yield(e, nil) {
					return
				}
			}
		}
	}
}

// ReadAccount yields an account's entries after a position.
func (l *Log) ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error] {
	return func(yield func(streams.Entry, error) bool) {
		stream := l.StreamOf(id)
		head, _ := l.Head(ctx, stream)
		for e, err := range l.Read(ctx, stream, after, head) {
			if (err != nil || e.Account == id) && !yield(e, err) {
				return
			}
		}
	}
}

// Sparing is a Log that leaves entries closed which its reader knows (projections.Sparing).
type Sparing struct{ *Log }

// FollowPast is Follow with some entries closed.
func (l Sparing) FollowPast(ctx context.Context, stream string, after domain.Seq, known streams.Known, f func([]streams.Entry) error) error {
	return l.Follow(ctx, stream, after, func(entries []streams.Entry) error {
		for i := range entries {
			shut(&entries[i], known)
		}
		return f(entries)
	})
}

// ReadPast is Read with some entries closed.
func (l Sparing) ReadPast(ctx context.Context, stream string, after, upTo domain.Seq, known streams.Known) iter.Seq2[streams.Entry, error] {
	return func(yield func(streams.Entry, error) bool) {
		for e, err := range l.Read(ctx, stream, after, upTo) {
			if shut(&e, known); !yield(e, err) {
				return
			}
		}
	}
}

func shut(e *streams.Entry, known streams.Known) {
	if e.Seq <= known[e.Account] {
		e.Transaction, e.Erased, e.Closed = nil, false, true
	}
}
