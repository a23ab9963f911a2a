package streams

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// Recaller has copies of entries, as an archive does.
type Recaller interface {
	// Recall gives all entries that a stream had from one sequence to another, both included, in order. Error: domain.NotFound when it does not have all.
	Recall(ctx context.Context, stream string, from, to domain.Seq) ([]Sealed, error)
}

// RecallFrom lets readers take what a stream has lost from an archive. What it gives is proved like what the stream gives: an entry that is not the very one
// that was appended breaks the chain. Error: domain.Corrupt when the archive does not have what streams lacked when the log was opened; domain.Unavailable.
func (l *Log) RecallFrom(ctx context.Context, r Recaller) error {
	l.recaller.Store(&r)
	for _, name := range l.names {
		s := l.streams[name]
		if s.hole == nil {
			continue
		}
		holes, err := l.holes(ctx, s)
		if err != nil {
			return err
		}
		for _, h := range holes {
			if _, err := l.recall(ctx, s, h.from, h.to, "is missing"); err != nil {
				return err
			}
		}
	}
	return nil
}

// hole is a range of sequences that a stream lacks.
type hole struct{ from, to domain.Seq }

// holes asks the server what a stream lacks.
func (l *Log) holes(ctx context.Context, s *stream) (all []hole, err error) {
	info, err := l.info(ctx, s.handle, jetstream.WithDeletedDetails(true))
	if err != nil {
		return nil, err
	}
	if first := domain.Seq(info.State.FirstSeq); first > 1 {
		all = append(all, hole{1, first - 1})
	}
	for _, seq := range info.State.Deleted {
		if n := len(all); n > 0 && all[n-1].to+1 == domain.Seq(seq) {
			all[n-1].to++
		} else {
			all = append(all, hole{domain.Seq(seq), domain.Seq(seq)})
		}
	}
	return all, nil
}

// Missing counts the entries that a stream lacks between its first sequence and its last.
func (l *Log) Missing(ctx context.Context, stream string) (n uint64, err error) {
	s, err := l.streamNamed(stream)
	if err != nil {
		return 0, err
	}
	all, err := l.holes(ctx, s)
	for _, h := range all {
		n += uint64(h.to-h.from) + 1
	}
	return n, err
}

// Recalled counts entries that a stream has lost and the archive had, once for each time that one was read.
func (l *Log) Recalled() uint64 { return l.recalled.Load() }

// maxRecalled bounds how large a hole may be that readers take from the archive, in entries: what is larger is for log restore.
const maxRecalled = 65536

// recall reads from the archive what a stream lacks, or says that it is damaged.
func (l *Log) recall(ctx context.Context, s *stream, from, to domain.Seq, why string) ([]raw, error) {
	damage := (&Finding{Stream: s.name, Seq: from, What: "the entry " + why}).corrupt()
	archive := l.recaller.Load()
	if archive == nil || to-from >= maxRecalled {
		return nil, damage
	}
	entries, err := (*archive).Recall(ctx, s.name, from, to)
	if domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt) {
		l.cfg.Logger.Error("the log is damaged, and the archive cannot help", "stream", s.name, "from", from, "to", to, "error", err)
		return nil, damage
	}
	if err != nil {
		return nil, unavailable(err, fmt.Sprintf("read what %s lacks from the archive", s.name))
	}
	raws := make([]raw, len(entries))
	for i, e := range entries {
		raws[i] = raw{seq: e.Seq, subject: l.cfg.Topology.subjectOf(e.Account), written: e.Written, data: e.Data}
	}
	l.beyond.note(entries)
	l.recalled.Add(uint64(len(entries)))
	l.cfg.Logger.Error("the log is damaged: what is missing was read from the archive", "stream", s.name, "from", from, "to", to, "found", why)
	return raws, nil
}

// newest knows, of each account of which an entry was recalled, where the newest of these stood. The server does not have it, and takes an older entry for the
// account's last one: what is appended after that would be another history.
type newest struct{ seqs sync.Map } // of domain.AccountID to domain.Seq

func (n *newest) of(id domain.AccountID) domain.Seq {
	seq, _ := n.seqs.Load(id)
	at, _ := seq.(domain.Seq)
	return at
}

func (n *newest) note(entries []Sealed) {
	for i := range entries {
		e := &entries[i]
		for {
			before, known := n.seqs.LoadOrStore(e.Account, e.Seq)
			if !known || before.(domain.Seq) >= e.Seq || n.seqs.CompareAndSwap(e.Account, before, e.Seq) {
				break
			}
		}
	}
}

func lostNewest(stream string, id domain.AccountID, seq domain.Seq) error {
	return &domain.Error{
		Kind: domain.Corrupt, Msg: "the newest transaction of account " + string(id) + " is lost in the log, so nothing can be added to it",
		Err:  &Finding{Stream: stream, Account: id, Seq: seq, What: "the entry is missing"},
		Hint: "it is in the archive: log restore brings it back; in a cluster, repair the copies of the stream",
	}
}
