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

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/integration/stack"
	"github.com/streampost/streampost/projections/door/doortest"
	"pgregory.net/rapid"
)

// model is what a client knows of its selected mailbox from the responses alone.
type model struct {
	*client
	kind     kind
	mailbox  string // as it calls the one that all sessions have
	refused  bool   // it may be told that it lacks a right
	messages []known
	told     int // EXISTS; above len(messages) while arrivals are not fetched

	// What a client keeps for the next time (RFC 7162 section 6).
	validity, highest string
	shown             int // the highest MODSEQ of the present answer
}

// kind is what a client enables.
type kind string

const (
	ordinary  kind = "plain"
	conds     kind = "CONDSTORE"
	resyncing kind = "QRESYNC"
	uids      kind = "UIDONLY"
	both      kind = "QRESYNC UIDONLY"
	told      kind = "NOTIFY" // hears of changes while it is silent, and of expunges when numbers may change
)

var someKinds = []kind{ordinary, conds, resyncing, resyncing, uids, both, told}

func (k kind) resyncs() bool { return strings.Contains(string(k), "QRESYNC") }
func (k kind) byUID() bool   { return strings.Contains(string(k), "UIDONLY") }

type known struct {
	uid   int
	flags []string // sorted, without \Recent
}

var (
	existsLine   = regexp.MustCompile(`^\* (\d+) EXISTS$`)
	expungeLine  = regexp.MustCompile(`^\* (\d+) EXPUNGE$`)
	vanishedLine = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?(\S+)$`)
	fetchLine    = regexp.MustCompile(`^\* (\d+) (UID)?FETCH \((?:UID (\d+) ?)?(?:FLAGS \(([^)]*)\))?(?: ?MODSEQ \((\d+)\))?\)$`)
	highestLine  = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	validityLine = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
)

// open selects a mailbox and learns what is in it.
func open(s *testServer, mailbox string, as ...kind) *model {
	m := &model{client: s.login(), kind: append(as, ordinary)[0], mailbox: mailbox}
	m.enable()
	m.learn(m.cmd("SELECT %s", mailbox)).ok()
	m.catchUp()
	return m
}

func (m *model) enable() {
	m.t.Helper()
	switch m.kind {
	case ordinary:
	case told:
		m.cmd("NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))").ok()
	default:
		m.cmd("ENABLE %s", m.kind).ok()
	}
}

// reopen loses the connection and resynchronises what it knew (RFC 7162 section 3.2.5). The answer must be enough for everything that was known.
func (m *model) reopen(s *testServer, draw func(n int) int) {
	m.t.Helper()
	_ = m.conn.Close()
	if hole := slices.IndexFunc(m.messages, func(k known) bool { return k.uid == 0 }); hole >= 0 {
		m.messages = m.messages[:hole]
	}
	var set domain.UIDSet
	for _, k := range m.messages {
		set = set.Add(domain.UID(k.uid))
	}
	last := 0
	if len(m.messages) > 0 {
		last = m.messages[len(m.messages)-1].uid
	}
	more := []string{"", " " + set.String(), fmt.Sprintf(" 1:%d", last)}[draw(3)]
	if last == 0 {
		more = ""
	} else if !m.kind.byUID() && draw(2) == 0 {
		n := len(m.messages)
		more += fmt.Sprintf(" (1,%d %d,%d)", n+1, m.messages[0].uid, last+1) // a sample, right or wrong
	}
	m.client, m.told = s.login(), 0
	m.cmd("ENABLE %s", m.kind).ok()
	a := m.cmd("SELECT INBOX (QRESYNC (%s %s%s))", m.validity, m.highest, more).ok()
	for _, line := range a.untagged {
		if v := vanishedLine.FindStringSubmatch(line); v != nil {
			gone, err := domain.ParseUIDSet(v[2])
			if err != nil || v[1] == "" {
				m.t.Fatalf("%s in the answer to SELECT: %v", line, err)
			}
			m.messages = slices.DeleteFunc(m.messages, func(k known) bool { return gone.Contains(domain.UID(k.uid)) })
		}
	}
	for _, line := range a.untagged {
		if f := fetchLine.FindStringSubmatch(line); f != nil {
			uid := atoi(f[3] + strings.Repeat(f[1], len(f[2])/3))
			i := slices.IndexFunc(m.messages, func(k known) bool { return k.uid == uid })
			switch {
			case i < 0 && uid <= last:
				m.t.Fatalf("%s: the client was not told that it has the message, it has %v", line, m.messages)
			case i >= 0 && !m.kind.byUID() && i+1 != atoi(f[1]):
				m.t.Fatalf("%s: by what it was told the client has it at %d", line, i+1)
			case i >= 0:
				m.messages[i].flags = flagSet(f[4])
			}
		} else if e := existsLine.FindStringSubmatch(line); e != nil {
			m.told = atoi(e[1])
		}
	}
	if len(m.messages) > m.told {
		m.t.Fatalf("there are %d messages, and the client still has %v", m.told, m.messages)
	}
	m.shown = 0
	m.believe(a)
}

// learn takes over what an answer says. numbered forbids EXPUNGE in it (RFC 9051 section 7.5.1).
func (m *model) learn(a *answer, numbered ...bool) *answer {
	m.t.Helper()
	m.shown = 0
	for _, line := range a.untagged {
		if e := existsLine.FindStringSubmatch(line); e != nil {
			if n := atoi(e[1]); n < m.told {
				m.t.Fatalf("%s after %d messages", line, m.told)
			}
			m.told = atoi(e[1])
		} else if e := expungeLine.FindStringSubmatch(line); e != nil {
			n := atoi(e[1])
			if len(numbered) > 0 || n > m.told || m.kind.resyncs() || m.kind.byUID() {
				m.t.Fatalf("%s with %d messages in the answer to %s", line, m.told, a.command)
			}
			m.told--
			if n <= len(m.messages) {
				m.messages = slices.Delete(m.messages, n-1, n)
			}
		} else if v := vanishedLine.FindStringSubmatch(line); v != nil {
			gone, err := domain.ParseUIDSet(v[2])
			if err != nil || len(numbered) > 0 || v[1] != "" || !m.kind.resyncs() && !m.kind.byUID() || gone.Len() > m.told {
				m.t.Fatalf("%s with %d messages in the answer to %s: %v", line, m.told, a.command, err)
			}
			for uid := range gone.All() {
				m.vanished(int(uid))
			}
		} else if f := fetchLine.FindStringSubmatch(line); f != nil {
			m.shown = max(m.shown, atoi(f[5]))
			if (f[2] != "") != m.kind.byUID() || len(f[5]) > 0 && (m.kind == ordinary || m.kind == uids || m.kind == told) {
				m.t.Fatalf("%s for a client with %s", line, m.kind)
			}
			if shown := strings.Contains(line, "FLAGS"); f[2] != "" && shown {
				m.uidFetched(atoi(f[1]), f[4])
			} else if f[3] != "" {
				m.fetched(atoi(f[1]), atoi(f[3]), f[4], shown)
			}
		} else if strings.Contains(line, "FETCH") {
			m.t.Fatalf("%s is not understood", line)
		}
	}
	m.believe(a)
	return a
}

// believe works out the mod-sequence that the client remembers (RFC 7162 section 6).
func (m *model) believe(a *answer) {
	if m.shown > atoi(m.highest) {
		m.highest = strconv.Itoa(m.shown)
	}
	for _, line := range append(slices.Clone(a.untagged), a.tagged) {
		if h := highestLine.FindStringSubmatch(line); h != nil {
			m.highest = h[1]
		}
		if v := validityLine.FindStringSubmatch(line); v != nil {
			m.validity = v[1]
		}
	}
}

// vanished takes away a message, or one of those between its neighbours that are not known yet.
func (m *model) vanished(uid int) {
	m.told--
	for i, k := range m.messages {
		if k.uid == uid || k.uid > uid && i > 0 && m.messages[i-1].uid == 0 {
			if k.uid != uid {
				i--
			}
			m.messages = slices.Delete(m.messages, i, i+1)
			return
		}
	}
	if n := len(m.messages); n > m.told && m.messages[n-1].uid == 0 {
		m.messages = m.messages[:n-1]
	}
}

// uidFetched keeps messages in order of UID; those that were not fetched yet have no place.
func (m *model) uidFetched(uid int, flags string) {
	i, found := slices.BinarySearchFunc(m.messages, uid, func(k known, uid int) int { return k.uid - uid })
	if !found {
		m.messages = slices.Insert(m.messages, i, known{})
	}
	m.messages[i] = known{uid, flagSet(flags)}
}

func (m *model) fetched(seq, uid int, flags string, shown bool) {
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
	if shown {
		message.uid, message.flags = uid, flagSet(flags)
	}
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
	for m.kind.byUID() && len(m.messages) < m.told {
		m.done(m.learn(m.cmd("UID FETCH 1:* (FLAGS)")))
	}
	for first := slices.IndexFunc(m.messages, func(k known) bool { return k.uid == 0 }); first >= 0 || len(m.messages) < m.told; {
		if first < 0 {
			first = len(m.messages)
		}
		// UID FETCH lets the server expunge meanwhile, so this ends even if others are busy.
		low := 1
		if first > 0 {
			low = m.messages[first-1].uid + 1
		}
		m.done(m.learn(m.cmd("UID FETCH %d:* (FLAGS)", low)))
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
	if byUID || m.kind.byUID() {
		a = m.done(m.learn(m.cmd("UID STORE %d:%d %s (%s)", meant[0], meant[len(meant)-1], item, flag)))
	} else {
		a = m.done(m.learn(m.cmd("STORE %d:%d %s (%s)", from, to, item, flag), true))
	}
	if !silent || !strings.HasPrefix(a.tagged, "OK ") {
		return
	}
	for i := range m.messages {
		k := &m.messages[i]
		told := regexp.MustCompile(fmt.Sprintf(`FETCH \(UID %d FLAGS|\* %d UIDFETCH \(FLAGS`, k.uid, k.uid))
		if !slices.Contains(meant, k.uid) || told.MatchString(strings.Join(a.untagged, "\n")) {
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

// done accepts OK, and the NO of a server that cannot reach its log, and of one that knows rights.
func (m *model) done(a *answer) *answer {
	a.t.Helper()
	if m.refused && regexp.MustCompile(`^NO \[(NOPERM|NONEXISTENT|TRYCREATE|READ-ONLY)\] `).MatchString(a.tagged) {
		return a
	}
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
		m.done(m.learn(m.append(m.mailbox, mail(draw(1000)))))
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
		m.done(m.learn(m.cmd("EXPUNGE")))
	case 5:
		m.done(m.learn(m.cmd("UID EXPUNGE %d:%d", m.messages[from-1].uid, m.messages[to-1].uid)))
	case 6:
		m.done(m.learn(m.cmd("%s", m.numbers("COPY", from, to)+" "+m.mailbox)))
	case 7:
		m.done(m.learn(m.cmd("%s", m.numbers("MOVE", from, from)+" "+[]string{"Trash", m.mailbox}[draw(2)])))
	case 8:
		if m.kind.byUID() {
			m.done(m.learn(m.cmd("UID FETCH %d:%d (FLAGS)", m.messages[from-1].uid, m.messages[to-1].uid)))
		} else {
			m.done(m.learn(m.cmd("FETCH %d:%d (UID FLAGS)", from, to), true))
		}
	default:
		m.done(m.learn(m.cmd("NOOP")))
	}
}

// numbers begins a command on some messages.
func (m *model) numbers(command string, from, to int) string {
	if m.kind.byUID() {
		return fmt.Sprintf("UID %s %d:%d", command, m.messages[from-1].uid, m.messages[to-1].uid)
	}
	return fmt.Sprintf("%s %d:%d", command, from, to)
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
		return fmt.Errorf("the client with %s believes\n%s\nbut there is\n%s", m.kind, got, want)
	}
	return nil
}

// TestModelsOfSessionsTakingTurns lets sessions do random commands one after the other, while some fall behind.
func TestModelsOfSessionsTakingTurns(t *testing.T) {
	s := start(t)
	rapid.Check(t, func(r *rapid.T) {
		var sessions []*model
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "n") }
		for range 3 {
			sessions = append(sessions, open(s, "INBOX", someKinds[draw(len(someKinds))]))
		}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			m := sessions[draw(len(sessions))]
			if m.kind.resyncs() && draw(3) == 0 {
				m.reopen(s, draw)
			}
			m.step(draw)
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
	// What a client that was here long ago is told (RFC 7162 section 3.2.5).
	resynchronised := func() string {
		a := s.aware().cmd("SELECT INBOX (QRESYNC (%d %d))", s.validity(), s.modseq()/3).ok()
		return strings.ReplaceAll(strings.Join(slices.DeleteFunc(a.untagged, func(l string) bool { return strings.HasSuffix(l, " RECENT") }), "\n"), ` \Recent`, "")
	}
	told := resynchronised()
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
		if got := resynchronised(); got != told || !strings.Contains(told, "VANISHED (EARLIER) ") {
			t.Fatalf("before the restart a client was told\n%s\nafter it\n%s", told, got)
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
	for _, k := range someKinds {
		sessions = append(sessions, open(s, "INBOX", k))
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
					if m.kind.resyncs() && random.IntN(4) == 0 {
						m.reopen(s, random.IntN)
					}
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
