package account

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// script runs commands one after the other, each a transaction of its own, and fails the test on a refusal.
type script struct {
	t  *testing.T
	s  *State
	tx domain.Tx
}

func open(t *testing.T) *script {
	x := &script{t: t, s: New()}
	x.do(Open{UIDValidity: 100})
	return x
}

func (x *script) do(c Command) []event.Event {
	x.t.Helper()
	events, err := Decide(x.s, c)
	if err != nil {
		x.t.Fatalf("%+v: %v", c, err)
	}
	if len(events) > 0 {
		x.tx++
	}
	for _, e := range events {
		x.s.Apply(x.tx, e)
	}
	return events
}

func (x *script) refuses(kind domain.Kind, c Command) {
	x.t.Helper()
	if events, err := Decide(x.s, c); !domain.Is(err, kind) || events != nil {
		x.t.Errorf("%+v: got %v and %v, want a refusal: %v", c, events, err, kind)
	}
}

// add puts n messages of 10 octets into a mailbox.
func (x *script) add(mailbox string, n int, flags ...string) {
	x.t.Helper()
	for range n {
		x.do(AddMessage{Mailbox: mailbox, Blob: domain.BlobRef{Size: 10}, Flags: flags, Internal: 5, Now: 6})
	}
}

func (x *script) box(name string) *Mailbox {
	x.t.Helper()
	m, ok := x.s.Mailbox(name)
	if !ok {
		x.t.Fatalf("mailbox %q does not exist", name)
	}
	return m
}

func (x *script) names() string {
	var names []string
	for _, m := range x.s.Sorted() {
		names = append(names, m.Name)
	}
	return strings.Join(names, " ")
}

func uids(text string) domain.UIDSet {
	s, err := domain.ParseUIDSet(text)
	if err != nil {
		panic(err)
	}
	return s
}

func TestNamesOfMailboxes(t *testing.T) {
	for _, c := range []struct {
		name, stored string
		kind         domain.Kind
	}{
		{"work", "work", 0},
		{"work/", "work", 0}, // RFC 9051 section 6.3.4.
		{"iNbOx/lists", "INBOX/lists", 0},
		{"INBOXES", "INBOXES", 0},
		{"e\u0301", "\u00e9", 0}, // RFC 9051 section 5.1: Net-Unicode, so NFC.
		{"日本語/メール", "日本語/メール", 0},
		{`a\b "c"`, `a\b "c"`, 0},
		{"inbox", "", domain.Exists},
		{"Inbox/", "", domain.Exists},
		{"Sent", "", domain.Exists},
		{"", "", domain.Invalid},
		{"/", "", domain.Invalid},
		{"/a", "", domain.Invalid},
		{"a//b", "", domain.Invalid},
		{"a//", "", domain.Invalid},
		{"#news.x", "", domain.Invalid},
		{"a*b", "", domain.Invalid},
		{"100%", "", domain.Invalid},
		{"a\x00b", "", domain.Invalid},
		{"a\r\nb", "", domain.Invalid},
		{"a\u2028b", "", domain.Invalid},
		{"a\x7f", "", domain.Invalid},
		{"\xff", "", domain.Invalid},
		{strings.Repeat("x", MaxNameLength+1), "", domain.TooLarge},
		{strings.Repeat("x/", MaxNameDepth) + "x", "", domain.TooLarge},
	} {
		x := open(t)
		if c.kind != 0 {
			x.refuses(c.kind, CreateMailbox{Name: c.name})
			continue
		}
		x.do(CreateMailbox{Name: c.name})
		if m := x.box(c.name); m.Name != c.stored {
			t.Errorf("%q is stored as %q, want %q", c.name, m.Name, c.stored)
		}
	}
}

func TestKeywordsAreAtoms(t *testing.T) {
	for _, name := range []string{"", " ", "a b", "a(b", "a)b", "a{b", "a%b", "a*b", `a"b`, `a\b`, `\Other`, `\*`, "a]b", "a\x7f", "é", strings.Repeat("k", MaxKeywordLength+1)} {
		x := open(t)
		x.refuses(domain.Invalid, AddMessage{Mailbox: Inbox, Flags: []string{name}})
	}
	x := open(t)
	x.add(Inbox, 1, "$Forwarded", "$FORWARDED", `\seen`, `\Recent`, "a[b", "+1")
	if got := strings.Join(x.s.FlagNames(x.box(Inbox).Flags[0]), " "); got != `\Seen $Forwarded a[b +1` {
		t.Errorf("flags are %s", got)
	}
}

func TestAnAccountHasSoManyKeywords(t *testing.T) {
	x := open(t)
	for i := range event.MaxKeywords {
		x.add(Inbox, 1, strings.Repeat("k", i+1))
	}
	x.refuses(domain.TooLarge, AddMessage{Mailbox: Inbox, Flags: []string{"more"}})
	x.refuses(domain.TooLarge, StoreFlags{Mailbox: 1, UIDs: uids("1"), Mode: AddFlags, Flags: []string{"more"}})
	x.add(Inbox, 1, "KKK") // one that exists
	if events := x.do(StoreFlags{Mailbox: 1, UIDs: uids("1"), Mode: RemoveFlags, Flags: []string{"more"}}); events != nil {
		t.Errorf("taking off a keyword that nobody knows gave %v", events)
	}
}

func TestAKeywordThatEndsUpOnNoMessageIsNotCreated(t *testing.T) {
	x := open(t)
	if events := x.do(StoreFlags{Mailbox: 1, UIDs: uids("1:9"), Mode: AddFlags, Flags: []string{"work"}}); events != nil || len(x.s.Keywords) != 0 {
		t.Errorf("got %v and the keywords %v", events, x.s.Keywords)
	}
}

func TestNothingHappensBeforeOpen(t *testing.T) {
	x := &script{t: t, s: New()}
	x.refuses(domain.NotFound, CreateMailbox{Name: "a"})
	x.refuses(domain.NotFound, AddMessage{Mailbox: Inbox, Fallback: true})
	x.refuses(domain.Invalid, Open{Limits: Limits{Bytes: -1}})
	x.do(Open{})
	if got := x.names(); got != "INBOX Archive Drafts Junk Sent Trash" || len(x.s.Subscribed) != 6 {
		t.Errorf("an open account has %s and %d subscriptions", got, len(x.s.Subscribed))
	}
	x.refuses(domain.Exists, Open{})
}

func TestSpecialUses(t *testing.T) {
	x := open(t)
	x.refuses(domain.Exists, CreateMailbox{Name: "Sent Items", SpecialUse: `\Sent`})
	x.refuses(domain.Invalid, CreateMailbox{Name: "All", SpecialUse: `\All`})
	x.do(CreateMailbox{Name: "Important", SpecialUse: `\important`})
	if m, ok := x.s.BySpecialUse(`\IMPORTANT`); !ok || m.SpecialUse != `\Important` {
		t.Errorf("\\Important is %v", m)
	}
	x.do(RenameMailbox{From: "Sent", To: "Gone out"}) // The use stays with the mailbox.
	if m, _ := x.s.BySpecialUse(`\Sent`); m.Name != "Gone out" {
		t.Errorf("\\Sent is %q", m.Name)
	}
	x.do(DeleteMailbox{Name: "Gone out"})
	x.do(CreateMailbox{Name: "Sent", SpecialUse: `\Sent`})
}

func TestAMailboxThatComesAgainHasANewUIDValidity(t *testing.T) {
	x := open(t)
	x.do(CreateMailbox{Name: "a", UIDValidity: 50}) // A clock that was set back does not matter.
	x.add("a", 3)
	first := x.box("a").UIDValidity
	x.do(DeleteMailbox{Name: "a"})
	x.do(CreateMailbox{Name: "a", UIDValidity: 50})
	if again := x.box("a").UIDValidity; again <= first || x.box("a").UIDNext != 1 {
		t.Errorf("UIDVALIDITY %d follows %d", again, first)
	}
	x.s.LastUIDValidity = math.MaxUint32
	x.refuses(domain.TooLarge, CreateMailbox{Name: "b"})
	x.refuses(domain.TooLarge, RenameMailbox{From: Inbox, To: "b"})
}

func TestDelete(t *testing.T) {
	x := open(t)
	x.refuses(domain.Invalid, DeleteMailbox{Name: "InBox"})
	x.refuses(domain.NotFound, DeleteMailbox{Name: "nothing"})
	x.do(CreateMailbox{Name: "a/b"})
	x.refuses(domain.NotFound, DeleteMailbox{Name: "a"}) // A name without a mailbox: RFC 9051 section 6.3.5.
	x.do(CreateMailbox{Name: "a"})
	x.do(Subscribe{Name: "a", On: true})
	x.add("a", 2)
	x.do(DeleteMailbox{Name: "a"})
	if _, ok := x.s.Mailbox("a/b"); !ok {
		t.Error("an inferior mailbox went along") // RFC 9051 section 6.3.5.
	}
	if !x.s.Subscribed["a"] {
		t.Error("the subscription went along") // RFC 9051 section 6.3.7.
	}
	if x.s.Usage != (event.Delta{}) {
		t.Errorf("usage is %+v", x.s.Usage)
	}
}

func TestRename(t *testing.T) {
	x := open(t)
	for _, name := range []string{"a/b", "a/b/b", "a/b/b/c", "a/b/c", "ab", "z"} {
		x.do(CreateMailbox{Name: name})
	}
	x.add("a/b", 2)
	validity := x.box("a/b").UIDValidity
	x.refuses(domain.NotFound, RenameMailbox{From: "nothing", To: "x"})
	x.refuses(domain.Exists, RenameMailbox{From: "a/b", To: "z"})
	x.refuses(domain.Exists, RenameMailbox{From: "a/b", To: "a/b"})
	x.refuses(domain.Exists, RenameMailbox{From: "a", To: "a"}) // There is no such mailbox, but one below it.
	x.refuses(domain.Exists, RenameMailbox{From: "z", To: "inbox"})
	x.refuses(domain.Invalid, RenameMailbox{From: "a/b", To: "a/b/x"})
	x.refuses(domain.Invalid, RenameMailbox{From: "z", To: "x*"})
	x.refuses(domain.TooLarge, RenameMailbox{From: "a", To: strings.Repeat("y", MaxNameLength-3)})

	x.do(RenameMailbox{From: "a/b", To: "a"}) // "a/b/b" takes the name that "a/b" leaves.
	if got := x.names(); got != "INBOX Archive Drafts Junk Sent Trash a a/b a/b/c a/c ab z" {
		t.Errorf("names are %s", got)
	}
	if m := x.box("a"); m.Len() != 2 || m.UIDValidity != validity || m.UIDNext != 3 {
		t.Errorf("the mailbox became %+v", m)
	}
	x.do(DeleteMailbox{Name: "a"})
	x.do(RenameMailbox{From: "a", To: "new/er"}) // A superior name without a mailbox.
	if got := x.names(); got != "INBOX Archive Drafts Junk Sent Trash ab new/er/b new/er/b/c new/er/c z" {
		t.Errorf("names are %s", got)
	}
	x.do(CreateMailbox{Name: "p/q"})
	x.do(CreateMailbox{Name: "r/q"})
	x.refuses(domain.Exists, RenameMailbox{From: "p", To: "r"}) // An inferior would collide.
}

func TestRenamingInboxMovesItsMessages(t *testing.T) { // RFC 9051 section 6.3.6.
	x := open(t)
	x.do(CreateMailbox{Name: "INBOX/lists"})
	x.add(Inbox, 3, `\Seen`)
	x.do(StoreFlags{Mailbox: 1, UIDs: uids("2"), Mode: AddFlags, Flags: []string{`\Deleted`}})
	x.do(Expunge{Mailbox: 1})
	validity := x.box(Inbox).UIDValidity
	x.refuses(domain.Exists, RenameMailbox{From: "inbox", To: "Sent"})
	x.do(RenameMailbox{From: "inbox", To: "old", Now: 77})
	if m := x.box(Inbox); m.Len() != 0 || m.UIDNext != 4 || m.UIDValidity != validity || m.ID != 1 || m.Counts != (event.Delta{}) {
		t.Errorf("INBOX became %+v", m)
	}
	if m := x.box("old"); m.Len() != 2 || m.UIDNext != 3 || m.Counts != (event.Delta{Messages: 2, Bytes: 20}) || m.Internal[0] != 5 || m.Saved[0] != 77 {
		t.Errorf("the new mailbox is %+v", m)
	}
	x.box("INBOX/lists")
	x.do(RenameMailbox{From: "INBOX", To: "empty"})
	if m := x.box("empty"); m.Len() != 0 {
		t.Errorf("an empty INBOX gave %+v", m)
	}
}

func TestSubscriptionsNeedNoMailbox(t *testing.T) {
	x := open(t)
	x.do(Subscribe{Name: "nowhere", On: true})
	if events := x.do(Subscribe{Name: "nowhere/", On: true}); events != nil {
		t.Errorf("subscribing again gave %v", events)
	}
	x.do(Subscribe{Name: "nowhere"})
	if events := x.do(Subscribe{Name: "nowhere"}); events != nil || x.s.Subscribed["nowhere"] {
		t.Errorf("unsubscribing again gave %v", events)
	}
	x.refuses(domain.Invalid, Subscribe{Name: "a*", On: true})
	x.do(Subscribe{Name: "inbox"})
	if x.s.Subscribed[Inbox] {
		t.Error("INBOX is still subscribed")
	}
}

func TestQuota(t *testing.T) {
	x := open(t)
	x.refuses(domain.Invalid, SetLimits{Limits{Messages: -1}})
	x.do(SetLimits{Limits{Bytes: 35, Messages: 4}})
	x.add(Inbox, 3)
	x.refuses(domain.OverQuota, AddMessage{Mailbox: Inbox, Blob: domain.BlobRef{Size: 6}})
	x.refuses(domain.OverQuota, AddMessage{Mailbox: Inbox, Blob: domain.BlobRef{Size: math.MaxInt64}})
	x.refuses(domain.OverQuota, Transfer{From: 1, To: "Trash", UIDs: uids("1")})
	x.do(Transfer{From: 1, To: "Trash", UIDs: uids("1"), Move: true})
	x.do(AddMessage{Mailbox: Inbox, Blob: domain.BlobRef{Size: 5}})
	x.refuses(domain.OverQuota, AddMessage{Mailbox: Inbox}) // The fifth message.
	x.do(SetLimits{Limits{Bytes: 1, Messages: 1}})          // RFC 9208 section 4.1.3: nothing is removed.
	x.do(Transfer{From: 1, To: "Trash", UIDs: uids("1"), Move: true})
	x.do(StoreFlags{Mailbox: 1, UIDs: uids("2:9"), Mode: AddFlags, Flags: []string{`\Deleted`}})
	x.do(Expunge{Mailbox: 1})
	x.refuses(domain.OverQuota, AddMessage{Mailbox: Inbox})
	x.do(SetLimits{})
	x.add(Inbox, 1)
}

func TestUIDsEnd(t *testing.T) {
	x := open(t)
	x.add(Inbox, 2)
	x.box("Trash").UIDNext = math.MaxUint32 - 1
	x.refuses(domain.TooLarge, Transfer{From: 1, To: "Trash", UIDs: uids("1:2")})
	x.do(SetLimits{Limits{Messages: 1}})
	x.refuses(domain.TooLarge, Transfer{From: 1, To: "Trash", UIDs: uids("1:2"), Move: true})
	x.do(SetLimits{})
	x.add("Trash", 1)
	x.refuses(domain.TooLarge, AddMessage{Mailbox: "Trash"})
}

func TestStoreUnchangedSince(t *testing.T) { // RFC 7162 section 3.1.3.
	x := open(t)
	x.add(Inbox, 3) // Tx 2 to 4
	since := domain.Tx(3)
	events := x.do(StoreFlags{Mailbox: 1, UIDs: uids("1:3"), Mode: AddFlags, Flags: []string{`\Seen`}, UnchangedSince: &since})
	if want := []event.Event{&event.FlagsChanged{Mailbox: 1, UIDs: uids("1:2"), Add: event.Seen, Delta: event.Delta{Unseen: -2}}}; !reflect.DeepEqual(events, want) {
		t.Errorf("got %+v", events[0])
	}
	zero := domain.Tx(0)
	if events := x.do(StoreFlags{Mailbox: 1, UIDs: uids("1:3"), Mode: ReplaceFlags, UnchangedSince: &zero}); events != nil {
		t.Errorf("UNCHANGEDSINCE 0 changed %v", events)
	}
	if got := (StoreFlags{Mailbox: 1, UIDs: uids("1:9"), Mode: AddFlags, Flags: []string{`\Seen`}, UnchangedSince: &since}).Refused(x.s).String(); got != "1:3" {
		t.Errorf("since %d it refuses %s", since, got)
	}
	// The test of presence of RFC 7162 section 3.1.3, example 8.
	test := StoreFlags{Mailbox: 1, UIDs: uids("1:3"), Mode: AddFlags, Flags: []string{"$MDNSent"}, UnchangedSince: &zero}
	x.do(StoreFlags{Mailbox: 1, UIDs: uids("3"), Mode: AddFlags, Flags: test.Flags})
	if got := test.Refused(x.s).String(); got != "3" {
		t.Errorf("a keyword on message 3 is found on %s", got)
	}
	x.do(StoreFlags{Mailbox: 1, UIDs: uids("3"), Mode: RemoveFlags, Flags: test.Flags})
	if got := test.Refused(x.s); got != nil {
		t.Errorf("a keyword on no message is found on %s", got)
	}
	if events := x.do(StoreFlags{Mailbox: 1, UIDs: uids("1:2"), Mode: AddFlags, Flags: []string{`\Seen`}}); events != nil {
		t.Errorf("setting what is set gave %v", events)
	}
	if got := x.box(Inbox).Modified; !reflect.DeepEqual(got, []domain.Tx{5, 5, 7}) {
		t.Errorf("MODSEQs are %v", got)
	}
}

func TestReplacingDifferentFlagsIsOneEventForEachWay(t *testing.T) {
	x := open(t)
	x.add(Inbox, 2, `\Seen`)
	x.add(Inbox, 2, `\Flagged`)
	events := x.do(StoreFlags{Mailbox: 1, UIDs: uids("1:4"), Mode: ReplaceFlags, Flags: []string{`\Flagged`, `\Draft`}})
	want := []event.Event{
		&event.FlagsChanged{Mailbox: 1, UIDs: uids("1:2"), Add: event.Flagged | event.Draft, Remove: event.Seen, Delta: event.Delta{Unseen: 2}},
		&event.FlagsChanged{Mailbox: 1, UIDs: uids("3:4"), Add: event.Draft},
	}
	if !reflect.DeepEqual(events, want) {
		t.Errorf("got %+v and %+v", events[0], events[1])
	}
}

func TestCopyAndMove(t *testing.T) {
	x := open(t)
	x.add(Inbox, 4, `\Deleted`, "work")
	x.refuses(domain.NotFound, Transfer{From: 1, To: "nowhere", UIDs: uids("99")}) // TRYCREATE, even with nothing to copy.
	x.refuses(domain.NotFound, Transfer{From: 99, To: Inbox, UIDs: uids("1")})
	if events := x.do(Transfer{From: 1, To: "Trash", UIDs: uids("9")}); events != nil {
		t.Errorf("copying nothing gave %v", events)
	}
	x.do(Transfer{From: 1, To: "Trash", UIDs: uids("2,4,9"), Now: 50})
	x.do(Transfer{From: 1, To: "Trash", UIDs: uids("1"), Move: true, Now: 60})
	trash := x.box("Trash")
	if got := trash.Email; !reflect.DeepEqual(got, []domain.EmailID{2, 4, 1}) {
		t.Errorf("Trash holds the emails %v", got)
	}
	if trash.Flags[0] != x.box(Inbox).Flags[0] || trash.Internal[0] != 5 || trash.Saved[0] != 50 || trash.Saved[2] != 60 {
		t.Errorf("a copy became %+v", trash.At(0))
	}
	if got := x.box(Inbox).UID; !reflect.DeepEqual(got, []domain.UID{2, 3, 4}) {
		t.Errorf("INBOX holds %v", got)
	}
	if x.box(Inbox).ModSeq != x.tx || trash.ModSeq != x.tx { // RFC 7162 section 3.1.2.2 wants it of the expunge too.
		t.Errorf("HIGHESTMODSEQ is %d and %d at Tx %d", x.box(Inbox).ModSeq, trash.ModSeq, x.tx)
	}
	x.do(Transfer{From: 1, To: Inbox, UIDs: uids("3"), Move: true}) // into the mailbox itself
	x.do(Transfer{From: 1, To: Inbox, UIDs: uids("2")})
	if got := x.box(Inbox); !reflect.DeepEqual(got.UID, []domain.UID{2, 4, 5, 6}) || !reflect.DeepEqual(got.Email, []domain.EmailID{2, 4, 3, 2}) {
		t.Errorf("INBOX holds %v: %v", got.UID, got.Email)
	}
}

func TestExpunge(t *testing.T) {
	x := open(t)
	x.add(Inbox, 2)
	x.add(Inbox, 3, `\Deleted`)
	if events := x.do(Expunge{Mailbox: 1, UIDs: uids("1:2")}); events != nil {
		t.Errorf("UID EXPUNGE of what is not deleted gave %v", events) // RFC 4315 section 2.1.
	}
	if events := x.do(Expunge{Mailbox: 1, UIDs: domain.UIDSet{}}); events != nil {
		t.Errorf("UID EXPUNGE of an empty set gave %v", events)
	}
	x.do(Expunge{Mailbox: 1, UIDs: uids("1:3,5")})
	if got := x.box(Inbox).UID; !reflect.DeepEqual(got, []domain.UID{1, 2, 4}) {
		t.Errorf("INBOX holds %v", got)
	}
	x.do(Expunge{Mailbox: 1})
	if got := x.box(Inbox); !reflect.DeepEqual(got.UID, []domain.UID{1, 2}) || got.UIDNext != 6 || got.Counts != (event.Delta{Messages: 2, Unseen: 2, Bytes: 20}) {
		t.Errorf("INBOX is %+v", got)
	}
}

func TestDeliveryFallsBackToInbox(t *testing.T) {
	x := open(t)
	x.refuses(domain.NotFound, AddMessage{Mailbox: "lists"})
	for _, name := range []string{"lists", "", "a//b"} {
		x.do(AddMessage{Mailbox: name, Fallback: true, Thread: 9}) // There is no thread 9, so each begins one.
	}
	if m := x.box(Inbox); m.Len() != 3 || m.Thread[2] != 3 {
		t.Errorf("INBOX is %+v", m)
	}
	x.do(AddMessage{Mailbox: Inbox, Thread: 1})
	if m := x.box(Inbox); m.Thread[3] != 1 {
		t.Errorf("the answer is in thread %d", m.Thread[3])
	}
}

func TestContradictionsPanic(t *testing.T) {
	for name, e := range map[string]event.Event{
		"mailbox again":  &event.MailboxCreated{Mailbox: 1, Name: "x", UIDValidity: 1000},
		"name again":     &event.MailboxCreated{Mailbox: 7, Name: "INBOX", UIDValidity: 1000},
		"validity again": &event.MailboxCreated{Mailbox: 7, Name: "x", UIDValidity: 100},
		"no mailbox":     &event.MailboxDeleted{Mailbox: 9},
		"keyword gap":    &event.KeywordCreated{Number: 1, Name: "x"},
		"UID again":      &event.MessageAdded{Mailbox: 1, UID: 1, Email: 9},
		"email again":    &event.MessageAdded{Mailbox: 1, UID: 9, Email: 1},
		"no message":     &event.FlagsChanged{Mailbox: 1, UIDs: uids("1:9")},
		"nothing gone":   &event.MessagesExpunged{Mailbox: 1, UIDs: uids("9")},
		"nothing copied": &event.MessagesCopied{From: 1, To: 2, UIDs: uids("9"), First: 1},
		"copied over":    &event.MessagesCopied{From: 1, To: 1, UIDs: uids("1"), First: 1},
		"foreign":        &event.DomainAdded{Name: "example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			x := open(t)
			x.add(Inbox, 2)
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was folded", e)
				}
			}()
			x.s.Apply(99, e)
		})
	}
	defer func() { _ = recover() }()
	x := open(t)
	x.s.Apply(0, &event.LimitsChanged{})
	t.Error("an old Tx was folded")
}

func TestRemoveKeepsTheOtherRows(t *testing.T) {
	x := open(t)
	x.add(Inbox, 3000, `\Deleted`)
	var odd domain.UIDSet
	for uid := domain.UID(1); uid <= 3000; uid += 2 {
		odd = odd.Add(uid)
	}
	x.do(Expunge{Mailbox: 1, UIDs: odd})
	m := x.box(Inbox)
	for i := range m.Len() {
		if r := m.At(i); int(r.UID) != 2*(i+1) || int(r.Email) != 2*(i+1) || r.Modified != domain.Tx(r.UID)+1 {
			t.Fatalf("row %d is %+v", i, r)
		}
	}
	x.do(Expunge{Mailbox: 1, UIDs: uids("3:2990")}) // Most of the columns' memory goes back.
	if m.Len() != 6 || cap(m.UID) > 100 || x.s.Usage.Messages != 6 {
		t.Errorf("%d messages in columns of %d", m.Len(), cap(m.UID))
	}
}

// TestWeightCountsNames: a state weighs what its names take, and no more when they are gone.
func TestWeightCountsNames(t *testing.T) {
	x := open(t)
	before := x.s.Weight()
	long := strings.Repeat("x", MaxNameLength-4)
	x.do(CreateMailbox{Name: long})
	x.do(RenameMailbox{From: long, To: long + "y"})
	for _, n := range "abc" {
		x.do(Subscribe{Name: long + string(n), On: true})
	}
	if grown := x.s.Weight() - before; grown < 4*MaxNameLength-16 {
		t.Errorf("%d octets for a mailbox and three subscriptions with names of %d", grown, len(long))
	}
	for _, n := range "abc" {
		x.do(Subscribe{Name: long + string(n)})
	}
	x.do(DeleteMailbox{Name: long + "y"})
	if after := x.s.Weight(); after != before {
		t.Errorf("%d octets are left of %d", after, before)
	}
}

// FuzzCanonicalName: whatever a client calls a mailbox, the canonical name is its own canonical name, and one that is accepted can be found, subscribed
// to and weighed.
func FuzzCanonicalName(f *testing.F) {
	for _, name := range []string{"", "inbox", "InBox/a/", "a//b", "/", "a/", "#news", "a%", "e\u0301", "\u2028", "\xff", strings.Repeat("a/", 60), "INBOX\x00", "&AOk-"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		canonical := CanonicalName(name)
		if CheckName(canonical) != nil {
			return
		}
		if again := CanonicalName(canonical); again != canonical {
			t.Fatalf("%q becomes %q and then %q", name, canonical, again)
		}
		if len(canonical) > MaxNameLength || !utf8.ValidString(canonical) || strings.ContainsFunc(canonical, unicode.IsControl) {
			t.Fatalf("%q is accepted", canonical)
		}
		x := open(t)
		before := x.s.Weight()
		if _, exists := x.s.Mailbox(name); !exists {
			x.do(CreateMailbox{Name: name})
		}
		if x.box(name).Name != canonical || x.box(canonical).Name != canonical {
			t.Errorf("%q is created as %q", name, x.box(name).Name)
		}
		x.do(Subscribe{Name: name, On: true})
		if !x.s.Subscribed[canonical] || x.s.Weight() < before {
			t.Errorf("%q is not subscribed to", name)
		}
	})
}
