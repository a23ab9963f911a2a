package metrics

import "time"

// Promoted counts an account that was to get another primary. cause is operator or failover, outcome is promoted, unchanged or failed.
func (m *Metrics) Promoted(cause, outcome string) {
	m.promotions.WithLabelValues(cause, outcome).Inc()
}

// Failover tells whether this node is in charge, how long ago its lease was renewed, and, if it is in charge, how many nodes should be evacuated and are not.
func Failover(charge bool, renewed time.Duration, withheld int) []Sample {
	return []Sample{{inCharge, truth(charge), nil}, {leaseAge, renewed.Seconds(), nil}, {advised, float64(withheld), nil}}
}

// Suspicion tells how a node does.
func Suspicion(node, state string, phi float64) []Sample {
	return []Sample{{suspicion, phi, []string{node}}, {nodeState, 1, []string{node, state}}}
}
