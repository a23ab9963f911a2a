package message

import (
	"bytes"
	"strings"
)

// Scanner finds a message's structure while its octets stream by. It is an io.Writer; one goroutine may use it.
//
// It works on lines. A line ends with LF; a CR before it belongs to the line end, any other CR is content. Inside a header each line is a
// field, a continuation or the end of the header; inside a body the only lines of interest are the delimiters of the open multiparts.
type Scanner struct {
	summary Summary
	open    []frame // from the root to the part that the current line belongs to
	header  bool    // the innermost open part is in its header
	watched int     // how many open multiparts wait for a delimiter
	parts   int

	off  int64 // of the current line
	ends int64 // line ends before off
	eol  int64 // octets of the line end just before off

	line []byte // what came so far of a line that the last Write broke off, cut at the limit
	held int64  // octets that came of it in all
	last byte   // the last of them

	field  field  // the field that the last header line began or continued
	value  []byte // its value so far, unfolded
	budget int    // octets of fields that may still be kept
	places int    // addresses that may still be kept

	references string
	plain      *sample // of the first text/plain part
	html       *sample // of the first text/html part
	sample     *sample // the one that the current body belongs to
}

// frame is an open part.
type frame struct {
	part      *Part
	envelope  *Envelope // where a message's own fields go; nil in a part that is no message
	delimiter string    // "--" and the boundary, while more parts may come
	digest    bool      // multipart/digest: parts are messages unless they say otherwise, RFC 2046 section 5.1.5
	ends      int64     // line ends before the body
	seen      uint32    // the fields that its header had, a bit each
}

// NewScanner makes a Scanner.
func NewScanner() *Scanner {
	s := &Scanner{budget: maxKept, places: maxAddresses, open: make([]frame, 0, 4)}
	s.push(&s.summary.Root, 0, &s.summary.Envelope, false)
	return s
}

// Write takes the next octets; it never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		if !s.header && s.watched == 0 { // No line is of interest any more.
			s.collect(p)
			s.ends += int64(bytes.Count(p, []byte{'\n'}))
			s.off += int64(len(p))
			break
		}
		n := bytes.IndexByte(p, '\n') + 1
		if n == 0 {
			s.hold(p)
			break
		}
		if !s.header {
			s.collect(p[:n])
		}
		if s.held == 0 {
			s.endLine(p[:n], int64(n), n > 1 && p[n-2] == '\r')
		} else {
			cr := n == 1 && s.last == '\r' || n > 1 && p[n-2] == '\r'
			s.store(p[:n])
			s.endLine(s.line, s.held, cr)
			s.line, s.held = s.line[:0], 0
		}
		p = p[n:]
	}
	return written, nil
}

// hold keeps the beginning of a line until its end arrives.
func (s *Scanner) hold(p []byte) {
	if !s.header {
		s.collect(p)
	}
	s.store(p)
	s.last = p[len(p)-1]
}

func (s *Scanner) store(p []byte) {
	s.held += int64(len(p))
	if room := s.limit() + len("\r\n") - len(s.line); room > 0 {
		s.line = append(s.line, p[:min(room, len(p))]...)
	}
}

// limit is how much of a line is looked at.
func (s *Scanner) limit() int {
	if s.header {
		return maxField
	}
	return maxDelimiter
}

// endLine handles a line of n octets, of which raw holds at least as many as are looked at.
func (s *Scanner) endLine(raw []byte, n int64, cr bool) {
	eol := int64(1)
	if cr {
		eol = 2
	}
	s.scanLine(raw, n, eol)
	s.off += n
	s.ends++
	s.eol = eol
}

func (s *Scanner) scanLine(raw []byte, n, eol int64) {
	content := raw[:min(n-eol, int64(s.limit()))]
	if s.watched > 0 && n-eol <= maxDelimiter && len(content) > 2 && content[0] == '-' && content[1] == '-' && s.delimited(content, n) {
		return
	}
	switch {
	case !s.header:
	case n > eol:
		s.fieldLine(content)
	default:
		s.endHeader(s.off+n, s.ends+1)
		s.openBody()
	}
}

// Finish gives what was found. The Scanner must not be used afterwards.
func (s *Scanner) Finish() Summary {
	if s.held > 0 { // The last line has no end.
		s.scanLine(s.line, s.held, 0)
		s.off += s.held
	}
	if s.header {
		s.endHeader(s.off, s.ends)
	}
	s.shut(0, s.off, s.ends)
	s.summary.Preview = s.preview()
	s.summary.SentAt = parseDate(s.summary.Envelope.Date)
	s.summary.Keys = threadKeys(&s.summary.Envelope, s.references)
	s.summary.References = References(s.references)
	return s.summary
}

// push opens a part that starts at the given offset with its header.
func (s *Scanner) push(p *Part, start int64, e *Envelope, digest bool) {
	p.Start, p.Body = start, start
	p.Type, p.Subtype, p.Encoding = "text", "plain", "7bit" // RFC 2045 sections 5.2 and 6.1.
	if digest {
		p.Type, p.Subtype = "message", "rfc822" // RFC 2046 section 5.1.5.
	}
	s.open = append(s.open, frame{part: p, envelope: e})
	s.parts++
	s.header = true
}

// endHeader ends the innermost part's header; its body begins at off.
func (s *Scanner) endHeader(off, ends int64) {
	s.endField()
	s.header = false
	top := &s.open[len(s.open)-1]
	top.part.Body, top.ends = off, ends
	if top.envelope != nil {
		top.envelope.complete()
	}
}

// openBody decides by the innermost part's type what its body is watched for.
func (s *Scanner) openBody() {
	top := &s.open[len(s.open)-1]
	p := top.part
	room := len(s.open) < MaxDepth && s.parts < MaxParts
	switch {
	case p.Type == "multipart":
		boundary := strings.TrimRight(find(p.Params, "boundary"), " \t")
		if boundary == "" || len(boundary) > maxBoundary {
			p.Type, p.Subtype, p.Params = "text", "plain", nil // RFC 2045 section 5.2: what is syntactically invalid counts as text.
			s.take(p)
		} else if room {
			top.delimiter = "--" + boundary
			top.digest = p.Subtype == "digest"
			s.watched++
		}
	case p.holdsMessage():
		if room {
			p.Embedded = new(Envelope)
			p.Parts = make([]Part, 1)
			s.push(&p.Parts[0], p.Body, p.Embedded, false)
		}
	default:
		s.take(p)
	}
}

// holdsMessage tells whether the body is a message whose octets stand there unencoded (RFC 2046 section 5.2.1, RFC 6532 section 3.7).
func (p *Part) holdsMessage() bool {
	if p.Type != "message" || p.Subtype != "rfc822" && p.Subtype != "global" {
		return false
	}
	return p.Encoding == "7bit" || p.Encoding == "8bit" || p.Encoding == "binary"
}

// delimited handles a line that begins with "--" and tells whether it delimits a part. The innermost multipart is asked first.
func (s *Scanner) delimited(content []byte, n int64) bool {
	content = bytes.TrimRight(content, " \t") // RFC 2046 section 5.1.1, transport-padding.
	for i := len(s.open) - 1; i >= 0; i-- {
		f := &s.open[i]
		if f.delimiter == "" || len(content) < len(f.delimiter) || string(content[:len(f.delimiter)]) != f.delimiter {
			continue
		}
		switch string(content[len(f.delimiter):]) {
		case "":
			if s.parts >= MaxParts {
				return false
			}
			s.closeAbove(i)
			parent := s.open[i].part
			parent.Parts = append(parent.Parts, Part{})
			s.push(&parent.Parts[len(parent.Parts)-1], s.off+n, nil, s.open[i].digest)
			return true
		case "--":
			s.closeAbove(i)
			s.open[i].delimiter = ""
			s.watched--
			return true
		}
	}
	return false
}

// closeAbove ends the parts inside the multipart at index i of the open ones. The line end before a delimiter belongs to the delimiter.
func (s *Scanner) closeAbove(i int) {
	if s.header { // Not even an empty line came.
		off, ends := s.off, s.ends
		if off > s.open[len(s.open)-1].part.Start {
			off, ends = off-s.eol, ends-1
		}
		s.endHeader(off, ends)
	}
	s.shut(i+1, s.off-s.eol, s.ends-1)
}

// shut ends the open parts from index first on at offset end, or where their bodies begin if that is later.
func (s *Scanner) shut(first int, end, ends int64) {
	for i := len(s.open) - 1; i >= first; i-- {
		f := &s.open[i]
		if f.part.Body > end {
			end, ends = f.part.Body, f.ends
		}
		f.part.End, f.part.Lines = end, ends-f.ends
		if f.delimiter != "" {
			s.watched--
		}
	}
	if s.sample != nil {
		s.sample.trim(s.open[len(s.open)-1].part.Size())
		s.sample = nil
	}
	s.open = s.open[:first]
}
