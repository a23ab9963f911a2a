package smtp

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/streampost/streampost/adapters/netline"
)

// conn ends a connection with a 421 of its own, since go-smtp has none for a server that is being stopped or for a client that never comes to
// the point. It does so from within Read: that is where go-smtp waits for the next command, with nothing unsent.
type conn struct {
	*netline.Conn
	server  *Server
	mouth   atomic.Pointer[net.Conn] // where the dialogue takes place: this conn, or TLS above it; nil while only a handshake could answer
	replies atomic.Int64             // lines of reply since the last accepted message
	over    atomic.Bool              // the last word is spoken
}

// NetConn lets netline.Of look through.
func (c *conn) NetConn() net.Conn { return c.Conn }

// below finds the conn under what go-smtp has.
func below(c net.Conn) *conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		if w, ok := t.NetConn().(*conn); ok {
			return w
		}
	}
	w, _ := c.(*conn)
	return w
}

func (c *conn) speak(outer net.Conn) { c.mouth.Store(&outer) }

func (c *conn) Read(p []byte) (int, error) {
	switch {
	case c.over.Load():
		return 0, c.end("")
	case c.replies.Load() > int64(c.server.cfg.Limits.Replies):
		return 0, c.end("421 4.7.0 %s Too many commands without a message")
	}
	n, err := c.Conn.Read(p)
	if errors.Is(err, netline.ErrDraining) {
		return 0, c.end("421 4.3.2 %s Service shutting down, try again later") // RFC 5321 section 3.8.
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.replies.Add(1)
	return c.Conn.Write(p)
}

// end says goodbye and closes. net.ErrClosed is what go-smtp takes for a regular end.
func (c *conn) end(farewell string) error {
	if c.over.Swap(true) {
		farewell = ""
	}
	mouth := c.mouth.Load()
	if mouth == nil {
		_ = c.Close()
		return net.ErrClosed
	}
	if farewell != "" {
		_, _ = fmt.Fprintf(*mouth, farewell+"\r\n", c.server.cfg.Hostname)
	}
	_ = (*mouth).Close()
	return net.ErrClosed
}

// hangUp closes the connection as soon as the reply in work has been sent.
func (c *conn) hangUp() { c.over.Store(true) }
