// Package queuetest is a queue in memory, for tests of what works on one.
package queuetest

import (
	"context"
	"slices"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// Log is records and what they fold to. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	State   *queue.State
	Appends int  // so many were made
	Cuts    int  // so many were asked for
	Full    bool // appends fail
	entries map[queue.ID]*queue.Entry
}

// New makes an empty Log.
func New() *Log { return &Log{State: queue.New(), entries: map[queue.ID]*queue.Entry{}} }

// View runs f on the state.
func (l *Log) View(f func(*queue.State)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.State)
}

// Entries reads entries as they now are.
func (l *Log) Entries(_ context.Context, ids []queue.ID) (all []*queue.Entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if i := l.State.Find(id); i != nil {
			e := *l.entries[id]
			e.Recipients = slices.Clone(e.Recipients)
			i.Overlay(&e)
			all = append(all, &e)
		}
	}
	return all, nil
}

// Append folds records.
func (l *Log) Append(_ context.Context, records ...queue.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Full {
		return domain.Errorf(domain.Unavailable, "the disk is full")
	}
	l.Appends++
	for n := range records {
		if e := records[n].Put; e != nil {
			l.entries[e.ID] = e
		}
		l.State.Apply(queue.Place{Seq: domain.Seq(l.Appends), Index: n}, &records[n])
	}
	return nil
}

// Cut counts.
func (l *Log) Cut(context.Context, bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Cuts++
	return nil
}

// On reads all entries of a shelf.
func (l *Log) On(shelf queue.Shelf) []*queue.Entry {
	var ids []queue.ID
	l.View(func(s *queue.State) { ids = s.On(shelf).Select(&queue.Filter{}) })
	all, _ := l.Entries(context.Background(), ids) // never fails
	return all
}
