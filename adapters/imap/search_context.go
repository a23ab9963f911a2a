package imap

import (
	"context"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/domain/sorting"
)

// CONTEXT=SEARCH and CONTEXT=SORT (RFC 5267 section 4): searches whose results are kept up to date while the mailbox is selected.
//
// A context keeps the UIDs of its results, four octets each, in their order. At each point where the session tells what has changed, the messages
// that changed since are judged anew, and no others: what depends on the clock alone (OLDER and YOUNGER) changes with the message's next change.

func init() {
	// Section 4.2: CONTEXT is a hint, which makes nothing different here.
	returns("CONTEXT", func(*conn, *wire.Decoder, *searchRequest) bool { return true }, "CONTEXT=SEARCH", "CONTEXT=SORT")
	returns("UPDATE", func(c *conn, d *wire.Decoder, r *searchRequest) (ok bool) {
		if r.update {
			return d.Fail(wire.Syntaxf("UPDATE is given twice"))
		}
		r.update, r.nothing = true, true
		if !d.Follows(" (") {
			return d.Err() == nil
		}
		d.SP()
		r.items, ok = c.fetchItems(d) // RFC 5465 section 7.
		return ok && c.offers(d, "NOTIFY")
	}, "CONTEXT=SEARCH", "CONTEXT=SORT")
	register(spec{name: "CANCELUPDATE", states: mailboxSelected, run: runCancelUpdate, capabilities: []string{"CONTEXT=SEARCH", "CONTEXT=SORT"}}) // which advertises both
}

// searchContext is a search that is kept up to date.
type searchContext struct {
	tag   string
	uid   bool
	key   search.Key
	by    []sorting.Criterion
	found []domain.UID // the results that the client knows, in their order
	items []fetchItem  // that are fetched of new messages among the results (RFC 5465 section 7)
	last  domain.UID   // messages above it are new
	seen  domain.Tx    // messages that changed later are to be judged anew
}

// mayFollow refuses a tag that an updated search has already (RFC 5267 section 4.3).
func (c *conn) mayFollow(r *searchRequest) error {
	if r.update && slices.ContainsFunc(c.sel.contexts, func(x *searchContext) bool { return x.tag == r.tag }) {
		return wire.Syntaxf("the tag belongs to a search that is being updated")
	}
	return nil
}

// follow begins to keep the results of a search up to date, or says that it does not.
func (c *conn) follow(r *searchRequest, found []account.Message) {
	if len(c.sel.contexts) >= c.server.limits.Contexts || slices.ContainsFunc(r.by, func(by sorting.Criterion) bool { return by.Key == sorting.Relevancy }) {
		c.refuseUpdates(r.tag)
		return
	}
	x := &searchContext{tag: r.tag, uid: r.uid, key: r.key, by: r.by, items: r.items, last: c.sel.last(), seen: c.sel.seen, found: make([]domain.UID, len(found))}
	for i := range found {
		x.found[i] = found[i].UID
	}
	c.sel.contexts = append(c.sel.contexts, x)
}

// refuseUpdates says that a search is answered but not kept up to date (RFC 5267 section 4.3.1).
func (c *conn) refuseUpdates(tag string) {
	c.enc.Raw("* NO [NOUPDATE ").String(tag).Raw("] this search is not kept up to date\r\n")
}

// runCancelUpdate is CANCELUPDATE (RFC 5267 section 4.3.5). Tags of no context are passed over.
func runCancelUpdate(_ context.Context, c *conn, cmd *command) error {
	d := cmd.dec
	var tags []string
	for d.SP() || len(tags) == 0 && d.ExpectSP() {
		var tag string
		if !d.Item() || !d.ExpectString(&tag) {
			return d.Err()
		}
		tags = append(tags, tag)
	}
	if !d.ExpectCRLF() {
		return d.Err()
	}
	c.sel.contexts = slices.DeleteFunc(c.sel.contexts, func(x *searchContext) bool { return slices.Contains(tags, x.tag) })
	return nil
}

// expungeContexts takes messages that are about to be announced as expunged out of the results, while their numbers are valid (RFC 5267 section
// 4.3.4). present is what is left of the session's view.
func (c *conn) expungeContexts(present []domain.UID) {
	for _, x := range c.sel.contexts {
		c.sendContext(x, func(uid domain.UID) bool {
			_, there := slices.BinarySearch(present, uid)
			return there
		}, nil)
	}
}

// updateContexts judges messages anew that have changed. New ones have been announced before, so that their numbers are valid (RFC 5267 section
// 4.3.3).
func (c *conn) updateContexts(ctx context.Context) error {
	for _, x := range c.sel.contexts {
		if err := c.updateContext(ctx, x); err != nil {
			if ctx.Err() != nil {
				return err
			}
			// The context stays as it was, so that the next change tries again.
			c.log.Warn("a search is not up to date", "account", c.id, "tag", x.tag, "error", err)
		}
	}
	return nil
}

func (c *conn) updateContext(ctx context.Context, x *searchContext) error {
	var changed []domain.UID
	tx := c.sel.seen
	if err := c.viewOf(ctx, c.sel.owner, func(s *account.State) error {
		changed = changed[:0]
		m := c.readable(s, c.sel.owner, c.sel.mailbox)
		if m == nil || m.ModSeq <= x.seen {
			return nil
		}
		known, _ := slices.BinarySearch(m.UID, c.sel.last()+1)
		for i, modified := range m.Modified[:known] {
			if modified > x.seen {
				changed = append(changed, m.UID[i])
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if len(changed) == 0 {
		x.seen = tx
		return nil
	}
	f := finder{c: c, key: x.key, owner: c.sel.owner}
	matching, err := f.in(ctx, c.sel.mailbox, changed)
	if domain.Is(err, domain.NotFound) && f.gone {
		return nil
	}
	if err != nil {
		return err
	}
	matches := func(uid domain.UID) bool {
		_, is := slices.BinarySearchFunc(matching, uid, func(row account.Message, uid domain.UID) int { return int(row.UID) - int(uid) })
		return is
	}
	judged := func(uid domain.UID) bool {
		_, is := slices.BinarySearch(changed, uid)
		return is
	}
	added := map[domain.UID]bool{}
	for i := range matching {
		added[matching[i].UID] = true
	}
	for _, uid := range x.found { // results are many, and changes mostly few.
		if judged(uid) {
			delete(added, uid)
		}
	}
	stays := func(uid domain.UID) bool { return !judged(uid) || matches(uid) }
	var ordered []domain.UID // of all results, when there are new ones
	if len(added) > 0 {
		for _, uid := range x.found {
			if stays(uid) {
				ordered = append(ordered, uid)
			}
		}
		for uid := range added {
			ordered = append(ordered, uid)
		}
		slices.Sort(ordered)
		if len(x.by) > 0 {
			if ordered, err = c.orderUIDs(ctx, ordered, x.by); err != nil {
				return err
			}
		}
		there := slices.Sorted(slices.Values(ordered)) // also without those whose EXPUNGE has to wait
		stays = func(uid domain.UID) bool {
			_, is := slices.BinarySearch(there, uid)
			return is
		}
	}
	var fresh domain.UIDSet
	for uid := range added {
		if uid > x.last {
			fresh = fresh.Add(uid)
		}
	}
	if x.last = c.sel.last(); len(x.items) > 0 && len(fresh) > 0 { // RFC 5465 section 7: after EXISTS and before ESEARCH.
		if err := newFetch(c, x.items).run(ctx, fresh); err != nil {
			return err
		}
	}
	c.sendContext(x, stays, &addition{ordered, added})
	x.seen = tx
	return nil
}

// orderUIDs puts messages of the selected mailbox in order; those that are gone are left out.
func (c *conn) orderUIDs(ctx context.Context, uids []domain.UID, by []sorting.Criterion) ([]domain.UID, error) {
	f := finder{c: c, key: search.All{}, owner: c.sel.owner}
	rows, err := f.in(ctx, c.sel.mailbox, uids)
	if err == nil {
		rows, err = c.order(ctx, rows, by, nil)
	}
	ordered := make([]domain.UID, len(rows))
	for i := range rows {
		ordered[i] = rows[i].UID
	}
	return ordered, err
}

// addition is what comes into the results of a context: all its results in their order, and which of them are new.
type addition struct {
	ordered []domain.UID
	added   map[domain.UID]bool
}

// sendContext tells what leaves the results of a context and what comes into them, if anything does (RFC 5267 sections 4.3.3 and 4.3.4).
func (c *conn) sendContext(x *searchContext, stays func(domain.UID) bool, a *addition) {
	begun := false
	item := func(name string) {
		if !begun {
			c.enc.Raw("* ESEARCH (TAG ").String(x.tag).Byte(')')
			if x.uid {
				c.enc.Raw(" UID")
			}
			begun = true
		}
		c.enc.SP().Raw(name).Raw(" (")
	}
	if gone := runs(x.found, func(uid domain.UID) bool { return !stays(uid) }); len(gone) > 0 {
		item("REMOVEFROM")
		slices.Reverse(gone) // from the end, so that no position changes the next one
		c.sendRuns(x, x.found, gone)
		x.found = slices.DeleteFunc(x.found, func(uid domain.UID) bool { return !stays(uid) })
	}
	if a != nil && len(a.added) > 0 {
		if fresh := runs(a.ordered, func(uid domain.UID) bool { return a.added[uid] }); len(fresh) > 0 {
			item("ADDTO")
			c.sendRuns(x, a.ordered, fresh)
		}
		x.found = a.ordered
	}
	if begun {
		c.enc.CRLF()
	}
}

// run is results that stand side by side: those with the indexes first to end-1.
type run struct{ first, end int }

// runs finds results of a kind.
func runs(all []domain.UID, of func(domain.UID) bool) (found []run) {
	for i := 0; i < len(all); i++ {
		first := i
		for i < len(all) && of(all[i]) {
			i++
		}
		if first < i {
			found = append(found, run{first, i})
		}
	}
	return found
}

// sendRuns writes pairs of a position and results. Those of SEARCH are in the order of the mailbox, and one pair without a position says all.
func (c *conn) sendRuns(x *searchContext, all []domain.UID, of []run) {
	number := func(uid domain.UID) uint32 {
		if x.uid {
			return uint32(uid)
		}
		seq, _ := c.sel.seq(uid)
		return seq
	}
	var numbers []uint32
	if len(x.by) == 0 {
		for _, r := range of {
			for _, uid := range all[r.first:r.end] {
				numbers = append(numbers, number(uid))
			}
		}
		slices.Sort(numbers)
		c.enc.Raw("0 ")
		c.sendSet(numbers)
	} else {
		for i, r := range of {
			if i > 0 {
				c.enc.SP()
			}
			numbers = numbers[:0]
			for _, uid := range all[r.first:r.end] {
				numbers = append(numbers, number(uid))
			}
			c.enc.Number(uint64(r.first + 1)).SP()
			c.sendSet(numbers)
		}
	}
	c.enc.Byte(')')
}
