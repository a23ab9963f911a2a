package search

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
)

// Selection says which messages of an account are meant.
type Selection struct {
	Account domain.AccountID
	Mailbox domain.MailboxID // only this one's; 0: all
	UIDs    domain.UIDSet    // only these of Mailbox; nil: all
}

// Email is what a message is read by.
type Email struct {
	ID      domain.EmailID
	Blob    domain.BlobRef
	Summary *message.Summary
}

// Rows is what Reindex needs of the views; cmd joins projections.Runner and package mailboxes to it.
type Rows interface {
	Views
	Change(ctx context.Context, projection string, id domain.AccountID, f func(context.Context, projections.Tx) error) error
	// Emails yields the emails of messages, with summary and blob, in any order. An email may come more than once.
	Emails(ctx context.Context, sel Selection) iter.Seq2[Email, error]
}

// Reindexed is what Reindex did.
type Reindexed struct {
	Messages int64 `json:"messages"` // that were looked at, copies counted once
	Written  int64 `json:"written"`  // whose documents were written anew
	Wrong    int64 `json:"wrong"`    // of them, those that differed from what the message says
	Missing  int64 `json:"missing"`  // that could not be read
}

// Reindex reads messages again and writes their documents in place, while mail goes on. With check only documents that are wrong are written: those
// whose row, or whose grams, are not what the message gives; the store's own check of itself comes first. progress may be nil. A message that
// cannot be read is counted, and is searched by its header until it can be. Errors: domain.Unavailable.
func (p *Projection) Reindex(ctx context.Context, rows Rows, sel Selection, check bool, progress func(Reindexed)) (done Reindexed, err error) {
	if check {
		if err := rows.Change(ctx, Name, sel.Account, p.postings.Check); err != nil {
			return done, err
		}
	}
	return p.reindex(ctx, rows, sel, check, func(domain.EmailID) bool { return true }, progress)
}

// reindex is Reindex of the emails that are wanted.
func (p *Projection) reindex(ctx context.Context, rows Rows, sel Selection, check bool, wanted func(domain.EmailID) bool, progress func(Reindexed)) (done Reindexed, err error) {
	if progress == nil {
		progress = func(Reindexed) {}
	}
	seen := map[domain.EmailID]bool{}
	var batch []rewrite
	flush := func() error {
		if err := p.rewrite(ctx, rows, sel.Account, batch, check, &done); err != nil {
			return err
		}
		batch = batch[:0]
		progress(done)
		return ctx.Err()
	}
	for e, err := range rows.Emails(ctx, sel) {
		if err != nil {
			return done, err
		}
		if seen[e.ID] || e.ID >= endOfEmail || !wanted(e.ID) {
			continue
		}
		seen[e.ID] = true
		if batch = append(batch, rewrite{Email: e}); len(batch) == portion {
			if err := flush(); err != nil {
				return done, err
			}
		}
	}
	return done, flush()
}

// rewrite is a document on its way to be written anew.
type rewrite struct {
	Email
	text indexed
}

// rewrite reads messages, several at a time, and writes their documents in one transaction.
func (p *Projection) rewrite(ctx context.Context, rows Rows, id domain.AccountID, batch []rewrite, check bool, done *Reindexed) error {
	if len(batch) == 0 {
		return nil
	}
	if err := p.readAll(ctx, len(batch), func(i int, x *search.Indexer) (err error) {
		batch[i].text, err = p.read(ctx, x, batch[i].Blob, batch[i].Summary)
		return err
	}); err != nil {
		return err
	}
	var now Reindexed
	err := rows.Change(ctx, Name, id, func(ctx context.Context, tx projections.Tx) error {
		now = Reindexed{}
		var account accountRow
		known, err := readAccount(ctx, reader{tx}, id, &account)
		if err != nil || !known {
			return err
		}
		var postings []Posting
		for i := range batch {
			written, err := p.rewriteOne(ctx, tx, id, &account, &batch[i], check, &now)
			if err != nil {
				return err
			}
			if written {
				postings = append(postings, Posting{account.doc(batch[i].ID), batch[i].text.Grams})
			}
		}
		return p.postings.Put(ctx, tx, postings)
	})
	done.Messages += now.Messages
	done.Written += now.Written
	done.Wrong += now.Wrong
	done.Missing += now.Missing
	return err
}

// rewriteOne writes a document's row, unless it is right and only wrong ones are wanted, or no message refers to the email any more.
func (p *Projection) rewriteOne(ctx context.Context, tx projections.Tx, id domain.AccountID, a *accountRow, w *rewrite, check bool, now *Reindexed) (bool, error) {
	rows, err := tx.Query(ctx, `select count(*) from search_messages where account = $1 and email = $2`, string(id), int64(w.ID))
	if err != nil {
		return false, err
	}
	refs, err := integers[int64](rows)
	if err != nil || refs[0] == 0 {
		return false, err
	}
	now.Messages++
	if w.text.state == missing {
		now.Missing++
	}
	d, doc := documentOf(w.Summary), a.doc(w.ID)
	row := []any{
		doc, string(id), int64(w.ID), refs[0], w.text.state, w.text.Digest[:], w.text.Octets, int64(len(w.text.Grams)),
		d.sent, d.subject, d.lists[search.From], d.lists[search.To], d.lists[search.Cc], d.lists[search.Bcc],
	}
	right, err := p.right(ctx, tx, doc, row, w.text.Grams)
	if err != nil || right && check {
		return false, err
	}
	if !right {
		now.Wrong++
	}
	now.Written++
	// The row is not replaced but changed, because its grams go with it.
	_, err = tx.Exec(ctx, `insert into documents (doc, account, email, refs, state, digest, octets, grams, sent, subject, senders, tos, ccs, bccs)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		on conflict (doc) do update set refs = excluded.refs, state = excluded.state, digest = excluded.digest, octets = excluded.octets, grams = excluded.grams,
		sent = excluded.sent, subject = excluded.subject, senders = excluded.senders, tos = excluded.tos, ccs = excluded.ccs, bccs = excluded.bccs`, row...)
	return true, err
}

// probes is how many grams of a document are looked for when it is checked.
const probes = 64

// right tells whether a document is what its message gives.
func (p *Projection) right(ctx context.Context, tx projections.Tx, doc int64, want []any, grams []search.Gram) (bool, error) {
	rows, err := tx.Query(ctx, `select doc, account, email, refs, state, digest, octets, grams, sent, subject, senders, tos, ccs, bccs from documents where doc = $1`, doc)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	same := false
	for rows.Next() {
		got, into := make([]any, len(want)), make([]any, len(want))
		for i := range got {
			into[i] = &got[i]
		}
		if err := rows.Scan(into...); err != nil {
			return false, err
		}
		same = slices.EqualFunc(got, want, func(a, b any) bool {
			if octets, are := b.([]byte); are {
				found, _ := a.([]byte)
				return bytes.Equal(found, octets)
			}
			return a == b
		})
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || !same || len(grams) == 0 {
		return same, err
	}
	some := grams
	if len(grams) > probes {
		some = make([]search.Gram, probes)
		for i := range some {
			some[i] = grams[i*len(grams)/probes]
		}
	}
	found, err := p.postings.Find(ctx, reader{tx}, doc, doc, some)
	return len(found) == 1, err
}

// readAll calls read for n messages, several at a time.
func (p *Projection) readAll(ctx context.Context, n int, read func(i int, x *search.Indexer) error) error {
	readers := min(p.limits.Readers, n)
	errs := make([]error, readers)
	var group sync.WaitGroup
	for r := range readers {
		group.Go(func() {
			x := search.NewIndexer(p.limits.Message)
			for i := r; i < n && errs[r] == nil && ctx.Err() == nil; i += readers {
				errs[r] = read(i, x)
			}
		})
	}
	group.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// reader reads what a transaction has written.
type reader struct{ projections.Tx }

func (r reader) Snapshot(_ context.Context, f func(projections.Reader) error) error { return f(r) }
