package projections

import (
	"context"
	"time"

	"github.com/streampost/streampost/domain"
)

// State says what a projector is doing.
type State string

// The states.
const (
	Starting   State = "starting"    // the view is not open yet
	CatchingUp State = "catching-up" // applying what came before
	Live       State = "live"        // applying entries as they come
	Retrying   State = "retrying"    // the log or the view store failed; it is tried again
	Stopped    State = "stopped"     // the log is corrupt, or newer than this build
)

// Status is how far one projection has come in one stream.
type Status struct {
	Name       string     `json:"name"`
	Version    int        `json:"version"`
	Stream     string     `json:"stream"`
	Cursor     domain.Seq `json:"cursor"`
	Head       domain.Seq `json:"head"` // 0 when the log cannot be asked
	LagEntries uint64     `json:"lagEntries"`
	LagSeconds float64    `json:"lagSeconds"` // at most the time since the view last showed all that had been read
	State      State      `json:"state"`
	Error      string     `json:"error,omitempty"`
}

// Status tells of every projection in every stream.
func (r *Runner) Status(ctx context.Context) []Status {
	var all []Status
	for _, stream := range r.streams {
		p := r.projectors[stream]
		head, err := r.cfg.Log.Head(ctx, stream)
		p.mu.Lock()
		for _, projection := range p.projections {
			c := p.cursors[projection.Name()]
			s := Status{Name: projection.Name(), Version: projection.Version(), Stream: stream, Cursor: c.seq, Head: head, State: p.state}
			switch {
			case p.err != nil:
				s.Error = p.err.Error()
			case err != nil:
				s.Error = err.Error()
			}
			if head > c.seq {
				s.LagEntries = uint64(head - c.seq)
				since := time.UnixMilli(c.at)
				if p.current.After(since) {
					since = p.current
				}
				s.LagSeconds = max(0, time.Since(since).Seconds())
			}
			all = append(all, s)
		}
		p.mu.Unlock()
	}
	return all
}
