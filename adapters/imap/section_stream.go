package imap

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
)

// How a section's octets come from the blob store to the client. A literal announces its size, so that is known before the first octet goes
// out: from the message's structure for a range, from a first pass for what is computed. No more than one buffer of a section is in memory.

// streamBuffer is how much is read before a literal begins, so that damage up to here is answered with NO. It is the unit in which blobs are
// sealed and checked. Damage further on ends the connection, since a literal cannot be taken back.
const streamBuffer = 64 << 10

var streamBuffers = sync.Pool{New: func() any { return new([streamBuffer]byte) }}

// open reads a range of the present message.
func (r *fetchReply) open(from, n int64) (io.ReadCloser, error) {
	body, err := r.c.accounts.Open(r.ctx, r.mail.blob, from, n)
	return body, r.unreadable(err)
}

const unreadable = "a message's bytes are missing or damaged"

// unreadable says of which message the octets cannot be read. That they are not there is damage as well: the log says that they were durable.
func (r *fetchReply) unreadable(err error) error {
	var known *domain.Error
	switch {
	case err == nil || errors.As(err, &known) && known.Msg == unreadable:
		return err
	case err == io.EOF || err == io.ErrUnexpectedEOF || domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt):
		return &domain.Error{Kind: domain.Corrupt, Msg: unreadable, Err: err,
			Hint: "message " + r.mail.blob.ID.String() + ": restore the blob from a replica or a backup"}
	}
	return err
}

// sendRange writes an item whose value is n octets of the message.
func (r *fetchReply) sendRange(name string, from, n int64) error {
	if n == 0 {
		r.item(name).Literal(0, false)
		return nil
	}
	body, err := r.open(from, n)
	if err != nil {
		return err
	}
	defer body.Close()
	return r.sendLiteral(name, body, n, false)
}

// sendLiteral writes an item whose value is the next n octets of body.
func (r *fetchReply) sendLiteral(name string, body io.Reader, n int64, binary bool) error {
	buf := streamBuffers.Get().(*[streamBuffer]byte)
	defer streamBuffers.Put(buf)
	first := buf[:min(n, streamBuffer)]
	if _, err := io.ReadFull(body, first); err != nil {
		return r.unreadable(err)
	}
	enc := r.item(name).Literal(n, binary)
	_, _ = enc.Write(first)
	for left := n - int64(len(first)); left > 0 && enc.Err() == nil; {
		got, err := body.Read(buf[:min(left, streamBuffer)])
		_, _ = enc.Write(buf[:got])
		if left -= int64(got); err != nil && left > 0 {
			return r.breaksOff(err)
		}
	}
	return enc.End()
}

// producer writes octets that are computed from the message. It gives the same octets each time.
type producer func(w io.Writer) error

// sendProduced writes an item whose value is computed. What fits one buffer is computed once.
func (r *fetchReply) sendProduced(s *section, binary bool, produce producer) error {
	buf := streamBuffers.Get().(*[streamBuffer]byte)
	defer streamBuffers.Put(buf)
	m := measure{kept: buf[:0]}
	if err := produce(&m); err != nil {
		return r.unreadable(err)
	}
	skip, n := s.cut(m.size)
	binary = binary && m.nul // RFC 3516 section 4.2: literal8 is for data that has NUL.
	if m.size <= streamBuffer {
		kept := m.kept[skip : skip+n]
		return r.sendLiteral(s.name, bytes.NewReader(kept), n, binary && bytes.IndexByte(kept, 0) >= 0)
	}
	// The first pass has read every octet and found it sound, so the literal may begin.
	enc := r.item(s.name).Literal(n, binary)
	if err := produce(&cutter{enc, skip, n}); err != nil && err != errEnough {
		return r.breaksOff(err)
	}
	return enc.End()
}

// breaksOff ends the connection, since a literal that has begun can be neither completed nor taken back.
func (r *fetchReply) breaksOff(err error) error {
	if failed := r.c.enc.Err(); failed != nil { // it is the client that has gone.
		return failed
	}
	err = r.unreadable(err)
	r.c.log.Error("message breaks off in the middle of its transfer", "account", r.c.id, "uid", r.row.UID, "error", err)
	r.c.enc.Fail(err)
	return err
}

// cutter passes on n octets after leaving out skip.
type cutter struct {
	w       io.Writer
	skip, n int64
}

// errEnough tells a producer that no more is wanted.
var errEnough = errors.New("enough")

func (c *cutter) Write(p []byte) (int, error) {
	size := len(p)
	out := min(c.skip, int64(size))
	p, c.skip = p[out:], c.skip-out
	p = p[:min(int64(len(p)), c.n)]
	c.n -= int64(len(p))
	if _, err := c.w.Write(p); err != nil {
		return 0, err
	}
	if c.n == 0 {
		return size, errEnough
	}
	return size, nil
}

// measure counts what is written to it and keeps the beginning.
type measure struct {
	size  int64
	lines int64
	nul   bool
	kept  []byte // within its capacity
}

func (m *measure) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	m.lines += int64(bytes.Count(p, []byte{'\n'}))
	m.kept = append(m.kept, p[:min(len(p), cap(m.kept)-len(m.kept))]...)
	m.nul = m.nul || bytes.IndexByte(p, 0) >= 0
	return len(p), nil
}

// header computes HEADER.FIELDS and HEADER.FIELDS.NOT: the fields as they stand, folding included, and the empty line that ends the header if
// it has one (RFC 9051 section 6.4.5.1).
func (s *section) header(r *fetchReply, at span) producer {
	return func(w io.Writer) error {
		if at.from == at.to {
			return nil
		}
		body, err := r.open(at.from, at.to-at.from)
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.Copy(w, message.FieldReader(body, s.kind == fieldsNotOf, s.fields...))
		return err
	}
}
