package queue

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/streams"
)

// addition is an append that waits.
type addition struct {
	text []byte // of its records, without the brackets around them
	seq  domain.Seq
	done chan error
}

// Append makes records durable, all of them or none, and returns when they are folded, or when that takes longer than Limits.Settle. Errors: domain.TooLarge, domain.Unavailable, after which they may be
// in the queue or not, if ctx did not end before they were taken.
func (q *Queue) Append(ctx context.Context, records ...queue.Record) error {
	if len(records) == 0 {
		return nil
	}
	text, err := queue.Marshal(records)
	if err != nil {
		return err
	}
	if len(text) > q.cfg.Limits.Entry {
		return domain.Errorf(domain.TooLarge, "an append to the queue takes %d octets, more than %d", len(text), q.cfg.Limits.Entry)
	}
	a := &addition{text: text[1 : len(text)-1], done: make(chan error, 1)}
	select {
	case q.in <- a:
	case <-ctx.Done():
		return unavailable(ctx.Err(), "append to the queue")
	case <-q.done:
		return errClosed
	}
	select {
	case err = <-a.done:
	case <-q.done:
		return errClosed
	}
	if err != nil {
		return err
	}
	once, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.cfg.Limits.Settle)
	defer cancel()
	err = q.wait(once, a.seq)
	if err != nil && once.Err() != nil { // what is durable has happened, whoever sees it when
		q.cfg.Logger.Warn("the queue is written and cannot be read yet", "stream", q.name, "message", a.seq)
		return nil
	}
	return err
}

// commit publishes what waits, and syncs once for all of it.
func (q *Queue) commit(ctx context.Context) {
	var held *addition
	for {
		var round []*addition
		size := 0
		if held == nil {
			select {
			case held = <-q.in:
			case c := <-q.carries:
				c.done <- q.rewrite(ctx, c)
				continue
			case <-ctx.Done():
				return
			}
		}
		for held != nil && (len(round) == 0 || size+len(held.text) <= q.cfg.Limits.Round) {
			round, size = append(round, held), size+len(held.text)
			select {
			case held = <-q.in:
			default:
				held = nil
			}
		}
		err := q.round(ctx, round)
		for _, a := range round {
			a.done <- err
		}
	}
}

func (q *Queue) round(ctx context.Context, round []*addition) error {
	texts := make([][]byte, len(round))
	for n, a := range round {
		texts[n] = a.text
	}
	seq, err := q.store(ctx, texts)
	for _, a := range round {
		a.seq = seq
	}
	return err
}

// store makes one message of the texts of records durable.
func (q *Queue) store(ctx context.Context, texts [][]byte, conditions ...jetstream.PublishOpt) (domain.Seq, error) {
	q.mu.Lock()
	err := q.err
	q.mu.Unlock()
	if err != nil {
		return 0, err
	}
	plain := slices.Concat([]byte{'['}, bytes.Join(texts, []byte{','}), []byte{']'})
	q.cfg.Failpoint("queue.before-publish")
	seq, err := q.publish(ctx, q.sealer.Seal(plain), conditions...)
	if err != nil {
		return 0, err
	}
	q.cfg.Failpoint("queue.published")
	if q.cfg.Syncer != nil {
		q.syncing.Lock()
		err = q.cfg.Syncer.Sync(context.WithoutCancel(ctx), q.name)
		q.syncing.Unlock()
		if err != nil {
			q.fail(err)
			return 0, err
		}
		if m, ok := q.cfg.Syncer.(streams.Marker); ok {
			m.Mark(q.name, seq)
		}
	}
	q.cfg.Failpoint("queue.synced")
	q.advance(seq)
	return seq, nil
}

// publish stores one message, and repeats it under the same id until it is known to be there. Errors: errMoved when its conditions do not hold.
func (q *Queue) publish(ctx context.Context, data []byte, conditions ...jetstream.PublishOpt) (domain.Seq, error) {
	options := append(conditions, jetstream.WithMsgID(rand.Text()))
	deadline := time.Now().Add(q.cfg.Limits.Settle)
	for attempt := 0; ; attempt++ {
		once, cancel := context.WithTimeout(ctx, q.cfg.Limits.Publish)
		ack, err := q.js.Publish(once, q.subject, data, options...)
		cancel()
		if err == nil {
			return domain.Seq(ack.Sequence), nil
		}
		var refused *jetstream.APIError
		if errors.As(err, &refused) && noRoom(refused) {
			return 0, domain.Wrap(domain.Unavailable, errors.Join(syscall.ENOSPC, err), "append to the queue")
		}
		if refused != nil && moved(refused) {
			return 0, errMoved
		}
		if f, ok := q.cfg.Syncer.(streams.Faulter); ok && f.Fault(q.name) != nil {
			return 0, f.Fault(q.name)
		}
		pause := min(10*time.Millisecond<<min(attempt, 6), 500*time.Millisecond)
		if ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return 0, unavailable(err, "append to the queue; whether it took the message is not known")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// errMoved says that the stream ends elsewhere than a message wants it to.
var errMoved = domain.Errorf(domain.Unavailable, "others wrote to the queue meanwhile")

// moved tells whether the server refused a message because of what it says about the end of the stream.
func moved(e *jetstream.APIError) bool { return e.ErrorCode == 10071 || e.ErrorCode == 10164 }

// noRoom tells whether a limit of the account, of the server's memory or of its disk is reached, or the disk failed.
func noRoom(e *jetstream.APIError) bool {
	switch e.ErrorCode {
	case 10077, 10002, 10023, 10028, 10047:
		return true
	}
	return false
}

// advance lets the reader fold up to a message.
func (q *Queue) advance(seq domain.Seq) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if seq > q.durable {
		q.durable = seq
		q.tell()
	}
}

// fail ends the queue: what could not be synced may never be (see streams.Log).
func (q *Queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	q.tell()
	q.cfg.Logger.Error("the queue takes nothing more until the server is restarted", "stream", q.name, "error", err)
}
