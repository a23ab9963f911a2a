package imap

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
)

// compressing is the client's side of a compressed connection. It flushes after every write.
type compressing struct {
	net.Conn
	w *flate.Writer
}

func (c compressing) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err == nil {
		err = c.w.Flush()
	}
	return n, err
}

// compress begins compression.
func (c *client) compress() {
	c.t.Helper()
	c.cmd("COMPRESS DEFLATE").want("OK DEFLATE active")
	w, err := flate.NewWriter(c.conn, flate.DefaultCompression)
	if err != nil {
		c.t.Fatal(err)
	}
	c.conn = compressing{c.conn, w}
	c.r = bufio.NewReader(flate.NewReader(c.conn))
}

func TestCompress(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd("CAPABILITY").has("...COMPRESS=DEFLATE...")
	c.cmd("COMPRESS LZMA").bad()
	c.cmd("COMPRESS").bad()
	c.compress()
	c.cmd("CAPABILITY").hasNot("...COMPRESS=DEFLATE...")
	c.cmd("COMPRESS DEFLATE").bad("the connection is compressed already")
	c.cmd("STARTTLS").bad()
	c.cmd("SELECT INBOX").ok()
	large := "Subject: large\r\n\r\n" + strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 20_000)
	c.append("INBOX", large).ok()
	c.cmd("FETCH 1 BODY[]").want(fmt.Sprintf("* 1 FETCH (BODY[] {%d}\r\n%s)", len(large), large), "...", "OK ...")
	tag := c.begin("IDLE")
	c.expect("+ idling")
	s.deliver("INBOX", mail(1))
	c.expect("* 2 EXISTS", "* ... RECENT")
	c.send("DONE\r\nx NOOP\r\n")
	c.finish(tag).ok()
	c.finish("x").ok()
	c.cmd("LOGOUT").want("* BYE ...", "OK ...")
	c.ended()
}

func TestCompressOverTLS(t *testing.T) {
	s := start(t, withTLS(t))
	c := s.dial()
	c.cmd("COMPRESS DEFLATE").bad("log in first")
	c.cmd("STARTTLS").ok()
	c.startTLS()
	c.cmd("LOGIN %s %s", alice, password).ok()
	c.compress()
	c.cmd("SELECT INBOX").ok()
	c.append("INBOX", mail(1)).ok()
}

func TestCompressSwitchedOff(t *testing.T) {
	s := start(t, func(c *Config) { c.Without = []string{"COMPRESS=DEFLATE"} })
	c := s.login()
	c.cmd("CAPABILITY").hasNot("...COMPRESS...")
	c.cmd("COMPRESS DEFLATE").bad()
	c.cmd("NOOP").ok()
}

func TestNothingMayFollowCompress(t *testing.T) {
	s := start(t)
	c := s.login()
	c.send("a COMPRESS DEFLATE\r\nb CREATE smuggled\r\n")
	c.expect("* BYE nothing may follow COMPRESS ...")
	c.ended()
	s.login().cmd(`LIST "" smuggled`).want("OK LIST completed")
}

func TestPlainTextAfterCompressEndsTheConnection(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd("COMPRESS DEFLATE").ok()
	c.send("b CREATE smuggled\r\nc CREATE smuggled\r\n")
	c.r = bufio.NewReader(flate.NewReader(c.conn))
	_ = c.conn.(*net.TCPConn).CloseWrite()
	if said, _ := io.ReadAll(c.r); !strings.HasPrefix(string(said), "* B") { // BAD or BYE, as the octets happen to mean
		t.Errorf("the server said %q", said)
	}
	s.login().cmd(`LIST "" smuggled`).want("OK LIST completed")
}

// TestBombs: what a small input blows up to is bounded by the limits of a command, as if it had been sent so.
func TestBombs(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Limits.Append = 1 << 20
		c.Limits.AfterLogin = wire.Limits{Drain: 4 << 20}
	})
	zeros := strings.Repeat("\x00", 1<<20)
	for name, dialogue := range map[string]func(c *client){
		"a line":                    func(c *client) { go c.flood("a NOOP", "x"); c.expect("a BAD ...", "* BYE [TOOBIG] ...") },
		"a quoted string":           func(c *client) { go c.flood(`a CREATE "`, "x"); c.expect("a BAD [TOOBIG] ...", "* BYE [TOOBIG] ...") },
		"a literal that is refused": func(c *client) { c.cmd("APPEND INBOX {1000000000}").no("[TOOBIG] ...") },
		"one that comes all the same": func(c *client) {
			go c.flood("a APPEND INBOX {1000000000+}\r\n", "x")
			c.expect("a NO [TOOBIG] ...", "* BYE [TOOBIG] ...")
		},
		"a message of NUL":              func(c *client) { c.append("INBOX", zeros).bad("NUL ..."); c.cmd("NOOP").ok() },
		"a binary message of NUL alone": func(c *client) { c.cmd("APPEND INBOX ~{%d+}\r\n%s", len(zeros), zeros); c.cmd("NOOP").ok() },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.login()
			c.t = t
			c.compress()
			dialogue(c)
		})
	}
}

// flood writes a beginning and then the same octet until the server has had enough.
func (c *client) flood(begin, octet string) {
	_, _ = io.WriteString(c.conn, begin)
	much := strings.Repeat(octet, 1<<20)
	for range 1000 {
		if _, err := io.WriteString(c.conn, much); err != nil {
			return
		}
	}
}

// TestSlowOctetsCompressed: the pace that counts is that of the wire.
func TestSlowOctetsCompressed(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Limits.Line.Grace = 100 * time.Millisecond
		c.Limits.Line.MinRate = 1 << 20
	})
	c := s.login()
	c.compress()
	c.send("a APPEND INBOX {1000+}\r\nFrom: ")
	c.expect("* BYE too slow or idle for too long")
}
