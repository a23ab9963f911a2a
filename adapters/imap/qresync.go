package imap

import (
	"context"
	"iter"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// QRESYNC (RFC 7162 section 3.2). What vanished comes from the log through the projection changes, which remembers a number of UIDs for each mailbox. Below
// its floor every UID is told that the mailbox does not have, which is what section 3.2.6 asks for.

const qresync = "QRESYNC"

func init() {
	advertise(qresync, whenAuthenticated)
	enablable[qresync] = feature{qresync, func(c *conn) { // RFC 7162 section 3.2.3: it enables CONDSTORE as well.
		c.qresync = true
		c.enableCondstore()
	}}
	selectParameters[qresync] = func(c *conn, d *wire.Decoder, r *selectRequest) bool {
		r.resync = new(resync)
		return c.resyncs(d) && r.resync.parse(c, d)
	}
	fetchModifiers["VANISHED"] = func(c *conn, d *wire.Decoder, r *fetchRequest) bool {
		r.vanished = true
		return c.resyncs(d)
	}
}

// resyncs fails the command of a client that did not enable QRESYNC (RFC 7162 section 3.2.3).
func (c *conn) resyncs(d *wire.Decoder) bool {
	return c.qresync || d.Fail(wire.Syntaxf("ENABLE QRESYNC comes first"))
}

// resync is the QRESYNC parameter of SELECT (RFC 7162 section 3.2.5).
type resync struct {
	validity uint32
	since    domain.Tx
	known    domain.UIDSet // nil means all
	// Message sequence match data (section 3.2.5.2): a sample of sequence numbers and of the UIDs that go with them.
	seqs, uids domain.UIDSet
}

func (r *resync) parse(c *conn, d *wire.Decoder) bool {
	if !d.ExpectSP() || !d.ExpectSpecial('(') || !d.ExpectNumber(&r.validity) || r.validity == 0 && !d.Fail(wire.Syntaxf("no UIDVALIDITY is 0")) || !d.ExpectSP() || !expectModSeq(d, &r.since) {
		return false
	}
	more := d.SP()
	if more && !d.Next('(') {
		if !expectKnown(d, &r.known) {
			return false
		}
		more = d.SP()
	}
	if more {
		if !d.ExpectSpecial('(') || !expectKnown(d, &r.seqs) || !d.ExpectSP() || !expectKnown(d, &r.uids) || !d.ExpectSpecial(')') {
			return false
		}
		if c.uidonly { // RFC 9586 section 3.7.
			return d.Fail(uidRequired())
		}
	}
	return d.ExpectSpecial(')')
}

// expectKnown reads a set that a client knows, in which "*" is not allowed (RFC 7162 section 7). Nor is "$", which would be about the mailbox before.
func expectKnown(d *wire.Decoder, known *domain.UIDSet) bool {
	var set wire.NumSet
	if !d.ExpectNumSet(&set) || set.Dynamic() && !d.Fail(wire.Syntaxf("known numbers are written out")) {
		return false
	}
	*known = set.Resolve(0)
	return true
}

// changedSince gives those of the known messages that changed after a mod-sequence.
func (r *resync) changedSince(m *account.Mailbox) (changed []flagged) {
	if m.ModSeq <= r.since {
		return nil
	}
	known := r.known
	if known == nil {
		known = domain.UIDSet{domain.AllUIDs}
	}
	m.Each(known, func(i int) {
		if m.Modified[i] > r.since {
			changed = append(changed, flagged{uid: m.UID[i], flags: m.Flags[i], modseq: m.Modified[i]})
		}
	})
	return changed
}

// sendEarlier writes VANISHED (EARLIER) for those of the known UIDs that left the mailbox after a mod-sequence (RFC 7162 section 3.2.10.1). A message that
// the session still has is not among them: of its end the client hears with the other changes.
func (c *conn) sendEarlier(ctx context.Context, r resync, next domain.UID) error {
	if next <= 1 { // RFC 7162 section 3.2.5.1: there never was a message.
		return nil
	}
	gone, complete, err := c.accounts.Vanished(ctx, c.sel.owner.id, c.sel.mailbox, r.since)
	if err != nil {
		return err
	}
	if !complete {
		gone = domain.UIDSet{{Lo: min(r.matched(c.sel.uids)+1, next), Hi: next}}
	}
	if r.known != nil {
		gone = gone.Intersect(r.known)
	}
	if gone = absent(upTo(gone, next-1), c.sel.uids); len(gone) > 0 {
		c.enc.Raw("* VANISHED (EARLIER) ").Append(gone.AppendText).CRLF()
	}
	return nil
}

// sendVanished is the VANISHED modifier of UID FETCH (RFC 7162 section 3.2.6).
func (c *conn) sendVanished(ctx context.Context, since domain.Tx, known domain.UIDSet) error {
	var next domain.UID
	err := c.inSelected(ctx, func(_ *account.State, m *account.Mailbox) error {
		next = m.UIDNext
		return nil
	})
	if err != nil || len(known) == 0 {
		return err
	}
	return c.sendEarlier(ctx, resync{since: since, known: known}, next)
}

// matched gives the UID up to which the client knows of every expunge, by the sample that it sent (RFC 7162 section 3.2.5.2).
func (r *resync) matched(present []domain.UID) (last domain.UID) {
	next, stop := iter.Pull(r.uids.All())
	defer stop()
	for seq := range r.seqs.All() {
		uid, ok := next()
		if !ok || int64(seq) > int64(len(present)) {
			break
		}
		if present[seq-1] == uid {
			last = uid
		}
	}
	return last
}

// absent gives the members of a set that are not among rising UIDs.
func absent(set domain.UIDSet, uids []domain.UID) (gone domain.UIDSet) {
	for _, r := range set {
		i, _ := slices.BinarySearch(uids, r.Lo)
		lo := r.Lo
		for ; i < len(uids) && uids[i] <= r.Hi; i++ {
			if uids[i] > lo {
				gone = append(gone, domain.UIDRange{Lo: lo, Hi: uids[i] - 1})
			}
			lo = uids[i] + 1
		}
		if lo <= r.Hi && lo >= r.Lo {
			gone = append(gone, domain.UIDRange{Lo: lo, Hi: r.Hi})
		}
	}
	return gone
}
