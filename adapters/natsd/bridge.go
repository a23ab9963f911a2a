package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/streampost/streampost/domain"
)

// bridge passes the server's messages to slog, one level lower than it ranks them where they are routine, and remembers the last error,
// because the server reports some failures of its start in no other way.
type bridge struct {
	log *slog.Logger

	fatal atomic.Bool

	mu     sync.Mutex
	faults map[string]error // by stream
	fault  chan struct{}    // closed by the first of them
	last   error            // of the server's giving up, once it has
}

func newBridge(log *slog.Logger) *bridge {
	return &bridge{log: log, faults: map[string]error{}, fault: make(chan struct{})}
}

func (b *bridge) Noticef(format string, v ...any) { b.log.Debug(fmt.Sprintf(format, v...)) }
func (b *bridge) Debugf(format string, v ...any)  { b.log.Debug(fmt.Sprintf(format, v...)) }
func (b *bridge) Tracef(format string, v ...any)  { b.log.Debug(fmt.Sprintf(format, v...)) }

// Warnf leaves out that passwords are kept in plain text: those of a node are drawn at each start and are written nowhere.
func (b *bridge) Warnf(format string, v ...any) {
	if !strings.HasPrefix(format, "Plaintext passwords detected") {
		b.record(slog.LevelWarn, format, v...)
	}
}

// Errorf also notes a stream that could not write. The server logs that and nothing else: the publisher gets no answer.
func (b *bridge) Errorf(format string, v ...any) {
	text := b.record(slog.LevelError, format, v...)
	_, rest, store := strings.Cut(text, "failed to store a msg on stream '")
	account, rest, _ := strings.Cut(rest, " > ")
	stream, reason, whole := strings.Cut(rest, "': ")
	if !store || !whole || account == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.faults) == 0 {
		close(b.fault)
	}
	if b.faults[stream] == nil {
		b.faults[stream] = writeError(stream, reason)
	}
}

// writeError says why a stream takes nothing more. The server does not write to a file again that it could not write to once.
func writeError(stream, reason string) error {
	e := &domain.Error{
		Kind: domain.Unavailable,
		Msg:  "the log cannot be written to: " + stream + " takes no changes until the server is restarted",
		Hint: "check the disk, then restart the server; what was acknowledged is safe",
		Err:  errors.New(reason),
	}
	if strings.Contains(reason, syscall.ENOSPC.Error()) {
		e.Msg = "the disk is full: " + stream + " takes no changes until there is room and the server is restarted"
		e.Hint = "free some space, then restart the server; what was acknowledged is safe"
		e.Err = syscall.ENOSPC // which the protocols know; the server's own words are in its log
	}
	return e
}

// Fatalf notes that the server has given up.
func (b *bridge) Fatalf(format string, v ...any) {
	b.record(slog.LevelError, format, v...)
	b.fatal.Store(true)
}

func (b *bridge) record(level slog.Level, format string, v ...any) string {
	text := fmt.Sprintf(format, v...)
	b.log.Log(context.Background(), level, text)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.fatal.Load() { // other parts of the server go on complaining
		b.last = errors.New(text)
	}
	return text
}

func (b *bridge) lastError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// Faults is closed when some stream can no longer be written to. Fault tells which.
func (s *Server) Faults() <-chan struct{} { return s.log.fault }

// Fault says why a stream takes nothing more; nil as long as it does.
func (s *Server) Fault(stream string) error {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.faults[stream]
}
