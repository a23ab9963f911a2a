package netline

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ErrRevoked is what Read gives, where it could give ErrDraining, when the session's login is no longer valid.
var ErrRevoked = errors.New("the login is no longer valid")

// ErrDraining is what Read gives when the listener is being drained and no request has begun: say goodbye and close.
var ErrDraining = errors.New("the server is shutting down")

// writePiece is how much is written under one deadline, so that a long answer needs steady progress only.
const writePiece = 32 << 10

// Conn is one connection, below TLS. One goroutine may read while another writes.
type Conn struct {
	net.Conn
	owner   *Listener
	id      string
	remote  net.Addr   // where the client is, on the far side of a proxy
	address netip.Addr // of remote
	proxied bool
	early   []byte // came in one packet with the PROXY header

	in, out     atomic.Uint64
	closed      atomic.Bool
	certificate atomic.Pointer[x509.Certificate]

	mu      sync.Mutex
	idle    time.Duration
	request int64         // octets read since the last write
	waited  time.Duration // time spent waiting for them, that for the first one aside
	ending  error         // what Read gives between two requests, once it shall end
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

// RemoteAddr is where the client is: what a proxy says, if one says it.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Address is the client's IP address; invalid for Unix sockets.
func (c *Conn) Address() netip.Addr { return c.address }

// Local reports whether the peer is on this machine: loopback or a Unix socket. Whoever comes through a proxy is not: the proxy may be.
func (c *Conn) Local() bool { return !c.proxied && (!c.address.IsValid() || c.address.IsLoopback()) }

// Source names where the peer is for those who count failures: an IPv4 address or an IPv6 /64; empty for this machine.
func (c *Conn) Source() string {
	if c.Local() {
		return ""
	}
	return c.limitKey().String()
}

// Certificate is the server's own in the TLS above this connection; nil without TLS, or if it does not come from a Certificate.
func (c *Conn) Certificate() *x509.Certificate { return c.certificate.Load() }

// Bytes counts what was read and written so far, on the wire.
func (c *Conn) Bytes() (in, out uint64) { return c.in.Load(), c.out.Load() }

// SetIdle changes how long the client may be silent between requests, for instance after a login; 0 restores Limits.Idle. It counts from the
// next Read on.
func (c *Conn) SetIdle(d time.Duration) {
	c.mu.Lock()
	c.idle = cmp.Or(d, c.owner.cfg.Limits.Idle)
	c.mu.Unlock()
}

// Read reads within the limits. Errors: ErrDraining; ErrRevoked; ErrProxy; one whose Timeout is true when the client was too silent or too slow.
func (c *Conn) Read(p []byte) (int, error) {
	begun, first, err := c.beginRead()
	if err != nil {
		return 0, err
	}
	var n int
	if len(c.early) > 0 {
		n = copy(p, c.early)
		c.early = c.early[n:]
	} else {
		n, err = c.Conn.Read(p)
	}
	if c.in.Add(uint64(n)) == uint64(n) && !c.proxied && claims(p[:n]) {
		c.owner.cfg.Logger.Warn("connection refused", "conn", c.id, "remote", c.remote.String(), "reason", ErrProxy.Error())
		return 0, ErrProxy
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.request > 0 { // Not after a Write that happened meanwhile: that ended the request.
		c.waited += time.Since(begun)
	}
	c.request += int64(n)
	if n == 0 && first && c.ending != nil && err != nil {
		return 0, c.ending
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
	case first && c.ending != nil:
		return now, first, c.ending
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

// Disregard takes back octets that were read and turned out to be no part of a request, such as those with which a compressor ends a flush.
func (c *Conn) Disregard(octets uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.request = max(0, c.request-int64(octets)); c.request == 0 {
		c.waited = 0
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

// Linger says that nothing more will be written, and keeps the kernel from resetting a connection whose client still sends, because a reset
// destroys what was said last on its way. Close comes next. It is not for TLS.
func (c *Conn) Linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.Conn, lingerOctets)
}

// What a client may still send before a connection is closed for good.
const (
	lingerTime   = 250 * time.Millisecond
	lingerOctets = 256 << 10
)

// Revoke is End with ErrRevoked.
func (c *Conn) Revoke() { c.End(ErrRevoked) }

func (c *Conn) drain() { c.End(ErrDraining) }

// End makes the current Read, if no request has begun, and all later ones at that point, give an error. The first of several counts.
func (c *Conn) End(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		c.ending = why
	}
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
	if err := Shake(ctx, t); err != nil {
		return nil, err
	}
	return t, nil
}

// Shake runs the handshake of a connection that is not yet used.
func Shake(ctx context.Context, t *tls.Conn) error {
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	if below := Of(t.NetConn()); below != nil { // The client's last handshake message is not the beginning of a request.
		below.mu.Lock()
		below.request, below.waited = 0, 0
		below.mu.Unlock()
	}
	return nil
}
