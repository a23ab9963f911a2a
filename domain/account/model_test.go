package account

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"pgregory.net/rapid"
)

// model is an account as a mail user thinks of it: boxes of letters with words on them. It follows commands, not events.
type model struct {
	boxes      map[string]*box
	subscribed map[string]bool
	limits     Limits
	tx         domain.Tx
	usedUIDs   map[string]bool // "UIDVALIDITY/UID": never twice
}

type box struct {
	letters []letter
	next    domain.UID
	modseq  domain.Tx
}

type letter struct {
	uid                   domain.UID
	flags                 map[string]bool // lower case
	size, internal, saved int64
	modseq                domain.Tx
}

func (b *box) find(uid domain.UID) int {
	return slices.IndexFunc(b.letters, func(l letter) bool { return l.uid == uid })
}

func (b *box) put(l letter, tx domain.Tx) {
	l.uid, l.modseq, l.flags = b.next, tx, maps.Clone(l.flags)
	b.next++
	b.letters = append(b.letters, l)
	b.modseq = tx
}

// usage sums sizes and counts letters.
func (m *model) usage() (bytes, messages int64) {
	for _, b := range m.boxes {
		for _, l := range b.letters {
			bytes += l.size
			messages++
		}
	}
	return bytes, messages
}

func lower(names []string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		if n = strings.ToLower(n); n != `\recent` {
			set[n] = true
		}
	}
	return set
}

// follow does what the command asks, given that the aggregate accepted it; it reports whether anything changed.
func (m *model) follow(s *State, c Command) (changed bool) {
	tx := m.tx + 1
	name := func(id domain.MailboxID) string { return s.Mailboxes[id].Name }
	switch c := c.(type) {
	case CreateMailbox:
		m.boxes[CanonicalName(c.Name)] = &box{next: 1, modseq: tx}
		return true
	case DeleteMailbox:
		delete(m.boxes, CanonicalName(c.Name))
		return true
	case RenameMailbox:
		from, to := CanonicalName(c.From), CanonicalName(c.To)
		if from == Inbox {
			b := &box{next: 1, modseq: tx}
			for _, l := range m.boxes[Inbox].letters {
				l.saved = c.Now
				b.put(l, tx)
			}
			if len(b.letters) > 0 {
				m.boxes[Inbox].letters, m.boxes[Inbox].modseq = nil, tx
			}
			m.boxes[to] = b
			return true
		}
		renamed := map[string]*box{}
		for name, b := range m.boxes {
			if name == from || strings.HasPrefix(name, from+"/") {
				name = to + strings.TrimPrefix(name, from)
			}
			renamed[name] = b
		}
		m.boxes = renamed
		return true
	case Subscribe:
		name := CanonicalName(c.Name)
		changed = m.subscribed[name] != c.On
		if c.On {
			m.subscribed[name] = true
		} else {
			delete(m.subscribed, name)
		}
		return changed
	case SetLimits:
		changed = m.limits != c.Limits
		m.limits = c.Limits
		return changed
	case AddMessage:
		b := m.boxes[CanonicalName(c.Mailbox)]
		if b == nil {
			b = m.boxes[Inbox]
		}
		b.put(letter{flags: lower(c.Flags), size: c.Blob.Size, internal: c.Internal, saved: c.Now}, tx)
		return true
	case StoreFlags:
		b := m.boxes[name(c.Mailbox)]
		for uid := range c.UIDs.All() {
			i := b.find(uid)
			if i < 0 || c.UnchangedSince != nil && b.letters[i].modseq > *c.UnchangedSince {
				continue
			}
			flags := maps.Clone(b.letters[i].flags)
			if c.Mode == ReplaceFlags {
				flags = map[string]bool{}
			}
			for f := range lower(c.Flags) {
				if c.Mode == RemoveFlags {
					delete(flags, f)
				} else {
					flags[f] = true
				}
			}
			if !maps.Equal(flags, b.letters[i].flags) {
				b.letters[i].flags, b.letters[i].modseq, b.modseq, changed = flags, tx, tx, true
			}
		}
		return changed
	case Transfer:
		from, to := m.boxes[name(c.From)], m.boxes[CanonicalName(c.To)]
		var rows []letter
		for _, l := range from.letters {
			if c.UIDs.Contains(l.uid) {
				rows = append(rows, l)
			}
		}
		for _, l := range rows {
			l.saved = c.Now
			to.put(l, tx)
		}
		if c.Move && len(rows) > 0 {
			from.modseq = tx
			from.letters = slices.DeleteFunc(from.letters, func(l letter) bool {
				return slices.ContainsFunc(rows, func(r letter) bool { return r.uid == l.uid })
			})
		}
		return len(rows) > 0
	case Expunge:
		b := m.boxes[name(c.Mailbox)]
		before := len(b.letters)
		b.letters = slices.DeleteFunc(b.letters, func(l letter) bool {
			return l.flags[`\deleted`] && (c.UIDs == nil || c.UIDs.Contains(l.uid))
		})
		if changed = len(b.letters) < before; changed {
			b.modseq = tx
		}
		return changed
	}
	panic(fmt.Sprintf("the model does not know %T", c))
}

// agrees compares the aggregate with the model.
func (m *model) agrees(t *rapid.T, s *State) {
	if len(s.Mailboxes) != len(m.boxes) {
		t.Fatalf("%d mailboxes, the model has %d", len(s.Mailboxes), len(m.boxes))
	}
	if !maps.Equal(s.Subscribed, m.subscribed) {
		t.Fatalf("subscribed %v, the model %v", s.Subscribed, m.subscribed)
	}
	for name, b := range m.boxes {
		got, ok := s.Mailbox(name)
		if !ok {
			t.Fatalf("mailbox %q is missing", name)
		}
		if got.UIDNext != b.next || got.ModSeq != b.modseq || got.Len() != len(b.letters) {
			t.Fatalf("%q: UIDNEXT %d, HIGHESTMODSEQ %d, %d messages; the model has %d, %d, %d", name, got.UIDNext, got.ModSeq, got.Len(), b.next, b.modseq, len(b.letters))
		}
		for i, l := range b.letters {
			r := got.At(i)
			flags := lower(s.FlagNames(r.Flags))
			if r.UID != l.uid || r.Modified != l.modseq || r.Size != l.size || r.Internal != l.internal || r.Saved != l.saved || !maps.Equal(flags, l.flags) {
				t.Fatalf("%q: message %d is %+v with %v, the model has %+v", name, i, r, flags, l)
			}
		}
	}
}

// sound checks the invariants of the package comment.
func sound(t *rapid.T, s *State) {
	if inbox := s.Mailboxes[1]; inbox == nil || inbox.Name != Inbox {
		t.Fatalf("mailbox 1 is %v", inbox)
	}
	var usage event.Delta
	emails := map[domain.EmailID]domain.ThreadID{}
	for id, m := range s.Mailboxes {
		var counts event.Delta
		var last domain.UID
		if m.ID != id || id >= s.NextMailbox || s.names[m.Name] != id || m.UIDValidity > s.LastUIDValidity || m.UIDValidity == 0 {
			t.Fatalf("mailbox %d is misfiled: %+v", id, m)
		}
		for i := range m.Len() {
			r := m.At(i)
			if r.UID <= last || r.UID >= m.UIDNext || r.Modified > m.ModSeq || r.Modified == 0 || r.Email >= s.NextEmail {
				t.Fatalf("message %+v after UID %d in %+v", r, last, m)
			}
			if thread, known := emails[r.Email]; known && thread != r.Thread {
				t.Fatalf("email %d is in threads %d and %d", r.Email, thread, r.Thread)
			}
			emails[r.Email] = r.Thread
			last = r.UID
			counts = counts.Plus(event.DeltaOf(r.Flags, r.Size))
			if r.Flags>>(event.SystemFlags+len(s.Keywords)) != 0 {
				t.Fatalf("message %+v has a keyword that nobody named", r)
			}
		}
		if counts != m.Counts || m.ModSeq > s.Tx {
			t.Fatalf("mailbox %q counts %+v at %d, a recount gives %+v", m.Name, m.Counts, m.ModSeq, counts)
		}
		usage = usage.Plus(counts)
	}
	if usage != s.Usage || len(s.names) != len(s.Mailboxes) {
		t.Fatalf("usage %+v, a recount gives %+v; %d names of %d mailboxes", s.Usage, usage, len(s.names), len(s.Mailboxes))
	}
}

var someFlagsAllowed = []string{`\Deleted`, "work", `\Seen`}

var (
	someNames   = rapid.SampledFrom([]string{"INBOX", "inbox/x", "a", "a/b", "a/b/b", "a/c/", "b", "Sent", "Trash", "é", "e\u0301", "", "a//b", "#x", "a*"})
	someFlags   = rapid.SliceOfN(rapid.SampledFrom([]string{`\Seen`, `\deleted`, `\Flagged`, `\Answered`, `\Draft`, `\Recent`, "$Junk", "$junk", "work", `\Strange`, "bad flag"}), 0, 4)
	someMailbox = rapid.Custom(func(t *rapid.T) domain.MailboxID {
		return domain.MailboxID(rapid.SampledFrom([]int{1, 1, 1, 2, 3, 5, 6, 7, 8}).Draw(t, "mailbox"))
	})
	someValidity = rapid.Uint32Range(0, 40)
	someTime     = rapid.Int64Range(0, 1000)
	someUIDs     = rapid.Custom(func(t *rapid.T) domain.UIDSet {
		var s domain.UIDSet
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			s = s.AddRange(domain.UID(rapid.IntRange(1, 12).Draw(t, "lo")), domain.UID(rapid.IntRange(1, 12).Draw(t, "hi")))
		}
		return s
	})
)

var someCommand = rapid.Custom(func(t *rapid.T) Command {
	switch rapid.IntRange(0, 13).Draw(t, "kind") {
	case 0:
		return CreateMailbox{someNames.Draw(t, "name"), rapid.SampledFrom([]string{"", "", `\sent`, `\Important`, `\All`}).Draw(t, "use"), someValidity.Draw(t, "validity")}
	case 1:
		return DeleteMailbox{someNames.Draw(t, "name")}
	case 2:
		return RenameMailbox{someNames.Draw(t, "from"), someNames.Draw(t, "to"), someTime.Draw(t, "now"), someValidity.Draw(t, "validity")}
	case 3:
		return Subscribe{someNames.Draw(t, "name"), rapid.Bool().Draw(t, "on")}
	case 4:
		return SetLimits{Limits{rapid.Int64Range(-1, 300).Draw(t, "bytes"), rapid.Int64Range(-1, 20).Draw(t, "messages")}}
	case 5, 6, 7:
		return AddMessage{
			Mailbox: someNames.Draw(t, "name"), Blob: domain.BlobRef{Size: rapid.Int64Range(0, 50).Draw(t, "size")},
			Summary: message.Summary{Preview: rapid.StringN(0, 5, 20).Draw(t, "preview")},
			Flags:   someFlags.Draw(t, "flags"), Internal: someTime.Draw(t, "internal"), Now: someTime.Draw(t, "now"),
			Thread: domain.ThreadID(rapid.IntRange(0, 5).Draw(t, "thread")), Fallback: rapid.Bool().Draw(t, "fallback"),
		}
	case 8, 9, 10:
		c := StoreFlags{Mailbox: someMailbox.Draw(t, "mailbox"), UIDs: someUIDs.Draw(t, "uids"), Mode: StoreMode(rapid.IntRange(0, 2).Draw(t, "mode")), Flags: someFlags.Draw(t, "flags")}
		if rapid.Bool().Draw(t, "conditional") {
			since := domain.Tx(rapid.IntRange(0, 30).Draw(t, "since"))
			c.UnchangedSince = &since
		}
		return c
	case 11, 12:
		return Transfer{someMailbox.Draw(t, "from"), someNames.Draw(t, "to"), someUIDs.Draw(t, "uids"), rapid.Bool().Draw(t, "move"), someTime.Draw(t, "now")}
	}
	return Expunge{someMailbox.Draw(t, "mailbox"), someUIDs.Draw(t, "uids")}
})

// TestRandomCommands runs random commands and checks after each that the aggregate agrees with the model, keeps its invariants, is left alone
// by Decide, and is what a replay of the encoded log gives.
func TestRandomCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		m := &model{boxes: map[string]*box{}, subscribed: map[string]bool{}, usedUIDs: map[string]bool{}}
		var log [][]byte
		commit := func(events []event.Event) {
			log = append(log, event.Marshal(&event.Transaction{Events: events}))
			m.tx++
			for _, e := range events {
				s.Apply(m.tx, e)
			}
		}
		events, err := Decide(s, Open{UIDValidity: 7})
		if err != nil {
			t.Fatal(err)
		}
		commit(events)
		for _, b := range s.Sorted() {
			m.boxes[b.Name], m.subscribed[b.Name] = &box{next: 1, modseq: 1}, true
		}
		for i := range 8 {
			c := AddMessage{Mailbox: Inbox, Blob: domain.BlobRef{Size: int64(i)}, Flags: someFlagsAllowed[:i%4]}
			events, err := Decide(s, c)
			if err != nil {
				t.Fatal(err)
			}
			m.newUIDs(t, s, events)
			m.follow(s, c)
			commit(events)
		}
		t.Repeat(map[string]func(*rapid.T){
			"command": func(t *rapid.T) {
				c := someCommand.Draw(t, "command")
				before := replay(log)
				events, err := Decide(s, c)
				if !reflect.DeepEqual(before, s) {
					t.Fatalf("Decide(%+v) changed the state", c)
				}
				if err != nil {
					if domain.KindOf(err) == domain.Internal || events != nil {
						t.Fatalf("Decide(%+v) gave %v and %v", c, events, err)
					}
					return
				}
				m.newUIDs(t, s, events)
				changed := m.follow(s, c)
				if changed != (len(events) > 0) {
					t.Fatalf("%+v gave %v, but the model changed: %v", c, events, changed)
				}
				if changed {
					commit(events)
				}
				if bytes, messages := m.usage(); bytes != s.Usage.Bytes || messages != s.Usage.Messages {
					t.Fatalf("usage %+v, the model %d octets in %d messages", s.Usage, bytes, messages)
				}
			},
			"": func(t *rapid.T) {
				sound(t, s)
				m.agrees(t, s)
				if again := replay(log); !reflect.DeepEqual(again, s) {
					t.Fatalf("a replay of the log gives\n%+v\nnot\n%+v", again, s)
				}
			},
		})
	})
}

// newUIDs checks that events use no (UIDVALIDITY, UID) a second time.
func (m *model) newUIDs(t *rapid.T, s *State, events []event.Event) {
	validity := map[domain.MailboxID]uint32{}
	for id, b := range s.Mailboxes {
		validity[id] = b.UIDValidity
	}
	use := func(id domain.MailboxID, first domain.UID, n int) {
		for i := range n {
			key := fmt.Sprint(validity[id], "/", int(first)+i)
			if m.usedUIDs[key] {
				t.Fatalf("UIDVALIDITY/UID %s is used twice", key)
			}
			m.usedUIDs[key] = true
		}
	}
	for _, e := range events {
		switch e := e.(type) {
		case *event.MailboxCreated:
			validity[e.Mailbox] = e.UIDValidity
		case *event.MessageAdded:
			use(e.Mailbox, e.UID, 1)
		case *event.MessagesCopied:
			use(e.To, e.First, e.UIDs.Len())
		case *event.MessagesMoved:
			use(e.To, e.First, e.UIDs.Len())
		}
	}
}

func replay(log [][]byte) *State {
	s := New()
	for i, raw := range log {
		t, err := event.Unmarshal(raw)
		if err != nil {
			panic(err)
		}
		for _, e := range t.Events {
			s.Apply(domain.Tx(i+1), e)
		}
	}
	return s
}
