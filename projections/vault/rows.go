package vault

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections"
)

// Row is one deleted message.
type Row struct {
	Account domain.AccountID
	vault.Message
	Blob domain.BlobRef
}

const columns = `account, email, deleted, delivered, size, attachment, sender, recipients, subject, origins, blob_id, blob_key`

// chunkRows is how many rows are read at once.
const chunkRows = 512

// Deleted calls f for an account's deleted messages that meet a query, in order of their arrival, until its limit. Rows are read some at a time.
func Deleted(ctx context.Context, r projections.Reader, id domain.AccountID, q *vault.Query, f func(*Row) error) error {
	var last domain.EmailID
	left := q.Limit
	for {
		chunk, err := read(ctx, r, `select `+columns+` from vault_emails where account = $1 and email > $2 and deleted > 0 order by email limit 512`,
			string(id), int64(last))
		if err != nil {
			return err
		}
		for i := range chunk {
			row := &chunk[i]
			if last = row.Email; !q.Matches(&row.Message) {
				continue
			}
			if err := f(row); err != nil {
				return err
			}
			if left--; left == 0 {
				return nil
			}
		}
		if len(chunk) < chunkRows {
			return nil
		}
	}
}

// expired gives some of the messages of a view that were deleted before a time, in Unix milliseconds, and come after another in order of
// deletion, account and email.
func expired(ctx context.Context, r projections.Reader, before int64, after *Row) ([]Row, error) {
	return read(ctx, r, `select `+columns+` from vault_emails where deleted > 0 and deleted < $1 and (deleted, account, email) > ($2, $3, $4)
		order by deleted, account, email limit 512`, before, after.Deleted, string(after.Account), int64(after.Email))
}

func read(ctx context.Context, r projections.Reader, query string, args ...any) (chunk []Row, err error) {
	rows, err := r.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		chunk = append(chunk, row)
	}
	return chunk, rows.Err()
}

func scan(rows *sql.Rows) (row Row, err error) {
	var recipients, origins string
	var blobID, blobKey []byte
	err = rows.Scan(&row.Account, &row.Email, &row.Deleted, &row.Delivered, &row.Size, &row.HasAttachment, &row.Sender, &recipients, &row.Subject, &origins,
		&blobID, &blobKey)
	copy(row.Blob.ID[:], blobID)
	copy(row.Blob.Key[:], blobKey)
	row.Blob.Size = row.Size
	for text := range strings.Lines(recipients) {
		row.Recipients = append(row.Recipients, strings.TrimSuffix(text, "\n"))
	}
	for text := range strings.Lines(origins) {
		number, name, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
		id, _ := strconv.ParseUint(number, 10, 32) // written by this package
		origin := vault.Origin{ID: domain.MailboxID(id), Name: name}
		if !slices.Contains(row.Origins, origin) {
			row.Origins = append(row.Origins, origin)
		}
	}
	return row, err
}

// Totals are sums over the deleted messages of a view.
type Totals struct {
	Messages int64 `json:"messages"`
	Octets   int64 `json:"octets"`
	Oldest   int64 `json:"oldest"` // when the first of them was deleted, Unix milliseconds; 0 when there is none
}

// Sum adds up a view's deleted messages.
func Sum(ctx context.Context, r projections.Reader) (t Totals, err error) {
	rows, err := r.Query(ctx, `select count(*), cast(coalesce(sum(size), 0) as bigint), coalesce(min(deleted), 0) from vault_emails where deleted > 0`)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&t.Messages, &t.Octets, &t.Oldest); err != nil {
			return t, err
		}
	}
	return t, rows.Err()
}
