package netline

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Service accepts connections on any number of listeners, has each served by a goroutine of its own, and shuts all of them down together. The zero
// Service is ready for use.
type Service struct {
	mu        sync.Mutex
	draining  bool
	listeners map[*Listener]struct{}
	serving   sync.WaitGroup // calls of Serve; none is added once draining
}

// Serve has handle serve connections until Shutdown, which makes it return nil, or until ctx ends, which also ends what handle is given. It
// returns when every handle has returned.
func (s *Service) Serve(ctx context.Context, inner net.Listener, cfg Config, handle func(context.Context, *Conn)) error {
	l := New(inner, cfg)
	if !s.add(l) {
		return l.Close()
	}
	defer s.serving.Done()
	defer s.remove(l)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var running sync.WaitGroup
	defer running.Wait()
	for pause := time.Duration(0); ; {
		accepted, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			running.Go(func() { handle(ctx, accepted.(*Conn)) })
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // such as too many open files: waiting lets connections end.
			if pause = min(max(2*pause, 5*time.Millisecond), time.Second); pause == time.Second {
				l.cfg.Logger.Warn("cannot accept connections", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

func (s *Service) add(l *Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	if s.listeners == nil {
		s.listeners = map[*Listener]struct{}{}
	}
	s.listeners[l] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Service) remove(l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// Shutdown closes the listeners, lets every connection finish its request (see ErrDraining) and waits. When ctx ends first, the connections are
// closed as they are, and its error is returned.
func (s *Service) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	drained := make(chan error, len(s.listeners))
	open := len(s.listeners)
	for l := range s.listeners {
		go func() { drained <- l.Drain(ctx) }()
	}
	s.mu.Unlock()
	var all error
	for range open {
		all = errors.Join(all, <-drained)
	}
	s.serving.Wait()
	return all
}
