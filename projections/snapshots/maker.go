package snapshots

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/mailboxes"
)

// Limits bound a Maker. The zero value means the defaults.
type Limits struct {
	Every int           // transactions of an account between two snapshots; 10,000
	Share float64       // of one CPU that making them in the background takes; 0.25
	Look  time.Duration // between two looks whose turn has come; 1 min
}

func (l Limits) withDefaults() Limits {
	if l.Every <= 0 {
		l.Every = 10_000
	}
	if l.Share <= 0 || l.Share > 1 {
		l.Share = 0.25
	}
	if l.Look <= 0 {
		l.Look = time.Minute
	}
	return l
}

// Views are the rows that snapshots are made of; *projections.Runner has them.
type Views interface {
	Freeze(ctx context.Context, id domain.AccountID, f func(at domain.Seq, frozen []projections.Frozen) error) error
	Reader(stream, projection string) (projections.Reader, error)
	Usable(ctx context.Context, taken projections.Taken) error
}

// Config is what a Maker works with.
type Config struct {
	Store   *Store
	Views   Views
	Streams func() []string // of accounts
	Limits  Limits
	Logger  *slog.Logger // slog.Default if nil
	// Observe is told of every attempt, for metrics. It may be nil.
	Observe func(octets int64, took time.Duration, err error)
	// Failpoint is called at snapshot.written, when all is written but nothing has its name. It may be nil.
	Failpoint func(name string)
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Maker makes snapshots, one at a time.
type Maker struct {
	cfg    Config
	making sync.Mutex

	mu    sync.Mutex
	taken map[domain.AccountID]domain.Tx // at which accounts have a snapshot that is of use, as far as it was looked at
}

// NewMaker makes a Maker.
func NewMaker(cfg Config) *Maker {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Observe == nil {
		cfg.Observe = func(int64, time.Duration, error) {}
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Maker{cfg: cfg, taken: map[domain.AccountID]domain.Tx{}}
}

// Make makes a snapshot of an account now, at full speed. Errors: domain.NotFound for an account without a log, domain.Erased, domain.Unavailable when the
// views do not stand at one position.
func (m *Maker) Make(ctx context.Context, id domain.AccountID) (*Header, error) {
	return m.make(ctx, id, 1)
}

func (m *Maker) make(ctx context.Context, id domain.AccountID, share float64) (h *Header, err error) {
	m.making.Lock()
	defer m.making.Unlock()
	began := m.cfg.Now()
	err = m.cfg.Views.Freeze(ctx, id, func(at domain.Seq, frozen []projections.Frozen) error {
		if h, err = m.header(ctx, id, at, frozen); err != nil {
			return err
		}
		counted := &counting{}
		err := m.cfg.Store.put(ctx, id, func(out io.Writer) error {
			counted.Writer = out
			if err := write(ctx, counted, h, frozen, func(took time.Duration) error { return projections.Pause(ctx, projections.Idle(took, share)) }); err != nil {
				return err
			}
			m.cfg.Failpoint("snapshot.written")
			return nil
		})
		h.Octets = counted.n
		return err
	})
	if err == nil {
		err = m.settle(ctx, id)
	}
	took := m.cfg.Now().Sub(began)
	if err != nil {
		m.cfg.Observe(0, took, err)
		return nil, err
	}
	m.cfg.Observe(h.Octets, took, nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken[id] = h.At.Tx
	return h, nil
}

// settle removes what was made of an account that was erased meanwhile.
func (m *Maker) settle(ctx context.Context, id domain.AccountID) error {
	_, err := m.cfg.Store.keys.AccountSecret(ctx, id, purpose)
	if domain.Is(err, domain.Erased) {
		return errors.Join(err, m.cfg.Store.Remove(ctx, id))
	}
	return err
}

// header describes what is frozen.
func (m *Maker) header(ctx context.Context, id domain.AccountID, at domain.Seq, frozen []projections.Frozen) (*Header, error) {
	h := &Header{Account: id, Seq: at, Made: m.cfg.Now()}
	for _, f := range frozen {
		s := Section{Projection: f.Projection.Name(), Version: f.Projection.Version()}
		if s.Projection == mailboxes.Name {
			standing, err := mailboxes.Position(ctx, f.Rows, id)
			switch {
			case err != nil:
				return nil, err
			case standing.Erased:
				return nil, domain.Errorf(domain.Erased, "account %s is erased", id)
			case standing.At.Tx == 0:
				return nil, domain.Errorf(domain.NotFound, "account %s has no log", id)
			}
			h.At = standing.At
		}
		var err error
		if s.Digest, err = projections.DigestOf(ctx, f.Rows, id); err != nil {
			return nil, err
		}
		for _, t := range f.Projection.Tables() {
			names, err := columns(ctx, f.Rows, t)
			if err != nil {
				return nil, err
			}
			s.tables = append(s.tables, table{t.Name, names})
		}
		h.Sections = append(h.Sections, s)
	}
	if h.At.Tx == 0 {
		return nil, domain.Errorf(domain.Internal, "the views do not say where account %s stands", id)
	}
	return h, nil
}

// counting counts octets before they are sealed, which adds a five-hundredth.
type counting struct {
	io.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// Run makes snapshots in the background until ctx ends.
func (m *Maker) Run(ctx context.Context) error {
	ticker := time.NewTicker(m.cfg.Limits.Look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if _, err := m.Round(ctx); err != nil && ctx.Err() == nil {
			m.cfg.Logger.Warn("snapshots cannot be made now", "error", err)
		}
	}
}

// Round makes a snapshot of every account whose log has grown enough since its last one, and counts them. Which these are follows from the views and the
// stored headers, so nothing is remembered over a start.
func (m *Maker) Round(ctx context.Context) (made int, err error) {
	for _, stream := range m.cfg.Streams() {
		view, err := m.cfg.Views.Reader(stream, mailboxes.Name)
		if err != nil {
			return made, err
		}
		long, err := mailboxes.LongLogs(ctx, view, domain.Tx(m.cfg.Limits.Every))
		if err != nil {
			return made, err
		}
		for _, s := range long {
			last, err := m.last(ctx, s.Account)
			if err != nil {
				return made, err
			}
			if s.At.Tx < last+domain.Tx(m.cfg.Limits.Every) {
				continue
			}
			if _, err := m.make(ctx, s.Account, m.cfg.Limits.Share); err != nil {
				if domain.Is(err, domain.Erased) || domain.Is(err, domain.NotFound) {
					continue
				}
				return made, err
			}
			made++
		}
	}
	return made, nil
}

// last is the transaction at which an account has a snapshot that is of use; 0 without one.
func (m *Maker) last(ctx context.Context, id domain.AccountID) (domain.Tx, error) {
	m.mu.Lock()
	tx, known := m.taken[id]
	m.mu.Unlock()
	if known {
		return tx, nil
	}
	h, err := m.cfg.Store.Header(ctx, id)
	if err == nil {
		if err = m.cfg.Views.Usable(ctx, h.Taken()); err == nil {
			tx = h.At.Tx
		}
	}
	if domain.Is(err, domain.Unavailable) || ctx.Err() != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken[id] = tx
	return tx, nil
}

// Remove removes an account's snapshot, also of an account that was erased. If its log is long, another is made in time.
func (m *Maker) Remove(ctx context.Context, id domain.AccountID) error {
	if err := m.cfg.Store.Remove(ctx, id); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.taken, id)
	return nil
}
