package search

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
)

// Index answers questions from the view.
type Index struct {
	projection *Projection
	views      Views
}

// Views gives the rows of a projection that an account has; see projections.Runner.
type Views interface {
	ReaderOf(projection string, id domain.AccountID) (projections.Reader, error)
}

// Index makes an Index that reads an account's rows.
func (p *Projection) Index(views Views) *Index { return &Index{p, views} }

// Answer answers questions about an account's messages, all from one state of the view. What the index has not come to yet, or cannot tell, the
// answers leave open; an account that it does not know at all has answers that are open altogether. Errors: domain.Unavailable.
func (x *Index) Answer(ctx context.Context, id domain.AccountID, questions []search.Question) (*search.Answers, error) {
	r, err := x.views.ReaderOf(Name, id)
	if err != nil {
		return nil, err
	}
	var answers *search.Answers
	err = r.Snapshot(ctx, func(r projections.Reader) error {
		answers = &search.Answers{To: make([]search.Answer, len(questions))}
		var account accountRow
		known, err := readAccount(ctx, r, id, &account)
		if err != nil || !known {
			return err
		}
		answers.Tx, answers.Next = account.tx, endOfEmail
		rows, err := r.Query(ctx, `select email from documents where account = $1 and state <> 0 order by email`, string(id))
		if err != nil {
			return err
		}
		if answers.Except, err = integers[domain.EmailID](rows); err != nil {
			return err
		}
		for i, q := range questions {
			if answers.To[i], err = x.answer(ctx, r, &account, q); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
		x.projection.stats.answered.Add(1)
		return answers, nil
	case ctx.Err() == nil:
		x.projection.stats.failed.Add(1)
	}
	switch {
	case errors.As(err, new(*domain.Error)):
		return nil, err
	}
	return nil, domain.Wrap(domain.Unavailable, err, "read the search index")
}

func readAccount(ctx context.Context, r projections.Reader, id domain.AccountID, a *accountRow) (known bool, err error) {
	rows, err := r.Query(ctx, `select number, tx from search_accounts where account = $1`, string(id))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&a.number, &a.tx); err != nil {
			return false, err
		}
		known = true
	}
	return known, rows.Err()
}

// columns are those of documents that questions are about, by place.
var columns = map[search.Place]string{
	search.InSubject: "subject", search.InFrom: "senders", search.InTo: "tos", search.InCc: "ccs", search.InBcc: "bccs",
}

// answer answers one question.
func (x *Index) answer(ctx context.Context, r projections.Reader, a *accountRow, q search.Question) (search.Answer, error) {
	lo, hi := Docs(a.number)
	var rows *sql.Rows
	var err error
	switch column := columns[q.Where]; {
	case q.Where == search.SentOn:
		rows, err = r.Query(ctx, `select email from documents where doc between $1 and $2 and sent >= $3 and sent < $4`, lo, hi, int64(q.Days.From), int64(q.Days.To))
	case column != "":
		if strings.ContainsAny(q.Needle, "\x00\uFFFD") || !utf8.ValidString(q.Needle) {
			return search.Answer{}, nil
		}
		rows, err = r.Query(ctx, `select email from documents where `+x.projection.postings.Contains(column)+` and doc between $2 and $3`, q.Needle, lo, hi)
	default:
		return x.find(ctx, r, lo, hi, q)
	}
	if err != nil {
		return search.Answer{}, err
	}
	emails, err := integers[domain.EmailID](rows)
	return search.Answer{Known: true, Exact: true, Emails: emails}, err
}

// find answers a question about text.
func (x *Index) find(ctx context.Context, r projections.Reader, lo, hi int64, q search.Question) (search.Answer, error) {
	grams, exact := search.NeedleGrams(q.Needle, x.projection.limits.Terms)
	exact = exact && q.Where == search.Anywhere
	if q.Where == search.InField {
		name, _ := search.NeedleGrams(search.FieldNeedle(q.Field), x.projection.limits.Terms)
		grams = append(grams, name...)
	}
	if len(grams) == 0 {
		return search.Answer{}, nil
	}
	slices.Sort(grams)
	docs, err := x.projection.postings.Find(ctx, r, lo, hi, slices.Compact(grams))
	emails := make([]domain.EmailID, len(docs))
	for i, doc := range docs {
		emails[i] = EmailOf(doc)
	}
	return search.Answer{Known: err == nil, Exact: exact, Emails: emails}, err
}
