package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var serial atomic.Int64

// message makes a message of about size octets that no other message equals, dot-stuffed and ended for LMTP.
func message(size int) []byte {
	n := serial.Add(1)
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Bench <bench@example.net>\r\nTo: User <user@example.org>\r\nSubject: message %d of the benchmark\r\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d.%d@bench.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", n, n, time.Now().UnixNano())
	for b.Len() < size-80 {
		fmt.Fprintf(&b, "%016x the quick brown fox jumps over the lazy dog %016x\r\n", rand.Uint64(), rand.Uint64())
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

func figures(large int) []figure {
	box := &largeMailbox{messages: large}
	inbox := &delivered{messages: large}
	return append([]figure{ // memory first, while the servers have done nothing
		{name: "memory-idle", about: "memory of the idle server (resident set of its processes)", unit: "MiB", goal: "below 80 MiB for Streampost", prepare: settle,
			run: func(_ context.Context, t *target) (float64, error) { return resident(t.pid), nil }},
		{name: "memory-idling", about: "memory of one of 1,000 connections in IDLE", unit: "KiB", goal: "below 64 KiB for Streampost", run: idling(1000)},
		{name: "login", about: "a connection, LOGIN and LOGOUT, 8 clients on 50 accounts whose passwords were used before", unit: "logins/s", more: true,
			goal: "at least 1,500 for Streampost", prepare: known, run: logins(8, 6000)},
		{name: "lmtp-1", about: "LMTP deliveries of 8 KiB to 50 accounts, one connection", unit: "messages/s", more: true,
			goal: "at least 1.5x Dovecot (sdbox)", run: lmtp(1, 1500, (*lmtpConn).deliver)},
		{name: "lmtp-32", about: "LMTP deliveries of 8 KiB to 50 accounts, 32 connections", unit: "messages/s", more: true,
			goal: "at least 3x Dovecot (sdbox)", run: lmtp(32, 6400, (*lmtpConn).deliver)},
		{name: "lmtp-pipelined-32", about: "the same, envelopes pipelined as MTAs do", unit: "messages/s", more: true,
			goal: "at least 3x Dovecot (sdbox)", run: lmtp(32, 6400, (*lmtpConn).pipeline)},
		{name: "smtp-1", about: "the same by SMTP, through the default pipeline, one connection", unit: "messages/s", more: true, ours: true,
			goal: "at least 70 % of lmtp-1", run: bySMTP(1, 1500)},
		{name: "smtp-32", about: "the same by SMTP, through the default pipeline, 32 connections", unit: "messages/s", more: true, ours: true,
			goal: "at least 70 % of lmtp-32", run: bySMTP(32, 6400)},
		{name: "select", about: fmt.Sprintf("SELECT of %d messages, warm", large), unit: "ms", goal: "not slower than Dovecot",
			prepare: box.fill, run: box.selects(20)},
		{name: "fetch-flags", about: fmt.Sprintf("FETCH 1:* (UID FLAGS) of %d messages, warm", large), unit: "ms", goal: "not slower than Dovecot",
			prepare: box.fill, run: box.timed(3, "FETCH 1:* (UID FLAGS)")},
		{name: "fetch-envelope", about: fmt.Sprintf("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE) of %d messages, warm", large), unit: "ms",
			goal: "not slower than Dovecot", prepare: box.fill, run: box.timed(1, "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)")},
		{name: "store", about: "STORE +FLAGS of single messages in one mailbox, 16 clients", unit: "commands/s", more: true,
			goal: "at least 2x Dovecot with mail_fsync=always", prepare: box.fill, run: box.store(16, 4000)},
		{name: "store-apart", about: "STORE +FLAGS of single messages, 16 clients on 16 accounts", unit: "commands/s", more: true,
			goal: "at least 2x Dovecot with mail_fsync=always", prepare: box.seed, run: box.storeApart(16, 4000)},
		{name: "body", about: "random BODY.PEEK[] of 8 KiB messages, 4 clients", unit: "messages/s", more: true,
			goal: "at least Dovecot's rate", prepare: box.fill, run: box.bodies(4, 8000)},
		{name: "memory-50MiB", about: "peak of memory above idle while a 50 MiB message is delivered", unit: "MiB", goal: "below 32 MiB for Streampost", run: bigMessage(50 << 20)},
		{name: "rebuild", about: fmt.Sprintf("mailboxes, counters and quota of %d messages made anew, until a client has all envelopes "+
			"(Dovecot: force-resync without its cache; Cyrus: reconstruct -G)", large), unit: "s", prepare: inbox.fill, run: inbox.rebuild},
		{name: "latency", about: "STORE and two FETCHes during a rebuild of all views, against before", unit: "times as long", ours: true, goal: "less than 3",
			prepare: inbox.fill, run: inbox.disturbed()},
		{name: "latency-throttled", about: "the same with --cpu 0.25", unit: "times as long", ours: true, goal: "less than 1.3",
			prepare: inbox.fill, run: inbox.disturbed("--cpu", "0.25")},
	}, append(manyFigures(box), (&library{messages: large}).figures()...)...)
}

func lmtp(conns, messages int, deliver func(c *lmtpConn, to string, message []byte) error) func(context.Context, *target) (float64, error) {
	return deliveries(conns, messages, dialLMTP, deliver)
}

func bySMTP(conns, messages int) func(context.Context, *target) (float64, error) {
	return deliveries(conns, messages, func(t *target) (*lmtpConn, error) { return dialMail(t.smtp, "EHLO") }, (*lmtpConn).deliver)
}

func deliveries(conns, messages int, dial func(*target) (*lmtpConn, error), deliver func(c *lmtpConn, to string, message []byte) error) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		bodies := make([][]byte, messages)
		for i := range bodies {
			bodies[i] = message(8 << 10)
		}
		clients := make([]*lmtpConn, conns)
		for i := range clients {
			c, err := dial(t)
			if err != nil {
				return 0, err
			}
			defer c.Close()
			clients[i] = c
		}
		return rate(ctx, conns, messages, func(worker, i int) error { return deliver(clients[worker], t.user(i), bodies[i]) })
	}
}

// known has every user log in once, so that each password was checked.
func known(_ context.Context, t *target) error {
	for i := range users {
		c, err := dialIMAP(t, i)
		if err != nil {
			return err
		}
		_ = c.Close()
	}
	return nil
}

func logins(clients, n int) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		return rate(ctx, clients, n, func(_, i int) error {
			c, err := dialIMAP(t, i)
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.do("LOGOUT")
			return err
		})
	}
}

// rate shares n calls among workers and gives calls per second.
func rate(ctx context.Context, workers, n int, call func(worker, i int) error) (float64, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := call(w, i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(n) / time.Since(start).Seconds(), ctx.Err()
	}
}

// largeMailbox is mailbox "Big" of account 0, which holds many messages. Filling it takes a while, so all figures share it.
type largeMailbox struct {
	messages int
	filled   map[string]bool
	seeded   map[string]bool
}

const seedMessages = 500

func (b *largeMailbox) fill(ctx context.Context, t *target) error {
	if b.filled[t.name] {
		return nil
	}
	c, err := dialIMAP(t, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.holds("Big") == b.messages { // from the run before
		_, err = c.do("SELECT Big")
	} else if _, err = c.do("CREATE Big"); err == nil {
		err = multiply(c, "Big", b.messages)
	}
	if err != nil {
		return err
	}
	if _, err := c.do("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"); err != nil { // warms the rival's cache
		return err
	}
	if b.filled == nil {
		b.filled = map[string]bool{}
	}
	b.filled[t.name] = true
	return ctx.Err()
}

// multiply brings some messages and copies them until there are n, and leaves the mailbox selected.
func multiply(c *imapConn, mailbox string, n int) error {
	if err := appendMessages(c, mailbox, seedMessages); err != nil {
		return err
	}
	if _, err := c.do("SELECT %s", mailbox); err != nil {
		return err
	}
	for have := seedMessages; have < n; {
		more := min(have, n-have)
		if _, err := c.do("COPY 1:%d %s", more, mailbox); err != nil {
			return err
		}
		have += more
	}
	return nil
}

func appendMessages(c *imapConn, mailbox string, n int) error {
	for range n {
		m := bytes.TrimSuffix(message(8<<10), []byte(".\r\n"))
		if _, err := c.do("APPEND %s {%d+}\r\n%s", mailbox, len(m), m); err != nil {
			return err
		}
	}
	return nil
}

// selects gives the milliseconds of SELECT as the first command of a session.
func (b *largeMailbox) selects(times int) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		var spent time.Duration
		for range times {
			c, err := dialIMAP(t, 0)
			if err != nil {
				return 0, err
			}
			start := time.Now()
			_, err = c.do("SELECT Big")
			spent += time.Since(start)
			if c.Close(); err != nil {
				return 0, err
			}
		}
		return spent.Seconds() * 1000 / float64(times), ctx.Err()
	}
}

// timed gives the milliseconds of one command, from its first octet sent to its tagged answer.
func (b *largeMailbox) timed(times int, command string) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		c, err := dialIMAP(t, 0)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if _, err := c.do("SELECT Big"); err != nil {
			return 0, err
		}
		if _, err := c.do("NOOP"); err != nil {
			return 0, err
		}
		start := time.Now()
		for range times {
			if _, err := c.do("%s", command); err != nil {
				return 0, err
			}
		}
		return time.Since(start).Seconds() * 1000 / float64(times), ctx.Err()
	}
}

func selected(t *target, n int, account func(i int) int, mailbox string) ([]*imapConn, error) {
	clients := make([]*imapConn, n)
	for i := range clients {
		c, err := dialIMAP(t, account(i))
		if err != nil {
			return nil, err
		}
		if _, err := c.do("SELECT %s", mailbox); err != nil {
			return nil, err
		}
		clients[i] = c
	}
	return clients, nil
}

var storeRound atomic.Int64

// stores toggles one flag in one message after another, so that every command changes something.
func stores(ctx context.Context, clients []*imapConn, commands, messages int) (float64, error) {
	round := storeRound.Add(1)
	return rate(ctx, len(clients), commands, func(w, i int) error {
		sign := "+"
		if (round+int64(i/messages))%2 == 0 {
			sign = "-"
		}
		_, err := clients[w].do("STORE %d %sFLAGS.SILENT (\\Flagged bench%d)", i%messages+1, sign, round%3)
		return err
	})
}

func (b *largeMailbox) store(conns, commands int) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		clients, err := selected(t, conns, func(int) int { return 0 }, "Big")
		if err != nil {
			return 0, err
		}
		defer closeAll(clients)
		return stores(ctx, clients, commands, b.messages)
	}
}

func (b *largeMailbox) seed(ctx context.Context, t *target) error {
	if b.seeded[t.name] {
		return nil
	}
	for i := range 16 {
		c, err := dialIMAP(t, i)
		if err != nil {
			return err
		}
		if _, err := c.do("CREATE Small"); err != nil {
			return err
		}
		if err := appendMessages(c, "Small", 50); err != nil {
			return err
		}
		c.Close()
	}
	if b.seeded == nil {
		b.seeded = map[string]bool{}
	}
	b.seeded[t.name] = true
	return ctx.Err()
}

func (b *largeMailbox) storeApart(conns, commands int) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		clients, err := selected(t, conns, func(i int) int { return i }, "Small")
		if err != nil {
			return 0, err
		}
		defer closeAll(clients)
		return stores(ctx, clients, commands, 50)
	}
}

func closeAll(clients []*imapConn) {
	for _, c := range clients {
		c.Close()
	}
}

func (b *largeMailbox) bodies(conns, commands int) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		clients, err := selected(t, conns, func(int) int { return 0 }, "Big")
		if err != nil {
			return 0, err
		}
		defer closeAll(clients)
		return rate(ctx, conns, commands, func(w, _ int) error {
			octets, err := clients[w].do("FETCH %d BODY.PEEK[]", rand.IntN(b.messages)+1)
			if err == nil && octets < 7<<10 {
				return fmt.Errorf("a body of %d octets came back", octets)
			}
			return err
		})
	}
}

// resident sums the resident set of a process and its descendants, in MiB.
func resident(pid int) float64 {
	kib := statusField(pid, "VmRSS:")
	kids, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	total := kib / 1024
	for _, k := range strings.Fields(string(kids)) {
		if child, err := strconv.Atoi(k); err == nil {
			total += resident(child)
		}
	}
	return total
}

// settle lets a server become idle.
func settle(context.Context, *target) error {
	time.Sleep(5 * time.Second)
	return nil
}

// calm waits until a server and its children have done what they put off, or for two minutes.
func calm(ctx context.Context, t *target) {
	for spent, deadline := worked(t.pid), time.Now().Add(2*time.Minute); ctx.Err() == nil && time.Now().Before(deadline); {
		time.Sleep(time.Second)
		now := worked(t.pid)
		if now-spent < cmp.Or(t.idle, 5) {
			return
		}
		spent = now
	}
}

// worked sums the CPU time of a process and its descendants, in hundredths of a second.
func worked(pid int) (ticks int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 12 { // proc(5): utime and stime
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		ticks = user + system
	}
	kids, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, k := range strings.Fields(string(kids)) {
		if child, err := strconv.Atoi(k); err == nil {
			ticks += worked(child)
		}
	}
	return ticks
}

func statusField(pid int, name string) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kib
		}
	}
	return 0
}

func idling(conns int) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		before := resident(t.pid)
		var clients []*imapConn
		defer func() { closeAll(clients) }()
		for i := range conns {
			c, err := dialIMAP(t, i)
			if err != nil {
				return 0, err
			}
			clients = append(clients, c)
			if _, err := c.do("SELECT INBOX"); err != nil {
				return 0, err
			}
			if _, err := fmt.Fprintf(c.Conn, "i IDLE\r\n"); err != nil {
				return 0, err
			}
			if _, err := c.r.ReadSlice('\n'); err != nil {
				return 0, err
			}
		}
		time.Sleep(3 * time.Second) // lets collectors return what the log-ins used
		return (resident(t.pid) - before) * 1024 / float64(conns), ctx.Err()
	}
}

func bigMessage(size int) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		body := message(size)
		c, err := dialLMTP(t)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		before := resident(t.pid)
		peak := before
		done := make(chan error, 1)
		go func() { done <- c.deliver(t.user(7), body) }()
		for {
			select {
			case err := <-done:
				return max(peak-before, 0), err
			case <-time.After(5 * time.Millisecond):
				peak = max(peak, resident(t.pid))
			}
		}
	}
}
