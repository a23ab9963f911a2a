package sieve

import (
	"slices"

	"github.com/streampost/streampost/domain/delivery"
)

// RedirectedBy is the field that a redirected message gets, with the address that it was redirected from: who finds their own address in it does not redirect the message again.
const RedirectedBy = "X-Sieve-Redirected-From"

func init() {
	commands["redirect"] = &spec{takes: "s", command: buildRedirect, tags: map[string]tagged{"copy": {needs: "copy"}}}
}

// maxHops is how often a message is redirected, wherever that was.
const maxHops = 20

// MaxRedirects is how many different addresses one run redirects a message to, and how many notifications it sends.
const MaxRedirects = 4

// buildRedirect is redirect (RFC 5228 section 4.2, RFC 3894).
func buildRedirect(c *compiler, a *arguments) (step, error) {
	to, err := c.template(a.place[0].Position, a.place[0].strings[0])
	if err != nil {
		return nil, err
	}
	if s, ok := to.constant(); ok {
		if _, _, ok := sender(s); !ok {
			return nil, a.place[0].errorf("%q is not an address", s)
		}
	}
	return func(m *machine) error {
		text := m.expand(to)
		_, address, ok := sender(text)
		if !ok {
			return a.place[0].errorf("%q is not an address", truncate(text, 100))
		}
		before, err := m.values(a.Position, []string{RedirectedBy}, nil)
		if err != nil {
			return err
		}
		if m.ctx.Quiet != "" {
			return m.withhold("redirect sends nothing: " + m.ctx.Quiet)
		}
		if len(before) > maxHops || slices.ContainsFunc(before, m.owns) { // RFC 5228 section 4.2: loops are found.
			return m.withhold("redirect sends nothing: the message was redirected from here before")
		}
		if m.owns(address.String()) && len(before) == 0 && m.ctx.To.Key() == address.Key() {
			return a.errorf("a message is not redirected to where it comes in")
		}
		if !a.has("copy") {
			m.keep = false
		}
		return m.send(a.Position, Action{Kind: Redirect, Address: address.String(), Header: m.header.edited()})
	}, nil
}

// withhold notes why a redirect does nothing. What else the script does stands, and the message is kept where that is nothing.
func (m *machine) withhold(why string) error {
	if !m.withheld {
		m.notes, m.withheld = append(m.notes, why), true
	}
	return nil
}

// send adds an action by which mail leaves. One address gets a message once (RFC 5228 section 2.10.3).
func (m *machine) send(at Position, a Action) error {
	count := 0
	for i, b := range m.actions {
		if b.Kind != a.Kind {
			continue
		}
		count++
		if a.Kind == Redirect && sameAddress(a.Address, b.Address) {
			m.actions[i] = a
			return nil
		}
	}
	if count == MaxRedirects {
		return at.errorf("a script redirects or notifies at most %d times", MaxRedirects)
	}
	return m.add(at, a)
}

func sameAddress(a, b string) bool {
	x, err := delivery.ParseAddress(a)
	if err != nil {
		return false
	}
	y, err := delivery.ParseAddress(b)
	return err == nil && x.Key() == y.Key()
}

// owns tells whether an address is the account's. The world is asked once for each.
func (m *machine) owns(address string) bool {
	key := address
	if a, err := delivery.ParseAddress(address); err == nil {
		key = a.Key()
	}
	own, asked := m.own[key]
	if !asked {
		own = key == m.ctx.To.Key() || m.ctx.Own != nil && m.ctx.Own(address)
		m.own[key] = own
	}
	return own
}
