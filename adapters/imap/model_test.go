package imap

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/integration/stack"
	"github.com/streampost/streampost/projections/door/doortest"
	"pgregory.net/rapid"
)

// model is what a client knows of its selected mailbox from the responses alone.
type model struct {
	*client
	messages []known
	told     int // EXISTS; above len(messages) while arrivals are not fetched
}

type known struct {
	uid   int
	flags []string // sorted, without \Recent
}

var (
	existsLine  = regexp.MustCompile(`^\* (\d+) EXISTS$`)
	expungeLine = regexp.MustCompile(`^\* (\d+) EXPUNGE$`)
	fetchLine   = regexp.MustCompile(`^\* (\d+) FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)$`)
)

// open selects a mailbox and learns what is in it.
func open(s *testServer, mailbox string) *model {
	m := &model{client: s.login()}
	m.learn(m.cmd("SELECT %s", mailbox))
	m.catchUp()
	return m
}

// learn takes over what an answer says. numbered forbids EXPUNGE in it (RFC 9051 section 7.5.1).
func (m *model) learn(a *answer, numbered ...bool) *answer {
	m.t.Helper()
	for _, line := range a.untagged {
		if e := existsLine.FindStringSubmatch(line); e != nil {
			if n := atoi(e[1]); n < m.told {
				m.t.Fatalf("%s after %d messages", line, m.told)
			}
			m.told = atoi(e[1])
		} else if e := expungeLine.FindStringSubmatch(line); e != nil {
			n := atoi(e[1])
			if len(numbered) > 0 || n > m.told {
				m.t.Fatalf("%s with %d messages in the answer to %s", line, m.told, a.command)
			}
			m.told--
			if n <= len(m.messages) {
				m.messages = slices.Delete(m.messages, n-1, n)
			}
		} else if e := fetchLine.FindStringSubmatch(line); e != nil {
			m.fetched(atoi(e[1]), atoi(e[2]), e[3])
		}
	}
	return a
}

func (m *model) fetched(seq, uid int, flags string) {
	m.t.Helper()
	if seq > m.told {
		m.t.Fatalf("FETCH of message %d of %d", seq, m.told)
	}
	for len(m.messages) < seq {
		m.messages = append(m.messages, known{})
	}
	message := &m.messages[seq-1]
	if message.uid != 0 && message.uid != uid {
		m.t.Fatalf("message %d has UID %d, then %d", seq, message.uid, uid)
	}
	message.uid, message.flags = uid, flagSet(flags)
}

func flagSet(text string) []string {
	list := slices.DeleteFunc(strings.Fields(text), func(f string) bool { return f == `\Recent` })
	slices.Sort(list)
	return slices.Compact(list)
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// catchUp fetches what is not known yet.
func (m *model) catchUp() {
	m.t.Helper()
	for first := slices.IndexFunc(m.messages, func(k known) bool { return k.uid == 0 }); first >= 0 || len(m.messages) < m.told; {
		if first < 0 {
			first = len(m.messages)
		}
		// UID FETCH lets the server expunge meanwhile, so this ends even if others are busy.
		low := 1
		if first > 0 {
			low = m.messages[first-1].uid + 1
		}
		m.learn(m.cmd("UID FETCH %d:* (FLAGS)", low)).ok()
		first = slices.IndexFunc(m.messages, func(k known) bool { return k.uid == 0 })
	}
}

// store changes flags as a client does: after .SILENT and OK it believes in the result without being told, unless it is told something else.
func (m *model) store(from, to int, mode, flag string, silent, byUID bool) {
	m.t.Helper()
	item := mode + "FLAGS"
	if silent {
		item += ".SILENT"
	}
	var meant []int // UIDs
	for _, k := range m.messages[from-1 : to] {
		meant = append(meant, k.uid)
	}
	var a *answer
	if byUID {
		a = m.learn(m.cmd("UID STORE %d:%d %s (%s)", meant[0], meant[len(meant)-1], item, flag)).done()
	} else {
		a = m.learn(m.cmd("STORE %d:%d %s (%s)", from, to, item, flag), true).done()
	}
	if !silent || !strings.HasPrefix(a.tagged, "OK ") {
		return
	}
	for i := range m.messages {
		k := &m.messages[i]
		if told := fmt.Sprintf("FETCH (UID %d ", k.uid); !slices.Contains(meant, k.uid) || strings.Contains(strings.Join(a.untagged, "\n"), told) {
			continue
		}
		switch mode {
		case "+":
			k.flags = flagSet(strings.Join(k.flags, " ") + " " + flag)
		case "-":
			k.flags = slices.DeleteFunc(slices.Clone(k.flags), func(f string) bool { return f == flag })
		default:
			k.flags = flagSet(flag)
		}
	}
}

// done accepts OK, and the NO of a server that cannot reach its log.
func (a *answer) done() *answer {
	a.t.Helper()
	if !matches("NO [UNAVAILABLE] ...", a.tagged) && !matches("NO [INUSE] ...", a.tagged) {
		a.ok()
	}
	return a
}

// step does one random thing.
func (m *model) step(draw func(n int) int) {
	m.t.Helper()
	m.catchUp()
	n := len(m.messages)
	if n == 0 || draw(6) == 0 {
		m.learn(m.append("INBOX", mail(draw(1000)))).done()
		return
	}
	from := 1 + draw(n)
	to := min(n, from+draw(3))
	flag := []string{`\Seen`, `\Deleted`, `\Flagged`, "$One", "$Two", `\Seen $Two`}
	switch draw(10) {
	case 0, 1, 2, 3:
		f := flag[draw(len(flag))]
		mode := []string{"+", "-", ""}[draw(3)]
		if mode == "-" {
			f, _, _ = strings.Cut(f, " ")
		}
		m.store(from, to, mode, f, draw(2) == 0, draw(2) == 0)
	case 4:
		m.learn(m.cmd("EXPUNGE")).done()
	case 5:
		m.learn(m.cmd("UID EXPUNGE %d:%d", m.messages[from-1].uid, m.messages[to-1].uid)).done()
	case 6:
		m.learn(m.cmd("COPY %d:%d INBOX", from, to)).done()
	case 7:
		m.learn(m.cmd("MOVE %d:%d %s", from, from, []string{"Trash", "INBOX"}[draw(2)])).done()
	case 8:
		m.learn(m.cmd("FETCH %d:%d (UID FLAGS)", from, to), true).done()
	default:
		m.learn(m.cmd("NOOP")).done()
	}
}

// check compares the model with the server once the client has polled.
func (m *model) check(s *testServer) error {
	m.t.Helper()
	m.learn(m.cmd("NOOP")).ok()
	m.catchUp()
	var truth []known
	err := s.Accounts.View(m.t.Context(), s.account, func(state *account.State) error {
		truth = truth[:0]
		inbox, _ := state.Mailbox("INBOX")
		for i, uid := range inbox.UID {
			truth = append(truth, known{int(uid), flagSet(strings.Join(state.FlagNames(inbox.Flags[i]), " "))})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if got, want := fmt.Sprint(m.messages), fmt.Sprint(truth); got != want {
		return fmt.Errorf("the client believes\n%s\nbut there is\n%s", got, want)
	}
	return nil
}

// TestModelsOfSessionsTakingTurns lets sessions do random commands one after the other, while some fall behind.
func TestModelsOfSessionsTakingTurns(t *testing.T) {
	s := start(t)
	rapid.Check(t, func(r *rapid.T) {
		var sessions []*model
		for range 3 {
			sessions = append(sessions, open(s, "INBOX"))
		}
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "n") }
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			sessions[draw(len(sessions))].step(draw)
		}
		for _, m := range sessions {
			if err := m.check(s); err != nil {
				r.Fatal(err)
			}
			m.cmd("LOGOUT").ok()
		}
	})
}

// TestModelsOfSessionsAtOnce lets sessions do random commands at the same time, so that their changes meet in one transaction.
func TestModelsOfSessionsAtOnce(t *testing.T) { sessionsAtOnce(t, nil) }

// TestModelsWhileTheLogFails loses some of the answers of the log: a command that got NO may have happened or not, and its session finds out.
func TestModelsWhileTheLogFails(t *testing.T) {
	sessionsAtOnce(t, func() doortest.Fault {
		if rand.IntN(10) > 0 {
			return doortest.None
		}
		return []doortest.Fault{doortest.Refused, doortest.LostSent, doortest.LostKept}[rand.IntN(3)]
	})
}

// TestModelsOnTheWholeStack does the same on the real log, views and blobs; what the sessions believe outlives a restart and the loss of
// every view.
func TestModelsOnTheWholeStack(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole server")
	}
	whole := stack.New(t)
	s := &testServer{t: t, account: whole.AddAccount(t, alice, password)}
	serve := func() {
		s.Node = &doortest.Node{Accounts: whole.Accounts, Directory: whole.Directory}
		s.serve()
	}
	serve()
	before := randomSessions(t, s, nil)[0]
	for _, disturb := range []func(){whole.Restart, whole.RemoveViews} {
		if err := s.server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		disturb()
		serve()
		after := open(s, "INBOX")
		if got, want := fmt.Sprint(after.messages), fmt.Sprint(before.messages); got != want {
			t.Fatalf("before the restart there was\n%s\nafter it\n%s", want, got)
		}
	}
}

func sessionsAtOnce(t *testing.T, fault func() doortest.Fault) {
	randomSessions(t, start(t), fault)
}

func randomSessions(t *testing.T, s *testServer, fault func() doortest.Fault) []*model {
	t.Helper()
	for n := range 10 {
		s.deliver("INBOX", mail(n))
	}
	var sessions []*model
	for range 6 {
		sessions = append(sessions, open(s, "INBOX"))
	}
	for round := range 5 {
		var busy sync.WaitGroup
		if fault != nil {
			s.fault.Store(&fault)
		}
		for i, m := range sessions {
			random := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			busy.Go(func() {
				for range 40 {
					m.step(random.IntN)
				}
			})
		}
		busy.Wait()
		s.fault.Store(nil)
		if t.Failed() {
			t.FailNow()
		}
		for _, m := range sessions {
			if err := m.check(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	return sessions
}
