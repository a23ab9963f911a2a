package smtp

import (
	"strings"
	"time"

	"github.com/streampost/streampost/domain/batv"
	"github.com/streampost/streampost/domain/directory"
)

// unmark takes the mark off a recipient that was a sender here, see package batv, whether senders are marked now or were some days ago. Where it is configured, a report to somebody without a mark is
// refused: it is about mail that was not sent from here. Postmasters get all that comes (RFC 5321 section 4.5.1).
func (s *session) unmark(tx *transaction, r *recipient) error {
	cfg := &s.server.cfg
	if len(cfg.BATV) == 0 || !s.local(r.address) {
		return nil
	}
	marked := batv.Is(r.address.Local)
	if marked {
		var ok bool
		if r.address, ok = cfg.BATV.Unmark(r.address, time.Now().Unix()); ok {
			return nil
		}
	}
	if cfg.CheckBounces && s.server.kind == MX && tx.sender.IsNull() && !strings.EqualFold(r.address.Local, directory.Postmaster) {
		s.log.Info("a report about nothing that was sent from here is refused", "recipient", r.address.String(), "marked", marked)
		return errNotSent
	}
	return nil
}
