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
	s, err := l.streamNamed(stream)
	if err != nil {
		return err
	}
	if err := l.reaches(ctx, s, after); err != nil {
		return err
	}
	return l.deliver(ctx, &scan{log: l, stream: s, next: after + 1}, f)
}

// reaches makes sure that the stream has what its reader has seen of it.
func (l *Log) reaches(ctx context.Context, s *stream, after domain.Seq) error {
	info, err := l.info(ctx, s.handle)
	if err != nil {
		return err
	}
	if last := domain.Seq(info.State.LastSeq); last < after {
		return (&Finding{Stream: s.name, Seq: last, What: fmt.Sprintf("the stream ends at sequence %d, but %d was read from it before", last, after)}).corrupt()
	}
	return nil
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
		l.yield(ctx, &scan{log: l, stream: s, next: after + 1, upTo: upTo}, yield)
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
		if last == nil {
			return
		}
		l.yield(ctx, &scan{log: l, stream: s, next: after + 1, upTo: domain.Seq(last.Sequence), filter: l.cfg.Topology.subjectOf(id)}, yield)
	}
}

var errStop = errors.New("the reader has enough")

func (l *Log) yield(ctx context.Context, s *scan, yield func(Entry, error) bool) {
	if s.upTo == 0 || s.ended() {
		return
	}
	err := l.deliver(ctx, s, func(entries []Entry) error {
		for _, e := range entries {
			if !yield(e, nil) {
				return errStop
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		yield(Entry{}, err)
	}
}
