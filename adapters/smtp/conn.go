package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/streampost/streampost/adapters/netline"
)

// conn is what go-smtp takes for a connection in clear text: TLS lies below it, so that it sees the dialogue. It lets through one command at a
// time and knows from the replies what comes next (see dialogue), and does what go-smtp cannot: it upgrades to TLS, takes the Postmaster
// without a domain, tells HELO from EHLO, and ends a connection with a 421 of its own when the server is being stopped or a client never comes
// to the point. It does all that from within Read: that is where go-smtp waits for the next command, with nothing unsent.
type conn struct {
	*netline.Conn
	server  *Server
	secure  *tls.Conn // nil in clear text
	shaken  sync.Once // the handshake
	failed  error     // of the handshake
	in      *bufio.Reader
	upgrade bool // by STARTTLS: the greeting that comes is not said again
	left    bool // STARTTLS has handed the connection on to another conn
	dialogue
	unsent sync.Mutex
	held   []byte // replies that go with the next one, or before anything is waited for; under unsent

	replies atomic.Int64 // lines of reply since the last accepted message
	over    atomic.Bool  // the last word is spoken
}

// newConn begins a dialogue, over TLS if config is not nil.
func newConn(s *Server, c *netline.Conn, config *tls.Config) *conn {
	n := &conn{Conn: c, server: s}
	if config != nil {
		n.secure = tls.Server(c, config)
		c.SetIdle(handshakeIdle)
	}
	n.in = bufio.NewReaderSize(arrivals{n}, authLine)
	return n
}

// arrivals is what comes from the client, who may wait for replies before it sends more.
type arrivals struct{ c *conn }

func (a arrivals) Read(p []byte) (int, error) {
	if err := a.c.flush(); err != nil {
		return 0, err
	}
	return a.c.stream().Read(p)
}

// flush sends the replies that are held.
func (c *conn) flush() error { return c.say(nil, false) }

// say sends a reply behind those that are held, or holds it, too.
func (c *conn) say(reply []byte, hold bool) error {
	c.unsent.Lock()
	defer c.unsent.Unlock()
	c.held = append(c.held, reply...)
	if hold && len(c.held) < maxHeld || len(c.held) == 0 {
		return nil
	}
	_, err := c.stream().Write(c.held)
	c.held = c.held[:0]
	return err
}

// maxHeld is the octets of replies that are sent at once at most, give or take one: those to a hundred RCPT.
const maxHeld = 4 << 10

// NetConn lets netline.Of look through.
func (c *conn) NetConn() net.Conn { return c.Conn }

func (c *conn) stream() net.Conn {
	if c.secure != nil {
		return c.secure
	}
	return c.Conn
}

// handshake comes before the first octet of a dialogue over TLS.
func (c *conn) handshake() error {
	if c.secure == nil {
		return nil
	}
	c.shaken.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeIdle)
		defer cancel()
		c.failed = netline.Shake(ctx, c.secure)
	})
	return c.failed
}

func (c *conn) Read(p []byte) (int, error) {
	if n := copy(p, c.line); n > 0 {
		c.line = c.line[n:]
		return n, nil
	}
	return c.listen(p, c.dialogue.read)
}

// listen reads by means of next, unless the last word is spoken.
func (c *conn) listen(p []byte, next func(*conn, []byte) (int, error)) (int, error) {
	switch {
	case c.left:
		return 0, io.EOF
	case c.over.Load():
		return 0, c.end("")
	case c.replies.Load() > int64(c.server.cfg.Limits.Replies):
		return 0, c.end("421 4.7.0 %s Too many commands without a message")
	}
	err := c.handshake()
	n := 0
	if err == nil {
		n, err = next(c, p)
	}
	switch {
	case errors.Is(err, errEndless):
		return 0, c.end("421 4.7.0 %s The line does not end")
	case errors.Is(err, netline.ErrRevoked):
		return 0, c.end("421 4.7.0 %s The login is no longer valid: log in again")
	case errors.Is(err, netline.ErrProxy):
		return 0, c.end("421 4.7.0 %s A PROXY header is not taken from this address")
	case errors.Is(err, netline.ErrDraining):
		return 0, c.end("421 4.3.2 %s Service shutting down, try again later") // RFC 5321 section 3.8.
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	c.replies.Add(1)
	if c.upgrade { // RFC 3207 section 4.2: the client goes on with EHLO.
		c.upgrade = false
		return len(p), nil
	}
	if err := c.say(c.dialogue.replied(c, p), c.dialogue.more); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close closes the connection, TLS with its farewell, unless another conn has it now.
func (c *conn) Close() error {
	if c.left {
		return nil
	}
	if c.secure != nil && c.secure.ConnectionState().HandshakeComplete {
		_ = c.secure.Close()
	}
	return c.Conn.Close()
}

// startTLS answers STARTTLS and hands the connection on. What came in one packet with the command is dropped unread (RFC 3207 section 4.2,
// CVE-2011-0411), and so is all that go-smtp knew of the client.
func (c *conn) startTLS() error {
	if err := c.flush(); err != nil {
		return err
	}
	if _, err := c.Conn.Write([]byte("220 2.0.0 Ready to start TLS\r\n")); err != nil {
		return err
	}
	next := newConn(c.server, c.Conn, c.server.cfg.TLS)
	next.upgrade = true
	c.left = true
	c.server.upgraded.push(next)
	return io.EOF
}

// end says goodbye and closes. net.ErrClosed is what go-smtp takes for a regular end.
func (c *conn) end(farewell string) error {
	spoken := c.over.Swap(true) || farewell == ""
	_ = c.flush()
	if !spoken && (c.secure == nil || c.secure.ConnectionState().HandshakeComplete) { // before that only a handshake could answer
		_, _ = fmt.Fprintf(c.stream(), farewell+"\r\n", c.server.cfg.Hostname)
	}
	_ = c.Close()
	return net.ErrClosed
}

// hangUp closes the connection as soon as the reply in work has been sent.
func (c *conn) hangUp() { c.over.Store(true) }

// upgrades is the listener of connections that STARTTLS has made secure.
type upgrades struct {
	conns  chan *conn
	once   sync.Once
	closed chan struct{}
}

func newUpgrades() *upgrades { return &upgrades{conns: make(chan *conn), closed: make(chan struct{})} }

func (u *upgrades) push(c *conn) {
	select {
	case u.conns <- c:
	case <-u.closed:
		_ = c.Close()
	}
}

func (u *upgrades) Accept() (net.Conn, error) {
	select {
	case c := <-u.conns:
		return c, nil
	case <-u.closed:
		return nil, net.ErrClosed
	}
}

func (u *upgrades) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}

func (u *upgrades) Addr() net.Addr { return &net.UnixAddr{Name: "starttls", Net: "inside"} }
