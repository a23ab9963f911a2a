package metrics

// Verified counts the result of a method that verifies mail.
func (m *Metrics) Verified(method, result string) { m.verified.WithLabelValues(method, result).Inc() }

// Decided counts what became of a message that was verified.
func (m *Metrics) Decided(action string) { m.decided.WithLabelValues(action).Inc() }

// Signed counts a message that was to be signed.
func (m *Metrics) Signed(outcome string) { m.signed.WithLabelValues(outcome).Inc() }
