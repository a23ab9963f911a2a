package netline

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain"
)

// Config is what one listener needs to know. The zero Config is usable.
type Config struct {
	Limits  Limits
	Proxies []netip.Prefix // peers that say in a PROXY header for whom they connect, and have to
	Refusal string         // the line for a connection above a limit, with its CRLF; empty (and for implicit TLS) closes it silently
	Logger  *slog.Logger   // refusals go here at level warn, connections at level debug; nil means slog.Default
	OnOpen  func(*Conn)    // called when a connection is accepted, for metrics; may be nil
	OnClose func(*Conn)    // called once when it is closed; may be nil
	OnLimit func()         // called when one is refused; may be nil
}

// Listener accepts connections within limits and knows those that are open.
type Listener struct {
	inner net.Listener
	cfg   Config

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	perAddr  map[netip.Addr]int
	draining bool
	empty    chan struct{} // closed when draining and no connection is left

	// With Config.Proxies:
	gathering sync.Once
	gathered  chan accepted
	stopped   chan struct{} // nothing is accepted any more
	stop      func()
	heralds   map[net.Conn]struct{} // whose headers are missing
}

// Listen opens a TCP address, or a Unix socket if address begins with "unix:". A socket file that nobody listens on any more is replaced; its
// mode is 0660, so that a group can be let in. Errors: domain.Unavailable with a hint, also when the port is in use.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	path, unix := cutUnix(address)
	if !unix {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, listenError(err, address)
		}
		return l, nil
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return nil, listenError(syscall.EADDRINUSE, address)
		}
		_ = os.Remove(path)
	}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, listenError(err, address)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close()
		return nil, listenError(err, address)
	}
	return l, nil
}

func cutUnix(address string) (path string, ok bool) {
	const prefix = "unix:"
	if len(address) > len(prefix) && address[:len(prefix)] == prefix {
		return address[len(prefix):], true
	}
	return "", false
}

func listenError(err error, address string) error {
	e := domain.Wrap(domain.Unavailable, err, "listening on "+address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.Hint = "another program, perhaps another instance of this one, listens on " + address + ": stop it, or choose another port (--port-offset shifts them all)"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		e.Hint = "ports below 1024 need the capability CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=), and a socket's directory must be writable"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Hint = "no interface of this machine has the address in " + address
	}
	return e
}

// New puts limits on a listener, which it owns from then on.
func New(inner net.Listener, cfg Config) *Listener {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	stopped := make(chan struct{})
	return &Listener{
		inner: inner, cfg: cfg, conns: map[*Conn]struct{}{}, perAddr: map[netip.Addr]int{}, empty: make(chan struct{}),
		gathered: make(chan accepted), stopped: stopped, stop: sync.OnceFunc(func() { close(stopped) }), heralds: map[net.Conn]struct{}{},
	}
}

// Accept gives the next connection within the limits, always a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.next()
		if err != nil {
			return nil, err
		}
		if why := l.admit(c); why != "" {
			l.refuse(c, why)
			continue
		}
		l.cfg.Logger.Debug("connection opened", "conn", c.id, "remote", c.RemoteAddr().String())
		if l.cfg.OnOpen != nil {
			l.cfg.OnOpen(c)
		}
		return c, nil
	}
}

// keepAlive has TCP ask after that much silence, and give up after four questions without an answer.
func keepAlive(raw net.Conn, idle time.Duration) {
	if tcp, ok := raw.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: 30 * time.Second, Count: 4})
	}
}

// admit counts a connection in, or says which limit it breaks.
func (l *Listener) admit(c *Conn) (why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := c.limitKey()
	switch {
	case l.draining:
		return "shutting down"
	case len(l.conns) >= l.cfg.Limits.Connections:
		return "too many connections"
	case key.IsValid() && l.perAddr[key] >= l.cfg.Limits.PerAddress:
		return "too many connections from this address"
	}
	l.conns[c] = struct{}{}
	if key.IsValid() {
		l.perAddr[key]++
	}
	return ""
}

func (l *Listener) refuse(c *Conn, why string) {
	l.cfg.Logger.Warn("connection refused", "conn", c.id, "remote", c.RemoteAddr().String(), "reason", why)
	if l.cfg.OnLimit != nil {
		l.cfg.OnLimit()
	}
	if l.cfg.Refusal != "" { // The send buffer of a fresh connection is empty, so this does not block.
		_ = c.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Conn.Write([]byte(l.cfg.Refusal))
	}
	_ = c.Conn.Close()
}

// forget counts a closed connection out.
func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	delete(l.conns, c)
	if key := c.limitKey(); key.IsValid() {
		if l.perAddr[key]--; l.perAddr[key] == 0 {
			delete(l.perAddr, key)
		}
	}
	if l.draining && len(l.conns) == 0 {
		l.signalEmpty()
	}
	l.mu.Unlock()
	in, out := c.Bytes()
	l.cfg.Logger.Debug("connection closed", "conn", c.id, "in", in, "out", out)
	if l.cfg.OnClose != nil {
		l.cfg.OnClose(c)
	}
}

func (l *Listener) signalEmpty() {
	select {
	case <-l.empty:
	default:
		close(l.empty)
	}
}

// Open is the number of open connections.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Busy is the number of connections that are in the middle of a request: those that Drain waits for.
func (l *Listener) Busy() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.mu.Lock()
		if c.request > 0 {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// Addr is where the listener listens.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close stops accepting. Open connections stay.
func (l *Listener) Close() error {
	l.stop()
	return l.inner.Close()
}

// Drain stops accepting, tells idle connections to say goodbye (see ErrDraining) and waits until all are closed. When ctx ends first it closes
// those that are left and gives ctx's error.
func (l *Listener) Drain(ctx context.Context) error {
	_ = l.Close()
	l.mu.Lock()
	l.draining = true
	open := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	if len(open) == 0 {
		l.signalEmpty()
	}
	l.mu.Unlock()
	for _, c := range open {
		c.drain()
	}
	select {
	case <-l.empty:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	open = open[:0]
	for c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	return ctx.Err()
}

var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// newID makes the eight characters that name a connection in logs and Received fields.
func newID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails.
	return idEncoding.EncodeToString(b[:])
}

// addressOf is the IP address of a peer; invalid for Unix sockets.
func addressOf(remote net.Addr) netip.Addr {
	if a, ok := remote.(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
