package streams

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestAQuestionThatIsLost, because the stream had no leader when it was asked, is asked again before anybody gives it up.
func TestAQuestionThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answer, err := repeat(t.Context(), 4*time.Second, func(ctx context.Context) (int32, error) {
			n := asked.Add(1)
			if n == 1 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return n, nil
		})
		if err != nil || answer != 2 {
			t.Errorf("the answer is %d, %v", answer, err)
		}
		asked.Store(0)
		if _, err := repeat(t.Context(), 4*time.Second, func(ctx context.Context) (int32, error) {
			asked.Add(1)
			<-ctx.Done()
			return 0, ctx.Err()
		}); err == nil || asked.Load() != repeats {
			t.Errorf("nobody answers, and after %d questions the error is %v", asked.Load(), err)
		}
	})
}

// TestAnElectionTakesLongerThanAFewRefusals, which servers without a leader give at once.
func TestAnElectionTakesLongerThanAFewRefusals(t *testing.T) {
	asked := 0
	answer, err := ask(t.Context(), time.Minute, func(context.Context) (int, error) {
		if asked++; asked <= maxRequests+2 {
			return 0, &jetstream.APIError{Code: 503, ErrorCode: codeNoCluster, Description: "JetStream system temporarily unavailable"}
		}
		return asked, nil
	})
	if err != nil || answer != asked {
		t.Errorf("after %d questions the answer is %d, %v", asked, answer, err)
	}
	asked = 0
	if _, err := ask(t.Context(), time.Minute, func(context.Context) (int, error) {
		asked++
		return 0, &jetstream.APIError{Code: 503, ErrorCode: jetstream.JSErrCodeJetStreamNotEnabled}
	}); err == nil || asked != maxRequests {
		t.Errorf("a server without JetStream is asked %d times, %v", asked, err)
	}
}
