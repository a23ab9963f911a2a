package imap

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
)

// INPROGRESS (RFC 9585): a client that waits for long hears that its command still runs, so that neither it nor a box on the way gives up. What can
// last are searches of texts, and changes while the log is slow.

func init() { advertise("INPROGRESS", whenAuthenticated) }

// began notes that a command runs from now on.
func (c *conn) began(cmd *command) { c.running, c.spoke = cmd.tag, time.Now() }

// progress says how much of a command is done, unless something was said lately. It is called by the session's goroutine.
func (c *conn) progress(done, goal int) {
	if time.Since(c.spoke) >= c.server.limits.Progress {
		c.sendProgress(strconv.Itoa(done), strconv.Itoa(goal))
	}
}

func (c *conn) sendProgress(done, goal string) {
	if c.without["INPROGRESS"] || c.state() == notAuthenticated {
		return
	}
	tag := "NIL" // RFC 9585 section 4: where it would end the response code.
	if !strings.Contains(c.running, "]") {
		tag = string(wire.AppendString(nil, c.running, false))
	}
	c.status("*", "OK", "INPROGRESS ("+tag+" "+done+" "+goal+")", "still at it")
	_ = c.flush() // an error stays in the encoder.
	c.spoke = time.Now()
}

// waiting runs f, in which the session's goroutine waits and writes nothing, and says meanwhile that the command is still running.
func (c *conn) waiting(f func()) {
	var mu sync.Mutex // guards done, and the connection while f runs
	done := false
	var timer *time.Timer
	mu.Lock()
	timer = time.AfterFunc(c.server.limits.Progress, func() {
		mu.Lock()
		defer mu.Unlock()
		if !done {
			c.sendProgress("NIL", "NIL") // RFC 9585 section 4: how far it is nobody knows.
			timer.Reset(c.server.limits.Progress)
		}
	})
	mu.Unlock()
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		done = true
		timer.Stop()
	}()
	f()
}
