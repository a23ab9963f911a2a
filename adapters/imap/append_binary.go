package imap

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
)

// storeBinary puts a message that may hold NUL, since it came as a literal8, into the blob store. NUL cannot be sent in answer to FETCH BODY
// (RFC 9051 section 4.3.1), so parts in the encoding "binary" are kept in base64 then (RFC 3516 sections 4.4 and 6), which FETCH BINARY undoes. The
// message is stored as it came first, since where its parts are is known at its end; nothing names that blob afterwards.
func (u *uploads) storeBinary(ctx context.Context, octets io.Reader) (door.Stored, error) {
	came := &nulSpotter{r: octets}
	stored, err := u.c.accounts.Ingest(ctx, came)
	if err != nil || !came.found {
		return stored, err
	}
	edits := message.Textual(&stored.Summary.Root, stored.Blob.Size)
	if edits == nil {
		return stored, errNUL
	}
	text := &edited{ctx: ctx, c: u.c, blob: stored.Blob, edits: edits}
	defer text.close()
	kept := &nulSpotter{r: text, refuse: true} // of headers, and of parts that are called 8bit
	if stored, err = u.c.accounts.Ingest(ctx, kept); err == nil && stored.Blob.Size > u.c.server.limits.Append {
		err = tooBig(u.c.server.limits.Append)
	}
	return stored, err
}

// errNUL says that there is no way to keep a message without loss.
var errNUL = coded("UNKNOWN-CTE", domain.Errorf(domain.Invalid, "NUL is in a part whose Content-Transfer-Encoding is not binary")) // RFC 3516 section 4.4.

// nulSpotter notices NUL.
type nulSpotter struct {
	r      io.Reader
	found  bool
	refuse bool
}

func (n *nulSpotter) Read(p []byte) (int, error) {
	got, err := n.r.Read(p)
	if n.found = n.found || bytes.IndexByte(p[:got], 0) >= 0; n.found && n.refuse {
		return 0, errNUL
	}
	return got, err
}

// edited reads a stored message with edits made to it.
type edited struct {
	ctx   context.Context
	c     *conn
	blob  domain.BlobRef
	edits []message.Edit

	part io.Reader // of the present edit
	from io.Closer
}

func (e *edited) Read(p []byte) (int, error) {
	for {
		if e.part == nil {
			if len(e.edits) == 0 {
				return 0, io.EOF
			}
			edit := e.edits[0]
			e.edits = e.edits[1:]
			if edit.From == edit.To {
				continue
			}
			r, err := e.c.accounts.Open(e.ctx, e.blob, edit.From, edit.To-edit.From)
			if err != nil {
				return 0, err
			}
			e.part, e.from = edit.Apply(r), r
		}
		n, err := e.part.Read(p)
		if errors.Is(err, io.EOF) {
			e.close()
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (e *edited) close() {
	if e.from != nil {
		_ = e.from.Close()
		e.part, e.from = nil, nil
	}
}
