package directory

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"golang.org/x/text/unicode/norm"
)

// Limits of app passwords.
const (
	MaxAppPasswords = 50 // of one account
	maxAppName      = 64 // characters
)

// Protocols are those that an app password may be limited to.
var Protocols = []string{"imap", "smtp", "pop3"}

// AddAppPassword gives an account one more password.
type AddAppPassword struct {
	ID        domain.AccountID
	Name      string
	Hash      [32]byte // SHA-256
	Now       int64    // Unix seconds
	Expires   int64    // Unix seconds; 0: never
	Protocols []string // none: all
}

func (c AddAppPassword) decide(s *State) ([]event.Event, error) {
	a, err := s.find(c.ID)
	if err != nil {
		return nil, err
	}
	name, err := appName(c.Name)
	if err != nil {
		return nil, err
	}
	if a.app(name) >= 0 {
		return nil, domain.Errorf(domain.Exists, "the account has an app password %q already", name)
	}
	if len(a.AppPasswords) >= MaxAppPasswords {
		return nil, domain.Errorf(domain.TooLarge, "an account has at most %d app passwords: remove some that are not used", MaxAppPasswords)
	}
	if c.Expires != 0 && c.Expires <= c.Now {
		return nil, domain.Errorf(domain.Invalid, "the app password would have expired already")
	}
	var protocols []string
	for _, p := range c.Protocols {
		if !slices.Contains(Protocols, p) {
			return nil, domain.Errorf(domain.Invalid, "%q is not a protocol: it is %s", p, strings.Join(Protocols, ", "))
		}
		if !slices.Contains(protocols, p) {
			protocols = append(protocols, p)
		}
	}
	return []event.Event{&event.AppPasswordAdded{Account: c.ID, Name: name, Hash: c.Hash[:], Created: c.Now, Expires: c.Expires, Protocols: protocols}}, nil
}

// RemoveAppPassword takes an app password away.
type RemoveAppPassword struct {
	ID   domain.AccountID
	Name string
}

func (c RemoveAppPassword) decide(s *State) ([]event.Event, error) {
	a, err := s.find(c.ID)
	if err != nil {
		return nil, err
	}
	if name := norm.NFC.String(c.Name); a.app(name) >= 0 {
		return []event.Event{&event.AppPasswordRemoved{Account: c.ID, Name: name}}, nil
	}
	return nil, domain.Errorf(domain.NotFound, "the account has no app password %q", c.Name)
}

// appName gives the one spelling of a name that people choose and read in lists.
func appName(name string) (string, error) {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == '/' }) {
		return "", domain.Errorf(domain.Invalid, "the name of an app password consists of printable characters other than /")
	}
	name = norm.NFC.String(strings.TrimSpace(name))
	if n := utf8.RuneCountInString(name); n == 0 || n > maxAppName {
		return "", domain.Errorf(domain.Invalid, "the name of an app password has 1 to %d characters", maxAppName)
	}
	return name, nil
}
