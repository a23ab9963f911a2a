package account

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"pgregory.net/rapid"
)

// exampleState is an account with something of everything that a digest covers.
func exampleState() *State {
	s := New()
	for tx, e := range []event.Event{
		&event.MailboxCreated{Mailbox: 1, Name: Inbox, UIDValidity: 7},
		&event.MailboxCreated{Mailbox: 2, Name: "Löschen/1", SpecialUse: `\Trash`, UIDValidity: 8},
		&event.KeywordCreated{Number: 0, Name: "$Junk"},
		&event.SubscriptionChanged{Name: "Löschen/1", Subscribed: true},
		&event.LimitsChanged{Bytes: 1 << 40, Messages: 1000},
		&event.MessageAdded{Mailbox: 1, UID: 1, Email: 1, Thread: 1, Blob: domain.BlobRef{Size: 2048}, Internal: -1, Saved: 1_800_000_000},
		&event.MessageAdded{Mailbox: 1, UID: 2, Email: 2, Thread: 1, Blob: domain.BlobRef{Size: 1 << 33}, Flags: event.Seen | event.KeywordFlag(0), Saved: 1_800_000_001},
		&event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(1), Add: event.Seen, Delta: event.Delta{Unseen: -1}},
		&event.MessagesCopied{From: 1, To: 2, UIDs: domain.UIDs(1, 2), First: 1, Saved: 1_800_000_002, Delta: event.Delta{Messages: 2, Bytes: 2048 + 1<<33}},
		&event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDs(2), Delta: event.Delta{Messages: -1, Bytes: -(1 << 33)}},
	} {
		s.Apply(domain.Tx(tx+1), e)
	}
	return s
}

// TestDigestIsForEver fails when somebody changes what digests are made of. Nodes of other builds would then call every account damaged: a digest
// by another rule needs another name in views and on the wire.
func TestDigestIsForEver(t *testing.T) {
	s := exampleState()
	for _, c := range []struct {
		what string
		got  Digest
		want string
	}{
		{"a message", s.Mailboxes[1].At(0).Digest(), "dd97c476606b6151"},
		{"its flags", FlagsDigest(1, event.Seen, 8), "24de03a1d2c6417f"},
		{"no message", (&Mailbox{}).Recount(), "0000000000000000"},
		{"INBOX", s.Mailboxes[1].Digest, "dd97c476606b6151"},
		{"the other mailbox", s.Mailboxes[2].Digest, "436b12ccaeea802a"},
		{"its row", s.Mailboxes[2].RowDigest(), "9657274c5096ec28"},
		{"a subscription", SubscriptionDigest("Löschen/1"), "029e84b87a31c8d2"},
		{"a keyword", KeywordDigest(0, "$Junk"), "bbda1c3f3cc705fb"},
		{"the facts", FactsDigest(3, 3, 8, 0, s.Limits), "bcec37dfb769159a"},
		{"the facts with a limit of mailboxes", FactsDigest(3, 3, 8, 0, Limits{Bytes: s.Limits.Bytes, Messages: s.Limits.Messages, Mailboxes: 5}), "01acb9c975454f28"},
		{"an annotation", MetadataDigest(1, "/private/comment", "to do"), "787c8184de59d8bb"},
		{"a right", RightsDigest(1, Anyone, MayLookup|MayRead), "d9ae77682707f968"},
		{"a reset of access keys", AccessDigest(1, 5), "dcd5fd889e39c650"},
		{"a primary", PrimaryDigest(Primary{Epoch: 3, Node: "mail2"}), "e9ea0a15932a0e46"},
		{"the account", s.Digest(), "d4f930c3de80cafe"},
		{"an account before its first transaction", New().Digest(), "f4277289dac7d44d"},
	} {
		if got := c.got.String(); got != c.want {
			t.Errorf("%s has digest %s, it was %s", c.what, got, c.want)
		}
	}
}

// Whatever is otherwise in an account shows in its digest.
func TestDigestCoversEverything(t *testing.T) {
	whole := exampleState().Digest()
	for name, change := range map[string]func(*State){
		"name":                 func(s *State) { s.Mailboxes[2].Name = "Löschen/2" },
		"special use":          func(s *State) { s.Mailboxes[2].SpecialUse = "" },
		"name and special use": func(s *State) { m := s.Mailboxes[2]; m.Name, m.SpecialUse = m.SpecialUse, m.Name },
		"UIDVALIDITY":          func(s *State) { s.Mailboxes[2].UIDValidity++ },
		"UIDNEXT":              func(s *State) { s.Mailboxes[2].UIDNext++ },
		"rights":               func(s *State) { s.Grant(2, Anyone, MayRead) },
		"created":              func(s *State) { s.Mailboxes[2].Created++ },
		"MODSEQ":               func(s *State) { s.Mailboxes[2].ModSeq++ },
		"messages":             func(s *State) { s.Mailboxes[2].Digest++ },
		"a mailbox less":       func(s *State) { delete(s.Mailboxes, 2) },
		"subscription":         func(s *State) { s.Subscribed["x"] = true },
		"keyword":              func(s *State) { s.Keywords[0] = "$NotJunk" },
		"one more keyword":     func(s *State) { s.Keywords = append(s.Keywords, "") },
		"bytes":                func(s *State) { s.Limits.Bytes++ },
		"limits":               func(s *State) { s.Limits.Bytes, s.Limits.Messages = s.Limits.Messages, s.Limits.Bytes },
		"next mailbox":         func(s *State) { s.NextMailbox++ },
		"next email":           func(s *State) { s.NextEmail++ },
		"last UIDVALIDITY":     func(s *State) { s.LastUIDValidity++ },
		"purged":               func(s *State) { s.Purged++ },
	} {
		s := exampleState()
		change(s)
		if s.Digest() == whole {
			t.Errorf("%s: the digest is the same", name)
		}
	}
}

// One field of one message, or the same values on other messages, give another digest; the order in which messages are added does not.
func TestMessageDigest(t *testing.T) {
	someMessage := rapid.Custom(func(t *rapid.T) Message {
		return Message{
			UID: domain.UID(rapid.Uint32().Draw(t, "uid")), Modified: domain.Tx(rapid.Uint64Range(0, 9).Draw(t, "modified")),
			Flags: event.Flags(rapid.Uint64().Draw(t, "flags")), Size: rapid.Int64Range(0, 9).Draw(t, "size"), Internal: rapid.Int64Range(-9, 9).Draw(t, "internal"),
			Saved: rapid.Int64Range(-9, 9).Draw(t, "saved"), Email: domain.EmailID(rapid.Uint64Range(0, 9).Draw(t, "email")), Thread: domain.ThreadID(rapid.Uint64Range(0, 9).Draw(t, "thread")),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := someMessage.Draw(t, "a"), someMessage.Draw(t, "b")
		if (a == b) != (a.Digest() == b.Digest()) {
			t.Fatalf("%+v has %s, %+v has %s", a, a.Digest(), b, b.Digest())
		}
		if a.UID == b.UID { // The two are in one mailbox now.
			b.UID++
		}
		field := rapid.IntRange(0, reflect.TypeFor[Message]().NumField()-1).Draw(t, "field")
		x, y := a, b
		fx, fy := reflect.ValueOf(&x).Elem().Field(field), reflect.ValueOf(&y).Elem().Field(field)
		was := reflect.ValueOf(fx.Interface())
		fx.Set(fy)
		fy.Set(was)
		// Exchanging a field between two messages must show, unless nothing changes or the messages only change places.
		same := x == a || x == b
		if same != (a.Digest()+b.Digest() == x.Digest()+y.Digest()) {
			t.Fatalf("field %d exchanged between %+v and %+v", field, a, b)
		}
		m, n := &Mailbox{}, &Mailbox{}
		m.Append(a)
		m.Append(b)
		n.Append(b)
		n.Append(a)
		if m.Recount() != n.Recount() || m.Recount() != a.Digest()+b.Digest() {
			t.Fatal("the order matters")
		}
		flagged := a
		flagged.Flags, flagged.Modified = b.Flags, b.Modified
		if flagged.Digest() != a.Digest()-FlagsDigest(a.UID, a.Flags, a.Modified)+FlagsDigest(a.UID, b.Flags, b.Modified) {
			t.Fatal("a change of flags needs more than the flags")
		}
	})
}

func TestAgainst(t *testing.T) {
	s := exampleState()
	one := s.Digests()
	if found := one.Against(s.Digests()); found != nil {
		t.Errorf("an account disagrees with itself: %v", found)
	}
	delete(s.Mailboxes, 2)
	s.Mailboxes[1].Digest++
	s.Mailboxes[3] = &Mailbox{ID: 3}
	text := ""
	for _, d := range one.Against(s.Digests()) {
		text += fmt.Sprint(d.Mailbox, d.One == nil, d.Other == nil, "; ")
	}
	if text != "0 false false; 1 false false; 2 false true; 3 true false; " {
		t.Errorf("found %s", text)
	}
	if found := (Digests{}).Against(one); len(found) != 3 {
		t.Errorf("nothing against something: %v", found)
	}
}

// Digests travel as JSON without loss.
func TestDigestsJSON(t *testing.T) {
	d := exampleState().Digests()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Digests
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, d) {
		t.Fatalf("%s reads back as %+v, %v", text, back, err)
	}
	if err := json.Unmarshal([]byte(`{"account": "what?"}`), &back); err == nil {
		t.Error("nonsense is read as a digest")
	}
}
