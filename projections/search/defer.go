package search

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

// This file is about accounts whose messages are read later. Which messages those are is in the rows, so nothing else need be remembered, however long it takes.

// owing is the accounts that have deferred documents, as far as this process knows.
type owing struct {
	mu  sync.Mutex
	all map[domain.AccountID]bool
}

func (o *owing) add(ids ...domain.AccountID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[domain.AccountID]bool{}
	}
	for _, id := range ids {
		o.all[id] = true
	}
}

// Defers is of projections.Deferring: rows of an account whose messages are read later are those of no other node.
func (p *Projection) Defers(id domain.AccountID) bool { return p.later(id) || p.Owes(id) }

// Owes tells whether an account is known to have documents that are still to be read.
func (p *Projection) Owes(id domain.AccountID) bool {
	p.owing.mu.Lock()
	defer p.owing.mu.Unlock()
	return p.owing.all[id]
}

// Owing lists those accounts.
func (p *Projection) Owing() []domain.AccountID {
	p.owing.mu.Lock()
	defer p.owing.mu.Unlock()
	return slices.Sorted(maps.Keys(p.owing.all))
}

// Recall finds in the rows of a stream which accounts have deferred documents, once after a start. Errors: domain.Unavailable.
func (p *Projection) Recall(ctx context.Context, r projections.Reader) error {
	rows, err := r.Query(ctx, `select distinct account from documents where state <> 0 and state = $1`, int64(deferred))
	if err != nil {
		return err
	}
	defer rows.Close()
	var all []domain.AccountID
	for rows.Next() {
		var id domain.AccountID
		if err := rows.Scan(&id); err != nil {
			return err
		}
		all = append(all, id)
	}
	p.owing.add(all...)
	return rows.Err()
}

// CatchUp reads the messages of an account that were deferred, and writes their documents in place while mail goes on. It takes about half of the time of
// one goroutine. Calling it again finishes what was interrupted. Errors: domain.Unavailable.
func (p *Projection) CatchUp(ctx context.Context, rows Rows, id domain.AccountID) (done Reindexed, err error) {
	for {
		// What is deferred meanwhile makes the account owe again.
		p.owing.mu.Lock()
		delete(p.owing.all, id)
		p.owing.mu.Unlock()
		left, err := p.deferredOf(ctx, rows, id)
		if err != nil || len(left) == 0 {
			if err != nil {
				p.owing.add(id)
			}
			return done, err
		}
		p.owing.add(id)
		began := time.Now()
		some, err := p.reindex(ctx, rows, Selection{Account: id}, false, func(e domain.EmailID) bool { return left[e] }, func(Reindexed) {
			_ = projections.Pause(ctx, min(time.Since(began), time.Second)) // flush looks at ctx
			began = time.Now()
		})
		done.Messages, done.Written, done.Wrong, done.Missing = done.Messages+some.Messages, done.Written+some.Written, done.Wrong+some.Wrong, done.Missing+some.Missing
		if err != nil || some.Written == 0 { // the mailboxes do not show them yet, or not any more
			return done, err
		}
	}
}

// deferredOf lists the emails of an account that were deferred.
func (p *Projection) deferredOf(ctx context.Context, rows Rows, id domain.AccountID) (map[domain.EmailID]bool, error) {
	r, err := rows.ReaderOf(Name, id)
	if err != nil {
		return nil, err
	}
	found, err := r.Query(ctx, `select email from documents where account = $1 and state <> 0 and state = $2`, string(id), int64(deferred))
	if err != nil {
		return nil, err
	}
	emails, err := integers[domain.EmailID](found)
	left := map[domain.EmailID]bool{}
	for _, e := range emails {
		left[e] = true
	}
	return left, err
}
