package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// soakClient is the only client of an account. It knows which UIDs INBOX has, with which flags.
type soakClient struct {
	soak    *soak
	account string
	random  *rand.Rand
	c       *imapclient.Client
	since   time.Time           // when c was made
	flags   map[imap.UID]string // flags in order, by UID; what the server has acknowledged
	number  map[imap.UID]int    // which of its messages each UID is; never forgotten
	sent    int
	ended   bool // with a step whose outcome nobody asked for
	after   map[imap.UID]string
}

var errLost = errors.New("the connection was lost before the answer")

func (c *soakClient) run(ctx context.Context) {
	defer c.close()
	for ctx.Err() == nil {
		if c.c == nil && !c.connect(ctx) {
			return
		}
		began := time.Now()
		after, err := c.step()
		if err == nil {
			c.flags = after
			c.soak.steps.Add(1)
			think(ctx, time.Since(began))
			continue
		}
		c.settle(ctx, after)
	}
}

// timed does a command and tells the soak how long its answer took.
func (c *soakClient) timed(command string, do func() error) error {
	began := time.Now()
	err := do()
	c.soak.answered(c.account+": "+command, c.since, began, err)
	return err
}

// A client thinks for so many times as long as the server took, so that many clients are as much of a load on a slow machine as on a fast one, and wait for
// the server and not for each other.
const thoughtful = 5

func think(ctx context.Context, took time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(min(thoughtful*took, time.Second)):
	}
}

// connect logs in and selects INBOX, as often as it takes.
func (c *soakClient) connect(ctx context.Context) bool {
	for ctx.Err() == nil {
		c.since = time.Now()
		nc, err := imapclient.DialInsecure(c.soak.s.addr(1143), nil)
		if err == nil {
			if err = nc.Login(c.account, password).Wait(); err == nil {
				if _, err = nc.Select("INBOX", nil).Wait(); err == nil {
					c.c = nc
					return true
				}
			}
			nc.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // the server is on its way
		}
	}
	return false
}

func (c *soakClient) close() {
	if c.c != nil {
		c.c.Close()
		c.c = nil
	}
}

// settle finds out what became of a step whose answer was lost: all of it, or nothing.
func (c *soakClient) settle(ctx context.Context, after map[imap.UID]string) {
	var found map[imap.UID]string
	for err := errLost; err != nil; {
		c.close()
		if !c.connect(ctx) {
			c.ended, c.after = true, after
			return
		}
		found, err = c.read()
	}
	switch {
	case after == nil: // a delivery, whose UID is not known before it is there
		for uid, flags := range c.flags {
			if has, there := found[uid]; !there || has != flags {
				c.soak.t.Errorf("%s: UID %d has %q, want %q", c.account, uid, has, flags)
			}
		}
		if len(found) > len(c.flags)+1 {
			c.soak.t.Errorf("%s has %d messages, want %d or one more", c.account, len(found), len(c.flags))
		}
	case !maps.Equal(found, after) && !maps.Equal(found, c.flags):
		c.soak.t.Errorf("%s: half of a change is there: %s", c.account, difference(found, c.flags))
	}
	c.flags = found
}

// compare asserts that the mailbox is what the model says.
func (c *soakClient) compare(when string) {
	c.soak.t.Helper()
	found, err := c.read()
	if err == nil && !maps.Equal(found, c.flags) {
		c.soak.t.Errorf("%s %s: %s", c.account, when, difference(found, c.flags))
	}
}

func difference(found, want map[imap.UID]string) string {
	var lines []string
	for uid, flags := range want {
		if has, there := found[uid]; !there {
			lines = append(lines, fmt.Sprintf("UID %d is gone", uid))
		} else if has != flags {
			lines = append(lines, fmt.Sprintf("UID %d has %q, want %q", uid, has, flags))
		}
	}
	for uid := range found {
		if _, known := want[uid]; !known {
			lines = append(lines, fmt.Sprintf("UID %d should not be there", uid))
		}
	}
	return strings.Join(lines, "; ")
}

// read fetches the flags of all messages.
func (c *soakClient) read() (map[imap.UID]string, error) {
	if err := c.timed("SELECT", func() error {
		_, err := c.c.Select("INBOX", nil).Wait()
		return err
	}); err != nil {
		return nil, err
	}
	found := map[imap.UID]string{}
	err := c.timed("FETCH FLAGS", func() error {
		messages, err := c.c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true}).Collect()
		for _, m := range messages {
			found[m.UID] = flagText(m.Flags)
			if _, known := c.number[m.UID]; !known {
				c.number[m.UID] = c.sent
			}
		}
		return err
	})
	return found, err
}

// flagText leaves out \Recent, which belongs to a session.
func flagText(flags []imap.Flag) string {
	var names []string
	for _, f := range flags {
		if f != `\Recent` {
			names = append(names, string(f))
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// step does one thing and gives the model after it; nil when the outcome could not be foretold and the answer was lost.
func (c *soakClient) step() (after map[imap.UID]string, err error) {
	after = maps.Clone(c.flags)
	uid, any := c.pick()
	switch n := c.random.IntN(11); {
	case n < 4 || !any:
		return c.deliver(after)
	case n < 7:
		flag := []imap.Flag{imap.FlagSeen, imap.FlagFlagged, imap.FlagAnswered, "soak"}[c.random.IntN(4)]
		has := strings.Fields(after[uid])
		op := imap.StoreFlagsAdd
		if i := slices.Index(has, string(flag)); i >= 0 {
			op, has = imap.StoreFlagsDel, slices.Delete(has, i, i+1)
		} else {
			has = append(has, string(flag))
		}
		slices.Sort(has)
		after[uid] = strings.Join(has, " ")
		return after, c.store(uid, op, flag)
	case n < 8 && len(after) > 3:
		if err := c.store(uid, imap.StoreFlagsAdd, imap.FlagDeleted); err != nil {
			after[uid] = strings.TrimSpace(after[uid] + " " + string(imap.FlagDeleted))
			has := strings.Fields(after[uid])
			slices.Sort(has)
			after[uid] = strings.Join(has, " ")
			return after, err
		}
		c.flags = maps.Clone(after) // the first half is acknowledged
		has := append(strings.Fields(after[uid]), string(imap.FlagDeleted))
		slices.Sort(has)
		c.flags[uid] = strings.Join(has, " ")
		delete(after, uid)
		return after, c.timed("UID EXPUNGE", c.c.UIDExpunge(imap.UIDSetNum(uid)).Close)
	case n < 9:
		return after, c.count()
	case n < 10:
		return after, c.newest()
	}
	c.compare("while things happen")
	return after, nil
}

func (c *soakClient) store(uid imap.UID, op imap.StoreFlagsOp, flag imap.Flag) error {
	return c.timed("UID STORE", func() error {
		return c.c.Store(imap.UIDSetNum(uid), &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{flag}}, nil).Close()
	})
}

// count asks for the counts.
func (c *soakClient) count() error {
	var status *imap.StatusData
	err := c.timed("STATUS", func() (err error) {
		status, err = c.c.Status("INBOX", &imap.StatusOptions{NumMessages: true, NumUnseen: true}).Wait()
		return err
	})
	if err != nil {
		return err
	}
	unseen := 0
	for _, flags := range c.flags {
		if !strings.Contains(flags, string(imap.FlagSeen)) {
			unseen++
		}
	}
	if int(*status.NumMessages) != len(c.flags) || int(*status.NumUnseen) != unseen {
		c.soak.t.Errorf("%s: STATUS says %d messages, %d unseen; there are %d and %d", c.account, *status.NumMessages, *status.NumUnseen, len(c.flags), unseen)
	}
	return nil
}

// newest reads the envelope of the last message, which is in the rows only, so that the view must have come to it.
func (c *soakClient) newest() error {
	uid := slices.Max(slices.Collect(maps.Keys(c.flags)))
	return c.timed("FETCH ENVELOPE", func() error {
		messages, err := c.c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, Envelope: true}).Collect()
		if want := fmt.Sprintf("number %d", c.number[uid]); err == nil && (len(messages) != 1 || messages[0].Envelope == nil || messages[0].Envelope.Subject != want) {
			c.soak.t.Errorf("%s: UID %d is not %q", c.account, uid, want)
		}
		return err
	})
}

// pick chooses one of the messages.
func (c *soakClient) pick() (imap.UID, bool) {
	if len(c.flags) == 0 {
		return 0, false
	}
	uids := slices.Sorted(maps.Keys(c.flags))
	return uids[c.random.IntN(len(uids))], true
}

// deliver appends a message, or sends it by LMTP, and learns its UID.
func (c *soakClient) deliver(after map[imap.UID]string) (map[imap.UID]string, error) {
	c.sent++
	text := fmt.Sprintf("From: soak@example.net\r\nSubject: number %d\r\nMessage-ID: <%d.%s>\r\n\r\n%s", c.sent, c.sent, c.account, strings.Repeat("words of a message\r\n", 1+c.random.IntN(100)))
	if c.random.IntN(2) == 0 {
		var data *imap.AppendData
		if err := c.timed("APPEND", func() (err error) {
			cmd := c.c.Append("INBOX", int64(len(text)), nil)
			if _, err := cmd.Write([]byte(text)); err != nil {
				return err
			}
			if err := cmd.Close(); err != nil {
				return err
			}
			data, err = cmd.Wait()
			return err
		}); err != nil {
			return nil, errLost
		}
		after[data.UID], c.number[data.UID] = "", c.sent
	} else {
		if err := c.send(text); err != nil {
			return nil, err
		}
		found, err := c.read() // it must be there at once
		if err != nil {
			return nil, errLost
		}
		if len(found) != len(after)+1 {
			c.soak.t.Errorf("%s: a message was accepted, and there are %d instead of %d", c.account, len(found), len(after)+1)
		}
		after = found
	}
	c.soak.deliveries.Add(1)
	return after, nil
}

// send delivers a message by LMTP.
func (c *soakClient) send(text string) error {
	var to *lmtpClient
	if err := c.timed("LMTP connection", func() error {
		if to = dialLMTP(c.soak.s.addr(1124)); to == nil {
			return errLost
		}
		return nil
	}); err != nil {
		return err
	}
	defer to.Close()
	for _, one := range []struct{ code, line string }{
		{"250", "MAIL FROM:<soak@example.net>"}, {"250", "RCPT TO:<" + c.account + ">"}, {"354", "DATA"}, {"250", text + "\r\n."},
	} {
		if err := c.timed("LMTP "+one.line[:4], func() error {
			if !to.ask(one.code, one.line) {
				return errLost
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
