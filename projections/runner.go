package projections

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Limits bound a runner. The zero value means the defaults.
type Limits struct {
	BatchEntries int           // entries in one SQL transaction, and as many waiting to be applied; 4096
	BatchOctets  int           // and the octets of those entries, by estimate; 16 MiB
	Replays      int           // streams that catch up or are built at the same time; the number of CPUs
	FarBehind    int           // entries of lag from which on a stream or a projection counts as catching up; 1000
	Linger       time.Duration // how long entries wait at least for others to share a commit with, while nobody waits for their rows; 50 ms
	LingerMost   time.Duration // and at most; 1 s
	LingerFor    int           // entries that are enough to commit at once; 1024
	LiveShare    float64       // of one CPU's time in which a stream that is not behind is projected while nobody waits for its rows; 0.05
	BackoffMin   time.Duration // first wait after the log or the view store failed; 100 ms
	BackoffMax   time.Duration // longest such wait; 5 s
	ApartShare   float64       // of one CPU's time in which projections apart work together while the CPUs are idle and nobody waits for them; 0.5
	ApartLeast   float64       // and the share to which that falls while half of the CPUs or more are in use; 0.02
	Spared       int           // transactions of an account that its snapshot must spare a node which returns, and a third of all that it shows; 1,000
	InPlace      int           // transactions up to which the rows of one account are made anew where they are, in one SQL transaction; 2,000
	VerifyEvery  time.Duration // in which every account is compared with the log once; 7 days, negative: never
	CountEvery   time.Duration // in which the rows of every account are compared with their digests once; 1 day, negative: never
	VerifyShare  float64       // of one CPU for those comparisons; 0.05
}

func (l Limits) withDefaults() Limits {
	orElse(&l.BatchEntries, 4096)
	orElse(&l.BatchOctets, 16<<20)
	orElse(&l.Replays, runtime.GOMAXPROCS(0))
	orElse(&l.FarBehind, 1000)
	orElse(&l.Linger, 50*time.Millisecond)
	orElse(&l.LingerMost, time.Second)
	orElse(&l.LingerFor, 1024)
	orElse(&l.LiveShare, 0.05)
	orElse(&l.BackoffMin, 100*time.Millisecond)
	orElse(&l.BackoffMax, 5*time.Second)
	orElse(&l.ApartShare, 0.5)
	orElse(&l.ApartLeast, 0.02)
	orElse(&l.Spared, 1000)
	orElse(&l.InPlace, 2000)
	if l.VerifyEvery == 0 {
		l.VerifyEvery = 7 * 24 * time.Hour
	}
	if l.CountEvery == 0 {
		l.CountEvery = 24 * time.Hour
	}
	orElse(&l.VerifyShare, 0.05)
	return l
}

func orElse[T int | float64 | time.Duration](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}

// Config is what a Runner works with.
type Config struct {
	Log         Log
	Views       Views
	Projections []Projection
	// Snapshots are where rows come from that a node has to make because it has none of them, or far older ones. Without them, all is folded from the log.
	Snapshots Snapshots
	Limits    Limits
	Logger    *slog.Logger // slog.Default if nil
	// Load gives the share of all CPUs' time that is in use now, from 0 to 1: the higher it is, the less do projections apart work. It may be nil.
	Load func() float64
	// Failpoint is called for every batch at project.before-commit, before the first projection commits, at project.between, before each
	// other one does, and at project.committed, after the last. It may be nil.
	Failpoint func(name string)
}

// Runner keeps the views of every stream.
type Runner struct {
	cfg     Config
	groups  map[string][]*group // by stream; the one in lock-step first
	streams []string            // in the log's order
	replays chan struct{}       // one token for each stream that catches up or is built
	// Of builds that mail waits for there are as many at a time, whatever the others do, and these wait for them.
	pressing chan struct{}
	first    precedence
	awaited  precedence // of rows that somebody waits for
	builds   sync.WaitGroup
	writes   *seats // of commits
	fills    *seats // of those among them that builds fill rows with, whose large batches must leave room for what comes in
	looks    *seats // of comparisons
	aparts   int    // groups of projections apart, which share a part of one CPU's time

	listing sync.Mutex // guards what comes after it
	taken   []Taken    // of the snapshots that there are; nil when nobody has asked
	listed  time.Time  // when that was

	mu      sync.Mutex
	running context.Context // nil before Run
	notify  []func(stream string, entries []streams.Entry)
	rebuilt []func(stream, projection string, id domain.AccountID)
	rates   map[string]float64 // entries a second that building took, by projection
	stats   Stats
}

// NewRunner makes a Runner. It reads and writes nothing until Run.
func NewRunner(cfg Config) *Runner {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	if cfg.Load == nil {
		cfg.Load = func() float64 { return 0 }
	}
	r := &Runner{
		cfg: cfg, streams: cfg.Log.Streams(), groups: map[string][]*group{}, replays: make(chan struct{}, cfg.Limits.Replays), pressing: make(chan struct{}, cfg.Limits.Replays), rates: map[string]float64{},
	}
	scopes := map[string]Scope{cfg.Log.StreamOf(domain.DirectoryID): DirectoryStream, cfg.Log.StreamOf(domain.TasksID): TaskStream}
	largest := 0 // number of projections in lock-step
	for _, stream := range r.streams {
		scope := scopes[stream] // AccountStreams, if it is neither
		var together []Projection
		var apart []*group
		for _, projection := range cfg.Projections {
			if projection.Scope() != scope {
				continue
			}
			if a, ok := projection.(Apart); ok && a.Apart() {
				g := newGroup(r, stream, scope, projection)
				g.silent = true
				apart = append(apart, g)
				r.aparts++
			} else {
				together = append(together, projection)
			}
		}
		r.groups[stream] = append([]*group{newGroup(r, stream, scope, together...)}, apart...)
		largest = max(largest, len(together))
	}
	if bounded, is := cfg.Views.(Bounded); is {
		writes, looks := bounded.Bounds()
		r.writes, r.looks = newSeats(writes, "writing"), newSeats(looks, "comparing")
		r.fills = newSeats(max(writes/2, largest), "filling")
	}
	return r
}

// Run projects until ctx ends. A stream whose log or views cannot be used now is tried again; one whose log is corrupt stands still, and the
// others go on. Both show in Status.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	r.running = ctx
	r.mu.Unlock()
	var wg sync.WaitGroup
	for _, stream := range r.streams {
		for _, g := range r.groups[stream] {
			wg.Go(func() { g.run(ctx) })
		}
	}
	if every := r.cfg.Limits.VerifyEvery; every > 0 {
		wg.Go(func() { r.patrol(ctx, every, r.inspect) })
	}
	if every := r.cfg.Limits.CountEvery; every > 0 {
		wg.Go(func() { r.patrol(ctx, every, r.tally) })
	}
	wg.Wait()
	r.builds.Wait()
	return nil
}

// Notify has f called with the entries of every batch once their rows can be read in all projections that are in lock-step and whole, in order, on
// the goroutine that writes them: f must be brief and not keep the slice. Entries that a rebuild applies again are not reported again. Call it
// before Run.
func (r *Runner) Notify(f func(stream string, entries []streams.Entry)) {
	r.notify = append(r.notify, f)
}

// OnRebuilt has f called after rows of a projection were made anew or removed: those of one account, or of every account of the stream when id is
// empty. Whoever keeps what it read from them drops it. Call it before Run.
func (r *Runner) OnRebuilt(f func(stream, projection string, id domain.AccountID)) {
	r.rebuilt = append(r.rebuilt, f)
}

// rows tells those who keep what they read.
func (r *Runner) rows(stream, projection string, id domain.AccountID) {
	for _, f := range r.rebuilt {
		f(stream, projection, id)
	}
}

// slot finds the place of a projection. Errors: domain.NotFound.
func (r *Runner) slot(stream, projection string) (*slot, error) {
	groups := r.groups[stream]
	if groups == nil {
		return nil, r.noStream(stream)
	}
	for _, g := range groups {
		for _, s := range g.slots {
			if s.name() == projection {
				return s, nil
			}
		}
	}
	return nil, domain.Errorf(domain.NotFound, "stream %s has no projection %s", stream, projection)
}

// Reader gives the rows of a projection in a stream. It may be kept: each call reads the generation that is live then. Errors: domain.NotFound,
// and domain.Unavailable while there are no complete rows.
func (r *Runner) Reader(stream, projection string) (Reader, error) {
	s, err := r.slot(stream, projection)
	if err != nil {
		return nil, err
	}
	_, release, err := s.use()
	if err != nil {
		return nil, err
	}
	release()
	return reader{s: s}, nil
}

// Readers gives the rows of a projection in every stream that has it, once they are complete. Errors: domain.Unavailable when ctx ends before.
func (r *Runner) Readers(ctx context.Context, projection string) (all []Reader, err error) {
	for _, stream := range r.streams {
		s, err := r.slot(stream, projection)
		if domain.Is(err, domain.NotFound) {
			continue
		}
		if err == nil {
			err = s.wait(ctx, 0, false)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, reader{s: s})
	}
	return all, nil
}

// ReaderOf gives the rows of a projection in the stream of an account, of which the account's are complete: those of others may not be. Errors as of Reader.
func (r *Runner) ReaderOf(projection string, id domain.AccountID) (Reader, error) {
	s, err := r.slot(r.cfg.Log.StreamOf(id), projection)
	if err != nil {
		return nil, err
	}
	_, release, err := s.useOf(id)
	if err != nil {
		return nil, err
	}
	release()
	return reader{s, id}, nil
}

// Wait returns once every projection of the stream that is in lock-step can be read and has applied the entry at seq. Errors: domain.Unavailable
// when ctx ends before, or when one of them has stopped.
func (r *Runner) Wait(ctx context.Context, stream string, seq domain.Seq) error {
	groups := r.groups[stream]
	if groups == nil {
		return r.noStream(stream)
	}
	for _, s := range groups[0].slots {
		if err := s.wait(ctx, seq, false); err != nil {
			return err
		}
	}
	return nil
}

// WaitFor is Wait for one projection, whichever group it is of.
func (r *Runner) WaitFor(ctx context.Context, projection, stream string, seq domain.Seq) error {
	s, err := r.slot(stream, projection)
	if err != nil {
		return err
	}
	return s.wait(ctx, seq, false)
}

// patient is how long somebody waits for rows that follow the log until builds stand still for him.
const patient = 100 * time.Millisecond

// wait waits until the rows show the entry at seq, or, when that is wanted, have stopped before it.
func (s *slot) wait(ctx context.Context, seq domain.Seq, orStopped bool) error {
	return s.await(ctx, "", seq, orStopped)
}

// waitOf waits until the rows of an account do, and has them made before others if that is so long.
func (s *slot) waitOf(ctx context.Context, id domain.AccountID, seq domain.Seq) error {
	return s.await(ctx, id, seq, false)
}

func (s *slot) await(ctx context.Context, id domain.AccountID, seq domain.Seq, orStopped bool) error {
	g, asked := s.group, false
	var patience <-chan time.Time
	if !g.silent {
		timer := time.NewTimer(patient)
		defer timer.Stop()
		patience = timer.C
	}
	for {
		g.mu.Lock()
		shown, changed, over := s.shows(id, seq), g.changed, g.over
		state, cause := s.standing()
		first := !shown && !asked && s.goesFirst(id)
		g.mu.Unlock()
		if first {
			g.want(id)
			asked = true
		}
		stopped := state == Stopped || state == Dropped
		switch {
		case shown && !over, stopped && orStopped && !over:
			return nil
		case stopped:
			return domain.Wrap(domain.Unavailable, cause, "the view "+s.name()+" is "+string(state))
		}
		signal(g.hurry)
		select {
		case <-changed:
		case <-patience:
			defer g.r.awaited.begin()()
			patience = nil
		case <-ctx.Done():
			return domain.Wrap(domain.Unavailable, errors.Join(ctx.Err(), cause), "the view "+s.name()+" has not caught up")
		}
	}
}

func (r *Runner) noStream(stream string) error {
	err := domain.Errorf(domain.NotFound, "there is no stream %s", stream)
	err.Hint = "projection list shows the streams"
	return err
}

func (r *Runner) noProjection(name string) error {
	err := domain.Errorf(domain.NotFound, "there is no projection %s", name)
	err.Hint = "projection list shows the projections"
	return err
}

// measure remembers how fast projections were built together.
func (r *Runner) measure(names []string, rate float64, entries uint64) {
	if entries < 1000 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		r.rates[name] = rate
	}
}

// switched books the pause that a switch took.
func (r *Runner) switched(pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Switches++
	r.stats.LastPause, r.stats.LongestPause = pause, max(r.stats.LongestPause, pause)
}

// Stats counts what the runner did since it was made, for metrics and health.
type Stats struct {
	Switches     uint64        // generations switched in, a stream's together
	LastPause    time.Duration // for which projecting stood still in the last
	LongestPause time.Duration
	Verified     uint64    // accounts compared in the background
	Differences  uint64    // found there
	LastVerified time.Time // when the last such comparison ended; zero if none did
	Found        string    // the last difference found; empty if none was
	Counted      uint64    // accounts whose rows were compared with their digests in the background
	Miscounts    uint64    // found there
	LastCounted  time.Time // when the last such comparison ended; zero if none did
	Miscount     string    // the last one found; empty if none was
	Hydrated     uint64    // times that rows of an account were taken from its snapshot
	Refused      uint64    // times that there was a snapshot which could not be used
}

// Stats gives the counters.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}
