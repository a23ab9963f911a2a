package metrics

import (
	"strconv"
	"time"
)

// Queue tells what a queue of mail for other servers holds. active and held messages are not waiting.
func Queue(name string, size, held, active, destinations, resting int, octets int64, age time.Duration, up bool) []Sample {
	labels := []string{name}
	return []Sample{
		{queueSize, float64(max(size-held-active, 0)), []string{name, "waiting"}}, {queueSize, float64(active), []string{name, "active"}}, {queueSize, float64(held), []string{name, "held"}},
		{queueOctets, float64(octets), labels}, {queueAge, age.Seconds(), labels}, {queueDomains, float64(destinations), labels}, {queueResting, float64(resting), labels}, {queueUp, truth(up), labels},
	}
}

// QueueBytes is what a queue's stream takes.
func QueueBytes(name string, octets uint64) Sample {
	return Sample{queueBytes, float64(octets), []string{name}}
}

// Attempted counts what became of a recipient in an attempt.
func (m *Metrics) Attempted(outcome string, took time.Duration) {
	m.attempts.WithLabelValues(outcome).Observe(took.Seconds())
}

// Reported counts a delivery status notification.
func (m *Metrics) Reported(action string) { m.reports.WithLabelValues(action).Inc() }

// Undeliverable counts a recipient that failed and of which nobody is told.
func (m *Metrics) Undeliverable() { m.dropped.WithLabelValues().Inc() }

// Looped counts a recipient whose mail goes round.
func (m *Metrics) Looped(found string) { m.loops.WithLabelValues(found).Inc() }

// OutboundConnected counts a session with another server.
func (m *Metrics) OutboundConnected(tls bool) {
	with := "no"
	if tls {
		with = "yes"
	}
	m.outSessions.WithLabelValues(with).Inc()
}

// OutboundReused counts a message for which a session was used again.
func (m *Metrics) OutboundReused() { m.outReused.WithLabelValues().Inc() }

// OutboundFailed counts a host that could not be used.
func (m *Metrics) OutboundFailed() { m.outFailed.WithLabelValues().Inc() }

// PolicyLookedFor counts a look for a policy of MTA-STS.
func (m *Metrics) PolicyLookedFor(outcome string) { m.outPolicies.WithLabelValues(outcome).Inc() }

// Secured counts how TLS went with a host.
func (m *Metrics) Secured(policy, result string) {
	m.outSecurity.WithLabelValues(policy, result).Inc()
}

// TLSReport counts a report about TLS that was due.
func (m *Metrics) TLSReport(outcome string) { m.outReports.WithLabelValues(outcome).Inc() }

// Warned counts a warning of a full account.
func (m *Metrics) Warned(percent int) { m.warnings.WithLabelValues(strconv.Itoa(percent)).Inc() }

// TraceDropped is how many steps the trace could not keep.
func TraceDropped(n uint64) Sample { return Sample{traceDropped, float64(n), nil} }

// OutboundResting is how many addresses of other servers are passed over.
func OutboundResting(n int) Sample { return Sample{outResting, float64(n), nil} }
