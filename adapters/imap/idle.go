package imap

import (
	"context"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
)

func init() {
	register(spec{name: "IDLE", states: loggedIn, run: runIdle, capabilities: []string{"IDLE"}})
}

// maxDone bounds the line that ends IDLE.
const maxDone = 64

// runIdle is IDLE (RFC 2177, RFC 9051 section 6.3.13). A second goroutine waits for DONE and owns the input meanwhile; the commands that came in the
// same packet stay in the Decoder's buffer for the time after. The first goroutine sends every change as soon as it is durable.
func runIdle(ctx context.Context, c *conn, cmd *command) error {
	d := cmd.dec
	if !d.ExpectCRLF() {
		return d.Err()
	}
	if err := c.watchAccount(ctx); err != nil {
		return err
	}
	c.enc.Raw("+ idling\r\n")
	if err := c.push(ctx); err != nil {
		return err
	}
	d.BeforeRead = nil // the encoder stays with this goroutine.
	defer func() { d.BeforeRead = c.flush }()
	ended := make(chan error, 1)
	go func() {
		line, err := d.Line(maxDone)
		if err == nil && !strings.EqualFold(string(line), "DONE") {
			err = wire.Syntaxf("IDLE ends with DONE")
		}
		ended <- err
	}()
	for {
		select {
		case <-c.watch.C:
			if err := c.push(ctx); err != nil {
				c.bye(err)
				_ = c.raw.Close() // so that the other goroutine ends.
				<-ended
				return errLogout
			}
		case err := <-ended:
			if _, grammar := err.(*wire.SyntaxError); err != nil && !grammar {
				d.Fail(err) // the connection's end, not the command's.
			}
			return err
		}
	}
}

// push sends what has changed at once.
func (c *conn) push(ctx context.Context) error {
	if c.sel != nil {
		if err := c.update(ctx, true); err != nil {
			return err
		}
	}
	return c.flush()
}
