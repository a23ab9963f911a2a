package streams

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// Codes of the server's answers to a publication whose expectation does not hold. Both mean the same to us, and the second also "perhaps,
// ask again": replicated streams give it while the subject's previous message is still in flight.
const (
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164
)

// codeStoreFailed is the server's answer when it could not write, or is stopping.
const codeStoreFailed = 10077

// codesNoRoom say that a limit of the account, of the server's memory or of its disk is reached, or that the disk failed.
var codesNoRoom = []int{codeStoreFailed, 10002, 10023, 10028, 10047}

// publication is one message on its way into a stream, expecting the subject to stand at expect.
type publication struct {
	handle  jetstream.Stream
	subject string
	expect  domain.Seq
	id      string // of the message, for the server's window of duplicates
	data    []byte
	hash    Hash                   // of data
	same    func(data []byte) bool // whether a stored message of other bytes is this one all the same; may be nil

	// The outcome, when there was no error.
	seq   domain.Seq
	found []byte // the stored bytes, when an earlier publication of the same had others
}

// newPublication prepares a message. A zero id is replaced by one made from the content.
func newPublication(handle jetstream.Stream, subject string, expect domain.Seq, id [16]byte, data []byte) *publication {
	p := &publication{handle: handle, subject: subject, expect: expect, data: data, hash: hashOf(data)}
	if id == [16]byte{} {
		id = [16]byte(p.hash[:16])
	}
	p.id = hex.EncodeToString(id[:])
	return p
}

// send publishes without waiting.
func (l *Log) send(p *publication) (jetstream.PubAckFuture, error) {
	return l.js.PublishMsgAsync(&nats.Msg{
		Subject: p.subject,
		Data:    p.data,
		Header: nats.Header{
			jetstream.MsgIDHeader:               []string{p.id},
			jetstream.ExpectedLastSubjSeqHeader: []string{strconv.FormatUint(uint64(p.expect), 10)},
		},
	}, jetstream.WithStallWait(l.cfg.Limits.Publish))
}

// await waits for the acknowledgement of a sent publication, and finds out what became of it if there is none in time.
func (l *Log) await(ctx context.Context, p *publication, future jetstream.PubAckFuture, sent error, timer *time.Timer) error {
	if sent != nil {
		return l.settle(ctx, p, sent)
	}
	faults := l.faults()
	for {
		select {
		case ack := <-future.Ok():
			return l.acknowledged(ctx, p, ack)
		case err := <-future.Err():
			return l.settle(ctx, p, err)
		case <-faults:
			if err := l.fault(p); err != nil {
				return err
			}
			faults = nil // another stream's
		case <-timer.C:
			timer.Reset(0) // the others of the round have waited as long
			return l.settle(ctx, p, nats.ErrTimeout)
		}
	}
}

// faults is closed when some stream can no longer be written to. It never is where nobody could tell.
func (l *Log) faults() <-chan struct{} {
	if f, ok := l.cfg.Syncer.(Faulter); ok {
		return f.Faults()
	}
	return nil
}

// fault says that a publication's stream can no longer be written to; nil when that is not known.
func (l *Log) fault(p *publication) error {
	if f, ok := l.cfg.Syncer.(Faulter); ok {
		return f.Fault(p.handle.CachedInfo().Config.Name)
	}
	return nil
}

// publish sends a publication and waits for its outcome.
func (l *Log) publish(ctx context.Context, p *publication) error {
	timer := time.NewTimer(l.cfg.Limits.Publish)
	defer timer.Stop()
	future, err := l.send(p)
	return l.await(ctx, p, future, err, timer)
}

func (l *Log) acknowledged(ctx context.Context, p *publication, ack *jetstream.PubAck) error {
	p.seq = domain.Seq(ack.Sequence)
	if !ack.Duplicate {
		return nil
	}
	// The server knows the id. It compares neither bytes nor expectation then, so we do.
	m, err := l.message(ctx, p.handle, domain.Seq(ack.Sequence))
	if err != nil {
		return unavailable(err, "read back an append")
	}
	if !p.is(m) {
		return conflict(p)
	}
	return nil
}

// is reports whether a stored message is this publication, and notes the outcome if so.
func (p *publication) is(m *jetstream.RawStreamMsg) bool {
	if m.Subject != p.subject {
		return false
	}
	if hashOf(m.Data) != p.hash {
		if p.same == nil || !p.same(m.Data) {
			return false
		}
		p.found = m.Data
	}
	p.seq = domain.Seq(m.Sequence)
	return true
}

// settle finds out what became of a publication that was not acknowledged: it looks for it in the log, and repeats it as long as the
// subject stands where it was. Both are safe at any time: the message id and the expectation keep it from being stored twice.
func (l *Log) settle(ctx context.Context, p *publication, cause error) error {
	if errors.Is(cause, nats.ErrMaxPayload) {
		return domain.Wrap(domain.TooLarge, cause, "append to the log")
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Limits.Settle)
	defer cancel()
	for attempt := 0; ; attempt++ {
		known, err := l.lookUp(ctx, p)
		if known {
			return err
		}
		if err := l.fault(p); err != nil {
			return err
		}
		if refused := refusal(cause); err == nil && refused != nil {
			return refused // the subject stands where it was, and the server said why it took nothing
		}
		if wait(ctx, attempt) != nil {
			return unknown(cause)
		}
		future, err := l.send(p)
		if err != nil {
			cause = err
			continue
		}
		select {
		case ack := <-future.Ok():
			return l.acknowledged(ctx, p, ack)
		case cause = <-future.Err():
		case <-ctx.Done():
			return unknown(cause)
		case <-time.After(l.cfg.Limits.Publish):
			cause = nats.ErrTimeout
		}
	}
}

// lookUp looks for a publication in the log. known is false when the subject stands where it was, or cannot be read now, or was read from a
// server that is behind: one that led the stream, was cut off or stopped, and does not know yet that it no longer leads answers from what it has.
func (l *Log) lookUp(ctx context.Context, p *publication) (known bool, err error) {
	last, err := l.lastMessage(ctx, p.handle, p.subject)
	if err != nil {
		return false, err
	}
	stands := domain.Seq(0)
	if last != nil {
		stands = domain.Seq(last.Sequence)
	}
	switch {
	case stands == p.expect:
		return false, nil
	case stands < p.expect && max(p.replicas(), l.cfg.Topology.Replicas) > 1: // a log that grew since it was opened has more copies than p knows
		return false, errBehind
	case stands < p.expect:
		return true, conflict(p)
	}
	next, err := l.nextMessage(ctx, p.handle, p.expect+1, p.subject)
	switch {
	case err != nil:
		return false, err
	case next == nil:
		return false, errBehind
	case p.is(next):
		return true, nil
	}
	return true, conflict(p)
}

// replicas is how many servers hold the stream.
func (p *publication) replicas() int { return p.handle.CachedInfo().Config.Replicas }

// errBehind says that a question was answered by a server that does not know all that was acknowledged.
var errBehind = errors.New("a log server answers with an older state than was acknowledged")

// refusal is why the server took nothing, when repeating would not help; nil else. A server that is starting, closing or electing a leader is
// asked again.
func refusal(cause error) error {
	var e *jetstream.APIError
	if !errors.As(cause, &e) {
		return nil
	}
	switch code := int(e.ErrorCode); {
	case code == codeWrongLastSequence, code == codeWrongLastSequenceConstant:
		return nil
	case code == codeStoreFailed && strings.Contains(e.Description, "closed"):
		return nil
	case slices.Contains(codesNoRoom, code):
		return unavailable(fmt.Errorf("%w: %w", syscall.ENOSPC, cause), "append to the log")
	case e.Code == 400:
		return domain.Wrap(domain.Unavailable, cause, "the log server refuses the change")
	}
	return nil
}

func conflict(p *publication) error {
	return domain.Errorf(domain.Conflict, "somebody else wrote to %s first", p.subject)
}

func unknown(cause error) error {
	return unavailable(cause, "the log server does not answer; whether the change is in the log is not known")
}

// wait sleeps before another attempt: 1 ms, doubled each time up to 500 ms, with jitter.
func wait(ctx context.Context, attempt int) error {
	d := min(time.Millisecond<<min(attempt, 9), 500*time.Millisecond)
	d = d/2 + rand.N(d)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
