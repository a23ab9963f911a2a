package integration

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/message"
)

// What FETCH gives of each message is compared with another server, as search and order are: envelope, structure and octets of every section that there is.
// A value is nil for NIL, a string, or a list of values.

// response reads one untagged response, or the tagged one, with the literals that are in it.
func (s *session) response() []byte {
	s.t.Helper()
	var all []byte
	for {
		line, err := s.r.ReadBytes('\n')
		if err != nil {
			s.t.Fatalf("%s: %v", s.name, err)
		}
		all = append(all, line...)
		n, is := literal(line)
		if !is {
			return all
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(s.r, text); err != nil {
			s.t.Fatalf("%s: %v", s.name, err)
		}
		all = append(all, text...)
	}
}

// literal gives the length of the literal that a line announces.
func literal(line []byte) (n int, is bool) {
	line, is = bytes.CutSuffix(line, []byte("}\r\n"))
	at := bytes.LastIndexByte(line, '{')
	if !is || at < 0 {
		return 0, false
	}
	n, err := strconv.Atoi(string(line[at+1:]))
	return n, err == nil
}

// fetch gives the items of one message.
func (s *session) fetch(uid int, items string) map[string]any {
	s.t.Helper()
	s.tag++
	tag := "t" + strconv.Itoa(s.tag) + " "
	if _, err := fmt.Fprintf(s.w, "%sUID FETCH %d (%s)\r\n", tag, uid, items); err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	got := map[string]any{}
	for {
		line := s.response()
		if bytes.HasPrefix(line, []byte(tag)) {
			if !bytes.HasPrefix(line, []byte(tag+"OK")) {
				s.t.Errorf("%s: FETCH %s: %s", s.name, items, line)
			}
			return got
		}
		_, list, is := bytes.Cut(line, []byte(" FETCH ("))
		if !is || bytes.HasPrefix(line, []byte("* OK")) {
			continue
		}
		for len(list) > 0 && list[0] != ')' {
			name, rest := itemName(list)
			got[name], list = value(bytes.TrimPrefix(rest, []byte(" ")))
			list = bytes.TrimPrefix(list, []byte(" "))
		}
	}
}

// itemName reads the name of an item, in which there may be spaces between brackets. Names are in capitals, and without quotes.
func itemName(b []byte) (name string, rest []byte) {
	inside := 0
	for i, c := range b {
		switch {
		case c == '[':
			inside++
		case c == ']':
			inside--
		case c == ' ' && inside == 0:
			return strings.ToUpper(strings.ReplaceAll(string(b[:i]), `"`, "")), b[i:]
		}
	}
	return string(b), nil
}

// value reads a value.
func value(b []byte) (v any, rest []byte) {
	switch {
	case len(b) == 0:
		return nil, nil
	case b[0] == '(':
		list := []any{}
		for b = b[1:]; len(b) > 0 && b[0] != ')'; b = bytes.TrimPrefix(b, []byte(" ")) {
			v, b = value(b)
			list = append(list, v)
		}
		return list, b[min(1, len(b)):]
	case b[0] == '"':
		var text []byte
		for i := 1; i < len(b); i++ {
			switch b[i] {
			case '"':
				return string(text), b[i+1:]
			case '\\':
				i++
			}
			text = append(text, b[i])
		}
		return string(text), nil
	case b[0] == '{':
		head, tail, _ := bytes.Cut(b, []byte("\r\n"))
		n, _ := strconv.Atoi(strings.Trim(string(head), "{}"))
		return string(tail[:n]), tail[n:]
	}
	end := bytes.IndexAny(b, " ()\r")
	if end < 0 {
		end = len(b)
	}
	if atom := string(b[:end]); !strings.EqualFold(atom, "NIL") {
		return atom, b[end:]
	}
	return nil, b[end:]
}

// sections gives all that one may ask of a message, and some that it does not have.
func sections(root *message.Part) (names []string) {
	names = []string{"", "HEADER", "TEXT", "HEADER.FIELDS (From To Subject Date Message-ID Content-Type)", "HEADER.FIELDS.NOT (Received From)", "99", "1.99"}
	var part func(p *message.Part, path string)
	inside := func(p *message.Part, path string) {
		if p.Type == "multipart" {
			for i := range p.Parts {
				part(&p.Parts[i], strings.TrimPrefix(fmt.Sprint(path, ".", i+1), "."))
			}
		} else if path == "" {
			names = append(names, "1", "1.MIME")
		} else {
			names = append(names, path+".1", path+".1.MIME")
		}
	}
	part = func(p *message.Part, path string) {
		names = append(names, path, path+".MIME")
		switch {
		case p.Type == "multipart":
			inside(p, path)
		case len(p.Parts) == 1: // a message
			names = append(names, path+".HEADER", path+".TEXT", path+".HEADER.FIELDS (From Subject)")
			inside(&p.Parts[0], path)
		}
	}
	inside(root, "")
	return names
}

// fetch compares every message. What is explained must differ in something.
func (r *rivalry) fetch(t *testing.T) {
	differ := map[string]map[string]bool{"ENVELOPE": {}, "BODYSTRUCTURE": {}, "SECTION": {}}
	report := func(what string, m *known, format string, args ...any) {
		if differ[what][m.file] = true; !slices.Contains(r.explained[what], m.file) {
			t.Errorf("%s of %s: %s", what, m.file, fmt.Sprintf(format, args...))
		}
	}
	for i, m := range r.messages {
		names := sections(&m.root)
		items := "RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[]<7.100> BODY.PEEK[TEXT]<0.10> BODY.PEEK[1]<5.1000000>"
		for _, name := range names {
			items += " BODY.PEEK[" + name + "]"
		}
		ours, theirs := r.us.fetch(i+1, items), r.them.fetch(i+1, items)
		if ours["RFC822.SIZE"] != theirs["RFC822.SIZE"] {
			t.Errorf("%s: the size is %v, and %v with %s", m.file, ours["RFC822.SIZE"], theirs["RFC822.SIZE"], r.them.name)
		}
		for _, what := range []string{"ENVELOPE", "BODYSTRUCTURE"} {
			if d := unlike(what, normal(ours[what]), normal(theirs[what])); d != "" {
				report(what, m, "%s", d)
			}
		}
		for name, text := range ours {
			if !strings.HasPrefix(name, "BODY[") {
				continue
			}
			if other, is := theirs[name]; !is || !sameSection(name, text, other) {
				report("SECTION", m, "%s is %s, and %s with %s", name, ends(text), ends(other), r.them.name)
			}
		}
	}
	for what, files := range differ {
		for _, file := range r.explained[what] {
			if r.has([]string{file}) && !files[file] {
				t.Errorf("docs/differences.md explains a difference in %s of %s that there is not", what, file)
			}
		}
	}
}

// sameSection compares sections. One that does not exist is NIL or empty (RFC 9051 section 7.5.2 leaves it open). Two line ends belong to two things: an empty line
// before a delimiter ends a header and begins the delimiter, so it is shown with the header or not; and what ends a delimiter begins one that follows on it (RFC
// 2046 section 5.1.1), which others show with the part before.
func sameSection(name string, ours, theirs any) bool {
	a, _ := ours.(string)
	b, _ := theirs.(string)
	if strings.Contains(name, "HEADER") || strings.Contains(name, "MIME") {
		return a == b || a+"\r\n" == b || b+"\r\n" == a
	}
	return a == b || a+"\r\n" == b
}

// params drops a charset that is the default, which some servers add for all texts, from parameters.
func params(list []any) (kept []any) {
	for i := 0; i+1 < len(list); i += 2 {
		if value, _ := list[i+1].(string); !strings.EqualFold(fmt.Sprint(list[i]), "charset") || !strings.EqualFold(value, "us-ascii") {
			kept = append(kept, list[i], list[i+1])
		}
	}
	return kept
}

// normal gives a structure without what servers may write in two ways: no list for a single language, no data of extensions at the end, and no charset that is
// the default (RFC 9051 section 9, body-fld-lang and body-ext; RFC 2045 section 5.2).
func normal(v any) any {
	list, is := v.([]any)
	if !is {
		return v
	}
	all := make([]any, 0, len(list))
	pairs := len(list)%2 == 0
	for _, e := range list {
		_, text := e.(string)
		pairs = pairs && text
		all = append(all, normal(e))
	}
	if pairs {
		all = params(all)
	}
	for len(all) > 0 && all[len(all)-1] == nil {
		all = all[:len(all)-1]
	}
	switch {
	case len(all) == 0:
		return nil
	case len(all) == 1 && len(list) == 1:
		if text, is := all[0].(string); is {
			return text
		}
	}
	return all
}

// placeholders stand for parts of an address that are missing, where the grammar wants some.
var placeholders = map[string]bool{"MISSING_MAILBOX": true, "MISSING_DOMAIN": true, "unspecified-domain": true, "": true}

// unlike tells in what two values differ first; "" if in nothing. In structures capitals are like small letters (RFC 2045 sections 5.1 and 6.1).
func unlike(at string, a, b any) string {
	x, list := a.([]any)
	y, other := b.([]any)
	if !list || !other {
		s, text := a.(string)
		u, otherText := b.(string)
		if placeholders[s] && placeholders[u] && text && otherText {
			return ""
		}
		if strings.HasPrefix(at, "ENVELOPE") && text && otherText && strings.Join(strings.Fields(s), " ") == strings.Join(strings.Fields(u), " ") {
			return ""
		}
		if a == b || text && otherText && strings.HasPrefix(at, "BODYSTRUCTURE") && strings.EqualFold(s, u) {
			return ""
		}
		return fmt.Sprintf("%s is %.80q, and %.80q there", at, a, b)
	}
	for i := range min(len(x), len(y)) {
		if d := unlike(fmt.Sprint(at, ".", i), x[i], y[i]); d != "" {
			return d
		}
	}
	if len(x) != len(y) {
		return fmt.Sprintf("%s has %d elements, and %d there: %.200q, and %.200q", at, len(x), len(y), x, y)
	}
	return ""
}

// ends shows how long a section is, and its first and last octets.
func ends(section any) string {
	text, _ := section.(string)
	return fmt.Sprintf("%d octets, %q to %q", len(text), text[:min(30, len(text))], text[max(0, len(text)-40):])
}
