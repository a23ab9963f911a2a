package account

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"golang.org/x/text/unicode/norm"
)

// Inbox is the one spelling of INBOX that is stored (RFC 9051 section 5.1: its name is case-insensitive).
const Inbox = "INBOX"

// Limits of names.
const (
	MaxNameLength    = 1000 // octets of a full mailbox name
	MaxNameDepth     = 50   // levels
	MaxMailboxes     = 50_000
	MaxKeywordLength = 128
	MaxSubscriptions = 100_000
)

var systemNames = [event.SystemFlags]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

// SystemFlag finds a system flag by its name, in any case.
func SystemFlag(name string) (event.Flags, bool) {
	for i, n := range systemNames {
		if strings.EqualFold(n, name) {
			return 1 << i, true
		}
	}
	return 0, false
}

// CanonicalName maps every case of INBOX, alone or as the first level, to Inbox, drops one trailing hierarchy separator
// (RFC 9051 section 6.3.4: it only declares the intent to create children) and normalises to NFC (RFC 9051 section 5.1).
func CanonicalName(name string) string {
	name = norm.NFC.String(strings.TrimSuffix(name, "/"))
	first, rest, deep := strings.Cut(name, "/")
	if strings.EqualFold(first, Inbox) {
		if deep {
			return Inbox + "/" + rest
		}
		return Inbox
	}
	return name
}

// CheckName says whether a canonical name may be given to a mailbox.
func CheckName(name string) error {
	switch {
	case name == "":
		return domain.Errorf(domain.Invalid, "a mailbox name cannot be empty")
	case len(name) > MaxNameLength:
		return domain.Errorf(domain.TooLarge, "a mailbox name has at most %d octets", MaxNameLength)
	case !utf8.ValidString(name):
		return domain.Errorf(domain.Invalid, "a mailbox name must be valid UTF-8")
	case strings.Count(name, "/") >= MaxNameDepth:
		return domain.Errorf(domain.TooLarge, "mailboxes nest at most %d levels deep", MaxNameDepth)
	case strings.HasPrefix(name, "#"):
		return domain.Errorf(domain.Invalid, "names that begin with # are reserved for namespaces") // RFC 9051 section 5.1.2.
	case strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//"):
		return domain.Errorf(domain.Invalid, "a level of a mailbox name cannot be empty")
	case strings.ContainsAny(name, "*%"):
		return domain.Errorf(domain.Invalid, "a mailbox name cannot contain the wildcards * and %%")
	}
	for _, r := range name {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' { // RFC 9051 section 5.1.
			return domain.Errorf(domain.Invalid, "a mailbox name cannot contain control characters")
		}
	}
	return nil
}

// checkKeyword accepts an atom that is not a system flag (RFC 9051 section 9, flag-keyword).
func checkKeyword(name string) error {
	if name == "" || len(name) > MaxKeywordLength {
		return domain.Errorf(domain.Invalid, "a keyword has 1 to %d characters", MaxKeywordLength)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return domain.Errorf(domain.Invalid, "%q is not a flag", name)
		}
	}
	return nil
}
