// Package extracts is the view of what an extractor, such as Apache Tika, finds written in attachments. SEARCH finds it as text of the body
// (RFC 9051 section 6.4.4: BODY and TEXT), beside what package text finds by itself.
//
// Two things are kept apart. Which messages have attachments to be read, and where they lie, is a fold of the log (extract_accounts, attachments): it reads no
// blob, waits for nobody, and is compared and rebuilt as every view is. What the extractor found (extracts, grams) is no fold: another version of it finds
// something else. It is never compared, a Worker fills it in when the extractor answers, and rows that are made anew are filled in anew.
//
// Invariants:
//   - The projection never calls the extractor, so an outage delays neither mail nor a view.
//   - Text and grams of a message change in one transaction, and SEARCH looks for words in the kept text: nothing is extracted to answer.
//   - What is not extracted yet is not found in attachments, and makes no other answer wrong: extracts only ever add text to a message.
//   - A message's extracts go when it is purged, or its account erased, with the blob they were made of.
package extracts

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/search"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "extracts"

// Projection is the rule.
type Projection struct{ postings search.Postings }

// New makes the projection. postings is where grams are kept; FTS5 if nil.
func New(postings search.Postings) *Projection {
	if postings == nil {
		postings = search.FTS5{}
	}
	return &Projection{postings}
}

// Name is of projections.Projection.
func (*Projection) Name() string { return Name }

// Version is of projections.Projection. It rises with every change of what attachmentsOf gives, too.
func (*Projection) Version() int { return 1 }

// Scope is of projections.Projection.
func (*Projection) Scope() projections.Scope { return projections.AccountStreams }

// Apart says that nothing waits for this view.
func (*Projection) Apart() bool { return true }

// Optional says that mail is served without it.
func (*Projection) Optional() bool { return true }

// Tables is of projections.Projection. What the extractor found goes with the rows of attachments.
func (*Projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "extract_accounts", Key: []string{"account"}},
		{Name: "attachments", Key: []string{"account", "email"}, Secret: []string{"blob_key"}},
	}
}

// Begin is of projections.Projection.
func (p *Projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{p: p, tx: tx, numbers: map[domain.AccountID]int64{}}, nil
}

// The states of an extract.
const (
	waiting = 0
	whole   = 1
	partial = 2 // there is more text than is kept
	givenUp = 3 // some of the attachments failed again and again, or the message cannot be read
)

// part is an attachment: where it lies in the message, and what its header says of it.
type part struct {
	Body     int64  `json:"body"`
	Size     int64  `json:"size"` // octets, still encoded
	Encoding string `json:"encoding"`
	Type     string `json:"type"`
	Name     string `json:"name,omitempty"`
}

// attachmentsOf lists what an extractor may find text in. Text is read without one; pictures, sound and films have none.
func attachmentsOf(s *message.Summary) (all []part) {
	s.Root.All(func(p *message.Part, _ int) bool {
		switch p.Type {
		case "text", "message", "multipart", "image", "audio", "video":
		default:
			if len(p.Parts) == 0 && p.Size() > 0 {
				all = append(all, part{p.Body, p.Size(), p.Encoding, p.Type + "/" + p.Subtype, p.Filename()})
			}
		}
		return true
	})
	return all
}

// batch applies entries in order.
type batch struct {
	p       *Projection
	tx      projections.Tx
	numbers map[domain.AccountID]int64
	purge   bool // an erased account's rows were deleted
}

// Apply folds one entry.
func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	if e.Tx == 1 {
		_, err := b.tx.Exec(ctx, `insert into extract_accounts (account, number) values ($1, $2)`, string(e.Account), int64(e.Seq))
		if err != nil {
			return projections.Fresh(err, e.Account)
		}
	}
	for _, fact := range e.Transaction.Events {
		if err := b.fold(ctx, e.Account, e.Transaction.At, fact); err != nil {
			return fmt.Errorf("account %s, transaction %d: %w", e.Account, e.Tx, err)
		}
	}
	return nil
}

// fold applies one event. A message that is restored was not purged, so its row is there.
func (b *batch) fold(ctx context.Context, id domain.AccountID, at int64, fact event.Event) error {
	switch e := fact.(type) {
	case *event.MessageAdded:
		return b.add(ctx, id, at, e)
	case *event.MessagesPurged:
		rows := make([][]any, len(e.Emails))
		for i, email := range e.Emails {
			rows[i] = []any{string(id), int64(email)}
		}
		_, err := b.tx.Each(ctx, `delete from attachments where account = $1 and email = $2`, rows)
		return err
	}
	return nil
}

// add gives a message with attachments its row, and has it wait: the newer it is the shorter, so that new mail does not queue behind old.
func (b *batch) add(ctx context.Context, id domain.AccountID, at int64, e *event.MessageAdded) error {
	parts := attachmentsOf(&e.Summary)
	if len(parts) == 0 {
		return nil
	}
	number, err := b.number(ctx, id)
	if err != nil {
		return err
	}
	doc, fits := search.Doc(number, e.Email)
	if !fits {
		return nil
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return err
	}
	if _, err := b.tx.Exec(ctx, `insert into attachments (doc, account, email, blob_id, blob_key, size, parts) values ($1, $2, $3, $4, $5, $6, $7)`,
		doc, string(id), int64(e.Email), e.Blob.ID[:], e.Blob.Key[:], e.Blob.Size, string(text)); err != nil {
		return projections.Fresh(err, id)
	}
	_, err = b.tx.Exec(ctx, `insert into extracts (doc, state, tries, due) values ($1, 0, 0, $2)`, doc, -at/1000)
	return projections.Fresh(err, id)
}

// number finds that of an account.
func (b *batch) number(ctx context.Context, id domain.AccountID) (int64, error) {
	if n, known := b.numbers[id]; known {
		return n, nil
	}
	var n int64
	err := b.tx.QueryRow(ctx, `select number from extract_accounts where account = $1`, string(id)).Scan(&n)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, &projections.Damage{Account: id, What: "its row in the view of attachments is missing"}
	case err == nil:
		b.numbers[id] = n
	}
	return n, err
}

// Remove deletes all of an account.
func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	delete(b.numbers, id)
	for _, table := range (*Projection)(nil).Tables() {
		n, err := b.tx.Exec(ctx, `delete from `+table.Name+` where account = $1`, string(id))
		if err != nil {
			return err
		}
		b.purge = b.purge || n > 0
	}
	return nil
}

// Flush leaves nothing of erased accounts in the grams.
func (b *batch) Flush(ctx context.Context) error {
	if !b.purge {
		return nil
	}
	b.purge = false
	return b.p.postings.Purge(ctx, b.tx)
}

// Again has what the extractor found in an account's attachments be made anew; with failed only what was given up. It tells how many messages
// wait then. Errors: domain.Unavailable.
func (p *Projection) Again(ctx context.Context, rows Rows, id domain.AccountID, failed bool) (n int64, err error) {
	states := []int64{givenUp}
	if !failed {
		states = append(states, whole, partial)
	}
	err = rows.Change(ctx, Name, id, func(ctx context.Context, tx projections.Tx) (err error) {
		n = 0
		for _, state := range states {
			changed, err := tx.Exec(ctx, `update extracts set state = 0, tries = 0, due = 0 where state = $2 and doc in (select doc from attachments where account = $1)`, string(id), state)
			if err != nil {
				return err
			}
			n += changed
		}
		return nil
	})
	return n, err
}

// wanted tells whether a media type is among patterns: types, or how they begin with an asterisk behind.
func wanted(patterns []string, mediaType string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if n := len(p) - 1; n >= 0 && p[n] == '*' {
			return len(mediaType) >= n && mediaType[:n] == p[:n]
		}
		return p == mediaType
	})
}
