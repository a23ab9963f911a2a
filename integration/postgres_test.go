package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/streampost/streampost/adapters/sqlview/postgres/pgtest"
)

// The database of the views dies under a server that receives mail. What was accepted is there afterwards, what needs rows meanwhile is refused for
// now, and nobody has to restart anything.
func TestViewDatabaseGone(t *testing.T) {
	t.Parallel()
	database := pgtest.Own(t)
	s := idleServer(t)
	s.views = database.Database(t)
	s.start("")
	accepted := map[string]bool{}
	deliver := func(subject string) bool {
		c := dialLMTP(s.addr(1124))
		if c == nil {
			return false
		}
		defer c.Close()
		ok := c.begin("alice@example.org") && c.ask("250", "Subject: "+subject+"\r\n\r\ntext\r\n.")
		if ok {
			accepted[subject] = true
		}
		return ok
	}
	for i := range 5 {
		if !deliver(fmt.Sprintf("before %d", i)) {
			t.Fatal("mail is refused while all is well")
		}
	}
	database.Stop()
	for i := range 5 {
		deliver(fmt.Sprintf("meanwhile %d", i)) // accepted or not: only lost it may not be
	}
	// Flags come from memory, envelopes from rows.
	c, err := imapclient.DialInsecure(s.addr(1143), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("alice@example.org", password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Errorf("SELECT: %v", err)
	}
	all := imap.SeqSet{{Start: 1, Stop: 0}}
	if _, err := c.Fetch(all, &imap.FetchOptions{Flags: true}).Collect(); err != nil {
		t.Errorf("flags: %v", err)
	}
	if _, err := c.Fetch(all, &imap.FetchOptions{Envelope: true}).Collect(); err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
		t.Errorf("envelopes: %v", err)
	}
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; {
		if deliver("after") {
			if _, err := c.Fetch(all, &imap.FetchOptions{Envelope: true}).Collect(); err == nil {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not recover")
		}
		time.Sleep(50 * time.Millisecond) // it tries again by itself, after a while
	}
	seen := map[string]string{}
	remember(t, seen, s.addr(1143), "alice@example.org")
	found := map[string]bool{}
	for _, subject := range seen {
		found[subject] = true
	}
	for subject := range accepted {
		if !found[subject] {
			t.Errorf("%q was accepted and is gone", subject)
		}
	}
	t.Logf("%d messages accepted, all found", len(accepted))
	s.clean()
}

// The database of the views dies while they are made anew. The live rows are as they were, and the rebuild has gone on or says what stopped it.
func TestViewDatabaseDiesDuringRebuild(t *testing.T) {
	t.Parallel()
	database := pgtest.Own(t)
	s := idleServer(t)
	s.views = database.Database(t)
	s.start("")
	changes := []string{"SELECT INBOX"}
	for i := range 400 { // a build that is short of few entries is not throttled
		changes = append(changes, fmt.Sprintf(`STORE 1 %cFLAGS (\Flagged)`, "+-"[i%2]))
	}
	s.imap(append(changes, "FETCH 1 ENVELOPE")...) // which waits until the live rows have them all
	type ended struct {
		out string
		err error
	}
	rebuilt := make(chan ended, 1)
	go func() {
		out, err := s.try("projection", "rebuild", "--projection", "mailboxes", "--throttle", "20")
		rebuilt <- ended{out, err}
	}()
	for deadline := time.Now().Add(3 * time.Minute); !strings.Contains(s.run("projection", "list", "--json"), `"building"`); {
		if time.Now().After(deadline) {
			t.Fatal("the rebuild does not begin")
		}
	}
	database.Stop()
	if out, err := s.try("task", "list"); err == nil || !strings.Contains(out, "view of tasks") && !strings.Contains(out, "view database") {
		t.Errorf("without the database the list of tasks is: %v\n%s", err, out)
	}
	if answer := s.deliver("meanwhile"); !strings.HasPrefix(answer, "250") && !strings.HasPrefix(answer, "4") {
		t.Errorf("mail is answered with %s", answer)
	}
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case end := <-rebuilt:
		if end.err != nil && !strings.Contains(end.out, "the view database cannot be reached") {
			t.Errorf("the rebuild ended: %v\n%s", end.err, end.out)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("the rebuild does not end")
	}
	s.run("projection", "rebuild", "--projection", "mailboxes")
	s.clean()
}
