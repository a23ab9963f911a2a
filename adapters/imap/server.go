package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// Config is what a Server needs. Accounts and Directory are required.
type Config struct {
	Accounts  *door.Accounts
	Directory *door.Directory
	// TLS is for STARTTLS and for implicit TLS; nil means that there is neither.
	TLS *tls.Config
	// AllowInsecureAuth lets clients on this machine log in without TLS; others never may.
	AllowInsecureAuth bool
	Limits            Limits
	// Without names capabilities that are not advertised, and whose commands are unknown, for clients that stumble over them.
	Without []string
	Name    string // as ID shows it (RFC 2971); default Streampost
	Version string // as ID shows it; may be empty
	Logger  *slog.Logger
	Metrics Metrics
	Now     func() time.Time // default time.Now; it dates messages and mailboxes
}

// Metrics hears what happens. Its methods are called by many connections at once and must not block.
type Metrics interface {
	Connected()
	Disconnected()
	LoggedIn(ok bool)
	// Answered tells of one command: its name in upper case (OTHER if unknown), how it was answered (OK, NO or BAD) and how long it ran.
	Answered(command, status string, took time.Duration)
}

type noMetrics struct{}

func (noMetrics) Connected()                            {}
func (noMetrics) Disconnected()                         {}
func (noMetrics) LoggedIn(bool)                         {}
func (noMetrics) Answered(_, _ string, _ time.Duration) {}

// Server serves IMAP on any number of listeners.
type Server struct {
	cfg     Config
	limits  Limits
	without map[string]bool
	recent  *watermarks

	mu        sync.Mutex
	draining  bool
	listeners map[*netline.Listener]struct{}
	serving   sync.WaitGroup // calls of Serve; none is added once draining
}

// New makes a Server. Errors: domain.Invalid.
func New(cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Directory == nil {
		return nil, domain.Errorf(domain.Invalid, "an IMAP server needs accounts and a directory")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = noMetrics{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	fill(&cfg.Name, "Streampost")
	s := &Server{
		cfg:       cfg,
		limits:    cfg.Limits.withDefaults(),
		without:   map[string]bool{},
		recent:    newWatermarks(cfg.Now().Unix()),
		listeners: map[*netline.Listener]struct{}{},
	}
	for _, name := range cfg.Without {
		s.without[name] = true
	}
	return s, nil
}

// parameter adds its value to a capability that has one.
func (s *Server) parameter(name string) string {
	if name == "APPENDLIMIT" {
		return name + "=" + strconv.FormatInt(s.limits.Append, 10) // RFC 7889 section 3.
	}
	return name
}

// Serve accepts connections until Shutdown, which makes it return nil, or until ctx ends, which ends the connections at once. It returns when all
// its connections have ended. Errors: domain.Invalid without a certificate for implicit TLS.
func (s *Server) Serve(ctx context.Context, inner net.Listener, implicitTLS bool) error {
	if implicitTLS && s.cfg.TLS == nil {
		return domain.Errorf(domain.Invalid, "implicit TLS needs a certificate")
	}
	lines := netline.Config{
		Limits:  s.limits.Line,
		Logger:  s.cfg.Logger,
		OnOpen:  func(*netline.Conn) { s.cfg.Metrics.Connected() },
		OnClose: func(*netline.Conn) { s.cfg.Metrics.Disconnected() },
	}
	lines.Limits.Idle = s.limits.Login
	if !implicitTLS {
		lines.Refusal = "* BYE [LIMIT] too many connections\r\n"
	}
	l := netline.New(inner, lines)
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l] = struct{}{}
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()

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
			running.Go(func() { newConn(s, accepted.(*netline.Conn)).serve(ctx, implicitTLS) })
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // such as too many open files: waiting lets connections end.
			if pause = min(max(2*pause, 5*time.Millisecond), time.Second); pause == time.Second {
				s.cfg.Logger.Warn("cannot accept connections", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// Shutdown closes the listeners, lets every connection finish its command, says BYE and waits. When ctx ends first, the connections are
// closed as they are, and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
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
