package search

import (
	"context"

	"github.com/streampost/streampost/projections"
)

// Census counts the documents of a stream, and those of them whose messages could not be read.
func Census(ctx context.Context, r projections.Reader) (documents, unread int64, err error) {
	rows, err := r.Query(ctx, `select count(*), count(case when state = $1 then 1 end) from documents`, int64(missing))
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&documents, &unread); err != nil {
			return 0, 0, err
		}
	}
	return documents, unread, rows.Err()
}
