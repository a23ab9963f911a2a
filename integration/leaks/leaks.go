// Package leaks finds the goroutines that a package's tests leave behind.
package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines that are about to end may take on a busy machine. One that has leaked is there for ever.
const patience = time.Minute

// VerifyTestMain is what TestMain calls: it runs the tests, and fails when goroutines are left.
func VerifyTestMain(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(settling{m, options}, options...)
}

// settling are tests after which goroutines may come to their end.
type settling struct {
	goleak.TestingM
	options []goleak.Option
}

func (s settling) Run() int {
	code := s.TestingM.Run()
	for deadline := time.Now().Add(patience); code == 0 && goleak.Find(s.options...) != nil && time.Now().Before(deadline); {
	}
	return code
}
