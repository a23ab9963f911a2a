package message

import (
	"hash/fnv"
	"slices"
	"strings"
)

// BaseSubject gives the base subject of RFC 5256 section 2.1 of a Subject as the header has it: decoded, without reply and forward marks,
// list tags and trailing "(fwd)". Its case is kept. reply tells that such a mark was there (section 3, "REFERENCES", step 5). Tags may hold any
// character but brackets, where the RFC's grammar, written before mail had UTF-8, has ASCII.
func BaseSubject(subject string) (base string, reply bool) {
	s := collapse(DecodeWords(subject)) // Step 1.
	for {
		s = trimTrailer(s, &reply) // Step 2.
		for {
			before := s
			s = trimLeader(s, &reply) // Step 3.
			for blob, rest := cutBlob(s); blob && rest != ""; blob, rest = cutBlob(s) {
				s = rest // Step 4. Whatever follows all blobs was no mark a moment ago, so that it need not be asked again after each.
			}
			if s == before { // Step 5.
				break
			}
		}
		inner, ok := cutForward(s) // Step 6.
		if !ok {
			return s, reply
		}
		s, reply = inner, true
	}
}

// collapse makes each run of white space one space and trims both ends.
func collapse(s string) string {
	if !strings.ContainsAny(s, "\t\r\n") && !strings.Contains(s, "  ") {
		return strings.Trim(s, " ")
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }), " ")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// trimTrailer removes any subj-trailer: "(fwd)" and white space.
func trimTrailer(s string, reply *bool) string {
	for {
		s = strings.TrimRight(s, " ")
		if n := len(s) - len("(fwd)"); n >= 0 && strings.EqualFold(s[n:], "(fwd)") {
			s, *reply = s[:n], true
			continue
		}
		return s
	}
}

// trimLeader removes one subj-leader: blobs, then "re", "fw" or "fwd", a blob, ":"; or white space.
func trimLeader(s string, reply *bool) string {
	s = strings.TrimLeft(s, " ")
	rest := s
	for {
		blob, after := cutBlob(rest)
		if !blob {
			break
		}
		rest = after
	}
	switch {
	case hasPrefixFold(rest, "fwd"):
		rest = rest[3:]
	case hasPrefixFold(rest, "re"), hasPrefixFold(rest, "fw"):
		rest = rest[2:]
	default:
		return s
	}
	rest = strings.TrimLeft(rest, " ")
	if blob, after := cutBlob(rest); blob {
		rest = after
	}
	if !strings.HasPrefix(rest, ":") {
		return s
	}
	*reply = true
	return strings.TrimLeft(rest[1:], " ")
}

// cutBlob removes one subj-blob: "[...]" without brackets in it, and the white space after it.
func cutBlob(s string) (bool, string) {
	if !strings.HasPrefix(s, "[") {
		return false, s
	}
	end := strings.IndexAny(s[1:], "[]")
	if end < 0 || s[1+end] != ']' {
		return false, s
	}
	return true, strings.TrimLeft(s[end+2:], " ")
}

// cutForward removes a subj-fwd-hdr "[fwd:" and the "]" at the end.
func cutForward(s string) (string, bool) {
	if !hasPrefixFold(s, "[fwd:") || !strings.HasSuffix(s, "]") {
		return s, false
	}
	return s[len("[fwd:") : len(s)-1], true
}

// threadKeys makes one key of each message id that a message has or refers to: its own first, then those of In-Reply-To, then the first of
// References and the others from the last on; at most eight. A key covers the base subject too, so that two messages belong to one conversation when they
// share a key: they have or name the same message and are about the same thing (RFC 8621 section 3).
func threadKeys(e *Envelope, references string) []uint64 {
	own := messageIDs(e.MessageID, 1)
	ids := append(own, messageIDs(e.InReplyTo, 2)...)
	if chain := messageIDs(references, maxKept); len(chain) > 0 {
		ids = append(ids, chain[0])
		slices.Reverse(chain)
		ids = append(ids, chain[:min(len(chain), maxKeys)]...)
	}
	if len(ids) == 0 {
		return nil
	}
	subject, _ := BaseSubject(e.Subject)
	subject = strings.ToLower(subject)
	keys := make([]uint64, 0, maxKeys)
	for _, id := range ids {
		h := fnv.New64a()
		h.Write([]byte(id))
		h.Write([]byte{0})
		h.Write([]byte(subject))
		if key := h.Sum64(); !slices.Contains(keys, key) {
			if keys = append(keys, key); len(keys) == maxKeys {
				break
			}
		}
	}
	return keys
}

// messageIDs finds the "<...>" in a field's value, at most limit of them. A value without any is one id as a whole.
func messageIDs(value string, limit int) (ids []string) {
	for rest := value; len(ids) < limit; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		id, next, ok := strings.Cut(after, ">")
		if !ok {
			break
		}
		if id = strings.TrimSpace(id); id != "" {
			ids = append(ids, id)
		}
		rest = next
	}
	if len(ids) == 0 && !strings.ContainsAny(value, "<> ") && value != "" {
		ids = append(ids, value)
	}
	return ids
}
