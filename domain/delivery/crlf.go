package delivery

import (
	"bufio"
	"bytes"
	"io"
)

// CRLF gives what r gives with every line ending CRLF, as every protocol has them; nothing else is changed.
func CRLF(r io.Reader) io.Reader { return &crlf{r: bufio.NewReaderSize(r, 64<<10)} }

type crlf struct {
	r   *bufio.Reader
	cr  bool // the last octet was CR
	out bytes.Buffer
}

func (c *crlf) Read(p []byte) (int, error) {
	for c.out.Len() == 0 {
		piece, err := c.r.ReadSlice('\n')
		body, ended := bytes.CutSuffix(piece, []byte("\n"))
		c.out.Write(body)
		if len(body) > 0 {
			c.cr = body[len(body)-1] == '\r'
		}
		if ended {
			if !c.cr {
				c.out.WriteByte('\r')
			}
			c.out.WriteByte('\n')
			c.cr = false
		}
		if err != nil && err != bufio.ErrBufferFull && c.out.Len() == 0 {
			return 0, err
		}
	}
	return c.out.Read(p)
}
