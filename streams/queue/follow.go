package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// follow folds what the stream holds and gets, until ctx ends.
func (q *Queue) follow(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := q.read1(ctx)
		if ctx.Err() != nil {
			return
		}
		q.cfg.Logger.Warn("the queue cannot be read: trying again", "stream", q.name, "error", err)
		select {
		case <-time.After(min(100*time.Millisecond<<min(attempt, 5), 2*time.Second)):
		case <-ctx.Done():
		}
	}
}

const (
	ahead     = 256             // messages that are asked for at once
	heartbeat = 2 * time.Second // how often the server shows that it is there
)

// read1 reads from the first message that is not folded, with one consumer.
func (q *Queue) read1(ctx context.Context) error {
	info, err := q.info(ctx)
	if err != nil {
		return err
	}
	q.mu.Lock()
	next := q.folded + 1
	q.mu.Unlock()
	if first := domain.Seq(info.State.FirstSeq); first > next {
		if next > 1 { // What was cut may have removed entries that are here.
			q.cfg.Logger.Info("the queue was cut beyond what this node has read: reading it anew", "stream", q.name)
		}
		q.mu.Lock()
		q.reset()
		q.folded = first - 1
		q.tell() // there may be nothing else to fold
		q.mu.Unlock()
		next = first
	}
	consumer, err := q.handle.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(next)})
	if err != nil {
		return err
	}
	defer func() { // The server would keep it for minutes.
		forget, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = q.handle.DeleteConsumer(forget, consumer.CachedInfo().Name)
	}()
	messages, err := consumer.Messages(jetstream.PullMaxMessages(ahead), jetstream.PullHeartbeat(heartbeat), jetstream.PullExpiry(30*time.Second))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		m, err := messages.Next()
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if err := q.take(ctx, domain.Seq(meta.Sequence.Stream), m.Data()); err != nil {
			return err
		}
	}
}

// take folds one message as soon as it is durable.
func (q *Queue) take(ctx context.Context, seq domain.Seq, data []byte) error {
	plain, err := q.sealer.Open(data)
	var records []queue.Record
	if err == nil {
		records, err = queue.Unmarshal(plain)
	}
	if err != nil {
		q.damaged(fmt.Sprintf("message %d cannot be read: %v", seq, err))
	}
	if err := q.ready(ctx, seq); err != nil {
		return err
	}
	q.mu.Lock()
	expected := q.folded + 1
	q.mu.Unlock()
	switch {
	case seq < expected:
		return nil
	case seq > expected:
		info, err := q.info(ctx)
		if err != nil {
			return err
		}
		if domain.Seq(info.State.FirstSeq) > expected {
			return errCut
		}
		q.damaged(fmt.Sprintf("messages %d to %d are missing", expected, seq-1))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for n := range records {
		q.state.Apply(queue.Place{Seq: seq, Index: n}, &records[n])
	}
	q.folded = seq
	q.tell()
	return nil
}

var errCut = domain.Errorf(domain.Unavailable, "the stream was cut while it was read")

// ready waits until a message is durable.
func (q *Queue) ready(ctx context.Context, seq domain.Seq) error {
	if q.cfg.Syncer == nil {
		return nil
	}
	for {
		q.mu.Lock()
		durable, changed := q.durable, q.changed
		q.mu.Unlock()
		if seq <= durable {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(nudge): // an append whose answer was lost is here, and nobody waits for its sync
			q.syncing.Lock()
			err := q.cfg.Syncer.Sync(ctx, q.name)
			q.syncing.Unlock()
			if err != nil {
				q.fail(err)
				return err
			}
			q.advance(seq)
		}
	}
}

// nudge is how long the reader waits for the sync of a round.
const nudge = time.Second
