package search

import (
	"cmp"
	"context"
	"database/sql"
	"io"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
)

// maxGrams is how many grams wait to be written, besides those of one portion. They take 8 octets each.
const maxGrams = 2 << 20

// portion is how many new messages are read before they are written. It bounds the memory for their grams.
const portion = 32

// The states of a document.
const (
	whole   = 0 // all of its text is in the index
	partial = 1 // there is more text than the limits allow
	missing = 2 // the message cannot be read

	deferred = 3 // it was not read yet, see Config.Defer
)

// addition is a new message that waits to be written.
type addition struct {
	id      domain.AccountID
	account *accountRow
	event   *event.MessageAdded
	text    indexed
}

// indexed is what is kept of a message's text.
type indexed struct {
	search.Indexed
	state int64
}

// read takes the grams of a message. What the message's octets are like is no error; a store that does not answer now is.
func (p *Projection) read(ctx context.Context, x *search.Indexer, ref domain.BlobRef, s *message.Summary) (indexed, error) {
	found, err := x.Index(s, func(off, n int64) (io.ReadCloser, error) { return p.blobs.Open(ctx, ref, off, n) })
	found.Grams = slices.Clone(found.Grams)
	switch {
	case err == nil && found.Whole:
		return indexed{found, whole}, nil
	case err == nil:
		return indexed{found, partial}, nil
	case ctx.Err() == nil && (domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt)):
		// The header fields that the log itself holds are still found, by columns.
		return indexed{search.Indexed{}, missing}, nil
	}
	return indexed{}, err
}

// count keeps the statistics.
func (p *Projection) count(t indexed) {
	p.stats.documents.Add(1)
	p.stats.octets.Add(uint64(t.Octets))
	switch t.state {
	case partial:
		p.stats.partial.Add(1)
	case missing:
		p.stats.missing.Add(1)
	}
}

// write reads the new messages, several at a time, and gives them their rows.
func (b *batch) write(ctx context.Context) error {
	if len(b.added) == 0 {
		return nil
	}
	if err := b.p.readAll(ctx, len(b.added), func(i int, x *search.Indexer) (err error) {
		switch a := &b.added[i]; {
		case a.event.Email >= endOfEmail:
		case b.p.later(a.id):
			a.text.state = deferred
			b.p.owing.add(a.id)
		default:
			a.text, err = b.p.read(ctx, x, a.event.Blob, &a.event.Summary)
		}
		return err
	}); err != nil {
		return err
	}
	// The rows of each account go by themselves, so that it is known whose rows are wrong when some are there already.
	slices.SortStableFunc(b.added, func(a, b addition) int { return cmp.Compare(a.id, b.id) })
	for from := 0; from < len(b.added); {
		id := b.added[from].id
		n := slices.IndexFunc(b.added[from:], func(a addition) bool { return a.id != id })
		if n < 0 {
			n = len(b.added) - from
		}
		if err := b.insert(ctx, id, b.added[from:from+n]); err != nil {
			return projections.Fresh(err, id)
		}
		from += n
	}
	clear(b.added)
	b.added = b.added[:0]
	if b.grams < maxGrams {
		return nil
	}
	return b.put(ctx)
}

// insert gives new messages of one account their rows.
func (b *batch) insert(ctx context.Context, id domain.AccountID, added []addition) error {
	var messages, documents [][]any
	for i := range added {
		a := &added[i]
		messages = append(messages, []any{string(id), int64(a.event.Mailbox), int64(a.event.UID), int64(a.event.Email)})
		if a.event.Email >= endOfEmail { // it has no document.
			continue
		}
		d, doc := documentOf(&a.event.Summary), a.account.doc(a.event.Email)
		documents = append(documents, []any{
			doc, string(id), int64(a.event.Email), int64(1), a.text.state, a.text.Digest[:], a.text.Octets, int64(len(a.text.Grams)),
			d.sent, d.subject, d.lists[search.From], d.lists[search.To], d.lists[search.Cc], d.lists[search.Bcc],
		})
		b.postings = append(b.postings, Posting{doc, a.text.Grams})
		b.grams += len(a.text.Grams)
		b.p.count(a.text)
	}
	if err := b.tx.Insert(ctx, "search_messages", []string{"account", "mailbox", "uid", "email"}, messages); err != nil {
		return err
	}
	return b.tx.Insert(ctx, "documents", documentColumns, documents)
}

var documentColumns = []string{
	"doc", "account", "email", "refs", "state", "digest", "octets", "grams", "sent", "subject", "senders", "tos", "ccs", "bccs",
}

// settle writes all that waits, so that statements on rows see it.
func (b *batch) settle(ctx context.Context) error {
	if err := b.write(ctx); err != nil {
		return err
	}
	return b.put(ctx)
}

// put writes the grams that wait.
func (b *batch) put(ctx context.Context) error {
	if len(b.postings) == 0 {
		return nil
	}
	err := b.p.postings.Put(ctx, b.tx, b.postings)
	clear(b.postings)
	b.postings, b.grams = b.postings[:0], 0
	return err
}

// document is what the columns of a document hold: nil, or folded text.
type document struct {
	sent    any
	subject any
	lists   [4]any
}

// documentOf takes what questions about columns need from a Summary. NUL, which no needle may have, is not kept, as some stores cannot keep it.
func documentOf(s *message.Summary) (d document) {
	if day, dated := search.SentDay(s); dated {
		d.sent = int64(day)
	}
	folded := func(text string, is bool) any {
		if !is {
			return nil
		}
		return strings.ReplaceAll(string(search.Fold(text)), "\x00", "\uFFFD")
	}
	d.subject = folded(search.SubjectOf(s))
	for in := range d.lists {
		d.lists[in] = folded(search.AddressesOf(s, search.List(in)))
	}
	return d
}

// integers reads a query's only column.
func integers[T ~int64 | ~uint64](rows *sql.Rows) (all []T, err error) {
	defer rows.Close()
	for rows.Next() {
		var n int64 // which database/sql takes as it is
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		all = append(all, T(n))
	}
	return all, rows.Err()
}
