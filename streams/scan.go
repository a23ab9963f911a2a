package streams

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// scan reads a part of a stream: it fetches in order, opens entries on all processors, and hands them over in order once they are durable.
type scan struct {
	log    *Log
	stream *stream
	next   domain.Seq // the sequence to read next
	upTo   domain.Seq // the last to read; 0 reads for ever
	filter string     // one subject; empty reads all, and then sequences are dense
	clear  bool       // do not decrypt: headers only
	known  Known      // what need not be decrypted

	// gap is told of sequences that are missing, and may let the scan go on. Without it a gap ends the scan as domain.Corrupt.
	gap func(from, to domain.Seq, why string) error
}

// openedEntry is an entry, or what is wrong with it.
type openedEntry struct {
	Entry
	raw   *raw
	wrong string // why it cannot be what was appended; empty when it can
	err   error  // why it cannot be told
}

// chunk is a run of messages that one goroutine opens.
type chunk struct {
	raws   []raw
	opened []openedEntry
	done   chan struct{}
}

// maxAhead is how many chunks are fetched and opened before the first of them is used.
const maxAhead = 3

// maxAttempts bounds the attempts, without any progress, of a scan that has an end. One that reads for ever tries for ever.
const maxAttempts = 8

// run calls f with opened entries in order until upTo, an error, or the end of ctx.
func (s *scan) run(ctx context.Context, f func([]openedEntry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan *chunk, maxAhead)
	var fetching error
	go func() {
		defer close(chunks)
		fetching = s.produce(ctx, chunks)
	}()
	defer func() {
		cancel()
		for range chunks { // until the producer has ended
		}
	}()
	for c := range chunks {
		<-c.done
		unproved := s.stream.durable(ctx, c.raws[len(c.raws)-1].seq)
		if unproved != nil {
			c.opened = s.stream.proved(c.opened)
		}
		if len(c.opened) > 0 {
			if err := f(c.opened); err != nil {
				return err
			}
		}
		if unproved != nil {
			return unproved
		}
	}
	return fetching
}

// proved cuts off what is not known to be durable.
func (s *stream) proved(entries []openedEntry) []openedEntry {
	durable := s.horizon.seen()
	n := sort.Search(len(entries), func(i int) bool { return entries[i].Seq > durable })
	return entries[:n]
}

// produce fetches, and reconnects where it left off.
func (s *scan) produce(ctx context.Context, out chan<- *chunk) error {
	for attempt := 0; ; attempt++ {
		before := s.next
		err := s.fetch(ctx, out)
		var transient *domain.Error
		switch {
		case err == nil || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case errors.Is(err, errStale):
		case errors.As(err, &transient) && transient.Kind == domain.Unavailable:
		default:
			return err
		}
		if s.next > before {
			attempt = 0
		}
		if s.upTo != 0 && attempt >= maxAttempts {
			return unavailable(err, "read "+s.stream.name)
		}
		if err := wait(ctx, attempt); err != nil {
			return err
		}
	}
}

// fetch reads with one consumer. It returns nil at upTo.
func (s *scan) fetch(ctx context.Context, out chan<- *chunk) error {
	if s.ended() {
		return nil
	}
	f, err := s.log.fetch(ctx, s.stream, s.next, s.filter)
	if err != nil {
		return err
	}
	defer f.stop()
	for {
		first, err := f.wait(ctx)
		c := &chunk{done: make(chan struct{})}
		if errors.Is(err, errIdle) {
			if err = s.probe(ctx, f.sent, c); err == nil {
				continue
			}
		} else if err != nil {
			return err
		}
		for r := first; r != nil && err == nil; {
			if err = s.place(ctx, r, c); err != nil {
				break
			}
			if s.ended() || len(c.raws) >= s.log.cfg.Limits.Batch {
				break
			}
			r, err = f.ready()
		}
		if len(c.raws) > 0 {
			go s.open(ctx, c)
			select {
			case out <- c:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if s.ended() {
			return nil
		}
		if err != nil && !errors.Is(err, errIdle) {
			return err
		}
	}
}

func (s *scan) ended() bool { return s.upTo != 0 && s.next > s.upTo }

// place adds a message to a chunk if it is the next one. When it is not, either the server did not deliver one, which another consumer then does, or
// one is missing, which the archive may have.
func (s *scan) place(ctx context.Context, r *raw, c *chunk) error {
	if r.seq < s.next {
		return errStale
	}
	if s.filter == "" && r.seq > s.next {
		if err := s.missing(ctx, s.next, r.seq-1, c); err != nil {
			return err
		}
	}
	c.raws = append(c.raws, *r)
	s.next = r.seq + 1
	return nil
}

// missing finds out why the sequences from a to b were not delivered, and adds them to a chunk if the archive has them.
func (s *scan) missing(ctx context.Context, a, b domain.Seq, c *chunk) error {
	why := "is missing"
	_, err := s.log.message(ctx, s.stream.handle, a)
	for attempt := 0; errors.Is(err, jetstream.ErrMsgNotFound) && s.log.cfg.Topology.Replicas > 1 && attempt < maxRequests; attempt++ {
		if stopped := wait(ctx, attempt+5); stopped != nil { // a server that was left behind does not have it, the others do
			return stopped
		}
		_, err = s.log.message(ctx, s.stream.handle, a)
	}
	var refused *jetstream.APIError
	switch {
	case err == nil:
		return errStale
	case errors.Is(err, jetstream.ErrMsgNotFound):
	case errors.As(err, &refused) && !passing(err):
		why = "cannot be read: " + refused.Description
	default:
		return unavailable(err, "read "+s.stream.name)
	}
	if s.gap != nil {
		return s.gap(a, b, why)
	}
	filled, err := s.log.recall(ctx, s.stream, a, b, why)
	c.raws = append(c.raws, filled...)
	return err
}

// probe is called when the server has nothing to deliver. If there should be something, that is a gap at the end: in the log, or of what was on its
// way when a connection broke, which the server believes to have delivered.
func (s *scan) probe(ctx context.Context, sent domain.Seq, c *chunk) error {
	end := s.upTo
	if end == 0 && s.stream.horizon != nil {
		end = s.stream.horizon.seen()
	}
	if s.upTo == 0 && s.filter == "" {
		end = max(end, sent)
	}
	if end < s.next {
		return nil
	}
	if s.filter != "" {
		m, err := s.log.nextMessage(ctx, s.stream.handle, s.next, s.filter)
		switch {
		case err != nil:
			return err
		case m != nil:
			return errStale
		case s.gap == nil:
			return (&Finding{Stream: s.stream.name, Account: accountOf(s.filter), Seq: end, What: "the entry cannot be read"}).corrupt()
		}
		s.next = end + 1
		return s.gap(end, end, "cannot be read")
	}
	if err := s.missing(ctx, s.next, end, c); err != nil {
		return err
	}
	s.next = end + 1
	return errStale
}

// open opens a chunk.
func (s *scan) open(ctx context.Context, c *chunk) {
	defer close(c.done)
	c.opened = make([]openedEntry, len(c.raws))
	for i := range c.raws {
		s.openOne(ctx, &c.raws[i], &c.opened[i])
	}
}

func (s *scan) openOne(ctx context.Context, r *raw, o *openedEntry) {
	o.raw, o.Account, o.Stream, o.Seq, o.Hash = r, accountOf(r.subject), s.stream.name, r.seq, hashOf(r.data)
	h, err := parseHeader(r.data)
	if err != nil {
		o.wrong = err.Error()
		return
	}
	o.Tx, o.Prev = h.tx, h.prev
	if o.Closed = r.seq <= s.known[o.Account]; s.clear || o.Closed {
		return
	}
	key, err := s.log.keys.surely(ctx, o.Account)
	switch {
	case domain.Is(err, domain.NotFound):
		o.wrong = "its account has no key"
		return
	case domain.Is(err, domain.Corrupt):
		o.wrong = err.Error()
		return
	case err != nil:
		o.err = err
		return
	case key.erased:
		o.Erased = true
		return
	}
	plain, err := unseal(key, o.Account, &h, r.data)
	if err != nil {
		o.wrong = err.Error()
		return
	}
	if o.Transaction, err = event.Unmarshal(plain); err != nil {
		o.wrong = err.Error()
		var unknown *event.UnknownError
		if errors.As(err, &unknown) {
			o.wrong, o.err = "", &domain.Error{
				Kind: domain.Unavailable,
				Msg:  "the log was written by a newer version of Streampost",
				Hint: "install that version: an older one would skip what it does not know",
				Err:  fmt.Errorf("%s, account %s, sequence %d: %w", o.Stream, o.Account, o.Seq, err),
			}
		}
	}
}

// accountOf takes the account out of a subject: its last token.
func accountOf(subject string) domain.AccountID {
	return domain.AccountID(subject[strings.LastIndexByte(subject, '.')+1:])
}
