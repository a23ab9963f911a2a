package doortest

import (
	"context"
	"crypto/sha256"
	"iter"
	"slices"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// The streams of a Log.
const (
	DirectoryStream = "DIRECTORY"
	AccountsStream  = "ACCOUNTS_0"
)

// Fault is what goes wrong with one append.
type Fault uint8

// The faults that a log can have.
const (
	None     Fault = iota
	Refused        // domain.Conflict; nothing is written
	LostSent       // domain.Unavailable; the entry is in the log
	LostKept       // domain.Unavailable; nothing is written
	LostLate       // domain.Unavailable; the entry lands before the log's next append or read, if it still fits
)

// Log is a log of record in memory. Entries pass through their encoding, so readers get copies of their own.
type Log struct {
	// Before is called ahead of every append, outside the lock: it may wait, and its Fault is what happens. It is set before use.
	Before func(id domain.AccountID, t *event.Transaction) Fault

	mu      sync.Mutex
	entries []*stored // Seq i+1 of both streams
	logs    map[domain.AccountID]*accountLog
	late    []func()

	feed     sync.Mutex // guards what follows, and keeps the order of what observers get
	fed      int
	observer []func(string, []streams.Entry)
	held     bool
}

type accountLog struct {
	at      streams.Position
	entries []*stored
	erased  bool
}

type stored struct {
	account    domain.AccountID
	at         streams.Position
	prev       streams.Hash
	ciphertext []byte // in fact plain
}

// NewLog makes an empty log.
func NewLog() *Log { return &Log{logs: map[domain.AccountID]*accountLog{}} }

// Observe has f called with every entry after it is durable, in order.
func (l *Log) Observe(f func(stream string, entries []streams.Entry)) {
	l.feed.Lock()
	defer l.feed.Unlock()
	l.observer = append(l.observer, f)
}

// StreamOf names the stream that holds an account's log.
func (l *Log) StreamOf(id domain.AccountID) string {
	if id == domain.DirectoryID {
		return DirectoryStream
	}
	return AccountsStream
}

// Create makes the key of a new account.
func (l *Log) Create(_ context.Context, id domain.AccountID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logs[id] != nil {
		return domain.Errorf(domain.Exists, "account %s has a key already", id)
	}
	l.logs[id] = &accountLog{}
	return nil
}

// Erase destroys the account's key.
func (l *Log) Erase(_ context.Context, id domain.AccountID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.logs[id]
	if a == nil {
		return domain.Errorf(domain.NotFound, "account %s has no key", id)
	}
	a.erased = true
	return nil
}

// Forget does nothing: no key is kept apart from the log.
func (l *Log) Forget(domain.AccountID) {}

// AccountSecret gives a secret of an account until it is erased.
func (l *Log) AccountSecret(_ context.Context, id domain.AccountID, purpose string) ([32]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.logs[id]; a == nil || a.erased {
		return [32]byte{}, domain.Errorf(domain.Erased, "account %s was erased", id)
	}
	return sha256.Sum256([]byte(string(id) + " " + purpose)), nil
}

// open finds an account's log after what is late has landed.
func (l *Log) open(id domain.AccountID) (*accountLog, error) {
	late := l.late
	l.late = nil
	for _, land := range late {
		land()
	}
	a := l.logs[id]
	switch {
	case a == nil:
		return nil, domain.Errorf(domain.NotFound, "account %s has no key", id)
	case a.erased:
		return nil, domain.Errorf(domain.Erased, "account %s was erased", id)
	}
	return a, nil
}

// Append writes transaction at.Tx+1, unless Before has other plans.
func (l *Log) Append(ctx context.Context, id domain.AccountID, at streams.Position, t *event.Transaction) (streams.Position, error) {
	fault := None
	if l.Before != nil {
		fault = l.Before(id, t)
	}
	at, err := l.append(id, at, t, fault)
	l.tell()
	return at, err
}

func (l *Log) append(id domain.AccountID, at streams.Position, t *event.Transaction, fault Fault) (streams.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := domain.Errorf(domain.Unavailable, "the log did not answer: the outcome is unknown")
	a, err := l.open(id)
	if err != nil {
		return at, err
	}
	write := func() (streams.Position, error) {
		if a.at != at {
			return at, domain.Errorf(domain.Conflict, "the log of %s stands at Tx %d, not %d", id, a.at.Tx, at.Tx)
		}
		s := &stored{account: id, prev: a.at.Hash, ciphertext: event.Marshal(t)}
		s.at = streams.Position{Seq: domain.Seq(len(l.entries) + 1), Tx: at.Tx + 1, Hash: sha256.Sum256(append(s.prev[:], s.ciphertext...))}
		l.entries = append(l.entries, s)
		a.entries = append(a.entries, s)
		a.at = s.at
		return s.at, nil
	}
	switch fault {
	case Refused:
		return at, domain.Errorf(domain.Conflict, "refused on purpose")
	case LostSent:
		_, _ = write()
		return at, lost
	case LostKept:
		return at, lost
	case LostLate:
		l.late = append(l.late, func() { _, _ = write() })
		return at, lost
	}
	return write()
}

// Delay takes what is late off the log, and lands it when land is called, if it still fits then.
func (l *Log) Delay() (land func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	late := l.late
	l.late = nil
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, land := range late {
			land()
		}
	}
}

// Last reads where an account's log stands.
func (l *Log) Last(_ context.Context, id domain.AccountID) (streams.Position, error) {
	defer l.tell()
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.open(id)
	if err != nil {
		return streams.Position{}, err
	}
	return a.at, nil
}

// ReadAccount yields an account's entries after a position.
func (l *Log) ReadAccount(_ context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error] {
	return func(yield func(streams.Entry, error) bool) {
		l.mu.Lock()
		a, err := l.open(id)
		var entries []*stored
		if err == nil {
			entries = slices.Clone(a.entries)
		}
		l.mu.Unlock()
		if err != nil {
			yield(streams.Entry{}, err)
			return
		}
		for _, s := range entries {
			if s.at.Seq > after && !yield(s.entry(), nil) {
				return
			}
		}
	}
}

// all gives the entries of every account after a position.
func (l *Log) all(after int) []*stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries[after:])
}

func (l *Log) isErased(id domain.AccountID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logs[id].erased
}

// Hold keeps what is appended from the observers until release is called, as if their node were slow.
func (l *Log) Hold() (release func()) {
	l.feed.Lock()
	defer l.feed.Unlock()
	l.held = true
	return func() {
		l.feed.Lock()
		l.held = false
		l.feed.Unlock()
		l.tell()
	}
}

// tell brings the observers up to date.
func (l *Log) tell() {
	l.feed.Lock()
	defer l.feed.Unlock()
	if l.held {
		return
	}
	fresh := l.all(l.fed)
	l.fed += len(fresh)
	for _, observe := range l.observer {
		for _, s := range fresh {
			e := s.entry()
			if e.Erased = l.isErased(e.Account); e.Erased {
				e.Transaction = nil
			}
			observe(e.Stream, []streams.Entry{e})
		}
	}
}

// entry decodes what was stored.
func (s *stored) entry() streams.Entry {
	t, err := event.Unmarshal(s.ciphertext)
	if err != nil {
		panic(err)
	}
	stream := AccountsStream
	if s.account == domain.DirectoryID {
		stream = DirectoryStream
	}
	return streams.Entry{Account: s.account, Stream: stream, Seq: s.at.Seq, Tx: s.at.Tx, Hash: s.at.Hash, Prev: s.prev, Transaction: t}
}

// Keys counts the keys that were ever made.
func (l *Log) Keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.logs)
}

// ErasedKeys counts those of Keys that were destroyed.
func (l *Log) ErasedKeys() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.logs {
		if a.erased {
			n++
		}
	}
	return n
}
