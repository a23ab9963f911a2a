package imap

import (
	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
)

// PARTIAL as a modifier of UID FETCH (RFC 9394 section 3.3): a page of a list of messages.

func init() {
	advertise("PARTIAL", whenAuthenticated)
	fetchModifiers["PARTIAL"] = func(c *conn, d *wire.Decoder, r *fetchRequest) bool {
		if !r.uid {
			return d.Fail(wire.Syntaxf("PARTIAL goes with UID FETCH"))
		}
		if r.page != nil {
			return d.Fail(wire.Syntaxf("PARTIAL is given twice"))
		}
		r.page = new(partialRange)
		return c.offers(d, "PARTIAL") && d.ExpectSP() && r.page.parse(d)
	}
}

// page reduces a set to one page of those messages of the view that are in it.
func (s *selected) page(set domain.UIDSet, p *partialRange) domain.UIDSet {
	var all []domain.UID
	picked := picker{uids: s.uids, set: set}
	for i := picked.next(); i < len(s.uids); i = picked.next() {
		all = append(all, s.uids[i])
	}
	first, end := p.of(len(all))
	return domain.UIDs(all[first:end]...)
}
