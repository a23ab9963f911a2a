package imap

import (
	"context"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
)

// FETCH (RFC 9051 section 6.4.5, RFC 3501 section 6.4.5).
//
// Messages are answered in portions. A portion is copied out of the account's columns and of the view's rows first and written to the network
// afterwards, so that a slow client holds neither a lock nor a cursor. Section bodies stream from the blob store.
//
// A message whose bytes cannot be read loses the item that needs them and nothing else; the command goes on and ends in NO. An item's first
// octet is written only when its bytes have begun to arrive, so damage is never shown as an empty body.

func init() {
	register(spec{name: "FETCH", states: mailboxSelected, uid: true, numbered: true, run: runFetch})
}

// fetchItem is one thing that FETCH asks of a message.
type fetchItem struct {
	name string       // as the response shows it
	want door.Columns // that send reads
	sees bool         // it sets \Seen (RFC 9051 section 6.4.5, BODY[<section>])
	send func(r *fetchReply) error
}

// fetchable is an entry of the table of items: either an item without arguments, or a parser for what follows the name.
type fetchable struct {
	item       fetchItem
	parse      func(c *conn, d *wire.Decoder, name string) (fetchItem, bool)
	capability string // that brings it; empty for the base protocol
}

var fetchables = map[string]fetchable{}

// fetches registers an item without arguments. Files call it from init.
func fetches(capability string, item fetchItem) {
	fetchables[item.name] = fetchable{item: item, capability: capability}
}

// fetchesParsed registers an item with arguments.
func fetchesParsed(capability, name string, parse func(c *conn, d *wire.Decoder, name string) (fetchItem, bool)) {
	fetchables[name] = fetchable{parse: parse, capability: capability}
}

// fetchMacros are the macros of RFC 9051 section 6.4.5.
var fetchMacros = map[string][]string{
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// fetchItems parses what FETCH asks for.
func (c *conn) fetchItems(d *wire.Decoder) (items []fetchItem, ok bool) {
	one := func(name string) bool {
		known, found := fetchables[name]
		if !found || c.without[known.capability] {
			return d.Fail(wire.Syntaxf("unknown FETCH item %s", name))
		}
		item, ok := known.item, true
		if known.parse != nil {
			item, ok = known.parse(c, d, name)
		}
		items = append(items, item)
		return ok
	}
	element := func() bool {
		var name string
		return d.ExpectLabel(&name) && one(name)
	}
	if d.List(element) {
		if len(items) == 0 {
			return nil, d.Fail(wire.Syntaxf("FETCH asks for nothing"))
		}
		return items, true
	}
	var name string
	if !d.ExpectLabel(&name) {
		return nil, false
	}
	macro, is := fetchMacros[name]
	if !is {
		macro = []string{name}
	}
	for _, name := range macro {
		if !one(name) {
			return nil, false
		}
	}
	return items, true
}

// fetchRequest is a parsed FETCH. Modifiers (RFC 4466 section 2.4) fill in more of it.
type fetchRequest struct {
	set   wire.NumSet
	items []fetchItem
	uid   bool

	since    *domain.Tx    // CHANGEDSINCE; nil without it
	vanished bool          // VANISHED
	page     *partialRange // PARTIAL; nil without it
}

// fetchModifiers parse what may stand in parentheses behind the items, by name. Extensions add theirs from init.
var fetchModifiers = map[string]func(c *conn, d *wire.Decoder, r *fetchRequest) bool{}

func (r *fetchRequest) parse(c *conn, d *wire.Decoder) (ok bool) {
	if !numbers(d, &r.set) || !d.ExpectSP() {
		return false
	}
	if r.items, ok = c.fetchItems(d); !ok {
		return false
	}
	if d.SP() && !expectModifiers(c, d, fetchModifiers, r) {
		return false
	}
	if r.vanished && (!r.uid || r.since == nil) { // RFC 7162 section 3.2.6.
		return d.Fail(wire.Syntaxf("VANISHED goes with UID FETCH and CHANGEDSINCE"))
	}
	return d.ExpectCRLF()
}

// asks tells whether an item is asked for.
func (r *fetchRequest) asks(name string) bool {
	return slices.ContainsFunc(r.items, func(i fetchItem) bool { return i.name == name })
}

func runFetch(ctx context.Context, c *conn, cmd *command) error {
	r := fetchRequest{uid: cmd.uid}
	if !r.parse(c, cmd.dec) {
		return cmd.dec.Err()
	}
	uids, err := c.sel.resolve(r.set, cmd.uid)
	if err != nil {
		return err
	}
	if cmd.uid && !c.uidonly && !r.asks("UID") {
		r.items = slices.Insert(r.items, 0, fetchables["UID"].item) // RFC 9051 section 6.4.9: the UID comes with every FETCH response.
	}
	if r.since != nil && !r.asks(modSeqItem.name) { // RFC 7162 section 3.1.4.1.
		r.items = append(r.items, modSeqItem)
	}
	if r.asks(modSeqItem.name) {
		c.enableCondstore()
	}
	if r.vanished {
		known := uids
		if !r.set.Saved {
			known = r.set.Resolve(c.sel.last())
		}
		if err := c.sendVanished(ctx, *r.since, known); err != nil {
			return err
		}
	}
	if r.page != nil { // RFC 9394 section 3.4: before CHANGEDSINCE.
		uids = c.sel.page(uids, r.page)
	}
	uids, short := c.limited(uids, c.messageLimit(false))
	if short.limit > 0 && r.page != nil { // RFC 9738 section 3.1: then nothing is done.
		return cut{limit: short.limit}.refused()
	}
	f := newFetch(c, r.items)
	f.since = r.since
	err = f.run(ctx, uids)
	if seen := f.seen; len(seen) > 0 && c.enc.Err() == nil {
		// Marked after they were sent, so that what could not be read stays unseen. The new flags follow as an update.
		wish := account.StoreFlags{Mailbox: c.sel.mailbox, UIDs: seen, Mode: account.AddFlags, Flags: []string{`\Seen`}}
		if _, failed := c.doOf(ctx, c.sel.owner, wish); err == nil && !domain.Is(failed, domain.Denied) { // RFC 4314 section 4: without "s" nothing is marked.
			err = failed
		}
		if c.quiet(newFlags) && err == nil { // what the client does itself it hears of.
			cmd.updated, cmd.late = true, c.refresh(ctx, refresh{expunges: cmd.uid, answer: seen})
		}
	}
	switch {
	case err != nil:
		return err
	case f.failed != nil:
		return f.failed
	case f.missing:
		cmd.ok("EXPUNGEISSUED", "FETCH completed, some of the messages are expunged") // RFC 5530 section 3.
	}
	c.tellLimit(cmd, short)
	return nil
}

// The size of a portion. Summaries are the only part of a row whose size is not counted while it is copied, and a hostile one is large.
const (
	portionOfColumns   = 8192 // messages, when the columns suffice
	portionOfRows      = 1024 // messages, when rows are wanted
	portionOfSummaries = 64   // messages, when their structure is wanted
	portionOctets      = 1 << 20
)

// fetch is one FETCH while it runs.
type fetch struct {
	c     *conn
	items []fetchItem
	want  door.Columns
	since *domain.Tx // only messages that changed after it; nil for all
	reply fetchReply

	rows  []account.Message // the present portion
	mails []mailRow         // their rows, when wanted
	arena []byte            // the wire forms in mails
	named event.Flags       // the keywords that FLAGS lists, of others' mailboxes those that these messages have

	seen    domain.UIDSet // to be marked \Seen
	missing bool          // a message is expunged that the client may still name
	failed  error         // of the first message that could not be sent whole
}

func newFetch(c *conn, items []fetchItem) *fetch {
	f := &fetch{c: c, items: items}
	f.reply.c = c
	for _, item := range items {
		f.want |= item.want
	}
	return f
}

// mailRow is a copy of a row of the mailbox view.
type mailRow struct {
	uid                 domain.UID
	envelope, structure []byte // in the fetch's arena
	summary             *message.Summary
	blob                domain.BlobRef
}

// run answers for the messages of the session's view that are in the set.
func (f *fetch) run(ctx context.Context, set domain.UIDSet) error {
	size := portionOfColumns
	switch {
	case f.want&(door.WantSummary|door.WantHead) != 0:
		size = portionOfSummaries
	case f.want != 0:
		size = portionOfRows
	}
	uids := f.c.sel.uids
	for _, r := range set {
		first, _ := slices.BinarySearch(uids, r.Lo)
		end, found := slices.BinarySearch(uids, r.Hi)
		if found {
			end++
		}
		for first < end {
			last := min(first+size, end)
			if err := f.portion(ctx, first, last); err != nil {
				return err
			}
			first = last
		}
	}
	return nil
}

// portion answers for the messages with the sequence numbers first+1 to end.
func (f *fetch) portion(ctx context.Context, first, end int) error {
	uids := f.c.sel.uids[first:end]
	if err := f.readColumns(ctx, uids); err != nil {
		return err
	}
	f.c.sendKeywords(f.reply.keywords, f.named)
	f.reply.seq = uint32(first)
	for rows := f.rows; len(rows) > 0; {
		n := len(rows)
		if f.want != 0 {
			var err error
			if n, err = f.readRows(ctx, rows); err != nil {
				return err
			}
		}
		mails := f.mails
		for _, row := range rows[:n] {
			if err := f.c.admitted(); err != nil {
				return err
			}
			if f.want != 0 {
				if len(mails) == 0 || mails[0].uid != row.UID {
					f.missing = true // expunged between the two looks
					continue
				}
				f.reply.mail, mails = &mails[0], mails[1:]
			}
			f.reply.seq++
			for f.c.sel.uids[f.reply.seq-1] != row.UID {
				f.reply.seq++
			}
			if err := f.answer(ctx, row); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	return f.c.enc.Err()
}

// readColumns copies the columns of messages out of the account's state.
func (f *fetch) readColumns(ctx context.Context, uids []domain.UID) error {
	return f.c.inSelected(ctx, func(s *account.State, m *account.Mailbox) error {
		f.rows = f.rows[:0]
		f.reply.learn(s.Keywords)
		f.named = 0
		if !f.c.foreign(f.c.sel.owner) {
			f.named = f.c.named(f.c.sel.owner, s, m)
		}
		i, _ := m.Index(uids[0])
		missing := false
		for _, uid := range uids {
			for i < len(m.UID) && m.UID[i] < uid {
				i++
			}
			switch {
			case i == len(m.UID) || m.UID[i] != uid:
				missing = true
			case f.since == nil || m.Modified[i] > *f.since:
				f.rows = append(f.rows, m.At(i))
				f.named |= m.Flags[i] &^ m.Flags[i].System()
			}
		}
		f.missing = f.missing || missing
		return nil
	})
}

// readRows copies rows of the mailbox view and tells for how many of the messages it did.
func (f *fetch) readRows(ctx context.Context, rows []account.Message) (int, error) {
	f.mails, f.arena = f.mails[:0], f.arena[:0]
	var set domain.UIDSet
	for _, row := range rows {
		set = set.Add(row.UID)
	}
	octets := 0
	for e, err := range f.c.accounts.Emails(ctx, f.c.sel.owner.id, f.c.sel.mailbox, set, f.want) {
		if err != nil {
			return 0, err
		}
		m := mailRow{uid: e.UID, summary: e.Summary, blob: e.Blob}
		m.envelope, m.structure = f.keep(e.Envelope), f.keep(e.Structure)
		f.mails = append(f.mails, m)
		if octets += len(e.Envelope) + len(e.Structure); octets > portionOctets {
			n, _ := slices.BinarySearchFunc(rows, e.UID, func(row account.Message, uid domain.UID) int { return int(row.UID) - int(uid) })
			return n + 1, nil
		}
	}
	return len(rows), nil
}

// keep copies octets to the arena. A full arena is left to those who hold parts of it.
func (f *fetch) keep(p []byte) []byte {
	if cap(f.arena)-len(f.arena) < len(p) {
		f.arena = make([]byte, 0, max(64<<10, 2*cap(f.arena), len(p)))
	}
	start := len(f.arena)
	f.arena = append(f.arena, p...)
	return f.arena[start:len(f.arena):len(f.arena)]
}

// answer writes the FETCH response of one message.
func (f *fetch) answer(ctx context.Context, row account.Message) error {
	r := &f.reply
	r.ctx, r.row, r.begun = ctx, row, false
	sees := false
	for i := range f.items {
		item := &f.items[i]
		err := item.send(r)
		switch {
		case err == nil:
			sees = sees || item.sees
		case f.c.enc.Err() != nil || ctx.Err() != nil || !ofMessage(err):
			r.end()
			return err
		case f.failed == nil:
			f.failed = err
		}
	}
	r.end()
	if sees && row.Flags&event.Seen == 0 && !f.c.sel.readOnly && f.c.sel.rights&account.MaySee != 0 { // RFC 9051 section 6.3.3: EXAMINE changes nothing.
		f.seen = f.seen.Add(row.UID)
	}
	return nil
}

// ofMessage tells whether an error is a fault of one message only.
func ofMessage(err error) bool {
	switch domain.KindOf(err) {
	case domain.Corrupt, domain.Invalid:
		return true
	}
	return false
}
