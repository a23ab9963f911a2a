package metrics

import "time"

// Parked tells what a repository of parked mail holds. age is that of the mail which lies there longest.
func Parked(repository string, size int, octets int64, age time.Duration) []Sample {
	labels := []string{repository}
	return []Sample{{parkedSize, float64(size), labels}, {parkedOctets, float64(octets), labels}, {parkedAge, age.Seconds(), labels}}
}

// Processed counts what became of a part of a message.
func (m *Metrics) Processed(effect string) { m.processed.WithLabelValues(effect).Inc() }

// StepCalled tells of a question to a hook or a custom step.
func (m *Metrics) StepCalled(step, outcome string, took time.Duration) {
	m.stepCalls.WithLabelValues(step, outcome).Observe(took.Seconds())
}

// Spool tells what waits to be processed.
func Spool(size int, age time.Duration) []Sample {
	return []Sample{{spoolSize, float64(size), nil}, {spoolAge, age.Seconds(), nil}}
}
