package account

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"pgregory.net/rapid"
)

func rights(letters string) Rights {
	r, err := ParseRights(letters)
	if err != nil {
		panic(err)
	}
	return r
}

// grant gives bob rights on a mailbox.
func (x *script) grant(mailbox, letters string) {
	x.t.Helper()
	x.do(SetRights{Mailbox: mailbox, Identifier: Identifier(bob), Rights: rights(letters)})
}

func TestLettersOfRights(t *testing.T) {
	for letters, want := range map[string]string{
		"": "", "aetxkpiwsrl": "lrswipkxtea", "c": "kx", "d": "te", "cd": "kxte", "rr": "r", // RFC 4314 section 2.1.1.
	} {
		if got := rights(letters).String(); got != want {
			t.Errorf("%q is %q, want %q", letters, got, want)
		}
	}
	for _, letters := range []string{"n", "0", "L", "lr ", "é"} {
		if r, err := ParseRights(letters); !domain.Is(err, domain.Invalid) {
			t.Errorf("%q is %q, %v", letters, r, err)
		}
	}
	if AllRights.String() != "lrswipkxtea" {
		t.Errorf("all rights are %q", AllRights)
	}
}

func TestEntriesAddUpAndNegativeOnesTakeAway(t *testing.T) { // RFC 4314 section 2.
	x := open(t)
	alice := domain.NewAccountID([10]byte{1})
	has := func(who domain.AccountID, want string) {
		t.Helper()
		if got := x.box(Inbox).Rights(who).String(); got != want {
			t.Errorf("the rights are %q, want %q", got, want)
		}
	}
	set := func(who Identifier, mode RightsMode, letters string) {
		t.Helper()
		x.do(SetRights{Mailbox: Inbox, Identifier: who, Mode: mode, Rights: rights(letters)})
	}
	has(bob, "")
	set(Anyone, ReplaceRights, "lr")
	set(Identifier(bob), ReplaceRights, "rsw")
	has(bob, "lrsw")
	has(alice, "lr")
	set(Identifier(bob).Negative(), AddRights, "rt")
	has(bob, "lsw")
	set(Identifier(bob), AddRights, "ti")
	has(bob, "lswi")
	set(Identifier(bob), RemoveRights, "wx")
	has(bob, "lsi")
	set(Anyone.Negative(), ReplaceRights, "l")
	has(bob, "si")
	has(alice, "r")
	set(Identifier(bob), ReplaceRights, "")
	has(bob, "")
	set(Identifier(bob).Negative(), ReplaceRights, "")
	has(bob, "r")
	if events := x.do(SetRights{Mailbox: Inbox, Identifier: Anyone, Mode: AddRights, Rights: MayRead}); events != nil {
		t.Errorf("what is there already gave %v", events)
	}
	for _, who := range []Identifier{"", "-", "--anyone", "bob", "directory", "tasks", "ANYONE"} {
		x.refuses(domain.Invalid, SetRights{Mailbox: Inbox, Identifier: who, Rights: MayRead})
	}
	x.refuses(domain.NotFound, SetRights{Mailbox: "nothing", Identifier: Anyone, Rights: MayRead})
}

func TestAListHasSoManyEntries(t *testing.T) {
	x := open(t)
	for n := range MaxRights {
		x.do(SetRights{Mailbox: Inbox, Identifier: Identifier(domain.NewAccountID([10]byte{1, byte(n >> 8), byte(n)})), Rights: MayRead})
	}
	x.refuses(domain.TooLarge, SetRights{Mailbox: Inbox, Identifier: Anyone, Rights: MayRead})
	x.do(SetRights{Mailbox: Inbox, Identifier: Identifier(domain.NewAccountID([10]byte{1})), Rights: AllRights})
	x.do(SetRights{Mailbox: Inbox, Identifier: Identifier(domain.NewAccountID([10]byte{1}))})
	x.do(SetRights{Mailbox: Inbox, Identifier: Anyone, Rights: MayRead})
}

func TestRightsFollowTheirMailbox(t *testing.T) { // RFC 4314 section 4: CREATE, RENAME and DELETE.
	x := open(t)
	x.do(CreateMailbox{Name: "a"})
	x.grant("a", "lr")
	x.do(CreateMailbox{Name: "a/b/c"})
	x.do(CreateMailbox{Name: "z"})
	x.do(RenameMailbox{From: "a", To: "z/a"})
	x.grant("z", "a")
	for name, want := range map[string]string{"z/a": "lr", "z/a/b/c": "lr", "z": "a"} {
		if got := x.box(name).Rights(bob).String(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	weight := x.s.Weight()
	x.do(DeleteMailbox{Name: "z/a"})
	x.do(CreateMailbox{Name: "z/a"})
	if got := x.box("z/a").Rights(bob).String(); got != "a" {
		t.Errorf("a mailbox that comes again has the rights %q", got)
	}
	if x.s.Weight() != weight {
		t.Errorf("the account weighs %d, and weighed %d", x.s.Weight(), weight)
	}
}

// TestWhatEachCommandNeeds is the table of RFC 4314 section 4: a command passes with the rights it needs, and with one less it does not.
func TestWhatEachCommandNeeds(t *testing.T) {
	flag := func(names ...string) StoreFlags {
		return StoreFlags{Mailbox: 1, UIDs: uids("1"), Mode: AddFlags, Flags: names}
	}
	value := "x"
	for name, c := range map[string]struct {
		source, target string
		command        Command
	}{
		"CREATE":                 {"", "k", CreateMailbox{Name: "target/b/c"}},
		"DELETE":                 {"", "x", DeleteMailbox{Name: "target"}},
		"RENAME away":            {"", "kx", RenameMailbox{From: "target/old", To: "target/new"}},
		"APPEND":                 {"", "i", AddMessages{{Mailbox: "target"}}},
		"APPEND of one":          {"", "i", AddMessage{Mailbox: "target"}},
		"COPY":                   {"r", "i", Transfer{From: 1, To: "target", UIDs: uids("1")}},
		"MOVE":                   {"rte", "i", Transfer{From: 1, To: "target", UIDs: uids("1"), Move: true}},
		"REPLACE":                {"rte", "i", Replace{From: 1, UID: 1, With: AddMessage{Mailbox: "target"}}},
		"STORE \\Seen":           {"rs", "", flag(`\Seen`)},
		"STORE \\Deleted":        {"rt", "", flag(`\deleted`)},
		"STORE \\Flagged":        {"rw", "", flag(`\Flagged`)},
		"STORE of a keyword":     {"rw", "", flag("work")},
		"EXPUNGE":                {"re", "", Expunge{Mailbox: 1}},
		"EXPUNGE without a flag": {"ret", "", Expunge{Mailbox: 1, Any: true}},
		"SETACL":                 {"", "a", SetRights{Mailbox: "target", Identifier: Anyone, Rights: MayRead}},
		"SETMETADATA /shared":    {"", "lw", SetMetadata{Mailbox: "target", Limits: MetadataLimits{9, 9, 99}, Changes: []MetadataChange{{"/shared/comment", &value}}}},
	} {
		t.Run(name, func(t *testing.T) {
			try := func(source, target string) error {
				x := open(t)
				x.do(CreateMailbox{Name: "target"})
				x.do(CreateMailbox{Name: "target/old"})
				x.add(Inbox, 2, `\Deleted`)
				x.grant(Inbox, source)
				x.grant("target", target)
				x.grant("target/old", target)
				_, err := Decide(x.s, As{bob, c.command})
				return err
			}
			if err := try(c.source, c.target); err != nil {
				t.Errorf("with %q and %q: %v", c.source, c.target, err)
			}
			for i := range len(c.source) {
				if err := try(c.source[:i]+c.source[i+1:]+"l", c.target); !domain.Is(err, domain.Denied) {
					t.Errorf("without %q: %v", c.source[i], err)
				}
			}
			for i := range len(c.target) {
				if err := try(c.source, c.target[:i]+c.target[i+1:]); !domain.Is(err, domain.Denied) && !errors.Is(err, ErrNoMailbox) {
					t.Errorf("without %q: %v", c.target[i], err)
				}
			}
		})
	}
}

func TestOnlyTheOwner(t *testing.T) {
	value := "x"
	for _, c := range []Command{
		Open{}, SetLimits{}, Subscribe{Name: "a", On: true}, Promote{Node: "mail2"}, ResetAccessKeys{}, ResetAccessKeys{Mailbox: Inbox}, Purge{}, Restore{}, As{bob, DeleteMailbox{Name: "Sent"}},
		CreateMailbox{Name: "top"}, CreateMailbox{Name: "INBOX/x", SpecialUse: `\Important`}, RenameMailbox{From: Inbox, To: "INBOX/old"}, RenameMailbox{From: "Sent", To: "top"},
		SetMetadata{Changes: []MetadataChange{{"/shared/comment", &value}}}, SetMetadata{Mailbox: Inbox, Changes: []MetadataChange{{"/private/comment", &value}}},
		SetMetadata{Mailbox: Inbox, Changes: []MetadataChange{{"/Private/SpecialUse", &value}}},
	} {
		x := open(t)
		x.grant(Inbox, "lrswipkxtea")
		x.grant("Sent", "lrswipkxtea")
		x.refuses(domain.Denied, As{bob, c})
	}
}

// TestNothingTellsAHiddenMailboxFromNone: RFC 4314 section 6.
func TestNothingTellsAHiddenMailboxFromNone(t *testing.T) {
	value := "x"
	commands := func(name string) []Command {
		return []Command{
			DeleteMailbox{Name: name}, RenameMailbox{From: name, To: "INBOX/new"}, RenameMailbox{From: "INBOX/mine", To: name}, RenameMailbox{From: "INBOX/mine", To: name + "/b"},
			CreateMailbox{Name: name}, CreateMailbox{Name: name + "/below"}, AddMessage{Mailbox: name}, AddMessages{{Mailbox: Inbox}, {Mailbox: name}},
			Transfer{From: 1, To: name, UIDs: uids("1")}, Transfer{From: 1, To: name, UIDs: uids("1"), Move: true}, Replace{From: 1, UID: 1, With: AddMessage{Mailbox: name}},
			SetRights{Mailbox: name, Identifier: Anyone, Rights: MayRead}, SetRights{Mailbox: name, Identifier: "nobody", Rights: MayRead},
			SetMetadata{Mailbox: name, Changes: []MetadataChange{{"/shared/comment", &value}}}, SetMetadata{Mailbox: name, Changes: []MetadataChange{{"/private/comment", &value}}},
		}
	}
	x := open(t)
	x.do(CreateMailbox{Name: "secret"})
	x.do(CreateMailbox{Name: "INBOX/mine"})
	x.grant(Inbox, "lrswipkxtea")
	x.grant("INBOX/mine", "lrswipkxtea")
	x.add(Inbox, 1)
	hidden, none := commands("secret"), commands("nothing")
	for i := range hidden {
		_, one := Decide(x.s, As{bob, hidden[i]})
		_, other := Decide(x.s, As{bob, none[i]})
		if one == nil || !reflect.DeepEqual(one, other) {
			t.Errorf("%T: %v, and where there is none %v", hidden[i], one, other)
		}
	}
}

// TestWhatOneMayNotSeeStaysWhereItIs: a mailbox is renamed with the inferior ones that one sees, which takes "x" on each (RFC 4314 section 4). Of the others
// nothing tells, and they go nowhere.
func TestWhatOneMayNotSeeStaysWhereItIs(t *testing.T) {
	x := open(t)
	for _, name := range []string{"top", "top/box", "top/box/seen", "top/box/seen/secret", "top/box/hidden", "top/box/hidden/seen"} {
		x.do(CreateMailbox{Name: name})
	}
	for name, letters := range map[string]string{"top": "lk", "top/box": "lx", "top/box/seen": "lx", "top/box/hidden": "r", "top/box/hidden/seen": "x"} {
		x.grant(name, letters)
	}
	rename := RenameMailbox{From: "top/box", To: "top/new"}
	x.do(As{bob, rename})
	for _, name := range []string{"top/new", "top/new/seen", "top/box/seen/secret", "top/box/hidden", "top/new/hidden/seen"} {
		if _, ok := x.s.Mailbox(name); !ok {
			t.Errorf("there is no %s", name)
		}
	}
	x.do(RenameMailbox{From: "top/new", To: "top/box"}) // the owner's go along, all of them
	x.grant("top/box/seen", "l")
	x.refuses(domain.Denied, As{bob, rename})
	x.do(As{bob, DeleteMailbox{Name: "top/box"}}) // of which inferior ones are no part
	if _, ok := x.s.Mailbox("top/box/hidden"); !ok {
		t.Error("what is below a mailbox was deleted with it")
	}
}

// TestFlagsThatOneMayNotChangeStay: whatever somebody does with whatever rights, no flag comes or goes that the rights do not cover (RFC 4314 section 4).
func TestFlagsThatOneMayNotChangeStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := &script{s: New()}
		apply := func(c Command) bool {
			events, err := Decide(x.s, c)
			for _, e := range events {
				x.s.Apply(x.s.Tx+1, e)
			}
			return err == nil
		}
		apply(Open{UIDValidity: 5})
		someNamed := rapid.SliceOfN(rapid.SampledFrom([]string{`\Seen`, `\Deleted`, `\Flagged`, "work"}), 0, 4)
		for range 4 {
			apply(AddMessage{Mailbox: Inbox, Blob: domain.BlobRef{Size: 10}, Flags: someNamed.Draw(t, "flags")})
		}
		here, there := Rights(rapid.Uint16().Draw(t, "INBOX"))|MayRead, Rights(rapid.Uint16().Draw(t, "Trash"))|MayInsert
		apply(SetRights{Mailbox: Inbox, Identifier: Identifier(bob), Rights: here})
		apply(SetRights{Mailbox: "Trash", Identifier: Identifier(bob), Rights: there})
		inbox, _ := x.s.Mailbox(Inbox)
		trash, _ := x.s.Mailbox("Trash")
		before := slices.Clone(inbox.Flags)
		var c Command
		store := StoreFlags{Mailbox: 1, UIDs: someUIDs.Draw(t, "uids"), Mode: StoreMode(rapid.IntRange(0, 2).Draw(t, "mode")), Flags: someNamed.Draw(t, "names")}
		switch rapid.IntRange(0, 3).Draw(t, "command") {
		case 0:
			c = AddMessage{Mailbox: "Trash", Flags: store.Flags}
		case 1:
			c = Transfer{From: 1, To: "Trash", UIDs: store.UIDs, Move: rapid.Bool().Draw(t, "move")}
		default:
			c = store
		}
		keywords := len(x.s.Keywords)
		done := apply(As{bob, c})
		if moved, is := c.(Transfer); !is || !moved.Move {
			for i, f := range inbox.Flags {
				if (f^before[i])&here.immutable() != 0 {
					t.Fatalf("with %q message %d went from %b to %b", here, i, before[i], f)
				}
			}
		}
		for i, f := range trash.Flags {
			if f&there.immutable() != 0 {
				t.Fatalf("with %q message %d came with %b", there, i, f)
			}
		}
		if len(x.s.Keywords) > keywords && (here|there)&MayWrite == 0 {
			t.Fatalf("keywords %v were made", x.s.Keywords)
		}
		sound(t, x.s)
		if is, store := c.(StoreFlags); store && done { // what is covered is changed.
			named := x.s.Named(is.Flags) &^ here.immutable()
			inbox.Each(is.UIDs, func(i int) {
				want := map[StoreMode]event.Flags{AddFlags: before[i] | named, RemoveFlags: before[i] &^ named, ReplaceFlags: before[i]&here.immutable() | named}[is.Mode]
				if inbox.Flags[i] != want {
					t.Fatalf("message %d went from %b to %b, want %b", i, before[i], inbox.Flags[i], want)
				}
			})
		}
	})
}

// TestWithAllRightsOneDoesWhatTheOwnerDoes, except what is the owner's alone.
func TestWithAllRightsOneDoesWhatTheOwnerDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		for _, c := range append([]Command{Open{UIDValidity: 7}}, rapid.SliceOfN(someCommand, 0, 20).Draw(t, "before")...) {
			events, _ := Decide(s, c)
			for _, e := range events {
				s.Apply(s.Tx+1, e)
			}
		}
		for id, m := range s.Mailboxes {
			for who := range maps.Clone(m.ACL) {
				s.Grant(id, who, 0)
			}
			s.Grant(id, Identifier(bob), AllRights)
		}
		c := someCommand.Draw(t, "command")
		want, wantErr := Decide(s, c)
		got, err := Decide(s, As{bob, c})
		if domain.Is(err, domain.Denied) || errors.Is(err, ErrNoMailbox) {
			return // TestOnlyTheOwner and TestWhatEachCommandNeeds say when.
		}
		if !reflect.DeepEqual(got, want) || domain.KindOf(err) != domain.KindOf(wantErr) {
			t.Fatalf("%+v gives %v and %v, and to the owner %v and %v", c, got, err, want, wantErr)
		}
	})
}
