package smtp

import "github.com/streampost/streampost/domain/delivery"

// share is what one target gets of a message. There may be ten thousand targets, and each of them asks for its own.
type share struct {
	dues  []due // in order of RCPT, at least one
	alone bool  // a recipient leads here and nowhere else
	comes bool  // for a recipient for whom the message was not sent on before
}

// due is a copy of a recipient.
type due struct {
	of *recipient
	*leg
}

// share gives what a target gets. All shares are made at once, after RCPT and the header: nothing changes the recipients of a message then.
func (m *received) share(to target) *share {
	m.dealt.Do(m.deal)
	return m.shares[to]
}

// targets gives each mailbox once, however many of its addresses were named.
func (m *received) targets() []target {
	m.dealt.Do(m.deal)
	return m.order
}

func (m *received) deal() {
	m.shares = make(map[target]*share, len(m.recipients))
	for i := range m.recipients {
		r := &m.recipients[i]
		comes := !m.loops[r.address.Key()]
		for j := range r.copies {
			p := &r.copies[j]
			one := m.shares[p.target]
			if one == nil {
				one = &share{}
				m.shares[p.target] = one
				m.order = append(m.order, p.target)
			}
			one.dues = append(one.dues, due{r, p})
			one.alone = one.alone || len(r.copies) == 1
			one.comes = one.comes || comes
		}
	}
}

// first is the first recipient that leads to a target.
func (m *received) first(to target) delivery.Address { return m.share(to).dues[0].of.address }

// passed tells whether the message comes to a target only for recipients for whom it was sent on before.
func (m *received) passed(to target) bool { return !m.share(to).comes }

// spread tells whether all recipients that lead to a mailbox lead to others as well: none of them can be refused for one that is full.
func (m *received) spread(to target) bool { return !m.share(to).alone }
