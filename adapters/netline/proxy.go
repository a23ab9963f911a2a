package netline

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// A load balancer hides where clients are, so it says so in a header before their first octet, and before TLS: the PROXY protocol of HAProxy, versions
// 1 and 2. Only the networks of Config.Proxies are believed, and they have to send one. Others are clients themselves; one that sends a header is cut off.

// ErrProxy is what Read gives when a client that is no proxy sends a PROXY header: it claims to be somebody else.
var ErrProxy = errors.New("a PROXY header from an address that is not among the proxies")

// maxProxyHeader is the longest header that is read, in octets. Version 1 has 107, version 2 what its extensions need: certificates, at the most.
const maxProxyHeader = 4 << 10

// accepted is what the goroutine that waits for proxies hands to Accept.
type accepted struct {
	conn *Conn
	err  error
}

// next gives a connection whose header, if it has to send one, was read.
func (l *Listener) next() (*Conn, error) {
	if len(l.cfg.Proxies) == 0 {
		raw, err := l.inner.Accept()
		if err != nil {
			return nil, err
		}
		return l.newConn(raw), nil
	}
	l.gathering.Do(func() { go l.gather() })
	select {
	case a := <-l.gathered:
		return a.conn, a.err
	case <-l.stopped:
		return nil, net.ErrClosed
	}
}

func (l *Listener) newConn(raw net.Conn) *Conn {
	keepAlive(raw, l.cfg.Limits.KeepAlive)
	return &Conn{Conn: raw, owner: l, id: newID(), remote: raw.RemoteAddr(), address: addressOf(raw.RemoteAddr()), idle: l.cfg.Limits.Idle}
}

// gather accepts, and reads headers of proxies beside each other, so that a slow one holds up nobody.
func (l *Listener) gather() {
	defer func() {
		l.stop()
		l.mu.Lock()
		defer l.mu.Unlock()
		for raw := range l.heralds {
			_ = raw.Close()
		}
	}()
	for {
		raw, err := l.inner.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.hand(accepted{err: err}) // Accept's caller pauses
			continue
		}
		switch c := l.newConn(raw); {
		case !l.isProxy(c.address):
			l.hand(accepted{conn: c})
		case l.await(c):
			go l.herald(c)
		default:
			l.refuse(c, "too many connections")
		}
	}
}

// hand gives Accept what it waits for, unless nobody does any more.
func (l *Listener) hand(a accepted) {
	select {
	case l.gathered <- a:
	case <-l.stopped:
		if a.conn != nil {
			_ = a.conn.Conn.Close()
		}
	}
}

func (l *Listener) isProxy(a netip.Addr) bool {
	for _, network := range l.cfg.Proxies {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// await counts a connection in whose header is missing. They are as many as connections may be open.
func (l *Listener) await(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining || len(l.conns)+len(l.heralds) >= l.cfg.Limits.Connections {
		return false
	}
	l.heralds[c.Conn] = struct{}{}
	return true
}

// herald reads the header of one connection.
func (l *Listener) herald(c *Conn) {
	err := c.readProxyHeader(l.cfg.Limits.ProxyHeader)
	l.mu.Lock()
	delete(l.heralds, c.Conn)
	l.mu.Unlock()
	if err != nil {
		if !errors.Is(err, io.EOF) { // a look whether somebody listens is no news
			l.refuse(c, err.Error())
		}
		_ = c.Conn.Close()
		return
	}
	l.hand(accepted{conn: c})
}

// readProxyHeader reads a header, and keeps what came behind it.
func (c *Conn) readProxyHeader(within time.Duration) error {
	_ = c.Conn.SetReadDeadline(time.Now().Add(within)) // what follows finds out whether it is broken
	in := bufio.NewReaderSize(c.Conn, maxProxyHeader+16)
	if _, err := in.Peek(1); err != nil {
		return err
	}
	header, err := proxyproto.Read(in)
	if err != nil {
		return errors.New("the proxy sent no valid PROXY header: " + err.Error())
	}
	c.proxied = true
	switch source, stream := header.SourceAddr.(*net.TCPAddr); {
	case header.Command.IsLocal(), header.TransportProtocol == proxyproto.UNSPEC: // The proxy speaks for itself, or cannot tell: its own address counts.
	case stream && header.TransportProtocol.IsStream():
		c.remote, c.address = source, addressOf(source)
	default:
		return errors.New("the PROXY header tells of something other than TCP")
	}
	if n := in.Buffered(); n > 0 {
		rest, _ := in.Peek(n)
		c.early = bytes.Clone(rest)
	}
	return c.Conn.SetReadDeadline(time.Time{})
}

// The beginnings of both versions. No command and no TLS record begins so.
var proxyHeads = [][]byte{[]byte("PROXY TCP"), []byte("PROXY UNKNOWN"), proxyproto.SIGV2}

// claims reports whether a client's first octets are those of a PROXY header.
func claims(first []byte) bool {
	for _, head := range proxyHeads {
		if bytes.HasPrefix(first, head) {
			return true
		}
	}
	return false
}
