package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// imapConn speaks just enough IMAP to measure: it sends a line and reads to the tagged answer, counting octets and passing over literals.
type imapConn struct {
	net.Conn
	r   *bufio.Reader
	tag int
}

func dialIMAP(t *target, user int) (*imapConn, error) {
	// A server takes so many connections from one address only: each thousand comes from another.
	from := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+user/1000))}}
	nc, err := from.Dial("tcp", t.imap)
	if err != nil {
		return nil, err
	}
	c := &imapConn{Conn: nc, r: bufio.NewReaderSize(nc, 64<<10)}
	if _, err := c.r.ReadSlice('\n'); err != nil {
		return nil, err
	}
	_, err = c.do("LOGIN %s %s", t.user(user), t.pass)
	return c, err
}

// do sends one command and gives the octets of its answer.
func (c *imapConn) do(format string, args ...any) (int, error) {
	c.tag++
	tag := "a" + strconv.Itoa(c.tag) + " "
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	if _, err := fmt.Fprintf(c.Conn, tag+format+"\r\n", args...); err != nil {
		return 0, err
	}
	octets := 0
	start := true // at the start of a response, where the tag may stand
	for {
		line, err := c.r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			octets += len(line)
			start = false
			continue
		}
		if err != nil {
			return octets, err
		}
		octets += len(line)
		if start && bytes.HasPrefix(line, []byte(tag)) {
			if !bytes.HasPrefix(line[len(tag):], []byte("OK")) {
				return octets, fmt.Errorf("%s: %s", format, line)
			}
			return octets, nil
		}
		n := literal(line)
		if _, err := c.r.Discard(n); err != nil {
			return octets, err
		}
		octets += n
		start = n == 0
	}
}

// holds gives the number of messages in a mailbox; -1 when there is none.
func (c *imapConn) holds(mailbox string) int { return c.status(mailbox, "MESSAGES") }

// status gives an item of STATUS; -1 when there is none.
func (c *imapConn) status(mailbox, item string) int {
	c.tag++
	tag := "a" + strconv.Itoa(c.tag) + " "
	if _, err := fmt.Fprintf(c.Conn, "%sSTATUS %s (%s)\r\n", tag, mailbox, item); err != nil {
		return -1
	}
	for n := -1; ; {
		line, err := c.r.ReadString('\n')
		if err != nil || strings.HasPrefix(line, tag) {
			return n
		}
		if _, value, is := strings.Cut(line, "("+item+" "); is {
			n, _ = strconv.Atoi(strings.TrimRight(value, ")\r\n"))
		}
	}
}

// literal gives the length that a line announces at its end.
func literal(line []byte) int {
	line = bytes.TrimRight(line, "\r\n")
	if !bytes.HasSuffix(line, []byte("}")) {
		return 0
	}
	i := bytes.LastIndexByte(line, '{')
	n, err := strconv.Atoi(strings.TrimSuffix(string(line[i+1:len(line)-1]), "+"))
	if i < 0 || err != nil {
		return 0
	}
	return n
}

// lmtpConn speaks LMTP (RFC 2033) with one recipient a message.
type lmtpConn struct {
	net.Conn
	r *bufio.Reader
}

func dialLMTP(t *target) (*lmtpConn, error) { return dialMail(t.lmtp, "LHLO") }

// dialMail begins a session of LMTP, or of SMTP, which goes on in the same way where there is one recipient.
func dialMail(address, verb string) (*lmtpConn, error) {
	nc, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c := &lmtpConn{nc, bufio.NewReader(nc)}
	if err := c.expect("220"); err != nil {
		return nil, err
	}
	return c, c.do("250", verb+" bench.example")
}

func (c *lmtpConn) expect(code string) error {
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, code) {
			return fmt.Errorf("wanted %s, got %s", code, strings.TrimSpace(line))
		}
		if len(line) > 3 && line[3] == ' ' {
			return nil
		}
	}
}

func (c *lmtpConn) do(code, line string) error {
	if _, err := io.WriteString(c.Conn, line+"\r\n"); err != nil {
		return err
	}
	return c.expect(code)
}

func (c *lmtpConn) deliver(to string, message []byte) error {
	for _, step := range []struct{ code, line string }{{"250", "MAIL FROM:<bench@example.net>"}, {"250", "RCPT TO:<" + to + ">"}, {"354", "DATA"}} {
		if err := c.do(step.code, step.line); err != nil {
			return err
		}
	}
	return c.content(message)
}

// pipeline delivers as MTAs do: it sends the envelope at once (RFC 2920).
func (c *lmtpConn) pipeline(to string, message []byte) error {
	if _, err := io.WriteString(c.Conn, "MAIL FROM:<bench@example.net>\r\nRCPT TO:<"+to+">\r\nDATA\r\n"); err != nil {
		return err
	}
	for _, code := range []string{"250", "250", "354"} {
		if err := c.expect(code); err != nil {
			return err
		}
	}
	return c.content(message)
}

func (c *lmtpConn) content(message []byte) error {
	if _, err := c.Conn.Write(message); err != nil {
		return err
	}
	return c.expect("250")
}
