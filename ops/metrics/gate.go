package metrics

import "time"

// Listed counts an answer of a list of addresses in DNS.
func (m *Metrics) Listed(list, result string) { m.listsAsked.WithLabelValues(list, result).Inc() }

// Named counts what a name of a client is like.
func (m *Metrics) Named(check, result string) { m.clientsNamed.WithLabelValues(check, result).Inc() }

// Gated counts a sender or recipient that was refused before any message was there.
func (m *Metrics) Gated(why string) { m.gateRefused.WithLabelValues(why).Inc() }

// Greylisted counts what greylisting said of a recipient.
func (m *Metrics) Greylisted(outcome string) { m.greylisted.WithLabelValues(outcome).Inc() }

// Filtered counts what a milter said of a message.
func (m *Metrics) Filtered(milter, outcome string, took time.Duration) {
	m.milterSeconds.WithLabelValues(milter, outcome).Observe(took.Seconds())
}
