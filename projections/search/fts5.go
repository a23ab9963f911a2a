package search

import (
	"cmp"
	"context"
	"slices"
	"unicode/utf8"

	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
)

// Postings is where the grams of documents are kept: all that differs between view stores. Documents are deleted by the store itself, together with
// their row in the table documents.
type Postings interface {
	// Put replaces what each of the documents has.
	Put(ctx context.Context, tx projections.Tx, documents []Posting) error
	// Find gives the documents from lo to hi that have all grams, of which there is at least one.
	Find(ctx context.Context, r projections.Reader, lo, hi int64, grams []search.Gram) ([]int64, error)
	// Purge leaves nothing of deleted documents behind.
	Purge(ctx context.Context, tx projections.Tx) error
	// Check fails with domain.Unavailable when what is kept contradicts itself.
	Check(ctx context.Context, tx projections.Tx) error
	// Contains is an SQL condition: the text of a column contains the first argument.
	Contains(column string) string
}

// Posting is the grams of a document.
type Posting struct {
	Doc   int64
	Grams []search.Gram
}

// FTS5 keeps grams in SQLite's full-text index, each as a token. The index keeps which documents have a token but not where, which makes it a
// quarter of the size; where a needle stands is found by reading the few messages that have all its grams.
type FTS5 struct{}

// Put is of Postings. FTS5 gathers documents in memory as long as their numbers rise, and pays for every time that they do not.
func (FTS5) Put(ctx context.Context, tx projections.Tx, documents []Posting) error {
	slices.SortFunc(documents, func(a, b Posting) int { return cmp.Compare(a.Doc, b.Doc) })
	var text []byte
	for _, d := range documents {
		text = text[:0]
		for _, g := range d.Grams {
			text = append(appendToken(text, g), ' ')
		}
		if _, err := tx.Exec(ctx, `insert or replace into grams (rowid, gram) values ($1, $2)`, d.Doc, string(text)); err != nil {
			return err
		}
	}
	return nil
}

// Find is of Postings.
func (FTS5) Find(ctx context.Context, r projections.Reader, lo, hi int64, grams []search.Gram) ([]int64, error) {
	var match []byte
	for _, g := range grams { // Quoted, because AND, OR, NOT and NEAR would be operators; strings side by side must all match.
		match = append(appendToken(append(match, '"'), g), `" `...)
	}
	rows, err := r.Query(ctx, `select rowid from grams where grams match $1 and rowid between $2 and $3`, string(match), lo, hi)
	if err != nil {
		return nil, err
	}
	return integers[int64](rows)
}

// Purge is of Postings. A deleted document's tokens go when what holds them is merged; this merges all.
func (FTS5) Purge(ctx context.Context, tx projections.Tx) error {
	_, err := tx.Exec(ctx, `insert into grams (grams) values ('optimize')`)
	return err
}

// Check is of Postings.
func (FTS5) Check(ctx context.Context, tx projections.Tx) error {
	_, err := tx.Exec(ctx, `insert into grams (grams, rank) values ('integrity-check', 0)`)
	return err
}

// Contains is of Postings.
func (FTS5) Contains(column string) string { return "instr(" + column + ", $1) > 0" }

// The tokenizer called ascii takes letters, digits and everything beyond ASCII as part of a token. What is neither is moved to where Unicode has no
// characters; characters that are there already follow an escape, so that no two grams are the same token.
const (
	movedTo = 0xE000
	escape  = movedTo + utf8.RuneSelf
)

func appendToken(dst []byte, g search.Gram) []byte {
	for _, r := range g.Runes() {
		switch {
		case '0' <= r && r <= '9' || 'A' <= r && r <= 'Z':
		case r < utf8.RuneSelf:
			r += movedTo
		case movedTo <= r && r <= escape:
			dst = utf8.AppendRune(dst, escape)
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
