package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// This file measures what an operator does with views while mail flows, beside what the rivals have for it.

// delivered is the INBOX of one account into which many messages came one by one, so that there is as much history as there are messages.
type delivered struct {
	messages int
	filled   map[string]bool
}

// rebuildUser is an account to which no other figure delivers.
const rebuildUser = users - 1

func (b *delivered) fill(ctx context.Context, t *target) error {
	if b.filled[t.name] {
		return nil
	}
	const conns = 16
	var clients []*lmtpConn
	for range conns {
		c, err := dialLMTP(t)
		if err != nil {
			return err
		}
		defer c.Close()
		clients = append(clients, c)
	}
	if _, err := rate(ctx, conns, b.messages, func(worker, _ int) error { return clients[worker].deliver(t.user(rebuildUser), message(2<<10)) }); err != nil {
		return err
	}
	if b.filled == nil {
		b.filled = map[string]bool{}
	}
	b.filled[t.name] = true
	return nil
}

// rebuild gives the seconds from losing all that can be made anew until a client has been told flags and envelopes of all messages.
func (b *delivered) rebuild(ctx context.Context, t *target) (float64, error) {
	start := time.Now()
	if err := t.rebuild(ctx, t.user(rebuildUser)); err != nil {
		return 0, err
	}
	c, err := dialIMAP(t, rebuildUser)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.do("SELECT INBOX"); err != nil {
		return 0, err
	}
	_, err = c.do("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)")
	return time.Since(start).Seconds(), err
}

// command runs a program and gives what it printed when it fails.
func command(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

// disturbed gives how many times longer commands of a client take while views are rebuilt: the ratio of medians. The client is one session that
// changes flags, reads flags and reads envelopes of some messages, in turn.
func (b *delivered) disturbed(flags ...string) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		c, err := dialIMAP(t, rebuildUser)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if _, err := c.do("SELECT INBOX"); err != nil {
			return 0, err
		}
		n := 0
		step := func() (time.Duration, error) {
			n++
			start := time.Now()
			for _, line := range []string{fmt.Sprintf(`STORE %d %cFLAGS (\Flagged)`, n%20+1, "+-"[n/20%2]), "FETCH 1:20 (UID FLAGS)", "FETCH 1:20 (ENVELOPE)"} {
				if _, err := c.do("%s", line); err != nil {
					return 0, err
				}
			}
			return time.Since(start), nil
		}
		sample := func(more func(int) bool) (times []time.Duration, err error) {
			for more(len(times)) {
				took, err := step()
				if err != nil {
					return nil, err
				}
				times = append(times, took)
				time.Sleep(2 * time.Millisecond) // a client thinks
			}
			return times, ctx.Err()
		}
		idle, err := sample(func(n int) bool { return n < 500 })
		if err != nil {
			return 0, err
		}
		ended := make(chan error, 1)
		over := false
		building, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			err := command(building, t.binary, append([]string{"projection", "rebuild", "--all", "--data", t.data}, flags...)...)
			if building.Err() != nil {
				err = nil // it was long enough
			}
			ended <- err
		}()
		busy, err := sample(func(n int) bool {
			select {
			case e := <-ended:
				over = true
				ended <- e
			default:
			}
			return !over && n < 3000
		})
		cancel()
		if e := <-ended; err == nil {
			err = e
		}
		if err != nil || len(busy) == 0 {
			return 0, err
		}
		fmt.Printf("    idle %v, during the rebuild %v (longest %v, %d samples)\n", median(idle), median(busy), slices.Max(busy), len(busy))
		return float64(median(busy)) / float64(median(idle)), nil
	}
}
