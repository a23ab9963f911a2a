package blobjs

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// Codes of the server's answers.
const (
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164 // also "perhaps, ask again", while the message before is still in flight
)

// codesPassing are answers of servers that do not lead, or do not have the stream yet.
var codesPassing = []jetstream.ErrorCode{10007, 10008, 10009, 10118, 10163}

// codesNoRoom say that a limit of the account, of the server's memory or of its disk is reached.
var codesNoRoom = []jetstream.ErrorCode{10002, 10023, 10028, 10047, 10077}

// ask puts a question that may be put twice until it is answered.
func ask[T any](ctx context.Context, limits Limits, question func(context.Context) (T, error)) (answer T, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limits.Timeout, errSilent)
	defer cancel()
	for {
		once, cancel := context.WithTimeout(ctx, limits.Request)
		answer, err = question(once)
		cancel()
		if err == nil || answered(err) || errors.Is(err, nats.ErrConnectionClosed) {
			return answer, err
		}
		if stopped := pause(ctx); stopped == errSilent {
			return answer, errors.Join(errSilent, err)
		} else if stopped != nil {
			return answer, stopped
		}
	}
}

// pause waits a little, and gives the cause when ctx ends meanwhile.
func pause(ctx context.Context) error {
	select {
	case <-time.After(50*time.Millisecond + rand.N(100*time.Millisecond)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errSilent is the cause of giving up a question.
var errSilent = errors.New("the NATS server does not answer")

// answered tells whether asking again would give the same answer.
func answered(err error) bool {
	code := codeOf(err)
	return code != 0 && !slices.Contains(codesPassing, code) || errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}

func codeOf(err error) jetstream.ErrorCode {
	var refused jetstream.JetStreamError
	if errors.As(err, &refused) && refused.APIError() != nil {
		return refused.APIError().ErrorCode
	}
	return 0
}

// moved tells whether a condition did not hold.
func moved(err error) bool {
	return codeOf(err) == codeWrongLastSequence || codeOf(err) == codeWrongLastSequenceConstant
}

// failed gives an error of the client its kind and tells the operator what to do. Cancelled work stays cancelled.
func failed(err error, doing string) error {
	var known *domain.Error
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &known) {
		return err
	}
	e := domain.Wrap(domain.Unavailable, err, doing)
	switch {
	case slices.Contains(codesNoRoom, codeOf(err)):
		e.Hint = "the NATS servers have no room for blobs: free or enlarge their disks, or raise the account's limits; nothing that was accepted is lost"
	case errors.Is(err, nats.ErrPermissionViolation):
		e.Hint = "give the user the permissions that docs/operator.md lists under \"An external NATS\""
	case errors.Is(err, errSilent), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders):
		e.Hint = "see whether the NATS servers run and have a majority"
	}
	return e
}
