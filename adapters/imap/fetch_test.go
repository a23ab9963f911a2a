package imap

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

// lit is a literal as the wire shows it.
func lit(text string) string { return fmt.Sprintf("{%d}\r\n%s", len(text), text) }

// rfcExample is the message of RFC 9051 section 8 and of RFC 3501 section 8.
const rfcExample = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n" +
	"From: Terry Gray <gray@cac.washington.edu>\r\n" +
	"Subject: IMAP4rev2 WG mtg summary and minutes\r\n" +
	"To: imap@cac.washington.edu\r\n" +
	"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n" +
	"Message-Id: <B27397-0100000@cac.washington.edu>\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n" +
	"\r\n" +
	"the text\r\n"

const rfcEnvelope = `("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" ` +
	`(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) ` +
	`(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) ` +
	`((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.edu>")`

// RFC 9051 section 8, the sample session, as far as FETCH goes.
func TestFetchAsInTheRFC(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", rfcExample)
	c := s.selected("INBOX")
	c.cmd("FETCH 1 full").want(
		`* 1 FETCH (FLAGS (\Recent) INTERNALDATE "... +0000" RFC822.SIZE 352 ENVELOPE `+rfcEnvelope+` BODY ("text" "plain" ("charset" "US-ASCII") NIL NIL "7bit" 10 1))`,
		"OK FETCH completed")
	c.cmd("FETCH 1 body[header]").want(
		"* 1 FETCH (BODY[HEADER] "+lit(strings.TrimSuffix(rfcExample, "the text\r\n"))+")",
		`* 1 FETCH (UID 1 FLAGS (\Seen \Recent))`,
		"OK FETCH completed")
}

func TestFetchItems(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", rfcExample, `\Flagged`, "$Work")
	s.deliver("INBOX", mail(2))
	c := s.selected("INBOX")
	c.cmd("FETCH 1:2 (UID FLAGS)").want(
		`* 1 FETCH (UID 1 FLAGS (\Flagged $Work \Recent))`,
		`* 2 FETCH (UID 2 FLAGS (\Recent))`,
		"OK FETCH completed")
	c.cmd("UID FETCH 1:* FLAGS").want( // RFC 9051 section 6.4.9: the UID comes unasked.
		`* 1 FETCH (UID 1 FLAGS (\Flagged $Work \Recent))`,
		`* 2 FETCH (UID 2 FLAGS (\Recent))`,
		"OK UID FETCH completed")
	c.cmd("UID FETCH 2 (FLAGS UID)").want(`* 2 FETCH (FLAGS (\Recent) UID 2)`, "OK UID FETCH completed")
	c.cmd("UID FETCH 5:7 FLAGS").want("OK UID FETCH completed")
	c.cmd("UID FETCH 5:* UID").want("* 2 FETCH (UID 2)", "OK UID FETCH completed") // "*" is the last, in either order.
	c.cmd("FETCH 3 UID").want("BAD ...")
	c.cmd("FETCH * RFC822.SIZE").want(fmt.Sprintf("* 2 FETCH (RFC822.SIZE %d)", len(mail(2))), "OK FETCH completed")
	c.cmd("FETCH 1 fast").want(`* 1 FETCH (FLAGS (\Flagged $Work \Recent) INTERNALDATE "..." RFC822.SIZE 352)`, "OK FETCH completed")
	c.cmd("FETCH 1 all").want(`* 1 FETCH (FLAGS (...) INTERNALDATE "..." RFC822.SIZE 352 ENVELOPE `+rfcEnvelope+")", "OK FETCH completed")
	c.cmd("FETCH 1 bodystructure").want(`* 1 FETCH (BODYSTRUCTURE ("text" "plain" ("charset" "US-ASCII") NIL NIL "7bit" 10 1 NIL NIL NIL NIL))`, "OK FETCH completed")
	c.cmd("FETCH 1 (savedate preview PREVIEW (LAZY) uid)").want(
		`* 1 FETCH (SAVEDATE "... +0000" PREVIEW "the text" PREVIEW "the text" UID 1)`, "OK FETCH completed")
	for _, bad := range []string{"1", "1 ", "1 ()", "1 (ALL)", "1 NONSENSE", "1 (FLAGS", "1 FLAGS UID", "0 FLAGS", "FLAGS", "1  FLAGS", "1 (FLAGS  UID)",
		"1 BODY[", "1 BODY[0]", "1 BODY[MIME]", "1 BODY[1.]", "1 BODY[.1]", "1 BODY[1.X]", "1 BODY[HEADER.FIELDS]", "1 BODY[HEADER.FIELDS ()]", "1 BODY[]<0>",
		"1 BODY[]<0.0>", "1 BODY[]<1.2", "1 BODY.PEEK", "1 BINARY", "1 BINARY[1.HEADER]", "1 BINARY.SIZE[1]<0.1>", "1 PREVIEW (EAGER)"} {
		if a := c.cmd("FETCH %s", bad); !strings.HasPrefix(a.tagged, "BAD ") {
			t.Errorf("FETCH %s: %s", bad, a.tagged)
		}
	}
}

func TestFetchRev2HasNoRecent(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.login()
	c.cmd("ENABLE IMAP4rev2").want("* ENABLED IMAP4rev2", "OK ...")
	c.cmd("SELECT INBOX").ok()
	c.cmd("FETCH 1 FLAGS").want("* 1 FETCH (FLAGS ())", "OK FETCH completed")
}

// RFC 9051 section 6.4.5: BODY[] sets \Seen, once for the whole command; BODY.PEEK[], structure and EXAMINE do not.
func TestFetchSetsSeen(t *testing.T) {
	s := start(t)
	for n := range 3 {
		s.deliver("INBOX", mail(n))
	}
	c := s.selected("INBOX")
	tx := func() (tx domain.Tx) {
		_ = s.Accounts.View(t.Context(), s.account, func(state *account.State) error { tx = state.Tx; return nil })
		return tx
	}
	before := tx()
	c.cmd("FETCH 1:3 (BODY.PEEK[] ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE RFC822.HEADER BINARY.PEEK[1] BINARY.SIZE[1])").ok().hasNot(`...\Seen...`)
	if tx() != before {
		t.Error("looking changes the account")
	}
	c.cmd("FETCH 1:2 BODY[TEXT]").want(
		"* 1 FETCH (BODY[TEXT] "+lit("text 0\r\n")+")",
		"* 2 FETCH (BODY[TEXT] "+lit("text 1\r\n")+")",
		`* 1 FETCH (UID 1 FLAGS (\Seen \Recent))`,
		`* 2 FETCH (UID 2 FLAGS (\Seen \Recent))`,
		"OK FETCH completed")
	if tx() != before+1 {
		t.Errorf("two messages took %d transactions", tx()-before)
	}
	c.cmd("FETCH 1 BODY[TEXT]").want("* 1 FETCH (BODY[TEXT] ...)", "OK FETCH completed")
	if tx() != before+1 {
		t.Error("a message that is seen is marked again")
	}
	c.cmd("EXAMINE INBOX").ok()
	c.cmd("FETCH 3 (BODY[] RFC822.TEXT BINARY[1])").ok().hasNot(`...\Seen...`)
	if tx() != before+1 {
		t.Error("EXAMINE changes flags")
	}
	c.cmd("SELECT INBOX").ok()
	c.cmd("FETCH 3 RFC822").ok().has(`* 3 FETCH (UID 3 FLAGS (\Seen...))`)
}

// A message that another session has expunged is left out, and the client is told (RFC 5530 section 3, EXPUNGEISSUED).
func TestFetchOfTheExpunged(t *testing.T) {
	s := start(t)
	for n := range 3 {
		s.deliver("INBOX", mail(n))
	}
	c := s.selected("INBOX")
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.StoreFlags{Mailbox: 1, UIDs: domain.UIDs(2), Mode: account.AddFlags, Flags: []string{`\Deleted`}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.Expunge{Mailbox: 1}); err != nil {
		t.Fatal(err)
	}
	c.cmd("FETCH 1:3 (UID BODY.PEEK[TEXT])").want(
		"* 1 FETCH (UID 1 BODY[TEXT] "+lit("text 0\r\n")+")",
		"* 3 FETCH (UID 3 BODY[TEXT] "+lit("text 2\r\n")+")",
		"OK [EXPUNGEISSUED] ...")
	c.cmd("UID FETCH 2:3 UID").want("* 3 FETCH (UID 3)", "* 2 EXPUNGE", "OK [EXPUNGEISSUED] ...")
	c.cmd("FETCH 2 UID").want("* 2 FETCH (UID 3)", "OK FETCH completed")
}

// Damage is never an empty body: the item is missing, the rest of the command is answered, and the end is NO.
func TestFetchOfDamagedMessages(t *testing.T) {
	s := start(t, quiet)
	var blobs []domain.BlobID
	for n := range 4 {
		uid := s.deliver("INBOX", mail(n))
		for e, err := range s.Accounts.Emails(t.Context(), s.account, 1, domain.UIDs(uid), 0xff) {
			if err != nil {
				t.Fatal(err)
			}
			blobs = append(blobs, e.Blob.ID)
		}
	}
	s.Blobs.Remove(blobs[1])
	s.Blobs.Damage(blobs[2])
	c := s.selected("INBOX")
	c.cmd("FETCH 1:4 (BODY[TEXT] UID)").want(
		"* 1 FETCH (BODY[TEXT] "+lit("text 0\r\n")+" UID 1)",
		"* 2 FETCH (UID 2)",
		"* 3 FETCH (UID 3)",
		"* 4 FETCH (BODY[TEXT] "+lit("text 3\r\n")+" UID 4)",
		`* 1 FETCH (UID 1 FLAGS (\Seen \Recent))`, // what could not be read stays unseen
		`* 4 FETCH (UID 4 FLAGS (\Seen \Recent))`,
		"NO [CORRUPTION] a message's bytes are missing or damaged ...")
	for _, item := range []string{"BODY[]", "BODY[HEADER]", "BODY[1]", "BODY[HEADER.FIELDS (Subject)]", "BINARY[1]", "BINARY.SIZE[1]", "RFC822"} {
		c.cmd("FETCH 2:3 %s", item).want("NO [CORRUPTION] ...")
	}
	c.cmd("FETCH 2:3 (ENVELOPE RFC822.SIZE)").want("* 2 FETCH (ENVELOPE ...)", "* 3 FETCH (ENVELOPE ...)", "OK FETCH completed")
}

// breaking is a blob store whose messages break off after their first 100,000 octets.
type breaking struct{ *doortest.Blobs }

func (b breaking) Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	body, err := b.Blobs.Open(ctx, ref, off, n)
	if err != nil || off+n <= 100_000 {
		return body, err
	}
	return io.NopCloser(io.MultiReader(io.LimitReader(body, 100_000-off), iotest.ErrReader(domain.Errorf(domain.Corrupt, "a damaged block")))), nil
}

// Damage that shows when a literal has begun ends the connection: its client must not take what it got for the whole.
func TestFetchBreaksOff(t *testing.T) {
	node := doortest.Start(t, func(c *door.Config) { c.Blobs = breaking{c.Blobs.(*doortest.Blobs)} })
	s := start(t, quiet, func(c *Config) { c.Accounts, c.Directory = node.Accounts, node.Directory })
	s.account = node.AddAccount(t, alice, password)
	doortest.Deliver(t, node.Accounts, s.account, "INBOX", "Subject: large\r\n\r\n"+strings.Repeat("0123456789", 30_000))
	c := s.selected("INBOX")
	c.cmd("FETCH 1 BODY.PEEK[]<0.50000>").want("* 1 FETCH (BODY[]<0> {50000}...)", "OK FETCH completed")
	c.send("a FETCH 1 (UID BODY.PEEK[])\r\nb NOOP\r\n")
	got, err := io.ReadAll(c.r)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "* 1 FETCH (UID 1 BODY[] {300018}\r\nSubject: large") || len(text) > 101_000 || strings.Contains(text, "a OK") || strings.Contains(text, "b OK") {
		t.Errorf("%d octets: %.60q ... %q", len(text), text, text[max(0, len(text)-60):])
	}
}

// quiet lets a server log the faults that a test makes.
func quiet(c *Config) { c.Logger = slog.New(slog.DiscardHandler) }

// RFC822.SIZE is what BODY[] sends, whatever the message.
func TestSizeEqualsOctets(t *testing.T) {
	s := start(t)
	texts := []string{mail(1), "x", "\n", "no end of line", "bare\nlf\r\n", "\r\n\r\n\r\n", "Subject: x\r\n", "a: b\r\n\r\n" + strings.Repeat("long ", 50_000)}
	for _, text := range texts {
		s.deliver("INBOX", text)
	}
	c := s.selected("INBOX")
	for i, text := range texts {
		c.cmd("FETCH %d (RFC822.SIZE BODY.PEEK[])", i+1).want(fmt.Sprintf("* %d FETCH (RFC822.SIZE %d BODY[] %s)", i+1, len(text), lit(text)), "OK FETCH completed")
	}
}

// Portions are invisible: a mailbox larger than one is answered whole and in order.
func TestFetchOfManyMessages(t *testing.T) {
	s := start(t)
	const n = portionOfRows*2 + 10
	for i := range n {
		s.deliver("INBOX", mail(i))
	}
	c := s.selected("INBOX")
	for _, items := range []string{"(UID FLAGS)", "(UID ENVELOPE)", "(UID BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (Subject)])"} {
		a := c.cmd("FETCH 1:* %s", items).ok()
		if len(a.untagged) != n {
			t.Fatalf("%s: %d responses", items, len(a.untagged))
		}
		for i, line := range a.untagged {
			if !strings.HasPrefix(line, fmt.Sprintf("* %d FETCH (UID %d ", i+1, i+1)) {
				t.Fatalf("%s: %s", items, line)
			}
			if !strings.Contains(items, "FLAGS") && !strings.Contains(items, "STRUCTURE") && !strings.Contains(line, fmt.Sprintf(`"number %d"`, i)) {
				t.Fatalf("%s: %s", items, line)
			}
		}
	}
	a := c.cmd("FETCH 2:5,300,510:520 UID").ok()
	if len(a.untagged) != 4+1+11 {
		t.Errorf("%q", a.untagged)
	}
}
