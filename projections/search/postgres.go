package search

import (
	"context"
	"strconv"

	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
)

// Postgres keeps the grams of a document in an array with a GIN index, which needs no extension. Unlike pg_trgm it finds punctuation, and one or two
// Chinese characters.
type Postgres struct{}

// Put is of Postings.
func (Postgres) Put(ctx context.Context, tx projections.Tx, documents []Posting) error {
	rows := make([][]any, len(documents))
	for i, d := range documents {
		rows[i] = []any{d.Doc, array(d.Grams)}
	}
	_, err := tx.Each(ctx, `insert into grams (doc, grams) values ($1, cast(cast($2 as text) as bigint[]))
		on conflict (doc) do update set grams = excluded.grams`, rows)
	return err
}

// array writes grams as Postgres reads an array.
func array(grams []search.Gram) string {
	text := []byte{'{'}
	for i, g := range grams {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendUint(text, uint64(g), 10)
	}
	return string(append(text, '}'))
}

// Find is of Postings.
func (Postgres) Find(ctx context.Context, r projections.Reader, lo, hi int64, grams []search.Gram) ([]int64, error) {
	rows, err := r.Query(ctx, `select doc from grams where grams @> cast(cast($1 as text) as bigint[]) and doc between $2 and $3`, array(grams), lo, hi)
	if err != nil {
		return nil, err
	}
	return integers[int64](rows)
}

// Purge is of Postings. Rows of erased accounts are deleted as those of any other table are.
func (Postgres) Purge(context.Context, projections.Tx) error { return nil }

// Check is of Postings. Postgres looks after its own indexes.
func (Postgres) Check(context.Context, projections.Tx) error { return nil }

// Contains is of Postings.
func (Postgres) Contains(column string) string { return "strpos(" + column + ", $1) > 0" }
