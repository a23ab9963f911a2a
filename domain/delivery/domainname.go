package delivery

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsDomain checks the Domain of RFC 5321 section 4.1.2, with the U-labels of RFC 6531 section 3.3. An underscore is taken, because hosts are
// named with it.
func IsDomain(s string) bool {
	if s == "" || len(s) > MaxDomain || !utf8.ValidString(s) {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 && isASCII(label) || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !isAlphanumeric(r) && r != '-' && r != '_' && (r < utf8.RuneSelf || !unicode.In(r, unicode.L, unicode.M, unicode.N) && r != '\u00b7') {
				return false
			}
		}
	}
	return true
}

// isLiteral checks the address-literal of RFC 5321 section 4.1.3.
func isLiteral(s string) bool {
	inner, opened := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !opened || !closed || inner == "" {
		return false
	}
	tag, content, tagged := strings.Cut(inner, ":")
	switch {
	case !tagged:
		return isIPv4(inner)
	case strings.EqualFold(tag, "IPv6"):
		return isIPv6(content)
	}
	if content == "" || tag == "" || strings.ContainsFunc(tag, func(r rune) bool { return !isAlphanumeric(r) && r != '-' }) {
		return false
	}
	for i := range len(content) { // dcontent = %d33-90 / %d94-126
		if c := content[i]; c < 33 || c > 126 || 91 <= c && c <= 93 {
			return false
		}
	}
	return true
}

func isIPv4(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return false
	}
	for _, p := range parts {
		n := 0
		for i := range len(p) {
			if p[i] < '0' || p[i] > '9' {
				return false
			}
			n = n*10 + int(p[i]-'0')
		}
		if p == "" || len(p) > 3 || n > 255 {
			return false
		}
	}
	return true
}

// isIPv6 checks eight groups of hexadecimal digits, of which "::" may stand for one or more and an IPv4 address for the last two.
func isIPv6(s string) bool {
	before, after, short := strings.Cut(s, "::")
	if strings.Contains(after, "::") {
		return false
	}
	groups := 0
	for n, half := range [2]string{before, after} {
		if half == "" {
			continue
		}
		parts := strings.Split(half, ":")
		for i, p := range parts {
			if last := i == len(parts)-1 && (n == 1 || !short); last && isIPv4(p) {
				groups += 2
				continue
			}
			if p == "" || len(p) > 4 || strings.Trim(p, "0123456789abcdefABCDEF") != "" {
				return false
			}
			groups++
		}
	}
	return groups == 8 || short && groups < 8
}
