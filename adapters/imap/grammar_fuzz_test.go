package imap

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
)

// parserOf gives a session that can parse, and nothing more.
func parserOf(text string) *conn {
	c := &conn{server: &Server{cfg: Config{Now: func() time.Time { return time.Unix(1e9, 0) }}}, sel: &selected{uids: []domain.UID{2, 4, 6}, saved: domain.UIDs(4)}}
	c.dec = wire.NewDecoder(strings.NewReader(text), wire.Limits{Command: 8192, Kept: 4096, Literal: 2048, Depth: 10, Nesting: 20, Items: 100, Ranges: 100, Drain: 8192})
	c.dec.Begin()
	return c
}

// settled checks that a command which is not accepted has an error, and that the reader then stands where it should.
func settled(t *testing.T, c *conn, accepted bool, text string) {
	t.Helper()
	if !accepted && c.dec.Err() == nil {
		t.Errorf("%q is refused without a reason", text)
	}
	if accepted && !c.dec.Ended() {
		t.Errorf("%q is accepted before its end", text)
	}
	var grammar *wire.SyntaxError
	if err := c.dec.Err(); err != nil && !errors.As(err, &grammar) && c.dec.Finish() == nil {
		t.Errorf("%q: the session goes on after %v", text, err)
	}
}

// FuzzFetchItems reads what FETCH may ask for. What is accepted and shown by the response must be accepted again.
func FuzzFetchItems(f *testing.F) {
	for _, s := range []string{"FULL", "(UID FLAGS)", "BODY[1.2.HEADER.FIELDS.NOT (a \"b c\" {3+}\r\nabc)]<1.2>", "BODY.PEEK[]", "BINARY.SIZE[1]", "BINARY.PEEK[1]<0.1>",
		"(PREVIEW (LAZY) SAVEDATE)", "(EMAILID THREADID MODSEQ)", "BODY[1.MIME]", "BODY[", "(BODY BODYSTRUCTURE", "RFC822.TEXT",
		"BODY[HEADER.FIELDS (\"}\")]", "BODY[HEADER.FIELDS ({6+}\r\n{1}\r\n})]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parserOf(text + "\r\n")
		items, ok := c.fetchItems(c.dec)
		ok = ok && c.dec.ExpectCRLF()
		settled(t, c, ok, text)
		if !ok {
			return
		}
		for _, item := range items {
			name := item.name
			if partial := strings.LastIndexByte(name, '<'); partial > 0 && strings.HasSuffix(name, ">") {
				name = strings.TrimSuffix(name, ">") + ".1>"
			}
			again := parserOf(name + "\r\n")
			again.dec.Continue = func() error { return nil } // Responses have synchronising literals, which quote what was quoted otherwise.
			again.dec.SetLimits(wire.Limits{})
			if items, ok := again.fetchItems(again.dec); !ok || len(items) != 1 || items[0].name != item.name {
				t.Errorf("%q gives the item %q, which is not accepted: %v", text, item.name, again.dec.Err())
			}
		}
	})
}

// FuzzSort reads what SORT, THREAD's program and ESEARCH may say.
func FuzzSort(f *testing.F) {
	for _, s := range []string{"(REVERSE DATE SUBJECT) UTF-8 ALL", "RETURN (PARTIAL -1:-5 SAVE) (DISPLAYFROM) {5+}\r\nutf-8 NOT $", "RETURN (UPDATE CONTEXT) (SIZE) UTF-8 1:*",
		"RETURN (RELEVANCY ALL) (RELEVANCY) UTF-8 FUZZY (SUBJECT x)", "IN (selected) RETURN (PARTIAL 1:2) ALL", "IN (subtree (a \"b c\") mailboxes {1+}\r\nx inboxes) UID 3:*", "IN (personal (x)) ALL"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parserOf(" " + text + "\r\n")
		var r searchRequest
		err := r.parseSort(c, c.dec)
		if err != nil && domain.Is(err, domain.Invalid) {
			return // the charset
		}
		var grammar *wire.SyntaxError
		if errors.As(err, &grammar) { // of the command, if not of the decoder
			c.dec.Fail(err)
		}
		settled(t, c, err == nil, text)
		if err == nil && (r.all == (r.partial != nil) && r.extended && !r.min && !r.max && !r.count && !r.save && !r.nothing || len(r.by) == 0) {
			t.Errorf("%q asks for nothing or for two things: %+v", text, r)
		}
		c = parserOf(text + "\r\n")
		filters, ok := sources(c.dec, Namespaces{}.withDefaults())
		if c.dec.Err() == nil != ok {
			t.Errorf("%q: %v with the error %v", text, ok, c.dec.Err())
		}
		if ok && len(filters) == 0 {
			t.Errorf("%q names no mailbox", text)
		}
	})
}

// FuzzSearch reads search programs and runs those that are accepted on a message of which only the columns are known.
func FuzzSearch(f *testing.F) {
	for _, s := range []string{"ALL", "RETURN (MIN SAVE) CHARSET utf-8 SUBJECT {3+}\r\nabc", "OR NOT SEEN (1:*,4 UID $ $)", "SENTON 1-Feb-1994 OLDER 7 LARGER 3",
		"HEADER a b KEYWORD x BODY \"y\"", "NOT NOT NOT NEW", "CHARSET x-klingon ALL", "(((ALL)))"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parserOf(" " + text + "\r\n")
		var r searchRequest
		err := r.parse(c, c.dec)
		if err != nil && domain.Is(err, domain.Invalid) {
			return // the charset
		}
		settled(t, c, err == nil, text)
		if err == nil {
			search.Compile(r.key, account.New()).Judge(&search.Candidate{})
		}
	})
}

// FuzzSynchronisation reads what SELECT, FETCH, STORE and NOTIFY take for synchronisation.
func FuzzSynchronisation(f *testing.F) {
	for i, s := range []string{"INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (1,4 2,8)))", "INBOX (CONDSTORE QRESYNC (1 2 (1:3 2,4,6)))", "a (QRESYNC (1 9223372036854775807 *))",
		"1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED PARTIAL -1:-30)", "1 FLAGS (PARTIAL 5:1)", "7,3:9 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\\Deleted $a)", "* (UNCHANGEDSINCE 18446744073709551615) FLAGS ()",
		"SET STATUS (selected-delayed (MessageNew (UID BODY.PEEK[HEADER.FIELDS (A)]) MessageExpunge FlagChange)) (subtree (a {1+}\r\nb) (MailboxName x-event))", "NONE",
		"SET (inboxes NONE) (mailboxes x (SubscriptionChange))"} {
		f.Add(byte(i), s)
	}
	f.Fuzz(func(t *testing.T, which byte, text string) {
		c := parserOf(" " + text + "\r\n")
		c.qresync, c.uidonly = true, which&4 != 0
		var accepted bool
		switch which % 4 {
		case 0:
			var r selectRequest
			if accepted = r.parse(c, c.dec); accepted && r.resync != nil {
				last := r.resync.matched(c.sel.uids)
				if gone := absent(domain.UIDSet{{Lo: last + 1, Hi: 7}}, c.sel.uids).Intersect(domain.UIDs(2, 4, 6)); gone != nil {
					t.Errorf("%q: %s vanished and are there", text, gone)
				}
			}
		case 1:
			r := fetchRequest{uid: true}
			if accepted = r.parse(c, c.dec); accepted && r.page != nil {
				if n := c.sel.page(domain.UIDSet{domain.AllUIDs}, r.page).Len(); n > 3 {
					t.Errorf("%q: a page of 3 messages has %d", text, n)
				}
			}
		case 2:
			var r storeRequest
			if accepted = r.parse(c, c.dec); accepted {
				r.wish.Refused(account.New())
			}
		case 3:
			var r notifyRequest
			accepted = r.parse(c, c.dec)
		}
		settled(t, c, accepted, text)
	})
}
