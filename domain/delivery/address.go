package delivery

import (
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/idn"
	"golang.org/x/text/unicode/norm"
)

// Limits of addresses, in octets. RFC 5321 section 4.5.3.1 demands 64 for a local part, but as what must be taken at least: addresses that
// encode another one inside (VERP, SRS) are longer.
const (
	MaxLocal  = 256
	MaxDomain = 255
)

// Address is a mailbox of an envelope, without quotes and escapes. The zero Address is the null reverse-path of bounces.
type Address struct {
	Local  string
	Domain string // a domain name or an address literal in brackets, as the client wrote it
}

// IsNull reports whether this is the null reverse-path (RFC 5321 section 4.5.5).
func (a Address) IsNull() bool { return a == Address{} }

// IsASCII reports whether the address can be used without SMTPUTF8 (RFC 6531 section 3.1).
func (a Address) IsASCII() bool { return isASCII(a.Local) && isASCII(a.Domain) }

// Literal reports whether the domain is an address literal.
func (a Address) Literal() bool { return strings.HasPrefix(a.Domain, "[") }

// String is the Mailbox of RFC 5321 section 4.1.2, quoted if it has to be; empty for the null address.
func (a Address) String() string {
	if a.IsNull() {
		return ""
	}
	return quoteLocal(a.Local) + "@" + a.Domain
}

// Path is the address in angle brackets, as MAIL, RCPT and Return-Path want it.
func (a Address) Path() string { return "<" + a.String() + ">" }

// Key is the form for lookups and comparisons. It is for the directory, which treats local parts as case-insensitive as all users do.
func (a Address) Key() string {
	if a.IsNull() {
		return ""
	}
	return norm.NFC.String(strings.ToLower(a.Local)) + "@" + a.DomainKey()
}

// DomainKey is the domain in lower case and U-labels (RFC 5890).
func (a Address) DomainKey() string {
	if a.Literal() {
		return strings.ToLower(a.Domain)
	}
	return idn.Unicode(a.Domain)
}

// ParseAddress reads a Mailbox (RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531 section 3.3). Errors: domain.Invalid.
func ParseAddress(s string) (Address, error) {
	var local, rest string
	if strings.HasPrefix(s, `"`) {
		var ok bool
		if local, rest, ok = unquote(s); !ok {
			return Address{}, domain.Errorf(domain.Invalid, "the quoted local part of an address is malformed")
		}
	} else {
		i := strings.IndexByte(s, '@')
		if i < 0 {
			return Address{}, domain.Errorf(domain.Invalid, "an address needs an @")
		}
		if local, rest = s[:i], s[i:]; !isDotString(local) {
			return Address{}, domain.Errorf(domain.Invalid, "the local part of an address is malformed")
		}
	}
	name, ok := strings.CutPrefix(rest, "@")
	if !ok {
		return Address{}, domain.Errorf(domain.Invalid, "an address needs an @ after its local part")
	}
	a := Address{local, name}
	return a, a.check()
}

// Unquoted makes an Address of one whose quotes and escapes were resolved already. The last @ divides it, since no domain has one. Local parts
// that no grammar allows, such as those with two dots in a row, are taken, because they are in use. Errors: domain.Invalid.
func Unquoted(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return Address{}, domain.Errorf(domain.Invalid, "an address needs an @")
	}
	a := Address{s[:i], s[i+1:]}
	return a, a.check()
}

func (a Address) check() error {
	switch {
	case a.Local == "":
		return domain.Errorf(domain.Invalid, "the local part of an address is empty")
	case len(a.Local) > MaxLocal:
		return domain.Errorf(domain.Invalid, "the local part of an address has more than %d octets", MaxLocal)
	case len(a.Domain) > MaxDomain:
		return domain.Errorf(domain.Invalid, "the domain of an address has more than %d octets", MaxDomain)
	case !utf8.ValidString(a.Local):
		return domain.Errorf(domain.Invalid, "the local part of an address is not UTF-8")
	case strings.ContainsFunc(a.Local, isControl):
		return domain.Errorf(domain.Invalid, "the local part of an address has control characters")
	case a.Literal() && !isLiteral(a.Domain):
		return domain.Errorf(domain.Invalid, "the address literal is malformed")
	case !a.Literal() && !IsDomain(a.Domain):
		return domain.Errorf(domain.Invalid, "the domain of an address is malformed")
	}
	return nil
}

// unquote reads a Quoted-string at the beginning of s and gives what follows it.
func unquote(s string) (local, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

func quoteLocal(local string) string {
	if isDotString(local) {
		return local
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(local) {
		if c := local[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
	return b.String()
}

// isDotString checks Dot-string = Atom *("." Atom).
func isDotString(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// isAtext is the atext of RFC 5322 section 3.2.3 with the UTF8-non-ascii of RFC 6531 section 3.3.
func isAtext(r rune) bool {
	return isAlphanumeric(r) || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r) || r >= 0xa0
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// isControl is also true for the C1 controls.
func isControl(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
