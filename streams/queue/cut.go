package queue

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// Stats is what the stream takes.
type Stats struct {
	Stream string `json:"stream"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Octets uint64 `json:"octets"`
}

// Stats asks the server.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	info, err := q.info(ctx)
	if err != nil {
		return Stats{}, err
	}
	return Stats{q.name, info.State.FirstSeq, info.State.LastSeq, info.State.Bytes}, nil
}

const (
	// carried is how many entries are written anew together, at most.
	carried = 50
	// tries is how often that is tried when others write at the same time.
	tries = 10
	// assumed is about what an entry takes in the stream, in octets.
	assumed = 1 << 10
)

// Cut frees the beginning of the stream, where it is worth while or force wants it: it writes anew what is still needed there, and lets the server forget what lies before the
// first record that an entry needs. It may be called at any time, also by several nodes. Where others write too much, it frees less. It does nothing while the stream is damaged: what cannot
// be read may be needed.
func (q *Queue) Cut(ctx context.Context, force bool) error {
	if q.Damage() != "" {
		return nil
	}
	stats, err := q.Stats(ctx)
	if err != nil {
		return err
	}
	var entries int
	q.View(func(s *queue.State) { entries = s.Total() })
	if !force && (stats.Octets < q.cfg.Limits.Cut || stats.Octets < 4*assumed*uint64(entries)) {
		return nil
	}
	var end domain.Seq
	var ids []queue.ID
	q.View(func(s *queue.State) {
		end = s.Cuttable(q.folded + 1)
		for _, i := range s.Stale(end, s.Total()) {
			ids = append(ids, i.ID)
		}
	})
	for batch := range slices.Chunk(ids, carried) {
		err := q.carry(ctx, batch)
		if errors.Is(err, errMoved) {
			q.cfg.Logger.Info("others write too much for the queue to be cut as far as it could be", "stream", q.name)
			break
		}
		if err != nil {
			return err
		}
	}
	once, cancel := context.WithTimeout(ctx, q.cfg.Limits.Settle)
	defer cancel()
	if err := q.Shown(once); err != nil {
		return err
	}
	q.View(func(s *queue.State) {
		for _, i := range s.Stale(end, 1) { // it was claimed meanwhile, or not carried
			end = i.Place.Seq
		}
	})
	if uint64(end) <= stats.First {
		return nil
	}
	return q.purge(ctx, end)
}

// carrying is entries that wait to be written anew.
type carrying struct {
	entries []*queue.Entry // those that are left
	done    chan error
}

// carry writes entries anew, but for those that are gone or being attempted. Errors: errMoved when others write too much.
func (q *Queue) carry(ctx context.Context, ids []queue.ID) error {
	entries, err := q.Entries(ctx, ids)
	if err != nil {
		return err
	}
	c := &carrying{entries, make(chan error, 1)}
	for len(c.entries) > 0 {
		select {
		case q.carries <- c:
		case <-ctx.Done():
			return unavailable(ctx.Err(), "carry entries of the queue")
		case <-q.done:
			return errClosed
		}
		select {
		case err = <-c.done:
		case <-q.done:
			return errClosed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rewrite appends as many entries as one message takes, as they are after all that lies before that message: who reads the stream from there knows nothing of them but
// what it says. Nothing may come between, so the server is told where the stream has to end.
func (q *Queue) rewrite(ctx context.Context, c *carrying) error {
	for range tries {
		once, cancel := context.WithTimeout(ctx, q.cfg.Limits.Request)
		err := q.Shown(once)
		cancel()
		if err != nil {
			return err
		}
		last := q.overlay(c)
		texts, err := q.texts(c.entries)
		if err != nil || len(texts) == 0 {
			return err
		}
		q.cfg.Failpoint("queue.overlaid")
		_, err = q.store(ctx, texts, jetstream.WithExpectLastSequence(uint64(last)))
		if err == nil {
			c.entries = c.entries[len(texts):]
		}
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

// overlay brings entries to what is true after the message last. Those that are gone, or being attempted, are left out: a claim lies before the record then, and who reads
// from there would miss it.
func (q *Queue) overlay(c *carrying) (last domain.Seq) {
	q.View(func(s *queue.State) {
		last = q.folded
		c.entries = slices.DeleteFunc(c.entries, func(e *queue.Entry) bool {
			i := s.Find(e.ID)
			if _, claimed := s.Claim(e.ID); i == nil || claimed {
				return true
			}
			i.Overlay(e)
			return false
		})
	})
	return last
}

// texts writes the records of the first entries, as many as Limits.Round takes and at least one.
func (q *Queue) texts(entries []*queue.Entry) (texts [][]byte, err error) {
	size := 0
	for _, e := range entries {
		text, err := queue.Marshal([]queue.Record{{Put: e}})
		if err != nil {
			return nil, err
		}
		if size += len(text); len(texts) > 0 && size > q.cfg.Limits.Round {
			break
		}
		texts = append(texts, text[1:len(text)-1])
	}
	return texts, nil
}

// purge lets the server forget what lies before a sequence.
func (q *Queue) purge(ctx context.Context, end domain.Seq) error {
	q.syncing.Lock() // The server replaces files then, which a sync that only looks for growth would take for damage.
	defer q.syncing.Unlock()
	q.cfg.Failpoint("queue.before-cut")
	once, cancel := context.WithTimeout(ctx, 4*q.cfg.Limits.Request)
	defer cancel()
	if err := q.handle.Purge(once, jetstream.WithPurgeSequence(uint64(end))); err != nil {
		return unavailable(err, "cut the queue")
	}
	if q.cfg.Syncer == nil {
		return nil
	}
	if err := q.cfg.Syncer.SyncAll(ctx, q.name); err != nil {
		q.fail(err)
		return err
	}
	return nil
}
