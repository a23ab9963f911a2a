package extracts

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	domainsearch "github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/search"
)

// Asked is an index of what messages say by themselves.
type Asked interface {
	Answer(ctx context.Context, id domain.AccountID, questions []domainsearch.Question) (*domainsearch.Answers, error)
}

// Index adds to what another index answers the emails whose attachments may contain what is looked for.
type Index struct {
	postings search.Postings
	views    search.Views
	asked    Asked
}

// Index makes an Index. asked may be nil when there is no other: it then only gives Texts.
func (p *Projection) Index(views search.Views, asked Asked) *Index {
	return &Index{p.postings, views, asked}
}

// terms is how many grams of one needle are looked up.
const terms = 24

// Answer is that of the other index, and more. Only questions about a body's text are touched, and only where the other could tell. While
// the extracts cannot be read, nothing is found in them. Errors: those of the other index; domain.Unavailable.
func (x *Index) Answer(ctx context.Context, id domain.AccountID, questions []domainsearch.Question) (*domainsearch.Answers, error) {
	answers, err := x.asked.Answer(ctx, id, questions)
	if err != nil || answers.Next == 0 {
		return answers, err
	}
	r, err := x.views.ReaderOf(Name, id)
	if domain.Is(err, domain.Unavailable) { // they are being made
		return answers, nil
	} else if err != nil {
		return nil, err
	}
	err = r.Snapshot(ctx, func(r projections.Reader) error {
		number, known, err := one[int64](ctx, r, `select number from extract_accounts where account = $1`, string(id))
		if err != nil || !known {
			return err
		}
		lo, hi := search.Docs(number)
		for i, q := range questions {
			to := &answers.To[i]
			if !to.Known || q.Where != domainsearch.Anywhere && q.Where != domainsearch.InBody {
				continue
			}
			grams, exact := domainsearch.NeedleGrams(q.Needle, terms)
			if len(grams) == 0 {
				to.Known = false
				continue
			}
			docs, err := x.postings.Find(ctx, r, lo, hi, grams)
			if err != nil {
				return err
			}
			to.Exact = to.Exact && (exact || len(docs) == 0)
			for _, doc := range docs {
				to.Emails = append(to.Emails, search.EmailOf(doc))
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		err = domain.Wrap(domain.Unavailable, err, "read what was extracted from attachments")
	}
	return answers, err
}

// Texts gives what was extracted from the attachments of a message. Errors: domain.Unavailable.
func (x *Index) Texts(ctx context.Context, id domain.AccountID, email domain.EmailID) (iter.Seq[string], error) {
	none := slices.Values([]string(nil))
	r, err := x.views.ReaderOf(Name, id)
	if domain.Is(err, domain.Unavailable) {
		return none, nil
	} else if err != nil {
		return nil, err
	}
	text, _, err := one[[]byte](ctx, r, `select text from extracts where doc in (select doc from attachments where account = $1 and email = $2)`, string(id), int64(email))
	if err != nil {
		return nil, domain.Wrap(domain.Unavailable, err, "read what was extracted from attachments")
	}
	if len(text) == 0 {
		return none, nil
	}
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(text)))
	if err != nil { // It is no mail, and is made anew by a rebuild.
		return none, nil
	}
	return strings.SplitSeq(string(plain), between), nil
}

// between stands between the texts of two attachments. No text has it.
const between = "\x00"

// pack is the reverse of Texts.
func pack(texts []string) ([]byte, error) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err == nil {
		_, err = io.WriteString(w, strings.Join(texts, between))
	}
	if err == nil {
		err = w.Close()
	}
	return packed.Bytes(), err
}

// one reads the only value of the only row, if there is one.
func one[T any](ctx context.Context, r projections.Reader, query string, args ...any) (value T, found bool, err error) {
	var rows *sql.Rows
	if rows, err = r.Query(ctx, query, args...); err != nil {
		return value, false, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&value); err != nil {
			return value, false, err
		}
		found = true
	}
	return value, found, rows.Err()
}
