// Package mbox reads the mbox family of files (RFC 4155 and its relatives), so that they can be imported, and writes one of them.
//
// There is no one format. A message begins with a line "From sender date", but bodies contain such lines too, and each relative has its own cure:
// mboxo and mboxrd put ">" in front of them, mboxcl2 leaves them and writes a Content-Length. So:
//
//   - A separator is a "From " line at the start of the file or after an empty line, and it must hold a time and a year. When the file's very
//     first line does not, any "From " line after an empty line will do.
//   - Content-Length is believed only when what lies behind that many octets is a separator or the end of the file. It is wrong as often as not.
//   - One ">" is taken off ">From ", ">>From " and so on (mboxrd), except in messages whose end a Content-Length gave.
//   - Line ends become CRLF, as every protocol has them; nothing else is changed.
//
// Messages are found and read by position, so that a file of any size needs one buffer, and an import can resume.
package mbox

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Message is one message of a file.
type Message struct {
	Offset   int64     // of its separator line, which is where Reader.Resume begins again
	Size     int64     // octets that Open gives
	Date     time.Time // of the separator; zero when it cannot be read
	Flags    []string  // from Status, X-Status, X-Mozilla-Status and X-Keywords
	Skip     string    // why this is not a message of the user's, or empty
	start    int64     // of the first header line
	end      int64
	unquoted bool
	file     io.ReaderAt
}

// Open reads the message with CRLF line ends, without separator and quoting.
func (m *Message) Open() io.Reader {
	return &unquoter{r: bufio.NewReaderSize(io.NewSectionReader(m.file, m.start, m.end-m.start), bufferSize), quoted: !m.unquoted}
}

const bufferSize = 64 << 10

// Reader walks a file.
type Reader struct {
	file   io.ReaderAt
	size   int64
	next   int64 // offset of the next separator
	strict bool
}

// NewReader begins at the start of a file of the given size.
func NewReader(file io.ReaderAt, size int64) *Reader { return &Reader{file: file, size: size} }

// Resume goes to the separator at an offset that a Message had, or behind the last one.
func (r *Reader) Resume(offset int64) { r.next = offset }

// Next finds the next message; io.EOF when there is none. Other errors are those of reading the file.
func (r *Reader) Next() (*Message, error) {
	if r.next == 0 {
		if err := r.first(); err != nil {
			return nil, err
		}
	}
	if r.next >= r.size {
		return nil, io.EOF
	}
	lines := r.lines(r.next)
	separator, err := lines.line()
	if err != nil {
		return nil, err
	}
	m := &Message{Offset: r.next, start: lines.at, Date: separatorDate(separator), file: r.file}
	header, err := readHeader(lines)
	if err != nil {
		return nil, err
	}
	m.Flags, m.Skip = header.flags()
	if end, ok := r.byLength(lines.at, header.header["content-length"]); ok {
		m.end, m.unquoted = end, true
		r.next = r.skipEmpty(end)
	} else if m.end, r.next, err = r.bySeparator(lines, header.ended); err != nil {
		return nil, err
	}
	m.Size, err = io.Copy(io.Discard, m.Open())
	return m, err
}

// first checks that the file is an mbox and how its separators look.
func (r *Reader) first() error {
	r.next = r.skipEmpty(0)
	if r.next >= r.size {
		return nil
	}
	line, err := r.lines(r.next).line()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("From ")) {
		return ErrFormat
	}
	r.strict = separatorForm.Match(line)
	return nil
}

// ErrFormat says that a file does not begin like an mbox.
var ErrFormat = formatError{}

type formatError struct{}

func (formatError) Error() string {
	return `not an mbox file: its first line does not begin with "From "`
}

var separatorForm = regexp.MustCompile(`^From .*[0-9]{1,2}:[0-9]{2}.*[0-9]{4}`)

func (r *Reader) separates(line []byte) bool {
	return bytes.HasPrefix(line, []byte("From ")) && (!r.strict || separatorForm.Match(line))
}

// byLength gives the end of a body that begins at an offset, if Content-Length tells the truth.
func (r *Reader) byLength(body int64, length string) (end int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(length), 10, 64)
	if err != nil || n < 0 || n > r.size-body {
		return 0, false
	}
	end = body + n
	next := r.skipEmpty(end)
	if next >= r.size {
		return end, true
	}
	line, err := r.lines(next).line()
	// Where the body's last line has no end, or no empty line follows, the position must still be the start of a line.
	return end, err == nil && r.separates(line) && (next > end || r.atLineStart(end))
}

func (r *Reader) atLineStart(offset int64) bool {
	var before [1]byte
	_, err := r.file.ReadAt(before[:], offset-1)
	return err == nil && before[0] == '\n'
}

// bySeparator looks for the next separator. empty tells whether the line before is empty.
func (r *Reader) bySeparator(lines *lineReader, empty bool) (end, next int64, err error) {
	end = lines.at
	for {
		start := lines.at
		line, err := lines.line()
		if err == io.EOF {
			return end, lines.at, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if empty && r.separates(line) {
			return end, start, nil
		}
		// The empty line in front of a separator belongs to the file, not to the message.
		if empty = len(bytes.TrimRight(line, "\r\n")) == 0; !empty {
			end = lines.at
		} else if end < start {
			end = start // one of several empty lines: all but the last are the message's
		}
	}
}

// skipEmpty gives the offset of the first line from an offset on that is not empty.
func (r *Reader) skipEmpty(offset int64) int64 {
	var b [1]byte
	for ; offset < r.size; offset++ {
		if _, err := r.file.ReadAt(b[:], offset); err != nil || b[0] != '\r' && b[0] != '\n' {
			break
		}
	}
	return offset
}

func (r *Reader) lines(offset int64) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(io.NewSectionReader(r.file, offset, r.size-offset), bufferSize), at: offset}
}

// lineReader gives the beginning of each line, and knows where it is.
type lineReader struct {
	r  *bufio.Reader
	at int64
}

// line gives the next line with its end. Of a line longer than the buffer it gives the first part and skips the rest.
func (l *lineReader) line() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	l.at += int64(len(line))
	if err == bufio.ErrBufferFull {
		line = bytes.Clone(line)
		for err == bufio.ErrBufferFull {
			var more []byte
			more, err = l.r.ReadSlice('\n')
			l.at += int64(len(more))
		}
	}
	if err == io.EOF && len(line) > 0 {
		err = nil
	}
	return line, err
}

// separatorDate reads the date of "From sender Thu Jan  1 00:00:00 1970", with what some programs put around it. RFC 4155 says UTC.
func separatorDate(line []byte) time.Time {
	fields := strings.Fields(string(line))
	for i := len(fields) - 4; i >= 1; i-- {
		for _, form := range []struct {
			words  int
			layout string
		}{{6, "Mon Jan 2 15:04:05 -0700 2006"}, {6, "Mon Jan 2 15:04:05 MST 2006"}, {5, "Mon Jan 2 15:04:05 2006"}, {5, "Mon Jan 2 15:04 2006"}} {
			if i+form.words > len(fields) {
				continue
			}
			if t, err := time.Parse(form.layout, strings.Join(fields[i:i+form.words], " ")); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}
