package streams

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// Stream gives the name that a stream beside the log has in this installation.
func (t *Topology) Stream(name string) string { return t.stream(name) }

// Subject gives a subject beside the log's own in this installation.
func (t *Topology) Subject(name string) string { return t.subject(name) }

// OpenEntry waits until a message that was seen in a stream of the log is durable, and opens it. The chain of hashes is not proved: that is for
// those who read a stream from its beginning. Errors: domain.Corrupt with a Finding, domain.Unavailable, ctx's.
func (l *Log) OpenEntry(ctx context.Context, stream string, seq domain.Seq, subject string, sealed []byte) (Entry, error) {
	s, err := l.streamNamed(stream)
	if err != nil {
		return Entry{}, err
	}
	if err := s.durable(ctx, seq); err != nil {
		return Entry{}, err
	}
	var o openedEntry
	(&scan{log: l, stream: s}).openOne(ctx, &raw{seq: seq, subject: subject, data: sealed}, &o)
	switch {
	case o.err != nil:
		return Entry{}, o.err
	case o.wrong != "":
		return Entry{}, (&Finding{Stream: stream, Account: o.Account, Seq: seq, Tx: o.Tx, What: o.wrong}).corrupt()
	}
	return o.Entry, nil
}

// Entry reads the one entry at a position. Errors: domain.NotFound beyond the end of the stream, and those of OpenEntry.
func (l *Log) Entry(ctx context.Context, stream string, seq domain.Seq) (Entry, error) {
	s, err := l.streamNamed(stream)
	if err != nil {
		return Entry{}, err
	}
	m, err := l.message(ctx, s.handle, seq)
	if m, err = found(m, err, stream); err != nil {
		return Entry{}, err
	}
	if m == nil {
		return Entry{}, domain.Errorf(domain.NotFound, "stream %s has no entry at sequence %d", stream, seq)
	}
	return l.OpenEntry(ctx, stream, seq, m.Subject, m.Data)
}

// JetStream is the client that the log uses, for packages that keep streams of their own beside it.
func (l *Log) JetStream() jetstream.JetStream { return l.js }
