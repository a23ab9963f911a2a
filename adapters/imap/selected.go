package imap

import (
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
)

// selected is a session's view of its selected mailbox: what its client has been told, which may be older than the account's state. All
// sequence numbers are positions in this view.
type selected struct {
	mailbox  domain.MailboxID
	name     string       // as it was when selected
	uids     []domain.UID // the message with sequence number i has uids[i-1]; rising
	seen     domain.Tx    // flags, arrivals and keywords up to here are known to the client
	expunged bool         // uids holds messages that are gone, whose EXPUNGE had to wait
	gone     bool         // the mailbox was deleted
	readOnly bool         // EXAMINE
	keywords int          // how many of the account's keywords FLAGS has shown
	recent   domain.UIDSet
	saved    domain.UIDSet // "$", the result of the last SEARCH RETURN (SAVE) (RFC 5182)
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
	i, found := slices.BinarySearch(s.uids, uid)
	return uint32(i + 1), found
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
