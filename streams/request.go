package streams

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

const (
	// maxRequests bounds how often a question to the server is asked before it counts as unavailable.
	maxRequests = 6
	// repeats is how often it is asked anew while an answer is awaited. What is asked while a stream has no leader is never answered, and the leader that is
	// elected then does not know of it.
	repeats = 4
)

// ask puts a question to the server that may be asked several times at once. A server that does not answer within limit, which is Limits.Request, is asked
// again: a connection that was just lost swallows one question.
func ask[T any](ctx context.Context, limit time.Duration, question func(context.Context) (T, error)) (answer T, err error) {
	return insist(ctx, limit, func() (T, error) { return repeat(ctx, limit, question) })
}

// order tells the server to do what may be told twice, but not at once.
func order[T any](ctx context.Context, limit time.Duration, what func(context.Context) (T, error)) (answer T, err error) {
	return insist(ctx, limit, func() (T, error) {
		once, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return what(once)
	})
}

// insist tries until the server answers. Servers that elect a leader say so at once, and are given as much time as those that say nothing.
func insist[T any](ctx context.Context, limit time.Duration, try func() (T, error)) (answer T, err error) {
	began := time.Now()
	for attempt := 0; attempt < maxRequests || electing(err) && time.Since(began) < maxRequests*limit; attempt++ {
		answer, err = try()
		var refused jetstream.JetStreamError
		answered := errors.As(err, &refused) && refused.APIError() != nil && !passing(err)
		if err == nil || answered || domain.Is(err, domain.Denied) || errors.Is(err, nats.ErrConnectionClosed) {
			return answer, err
		}
		if stopped := wait(ctx, attempt+4); stopped != nil {
			return answer, stopped
		}
	}
	return answer, err
}

// repeat asks, and asks again while there is no answer, and takes the first.
func repeat[T any](ctx context.Context, limit time.Duration, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type result struct {
		answer T
		err    error
	}
	results := make(chan result, repeats)
	asked := func() {
		answer, err := question(ctx)
		results <- result{answer, err}
	}
	again := time.NewTicker(limit / repeats)
	defer again.Stop()
	go asked()
	for n := 1; ; {
		select {
		case r := <-results:
			return r.answer, r.err
		case <-again.C:
			if n < repeats {
				n++
				go asked()
			}
		}
	}
}

// passing tells whether the server will answer otherwise soon: JetStream is starting, or a cluster elects a leader.
func passing(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (refused.Code == 503 || slices.Contains(codesNoLeader, int(refused.ErrorCode)))
}

// electing tells whether a server said that there is no leader now.
func electing(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (refused.ErrorCode == codeNoCluster || slices.Contains(codesNoLeader, int(refused.ErrorCode)))
}

// codeNoCluster is the refusal of a server that does not know who leads the cluster.
const codeNoCluster = 10008

// codesNoLeader are refusals of servers that do not lead, or do not have the stream yet.
var codesNoLeader = []int{10007, 10009, 10118}

// info asks what the server says of a stream.
func (l *Log) info(ctx context.Context, handle jetstream.Stream, options ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := ask(ctx, l.cfg.Limits.Request, func(ctx context.Context) (*jetstream.StreamInfo, error) { return handle.Info(ctx, options...) })
	return info, unavailable(err, "look up stream "+handle.CachedInfo().Config.Name)
}

// message reads one message. The error is the client's.
func (l *Log) message(ctx context.Context, handle jetstream.Stream, seq domain.Seq) (*jetstream.RawStreamMsg, error) {
	return ask(ctx, l.cfg.Limits.Request, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return handle.GetMsg(ctx, uint64(seq)) })
}

// nextMessage reads the first message of a subject at or after a sequence; nil when there is none.
func (l *Log) nextMessage(ctx context.Context, handle jetstream.Stream, from domain.Seq, subject string) (*jetstream.RawStreamMsg, error) {
	m, err := ask(ctx, l.cfg.Limits.Request, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return handle.GetMsg(ctx, uint64(from), jetstream.WithGetMsgSubject(subject))
	})
	return found(m, err, subject)
}

// lastMessage reads the last message of a subject; nil when there is none.
func (l *Log) lastMessage(ctx context.Context, handle jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	m, err := ask(ctx, l.cfg.Limits.Request, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return handle.GetLastMsgForSubject(ctx, subject)
	})
	return found(m, err, subject)
}

func found(m *jetstream.RawStreamMsg, err error, subject string) (*jetstream.RawStreamMsg, error) {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return m, unavailable(err, "read "+subject)
}
