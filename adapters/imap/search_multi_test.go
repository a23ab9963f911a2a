package imap

import (
	"fmt"
	"testing"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door/doortest"
)

// shelves makes mailboxes with UIDVALIDITY 1 to 7: INBOX, a, a/b, a/b/c, ab, d and e, with the messages 1 to their place in this list.
func shelves(t *testing.T) (*testServer, *client) {
	s := start(t)
	c := s.login()
	for i, name := range []string{"INBOX", "a", "a/b", "a/b/c", "ab", "d&AOk-", "e"} {
		if i > 0 {
			c.cmd("CREATE %s", name).ok()
		}
		if name == "d&AOk-" {
			name = "d\u00e9"
		}
		for n := range i + 1 {
			if name != "e" {
				s.deliver(name, mail(n+1))
			}
		}
	}
	c.cmd("SUBSCRIBE a/b").ok()
	c.cmd("SUBSCRIBE nothing").ok()
	return s, c
}

// RFC 7377 section 2.
func TestESearchOfMailboxes(t *testing.T) {
	_, c := shelves(t)
	line := func(mailbox, what string) string {
		return fmt.Sprintf(`* ESEARCH (TAG "a..." MAILBOX %s UIDVALIDITY ...) UID %s`, mailbox, what)
	}
	for _, test := range []struct {
		command string
		want    []string
	}{
		{"IN (mailboxes a) ALL", []string{line("a", "ALL 1:2")}},
		{"IN (mailboxes (a \"ab\" nothing e)) ALL", []string{line("a", "ALL 1:2"), line("ab", "ALL 1:5")}}, // section 2.1: no answer where nothing is found
		{"IN (MAILBOXES inbox) RETURN () CHARSET UTF-8 FROM bob", []string{line("INBOX", "ALL 1")}},
		{"IN (subtree a) SUBJECT \"number 3\"", []string{line("a/b", "ALL 3"), line("a/b/c", "ALL 3")}},
		{"IN (subtree-one a) RETURN (MIN MAX COUNT) ALL", []string{line("a", "MIN 1 MAX 2 COUNT 2"), line("a/b", "MIN 1 MAX 3 COUNT 3")}},
		{"IN (subscribed inboxes) ALL", []string{line("INBOX", "ALL 1"), line("a/b", "ALL 1:3")}},
		{"IN (personal) BODY \"text 5\"", []string{line("ab", "ALL 5"), line("d&AOk-", "ALL 5")}},
		{"IN (mailboxes a subtree a mailboxes a) RETURN (COUNT) 1:* ", nil},
		{"IN (mailboxes (a ab)) UID *", []string{line("a", "ALL 2"), line("ab", "ALL 5")}},
		{"IN (mailboxes (a ab)) UID 4:*", []string{line("a", "ALL 2"), line("ab", "ALL 4:5")}},
		{"IN (mailboxes (a ab)) UID 1,9", []string{line("a", "ALL 1"), line("ab", "ALL 1")}},
		{"IN (mailboxes (a ab)) RETURN (PARTIAL -1:-2) ALL", []string{line("a", "PARTIAL (-1:-2 1:2)"), line("ab", "PARTIAL (-1:-2 4:5)")}},
		{"IN (mailboxes (a ab)) RECENT", nil},
		{"IN (mailboxes e) RETURN (COUNT) ALL", nil},
	} {
		a := c.cmd("ESEARCH %s", test.command)
		if test.command == "IN (mailboxes a subtree a mailboxes a) RETURN (COUNT) 1:* " {
			a.bad()
			continue
		}
		a.want(append(test.want, "OK ESEARCH completed")...)
	}
	for _, bad := range []string{"", "ALL", "IN (selected) ALL", "IN (selected inboxes) 1", "IN () ALL", "IN (mailboxes) ALL", "IN (mailboxes ()) ALL", "IN (nonsense) ALL", "IN (inboxes) ",
		"IN (inboxes (scope)) ALL", "IN inboxes ALL", "IN (inboxes) $", "IN (inboxes) UID $", "IN (inboxes) 1:3", "IN (inboxes) RETURN (SAVE) ALL", "IN (inboxes) RETURN (ALL",
		"IN (mailboxes INBOX) RETURN (UPDATE COUNT) ALL"} {
		c.cmd("ESEARCH %s", bad).bad()
	}
	c.cmd("ESEARCH IN (inboxes) CHARSET x-klingon ALL").no("[BADCHARSET ...")
}

func TestESearchOfTheSelected(t *testing.T) {
	s, c := shelves(t)
	c.cmd("SELECT ab").ok()
	c.cmd("ESEARCH 2:3").want(`* ESEARCH (TAG "..." MAILBOX ab UIDVALIDITY ...) UID ALL 2:3`, "OK ...")
	c.cmd("ESEARCH IN (selected) RETURN (SAVE COUNT) UID 4:*").want(`* ESEARCH (TAG "..." MAILBOX ab UIDVALIDITY ...) UID COUNT 2`, "OK ...")
	c.cmd("ESEARCH IN (selected-delayed) $").want(`* ESEARCH (TAG "..." MAILBOX ab UIDVALIDITY ...) UID ALL 4:5`, "OK ...")
	c.cmd("ESEARCH RETURN (COUNT) KEYWORD nothing").want("OK ...")
	c.cmd("ESEARCH IN (selected subtree a) UID 3").want(`* ESEARCH (TAG "..." MAILBOX a/b UIDVALIDITY ...) UID ALL 3`, `* ESEARCH (TAG "..." MAILBOX a/b/c UIDVALIDITY ...) UID ALL 3`,
		`* ESEARCH (TAG "..." MAILBOX ab UIDVALIDITY ...) UID ALL 3`, "OK ...")
	s.deliver("ab", mail(6)) // which the session has not been told of
	c.cmd("ESEARCH IN (selected inboxes) UID 5:*").want(`* ESEARCH (TAG "..." MAILBOX INBOX UIDVALIDITY ...) UID ALL 1`, `* ESEARCH (TAG "..." MAILBOX ab UIDVALIDITY ...) UID ALL 5`,
		"* 6 EXISTS", "* 6 RECENT", "OK ...")
	c.cmd("ESEARCH IN (mailboxes a) RETURN (UPDATE COUNT) ALL").want(`* NO [NOUPDATE "a..."] ...`, `* ESEARCH (TAG "..." MAILBOX a UIDVALIDITY ...) UID COUNT 2`, "OK ...")
	c.send("B01 ESEARCH RETURN (UPDATE) SUBJECT 7\r\n")
	c.expect("B01 OK ...")
	s.deliver("ab", mail(7))
	c.cmd("NOOP").has(`* ESEARCH (TAG "B01") UID ADDTO (0 7)`)
}

func TestMailboxesOfASearchAreBounded(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Mailboxes = 2 })
	c := s.login()
	c.cmd("CREATE a/b").ok()
	c.cmd("ESEARCH IN (personal) ALL").no("[LIMIT] ...")
	c.cmd("ESEARCH IN (mailboxes (INBOX a/b)) ALL").ok()
}

// TestESearchNeedsLookup: a mailbox of somebody else that LIST hides is searched only when it is selected or named itself (RFC 7377 section 2.2).
func TestESearchNeedsLookup(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "secret"})
	doortest.Deliver(t, s.Accounts, s.ids[alice], "secret", mail(1))
	s.grant(alice, "INBOX", bob, "lr")
	s.grant(alice, "secret", bob, "r")
	b := s.as(bob)
	const secret = `"Other Users/alice@example.org/secret"`
	b.cmd("SUBSCRIBE %s", secret)
	for _, hidden := range []string{`subtree "Other Users"`, `subtree-one "Other Users/alice@example.org"`, "subtree " + secret, "subscribed personal"} {
		b.cmd("ESEARCH IN (%s) ALL", hidden).want("OK ESEARCH completed")
	}
	b.cmd("ESEARCH IN (mailboxes %s) ALL", secret).want(`* ESEARCH (TAG ... MAILBOX `+secret+` ...) UID ALL 1`, "OK ESEARCH completed")
	b.cmd("SELECT %s", secret).ok()
	b.cmd("ESEARCH IN (selected inboxes) ALL").want(`* ESEARCH (TAG ... MAILBOX `+secret+` ...) UID ALL 1`, "OK ESEARCH completed")
}
