package streams

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// maxRequests bounds how often a question to the server is asked before it counts as unavailable.
const maxRequests = 6

// ask puts a question to the server that may be asked twice. A server that does not answer within Limits.Request is asked again: a
// connection that was just lost swallows one question.
func ask[T any](ctx context.Context, l *Log, question func(context.Context) (T, error)) (answer T, err error) {
	for attempt := range maxRequests {
		once, cancel := context.WithTimeout(ctx, l.cfg.Limits.Request)
		answer, err = question(once)
		cancel()
		var refused jetstream.JetStreamError
		if err == nil || errors.As(err, &refused) && refused.APIError() != nil || errors.Is(err, nats.ErrConnectionClosed) {
			return answer, err
		}
		if stopped := wait(ctx, attempt+4); stopped != nil {
			return answer, stopped
		}
	}
	return answer, err
}

// info asks what the server says of a stream.
func (l *Log) info(ctx context.Context, handle jetstream.Stream, options ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := ask(ctx, l, func(ctx context.Context) (*jetstream.StreamInfo, error) { return handle.Info(ctx, options...) })
	return info, unavailable(err, "look up stream "+handle.CachedInfo().Config.Name)
}

// message reads one message. The error is the client's.
func (l *Log) message(ctx context.Context, handle jetstream.Stream, seq domain.Seq) (*jetstream.RawStreamMsg, error) {
	return ask(ctx, l, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return handle.GetMsg(ctx, uint64(seq)) })
}

// nextMessage reads the first message of a subject at or after a sequence; nil when there is none.
func (l *Log) nextMessage(ctx context.Context, handle jetstream.Stream, from domain.Seq, subject string) (*jetstream.RawStreamMsg, error) {
	m, err := ask(ctx, l, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return handle.GetMsg(ctx, uint64(from), jetstream.WithGetMsgSubject(subject))
	})
	return found(m, err, subject)
}

// lastMessage reads the last message of a subject; nil when there is none.
func (l *Log) lastMessage(ctx context.Context, handle jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	m, err := ask(ctx, l, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
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
