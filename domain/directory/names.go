package directory

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/idn"
	"golang.org/x/text/unicode/norm"
)

// Limits of names (RFC 5321 section 4.5.3.1, RFC 1035 section 2.3.4), in octets, those of A-labels for domains.
const (
	MaxLocalPart = 64
	MaxDomain    = 253
	MaxLabel     = 63
)

// Postmaster is the local part that every local domain must accept (RFC 5321 section 4.5.1).
const Postmaster = "postmaster"

// NormalDomain gives the one spelling under which a domain is stored and shown: U-labels in lower case and NFC (RFC 5890 section 2.3.2.1), see
// package idn. Labels are letters, digits and hyphens in any script. Logs from before keep A-labels, see State.host.
func NormalDomain(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", domain.Errorf(domain.Invalid, "a domain name must be valid UTF-8")
	}
	normal := idn.Unicode(name)
	if normal == "" || len(idn.ASCII(normal)) > MaxDomain {
		return "", domain.Errorf(domain.Invalid, "a domain name has 1 to %d octets", MaxDomain)
	}
	for label := range strings.SplitSeq(normal, ".") {
		if err := checkLabel(name, label); err != nil {
			return "", err
		}
	}
	return normal, nil
}

// numeric reports whether a name ends as an IPv4 address does, and no top-level domain (RFC 3696 section 2).
func numeric(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") == ""
}

// checkLabel obeys RFC 5321 section 4.1.2 (sub-domain) as RFC 6531 section 3.3 widens it.
func checkLabel(name, label string) error {
	switch {
	case label == "":
		return domain.Errorf(domain.Invalid, "%q is not a domain name: it has an empty label", name)
	case len(idn.ASCII(label)) > MaxLabel:
		return domain.Errorf(domain.Invalid, "%q is not a domain name: a label has at most %d octets", name, MaxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return domain.Errorf(domain.Invalid, "%q is not a domain name: a label cannot begin or end with a hyphen", name)
	}
	for i, r := range label {
		mark := unicode.Is(unicode.M, r)
		if i == 0 && mark { // RFC 5891 section 4.2.3.2.
			return domain.Errorf(domain.Invalid, "%q is not a domain name: a label cannot begin with a combining mark", name)
		}
		if r != '-' && !mark && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return domain.Errorf(domain.Invalid, "%q is not a domain name: %q is not allowed in it", name, r)
		}
	}
	return nil
}

// NormalAddress gives the one spelling under which an address is stored and looked up: the local part in lower case and NFC without quotes,
// and the domain as NormalDomain spells it. A local part that needs quotes cannot belong to an account here.
func NormalAddress(address string) (string, error) {
	local, host, err := SplitAddress(address)
	if err != nil {
		return "", err
	}
	return local + "@" + host, nil
}

// SplitAddress is NormalAddress in its two parts.
func SplitAddress(address string) (local, host string, err error) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "", "", domain.Errorf(domain.Invalid, "%q is not an address: it has no @", address)
	}
	if host, err = NormalDomain(address[at+1:]); err != nil {
		return "", "", err
	}
	if !utf8.ValidString(address) {
		return "", "", domain.Errorf(domain.Invalid, "an address must be valid UTF-8")
	}
	local = address[:at]
	if n := len(local); n > 2 && local[0] == '"' && local[n-1] == '"' {
		local = unquote(local[1 : n-1]) // RFC 5321 section 4.1.2: both forms name the same mailbox.
	}
	local = norm.NFC.String(strings.ToLower(local))
	if local == "" || len(local) > MaxLocalPart {
		return "", "", domain.Errorf(domain.Invalid, "%q is not an address: a local part has 1 to %d octets", address, MaxLocalPart)
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !atext(r) }) {
			return "", "", domain.Errorf(domain.Invalid, "%q is not an address: its local part is not a dot-string", address)
		}
	}
	return local, host, nil
}

// unquote resolves the quoted pairs of a quoted string's content.
func unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// atext is RFC 5322 section 3.2.3 with the UTF-8 of RFC 6531 section 3.3.
func atext(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.IsPrint(r)
}
