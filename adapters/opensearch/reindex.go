package opensearch

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// Listeners is listen.Listeners.
type Listeners interface {
	Add(ctx context.Context, l listen.Listener) error
	Remove(ctx context.Context, id string) error
	Versions(ctx context.Context, name string) ([]int, error)
	Status(ctx context.Context) []listen.Status
	Groups(ctx context.Context) ([]listen.Group, error)
}

// Start adds the listener of every generation that there is, or of the first.
func (x *Index) Start(ctx context.Context, l Listeners) error {
	generations, err := l.Versions(ctx, Name)
	if err != nil {
		return err
	}
	if len(generations) == 0 {
		generations = []int{1}
	}
	for _, n := range generations {
		if err := l.Add(ctx, x.Listener(n)); err != nil {
			return err
		}
	}
	return nil
}

// Reindexed is what a reindex did.
type Reindexed struct {
	Index       string `json:"index,omitempty"` // the new one, of a reindex of everything
	Documents   uint64 `json:"successfullyReprocessedMailCount"`
	Failed      uint64 `json:"failedReprocessedMailCount"` // they are dead letters, or listed
	Removed     uint64 `json:"removedMailCount"`           // that no mailbox has any more
	FailedTexts []Fail `json:"messageFailures,omitempty"`
}

// Fail is a message that could not be indexed.
type Fail struct {
	Email domain.EmailID `json:"email"`
	Cause string         `json:"cause"`
}

// settleEvery is how often a reindex looks how far it is.
const settleEvery = 200 * time.Millisecond

// Reindex fills a new index from the beginning of the log beside the old one, switches the alias that is read when it has caught up, and removes the
// old one. A reindex that was interrupted goes on. When ctx ends first, the new index is removed and the old one goes on as if nothing had
// been. During an outage it waits. progress may be nil.
func (x *Index) Reindex(ctx context.Context, l Listeners, progress func(done, total uint64)) (Reindexed, error) {
	generations, err := l.Versions(ctx, Name)
	if err != nil {
		return Reindexed{}, err
	}
	next := 1
	switch n := len(generations); {
	case n == 1:
		next = generations[0] + 1
	case n > 1:
		next = generations[n-1]
	}
	id := fmt.Sprintf("%s-%d", Name, next)
	if err := l.Add(ctx, x.Listener(next)); err != nil && !domain.Is(err, domain.Exists) {
		return Reindexed{}, err
	}
	if err := x.fill(ctx, l, id, progress); err != nil {
		if ctx.Err() != nil && len(generations) > 0 {
			x.abandon(context.WithoutCancel(ctx), l, next, id)
		}
		return Reindexed{}, err
	}
	if err := x.provide(ctx, next); err != nil { // an empty log has none yet
		return Reindexed{}, err
	}
	done := Reindexed{Index: x.index(next)}
	if done.Documents, err = x.count(ctx, next); err != nil {
		return done, err
	}
	groups, err := l.Groups(ctx)
	if err != nil {
		return done, err
	}
	for _, g := range groups {
		if g.Listener == id {
			done.Failed = g.Count
		}
	}
	if err := x.point(ctx, next); err != nil {
		return done, err
	}
	for _, old := range generations {
		if old == next {
			continue
		}
		if err := l.Remove(ctx, fmt.Sprintf("%s-%d", Name, old)); err != nil {
			return done, err
		}
		if err := x.drop(ctx, old); err != nil {
			return done, err
		}
	}
	return done, nil
}

// fill waits until a listener has handled all that was in the log when it was asked.
func (x *Index) fill(ctx context.Context, l Listeners, id string, progress func(done, total uint64)) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	total := uint64(0)
	for {
		for _, s := range l.Status(ctx) {
			if s.ID != id {
				continue
			}
			total = max(total, s.Lag)
			if progress != nil {
				progress(total-s.Lag, total)
			}
			if s.Lag == 0 && len(s.Streams) > 0 && !s.Outage {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// abandon removes a generation that was not finished.
func (x *Index) abandon(ctx context.Context, l Listeners, n int, id string) {
	ctx, cancel := context.WithTimeout(ctx, x.cfg.Limits.Request)
	defer cancel()
	if err := l.Remove(ctx, id); err != nil {
		x.cfg.Logger.Error("a listener of an abandoned index stays: see deadletter and search reindex", "listener", id, "err", err)
		return
	}
	if err := x.drop(ctx, n); err != nil {
		x.cfg.Logger.Error("an abandoned index stays in OpenSearch: delete it there", "index", x.index(n), "err", err)
	}
}

func (x *Index) count(ctx context.Context, n int) (uint64, error) {
	if err := x.refresh(ctx, n); err != nil {
		return 0, err
	}
	var answer struct {
		Count uint64 `json:"count"`
	}
	err := x.client.do(ctx, http.MethodGet, "/"+x.index(n)+"/_count", nil, &answer)
	return answer.Count, err
}

// Reader is streams.Log.
type Reader interface {
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
}

// Scope says what of an account is indexed again: all, the messages of one mailbox, or one message.
type Scope struct {
	Account domain.AccountID `json:"account"`
	Mailbox string           `json:"mailbox,omitempty"`
	Email   domain.EmailID   `json:"email,omitempty"`
}

// Repair writes documents of one account again, in every generation, and empties those of messages that are gone. Failures are listed.
func (x *Index) Repair(ctx context.Context, l Listeners, log Reader, scope Scope, progress func(done, total uint64)) (Reindexed, error) {
	generations, err := l.Versions(ctx, Name)
	if err != nil {
		return Reindexed{}, err
	}
	present, tx, err := x.cfg.Emails(ctx, scope.Account, scope.Mailbox)
	if err != nil {
		return Reindexed{}, err
	}
	total := uint64(len(present))
	if scope.Email != 0 {
		if !present[scope.Email] {
			return Reindexed{}, domain.Errorf(domain.NotFound, "the account has no message %d", scope.Email)
		}
		present, total = map[domain.EmailID]bool{scope.Email: true}, 1
	}
	var done Reindexed
	for _, n := range generations {
		if err := x.provide(ctx, n); err != nil {
			return done, err
		}
		if err := x.rewrite(ctx, n, log, scope.Account, present, tx, total*uint64(len(generations)), &done, progress); err != nil {
			return done, err
		}
		if scope.Mailbox == "" && scope.Email == 0 {
			removed, err := x.Sweep(ctx, n, scope.Account)
			done.Removed += removed
			if err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// listedFailures bounds the failures that are named. All are counted.
const listedFailures = 1000

func (x *Index) rewrite(ctx context.Context, n int, log Reader, id domain.AccountID, present map[domain.EmailID]bool, tx domain.Tx, total uint64, done *Reindexed, progress func(done, total uint64)) error {
	var p part
	write := func() error {
		errs, err := x.bulk.submit(ctx, p.ops)
		if err != nil {
			return err
		}
		for i, err := range errs {
			switch {
			case err == nil:
				done.Documents++
			case listen.IsOutage(err):
				return err
			default:
				done.Failed++
				if len(done.FailedTexts) < listedFailures {
					done.FailedTexts = append(done.FailedTexts, Fail{p.ops[i].doc.Email, err.Error()})
				}
				if err := x.stub(ctx, p.ops[i]); err != nil {
					return err
				}
			}
		}
		if p = (part{}); progress != nil {
			progress(done.Documents+done.Failed, total)
		}
		return nil
	}
	for e, err := range log.ReadAccount(ctx, id, 0) {
		if err != nil {
			return err
		}
		if e.Erased {
			return domain.Errorf(domain.Erased, "account %s is erased", id)
		}
		for _, ev := range e.Transaction.Events {
			added := event.Arrival(ev)
			if added == nil || !present[added.Email] {
				continue
			}
			doc, err := x.compose(ctx, id, e.Tx, added)
			if err != nil {
				return err
			}
			p.ops = append(p.ops, operation{generation: n, doc: doc, version: max(e.Tx, tx), again: true}) // also over an empty one
			p.size += len(doc.Grams) + 512
		}
		if p.size >= x.cfg.Limits.Bulk/2 || len(p.ops) >= x.cfg.Limits.Documents {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if len(p.ops) == 0 {
		return nil
	}
	return write()
}

// Sweep empties the documents of an account's messages that no mailbox has any more, and says how many there were.
func (x *Index) Sweep(ctx context.Context, generation int, id domain.AccountID) (removed uint64, err error) {
	if err := x.refresh(ctx, generation); err != nil {
		return 0, err
	}
	indexed, err := x.emails(ctx, generation, id)
	if err != nil {
		return 0, err
	}
	// The state is looked at after the index, so it is not older than what the index has.
	present, tx, err := x.cfg.Emails(ctx, id, "")
	if err != nil {
		return 0, err
	}
	var ops []operation
	for _, email := range indexed {
		if !present[email] {
			ops = append(ops, operation{generation: generation, doc: &document{Account: id, Email: email, Gone: true}, version: tx, again: true})
		}
	}
	for portion := range slices.Chunk(ops, x.cfg.Limits.Documents) {
		errs, err := x.bulk.submit(ctx, portion)
		if err != nil {
			return removed, err
		}
		for _, err := range errs {
			if err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}

// emails lists the emails that have documents which are not empty.
func (x *Index) emails(ctx context.Context, generation int, id domain.AccountID) (all []domain.EmailID, err error) {
	for after := domain.EmailID(0); ; {
		body, err := json.Marshal(map[string]any{
			"size": x.cfg.Limits.Found, "_source": false, "docvalue_fields": []string{"email"}, "sort": []any{map[string]any{"email": "asc"}}, "search_after": []any{after},
			"query": map[string]any{"bool": map[string]any{
				"filter":   []any{map[string]any{"term": map[string]any{"account": id}}},
				"must_not": []any{map[string]any{"term": map[string]any{"gone": true}}},
			}},
		})
		if err != nil {
			return nil, err
		}
		var found searchAnswer
		if err := x.client.do(ctx, http.MethodPost, "/"+x.index(generation)+"/_search?routing="+string(id), body, &found); err != nil {
			return nil, err
		}
		for _, hit := range found.Hits.Hits {
			if len(hit.Fields.Email) == 1 {
				after = hit.Fields.Email[0]
				all = append(all, after)
			}
		}
		if len(found.Hits.Hits) < x.cfg.Limits.Found {
			return all, nil
		}
	}
}

// Run sweeps accounts that expunged something, now and then, until ctx ends. What it has not come to by then is swept after the account's next
// expunge, or by a repair.
func (x *Index) Run(ctx context.Context) error {
	tick := time.NewTicker(x.cfg.Limits.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		x.mu.Lock()
		dirty := x.dirty
		x.dirty = map[domain.AccountID]int{}
		x.mu.Unlock()
		for id, generation := range dirty {
			_, err := x.Sweep(ctx, generation, id)
			if r, ok := err.(*refused); ok && r.status == http.StatusNotFound {
				continue // a generation that was removed
			}
			if err != nil && ctx.Err() == nil {
				x.cfg.Logger.Warn("expunged messages stay in the index for now", "account", id, "err", err)
				x.mu.Lock()
				x.dirty[id] = generation
				x.mu.Unlock()
			}
		}
	}
}
