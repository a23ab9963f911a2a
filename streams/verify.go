package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/streampost/streampost/domain"
)

// VerifyOptions says what Verify walks. The zero value walks everything without keys.
type VerifyOptions struct {
	Account domain.AccountID // one account only
	Stream  string           // one stream only; that of the keys counts as one
	Keys    bool             // also prove that every entry opens
	Max     int              // findings after which Verify gives up; 0 means 1,000
	Found   func(Finding)    // told of each at once, one at a time; may be nil
}

// Report is what Verify found.
type Report struct {
	Streams  []StreamFacts `json:"streams"`
	Keys     *KeyFacts     `json:"keys,omitempty"` // when keys were used
	Entries  uint64        `json:"entries"`
	Accounts int           `json:"accounts"`
	Erased   int           `json:"erased"` // accounts among them whose key was destroyed; known when keys were used
	Findings []Finding     `json:"findings"`
	Partial  bool          `json:"partial,omitempty"` // there were more findings than asked for
}

// StreamFacts is what the server says of a stream.
type StreamFacts struct {
	Stream   string     `json:"stream"`
	First    domain.Seq `json:"first"`
	Last     domain.Seq `json:"last"`
	Durable  domain.Seq `json:"durable"` // acknowledged and synced; Last where the server syncs by itself
	Messages uint64     `json:"messages"`
	Deleted  int        `json:"deleted"` // must be 0
	Bytes    uint64     `json:"bytes"`
	Subjects uint64     `json:"subjects"` // accounts that have written
	Replicas int        `json:"replicas"`
}

// Verify walks the log and proves that no entry is missing, that every account's transactions are dense and chained, and, with keys, that
// they open and that the keys themselves are whole. It goes on after each finding. An erased account is in order as far as it can be. progress is told how many of how many
// entries are done; it may be nil. The error is about Verify itself, never about the log.
func (l *Log) Verify(ctx context.Context, opts VerifyOptions, progress func(done, total uint64)) (*Report, error) {
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	if opts.Max == 0 {
		opts.Max = 1000
	}
	v := &verifier{log: l, opts: opts, progress: progress, erased: map[domain.AccountID]bool{}}
	names, records := l.names, []string(nil)
	switch {
	case opts.Account != "":
		if _, err := l.streamFor(opts.Account); err != nil {
			return nil, err
		}
		names, records = []string{l.StreamOf(opts.Account)}, []string{accountRecord(opts.Account)}
	case opts.Stream == l.keys.name:
		opts.Keys, v.opts.Keys, names = true, true, nil
	case opts.Stream != "":
		if _, err := l.streamNamed(opts.Stream); err != nil {
			return nil, err
		}
		names = []string{opts.Stream}
	}
	for _, name := range names {
		if err := v.facts(ctx, l.streams[name]); err != nil {
			return nil, err
		}
	}
	if opts.Keys && (opts.Stream == "" || opts.Stream == l.keys.name) {
		if err := v.keys(ctx, records); err != nil {
			return nil, err
		}
	}
	for i := range v.report.Streams {
		if err := v.walk(ctx, &v.report.Streams[i]); err != nil {
			return nil, err
		}
		if v.report.Partial {
			break
		}
	}
	v.report.Erased = len(v.erased)
	slices.SortStableFunc(v.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Seq, b.Seq))
	})
	return &v.report, nil
}

type verifier struct {
	log      *Log
	opts     VerifyOptions
	progress func(done, total uint64)
	total    uint64
	erased   map[domain.AccountID]bool

	mu     sync.Mutex // gaps are found by the goroutine that fetches
	report Report
}

// facts compares what the server says of a stream with what must be.
func (v *verifier) facts(ctx context.Context, s *stream) error {
	marked := v.log.marked(s.name)
	info, err := v.log.info(ctx, s.handle)
	if err != nil {
		return err
	}
	state := &info.State
	facts := StreamFacts{
		Stream: s.name, First: domain.Seq(state.FirstSeq), Last: domain.Seq(state.LastSeq), Durable: domain.Seq(state.LastSeq), Messages: state.Msgs,
		Deleted: state.NumDeleted, Bytes: state.Bytes, Subjects: state.NumSubjects, Replicas: info.Config.Replicas,
	}
	if s.horizon != nil {
		facts.Durable = s.horizon.seen()
	}
	v.report.Streams = append(v.report.Streams, facts)
	v.total += state.Msgs
	if finding := lost(info, marked); finding != nil {
		v.add(*finding)
	}
	return nil
}

// walk reads a stream, or one account of it.
func (v *verifier) walk(ctx context.Context, facts *StreamFacts) error {
	s := &scan{log: v.log, stream: v.log.streams[facts.Stream], next: 1, upTo: facts.Last, clear: !v.opts.Keys, gap: v.gap(facts.Stream)}
	if v.opts.Account != "" {
		_, last, err := v.log.last(ctx, v.opts.Account)
		if err != nil || last == nil {
			return err
		}
		s.upTo = domain.Seq(last.Sequence)
		s.filter = v.log.cfg.Topology.subjectOf(v.opts.Account)
	}
	if s.upTo == 0 {
		return nil
	}
	chain := newChain(true)
	err := s.run(ctx, func(opened []openedEntry) error {
		for i := range opened {
			o := &opened[i]
			if o.err != nil {
				return o.err
			}
			if o.Erased {
				v.erased[o.Account] = true
			}
			if finding := chain.check(o); finding != nil && !v.add(*finding) {
				return errStop
			}
		}
		v.report.Entries += uint64(len(opened))
		v.progress(v.report.Entries, v.total)
		return nil
	})
	v.report.Accounts += len(chain.at)
	for _, id := range []domain.AccountID{domain.DirectoryID, domain.TasksID} {
		if _, seen := chain.at[id]; seen {
			v.report.Accounts-- // it has a log like an account's, but nobody's mail
		}
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (v *verifier) gap(stream string) func(from, to domain.Seq, why string) error {
	return func(from, to domain.Seq, why string) error {
		what := "the entry " + why
		if to > from {
			what = fmt.Sprintf("the %d entries from here to sequence %d are not there: the first %s", to-from+1, to, why)
		}
		if !v.add(Finding{Stream: stream, Seq: from, What: what}) {
			return errStop
		}
		return nil
	}
}

// add notes a finding and reports whether more are wanted.
func (v *verifier) add(f Finding) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.report.Findings) >= v.opts.Max {
		v.report.Partial = true
		return false
	}
	v.report.Findings = append(v.report.Findings, f)
	if v.opts.Found != nil {
		v.opts.Found(f)
	}
	return true
}
