package imap

import (
	"context"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
)

func init() {
	register(spec{name: "IDLE", states: loggedIn, fresh: true, run: runIdle, capabilities: []string{"IDLE"}})
}

const (
	// maxDone bounds the line that ends IDLE.
	maxDone = 64
	// idleAgain is when a session that waits looks again for changes that could not be read.
	idleAgain = time.Second
)

// runIdle is IDLE (RFC 2177, RFC 9051 section 6.3.13). The commands that came in the same packet as DONE stay in the Decoder's buffer for the time after.
func runIdle(ctx context.Context, c *conn, cmd *command) error {
	d := cmd.dec
	if !d.ExpectCRLF() {
		return d.Err()
	}
	if err := c.watchAccount(ctx); err != nil {
		return err
	}
	c.enc.Raw("+ idling\r\n")
	return c.pushWhile(ctx, true, func() error {
		line, err := d.Line(maxDone)
		if err != nil {
			d.Fail(err) // the connection's end, not the command's.
			return err
		}
		if !strings.EqualFold(string(line), "DONE") {
			return wire.Syntaxf("IDLE ends with DONE")
		}
		return nil
	})
}

// pushWhile reads in a second goroutine, which owns the input meanwhile, and sends every change as soon as it is durable until something was read. Expunges
// tells whether those in the selected mailbox are among them.
func (c *conn) pushWhile(ctx context.Context, expunges bool, read func() error) error {
	if err := c.flush(); err != nil {
		return err
	}
	c.dec.BeforeRead = nil // the encoder stays with this goroutine.
	defer func() { c.dec.BeforeRead = c.flush }()
	ended := make(chan error, 1)
	go func() { ended <- read() }()
	again := time.After(0)
	for {
		if again == nil {
			again = c.notify.again()
		}
		select {
		case <-c.watch.C:
		case <-c.sel.changes():
		case <-again:
		case err := <-ended:
			return err
		}
		again = nil
		err := c.push(ctx, expunges)
		if domain.Is(err, domain.Unavailable) { // for now: the client asked to wait
			again = time.After(idleAgain)
			err = c.flush()
		}
		if err != nil {
			c.bye(err)
			_ = c.raw.Close() // so that the other goroutine ends.
			<-ended
			return errLogout
		}
	}
}

// push sends what has happened since the client was last told, in the selected mailbox and elsewhere, at once.
func (c *conn) push(ctx context.Context, expunges bool) error {
	if c.sel != nil {
		if err := c.update(ctx, expunges); err != nil {
			return err
		}
		c.settle(nil)
	}
	if err := c.tellOthers(ctx); err != nil { // RFC 5465 section 4.
		return err
	}
	return c.flush()
}
