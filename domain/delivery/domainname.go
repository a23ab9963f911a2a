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

// ULabels turns the A-labels of a domain name into U-labels (RFC 5891 section 4.4). Labels that do not decode stay as they are.
func ULabels(name string) string {
	if len(name) < 4 || !strings.Contains(strings.ToLower(name), "xn--") {
		return name
	}
	labels := strings.Split(name, ".")
	for i, label := range labels {
		if len(label) > 4 && strings.EqualFold(label[:4], "xn--") {
			if u, ok := punycode(label[4:]); ok && IsDomain(u) {
				labels[i] = u
			}
		}
	}
	return strings.Join(labels, ".")
}

// punycode decodes as RFC 3492 section 6.2 says, with the parameters of section 5.
func punycode(s string) (string, bool) {
	const base, tMin, tMax, skew, damp, bias0, n0 = 36, 1, 26, 38, 700, 72, 128
	var out []rune
	if d := strings.LastIndexByte(s, '-'); d > 0 {
		out, s = []rune(strings.ToLower(s[:d])), s[d+1:]
	}
	if s == "" || len(s) > 63 || !isASCII(string(out)) {
		return "", false
	}
	n, i, bias := n0, 0, bias0
	for first := true; s != ""; first = false {
		old, w := i, 1
		for k := base; ; k += base {
			if s == "" {
				return "", false
			}
			digit := punycodeDigit(s[0])
			s = s[1:]
			if digit < 0 || i+digit*w > unicode.MaxRune*64 {
				return "", false
			}
			i += digit * w
			t := min(max(k-bias, tMin), tMax)
			if digit < t {
				break
			}
			if w *= base - t; w > unicode.MaxRune*64 {
				return "", false
			}
		}
		// Section 6.1: the bias adapts to the size of the last delta.
		length := len(out) + 1
		delta := (i - old) / 2
		if first {
			delta = (i - old) / damp
		}
		delta += delta / length
		k := 0
		for ; delta > (base-tMin)*tMax/2; k += base {
			delta /= base - tMin
		}
		bias = k + (base-tMin+1)*delta/(delta+skew)

		n += i / length
		i %= length
		if n > unicode.MaxRune || 0xd800 <= n && n < 0xe000 {
			return "", false
		}
		out = append(out[:i], append([]rune{rune(n)}, out[i:]...)...)
		i++
	}
	return string(out), true
}

func punycodeDigit(c byte) int {
	switch {
	case 'a' <= c && c <= 'z':
		return int(c - 'a')
	case 'A' <= c && c <= 'Z':
		return int(c - 'A')
	case '0' <= c && c <= '9':
		return int(c-'0') + 26
	}
	return -1
}
