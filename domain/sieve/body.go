package sieve

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/text"
)

func init() {
	tests["body"] = &spec{needs: []string{"body"}, takes: "l", test: buildBody, tags: merge(matchTags, map[string]tagged{
		"raw":     {group: "transform"},
		"content": {takes: 'l', group: "transform"},
		"text":    {group: "transform"},
	})}
}

// stretch is a range of the message that a body test looks at as one text.
type stretch struct {
	part     *message.Part // whose encoding is undone; nil for octets as they are
	readable bool          // and HTML and the like too, since text is wanted
	from, to int64
}

// buildBody is body (RFC 5173). It sets no match variables (section 6).
func buildBody(c *compiler, a *arguments) (predicate, error) {
	match, err := c.matcher(a, a.place[0])
	if err != nil {
		return nil, err
	}
	match.silent = true
	transform := a.one("transform", "text") // RFC 5173 section 5: the default.
	var types []template
	if transform == "content" {
		if types, err = c.templates(a.tags["content"]); err != nil {
			return nil, err
		}
	}
	return func(m *machine) (bool, error) {
		stretches, err := m.stretches(a.Position, transform, m.expandAll(types))
		if err != nil {
			return false, err
		}
		if match.kind == "count" {
			return match.any(m, make([]string, len(stretches)))
		}
		for _, s := range stretches {
			if ok, err := match.stretch(m, s); err != nil || ok {
				return ok, err
			}
		}
		return false, nil
	}, nil
}

// stretches finds what a body transform looks at (RFC 5173 section 5).
func (m *machine) stretches(at Position, transform string, types []string) (all []stretch, err error) {
	root := m.ctx.Message.Root
	if transform == "raw" {
		return []stretch{{from: root.Body, to: root.End}}, nil
	}
	root.All(func(p *message.Part, _ int) bool {
		err = m.spend(at, 1+len(types)/16)
		switch {
		case err != nil:
		case transform == "text":
			if p.Type == "text" {
				all = append(all, stretch{part: p, readable: true, from: p.Body, to: p.End})
			}
		case !wantsType(types, p):
		case p.Embedded != nil: // RFC 5173 section 5.2: of a message in the message, its header.
			all = append(all, stretch{from: p.Parts[0].Start, to: p.Parts[0].Body})
		case p.Type == "multipart": // and of a multipart what is around its parts.
			at := p.Body
			for i := range p.Parts {
				all = append(all, stretch{from: at, to: p.Parts[i].Start})
				at = p.Parts[i].End
			}
			all = append(all, stretch{from: at, to: p.End})
		default:
			all = append(all, stretch{part: p, from: p.Body, to: p.End})
		}
		return err == nil
	})
	return all, err
}

// wantsType matches content types (RFC 5173 section 5.2): "" is all of them, and a type without subtype all of its.
func wantsType(types []string, p *message.Part) bool {
	for _, t := range types {
		kind, sub, both := strings.Cut(t, "/")
		switch {
		case t == "", strings.EqualFold(kind, p.Type) && (!both || strings.EqualFold(sub, p.Subtype)):
			return true
		}
	}
	return false
}

// stretch compares one stretch of the body. For :contains all of it is looked at, in pieces; the other matches see its first maxBody octets.
func (mt *matcher) stretch(m *machine, s stretch) (found bool, err error) {
	if s.to <= s.from {
		return mt.any(m, []string{""})
	}
	if err := m.spend(mt.Position, 4); err != nil {
		return false, err
	}
	raw, err := m.ctx.Message.Open(s.from, s.to-s.from)
	if err != nil {
		return false, domain.Wrap(domain.Unavailable, err, "read the body")
	}
	defer func() { err = closing(raw, err) }()
	source := &counted{r: raw, m: m, at: mt.Position}
	var in io.Reader = source
	if s.part != nil {
		decoded, err := decode(s, in)
		if err != nil { // Nobody knows the encoding: the part has no text.
			return false, nil
		}
		in = decoded
	}
	if mt.kind == "contains" {
		found, err = mt.contains(m, in)
	} else {
		var all []byte
		if all, err = io.ReadAll(io.LimitReader(in, maxBody)); source.err == nil { // What cannot be decoded ends the text.
			err = nil
		}
		if err == nil {
			return mt.any(m, []string{string(all)})
		}
	}
	if source.err != nil {
		return false, source.err
	}
	return found, err
}

// decode undoes a part's encoding.
func decode(s stretch, in io.Reader) (io.Reader, error) {
	if s.readable {
		return text.Decoded(s.part, in)
	}
	out, err := message.TransferReader(s.part.Encoding, in)
	if err == nil && s.part.Type == "text" { // RFC 5173 section 5.2: in UTF-8.
		out, _ = message.CharsetReader(s.part.Param("charset"), out)
	}
	return out, err
}

// counted pays for what is read of the store. It remembers an error of that, which is not one of the message.
type counted struct {
	r   io.Reader
	m   *machine
	at  Position
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		c.err = domain.Wrap(domain.Unavailable, err, "read the body")
	} else if e := c.m.spend(c.at, 1+n/1024); e != nil {
		c.err, err = e, e
	}
	return n, err
}

// bodyPiece is how much of a body is searched at a time.
const bodyPiece = 32 << 10

// contains looks for the keys in a text of any length. What could be the beginning of a key at the end of a piece is looked at again with the next.
func (mt *matcher) contains(m *machine, in io.Reader) (bool, error) {
	keys := m.expandAll(mt.keys)
	longest := 0
	for i := range keys {
		if err := m.spend(mt.Position, len(keys[i])/64); err != nil {
			return false, err
		}
		keys[i] = mt.comparator.fold(keys[i])
		longest = max(longest, len(keys[i]))
	}
	// A folded character may have a quarter of the octets that it is written with.
	overlap := 4 * (longest + utf8.UTFMax)
	buf := make([]byte, 0, bodyPiece+overlap)
	for {
		n, err := io.ReadFull(in, buf[len(buf):len(buf)+bodyPiece])
		buf = buf[:len(buf)+n]
		if err := m.spend(mt.Position, 1+len(buf)*len(keys)/1024); err != nil {
			return false, err
		}
		folded := mt.comparator.fold(string(buf))
		for _, key := range keys {
			if strings.Contains(folded, key) {
				return true, nil
			}
		}
		if err != nil { // The end, or what cannot be decoded any further.
			return false, nil
		}
		tail := max(len(buf)-overlap, 0)
		for tail < len(buf) && !utf8.RuneStart(buf[tail]) {
			tail++
		}
		buf = buf[:copy(buf[:cap(buf)], buf[tail:])]
	}
}
