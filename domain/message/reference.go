package message

import (
	"hash/fnv"
	"strings"
)

// Reference is a Message-ID as THREAD compares it: a hash of its normal form, which keeps a chain of references short. 0 is none.
type Reference uint64

// maxReferences bounds the ids that are kept of a References field: the first, which began the conversation, and the last ones.
const maxReferences = 200

// ReferenceOf gives the first valid Message-ID of a field's value.
func ReferenceOf(value string) Reference {
	if all := referencesOf(value, 1); len(all) > 0 {
		return all[0]
	}
	return 0
}

// References gives the valid Message-IDs of a References field in their order.
func References(value string) []Reference {
	all := referencesOf(value, len(value))
	if len(all) > maxReferences {
		all = append(all[:1], all[len(all)-maxReferences+1:]...)
	}
	return all
}

func referencesOf(value string, limit int) (all []Reference) {
	for len(all) < limit {
		start := strings.IndexByte(value, '<')
		if start < 0 {
			break
		}
		value = value[start+1:]
		id, n := normalID(value)
		value = value[n:]
		if id != "" {
			h := fnv.New64a()
			h.Write([]byte(id))
			all = append(all, max(1, Reference(h.Sum64())))
		}
	}
	return all
}

// normalID reads a Message-ID whose "<" has been read, tells how long it is, and gives it in its normal form: without quotes where the local
// part is a quoted string, and without white space (RFC 5256 section 3, "REFERENCES": two ids are the same when they differ in their quoting
// only). An id without a "@" between two parts is not valid and gives "".
func normalID(s string) (id string, n int) {
	var b strings.Builder
	at := -1
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '>':
			if at > 0 && b.Len() > at+1 {
				return b.String(), i + 1
			}
			return "", i + 1
		case '<': // the one before was never closed
			return "", i
		case ' ', '\t':
		case '"':
			text, length := unquote(s[i:])
			b.WriteString(text)
			i += length - 1
		case '@':
			if at < 0 {
				at = b.Len()
			}
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return "", len(s)
}
