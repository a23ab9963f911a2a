package imap

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/domain/account"
)

// limit sets the account's quota.
func (s *testServer) limit(l account.Limits) {
	s.t.Helper()
	if _, err := s.Accounts.Do(s.t.Context(), s.account, "test", account.SetLimits{Limits: l}); err != nil {
		s.t.Fatal(err)
	}
}

func TestGetQuota(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.login()
	c.cmd("CAPABILITY").has("...QUOTA QUOTA=RES-MAILBOX QUOTA=RES-MESSAGE QUOTA=RES-STORAGE QUOTASET...")
	c.cmd(`GETQUOTA ""`).want(`* QUOTA "" ()`, "OK ...") // RFC 9208 section 4.2.1: nothing is limited.
	s.limit(account.Limits{Bytes: 2049, Messages: 10, Mailboxes: 20})
	c.cmd(`GETQUOTA ""`).want(`* QUOTA "" (STORAGE 1 3 MESSAGE 1 10 MAILBOX 6 20)`, "OK ...")
	c.cmd(`GETQUOTAROOT inbox`).want(`* QUOTAROOT inbox ""`, `* QUOTA "" (STORAGE 1 3 MESSAGE 1 10 MAILBOX 6 20)`, "OK ...")
	c.cmd(`GETQUOTAROOT not/there/yet`).want(`* QUOTAROOT not/there/yet ""`, `* QUOTA ...`, "OK ...")
	c.cmd(`GETQUOTA other`).no("[NONEXISTENT] ...")
	c.cmd(`GETQUOTA %s`, alice).no("[NONEXISTENT] ...") // nor may others learn who there is.
	c.cmd(`GETQUOTA`).bad()
	c.cmd(`SETQUOTA "" (STORAGE 100000)`).no("[NOPERM] ...")
	c.cmd(`SETQUOTA "" (STORAGE many)`).bad()
	c.cmd(`SETQUOTA "" (STORAGE 99999999999999999999)`).bad()
}

func TestSetQuota(t *testing.T) {
	s := start(t, func(c *Config) { c.Admins = []string{"Alice@Example.org"} })
	s.AddAccount(t, "bob@example.org", password)
	c, bob := s.login(), s.dial()
	bob.cmd("LOGIN bob@example.org %s", password).ok()
	c.cmd(`SETQUOTA bob@example.org (STORAGE 10 message 5)`).want(`* QUOTA bob@example.org (STORAGE 0 10 MESSAGE 0 5)`, "OK ...")
	bob.cmd(`GETQUOTA ""`).want(`* QUOTA "" (STORAGE 0 10 MESSAGE 0 5)`, "OK ...")
	bob.cmd(`SETQUOTA "" ()`).no("[NOPERM] ...")
	c.cmd(`SETQUOTA bob@example.org (MAILBOX 7)`).want(`* QUOTA bob@example.org (MAILBOX 6 7)`, "OK ...") // the others are gone.
	c.cmd(`GETQUOTA bob@example.org`).want(`* QUOTA bob@example.org (MAILBOX 6 7)`, "OK ...")
	c.cmd(`SETQUOTA bob@example.org (STORAGE 0)`).no("[CANNOT] ...")
	c.cmd(`SETQUOTA bob@example.org (STORAGE 9007199254740992)`).no("[LIMIT] ...")
	c.cmd(`SETQUOTA bob@example.org (STORAGE 1 ANNOTATION-STORAGE 1)`).no("[CANNOT] ...")
	c.cmd(`SETQUOTA carol@example.org (STORAGE 1)`).no("[NONEXISTENT] ...")
	c.cmd(`SETQUOTA "" (MESSAGE 1)`).want(`* QUOTA "" (MESSAGE 0 1)`, "OK ...")
	c.cmd(`SETQUOTA "" ()`).want(`* QUOTA "" ()`, "OK ...")
	bob.cmd("CREATE one").ok()
	bob.cmd("CREATE two").no("[OVERQUOTA] the account's limit of 7 mailboxes is reached")
	bob.cmd("RENAME INBOX two").no("[OVERQUOTA] ...") // which would make one
	bob.cmd("RENAME one two").ok()
	bob.cmd("DELETE two").ok()
	bob.cmd("CREATE three").ok()
}

func TestQuotaSwitchedOff(t *testing.T) {
	s := start(t, func(c *Config) { c.Without = []string{"QUOTA", "QUOTASET"} })
	c := s.login()
	c.cmd(`GETQUOTA ""`).bad("unknown command")
	c.cmd(`SETQUOTA "" ()`).bad("unknown command")
}

func TestStatusDeletedStorage(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	s.deliver("INBOX", mail(2), `\Deleted`)
	s.deliver("INBOX", mail(33), `\Deleted`)
	c := s.login()
	want := fmt.Sprintf("(DELETED 2 DELETED-STORAGE %d)", len(mail(2))+len(mail(33)))
	c.cmd("STATUS INBOX (DELETED DELETED-STORAGE)").want("* STATUS INBOX "+want, "OK ...")
	c.cmd(`LIST "" INBOX RETURN (STATUS (DELETED DELETED-STORAGE))`).has("* STATUS INBOX " + want)
	c.cmd("STATUS Trash (DELETED-STORAGE)").want("* STATUS Trash (DELETED-STORAGE 0)", "OK ...")
}

// TestABurstCannotPassTheQuota: sessions that add at the same time are decided one after the other.
func TestABurstCannotPassTheQuota(t *testing.T) {
	s := start(t)
	const sessions, each, most = 8, 10, 25
	s.limit(account.Limits{Messages: most})
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range sessions {
		c := s.login()
		wg.Go(func() {
			var lines strings.Builder
			for n := range each {
				fmt.Fprintf(&lines, "t%d APPEND INBOX %s\r\n", n, literal(mail(n)))
			}
			c.send("%s", lines.String())
			for n := range each {
				if strings.HasPrefix(c.finish(fmt.Sprintf("t%d", n)).tagged, "OK ") {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() != most {
		t.Errorf("%d messages were taken, the limit is %d", taken.Load(), most)
	}
	s.login().cmd("STATUS INBOX (MESSAGES)").has(fmt.Sprintf("* STATUS INBOX (MESSAGES %d)", most))
}
