package mbox

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"time"
)

// Writer writes a file of the mboxrd kind: lines that look like separators, quoted or not, get one more ">", so that nothing is lost. Lines end
// in LF, as such files have them.
type Writer struct{ w *bufio.Writer }

// NewWriter makes a Writer. Call Flush at the end.
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriterSize(w, bufferSize)} }

// Add writes a message. Errors: those of r and of the file.
func (w *Writer) Add(sender string, date time.Time, r io.Reader) error {
	if sender = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, sender); sender == "" {
		sender = "MAILER-DAEMON" // RFC 4155: who is unknown.
	}
	if _, err := w.w.WriteString("From " + sender + " " + date.UTC().Format(time.ANSIC) + "\n"); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(r, bufferSize)
	for begun := true; ; {
		line, err := lines.ReadSlice('\n')
		whole := err == nil
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if begun && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			_ = w.w.WriteByte('>') // an error shows at the next write
		}
		if whole {
			line = append(bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), '\n')
		}
		if _, err := w.w.Write(line); err != nil {
			return err
		}
		begun = whole
		if err == io.EOF {
			if len(line) > 0 { // its last line has no end
				_ = w.w.WriteByte('\n')
			}
			_, err := w.w.WriteString("\n")
			return err
		}
	}
}

// Flush writes what is buffered.
func (w *Writer) Flush() error { return w.w.Flush() }
