package webadmin

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Line is one line of an answer that streams. Exactly one field is set; Result or Error comes last.
type Line struct {
	Progress *Progress       `json:"progress,omitempty"`
	Item     json.RawMessage `json:"item,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *Error          `json:"error,omitempty"`
}

// lines writes an answer of Lines. It may be used by several goroutines.
type lines struct {
	s       *Server
	r       *http.Request
	ctx     context.Context // ends when the client has gone
	cancel  context.CancelCauseFunc
	control *http.ResponseController

	mu      sync.Mutex
	enc     *json.Encoder
	told    time.Time // when progress was last written
	flushed time.Time
}

// progressEvery keeps progress from being most of the answer, flushEvery keeps items from being one packet each.
const (
	progressEvery = 200 * time.Millisecond
	flushEvery    = 100 * time.Millisecond
)

// lines begins the answer. From here on an error is the last line, because the status has gone out.
func (s *Server) lines(w http.ResponseWriter, r *http.Request) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithCancelCause(r.Context())
	l := &lines{s: s, r: r, ctx: ctx, cancel: cancel, control: http.NewResponseController(w), enc: json.NewEncoder(w)}
	_ = l.control.SetReadDeadline(time.Time{}) // work may be silent for long; a client that goes away is seen without a deadline
	w.WriteHeader(http.StatusOK)
	return l
}

func (l *lines) write(line Line) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	_ = l.control.SetWriteDeadline(now.Add(l.s.limits.RequestTime))
	err := l.enc.Encode(line)
	if err == nil && (line.Item == nil || now.Sub(l.flushed) >= flushEvery) {
		l.flushed = now
		err = l.control.Flush()
	}
	if err != nil {
		l.cancel(err)
	}
	return err
}

func (l *lines) progress(p Progress) {
	l.mu.Lock()
	skip := time.Since(l.told) < progressEvery
	if !skip {
		l.told = time.Now()
	}
	l.mu.Unlock()
	if !skip {
		_ = l.write(Line{Progress: &p}) // the context ends when the client has gone
	}
}

func (l *lines) item(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.write(Line{Item: text})
}

// result ends the answer well. What is returned is always nil: the status has gone out, and a client that went away hears nothing.
func (l *lines) result(v any) error {
	defer l.cancel(nil)
	text, err := json.Marshal(v)
	if err != nil {
		return l.fail(err)
	}
	_ = l.write(Line{Result: text})
	return nil
}

func (l *lines) fail(err error) error {
	answer := l.s.explain(l.r, err)
	_ = l.write(Line{Error: &answer})
	l.cancel(err)
	return nil
}
