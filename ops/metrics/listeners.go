package metrics

import "time"

// Posted counts an event that a webhook's receiver was sent.
func (m *Metrics) Posted(webhook, outcome string, took time.Duration) {
	m.webhookPosts.WithLabelValues(webhook, outcome).Observe(took.Seconds())
}

// Learnt counts a message from which the spam filter was to learn.
func (m *Metrics) Learnt(verdict, outcome string) {
	m.spamLearnt.WithLabelValues(verdict, outcome).Inc()
}

// Exported counts events that were written into files.
func (m *Metrics) Exported(events int) { m.exported.WithLabelValues().Add(float64(events)) }

// Published counts an event that was put into a stream of the operator's.
func (m *Metrics) Published() { m.published.WithLabelValues().Inc() }
