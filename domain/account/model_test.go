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
	notes      map[string]string
	copied     int64 // octets of annotations that went beyond limits, by renaming INBOX
	primary    Primary
	tx         domain.Tx
	usedUIDs   map[string]bool // "UIDVALIDITY/UID": never twice
}

type box struct {
	notes   map[string]string
	rights  map[Identifier]string // letters in any order
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
		m.create(CanonicalName(c.Name), tx)
		return true
	case SetRights:
		b := m.boxes[CanonicalName(c.Mailbox)]
		old, want := b.rights[c.Identifier], ""
		for _, letter := range "lrswipkxtea" {
			had, named := strings.ContainsRune(old, letter), strings.ContainsRune(c.Rights.String(), letter)
			if c.Mode == ReplaceRights && named || c.Mode == AddRights && (had || named) || c.Mode == RemoveRights && had && !named {
				want += string(letter)
			}
		}
		if b.rights[c.Identifier] = want; want == "" {
			delete(b.rights, c.Identifier)
		}
		return want != old
	case DeleteMailbox:
		delete(m.boxes, CanonicalName(c.Name))
		return true
	case RenameMailbox:
		from, to := CanonicalName(c.From), CanonicalName(c.To)
		if from == Inbox {
			b := m.create(to, tx)
			for _, l := range m.boxes[Inbox].letters {
				l.saved = c.Now
				b.put(l, tx)
			}
			if len(b.letters) > 0 {
				m.boxes[Inbox].letters, m.boxes[Inbox].modseq = nil, tx
			}
			b.notes = maps.Clone(m.boxes[Inbox].notes)
			m.copied += Metadata(b.notes).octets()
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
	case SetMetadata:
		notes := &m.notes
		if c.Mailbox != "" {
			notes = &m.boxes[CanonicalName(c.Mailbox)].notes
		}
		for _, change := range c.Changes {
			entry := strings.ToLower(change.Entry)
			old, there := (*notes)[entry]
			if change.Value == nil {
				changed = changed || there
				delete(*notes, entry)
				continue
			}
			if *notes == nil {
				*notes = map[string]string{}
			}
			changed = changed || !there || old != *change.Value
			(*notes)[entry] = *change.Value
		}
		if changed && c.Mailbox != "" {
			m.boxes[CanonicalName(c.Mailbox)].modseq = tx // RFC 7162 section 3.2.
		}
		return changed
	case ResetAccessKeys:
		return true
	case Promote:
		if changed = c.Node != m.primary.Node; changed {
			m.primary = Primary{m.primary.Epoch + 1, c.Node}
		}
		return changed
	case SetLimits:
		changed = m.limits != c.Limits
		m.limits = c.Limits
		return changed
	case AddMessage:
		m.add(c, tx)
		return true
	case AddMessages:
		for _, add := range c {
			m.add(add, tx)
		}
		return len(c) > 0
	case Replace:
		m.add(c.With, tx)
		b := m.boxes[name(c.From)]
		b.letters, b.modseq = slices.Delete(b.letters, b.find(c.UID), b.find(c.UID)+1), tx
		return true
	case StoreFlags:
		b := m.boxes[name(c.Mailbox)]
		for uid := range c.UIDs.All() {
			i := b.find(uid)
			if i < 0 {
				continue
			}
			if c.UnchangedSince != nil && *c.UnchangedSince > 0 && b.letters[i].modseq > *c.UnchangedSince {
				continue
			}
			if c.UnchangedSince != nil && *c.UnchangedSince == 0 { // RFC 7162 section 3.1.3: flags that exist fail, and system flags always exist.
				exists := c.Mode == ReplaceFlags
				for f := range lower(c.Flags) {
					exists = exists || f[0] == '\\' || b.letters[i].flags[f]
				}
				if exists {
					continue
				}
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
			return (c.Any || l.flags[`\deleted`]) && (c.UIDs == nil || c.UIDs.Contains(l.uid))
		})
		if changed = len(b.letters) < before; changed {
			b.modseq = tx
		}
		return changed
	}
	panic(fmt.Sprintf("the model does not know %T", c))
}

// create makes a box with the rights of the one above it.
func (m *model) create(name string, tx domain.Tx) *box {
	b := &box{next: 1, modseq: tx, rights: map[Identifier]string{}}
	for above := name; strings.Contains(above, "/"); {
		above = above[:strings.LastIndex(above, "/")]
		if parent := m.boxes[above]; parent != nil {
			b.rights = maps.Clone(parent.rights)
			break
		}
	}
	m.boxes[name] = b
	return b
}

func (m *model) add(c AddMessage, tx domain.Tx) {
	b := m.boxes[CanonicalName(c.Mailbox)]
	if b == nil {
		b = m.boxes[Inbox]
	}
	b.put(letter{flags: lower(c.Flags), size: c.Blob.Size, internal: c.Internal, saved: c.Now}, tx)
}

// agrees compares the aggregate with the model.
func (m *model) agrees(t *rapid.T, s *State) {
	if len(s.Mailboxes) != len(m.boxes) {
		t.Fatalf("%d mailboxes, the model has %d", len(s.Mailboxes), len(m.boxes))
	}
	if !maps.Equal(s.Subscribed, m.subscribed) {
		t.Fatalf("subscribed %v, the model %v", s.Subscribed, m.subscribed)
	}
	if !maps.Equal(s.Metadata, m.notes) {
		t.Fatalf("annotations %v, the model %v", s.Metadata, m.notes)
	}
	if s.Primary != m.primary {
		t.Fatalf("primary %v, the model %v", s.Primary, m.primary)
	}
	octets := s.Metadata.octets()
	for name, b := range m.boxes {
		got, ok := s.Mailbox(name)
		if !ok {
			t.Fatalf("mailbox %q is missing", name)
		}
		if got.UIDNext != b.next || got.ModSeq != b.modseq || got.Len() != len(b.letters) {
			t.Fatalf("%q: UIDNEXT %d, HIGHESTMODSEQ %d, %d messages; the model has %d, %d, %d", name, got.UIDNext, got.ModSeq, got.Len(), b.next, b.modseq, len(b.letters))
		}
		if !maps.Equal(got.Metadata, b.notes) {
			t.Fatalf("%q: annotations %v, the model %v", name, got.Metadata, b.notes)
		}
		octets += got.Metadata.octets()
		if len(got.ACL) != len(b.rights) {
			t.Fatalf("%q: rights %v, the model %v", name, got.ACL, b.rights)
		}
		for who, rights := range b.rights {
			if got.ACL[who].String() != rights {
				t.Fatalf("%q: %s has the rights %s, in the model %s", name, who, got.ACL[who], rights)
			}
		}
		for i, l := range b.letters {
			r := got.At(i)
			flags := lower(s.FlagNames(r.Flags))
			if r.UID != l.uid || r.Modified != l.modseq || r.Size != l.size || r.Internal != l.internal || r.Saved != l.saved || !maps.Equal(flags, l.flags) {
				t.Fatalf("%q: message %d is %+v with %v, the model has %+v", name, i, r, flags, l)
			}
		}
	}
	if octets != s.MetadataOctets || octets > 80+m.copied {
		t.Fatalf("annotations of %d octets are counted as %d", octets, s.MetadataOctets)
	}
}

// someChange is about few entries, so that they are set, set again and removed.
var someChange = rapid.Custom(func(t *rapid.T) MetadataChange {
	c := MetadataChange{Entry: rapid.SampledFrom([]string{"/private/comment", "/Private/Comment", "/shared/comment", "/shared/vendor/x/y", "/x"}).Draw(t, "entry")}
	if rapid.Bool().Draw(t, "set") {
		value := rapid.SampledFrom([]string{"", "a", "\x00\xff", "too long"}).Draw(t, "value")
		c.Value = &value
	}
	return c
})

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
		if m.Digest != m.Recount() {
			t.Fatalf("mailbox %q has digest %s, a recount gives %s", m.Name, m.Digest, m.Recount())
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

// bob does not own the account.
var bob = domain.NewAccountID([10]byte{2})

var someIdentifier = rapid.SampledFrom([]Identifier{Identifier(bob), Identifier(bob), Identifier(bob).Negative(), Anyone, Anyone.Negative(), "nobody", "--anyone", ""})

var someMessage = rapid.Custom(func(t *rapid.T) AddMessage {
	return AddMessage{
		Mailbox: someNames.Draw(t, "name"), Blob: domain.BlobRef{Size: rapid.Int64Range(0, 50).Draw(t, "size")},
		Summary: message.Summary{
			Preview: rapid.StringN(0, 5, 20).Draw(t, "preview"), Keys: rapid.SliceOfN(rapid.Uint64Range(1, 9), 0, 2).Draw(t, "keys"),
		},
		Flags: someFlags.Draw(t, "flags"), Internal: someTime.Draw(t, "internal"), Now: someTime.Draw(t, "now"),
		Thread: domain.ThreadID(rapid.IntRange(0, 5).Draw(t, "thread")), Fallback: rapid.Bool().Draw(t, "fallback"),
	}
})

var someCommand = rapid.Custom(func(t *rapid.T) Command {
	switch rapid.IntRange(0, 21).Draw(t, "kind") {
	case 0:
		return CreateMailbox{someNames.Draw(t, "name"), rapid.SampledFrom([]string{"", "", `\sent`, `\Important`, `\All`}).Draw(t, "use"), someValidity.Draw(t, "validity")}
	case 1:
		return DeleteMailbox{someNames.Draw(t, "name")}
	case 2:
		return RenameMailbox{From: someNames.Draw(t, "from"), To: someNames.Draw(t, "to"), Now: someTime.Draw(t, "now"), UIDValidity: someValidity.Draw(t, "validity")}
	case 3:
		return Subscribe{someNames.Draw(t, "name"), rapid.Bool().Draw(t, "on")}
	case 4:
		return SetLimits{Limits{
			rapid.Int64Range(-1, 300).Draw(t, "bytes"), rapid.Int64Range(-1, 20).Draw(t, "messages"), rapid.Int64Range(-1, 9).Draw(t, "mailboxes"),
		}}
	case 5, 6, 7:
		return someMessage.Draw(t, "message")
	case 14:
		return AddMessages(rapid.SliceOfN(someMessage, 0, 3).Draw(t, "messages"))
	case 19, 20:
		return SetRights{
			Mailbox: rapid.SampledFrom([]string{"INBOX", "a", "b", "a/b"}).Draw(t, "name"), Identifier: someIdentifier.Draw(t, "who"),
			Mode: RightsMode(rapid.IntRange(0, 2).Draw(t, "mode")), Rights: Rights(rapid.Uint16().Draw(t, "rights")),
		}
	case 21:
		c := Promote{Node: rapid.SampledFrom([]string{"mail1", "mail2", "mail3", ""}).Draw(t, "node"), Reason: "a test"}
		if rapid.Bool().Draw(t, "expecting") {
			epoch := rapid.Uint64Range(0, 4).Draw(t, "epoch")
			c.Expected = &epoch
		}
		return c
	case 18:
		return ResetAccessKeys{Mailbox: rapid.SampledFrom([]string{"", "INBOX", "a", "b"}).Draw(t, "name")}
	case 16, 17:
		return SetMetadata{
			Mailbox: rapid.SampledFrom([]string{"", "INBOX", "a", "b"}).Draw(t, "name"),
			Changes: rapid.SliceOfN(someChange, 1, 3).Draw(t, "changes"), Limits: MetadataLimits{Value: 5, Entries: 2, Octets: 80},
		}
	case 15:
		return Replace{someMailbox.Draw(t, "mailbox"), domain.UID(rapid.IntRange(0, 12).Draw(t, "uid")), someMessage.Draw(t, "message")}
	case 8, 9, 10:
		c := StoreFlags{Mailbox: someMailbox.Draw(t, "mailbox"), UIDs: someUIDs.Draw(t, "uids"), Mode: StoreMode(rapid.IntRange(0, 2).Draw(t, "mode")), Flags: someFlags.Draw(t, "flags")}
		if rapid.Bool().Draw(t, "conditional") {
			since := domain.Tx(rapid.IntRange(0, 30).Draw(t, "since"))
			c.UnchangedSince = &since
		}
		return c
	case 11, 12:
		return Transfer{
			From: someMailbox.Draw(t, "from"), To: someNames.Draw(t, "to"), UIDs: someUIDs.Draw(t, "uids"), Move: rapid.Bool().Draw(t, "move"), Now: someTime.Draw(t, "now"),
		}
	}
	return Expunge{someMailbox.Draw(t, "mailbox"), someUIDs.Draw(t, "uids"), rapid.Bool().Draw(t, "any")}
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
			m.subscribed[b.Name] = true
			m.create(b.Name, 1)
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
				boxes := len(m.boxes)
				changed := m.follow(s, c)
				if most := int(m.limits.Mailboxes); most > 0 && len(m.boxes) > max(boxes, most) {
					t.Fatalf("%+v makes mailbox %d of %d", c, len(m.boxes), most)
				}
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
