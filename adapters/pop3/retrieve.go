package pop3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

func init() {
	register("RETR", transaction, runRetr)
	register("TOP", transaction, runTop)
}

// runRetr is RETR (RFC 1939 section 5).
func runRetr(ctx context.Context, c *conn, argument string) error {
	n, err := c.numbered(argument)
	if err != nil {
		return err
	}
	out := &stuffer{w: c.out, begins: true, ended: true}
	return c.send(ctx, n, out, out)
}

// runTop is TOP (RFC 1939 section 7): the header, the empty line behind it and some lines of the body.
func runTop(ctx context.Context, c *conn, argument string) error {
	read, err := numbers(argument, 2)
	if err != nil {
		return err
	}
	if err := c.drop.find(read[0]); err != nil {
		return err
	}
	out := &stuffer{w: c.out, begins: true, ended: true}
	return c.send(ctx, read[0], &top{w: out, left: read[1], empty: true}, out)
}

var streamBuffers = sync.Pool{New: func() any { return new([streamBuffer]byte) }}

// send answers with a message, which goes through w to out.
func (c *conn) send(ctx context.Context, n int, w io.Writer, out *stuffer) error {
	body, err := c.message(ctx, n)
	if err != nil {
		return err
	}
	defer body.Close()
	buf := streamBuffers.Get().(*[streamBuffer]byte)
	defer streamBuffers.Put(buf)
	size := c.drop.sizes[n-1]
	got, err := io.ReadFull(body, buf[:min(size, streamBuffer)])
	if err != nil {
		return unreadable(err)
	}
	c.ok("%d octets", size)
	for left := size; ; {
		if c.revoked.Load() {
			return &gone{errRevokedWithin}
		}
		if _, err := w.Write(buf[:got]); err == errEnough {
			break
		} else if err != nil {
			return &gone{err}
		}
		if left -= int64(got); left == 0 {
			break
		}
		if got, err = body.Read(buf[:min(left, streamBuffer)]); err != nil && int64(got) < left {
			err = unreadable(err)
			c.log.Error("message breaks off in the middle of its transfer", "account", c.who.Account, "uid", c.drop.uids[n-1], "error", err)
			return &gone{err}
		}
	}
	if err := out.end(); err != nil {
		return &gone{err}
	}
	return nil
}

// errRevokedWithin ends a session in the middle of an answer, where nothing can be said that would not look like part of the message.
var errRevokedWithin = errors.New("the login is no longer valid, and a message breaks off")

// message opens a message of the maildrop.
func (c *conn) message(ctx context.Context, n int) (io.ReadCloser, error) {
	looking, cancel := c.work(ctx)
	defer cancel()
	var blob domain.BlobRef
	for e, err := range c.server.cfg.Accounts.Emails(looking, c.who.Account, c.drop.mailbox, domain.UIDs(c.drop.uids[n-1]), door.WantBlob) {
		if err != nil {
			return nil, err
		}
		blob = e.Blob
	}
	if blob == (domain.BlobRef{}) {
		return nil, refused("", "message %d was deleted by another session", n)
	}
	body, err := c.server.cfg.Accounts.Open(ctx, blob, 0, -1)
	if err != nil {
		return nil, unreadable(err)
	}
	return body, nil
}

// unreadable classifies what went wrong with a message's octets. That they are not there is damage as well: the log says that they were durable.
func unreadable(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF || domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt) {
		return &domain.Error{Kind: domain.Corrupt, Msg: "the message's octets are missing or damaged", Err: err, Hint: "restore the blob from a replica or a backup"}
	}
	return err
}

// stuffer writes the lines of a multi-line answer (RFC 1939 section 3). A line ends with LF, whatever stands before it, because that is how most clients see
// it: what looks like the end of the answer to any of them must not be in it.
type stuffer struct {
	w      io.Writer
	begins bool // a line begins
	cr     bool // the last octet was CR
	ended  bool // the last octets were CR LF, or there were none
}

func (s *stuffer) Write(p []byte) (int, error) {
	written := 0
	for from := 0; from < len(p); {
		if s.begins && p[from] == '.' {
			if _, err := io.WriteString(s.w, "."); err != nil {
				return written, err
			}
		}
		line := p[from:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		n, err := s.w.Write(line)
		if written += n; err != nil {
			return written, err
		}
		last := line[len(line)-1]
		before := s.cr
		if len(line) > 1 {
			before = line[len(line)-2] == '\r'
		}
		s.begins, s.cr, s.ended = last == '\n', last == '\r', last == '\n' && before
		from += len(line)
	}
	return written, nil
}

// end writes the final dot on a line of its own.
func (s *stuffer) end() error {
	final := ".\r\n"
	if !s.ended {
		final = "\r\n.\r\n"
	}
	_, err := io.WriteString(s.w, final)
	return err
}

// errEnough ends the reading of a message of which no more is wanted.
var errEnough = errors.New("enough")

// top passes on a header, the empty line behind it and so many lines of the body.
type top struct {
	w     io.Writer
	left  int
	body  bool // the empty line has been passed
	empty bool // the present line has nothing so far
}

func (t *top) Write(p []byte) (int, error) {
	for i, octet := range p {
		if octet != '\n' {
			t.empty = t.empty && octet == '\r'
			continue
		}
		if t.body {
			t.left--
		}
		t.body, t.empty = t.body || t.empty, true
		if t.body && t.left <= 0 {
			if _, err := t.w.Write(p[:i+1]); err != nil {
				return 0, err
			}
			return i + 1, errEnough
		}
	}
	return t.w.Write(p)
}
