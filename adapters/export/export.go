// Package export writes events (domain/feed) into files for other systems: one JSON object a line (NDJSON), by a listener of the log.
//
// Invariants:
//   - A line is on disk before its entry is acknowledged to the log; entries that wait at the same time share a sync.
//   - The lines of an account are in the order of its log. A dead letter that is redelivered comes later than what overtook it.
//   - Each event is written once. After a crash the log gives again what was not acknowledged; the last lines of the files say what of it is there. A line
//     that was cut off is removed. Remembered bounds how far that looks back.
//   - A file that is full is never touched again, and has its last name.
package export

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/telling"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// Name is the listener's name.
const Name = "event-export"

// Remembered is how many of the last events are known, so that they are not written twice: more than all streams together have in flight (listen.Limits.Window).
const Remembered = 1 << 17

// Config is what an Export works with. Directory and Source are needed.
type Config struct {
	Directory string
	Source    telling.Source   // of the events
	Size      int64            // octets after which a file is full
	Age       time.Duration    // after which a file is full
	Logger    *slog.Logger     // nil means slog.Default()
	Now       func() time.Time // nil means time.Now
	Count     func(lines int)  // is told of lines that are on disk; nil tells nobody
}

// Export writes files. It is safe for concurrent use while Run runs.
type Export struct {
	cfg    Config
	rounds chan *round
	file   files
}

// round is the lines of one account's entries.
type round struct {
	lines []line
	done  chan error
}

type line struct {
	key  key
	text []byte
}

// New makes an Export. Errors: domain.Invalid.
func New(cfg Config) (*Export, error) {
	if err := cfg.Source.Events.Check(); err != nil {
		return nil, err
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Count == nil {
		cfg.Count = func(int) {}
	}
	return &Export{cfg: cfg, rounds: make(chan *round), file: files{directory: cfg.Directory, now: cfg.Now}}, nil
}

// Listener gives what listen.Listeners run.
func (x *Export) Listener() listen.Listener {
	l := x.cfg.Source.Listener(Name, x.handle)
	l.Batch = 64 // They are written together.
	return l
}

func (x *Export) handle(ctx context.Context, entries []streams.Entry) (done int, err error) {
	r := &round{done: make(chan error, 1)}
	for i := range entries {
		if err := x.add(ctx, r, &entries[i]); err != nil {
			return 0, err
		}
	}
	if len(r.lines) == 0 {
		return len(entries), nil
	}
	select {
	case x.rounds <- r:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select { // also when ctx ends: the outcome is near, and known
	case err = <-r.done:
	case <-time.After(time.Minute):
		err = domain.Errorf(domain.Unavailable, "the disk of the event export does not answer")
	}
	if err != nil {
		return 0, listen.Outage(err) // The disk is full or broken, which no entry can be blamed for.
	}
	return len(entries), nil
}

// add writes the lines of an entry into a round.
func (x *Export) add(ctx context.Context, r *round, e *streams.Entry) error {
	items, err := x.cfg.Source.Items(ctx, e)
	if err != nil {
		return err
	}
	for i := range items {
		text, err := json.Marshal(&items[i])
		if err != nil {
			return domain.Wrap(domain.Internal, err, "write an event")
		}
		r.lines = append(r.lines, line{keyOf(&items[i]), append(text, '\n')})
	}
	return nil
}

// maxRound is how many rounds share one sync.
const maxRound = 512

// Run writes what Handle gives until ctx ends.
func (x *Export) Run(ctx context.Context) error {
	defer x.file.close()
	for {
		aged := make(<-chan time.Time)
		if left := x.file.left(x.cfg.Age); left >= 0 {
			aged = time.After(left)
		}
		var all []*round
		select {
		case r := <-x.rounds:
			all = append(all, r)
		case <-aged:
			if err := x.file.finish(); err != nil {
				x.cfg.Logger.Error("a file of events cannot be finished", "err", err)
				x.file.begun = x.cfg.Now() // Not at once again.
			}
			continue
		case <-ctx.Done():
			return nil
		}
	gather:
		for len(all) < maxRound {
			select {
			case r := <-x.rounds:
				all = append(all, r)
			default:
				break gather
			}
		}
		lines, err := x.file.write(all, x.cfg.Size)
		if err != nil {
			x.cfg.Logger.Error("events cannot be exported", "directory", x.cfg.Directory, "err", err)
		} else {
			x.cfg.Count(lines)
		}
		for _, r := range all {
			r.done <- err
		}
	}
}
