package health_test

import (
	"testing"
	"time"

	"github.com/streampost/streampost/ops/health"
)

// A process that computes loads the CPUs, and never more than there are.
func TestLoad(t *testing.T) {
	l := health.NewLoad()
	for began := time.Now(); time.Since(began) < 150*time.Millisecond; { // computes
	}
	if load := l.Now(); load <= 0 || load > 1 {
		t.Errorf("the load is %g", load)
	}
}
