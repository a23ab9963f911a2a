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
	Replays      int           // streams that catch up at the same time; the number of CPUs
	FarBehind    int           // entries of lag from which on a stream counts as catching up; 1000
	Linger       time.Duration // how long entries may wait for others to share a commit with while nobody waits for their rows; 50 ms
	LingerFor    int           // entries that are enough to commit at once; 256
	BackoffMin   time.Duration // first wait after the log or the view store failed; 100 ms
	BackoffMax   time.Duration // longest such wait; 15 s
}

func (l Limits) withDefaults() Limits {
	if l.BatchEntries <= 0 {
		l.BatchEntries = 4096
	}
	if l.BatchOctets <= 0 {
		l.BatchOctets = 16 << 20
	}
	if l.Replays <= 0 {
		l.Replays = runtime.GOMAXPROCS(0)
	}
	if l.FarBehind <= 0 {
		l.FarBehind = 1000
	}
	if l.Linger <= 0 {
		l.Linger = 50 * time.Millisecond
	}
	if l.LingerFor <= 0 {
		l.LingerFor = 256
	}
	if l.BackoffMin <= 0 {
		l.BackoffMin = 100 * time.Millisecond
	}
	if l.BackoffMax <= 0 {
		l.BackoffMax = 15 * time.Second
	}
	return l
}

// Config is what a Runner works with.
type Config struct {
	Log         Log
	Views       Views
	Projections []Projection
	Limits      Limits
	Logger      *slog.Logger      // slog.Default if nil
	Failpoint   func(name string) // called at project.before-commit and project.committed; may be nil
}

// Runner runs a projector for every stream.
type Runner struct {
	cfg        Config
	projectors map[string]*projector
	streams    []string      // in the log's order
	replays    chan struct{} // one token for each stream that catches up

	mu      sync.Mutex
	notify  []func(stream string, entries []streams.Entry)
	rebuilt []func(stream string, id domain.AccountID)
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
	r := &Runner{
		cfg: cfg, streams: cfg.Log.Streams(), projectors: map[string]*projector{},
		replays: make(chan struct{}, cfg.Limits.Replays),
	}
	directory := cfg.Log.StreamOf(domain.DirectoryID)
	for _, stream := range r.streams {
		scope := AccountStreams
		if stream == directory {
			scope = DirectoryStream
		}
		p := newProjector(r, stream)
		for _, projection := range cfg.Projections {
			if projection.Scope() == scope {
				p.projections = append(p.projections, projection)
			}
		}
		r.projectors[stream] = p
	}
	return r
}

// Run projects until ctx ends. A stream whose log or view cannot be used now is tried again; one whose log is corrupt stands still, and the
// others go on. Both show in Status.
func (r *Runner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, p := range r.projectors {
		wg.Go(func() { p.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Notify has f called with the entries of every batch once their rows can be read, in order, on the projector's goroutine: f must be brief and
// not keep the slice. Entries that a rebuild applies again are not reported again. Call it before Run.
func (r *Runner) Notify(f func(stream string, entries []streams.Entry)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notify = append(r.notify, f)
}

// OnRebuilt has f called after rows were made anew or removed: those of one account, or of every account of the stream when id is empty. Whoever
// keeps what it read from them drops it. Call it before Run.
func (r *Runner) OnRebuilt(f func(stream string, id domain.AccountID)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rebuilt = append(r.rebuilt, f)
}

func (r *Runner) projector(stream string) (*projector, error) {
	p := r.projectors[stream]
	if p == nil {
		return nil, domain.Errorf(domain.NotFound, "there is no stream %s", stream)
	}
	return p, nil
}

// Reader gives the view of a stream. Take it for each use and do not keep it. Errors: domain.Unavailable while the view is not open.
func (r *Runner) Reader(stream string) (Reader, error) {
	p, err := r.projector(stream)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view == nil {
		return nil, domain.Wrap(domain.Unavailable, p.err, "the view is not open")
	}
	return p.view, nil
}

// ReaderOf gives the view that holds an account.
func (r *Runner) ReaderOf(id domain.AccountID) (Reader, error) {
	return r.Reader(r.cfg.Log.StreamOf(id))
}

// Wait returns once every projection of the stream has applied the entry at seq. Errors: domain.Unavailable when ctx ends before, or when the
// projector has stopped.
func (r *Runner) Wait(ctx context.Context, stream string, seq domain.Seq) error {
	p, err := r.projector(stream)
	if err != nil {
		return err
	}
	for {
		p.mu.Lock()
		shown, state, cause, changed := p.shows(seq), p.state, p.err, p.changed
		p.mu.Unlock()
		switch {
		case shown:
			return nil
		case state == Stopped:
			return domain.Wrap(domain.Unavailable, cause, "the view of this account is stopped")
		}
		signal(p.hurry)
		select {
		case <-changed:
		case <-ctx.Done():
			return domain.Wrap(domain.Unavailable, errors.Join(ctx.Err(), cause), "the view of this account has not caught up")
		}
	}
}
