package netline

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ErrDraining is what Read gives when the listener is being drained and no request has begun: say goodbye and close.
var ErrDraining = errors.New("the server is shutting down")

// writePiece is how much is written under one deadline, so that a long answer needs steady progress only.
const writePiece = 32 << 10

// Conn is one connection, below TLS. One goroutine may read while another writes.
type Conn struct {
	net.Conn
	owner   *Listener
	id      string
	address netip.Addr

	in, out atomic.Uint64
	closed  atomic.Bool

	mu       sync.Mutex
	idle     time.Duration
	request  int64         // octets read since the last write
	waited   time.Duration // time spent waiting for them, that for the first one aside
	draining bool
}

// Of finds the Conn below a connection that New's Listener accepted, through TLS; nil if there is none.
func Of(c net.Conn) *Conn {
	for {
		switch v := c.(type) {
		case *Conn:
			return v
		case interface{ NetConn() net.Conn }: // *tls.Conn, and wrappers that have the method.
			c = v.NetConn()
		default:
			return nil
		}
	}
}

var _ interface{ NetConn() net.Conn } = (*tls.Conn)(nil)

// ID names the connection in logs: eight characters, unique in practice.
func (c *Conn) ID() string { return c.id }

// Address is the peer's IP address; invalid for Unix sockets.
func (c *Conn) Address() netip.Addr { return c.address }

// Local reports whether the peer is on this machine: loopback or a Unix socket.
func (c *Conn) Local() bool { return !c.address.IsValid() || c.address.IsLoopback() }

// Bytes counts what was read and written so far, on the wire.
func (c *Conn) Bytes() (in, out uint64) { return c.in.Load(), c.out.Load() }

// SetIdle changes how long the client may be silent between requests, for instance after a login; 0 restores Limits.Idle. It counts from the
// next Read on.
func (c *Conn) SetIdle(d time.Duration) {
	c.mu.Lock()
	c.idle = cmp.Or(d, c.owner.cfg.Limits.Idle)
	c.mu.Unlock()
}

// Read reads within the limits. Errors: ErrDraining; one whose Timeout is true when the client was too silent or too slow.
func (c *Conn) Read(p []byte) (int, error) {
	begun, first, err := c.beginRead()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.in.Add(uint64(n))

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.request > 0 { // Not after a Write that happened meanwhile: that ended the request.
		c.waited += time.Since(begun)
	}
	c.request += int64(n)
	if n == 0 && first && c.draining && err != nil {
		return 0, ErrDraining
	}
	return n, err
}

// beginRead sets the deadline under the lock, so that drain either sees the Read coming or is seen by it.
func (c *Conn) beginRead() (now time.Time, first bool, err error) {
	limits := &c.owner.cfg.Limits
	c.mu.Lock()
	defer c.mu.Unlock()
	first = c.request == 0
	switch {
	case c.closed.Load():
		return now, first, net.ErrClosed
	case first && c.draining:
		return now, first, ErrDraining
	}
	now = time.Now()
	allowed := c.idle
	if !first {
		earned := time.Duration(float64(c.request) / float64(limits.MinRate) * float64(time.Second))
		allowed = min(allowed, limits.Grace+earned-c.waited)
	}
	return now, first, c.Conn.SetReadDeadline(now.Add(allowed))
}

// Write writes within the limits and ends the current request.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.request, c.waited = 0, 0
	c.mu.Unlock()
	written := 0
	for {
		piece := p[written:min(len(p), written+writePiece)]
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.owner.cfg.Limits.Write)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(piece)
		written += n
		c.out.Add(uint64(n))
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// Close closes the connection at once and counts it out.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	err := c.Conn.Close()
	c.owner.forget(c)
	return err
}

// drain makes the current Read, if no request has begun, and all later ones at that point, give ErrDraining.
func (c *Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.request == 0 {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// limitKey is what Limits.PerAddress counts by. One customer usually has a whole IPv6 /64.
func (c *Conn) limitKey() netip.Addr {
	if c.address.Is6() {
		if p, err := c.address.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return c.address
}

// Handshake runs the TLS handshake of an accepted connection within d and gives the encrypted connection, on top of the same Conn.
func Handshake(ctx context.Context, c net.Conn, config *tls.Config, d time.Duration) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	t := tls.Server(c, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if below := Of(c); below != nil { // The client's last handshake message is not the beginning of a request.
		below.mu.Lock()
		below.request, below.waited = 0, 0
		below.mu.Unlock()
	}
	return t, nil
}
