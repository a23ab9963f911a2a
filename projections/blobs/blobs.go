// Package blobs is the view of who claims which blob, and what follows from it: which stored blobs nobody claims any more, and which claimed
// ones are missing.
//
// An account claims the blob of an email from the event that adds the email until the one that purges it; deleting its messages only moves it
// into the vault. So the view is exact and small, one row for each email, and knows nothing of mailboxes. An erased account claims nothing.
//
// Collect deletes what nobody claims. It is safe beside deliveries, because
//   - a blob is stored before an event claims it, and storing a blob anew makes it young, whoever else has it;
//   - nothing younger than the grace period is deleted, and the bucket looks at the age and deletes in one step;
//   - claims are believed only where a view shows all that its stream held when Collect began.
//
// So the one condition is that the grace period is longer than any client may take between storing a message and appending its event.
package blobs

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "blobs"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 1 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{{Name: "blob_refs", Key: []string{"account", "email"}, Secret: []string{"blob_key"}}}
}

func (projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{tx: tx, claims: map[domain.AccountID][][]any{}}, nil
}

// batch keeps an account's new claims until something else happens to it.
type batch struct {
	tx     projections.Tx
	claims map[domain.AccountID][][]any
}

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	for _, ev := range e.Transaction.Events {
		var err error
		switch ev := ev.(type) {
		case *event.MessageAdded:
			b.claims[e.Account] = append(b.claims[e.Account], claim(e.Account, ev))
		case *event.MessageRestored: // Out of the vault, where it was claimed already.
			err = b.claimAgain(ctx, e.Account, (*event.MessageAdded)(ev))
		case *event.MessagesPurged:
			err = b.release(ctx, e.Account, ev)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var claimColumns = []string{"account", "email", "blob_id", "blob_key", "size"}

func claim(id domain.AccountID, e *event.MessageAdded) []any {
	return []any{string(id), int64(e.Email), e.Blob.ID[:], e.Blob.Key[:], e.Blob.Size}
}

// write writes the claims of accounts that wait.
func (b *batch) write(ctx context.Context, ids ...domain.AccountID) error {
	var claims [][]any
	for _, id := range ids {
		claims = append(claims, b.claims[id]...)
		delete(b.claims, id)
	}
	return projections.Fresh(b.tx.Insert(ctx, "blob_refs", claimColumns, claims), "")
}

// Flush writes the claims that wait.
func (b *batch) Flush(ctx context.Context) error {
	return b.write(ctx, slices.Sorted(maps.Keys(b.claims))...)
}

func (b *batch) claimAgain(ctx context.Context, id domain.AccountID, e *event.MessageAdded) error {
	if err := b.write(ctx, id); err != nil {
		return err
	}
	_, err := b.tx.Exec(ctx, `insert into blob_refs (account, email, blob_id, blob_key, size) values ($1, $2, $3, $4, $5)
		on conflict (account, email) do nothing`, claim(id, e)...)
	return err
}

func (b *batch) release(ctx context.Context, id domain.AccountID, e *event.MessagesPurged) error {
	if err := b.write(ctx, id); err != nil {
		return err
	}
	for _, email := range e.Emails {
		if _, err := b.tx.Exec(ctx, `delete from blob_refs where account = $1 and email = $2`, string(id), int64(email)); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	delete(b.claims, id)
	_, err := b.tx.Exec(ctx, `delete from blob_refs where account = $1`, string(id))
	return err
}

// Claim is one email's claim on a blob.
type Claim struct {
	Account domain.AccountID
	Email   domain.EmailID
	Blob    domain.BlobRef
}

// Claimed tells whether any account of the view claims a blob.
func Claimed(ctx context.Context, r projections.Reader, id domain.BlobID) (claimed bool, err error) {
	rows, err := r.Query(ctx, `select 1 from blob_refs where blob_id = $1 limit 1`, id[:])
	if err != nil {
		return false, err
	}
	defer rows.Close()
	claimed = rows.Next()
	return claimed, rows.Err()
}

// Claims calls f for every claim of the view, or of one account, in order of account and email. It reads some rows at a time, so that it
// may take as long as it likes and sees what is committed meanwhile.
func Claims(ctx context.Context, r projections.Reader, account domain.AccountID, f func(Claim) error) error {
	var last Claim
	for {
		chunk, err := claimsAfter(ctx, r, account, last)
		if err != nil || len(chunk) == 0 {
			return err
		}
		for _, c := range chunk {
			if err := f(c); err != nil {
				return err
			}
		}
		last = chunk[len(chunk)-1]
	}
}

func claimsAfter(ctx context.Context, r projections.Reader, account domain.AccountID, last Claim) (chunk []Claim, err error) {
	const columns = `select account, email, blob_id, blob_key, size from blob_refs where `
	query, args := columns+`(account, email) > ($1, $2) order by account, email limit 512`, []any{string(last.Account), int64(last.Email)}
	if account != "" {
		query, args = columns+`account = $1 and email > $2 order by email limit 512`, []any{string(account), int64(last.Email)}
	}
	rows, err := r.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c Claim
		var id, key []byte
		if err := rows.Scan(&c.Account, &c.Email, &id, &key, &c.Blob.Size); err != nil {
			return nil, err
		}
		if len(id) != len(c.Blob.ID) || len(key) != len(c.Blob.Key) {
			return nil, domain.Wrap(domain.Corrupt, errors.New("a blob id or key has another length"), "read the view of blobs")
		}
		copy(c.Blob.ID[:], id)
		copy(c.Blob.Key[:], key)
		chunk = append(chunk, c)
	}
	return chunk, rows.Err()
}

// Totals are sums over the claims of a view. Octets counts plain text once for each claim, Blobs each blob once.
type Totals struct {
	Claims int64 `json:"claims"`
	Octets int64 `json:"octets"`
	Blobs  int64 `json:"blobs"`
}

// Sum adds up a view's claims.
func Sum(ctx context.Context, r projections.Reader) (t Totals, err error) {
	rows, err := r.Query(ctx, `select count(*), cast(coalesce(sum(size), 0) as bigint), count(distinct blob_id) from blob_refs`)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&t.Claims, &t.Octets, &t.Blobs); err != nil {
			return t, err
		}
	}
	return t, rows.Err()
}
