package imap

import (
	"context"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

// selected is a session's view of its selected mailbox: what its client has been told, which may be older than the account's state. All
// sequence numbers are positions in this view.
type selected struct {
	owner    owner
	mailbox  domain.MailboxID
	rights   account.Rights // of the user, as the client was last told of them
	watch    *door.Watch    // of the owner; nil when that is the session's own account, which conn watches
	uids     []domain.UID   // the message with sequence number i has uids[i-1]; rising
	seen     domain.Tx      // flags, arrivals and keywords up to here are known to the client
	answered domain.Tx      // seen when the last command was answered; NOTIFY tells of changes between commands
	told     domain.Tx      // the mod-sequence up to which the client knows everything, expunges too
	ahead    bool           // it may have seen mod-sequences above told
	shrunk   bool           // it was told of expunges, and not yet of the mod-sequence that goes with them
	expunged bool           // uids holds messages that are gone, whose EXPUNGE had to wait
	late     bool           // the last update could not tell everything
	gone     bool           // the mailbox was deleted
	examined bool           // EXAMINE
	readOnly bool           // EXAMINE, or the rights let nothing be changed
	keywords event.Flags    // those of the account's keywords that FLAGS has shown
	recent   domain.UIDSet
	saved    domain.UIDSet // "$", the result of the last SEARCH RETURN (SAVE) (RFC 5182)
	contexts []*searchContext
}

// mayWriteNow tells whether a mailbox that was read-only when the client was last told has been opened to it since, by rights that were given meanwhile.
func (c *conn) mayWriteNow(ctx context.Context) (may bool) {
	if !c.sel.examined && c.foreign(c.sel.owner) {
		_ = c.inSelected(ctx, func(_ *account.State, m *account.Mailbox) error {
			may = c.rights(c.sel.owner, m)&mayChange != 0
			return nil
		})
	}
	return may
}

// changes has a token when something has changed in an account that is not the session's own.
func (s *selected) changes() <-chan struct{} {
	if s == nil || s.watch == nil {
		return nil
	}
	return s.watch.C
}

// deselect leaves the selected mailbox, if there is one.
func (c *conn) deselect() {
	if c.sel != nil && c.notify != nil {
		c.notify.leave(c.sel)
	}
	if c.sel != nil && c.sel.watch != nil {
		c.sel.watch.Close()
	}
	c.sel = nil
}

// last is the highest UID in the view; 0 when it is empty.
func (s *selected) last() domain.UID {
	if len(s.uids) == 0 {
		return 0
	}
	return s.uids[len(s.uids)-1]
}

// seq finds the sequence number of a message.
func (s *selected) seq(uid domain.UID) (uint32, bool) {
	// Where nothing was ever expunged, the UID alone tells.
	if n := len(s.uids); n > 0 && uid >= s.uids[0] && int(uid-s.uids[0]) < n && s.uids[uid-s.uids[0]] == uid {
		return uint32(uid-s.uids[0]) + 1, true
	}
	i, found := slices.BinarySearch(s.uids, uid)
	return uint32(i + 1), found
}

// seqs turns UIDs of the view into sequence numbers.
func (s *selected) seqs(uids domain.UIDSet) (numbers domain.UIDSet) {
	for uid := range uids.All() {
		if seq, found := s.seq(uid); found {
			numbers = numbers.Add(domain.UID(seq))
		}
	}
	return numbers
}

// isRecent reports whether the session was the first to be told of a message (RFC 3501 section 2.3.2).
func (s *selected) isRecent(uid domain.UID) bool { return len(s.recent) > 0 && s.recent.Contains(uid) }

// numbers parses the set of messages that a command acts on, with the space before it.
func numbers(d *wire.Decoder, set *wire.NumSet) bool { return d.ExpectSP() && d.ExpectNumSet(set) }

// resolve turns a set of sequence numbers, or of UIDs, into UIDs of the view. The result may cover UIDs between those of the view that no
// message has or will have; it never reaches beyond the last one, so it names no message that the client has not been told of.
//
// UIDs that do not exist are passed over (RFC 9051 section 6.4.9); sequence numbers that do not exist are an error of the client (section 9,
// seq-number), except that "n:*" always means the last message at least.
func (s *selected) resolve(set wire.NumSet, uid bool) (domain.UIDSet, error) {
	if set.Saved {
		return s.saved, nil // RFC 5182 section 2.1: in the form in which the command takes numbers.
	}
	if uid {
		return upTo(set.Resolve(s.last()), s.last()), nil
	}
	numbers := set.Resolve(domain.UID(len(s.uids)))
	var uids domain.UIDSet
	for _, r := range numbers {
		if int(r.Hi) > len(s.uids) {
			if !set.Dynamic() || int(r.Lo) > len(s.uids) {
				return nil, wire.Syntaxf("the mailbox has %d messages: number %d does not exist", len(s.uids), r.Hi)
			}
			r.Hi = domain.UID(len(s.uids))
		}
		uids = uids.AddRange(s.uids[r.Lo-1], s.uids[r.Hi-1])
	}
	return uids, nil
}

// upTo cuts what lies above last off a set.
func upTo(set domain.UIDSet, last domain.UID) domain.UIDSet {
	for i, r := range set {
		if r.Hi <= last {
			continue
		}
		cut := slices.Clone(set[:i])
		if r.Lo <= last {
			cut = append(cut, domain.UIDRange{Lo: r.Lo, Hi: last})
		}
		return cut
	}
	return set
}
