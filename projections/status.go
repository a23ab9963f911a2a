package projections

import (
	"context"
	"errors"
	"time"

	"github.com/streampost/streampost/domain"
)

// State says what is done with a generation.
type State string

// The states.
const (
	Starting   State = "starting"    // the views are not open yet
	CatchingUp State = "catching-up" // entries that came before are applied; of a live generation: it is read meanwhile
	Live       State = "live"        // applying entries as they come
	Retrying   State = "retrying"    // the log or the view store failed; it is tried again
	Stopped    State = "stopped"     // the log is corrupt, or holds what the rule cannot apply or this build does not know; what was applied is read
	Damaged    State = "damaged"     // the rows cannot be written any more; others are being made, and these are read as far as that goes
	Dropped    State = "dropped"     // on purpose; a rebuild makes it anew
	Building   State = "building"    // being filled, to replace the live one
	Kept       State = "kept"        // of another version, for a build that reads it
)

// Status tells of one generation of a projection in a stream, or of a projection that has none.
type Status struct {
	Name       string     `json:"name"`
	Version    int        `json:"version"`
	Stream     string     `json:"stream"`
	Generation int        `json:"generation"` // its number; 0 when there is none
	Cursor     domain.Seq `json:"cursor"`     // position of the last entry applied
	Head       domain.Seq `json:"head"`       // of the log; 0 when it cannot be asked
	LagEntries uint64     `json:"lagEntries"`
	LagSeconds float64    `json:"lagSeconds"` // at most the time since the view last showed all that had been read
	Octets     int64      `json:"octets"`
	State      State      `json:"state"`
	Phase      Phase      `json:"phase,omitempty"` // of one that is building, or takes rows from snapshots
	Error      string     `json:"error,omitempty"`
	Hint       string     `json:"hint,omitempty"` // what to do about it, where that is known
	Readable   bool       `json:"-"`              // readers see its rows
}

// Serves tells whether it is the generation that readers see, or the place where one should be.
func (s Status) Serves() bool { return s.State != Building && s.State != Kept }

// Status tells of every generation of every projection in every stream.
func (r *Runner) Status(ctx context.Context) []Status {
	var all []Status
	for _, stream := range r.streams {
		head, err := r.cfg.Log.Head(ctx, stream)
		for _, g := range r.groups[stream] {
			for _, s := range g.slots {
				for _, one := range s.status(head) {
					if err != nil && one.Error == "" {
						one.Error = err.Error()
					}
					if one.Generation > 0 {
						one.Octets, _ = r.cfg.Views.Size(ctx, Generation{stream, one.Name, one.Generation}) // 0 when it cannot be told
					}
					all = append(all, one)
				}
			}
		}
	}
	return all
}

// status tells of the slot's generations, the one that serves first.
func (s *slot) status(logHead domain.Seq) []Status {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	tell := func(gen *generation, state State, err error) Status {
		one := Status{Name: s.name(), Version: s.projection.Version(), Stream: g.stream, Head: logHead, State: state}
		var at int64
		if gen != nil {
			one.Generation, one.Cursor, at = gen.Number, gen.seq, gen.at
			if gen.version != 0 {
				one.Version = gen.version
			}
		}
		if err != nil {
			one.Error = err.Error()
			var known *domain.Error
			if errors.As(err, &known) {
				one.Hint = known.Hint
			}
		}
		if logHead > one.Cursor {
			one.LagEntries = uint64(logHead - one.Cursor)
			since := time.UnixMilli(at)
			if g.current.After(since) {
				since = g.current
			}
			one.LagSeconds = max(0, time.Since(since).Seconds())
		}
		return one
	}
	state, err := s.standing()
	main := s.live
	if main == nil {
		main = s.driven
	}
	all := []Status{tell(main, state, err)}
	all[0].Readable = s.live != nil
	if g.hydrating && s.driven != nil {
		all[0].Phase = Hydrating
	}
	if b := s.build; b != nil {
		for _, p := range b.parts {
			if p.slot == s && p.gen != nil && p.gen != main {
				one := tell(p.gen, Building, b.trouble)
				one.Phase = b.progress.Phase
				all = append(all, one)
			}
		}
	}
	for _, old := range s.kept {
		all = append(all, tell(old, Kept, nil))
	}
	return all
}
