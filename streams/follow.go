package streams

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/streampost/streampost/domain"
)

// Follow calls f with batches of durable entries after a position, in order and without gaps, until ctx ends or f fails; its error is
// theirs. It survives the loss of its server. Errors of its own: domain.Corrupt, with a Finding, for an entry that is missing or not what
// was appended, after those before it were delivered; domain.Unavailable when the log can neither be read nor proved.
func (l *Log) Follow(ctx context.Context, stream string, after domain.Seq, f func([]Entry) error) error {
	return l.FollowPast(ctx, stream, after, nil, f)
}

// FollowPast is Follow for a reader that knows some entries.
func (l *Log) FollowPast(ctx context.Context, stream string, after domain.Seq, known Known, f func([]Entry) error) error {
	s, err := l.streamNamed(stream)
	if err != nil {
		return err
	}
	if err := l.reaches(ctx, s, after); err != nil {
		return err
	}
	return l.deliver(ctx, &scan{log: l, stream: s, next: after + 1, known: known}, f)
}

// Reaches makes sure that a stream has what was read of it before. Errors: domain.Corrupt when it has less, domain.Unavailable when that is said where the
// log has several copies, of which one may be behind.
func (l *Log) Reaches(ctx context.Context, stream string, after domain.Seq) error {
	s, err := l.streamNamed(stream)
	if err != nil {
		return err
	}
	return l.reaches(ctx, s, after)
}

// reaches makes sure that the stream has what its reader has seen of it. In a cluster, a server that was left behind or begins anew may have less for a
// while; the others have it.
func (l *Log) reaches(ctx context.Context, s *stream, after domain.Seq) error {
	for attempt := 0; ; attempt++ {
		info, err := l.info(ctx, s.handle)
		if err != nil {
			return err
		}
		last := domain.Seq(info.State.LastSeq)
		switch {
		case last >= after:
			return nil
		case l.cfg.Topology.Replicas == 1:
			return (&Finding{Stream: s.name, Seq: last, What: fmt.Sprintf("the stream ends at sequence %d, but %d was read from it before", last, after)}).corrupt()
		case attempt == maxRequests || wait(ctx, attempt+5) != nil:
			return unavailable(fmt.Errorf("%w: %s ends at sequence %d there, but %d was read from it before", errBehind, s.name, last, after), "read "+s.name)
		}
	}
}

// deliver runs a scan and proves the chain on the way.
func (l *Log) deliver(ctx context.Context, s *scan, f func([]Entry) error) error {
	chain := newChain(s.next == 1)
	return s.run(ctx, func(opened []openedEntry) error {
		entries := make([]Entry, 0, len(opened))
		var broken error
		for i := range opened {
			o := &opened[i]
			if broken = o.err; broken != nil {
				break
			}
			if finding := chain.check(o); finding != nil {
				broken = finding.corrupt()
				break
			}
			entries = append(entries, o.Entry)
		}
		if len(entries) > 0 {
			if err := f(entries); err != nil {
				return err
			}
		}
		return broken
	})
}

// Read yields the entries of a stream after one position up to and including another, or up to its present end if that comes first. It ends
// with an error as Follow does.
func (l *Log) Read(ctx context.Context, stream string, after, upTo domain.Seq) iter.Seq2[Entry, error] {
	return l.ReadPast(ctx, stream, after, upTo, nil)
}

// ReadPast is Read for a reader that knows some entries.
func (l *Log) ReadPast(ctx context.Context, stream string, after, upTo domain.Seq, known Known) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s, err := l.streamNamed(stream)
		if err == nil {
			var head domain.Seq
			head, err = l.Head(ctx, stream)
			upTo = min(upTo, head)
		}
		if err != nil {
			yield(Entry{}, err)
			return
		}
		l.yield(ctx, &scan{log: l, stream: s, next: after + 1, upTo: upTo, known: known}, yield)
	}
}

// ReadAccount yields an account's entries after a position up to its present end. It ends with an error as Follow does.
func (l *Log) ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s, last, err := l.last(ctx, id)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		upTo := l.beyond.of(id) // what is lost at the end is recalled
		if last != nil {
			upTo = max(upTo, domain.Seq(last.Sequence))
		}
		if upTo == 0 {
			return
		}
		l.yield(ctx, &scan{log: l, stream: s, next: after + 1, upTo: upTo, filter: l.cfg.Topology.subjectOf(id)}, yield)
	}
}

var errStop = errors.New("the reader has enough")

func (l *Log) yield(ctx context.Context, s *scan, yield func(Entry, error) bool) {
	if s.upTo == 0 || s.ended() {
		return
	}
	last, filter := s.next-1, s.filter
	give := func(entries []Entry) error {
		for _, e := range entries {
			if filter != "" && accountOf(filter) != e.Account {
				continue
			}
			if last = e.Seq; !yield(e, nil) {
				return errStop
			}
		}
		return nil
	}
	err := l.deliver(ctx, s, give)
	if filter != "" && domain.Is(err, domain.Corrupt) && l.recaller.Load() != nil {
		// A reader of one account cannot tell which sequence is missing: who reads all can, and takes it from the archive.
		err = l.deliver(ctx, &scan{log: l, stream: s.stream, next: last + 1, upTo: s.upTo}, give)
	}
	if err != nil && !errors.Is(err, errStop) {
		yield(Entry{}, err)
	}
}
