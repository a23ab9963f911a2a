package imap

import (
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
)

// CONDSTORE (RFC 7162 section 3.1). The mod-sequence of a message is the Tx of its last change, and that of a mailbox is the Tx of the last change in it,
// expunges included. Both come from the log, so they outlive every view and every node.

const condstore = "CONDSTORE"

func init() {
	forgets = append(forgets, func(c *conn) { c.condstore, c.qresync = false, false })
	advertise(condstore, whenAuthenticated)
	enablable[condstore] = feature{condstore, (*conn).enableCondstore}
	selectParameters[condstore] = func(c *conn, d *wire.Decoder, r *selectRequest) bool { // RFC 7162 section 3.1.8.
		r.condstore = true
		return c.offers(d, condstore)
	}
	storeModifiers["UNCHANGEDSINCE"] = func(c *conn, d *wire.Decoder, r *storeRequest) bool {
		r.wish.UnchangedSince = new(domain.Tx)
		return c.offers(d, condstore) && d.ExpectSP() && expectModSeq(d, r.wish.UnchangedSince)
	}
	fetchModifiers["CHANGEDSINCE"] = func(c *conn, d *wire.Decoder, r *fetchRequest) bool { // RFC 7162 section 3.1.4.1.
		r.since = new(domain.Tx)
		return c.offers(d, condstore) && d.ExpectSP() && expectModSeq(d, r.since)
	}
	fetches(condstore, modSeqItem)
	searches(condstore, "MODSEQ", parseModified)
	statusItems[highestModSeq] = statusItem{capability: condstore, number: func(_ *conn, _ owner, m *account.Mailbox) uint64 { return uint64(m.ModSeq) }}
}

// highestModSeq is a STATUS item and a response code.
const highestModSeq = "HIGHESTMODSEQ"

// modSeqItem is the FETCH item MODSEQ (RFC 7162 section 3.1.4.2).
var modSeqItem = fetchItem{name: "MODSEQ", send: func(r *fetchReply) error {
	r.item("MODSEQ").Byte('(').Number(uint64(r.row.Modified)).Byte(')')
	r.c.sel.ahead = true
	return nil
}}

// offers fails the command unless a capability that it needs is switched on.
func (c *conn) offers(d *wire.Decoder, capability string) bool {
	return !c.without[capability] || d.Fail(wire.Syntaxf("%s is not available", capability))
}

// expectModSeq reads a mod-sequence, zero included (RFC 7162 section 7, mod-sequence-valzer). Clients that know none yet send zero also where section 7 wants
// mod-sequence-value, which has none, and mean all that there ever was.
func expectModSeq(d *wire.Decoder, tx *domain.Tx) bool {
	var n int64 // mod-sequences have 63 bits.
	ok := d.ExpectNumber64(&n)
	*tx = domain.Tx(n)
	return ok
}

// parseModified is the search key MODSEQ (RFC 7162 section 3.1.5). A message has one mod-sequence for all its flags, so the name of an entry and
// its type are passed over, as that section wants.
func parseModified(p *searchParser) (search.Key, bool) {
	var since domain.Tx
	if !p.d.ExpectSP() {
		return nil, false
	}
	if p.d.Next('"') {
		var entry, kind string
		if !p.d.ExpectString(&entry) || !p.d.ExpectSP() || !p.d.ExpectName(&kind) || !p.d.ExpectSP() {
			return nil, false
		}
		if !strings.HasPrefix(strings.ToLower(entry), "/flags/") { // section 7, entry-flag-name.
			return nil, p.d.Fail(wire.Syntaxf("only flags have mod-sequences"))
		}
		if !slices.Contains([]string{"PRIV", "SHARED", "ALL"}, kind) {
			return nil, p.d.Fail(wire.Syntaxf("the type of an entry is priv, shared or all"))
		}
	}
	ok := expectModSeq(p.d, &since)
	return search.Modified{Since: since}, ok
}

// enableCondstore is what every CONDSTORE enabling command does (RFC 7162 section 3.1). The first one in a session with a selected mailbox tells of the
// mailbox's mod-sequence.
func (c *conn) enableCondstore() {
	if !c.condstore && c.sel != nil {
		c.sendModSeq("Highest")
	}
	c.condstore = true
}

// enableByStatus is enableCondstore when STATUS asks for HIGHESTMODSEQ.
func (c *conn) enableByStatus(items []string) {
	if slices.Contains(items, highestModSeq) {
		c.enableCondstore()
	}
}

// sendModSeq tells from which mod-sequence on the client would have to synchronise if it were cut off now.
func (c *conn) sendModSeq(why string) { c.status("*", "OK", c.modSeqCode(), why) }

func (c *conn) modSeqCode() string {
	return highestModSeq + " " + strconv.FormatUint(uint64(c.sel.told), 10)
}

// holdBack keeps a client from believing in a mod-sequence above that of an expunge of which it cannot be told now (RFC 7162 sections 3.2 and 6).
func (c *conn) holdBack() {
	if c.sel.expunged && c.sel.ahead && c.condstore {
		c.sendModSeq("an expunge is not told yet")
	}
	c.sel.ahead = false
}

// enableBySearch is enableCondstore when a search has the key MODSEQ.
func (c *conn) enableBySearch(key search.Key) {
	if search.Uses[search.Modified](key) {
		c.enableCondstore()
	}
}

// highest gives the highest mod-sequence of the messages that a search with the key MODSEQ tells of; 0 where none is to be told. Of MIN and MAX it is that
// of those messages, when they are all that is told (RFC 4731 section 3.2).
func (r *searchRequest) highest(found []account.Message) (highest domain.Tx) {
	if len(found) == 0 || !search.Uses[search.Modified](r.key) {
		return 0
	}
	told := r.result(found)
	for i := range found {
		if told.Contains(found[i].UID) {
			highest = max(highest, found[i].Modified)
		}
	}
	return highest
}
