package integration

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// mirror is the only client of an account, on one node after the other, and its exact model of what the cluster acknowledged: which message is in which
// mailbox under which UID, with which flags. What was asked for and not answered may have happened, may happen later, and is left alone from then on.
type mirror struct {
	t       *testing.T
	nodes   []*server
	account string
	random  *rand.Rand

	at       int // the node that it speaks to
	c        *imapclient.Client
	conn     *patientConn
	selected string
	turns    int // commands on this connection

	sent     int
	letters  map[string]*letter         // by Subject
	boxes    map[string]*mirroredBox    // by name
	modseq   uint64                     // the highest that was told
	known    map[string]map[uint32]bool // of mailboxes: values of UIDVALIDITY
	found    map[string]string          // messages that a comparison met, and in which mailbox
	commands *atomic.Int64
}

// letter is a message that was sent.
type letter struct {
	where []string // mailboxes where it may be; "" for none. One: it is there
	uid   imap.UID // in that mailbox; 0 while not known
	flags map[imap.Flag]bool
	vague map[imap.Flag]bool // flags of which nobody knows whether they are set
}

// mirroredBox is what is known of the UIDs of a mailbox.
type mirroredBox struct {
	highest imap.UID // that was ever told
	subject map[imap.UID]string
}

// The mailboxes of a mirror.
var mirrored = []string{"INBOX", "Archive"}

// mirrors are the clients of several accounts at once.
type mirrors struct {
	all      []*mirror
	commands atomic.Int64 // that were acknowledged
	stop     context.CancelFunc
	work     sync.WaitGroup
}

// begin adds accounts to a cluster.
func (k *mirrors) begin(t *testing.T, nodes []*server, accounts int) {
	t.Helper()
	for i := range accounts {
		m := &mirror{
			t: t, nodes: nodes, account: fmt.Sprintf("mirror%d@example.org", i), random: rand.New(rand.NewPCG(uint64(i), 2)), at: i % len(nodes),
			letters: map[string]*letter{}, boxes: map[string]*mirroredBox{}, known: map[string]map[uint32]bool{}, commands: &k.commands,
		}
		for _, box := range mirrored {
			m.boxes[box], m.known[box] = &mirroredBox{subject: map[imap.UID]string{}}, map[uint32]bool{}
		}
		if out, err := nodes[0].tryWith(strings.NewReader(password+"\n"), "account", "add", m.account); err != nil {
			t.Fatalf("add %s: %v\n%s", m.account, err, out)
		}
		if got := nodes[0].imapAs(m.account, "STATUS Archive (MESSAGES)"); !strings.Contains(got, "a1 OK ") {
			if got := nodes[0].imapAs(m.account, "CREATE Archive"); !strings.Contains(got, "a1 OK ") {
				t.Fatalf("CREATE is answered %s", got)
			}
		}
		k.all = append(k.all, m)
	}
}

// resume begins the traffic, which ends with the test at the latest.
func (k *mirrors) resume(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	k.stop = cancel
	for _, m := range k.all {
		k.work.Go(func() { m.run(ctx) })
	}
}

// pause ends the traffic for a while.
func (k *mirrors) pause() {
	k.stop()
	k.work.Wait()
}

// wait returns when more commands were acknowledged.
func (k *mirrors) wait(t *testing.T, more int64) {
	t.Helper()
	want := k.commands.Load() + more
	for deadline := time.Now().Add(2 * time.Minute); k.commands.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in two minutes only %d of %d commands were acknowledged", k.commands.Load()+more-want, more)
		}
	}
}

// compare asserts, of every account, that each node shows what the model says.
func (k *mirrors) compare(when string) {
	var all sync.WaitGroup
	for _, m := range k.all {
		all.Go(func() {
			for i := range m.nodes {
				m.leave()
				m.at = i
				m.compare(when)
			}
		})
	}
	all.Wait()
}

// patientConn has one deadline for each command, and none that its user sets.
type patientConn struct{ net.Conn }

func (patientConn) SetDeadline(time.Time) error      { return nil }
func (patientConn) SetReadDeadline(time.Time) error  { return nil }
func (patientConn) SetWriteDeadline(time.Time) error { return nil }

// mirrorPatience is how long a mirror waits for an answer before it turns to another node. A server that has no quorum answers later than that.
const mirrorPatience = 8 * time.Second

func (m *mirror) allow(d time.Duration) { _ = m.conn.Conn.SetDeadline(time.Now().Add(d)) }

// open connects to the node where it is, or to the next that lets it in.
func (m *mirror) open(ctx context.Context, patience time.Duration) bool {
	for ctx.Err() == nil && m.c == nil {
		nc, err := net.DialTimeout("tcp", m.nodes[m.at].addr(1143), time.Second)
		if err == nil {
			m.conn = &patientConn{nc}
			m.allow(patience)
			m.c, m.turns, m.selected = imapclient.New(m.conn, nil), 0, ""
			if err = m.c.Login(m.account, password).Wait(); err == nil {
				return true
			}
		}
		m.next()
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // all may be away
		}
	}
	return m.c != nil
}

func (m *mirror) leave() {
	if m.c != nil {
		m.c.Close()
		m.c = nil
	}
}

// next leaves for another node.
func (m *mirror) next() {
	m.leave()
	m.at = (m.at + 1 + m.random.IntN(len(m.nodes)-1)) % len(m.nodes)
}

func (m *mirror) run(ctx context.Context) {
	defer m.leave()
	for ctx.Err() == nil {
		if !m.open(ctx, mirrorPatience) {
			return
		}
		m.allow(mirrorPatience)
		if m.step() {
			m.commands.Add(1)
		} else {
			m.next()
			continue
		}
		if m.turns++; m.turns%10 == 0 { // every node gets some of the traffic
			m.next()
		}
	}
}

// step does one thing, and tells whether it was acknowledged.
func (m *mirror) step() bool {
	box := mirrored[m.random.IntN(2)]
	subject, l := m.pick(box)
	switch n := m.random.IntN(10); {
	case l == nil && n > 5: // perhaps UIDs of what came by LMTP are not known
		return m.read(box, false)
	case l == nil || n < 2 && m.room():
		return m.deliver()
	case n < 3 && m.room():
		return m.append(box)
	case n < 7:
		return m.store(box, l)
	case n < 8:
		return m.move(box, subject, l)
	case n < 9 && !m.room():
		return m.expunge(box, l)
	}
	return m.read(box, false)
}

// room tells whether there may be more messages.
func (m *mirror) room() bool {
	there := 0
	for _, l := range m.letters {
		if len(l.where) > 1 || l.where[0] != "" {
			there++
		}
	}
	return there < 100
}

// pick chooses a message of which all is known.
func (m *mirror) pick(box string) (string, *letter) {
	var all []string
	for subject, l := range m.letters {
		if len(l.where) == 1 && l.where[0] == box && l.uid != 0 {
			all = append(all, subject)
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	slices.Sort(all)
	subject := all[m.random.IntN(len(all))]
	return subject, m.letters[subject]
}

// choose selects a mailbox on the connection.
func (m *mirror) choose(box string) (*imap.SelectData, bool) {
	data, err := m.c.Select(box, &imap.SelectOptions{CondStore: true}).Wait()
	if err != nil {
		return nil, false
	}
	m.selected = box
	m.known[box][data.UIDValidity] = true
	return data, true
}

func (m *mirror) inside(box string) bool {
	if m.selected == box {
		return true
	}
	_, ok := m.choose(box)
	return ok
}

// issued notes a UID that was given to a new message of a mailbox: it is higher than all before.
func (m *mirror) issued(box, subject string, uid imap.UID, validity uint32) {
	b := m.boxes[box]
	if uid <= b.highest {
		m.t.Errorf("%s: %s was given UID %d of %s, and %d was told before (that one was %s)", m.account, subject, uid, box, b.highest, b.subject[uid])
	}
	b.highest, b.subject[uid] = max(b.highest, uid), subject
	m.known[box][validity] = true
}

// text makes a message with a Subject of its own.
func (m *mirror) text() (subject, text string) {
	m.sent++
	subject = fmt.Sprintf("letter %d of %s", m.sent, m.account)
	return subject, fmt.Sprintf("From: mirror@example.net\r\nSubject: %s\r\nMessage-ID: <%d.%s>\r\n\r\n%s", subject, m.sent, m.account, strings.Repeat("words of a message\r\n", 1+m.random.IntN(100)))
}

func newLetter(where ...string) *letter {
	return &letter{where: where, flags: map[imap.Flag]bool{}, vague: map[imap.Flag]bool{}}
}

func (m *mirror) deliver() bool {
	to := dialLMTPWithin(m.nodes[m.at].addr(1124), mirrorPatience)
	if to == nil {
		return false
	}
	defer to.Close()
	if !to.begin(m.account) {
		return false
	}
	subject, text := m.text()
	m.letters[subject] = newLetter("INBOX", "")
	if !to.ask("250", text+"\r\n.") {
		return false
	}
	m.letters[subject] = newLetter("INBOX")
	return true
}

func (m *mirror) append(box string) bool {
	subject, text := m.text()
	m.letters[subject] = newLetter(box, "")
	cmd := m.c.Append(box, int64(len(text)), nil)
	if _, err := cmd.Write([]byte(text)); err != nil {
		return false
	}
	if err := cmd.Close(); err != nil {
		return false
	}
	data, err := cmd.Wait()
	if err != nil {
		return false
	}
	l := newLetter(box)
	l.uid, m.letters[subject] = data.UID, l
	m.issued(box, subject, data.UID, data.UIDValidity)
	return true
}

func (m *mirror) store(box string, l *letter) bool {
	if !m.inside(box) {
		return false
	}
	flag := []imap.Flag{imap.FlagSeen, imap.FlagFlagged, imap.FlagAnswered, "one", "two"}[m.random.IntN(5)]
	if l.vague[flag] {
		return m.read(box, false)
	}
	op := imap.StoreFlagsAdd
	if l.flags[flag] {
		op = imap.StoreFlagsDel
	}
	changed, err := m.c.Store(imap.UIDSetNum(l.uid), &imap.StoreFlags{Op: op, Flags: []imap.Flag{flag}}, nil).Collect()
	if err != nil {
		l.vague[flag] = true
		return false
	}
	l.flags[flag] = !l.flags[flag]
	for _, c := range changed {
		if c.UID != l.uid || c.ModSeq == 0 {
			continue
		}
		if c.ModSeq <= m.modseq {
			m.t.Errorf("%s: on %s a change of UID %d of %s was given MODSEQ %d, and %d was told before", m.account, m.nodes[m.at].data, l.uid, box, c.ModSeq, m.modseq)
		}
		m.modseq = max(m.modseq, c.ModSeq)
	}
	return true
}

func (m *mirror) move(box, subject string, l *letter) bool {
	if !m.inside(box) {
		return false
	}
	to := mirrored[0]
	if box == to {
		to = mirrored[1]
	}
	l.where = []string{box, to}
	data, err := m.c.Move(imap.UIDSetNum(l.uid), to).Wait()
	if err != nil {
		return false
	}
	l.where, l.uid = []string{to}, 0
	if uids, ok := data.DestUIDs.(imap.UIDSet); ok && len(uids) == 1 {
		l.uid = uids[0].Start
		m.issued(to, subject, l.uid, data.UIDValidity)
	}
	return true
}

func (m *mirror) expunge(box string, l *letter) bool {
	if !m.inside(box) {
		return false
	}
	l.where = append(l.where, "")
	uid := imap.UIDSetNum(l.uid)
	if err := m.c.Store(uid, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		return false
	}
	if err := m.c.UIDExpunge(uid).Close(); err != nil {
		return false
	}
	l.where = []string{""}
	return true
}

// read learns the UIDs of a mailbox that are not known yet. In quiet, when nothing is on its way and no node is cut off, all must be as the model says.
func (m *mirror) read(box string, quiet bool) bool {
	data, ok := m.choose(box)
	if !ok {
		return false
	}
	var messages []*imapclient.FetchMessageBuffer
	if data.NumMessages > 0 {
		var err error
		if messages, err = m.c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, ModSeq: true, Envelope: true}).Collect(); err != nil {
			return false
		}
	}
	b, seen := m.boxes[box], map[string]bool{}
	for _, x := range messages {
		subject := x.Envelope.Subject
		l := m.letters[subject]
		if l == nil || !slices.Contains(l.where, box) && quiet {
			m.t.Errorf("%s: UID %d of %s on %s is %q, which should not be there", m.account, x.UID, box, m.nodes[m.at].data, subject)
			continue
		}
		if seen[subject] {
			m.t.Errorf("%s: %q is twice in %s", m.account, subject, box)
		}
		seen[subject] = true
		if other := m.found[subject]; quiet && other != "" {
			m.t.Errorf("%s: %q is in %s and in %s", m.account, subject, other, box)
		} else if quiet {
			m.found[subject] = box
		}
		if was := b.subject[x.UID]; was != "" && was != subject {
			m.t.Errorf("%s: UID %d of %s was %q and is %q", m.account, x.UID, box, was, subject)
		}
		b.subject[x.UID], b.highest = subject, max(b.highest, x.UID)
		if x.UID >= data.UIDNext {
			m.t.Errorf("%s: UID %d of %s is not below UIDNEXT %d", m.account, x.UID, box, data.UIDNext)
		}
		if len(l.where) == 1 && l.where[0] == box && l.uid == 0 {
			l.uid = x.UID
		}
		if quiet && len(l.where) == 1 {
			m.check(box, l, x)
		}
	}
	if !quiet {
		return true
	}
	if data.HighestModSeq < m.modseq {
		m.modseqBack(box, data.HighestModSeq)
	}
	for subject, l := range m.letters {
		if len(l.where) == 1 && l.where[0] == box && !seen[subject] {
			m.t.Errorf("%s: %q, which was acknowledged, is not in %s on %s", m.account, subject, box, m.nodes[m.at].data)
		}
	}
	return true
}

// modseqBack looks at the whole account: the highest MODSEQ of one mailbox need not be that of the account.
func (m *mirror) modseqBack(box string, highest uint64) {
	for _, other := range mirrored {
		status, err := m.c.Status(other, &imap.StatusOptions{HighestModSeq: true}).Wait()
		if err != nil {
			return
		}
		highest = max(highest, status.HighestModSeq)
	}
	if highest < m.modseq {
		m.t.Errorf("%s: HIGHESTMODSEQ of %s is %d, and %d was told before", m.account, box, highest, m.modseq)
	}
}

func (m *mirror) check(box string, l *letter, x *imapclient.FetchMessageBuffer) {
	if l.uid != x.UID {
		m.t.Errorf("%s: %q of %s has UID %d, and had %d", m.account, x.Envelope.Subject, box, x.UID, l.uid)
	}
	has := map[imap.Flag]bool{}
	for _, f := range x.Flags {
		if f != `\Recent` {
			has[f] = true
		}
	}
	for flag := range l.vague {
		delete(has, flag)
	}
	want := map[imap.Flag]bool{}
	for flag, set := range l.flags {
		if set && !l.vague[flag] {
			want[flag] = true
		}
	}
	if !maps.Equal(has, want) {
		m.t.Errorf("%s: UID %d of %s has the flags %v on %s, want %v", m.account, x.UID, box, has, m.nodes[m.at].data, want)
	}
}

// compare asserts that the node shows what was acknowledged, each message once in all mailboxes.
func (m *mirror) compare(when string) {
	m.t.Helper()
	if !m.open(m.t.Context(), time.Minute) {
		m.t.Errorf("%s: nobody lets %s in", when, m.account)
		return
	}
	m.allow(time.Minute)
	m.found = map[string]string{}
	for _, box := range mirrored {
		if !m.read(box, true) {
			m.t.Errorf("%s: %s cannot be read on %s", when, box, m.nodes[m.at].data)
		}
		if n := len(m.known[box]); n > 1 {
			m.t.Errorf("%s: %s of %s had %d values of UIDVALIDITY", when, box, m.account, n)
		}
	}
}
