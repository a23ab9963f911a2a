package opensearch

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// Name is the listener's name. Its version is the generation that it writes.
const Name = "opensearch"

// Listener writes a generation of the index.
func (x *Index) Listener(generation int) listen.Listener {
	return listen.Listener{
		Name: Name, Version: generation, From: listen.Beginning, Directory: true, Batch: 64,
		Handle: func(ctx context.Context, entries []streams.Entry) (int, error) {
			return x.handle(ctx, generation, entries)
		},
	}
}

type stats struct {
	written, repeated, stubs, answered, failed, open atomic.Uint64
}

// Stats are what the index did since the start of the process.
type Stats struct {
	Written  uint64 // documents
	Repeated uint64 // that were there already
	Stubs    uint64 // that stand for messages which cannot be indexed
	Answered uint64 // questions
	Failed   uint64 // questions
	Open     uint64 // questions that the index could not tell anything about, because it is not whole yet
	Away     bool   // the circuit is open
}

// Stats tells what the index did.
func (x *Index) Stats() Stats {
	s := &x.stats
	return Stats{s.written.Load(), s.repeated.Load(), s.stubs.Load(), s.answered.Load(), s.failed.Load(), s.open.Load(), x.client.breaker.isOpen()}
}

// part is the documents of some entries that share one submission.
type part struct {
	ops   []operation
	entry []int // of each operation
	size  int
}

// handle writes the documents of one account's entries.
func (x *Index) handle(ctx context.Context, generation int, entries []streams.Entry) (done int, err error) {
	if err := x.provide(ctx, generation); err != nil {
		return 0, err
	}
	var p part
	for i := range entries {
		e := &entries[i]
		for _, ev := range e.Transaction.Events {
			if err := x.hear(ctx, generation, e, ev, &p, i); err != nil {
				if n, earlier := x.flush(ctx, &p, i); earlier != nil {
					return n, earlier
				}
				return i, err
			}
		}
		if p.size >= x.cfg.Limits.Bulk/2 || len(p.ops) >= x.cfg.Limits.Documents {
			if n, err := x.flush(ctx, &p, i+1); err != nil {
				return n, err
			}
		}
	}
	return x.flush(ctx, &p, len(entries))
}

// hear takes one event.
func (x *Index) hear(ctx context.Context, generation int, e *streams.Entry, ev event.Event, p *part, at int) error {
	switch ev := ev.(type) {
	case *event.MessageAdded, *event.MessageRestored:
		doc, err := x.compose(ctx, e.Account, e.Tx, event.Arrival(ev))
		if err != nil {
			return err
		}
		p.ops = append(p.ops, operation{generation: generation, doc: doc, version: e.Tx})
		p.entry = append(p.entry, at)
		p.size += len(doc.Grams) + 512
	case *event.MessagesExpunged, *event.MailboxDeleted:
		x.mu.Lock()
		x.dirty[e.Account] = generation
		x.mu.Unlock()
	case *event.AccountErased:
		return x.erase(ctx, generation, ev.Account)
	}
	return nil
}

// flush writes what is gathered. done is the first entry that failed, or all.
func (x *Index) flush(ctx context.Context, p *part, all int) (done int, err error) {
	if len(p.ops) == 0 {
		return all, nil
	}
	errs, err := x.bulk.submit(ctx, p.ops)
	if err != nil {
		return p.entry[0], err
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		if domain.Is(err, domain.Invalid) || domain.Is(err, domain.TooLarge) {
			if stub := x.stub(ctx, p.ops[i]); stub != nil {
				return p.entry[i], stub
			}
		}
		return p.entry[i], err
	}
	*p = part{}
	return all, nil
}

// stub writes a document that says that the index does not know a message, so that the account's others are still found. Its version is one less
// than the message's, so that a redelivery replaces it.
func (x *Index) stub(ctx context.Context, o operation) error {
	o.doc = &document{Account: o.doc.Account, Email: o.doc.Email, Tx: o.doc.Tx, State: missing}
	o.version, o.again = o.version-1, true
	errs, err := x.bulk.submit(ctx, []operation{o})
	if err == nil {
		err = errs[0]
	}
	if err == nil {
		x.stats.stubs.Add(1)
	}
	return err
}

// erase deletes all documents of an account.
func (x *Index) erase(ctx context.Context, generation int, id domain.AccountID) error {
	if err := x.refresh(ctx, generation); err != nil { // only what can be seen is deleted
		return setup(err)
	}
	body, err := json.Marshal(map[string]any{"query": map[string]any{"term": map[string]any{"account": id}}})
	if err != nil {
		return domain.Wrap(domain.Internal, err, "erase documents")
	}
	err = x.client.do(ctx, http.MethodPost, "/"+x.index(generation)+"/_delete_by_query?conflicts=proceed&routing="+string(id), body, nil)
	return setup(err)
}
