package imap

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
)

// TestRefusedLiteralsAreNotCommands is command smuggling: a literal that the server does not want must not be read as commands.
func TestRefusedLiteralsAreNotCommands(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Append = 1000 })
	smuggled := "x CREATE smuggled\r\n"
	big := strings.Repeat(smuggled, 40_000) // beyond what an argument may have
	for name, dialogue := range map[string]func(c *client){
		"too large for an argument": func(c *client) { c.cmd("CREATE {%d+}\r\n%s", len(big), big).bad("[TOOBIG] ...") },
		"too large for a message":   func(c *client) { c.append("INBOX", big).no("[TOOBIG] ...") },
		"no such mailbox":           func(c *client) { c.append("nowhere", smuggled).no("[TRYCREATE] ...") },
		"unknown command":           func(c *client) { c.cmd("XYZZY {%d+}\r\n%s", len(smuggled), smuggled).bad("unknown command") },
		"wrong state":               func(c *client) { c.cmd("LOGIN {%d+}\r\n%s x", len(smuggled), smuggled).bad("already logged in") },
		"wrong place":               func(c *client) { c.cmd("NOOP {%d+}\r\n%s", len(smuggled), smuggled).bad() },
		"several":                   func(c *client) { c.cmd("NOOP {%d+}\r\n%s {4+}\r\nabcd {2+}\r\nxy", len(smuggled), smuggled).bad() },
		"after an error":            func(c *client) { c.cmd("STATUS ( {%d+}\r\n%s", len(smuggled), smuggled).bad() },
		"not even begun":            func(c *client) { c.cmd("CREATE {%d}", len(big)).bad("[TOOBIG] ...") },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.login()
			c.t = t
			dialogue(c)
			c.cmd(`LIST "" smuggled`).want("OK LIST completed")
		})
	}
	t.Run("larger than is worth draining", func(t *testing.T) {
		c := s.login()
		c.send("a CREATE {9000000000+}\r\nx CREATE smuggled\r\n")
		c.expect("a BAD [TOOBIG] ...", "* BYE [TOOBIG] ...")
		c.ended()
		s.login().cmd(`LIST "" smuggled`).want("OK LIST completed")
	})
}

func TestNonsenseEndsTheConnection(t *testing.T) {
	s := start(t)
	for name, input := range map[string]string{
		"bare LF":        "a NOOP\n",
		"bare CR":        "a NOOP\rb NOOP\r\n",
		"web browser":    "GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\nUser-Agent: x\r\nX: y\r\n\r\n",
		"endless line":   strings.Repeat("a", 1<<20),
		"endless atom":   "a " + strings.Repeat("a", 1<<20),
		"endless string": `a LOGIN "` + strings.Repeat("a", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			c.t = t
			go io.WriteString(c.conn, input)
			for {
				line, err := c.r.ReadString('\n')
				if err != nil {
					if os.IsTimeout(err) {
						t.Fatal("the connection stays open")
					}
					return
				}
				if !strings.Contains(line, " BAD ") && !strings.Contains(line, " OK ") && !strings.HasPrefix(line, "* BYE ") {
					t.Errorf("the server said %q", line)
				}
			}
		})
	}
}

func TestOddLines(t *testing.T) {
	s := start(t)
	c := s.login()
	c.send("\r\n\r\n")
	c.cmd("NOOP").ok()
	c.send(" NOOP\r\n")
	c.expect("* BAD expected a tag...")
	c.send("tag\r\n")
	c.expect("tag BAD ...")
	c.send("tag \x00 \r\n")
	c.expect("tag BAD ...")
	c.send("(tag NOOP\r\n")
	c.expect("* BAD ...")
	c.cmd(`LIST "" "\x"`).bad()
	c.cmd(`LIST "" "a`).bad()
	c.cmd(`LIST %s`, strings.Repeat("(", 10_000)).bad()
	c.cmd(`STATUS INBOX (%s)`, strings.Repeat("MESSAGES ", 30_000)).bad()
	c.cmd("NOOP").ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd(`UID STORE 1%s FLAGS ()`, strings.Repeat(",3,5:9,*:4,7", 80_000)).ok() // a set of 320,000 members
	c.cmd(`UID STORE %s FLAGS ()`, everySecond(300_000)).bad("[LIMIT] ...")
	c.cmd(`LIST "" %s`, strings.Repeat("%*", 400)).bad()
	c.cmd(`LIST "" %s/x`, strings.Repeat("*a", 99)).ok()
	c.cmd("NOOP").ok()
}

func everySecond(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, 2*i+1)
	}
	return b.String()
}

// TestAClientThatNeverReads pipelines commands and reads no answer: its write deadline ends it, and other sessions do not notice.
func TestAClientThatNeverReads(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Line.Write = time.Second })
	deaf := s.selected("INBOX")
	idle := s.selected("INBOX")
	idle.begin("IDLE")
	idle.expect("+ idling")
	commands := strings.Repeat("x LIST \"\" *\r\n", 1000)
	for { // until the server has given up.
		if _, err := io.WriteString(deaf.conn, commands); err != nil {
			if os.IsTimeout(err) {
				t.Fatal("the connection stays open")
			}
			break
		}
	}
	s.deliver("INBOX", mail(1))
	idle.expect("* 1 EXISTS")
}

// TestSlowOctets sends a command at less than the least rate.
func TestSlowOctets(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Limits.Line.Grace = 100 * time.Millisecond
		c.Limits.Line.MinRate = 1 << 20
	})
	c := s.login()
	c.send("a APPEND INBOX {1000+}\r\nFrom: ")
	c.expect("* BYE too slow or idle for too long")
	c.ended()
}

func TestConnectionLimits(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Line.PerAddress = 2 })
	first := s.dial()
	s.dial()
	s.connect().expect("* BYE [LIMIT] too many connections")
	first.cmd("LOGOUT").ok()
	first.ended()
}

// FuzzSession writes octets in every state of a connection. Whatever they are, the server answers with lines of the protocol, or ends the
// connection, and serves the next client.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"a NOOP\r\n", "a SELECT INBOX\r\nb STORE 1:* +FLAGS (\\Seen x)\r\n", "a LOGIN {5+}\r\nalice {1}\r\nx\r\n", "a AUTHENTICATE PLAIN\r\n*\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% \"x/*\") RETURN (CHILDREN STATUS (MESSAGES SIZE))\r\n", "a IDLE\r\nDONE\r\nb NOOP\r\n",
		"a APPEND INBOX (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" {3+}\r\nabc\r\n", "a UID MOVE 1:*,$ Trash\r\nb EXPUNGE\r\n", "a ENABLE IMAP4rev2\r\nb SELECT \"&AOQ-\"\r\n",
		"a ID (\"a\" NIL)\r\nb CREATE x/y (USE (\\Sent))\r\nc RENAME x z\r\nd DELETE z/y\r\n", "a STARTTLS\r\nb NOOP\r\n", "a UID FETCH 1:* (FLAGS BODY[HEADER.FIELDS (Subject)]<0.10>)\r\n",
		"a SEARCH OR NOT SEEN 1:* TEXT {2+}\r\nxy\r\n", "a COPY 1 {4+}\r\nJunk\r\n",
		"a APPEND INBOX {1+}\r\nx (\\Seen) ~{2+}\r\n\x00x CATENATE (TEXT {1+}\r\nx URL \"/INBOX/;UID=1/;SECTION=TEXT\")\r\n", "a COMPRESS DEFLATE\r\n",
		"a UID REPLACE 1 INBOX {1+}\r\nx\r\n", "a SETMETADATA INBOX (/private/comment ~{1+}\r\n\x00)\r\nb GETMETADATA (DEPTH infinity MAXSIZE 1) INBOX (/private)\r\n",
		"a GETQUOTAROOT INBOX\r\nb SETQUOTA \"\" (STORAGE 1)\r\n", "a UNAUTHENTICATE\r\nb LANGUAGE en\r\n",
		"a GENURLAUTH \"imap://alice@example.org/INBOX/;UID=1;URLAUTH=anonymous\" INTERNAL\r\nb URLFETCH (x BINARY) \"imap://a@b/c/;UID=1;URLAUTH=anonymous:internal:00\"\r\n",
	} {
		f.Add([]byte(seed))
	}
	s := start(f, func(c *Config) {
		c.Limits.Append = 4096
		c.Limits.Line.Grace = 50 * time.Millisecond
		c.Limits.AfterLogin = wire.Limits{Drain: 1 << 20}
	})
	s.deliver("INBOX", mail(1))
	s.deliver("INBOX", mail(2), `\Deleted`)
	prologues := []string{
		"",
		fmt.Sprintf("p LOGIN %s %s\r\n", alice, password),
		fmt.Sprintf("p LOGIN %s %s\r\nq SELECT INBOX\r\n", alice, password),
		fmt.Sprintf("p LOGIN %s %s\r\nr ENABLE IMAP4rev2\r\nq EXAMINE INBOX\r\n", alice, password),
		fmt.Sprintf("p LOGIN %s %s\r\nq SELECT INBOX\r\ni IDLE\r\n", alice, password),
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		for _, prologue := range prologues {
			conn, err := net.Dial("tcp", s.plain)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			_, _ = io.WriteString(conn, prologue)
			_, _ = conn.Write(input)
			_ = conn.(*net.TCPConn).CloseWrite()
			said, err := io.ReadAll(conn)
			if os.IsTimeout(err) {
				t.Fatalf("the connection stays open after %q; the server said %q", input, said)
			}
			conn.Close()
			if len(said) > 0 && err == nil && !strings.HasSuffix(string(said), "\r\n") {
				t.Fatalf("the answer to %q ends in the middle: %q", input, said)
			}
		}
	})
}

// Commands whose cost for the server is far above their length.
func TestWhatCostsMuchIsBounded(t *testing.T) {
	s := start(t)
	c := s.selected("INBOX")
	c.cmd("SEARCH ALL%s", strings.Repeat(" TEXT x", maxTexts)).ok()
	c.cmd("SEARCH NOT ALL%s", strings.Repeat(" NOT BODY x", maxTexts+1)).bad("[LIMIT] ...")
	c.cmd("NOTIFY SET%s", strings.Repeat(" (personal (MailboxName))", maxGroups)).ok()
	c.cmd("NOTIFY SET%s", strings.Repeat(" (personal (MailboxName))", maxGroups+1)).bad("[LIMIT] ...")
	c.cmd("STATUS INBOX (%sUNSEEN)", strings.Repeat("MESSAGES ", 1000)).has("* STATUS INBOX (MESSAGES 0 UNSEEN 0)").ok()
	c.cmd(`LIST "" INBOX RETURN (STATUS (UNSEEN) STATUS (UNSEEN))`).bad("the return option STATUS is given twice")
}

// A search ends with its connection.
func TestASearchForNobody(t *testing.T) {
	s := start(t)
	s.fill(1)
	c := &conn{server: s.server, accounts: s.Accounts, id: s.account, log: slog.New(slog.DiscardHandler), enc: wire.NewEncoder(io.Discard)}
	var inbox domain.MailboxID
	if err := c.view(t.Context(), func(s *account.State) error {
		m, _ := s.Mailbox("INBOX")
		inbox = m.ID
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	f := finder{c: c, owner: c.self(), key: search.Body{Text: "text"}}
	if found, err := f.in(t.Context(), inbox, nil); err != nil || len(found) != 1 {
		t.Fatalf("found %d messages, %v", len(found), err)
	}
	c.enc.Fail(net.ErrClosed)
	if _, err := f.in(t.Context(), inbox, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the search goes on: %v", err)
	}
}
