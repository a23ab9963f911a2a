package imap

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections/door"
)

// SEARCH (RFC 9051 section 6.4.4, RFC 3501 section 6.4.4) with ESEARCH (RFC 4731) and SEARCHRES (RFC 5182).

func init() {
	register(spec{name: "SEARCH", states: mailboxSelected, uid: true, numbered: true, run: runSearch})
	advertise("ESEARCH", whenAuthenticated)
	advertise("SEARCHRES", whenAuthenticated)
}

// searchRequest is a parsed SEARCH.
type searchRequest struct {
	key      search.Key
	extended bool // the answer is ESEARCH

	all, min, max, count bool // what it holds
	save                 bool // "$" becomes the result
}

// searchReturns are the options of RETURN by name. Extensions add theirs from init.
var searchReturns = map[string]func(d *wire.Decoder, r *searchRequest) bool{
	"ALL":   func(_ *wire.Decoder, r *searchRequest) bool { r.all = true; return true },
	"MIN":   func(_ *wire.Decoder, r *searchRequest) bool { r.min = true; return true },
	"MAX":   func(_ *wire.Decoder, r *searchRequest) bool { r.max = true; return true },
	"COUNT": func(_ *wire.Decoder, r *searchRequest) bool { r.count = true; return true },
	"SAVE":  func(_ *wire.Decoder, r *searchRequest) bool { r.save = true; return true },
}

// parse reads the command. The error is that of the grammar, or the charset's.
func (r *searchRequest) parse(c *conn, d *wire.Decoder) error {
	if !d.ExpectSP() {
		return d.Err()
	}
	r.extended = c.rev2 // RFC 9051 section 6.4.4: the answer is always ESEARCH.
	r.all = true
	if d.Follows("RETURN ") {
		var name string
		if !d.ExpectName(&name) || !d.ExpectSP() || !r.parseReturn(d) || !d.ExpectSP() {
			return d.Err()
		}
	}
	p := searchParser{c: c, d: d}
	if d.Follows("CHARSET ") {
		var name string
		if !d.ExpectName(&name) || !d.ExpectSP() || !d.ExpectAString(&p.charset) || !d.ExpectSP() {
			return d.Err()
		}
		if err := p.checkCharset(); err != nil {
			return err
		}
	}
	keys, ok := p.keys()
	if !ok || !d.ExpectCRLF() {
		return d.Err()
	}
	r.key = keys
	return nil
}

// parseReturn reads RETURN's options.
func (r *searchRequest) parseReturn(d *wire.Decoder) bool {
	r.extended, r.all = true, false
	if !d.ExpectList(func() bool {
		var name string
		if !d.ExpectName(&name) {
			return false
		}
		option, known := searchReturns[name]
		if !known {
			return d.Fail(wire.Syntaxf("SEARCH cannot return %s", name))
		}
		return option(d, r)
	}) {
		return false
	}
	if !r.min && !r.max && !r.count && !r.save { // RFC 4731 section 3.1: RETURN () means RETURN (ALL).
		r.all = true
	}
	return true
}

func runSearch(ctx context.Context, c *conn, cmd *command) error {
	var r searchRequest
	err := r.parse(c, cmd.dec)
	var found []domain.UID
	if err == nil {
		found, err = c.search(ctx, r.key)
	}
	if err != nil {
		var grammar *wire.SyntaxError
		if r.save && !errors.As(err, &grammar) {
			c.sel.saved = nil // RFC 5182 section 2.1: a NO empties "$"; a BAD leaves it as it was.
		}
		return err
	}
	if r.save {
		c.sel.saved = r.result(found)
	}
	c.sendSearch(cmd, &r, found)
	return nil
}

// result gives what "$" becomes. With MIN or MAX and neither ALL nor COUNT it is those messages only (RFC 5182 section 2.4).
func (r *searchRequest) result(found []domain.UID) (saved domain.UIDSet) {
	if (r.min || r.max) && !r.all && !r.count && len(found) > 0 {
		if r.min {
			saved = saved.Add(found[0])
		}
		if r.max {
			saved = saved.Add(found[len(found)-1])
		}
		return saved
	}
	return domain.UIDs(found...)
}

// sendSearch writes the answer.
func (c *conn) sendSearch(cmd *command, r *searchRequest, found []domain.UID) {
	if !cmd.uid { // the numbers of the session's view
		for i, uid := range found {
			seq, _ := c.sel.seq(uid)
			found[i] = domain.UID(seq)
		}
	}
	enc := c.enc
	if !r.extended {
		enc.Raw("* SEARCH")
		for _, n := range found {
			enc.SP().Number(uint64(n))
		}
		enc.CRLF()
		return
	}
	if r.save && !r.all && !r.min && !r.max && !r.count { // RFC 5182 section 2.1: SAVE alone sends nothing.
		return
	}
	enc.Raw("* ESEARCH (TAG ").String(cmd.tag).Byte(')') // RFC 9051 section 7.3.4.
	if cmd.uid {
		enc.Raw(" UID")
	}
	if len(found) > 0 {
		if r.min {
			enc.Raw(" MIN ").Number(uint64(found[0]))
		}
		if r.max {
			enc.Raw(" MAX ").Number(uint64(found[len(found)-1]))
		}
		if r.all {
			enc.Raw(" ALL ").Append(domain.UIDs(found...).AppendText)
		}
	}
	if r.count {
		enc.Raw(" COUNT ").Number(uint64(len(found)))
	}
	enc.CRLF()
}

// search gives the messages of the session's view that match, in rising order. It holds neither a lock nor a cursor while it reads
// messages.
func (c *conn) search(ctx context.Context, key search.Key) (found []domain.UID, err error) {
	var query *search.Query
	var open []account.Message // what the columns do not decide
	err = c.view(ctx, func(s *account.State) error {
		found, open = found[:0], open[:0]
		query = search.Compile(key, s)
		m, ok := s.Mailboxes[c.sel.mailbox]
		if !ok {
			return domain.Errorf(domain.NotFound, "the selected mailbox was deleted")
		}
		query.Columns(m, c.sel.uids, func(row account.Message, v search.Verdict) {
			switch v {
			case search.Yes:
				found = append(found, row.UID)
			case search.Unknown:
				open = append(open, row)
			}
		})
		return nil
	})
	if err != nil || len(open) == 0 {
		return found, err
	}
	size := portionOfRows
	if query.Texts() { // the summaries are kept until the texts are read.
		size = portionOfSummaries
	}
	for portion := range slices.Chunk(open, size) {
		if found, err = c.searchPortion(ctx, query, portion, found); err != nil {
			return nil, err
		}
	}
	slices.Sort(found)
	return found, nil
}

// searchPortion decides on messages by their rows and, where that does not suffice, by their text.
func (c *conn) searchPortion(ctx context.Context, query *search.Query, rows []account.Message, found []domain.UID) ([]domain.UID, error) {
	want := door.WantSummary
	if query.Texts() {
		want |= door.WantBlob
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
	for e, err := range c.accounts.Emails(ctx, c.id, c.sel.mailbox, set, want) {
		if err != nil {
			return nil, err
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
			found = append(found, e.UID)
		case search.Unknown:
			texts = append(texts, unread{candidate, e.Blob})
		}
	}
	for i := range texts {
		t := &texts[i]
		err := query.Read(&t.Candidate, func(off, n int64) (io.ReadCloser, error) {
			return c.accounts.Open(ctx, t.blob, off, n)
		})
		switch {
		case err == nil:
			if query.Judge(&t.Candidate) == search.Yes {
				found = append(found, t.Row.UID)
			}
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case domain.Is(err, domain.NotFound), domain.Is(err, domain.Corrupt):
			// One damaged message does not end the search. RFC 9051 section 7.1.2: an untagged NO is a warning.
			c.log.Error("message cannot be searched", "account", c.id, "uid", t.Row.UID, "error", err)
			c.status("*", "NO", kinds[domain.Corrupt], unreadable+", so it was not searched")
		default:
			return nil, err
		}
	}
	return found, nil
}
