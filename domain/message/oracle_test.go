package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"
)

// shape describes a part and its parts as text.
type shape struct {
	kind string
	body []byte // decoded; of a leaf
	sub  []shape
}

// ours makes the shape from a Summary.
func ours(tb testing.TB, text []byte, p *Part) shape {
	s := shape{kind: p.Type + "/" + p.Subtype}
	for i := range p.Parts {
		s.sub = append(s.sub, ours(tb, text, &p.Parts[i]))
	}
	if p.Embedded != nil || p.Type == "multipart" {
		return s
	}
	r, err := TransferReader(p.Encoding, bytes.NewReader(text[p.Body:p.End]))
	if err != nil {
		return s
	}
	if s.body, err = io.ReadAll(r); err != nil {
		tb.Fatal(err)
	}
	return s
}

// theirs makes the shape with go-message. It reads strictly: an error is given as soon as it finds one. What go-message knows nothing of is
// an error too: the limit of depth, and types without a subtype. The default type of a digest's parts is told to it.
func theirs(e *gomessage.Entity, depth int, digest bool) (shape, error) {
	if depth >= MaxDepth {
		return shape{}, errors.New("too deep")
	}
	if digest && !e.Header.Has("Content-Type") {
		e.Header.SetContentType("message/rfc822", nil)
	}
	kind, _, err := e.Header.ContentType()
	if err != nil {
		return shape{}, err
	}
	if !strings.Contains(kind, "/") {
		return shape{}, errors.New("no subtype")
	}
	s := shape{kind: kind}
	if mr := e.MultipartReader(); mr != nil {
		for {
			part, err := mr.NextPart()
			if err == io.EOF {
				return s, nil
			}
			if err != nil {
				return s, err
			}
			sub, err := theirs(part, depth+1, kind == "multipart/digest")
			if err != nil {
				return s, err
			}
			s.sub = append(s.sub, sub)
		}
	}
	body, err := io.ReadAll(e.Body)
	if err != nil {
		return s, err
	}
	if kind == "message/rfc822" {
		inner, err := gomessage.Read(bytes.NewReader(body))
		if err != nil {
			return s, err
		}
		sub, err := theirs(inner, depth+1, false)
		s.sub = []shape{sub}
		return s, err
	}
	s.body = body
	return s, nil
}

// differ names the first difference, "" if there is none. A line end at the very end of a body is not compared: go-message's reader of
// quoted-printable adds one.
func differ(path string, a, b shape) string {
	if a.kind != b.kind || len(a.sub) != len(b.sub) {
		return fmt.Sprintf("%s: %s with %d parts here, %s with %d there", path, a.kind, len(a.sub), b.kind, len(b.sub))
	}
	if x, y := bytes.TrimRight(a.body, "\r\n"), bytes.TrimRight(b.body, "\r\n"); !bytes.Equal(x, y) {
		return fmt.Sprintf("%s (%s): %d octets here, %d there", path, a.kind, len(x), len(y))
	}
	for i := range a.sub {
		if d := differ(fmt.Sprintf("%s.%d", path, i+1), a.sub[i], b.sub[i]); d != "" {
			return d
		}
	}
	return ""
}

// TestAgreesWithGoMessage compares structure and decoded bodies of real messages with another implementation, wherever that one reads the
// message without complaint.
func TestAgreesWithGoMessage(t *testing.T) {
	compared := 0
	mails := corpus(t)
	for name, text := range mails {
		e, err := gomessage.Read(bytes.NewReader(text))
		if err != nil {
			continue
		}
		want, err := theirs(e, 0, false)
		if err != nil {
			continue
		}
		compared++
		s := scan(text)
		if d := differ("0", ours(t, text, &s.Root), want); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if subject := e.Header.Get("Subject"); strings.Join(strings.Fields(subject), " ") != strings.Join(strings.Fields(s.Envelope.Subject), " ") {
			t.Errorf("%s: the subject is %q here, %q there", name, s.Envelope.Subject, subject)
		}
	}
	t.Logf("%d of %d messages compared", compared, len(mails))
}
