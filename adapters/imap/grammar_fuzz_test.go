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
		"(PREVIEW (LAZY) SAVEDATE)", "BODY[1.MIME]", "BODY[", "(BODY BODYSTRUCTURE", "RFC822.TEXT"} {
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
			again := parserOf(strings.ReplaceAll(name, "}", "+}") + "\r\n")
			if items, ok := again.fetchItems(again.dec); !ok || len(items) != 1 || items[0].name != item.name {
				t.Errorf("%q gives the item %q, which is not accepted: %v", text, item.name, again.dec.Err())
			}
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
