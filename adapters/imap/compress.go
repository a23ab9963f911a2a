package imap

import (
	"bytes"
	"compress/flate"
	"context"
	"io"
	"sync"

	"github.com/streampost/streampost/adapters/imap/inflate"
	"github.com/streampost/streampost/adapters/imap/wire"
)

func init() {
	register(spec{name: "COMPRESS", states: loggedIn, run: runCompress})
	advertise("COMPRESS=DEFLATE", func(c *conn) bool { return c.state() != notAuthenticated && !c.compressed })
}

// runCompress is COMPRESS (RFC 4978). The commands of the client are decoded by package inflate, which keeps 36 KiB for each connection; that what it
// yields is large counts as if it had been sent so, against the limits of a command. Our TLS never compresses, so COMPRESSIONACTIVE never comes.
func runCompress(_ context.Context, c *conn, cmd *command) error {
	var algorithm string
	d := cmd.dec
	if !d.ExpectSP() || !d.ExpectName(&algorithm) || !d.ExpectCRLF() {
		return d.Err()
	}
	switch {
	case algorithm != "DEFLATE" || c.without["COMPRESS=DEFLATE"]:
		return wire.Syntaxf("the algorithm is not known")
	case c.compressed:
		return wire.Syntaxf("the connection is compressed already") // RFC 4978 section 3: BAD.
	case d.Buffered() > 0: // section 3: the client waits for the answer, so these octets are of neither kind for certain.
		return &wire.CloseError{Text: "nothing may follow COMPRESS before its answer"}
	}
	c.status(cmd.tag, "OK", "", "DEFLATE active")
	if err := c.flush(); err != nil {
		return err
	}
	cmd.answered, c.compressed = true, true
	commands := inflate.NewReader(c.line())
	commands.Heard = func() uint64 { in, _ := c.raw.Bytes(); return in }
	commands.Barren = c.raw.Disregard // many a client's flush ends in a packet of its own, in which no command begins.
	c.dec.Reset(commands)
	c.enc.Reset(deflater{c.line()})
	return nil
}

// line is the connection below IMAP and above the network.
func (c *conn) line() io.ReadWriter {
	if c.tls != nil {
		return c.tls
	}
	return c.raw
}

// deflater compresses what an Encoder writes, each piece by itself: a compressor remembers 32 KiB of text and needs far more for finding it again, so
// none is kept for a connection between two pieces. Pieces are whole answers, or 32 KiB of one. Each ends in a flush, at the edge of an octet,
// where the blocks of another compressor may go on (RFC 1951 section 3.2.3); they never refer to what came before them.
type deflater struct{ w io.Writer }

// packer is a compressor with its output.
type packer struct {
	*flate.Writer
	out bytes.Buffer
}

var packers = sync.Pool{New: func() any {
	p := new(packer)
	p.Writer, _ = flate.NewWriter(&p.out, flate.BestSpeed) // the level exists.
	return p
}}

// deflatePiece is how much is compressed at once, so that what is held in memory is bounded.
const deflatePiece = 64 << 10

func (d deflater) Write(text []byte) (int, error) {
	p := packers.Get().(*packer)
	defer packers.Put(p)
	for at := 0; at < len(text); at += deflatePiece {
		p.out.Reset()
		p.Reset(&p.out)
		_, _ = p.Write(text[at:min(len(text), at+deflatePiece)]) // a Buffer takes everything.
		_ = p.Flush()
		if _, err := d.w.Write(p.out.Bytes()); err != nil {
			return at, err
		}
	}
	return len(text), nil
}
