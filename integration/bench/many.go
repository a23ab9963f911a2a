package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"
)

// manyFigures are what touches many messages with one command, and what many sessions wait for.
func manyFigures(box *largeMailbox) []figure {
	shelf := &shelf{}
	returned := fmt.Sprintf("SELECT (QRESYNC) of %d messages, of which 50 were flagged and 50 expunged since", box.messages)
	return []figure{
		{name: "resync", about: returned, unit: "ms", goal: "below 5 ms with 100,000", prepare: box.fill, run: box.resync(false)},
		{name: "resync-octets", about: "the answer to " + returned, unit: "octets", goal: "in proportion to the changes", prepare: box.fill, run: box.resync(true)},
		{name: "memory-5000", about: "memory of one of 5,000 connections in IDLE", unit: "KiB", ours: true, goal: "below 40 KiB", run: idling(5000)},
		{name: "idle", about: "from the answer to an LMTP delivery to EXISTS in a session in IDLE", unit: "ms", goal: "below 1.5 ms", run: idleLatency(100)},
		{name: "store-all", about: fmt.Sprintf("STORE 1:* +FLAGS.SILENT of %d messages", box.messages), unit: "ms", goal: "within 3x of Dovecot (sdbox)",
			prepare: box.fill, run: box.storeAll},
		{name: "move", about: fmt.Sprintf("MOVE of %d messages to another mailbox", moved), unit: "messages/s", more: true,
			goal: "at least the rate of Dovecot with mdbox (-rival dovecot-mdbox)", prepare: shelf.fill, run: shelf.move},
	}
}

// storeAll sets a flag in all messages of the large mailbox, and clears it again outside of the clock.
func (b *largeMailbox) storeAll(ctx context.Context, t *target) (float64, error) {
	ms, err := b.timed(1, "STORE 1:* +FLAGS.SILENT (\\Answered)")(ctx, t)
	if err == nil {
		_, err = b.timed(1, "STORE 1:* -FLAGS.SILENT (\\Answered)")(ctx, t)
	}
	return ms, err
}

// resync gives the milliseconds, or the octets of the answer, of the SELECT by which a client comes back to the large mailbox after 100 changes.
func (b *largeMailbox) resync(octets bool) func(context.Context, *target) (float64, error) {
	const each = 50
	return func(ctx context.Context, t *target) (float64, error) {
		c, err := dialIMAP(t, 0)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if err := appendMessages(c, "Big", each); err != nil { // which go again
			return 0, err
		}
		validity, modseq := c.status("Big", "UIDVALIDITY"), c.status("Big", "HIGHESTMODSEQ")
		commands := []string{"SELECT Big"}
		for i := range each {
			commands = append(commands, fmt.Sprintf("STORE %d +FLAGS.SILENT (\\Flagged)", 1+i*b.messages/each))
		}
		commands = append(commands, fmt.Sprintf("STORE %d:* +FLAGS.SILENT (\\Deleted)", b.messages+1), "EXPUNGE")
		for _, command := range commands {
			if _, err := c.do("%s", command); err != nil {
				return 0, err
			}
		}
		client, err := dialIMAP(t, 0)
		if err != nil {
			return 0, err
		}
		defer client.Close()
		if _, err := client.do("ENABLE QRESYNC"); err != nil {
			return 0, err
		}
		start := time.Now()
		size, err := client.do("SELECT Big (QRESYNC (%d %d))", validity, modseq)
		spent := time.Since(start)
		if err != nil {
			return 0, err
		}
		if _, err := c.do("STORE 1:* -FLAGS.SILENT (\\Flagged)"); err != nil { // so that the next round changes something
			return 0, err
		}
		if octets {
			return float64(size), ctx.Err()
		}
		return spent.Seconds() * 1000, ctx.Err()
	}
}

// idleLatency gives the median milliseconds for which a session in IDLE learns of a message later than its sender; 0 where it learns of it first.
func idleLatency(deliveries int) func(context.Context, *target) (float64, error) {
	const account = 30 // whose INBOX nothing else fills
	return func(ctx context.Context, t *target) (float64, error) {
		watcher, err := dialIMAP(t, account)
		if err != nil {
			return 0, err
		}
		defer watcher.Close()
		sender, err := dialLMTP(t)
		if err != nil {
			return 0, err
		}
		defer sender.Close()
		if _, err := watcher.do("SELECT INBOX"); err != nil {
			return 0, err
		}
		if _, err := fmt.Fprintf(watcher.Conn, "i IDLE\r\n"); err != nil {
			return 0, err
		}
		if _, err := watcher.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		_ = watcher.SetDeadline(time.Time{})
		told, failed := make(chan time.Time, deliveries), make(chan error, 1)
		go func() {
			for {
				line, err := watcher.r.ReadSlice('\n')
				if err != nil {
					failed <- err
					return
				}
				if bytes.HasSuffix(line, []byte(" EXISTS\r\n")) {
					told <- time.Now()
				}
			}
		}()
		var late []float64
		for range deliveries {
			if err := sender.deliver(t.user(account), message(8<<10)); err != nil {
				return 0, err
			}
			answered := time.Now()
			select {
			case at := <-told:
				late = append(late, max(at.Sub(answered).Seconds()*1000, 0))
			case err := <-failed:
				return 0, err
			case <-time.After(time.Minute):
				return 0, fmt.Errorf("%s: a session in IDLE is told nothing", t.name)
			}
			time.Sleep(5 * time.Millisecond) // so that each is told of alone
		}
		return median(late), ctx.Err()
	}
}

// moved is how many messages one MOVE takes.
const moved = 10_000

// shelf is two mailboxes of account 41, of which one holds messages.
type shelf struct {
	full map[string]string // by server, the mailbox that holds them
}

func (s *shelf) fill(ctx context.Context, t *target) error {
	if s.full[t.name] != "" {
		return nil
	}
	c, err := dialIMAP(t, 41)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, command := range []string{"CREATE Left", "CREATE Right"} {
		if _, err := c.do(command); err != nil {
			return err
		}
	}
	if err := multiply(c, "Left", moved); err != nil {
		return err
	}
	if s.full == nil {
		s.full = map[string]string{}
	}
	s.full[t.name] = "Left"
	return ctx.Err()
}

func (s *shelf) move(ctx context.Context, t *target) (float64, error) {
	boxes := []string{"Left", "Right"}
	from := slices.Index(boxes, s.full[t.name])
	c, err := dialIMAP(t, 41)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.do("SELECT %s", boxes[from]); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := c.do("MOVE 1:%d %s", moved, boxes[1-from]); err != nil {
		return 0, err
	}
	spent := time.Since(start)
	s.full[t.name] = boxes[1-from]
	return moved / spent.Seconds(), ctx.Err()
}
