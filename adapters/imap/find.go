package imap

import (
	"cmp"
	"context"
	"io"
	"iter"
	"log/slog"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/domain/sorting"
	"github.com/streampost/streampost/projections/door"
)

// Finding messages: the columns of the account's state decide first, then the search index, then the rows, then the text of those messages that
// are left. SEARCH, SORT, THREAD and ESEARCH all find like this.

// search gives those of some messages of the view that match, in rising order of UID.
func (c *conn) search(ctx context.Context, key search.Key, among []domain.UID) ([]account.Message, error) {
	f := finder{c: c, key: key, owner: c.sel.owner}
	found, err := f.in(ctx, c.sel.mailbox, among)
	if domain.Is(err, domain.NotFound) && f.gone {
		err = domain.Errorf(domain.NotFound, "the selected mailbox was deleted")
	}
	return found, err
}

// finder looks for messages in one mailbox after the other. It holds neither a lock nor a cursor while it reads messages.
type finder struct {
	c       *conn
	key     search.Key
	query   *search.Query
	answers *search.Answers // of the index, to a question that is the same in all mailboxes
	asked   bool
	gone    bool // the last mailbox is not there

	owner   owner
	mailbox domain.MailboxID
	found   []account.Message
	open    []account.Message // not decided yet
}

// in gives those of some messages of a mailbox that match, in rising order; uids are rising, and nil means all that the mailbox has.
func (f *finder) in(ctx context.Context, mailbox domain.MailboxID, uids []domain.UID) ([]account.Message, error) {
	f.mailbox = mailbox
	err := f.c.viewOf(ctx, f.owner, func(s *account.State) error {
		f.found, f.open, f.gone = nil, nil, false
		f.query = search.Compile(search.In(f.owner.id, f.key), s)
		m := f.c.readable(s, f.owner, mailbox)
		if m == nil {
			f.gone = true
			return domain.Errorf(domain.NotFound, "the mailbox was deleted")
		}
		among := uids
		if among == nil {
			among = m.UID
		}
		f.query.Columns(m, among, func(row account.Message, v search.Verdict) {
			switch v {
			case search.Yes:
				f.found = append(f.found, row)
			case search.Unknown:
				f.open = append(f.open, row)
			}
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(f.open) == 0 {
		return f.found, nil
	}
	if len(f.open) > fewMessages && f.c.server.cfg.Index != nil {
		if err := f.askIndex(ctx); err != nil {
			return nil, err
		}
	}
	size := portionOfRows
	if f.query.Texts() { // the summaries are kept until the texts are read.
		size = portionOfSummaries
	}
	read := 0
	for portion := range slices.Chunk(f.open, size) {
		f.c.progress(read, len(f.open))
		if err := cmp.Or(f.c.enc.Err(), f.c.admitted()); err != nil { // nobody waits for the answer.
			return nil, err
		}
		read += len(portion)
		if err := f.read(ctx, portion); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(f.found, func(a, b account.Message) int { return cmp.Compare(a.UID, b.UID) })
	return f.found, nil
}

// fewMessages are looked at sooner than the index is asked.
const fewMessages = 8

// askIndex decides on messages by the index. The index serves speed only: when it fails, messages are read.
func (f *finder) askIndex(ctx context.Context) error {
	if !f.asked {
		f.asked = true
		answers, err := f.c.server.cfg.Index.Answer(ctx, f.owner.id, f.query.Questions())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			level := slog.LevelWarn
			if domain.Is(err, domain.Unavailable) {
				level = slog.LevelDebug // it is being made, for instance; the metrics tell of it
			}
			f.c.log.Log(ctx, level, "the search index cannot be asked: messages are read instead", "account", f.owner.id, "error", err)
		default:
			f.answers = answers
		}
	}
	if f.answers == nil {
		return nil
	}
	f.query.Use(f.answers)
	rows := f.open
	f.open = nil
	for _, row := range rows {
		switch f.query.Judge(&search.Candidate{Row: row}) {
		case search.Yes:
			f.found = append(f.found, row)
		case search.Unknown:
			f.open = append(f.open, row)
		}
	}
	return nil
}

// read decides on messages by their rows and, where that does not suffice, by their text.
func (f *finder) read(ctx context.Context, rows []account.Message) error {
	c, query := f.c, f.query
	want := door.WantHead
	if query.Texts() {
		want = door.WantSummary | door.WantBlob
	}
	var set domain.UIDSet
	for _, row := range rows {
		set = set.Add(row.UID)
	}
	type unread struct {
		search.Candidate
		blob domain.BlobRef
	}
	var texts []unread
	for e, err := range c.accounts.Emails(ctx, f.owner.id, f.mailbox, set, want) {
		if err != nil {
			return err
		}
		for len(rows) > 0 && rows[0].UID < e.UID {
			rows = rows[1:]
		}
		if len(rows) == 0 || rows[0].UID != e.UID {
			continue
		}
		candidate := search.Candidate{Row: rows[0], Summary: e.Summary}
		switch query.Judge(&candidate) {
		case search.Yes:
			f.found = append(f.found, rows[0])
		case search.Unknown:
			texts = append(texts, unread{candidate, e.Blob})
		}
	}
	for i := range texts {
		t := &texts[i]
		if x := c.server.cfg.Extracts; x != nil {
			t.Extracts = func() (iter.Seq[string], error) { return x.Texts(ctx, f.owner.id, t.Row.Email) }
		}
		err := query.Read(&t.Candidate, func(off, n int64) (io.ReadCloser, error) {
			return c.accounts.Open(ctx, t.blob, off, n)
		})
		switch {
		case err == nil:
			if query.Judge(&t.Candidate) == search.Yes {
				f.found = append(f.found, t.Row)
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case domain.Is(err, domain.NotFound), domain.Is(err, domain.Corrupt):
			// One damaged message does not end the search. RFC 9051 section 7.1.2: an untagged NO is a warning.
			c.log.Error("message cannot be searched", "account", f.owner.id, "uid", t.Row.UID, "error", err)
			c.status("*", "NO", kinds[domain.Corrupt], unreadable+", so it was not searched")
		default:
			return err
		}
	}
	return nil
}

// order puts found messages of the selected mailbox in order. Those that are expunged by now are left out where their headers matter.
func (c *conn) order(ctx context.Context, rows []account.Message, by []sorting.Criterion, score func(domain.UID) int) (ordered []account.Message, err error) {
	arrange := func(table *sorting.Table, rows []account.Message) {
		ordered = make([]account.Message, len(rows))
		for to, from := range table.Order(rows, by, func(i int) int { return score(rows[i].UID) }) {
			ordered[to] = rows[from]
		}
	}
	if !sorting.Needs(by) {
		arrange(sorting.NewTable(), rows)
		return ordered, nil
	}
	return ordered, c.server.cfg.Tables.Use(ctx, c.sel.owner.id, c.sel.mailbox, rows, arrange)
}
