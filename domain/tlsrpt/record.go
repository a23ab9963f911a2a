package tlsrpt

import (
	"slices"
	"strings"

	"github.com/streampost/streampost/domain/delivery"
)

// maxPlaces bounds how many reports of one day a domain gets.
const maxPlaces = 4

// Places are where a domain wants its reports.
type Places struct {
	Mail []delivery.Address
	Web  []string // addresses of https
}

// ParseRecord reads the texts of _smtp._tls.DOMAIN. found is false where none, or more than one, wants reports; places that cannot be read do not count (RFC 8460 section 3).
func ParseRecord(texts []string) (p Places, found bool) {
	texts = slices.DeleteFunc(slices.Clone(texts), func(t string) bool {
		rest, is := strings.CutPrefix(t, "v=TLSRPTv1")
		return !is || !strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";")
	})
	if len(texts) != 1 {
		return Places{}, false
	}
	for field := range strings.SplitSeq(texts[0], ";") {
		name, value, _ := strings.Cut(field, "=")
		if strings.TrimSpace(name) != "rua" {
			continue
		}
		for uri := range strings.SplitSeq(value, ",") {
			uri = strings.TrimSpace(uri)
			scheme, rest, _ := strings.Cut(uri, ":")
			switch {
			case len(p.Mail)+len(p.Web) >= maxPlaces:
			case strings.EqualFold(scheme, "mailto"):
				rest, _, _ = strings.Cut(rest, "?")
				if a, err := delivery.ParseAddress(unescape(rest)); err == nil && !a.IsNull() && a.IsASCII() {
					p.Mail = append(p.Mail, a)
				}
			case strings.EqualFold(scheme, "https") && strings.HasPrefix(rest, "//"):
				p.Web = append(p.Web, uri)
			}
		}
	}
	return p, len(p.Mail)+len(p.Web) > 0
}

// unescape reads what an address has in hexadecimal (RFC 3986 section 2.1).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hex(s[i+1]) >= 0 && hex(s[i+2]) >= 0 {
			b.WriteByte(byte(hex(s[i+1])<<4 | hex(s[i+2])))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func hex(c byte) int {
	return strings.IndexByte("0123456789abcdef", c|0x20)
}
