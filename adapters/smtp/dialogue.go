package smtp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain/delivery"
)

// dialogue follows what go-smtp and a client say to each other, so far that it knows whether a command, a message or an answer to a challenge
// comes next. It gives go-smtp one command at a time, since the reply to it decides how the octets behind it are read. The message of DATA is
// the session's, see message; go-smtp is given an empty one.
type dialogue struct {
	line    []byte            // what is left of a command for go-smtp
	data    bool              // a message comes, up to its final dot
	at      place             // in the message
	chunk   int64             // octets of a BDAT chunk that are still to come
	literal bool              // the next line answers a challenge
	torn    bool              // the last line ended with LF alone: what comes up to the next CRLF belongs to it
	instead *gosmtp.SMTPError // the reply to a command that go-smtp does not see
	fault   *gosmtp.SMTPError // of an AUTH exchange, for the session to judge, see session.Auth

	more bool // the next command is there already, and the reply to this one may come together with its reply

	basic atomic.Bool // the client said HELO: no extensions (RFC 5321 section 4.1.1.1)
}

// read gives go-smtp what it shall see next.
func (d *dialogue) read(c *conn, p []byte) (int, error) {
	switch {
	case d.chunk > 0:
		n, err := c.in.Read(p[:min(int64(len(p)), d.chunk)])
		d.chunk -= int64(n)
		return n, err
	case d.data: // what nobody read of a message is no command
		return 0, io.ErrUnexpectedEOF
	}
	d.more = false
	line, wrong, err := d.next(c)
	if err != nil {
		return 0, err
	}
	d.fault = nil
	switch {
	case d.literal:
		d.literal = false
		line = d.response(line, wrong)
	case wrong != nil:
		line = d.refuse(wrong)
	default:
		if line, err = d.command(c, line); err != nil {
			return 0, err
		}
	}
	n := copy(p, line)
	d.line = append(d.line[:0], line[n:]...)
	return n, nil
}

// refuse has go-smtp answer an empty line, which it counts as a mistake, and puts the reply in the place of that answer.
func (d *dialogue) refuse(with *gosmtp.SMTPError) []byte {
	d.instead = with
	return []byte("\r\n")
}

// response looks at an answer to a challenge. What cannot be read ends the exchange, which only the session can do: go-smtp is given an empty one.
func (d *dialogue) response(line []byte, wrong *gosmtp.SMTPError) []byte {
	text := string(bytes.TrimSuffix(line, []byte("\r\n")))
	if wrong == nil && text != "*" && !decodes(text) {
		wrong = errAuthSyntax
	}
	if wrong == nil {
		return line
	}
	d.fault = wrong
	return []byte("=\r\n")
}

// decodes reports whether go-smtp can read the answer to a challenge, or an initial response.
func decodes(text string) bool {
	_, err := base64.StdEncoding.DecodeString(text)
	return err == nil || text == "="
}

// command looks at a command as go-smtp will parse it, and changes what go-smtp cannot.
func (d *dialogue) command(c *conn, line []byte) ([]byte, error) {
	text := strings.TrimSuffix(string(line), "\r\n")
	if len(text) >= 8 && strings.EqualFold(text[:8], "STARTTLS") {
		switch {
		case strings.TrimSpace(text[8:]) != "": // go-smtp would not mind.
			return d.refuse(errNoParameters), nil // RFC 3207 section 4.
		case c.secure == nil && c.server.cfg.TLS != nil:
			return nil, c.startTLS()
		}
		return line, nil
	}
	if len(text) < 4 {
		return line, nil
	}
	verb, rest := strings.ToUpper(text[:4]), text[4:]
	if verb == "MAIL" || verb == "RCPT" || verb == "RSET" { // RFC 2920 section 3.1: others end a group.
		behind, _ := c.in.Peek(c.in.Buffered())
		d.more = bytes.IndexByte(behind, '\n') >= 0
	}
	switch {
	case verb == "HELO":
		d.basic.Store(true)
	case verb == "EHLO" || verb == "LHLO":
		d.basic.Store(false)
	case verb == "AUTH":
		return d.auth(line, strings.Fields(rest)), nil
	case verb == "BDAT" && strings.HasPrefix(rest, " "):
		var known bool
		if d.chunk, known = chunkSize(rest); !known { // Where the next command begins is anybody's guess.
			c.hangUp()
			return d.refuse(faultReplies[delivery.TooBig]), nil
		}
	case verb == "MAIL":
		return hugeSize(line), nil
	case verb == "RCPT":
		return postmaster(line, c.server.cfg.Hostname), nil
	}
	return line, nil
}

// auth looks at the arguments of AUTH. An initial response that cannot be read is a failed exchange of that mechanism, if it can begin at all
// (RFC 4954 section 4): go-smtp would call it a temporary failure, and that before anything else.
func (d *dialogue) auth(line []byte, arguments []string) []byte {
	if len(arguments) < 2 || len(arguments) == 2 && decodes(arguments[1]) {
		return line
	}
	d.fault = errAuthSyntax
	return fmt.Appendf(nil, "AUTH %s =\r\n", arguments[0])
}

// hugeSize makes a declared size that go-smtp cannot read the largest that it can: RFC 1870 section 3 has 20 digits.
func hugeSize(line []byte) []byte {
	path := bytes.LastIndexByte(line, '>') + 1
	at := declaredSize.FindSubmatchIndex(line[path:])
	if at == nil {
		return line
	}
	from, to := path+at[2], path+at[3]
	if _, err := strconv.ParseUint(string(line[from:to]), 10, 32); err == nil {
		return line
	}
	return fmt.Appendf(nil, "%s%d%s", line[:from], uint32(math.MaxUint32), line[to:])
}

var declaredSize = regexp.MustCompile(`(?i) SIZE=([0-9]{1,20})(?: |\r\n)`)

// chunkSize reads the arguments of BDAT as go-smtp does: whatever it answers to well-formed ones, it takes the chunk off the connection. known is
// false for a chunk that comes and is larger than go-smtp can count.
func chunkSize(arguments string) (size int64, known bool) {
	fields := strings.Fields(arguments)
	if len(fields) == 0 || len(fields) > 2 || len(fields) == 2 && !strings.EqualFold(fields[1], "LAST") {
		return 0, true
	}
	n, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil {
		return 0, !errors.Is(err, strconv.ErrRange)
	}
	return int64(n), true
}

// postmaster gives the Postmaster without a domain, whom RFC 5321 section 4.1.1.3 demands and go-smtp refuses, the server's own name.
func postmaster(line []byte, hostname string) []byte {
	const bare = "<postmaster>"
	at := bytes.IndexByte(line, '<')
	if at < 0 || !strings.EqualFold(strings.ReplaceAll(string(line[:at]), " ", ""), "RCPTTO:") || len(line) < at+len(bare) || !strings.EqualFold(string(line[at:at+len(bare)]), bare) {
		return line
	}
	return fmt.Appendf(nil, "%s@%s%s", line[:at+len(bare)-1], hostname, line[at+len(bare)-1:])
}

// replied notes what a reply makes of the dialogue, and gives what the client shall see of it.
func (d *dialogue) replied(c *conn, p []byte) []byte {
	switch {
	case bytes.HasPrefix(p, []byte("354 ")):
		d.data, d.at, d.line = true, lineStart, append(d.line[:0], ".\r\n"...)
	case bytes.HasPrefix(p, []byte("334 ")):
		d.literal = true
	case len(p) > 9 && string(p[4:9]) == "SIZE ": // go-smtp refuses a message of as many octets as it may have, so it was told one more
		more := ""
		if c.secure != nil && c.server.secure.EnableREQUIRETLS { // RFC 8689 section 4.1: inside TLS only, of which go-smtp knows nothing
			more = "250-REQUIRETLS\r\n"
		}
		return fmt.Appendf(nil, "%s%sSIZE %d\r\n", more, p[:4], c.server.cfg.Limits.Content.Message)
	case d.instead != nil:
		r := d.instead
		d.instead = nil
		return fmt.Appendf(nil, "%d %d.%d.%d %s\r\n", r.Code, r.EnhancedCode[0], r.EnhancedCode[1], r.EnhancedCode[2], r.Message)
	}
	return worded(p)
}
