package imap

import (
	"context"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door/doortest"
)

const (
	bob   = "bob@example.org"
	carol = "carol@example.org"
	sales = "sales@example.org"
)

// shared is a server with several accounts; alice owns what the others see.
type shared struct {
	*testServer
	ids map[string]domain.AccountID
}

func share(t testing.TB, options ...func(*Config)) *shared {
	return shareOn(t, doortest.Start(t), options...)
}

// shareOn does so at doors that are there.
func shareOn(t testing.TB, node *doortest.Node, options ...func(*Config)) *shared {
	options = append([]func(*Config){func(c *Config) { c.Anyone = true }}, options...)
	s := &shared{startOn(t, node, options...), map[string]domain.AccountID{}}
	s.ids[alice] = s.account
	for _, who := range []string{bob, carol, sales} {
		s.ids[who] = s.AddAccount(t, who, password)
	}
	if err := s.Directory.SetShared(t.Context(), "test", s.ids[sales], true); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shared) as(who string) *client {
	s.t.Helper()
	c := s.dial()
	c.cmd("LOGIN %s %s", who, password).ok()
	return c
}

// grant sets the rights of somebody on a mailbox behind the back of every session.
func (s *shared) grant(owner, mailbox, who, letters string) {
	s.t.Helper()
	rights, err := account.ParseRights(letters)
	if err != nil {
		s.t.Fatal(err)
	}
	s.do(owner, account.SetRights{Mailbox: mailbox, Identifier: account.Identifier(s.ids[who]), Rights: rights})
}

func (s *shared) do(owner string, c account.Command) {
	s.t.Helper()
	if _, err := s.Accounts.Do(s.t.Context(), s.ids[owner], "test", c); err != nil {
		s.t.Fatal(err)
	}
}

const alicesInbox = `"Other Users/alice@example.org/INBOX"`

// TestTheOwnersOwnList is the dialogue of RFC 4314 section 3 on one's own mailbox.
func TestTheOwnersOwnList(t *testing.T) {
	s := share(t)
	c := s.login()
	c.cmd("MYRIGHTS INBOX").want("* MYRIGHTS INBOX lrswipkxteacd", "OK ...")
	c.cmd("GETACL INBOX").want("* ACL INBOX alice@example.org lrswipkxteacd", "OK ...")
	c.cmd("SETACL INBOX %s lrs", bob).want("OK SETACL completed")
	c.cmd("SETACL INBOX bOb@EXAMPLE.org +wd").ok() // "d" is "te": section 2.1.1.
	c.cmd("SETACL INBOX %s -s", bob).ok()
	c.cmd("SETACL INBOX -%s w", bob).ok()
	c.cmd("SETACL INBOX anyone l").ok()
	c.cmd("GETACL inbox").want("* ACL inbox alice@example.org lrswipkxteacd -bob@example.org w anyone l bob@example.org lrwted", "OK ...")
	c.cmd("DELETEACL INBOX -%s", bob).ok()
	c.cmd("DELETEACL INBOX anyone").ok()
	c.cmd("DELETEACL INBOX %s", carol).ok() // there is nothing to delete
	c.cmd("GETACL INBOX").want("* ACL INBOX alice@example.org lrswipkxteacd bob@example.org lrwted", "OK ...")
	c.cmd(`SETACL INBOX %s ""`, bob).ok()
	c.cmd("GETACL INBOX").want("* ACL INBOX alice@example.org lrswipkxteacd", "OK ...")
	c.cmd("SETACL INBOX %s c", bob).ok()
	c.cmd("GETACL INBOX").want("* ACL INBOX alice@example.org lrswipkxteacd bob@example.org kxc", "OK ...")
	c.cmd("LISTRIGHTS INBOX %s", bob).want(`* LISTRIGHTS INBOX bob@example.org "" l r s w i p k x t e a c d`, "OK ...")
	c.cmd("LISTRIGHTS INBOX %s", alice).want(`* LISTRIGHTS INBOX alice@example.org lrswipkxteacd`, "OK ...")

	c.cmd("SETACL INBOX %s lr", alice).no("[NOPERM] the owner ...") // the right "a" cannot be lost
	c.cmd("DELETEACL INBOX %s", alice).no("[NOPERM] the owner ...")
	c.cmd("SETACL INBOX -%s a", alice).no("[NOPERM] the owner ...")
	c.cmd("SETACL INBOX %s lrn", bob).bad() // section 3.1: a right that is not known
	c.cmd("SETACL INBOX %s lr0", bob).bad()
	c.cmd("SETACL INBOX %s +-l", bob).bad()
	c.cmd(`SETACL INBOX "" l`).bad()
	c.cmd("SETACL INBOX nobody@example.org l").no("[NONEXISTENT] there is no user ...")
	for _, name := range []string{"nobody", "-nobody", "group:staff", "$staff", "owner", "authenticated", "anonymous", "administrators"} { // RFC 4314 section 2: no group is known here.
		c.cmd("SETACL INBOX %s l", name).no("[NONEXISTENT] there is no user ...")
	}
	c.cmd("SETACL nothing %s l", bob).no("[NONEXISTENT] the mailbox does not exist")
	for _, command := range []string{"GETACL nothing", "MYRIGHTS nothing", "LISTRIGHTS nothing " + bob, "DELETEACL nothing " + bob} {
		c.cmd("%s", command).no("[NONEXISTENT] the mailbox does not exist")
	}
}

// TestRightsFollowAMailbox: RFC 4314 section 4, CREATE, RENAME and DELETE.
func TestRightsFollowAMailbox(t *testing.T) {
	s := share(t)
	c := s.login()
	c.cmd("CREATE work").ok()
	c.cmd("SETACL work %s lr", bob).ok()
	c.cmd("CREATE work/new").ok()
	c.cmd("RENAME work old").ok()
	c.cmd("GETACL old/new").want("* ACL old/new ... bob@example.org lr", "OK ...")
	b := s.as(bob)
	b.cmd(`LIST "" "Other*"`).want(`* LIST (\NonExistent \Noselect \HasChildren) "/" "Other Users"`, `* LIST (\NonExistent \Noselect \HasChildren) "/" "Other Users/alice@example.org"`,
		`* LIST (\HasChildren) "/" "Other Users/alice@example.org/old"`, `* LIST (\HasNoChildren) "/" "Other Users/alice@example.org/old/new"`, "OK ...")
	c.cmd("DELETE old").ok()
	c.cmd("CREATE old").ok()
	b.cmd(`LIST "" "Other Users/%%/*"`).want(`* LIST (\NonExistent \Noselect \HasChildren) "/" "Other Users/alice@example.org/old"`,
		`* LIST (\HasNoChildren) "/" "Other Users/alice@example.org/old/new"`, "OK ...")
	b.cmd(`SELECT "Other Users/alice@example.org/old"`).no("[NONEXISTENT] the mailbox does not exist")
}

func TestNamespaces(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lr")
	s.grant(sales, "INBOX", bob, "lr")
	s.deliver("INBOX", mail(1))
	b := s.as(bob)
	b.cmd("NAMESPACE").want(`* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared Folders/" "/"))`, "OK ...")
	b.cmd(`LIST "" %%`).has(`* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\NonExistent \Noselect \HasChildren) "/" "Other Users"`,
		`* LIST (\NonExistent \Noselect \HasChildren) "/" "Shared Folders"`).ok()
	b.cmd(`LIST "Other Users/" * RETURN (STATUS (MESSAGES) MYRIGHTS SUBSCRIBED)`).want(
		`* LIST (\NonExistent \Noselect \HasChildren) "/" "Other Users/alice@example.org"`, `* LIST (\HasNoChildren) "/" `+alicesInbox,
		`* STATUS `+alicesInbox+` (MESSAGES 1)`, `* MYRIGHTS `+alicesInbox+` lr`, "OK ...")
	b.cmd(`LIST "" (INBOX Shared*) RETURN (MYRIGHTS)`).want(`* LIST (\HasNoChildren) "/" INBOX`, "* MYRIGHTS INBOX lrswipkxteacd",
		`* LIST (\NonExistent \Noselect \HasChildren) "/" "Shared Folders"`, `* LIST (\NonExistent \Noselect \HasChildren) "/" "Shared Folders/sales@example.org"`,
		`* LIST (\HasNoChildren) "/" "Shared Folders/sales@example.org/INBOX"`, `* MYRIGHTS "Shared Folders/sales@example.org/INBOX" lr`, "OK ...")
	b.cmd(`LIST (SPECIAL-USE) "" "Other*"`).want("OK ...")
	b.cmd(`SUBSCRIBE "Other Users/alice@example.org/inbox"`).ok()
	b.cmd(`LSUB "" "Oth*"`).want(`* LSUB () "/" `+alicesInbox, "OK ...")
	b.cmd(`LIST (SUBSCRIBED) "" "Oth*"`).want(`* LIST (\HasNoChildren \Subscribed) "/" `+alicesInbox, "OK ...")
	b.cmd(`SELECT "Shared Folders/alice@example.org/INBOX"`).no("[NONEXISTENT] ...") // each in its own namespace
	b.cmd(`SELECT "Other Users/sales@example.org/INBOX"`).no("[NONEXISTENT] ...")
	b.cmd(`SELECT "Other Users/alice@example.org/inbox"`).ok("[READ-ONLY] ...") // INBOX in any case
	s.as(carol).cmd(`LIST "" "*ed*/*"`).want("OK ...")
	s.as(alice).cmd(`LIST "" "Other*"`).want("OK ...")
}

// TestAnOlderMailboxKeepsItsName: what one called so before there was a namespace stays one's own.
func TestAnOlderMailboxKeepsItsName(t *testing.T) {
	s := share(t)
	s.do(bob, account.CreateMailbox{Name: "Other Users/plans"})
	s.do(bob, account.CreateMailbox{Name: "Shared Folders"})
	s.grant(alice, "INBOX", bob, "lr")
	b := s.as(bob)
	b.cmd(`LIST "" "*s*/*"`).has(`* LIST (\HasNoChildren) "/" "Other Users/plans"`, `* LIST (\HasNoChildren) "/" `+alicesInbox).ok()
	b.cmd(`SELECT "Other Users/plans"`).ok("[READ-WRITE] ...")
	b.cmd(`CREATE "Other Users/more"`).no("[NOPERM] ...")
	b.cmd(`RENAME "Other Users/plans" plans`).ok()
	b.cmd(`RENAME plans "Other Users/plans"`).no("[CANNOT] ...")
	b.cmd(`DELETE "Shared Folders"`).ok()
}

func TestPrefixesAreConfigured(t *testing.T) {
	s := share(t, func(c *Config) { c.Namespaces = Namespaces{Others: "#user/", Shared: "Groups/"} })
	s.grant(alice, "INBOX", bob, "lr")
	b := s.as(bob)
	b.cmd("NAMESPACE").want(`* NAMESPACE (("" "/")) (("#user/" "/")) (("Groups/" "/"))`, "OK ...")
	b.cmd(`SELECT "#user/alice@example.org/INBOX"`).ok()
}

// TestWhatARightAllows is RFC 4314 section 4 seen by a client: with the rights each command passes, without them it is refused, and "l" decides how.
func TestWhatARightAllows(t *testing.T) {
	for _, c := range []struct{ rights, command string }{
		{"r", "SELECT BOX"},
		{"r", "EXAMINE BOX"},
		{"r", "STATUS BOX (MESSAGES)"},
		{"i", "APPEND BOX {2+}\r\nab"},
		{"k", "CREATE BELOW"},
		{"x", "DELETE BOX"},
		{"x", `RENAME BOX "Other Users/alice@example.org/a/b"`},
		{"a", "GETACL BOX"},
		{"a", "SETACL BOX carol@example.org l"},
		{"a", "DELETEACL BOX carol@example.org"},
		{"a", "LISTRIGHTS BOX carol@example.org"},
		{"r", "GETQUOTAROOT BOX"},
		{"lr", "GETMETADATA BOX /shared/comment"},
		{"lw", `SETMETADATA BOX (/shared/comment "x")`},
	} {
		t.Run(c.rights+" "+c.command[:strings.Index(c.command, " ")], func(t *testing.T) {
			s := share(t)
			s.do(alice, account.CreateMailbox{Name: "a"})
			s.do(alice, account.CreateMailbox{Name: "a/box"})
			s.grant(alice, "a", bob, "k")
			try := func(rights string) *answer {
				s.grant(alice, "a/box", bob, rights)
				return s.as(bob).cmd("%s", strings.NewReplacer("BOX", `"Other Users/alice@example.org/a/box"`, "BELOW", `"Other Users/alice@example.org/a/box/new"`).Replace(c.command))
			}
			for i := range c.rights {
				less := c.rights[:i] + c.rights[i+1:] + "t" // which none of them needs
				switch a := try(less); {
				case strings.HasPrefix(a.tagged, "NO [NOPERM] ") && (strings.Contains(less, "l") || strings.HasPrefix(c.command, "CREATE")):
				case !strings.HasPrefix(a.tagged, "NO [NONEXISTENT] ") && !strings.HasPrefix(a.tagged, "NO [TRYCREATE] "):
					t.Errorf("with %q: %s", less, a.tagged)
				}
				if c.rights[i] != 'l' {
					try(less + "l").no("[NOPERM] ...")
				}
			}
			try(c.rights).ok()
		})
	}
}

// TestMyRights: any right by which one knows of a mailbox will do (RFC 4314 section 4).
func TestMyRights(t *testing.T) {
	s := share(t)
	b := s.as(bob)
	for _, letter := range "lrikxa" {
		s.grant(alice, "INBOX", bob, string(letter))
		b.cmd("MYRIGHTS "+alicesInbox).want("* MYRIGHTS "+alicesInbox+" "+string(letter)+"...", "OK ...")
	}
	for _, letters := range []string{"s", "wpte", ""} {
		s.grant(alice, "INBOX", bob, letters)
		b.cmd("MYRIGHTS " + alicesInbox).no("[NONEXISTENT] the mailbox does not exist")
	}
}

// TestEntriesOfErasedAccounts can be told and deleted by their id.
func TestEntriesOfErasedAccounts(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lr")
	if err := s.Directory.Erase(context.WithoutCancel(t.Context()), "test", s.ids[bob]); err != nil {
		t.Fatal(err)
	}
	s.AddAccount(t, bob, password)
	s.as(bob).cmd("SELECT " + alicesInbox).no("[NONEXISTENT] ...") // He is another one, with the same address.
	a := s.login()
	a.cmd("GETACL INBOX").want("* ACL INBOX ... "+string(s.ids[bob])+" lr", "OK ...")
	a.cmd("DELETEACL INBOX %s", s.ids[bob]).ok()
	a.cmd("GETACL INBOX").want("* ACL INBOX alice@example.org lrswipkxteacd", "OK ...")
}

// TestNoMailboxIsNamedLikeANamespace: nobody makes one, and names below are refused as before.
func TestNoMailboxIsNamedLikeANamespace(t *testing.T) {
	s := share(t)
	b := s.as(bob)
	b.cmd("CREATE mine").ok()
	for _, name := range []string{"Other Users", "Other Users/", "Shared Folders", "Shared Folders/", "Other Users/mine"} {
		b.cmd(`CREATE "%s"`, name).no("[NOPERM] you may not create a mailbox of that name")
		b.cmd(`RENAME mine "%s"`, name).no()
		b.cmd(`SELECT "%s"`, name).no("[NONEXISTENT] ...")
		b.append(`"`+name+`"`, mail(1)).no()
	}
	b.cmd(`LIST "" *Users*`).want("OK ...")
	b.cmd(`CREATE "Other Users2"`).ok()
}

// TestNothingTellsWhatIsHidden: of a user who shares nothing, of one who does not exist, and of a mailbox that one may not see, every command says the same
// (RFC 4314 section 6).
func TestNothingTellsWhatIsHidden(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "secret"})
	s.grant(alice, "INBOX", bob, "lrswipkxtea")
	b := s.as(bob)
	b.cmd(`SELECT ` + alicesInbox).ok()
	b.append(alicesInbox, mail(1)).ok()
	b.cmd("CREATE mine").ok()
	for _, command := range []string{
		`SELECT "@@"`, `EXAMINE "@@"`, `STATUS "@@" (MESSAGES)`, "APPEND \"@@\" {2+}\r\nab", "APPEND \"@@\" CATENATE (TEXT {2+}\r\nab)", `CREATE "@@"`, `CREATE "@@/new"`,
		`DELETE "@@"`, `RENAME "@@" mine2`, `RENAME "@@" "@@2"`, `RENAME mine "@@/x"`, `RENAME ` + alicesInbox + ` "@@/x"`, `SUBSCRIBE "@@"`, `UNSUBSCRIBE "@@"`, `LIST "" "@@"`,
		`LIST "" "@@/*"`, `GETACL "@@"`, `SETACL "@@" anyone lr`, `SETACL "@@" nobody lr`, `DELETEACL "@@" anyone`, `LISTRIGHTS "@@" anyone`, `MYRIGHTS "@@"`,
		`GETMETADATA "@@" /shared/comment`, `GETMETADATA "@@" /private/comment`, `SETMETADATA "@@" (/shared/comment "x")`, `SETMETADATA "@@" (/private/comment "x")`,
		`GETQUOTAROOT "@@"`, `COPY 1 "@@"`, `MOVE 1 "@@"`, "REPLACE 1 \"@@\" {2+}\r\nab", `COPY 99:* "@@"`, `ESEARCH IN (mailboxes "@@") ALL`, `ESEARCH IN (subtree "@@") ALL`,
		`APPEND mine CATENATE (URL "/URL;UIDVALIDITY=1/;uid=1")`, `APPEND mine CATENATE (URL "/URL/;uid=1")`, `NOTIFY SET (mailboxes "@@" (MessageNew MessageExpunge))`,
		`GETQUOTA "@@"`, `RESETKEY "@@"`,
	} {
		for _, names := range [][]string{ // one who shares something, and those who do not
			{"alice@example.org/secret", "alice@example.org/nothing"}, {"carol@example.org/INBOX", "nobody@example.org/INBOX", "sales@example.org/INBOX", "nonsense/INBOX"},
		} {
			answers := map[string]string{}
			for _, name := range names {
				name = "Other Users/" + name
				escaped := strings.ReplaceAll(name, " ", "%20")
				b.cmd(`SELECT ` + alicesInbox).ok()
				a := b.cmd("%s", strings.NewReplacer("@@", name, "URL \"/URL", `URL "/`+escaped).Replace(command))
				said := strings.Join(append(a.untagged, a.tagged), "\n")
				answers[strings.NewReplacer(name, "@@", escaped, "@@").Replace(said)] = name
			}
			if len(answers) != 1 {
				t.Errorf("%s: %q", command, answers)
			}
		}
	}
}

// TestKeywordsOfHiddenMailboxesAreNotTold: FLAGS and PERMANENTFLAGS of somebody else's mailbox name what its messages have and no more, and the first FETCH
// that shows a keyword comes after FLAGS has named it (RFC 9051 section 7.3.5).
func TestKeywordsOfHiddenMailboxesAreNotTold(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "secret"})
	s.deliver("secret", mail(1))
	s.deliver("INBOX", mail(1))
	s.deliver("INBOX", mail(2))
	s.grant(alice, "INBOX", bob, "lrw")
	a, b := s.login(), s.as(bob)
	a.cmd("SELECT secret").ok()
	a.cmd("STORE 1 +FLAGS (layoffs)").ok()
	a.cmd("SELECT INBOX").has(`* FLAGS (\Seen \Answered \Flagged \Deleted \Draft layoffs)`).ok() // the owner may use it everywhere
	b.cmd("SELECT "+alicesInbox).has(`* FLAGS (\Seen \Answered \Flagged \Deleted \Draft)`, `* OK [PERMANENTFLAGS (\Answered \Flagged \Draft \*)] Flags kept`).ok()
	a.cmd("STORE 1 +FLAGS (party)").ok()
	b.cmd("NOOP").want(`* FLAGS (\Seen \Answered \Flagged \Deleted \Draft party)`, `* OK [PERMANENTFLAGS (\Answered \Flagged \Draft party \*)] Flags kept`,
		"* 1 FETCH (UID 1 FLAGS (party...))", "OK ...")
	b.cmd("STORE 2 +FLAGS (mine)").has(`* FLAGS (\Seen \Answered \Flagged \Deleted \Draft party mine)`).ok()
	a.cmd("STORE 2 +FLAGS (late)").ok()
	b.cmd("FETCH 2 (FLAGS)").want(`* FLAGS (\Seen \Answered \Flagged \Deleted \Draft party mine late)`, `* OK [PERMANENTFLAGS (\Answered \Flagged \Draft party mine late \*)] Flags kept`,
		"* 2 FETCH (FLAGS (mine late...))", "...", "OK ...")
	s.grant(alice, "INBOX", bob, "lrwt") // which tells the flags anew
	b.cmd("NOOP").has(`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Draft party mine late \*)] Flags kept`).hasNot("...layoffs...").ok()
}

// TestAnyone gives everybody rights, and takes them from one.
func TestAnyone(t *testing.T) {
	s := share(t)
	a := s.login()
	a.cmd("SETACL INBOX anyone lr").ok()
	a.cmd("LISTRIGHTS INBOX anyone").want(`* LISTRIGHTS INBOX anyone "" l r s w i p k x t e a c d`, "OK ...")
	a.cmd("SETACL INBOX -%s r", carol).ok()
	s.as(bob).cmd("SELECT " + alicesInbox).ok()
	s.as(carol).cmd("SELECT " + alicesInbox).no("[NOPERM] ...")
	s.as(carol).cmd("MYRIGHTS "+alicesInbox).want("* MYRIGHTS "+alicesInbox+" l", "OK ...")
}

// TestAnyoneIsForOperators unless they let users put mailboxes into everybody's list.
func TestAnyoneIsForOperators(t *testing.T) {
	s := share(t, func(c *Config) { c.Anyone = false })
	a := s.login()
	a.cmd("SETACL INBOX anyone lr").no("[NOPERM] only operators ...")
	a.cmd("SETACL INBOX anyone +l").no("[NOPERM] only operators ...")
	a.cmd("SETACL INBOX -anyone l").ok()
	a.cmd("LISTRIGHTS INBOX anyone").want(`* LISTRIGHTS INBOX anyone ""`, "OK ...") // what SETACL refuses is not offered
	a.cmd("LISTRIGHTS INBOX -anyone").want(`* LISTRIGHTS INBOX -anyone "" l r s w i p k x t e a c d`, "OK ...")
	s.do(alice, account.SetRights{Mailbox: "INBOX", Identifier: account.Anyone, Rights: account.MayRead | account.MaySee})
	s.as(bob).cmd("SELECT " + alicesInbox).ok()
	a.cmd("SETACL INBOX anyone -s").ok()
	a.cmd("DELETEACL INBOX anyone").ok()
	a.cmd("GETACL INBOX").want("* ACL INBOX alice@example.org lrswipkxteacd -anyone l", "OK ...")
}

// TestAnAdministratorWhoIsNotTheOwner may change the list and not what the owner has.
func TestAnAdministratorWhoIsNotTheOwner(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "la")
	b := s.as(bob)
	b.cmd("SETACL "+alicesInbox+" %s lr", carol).ok()
	b.cmd("SETACL "+alicesInbox+" %s +r", bob).ok()
	b.cmd("SETACL "+alicesInbox+" %s lr", alice).no("[NOPERM] ...")
	b.cmd("GETACL "+alicesInbox).want("* ACL "+alicesInbox+" alice@example.org lrswipkxteacd ...", "OK ...")
	b.cmd("SETACL "+alicesInbox+" %s -a", bob).ok()
	b.cmd("GETACL " + alicesInbox).no("[NOPERM] ...")
	s.as(carol).cmd("SELECT " + alicesInbox).ok()
}

// TestAnnotationsOfOthers: shared ones are shared, private ones are the owner's (RFC 5464 section 3.3).
func TestAnnotationsOfOthers(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lrw")
	a, b := s.as(alice), s.as(bob)
	a.cmd(`SETMETADATA INBOX (/private/comment "mine" /shared/comment "ours")`).ok()
	b.cmd("GETMETADATA "+alicesInbox+" (/private/comment /shared/comment)").want("* METADATA "+alicesInbox+` (/private/comment NIL /shared/comment "ours")`, "OK ...")
	b.cmd("GETMETADATA " + alicesInbox + " (DEPTH infinity) /private").want("OK ...")
	b.cmd("SETMETADATA " + alicesInbox + ` (/private/comment "x")`).no("[METADATA NOPRIVATE] ...")
	b.cmd("SETMETADATA " + alicesInbox + ` (/private/specialuse "\\Sent")`).no("[METADATA NOPRIVATE] ...")
	b.cmd("SETMETADATA " + alicesInbox + ` (/shared/comment "new")`).ok()
	b.cmd(`LIST "" "Other*/INBOX" RETURN (METADATA (/shared/comment /private/comment))`).has("* METADATA " + alicesInbox + ` (/shared/comment "new" /private/comment NIL)`).ok()
	a.cmd("GETMETADATA INBOX (/private/comment /shared/comment)").want(`* METADATA INBOX (/private/comment "mine" /shared/comment "new")`, "OK ...")
	s.grant(alice, "INBOX", bob, "lx")
	b.cmd("GETMETADATA " + alicesInbox + " /shared/comment").no("[NOPERM] ...")
}

// TestQuotaOfOthers: what one puts into another's mailbox counts there.
func TestQuotaOfOthers(t *testing.T) {
	s := share(t)
	s.do(alice, account.SetLimits{Limits: account.Limits{Messages: 1}})
	s.grant(alice, "INBOX", bob, "lri")
	b := s.as(bob)
	// How much she has is her secret (RFC 9208 section 8); that of a group is everybody's who reads there.
	b.cmd("GETQUOTAROOT "+alicesInbox).want("* QUOTAROOT "+alicesInbox, "OK ...")
	for _, root := range []string{`"Other Users/alice@example.org"`, "alice@example.org", string(s.ids[alice])} {
		b.cmd("GETQUOTA %s", root).no("[NONEXISTENT] there is no such quota root")
	}
	s.do(sales, account.SetLimits{Limits: account.Limits{Messages: 7}})
	s.grant(sales, "INBOX", bob, "lr")
	b.cmd(`GETQUOTAROOT "Shared Folders/sales@example.org/INBOX"`).want(`* QUOTAROOT "Shared Folders/sales@example.org/INBOX" "Shared Folders/sales@example.org"`,
		`* QUOTA "Shared Folders/sales@example.org" (MESSAGE 0 7)`, "OK ...")
	b.append(alicesInbox, mail(1)).ok()
	b.append(alicesInbox, mail(2)).no("[OVERQUOTA] ...")
	b.append("INBOX", mail(2)).ok()
	b.cmd("SELECT INBOX").ok()
	b.cmd("COPY 1 " + alicesInbox).no("[OVERQUOTA] ...")
	b.cmd("MOVE 1 " + alicesInbox).no("[OVERQUOTA] ...")
	b.cmd("NOOP").want("OK ...")
}
