package account

import (
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Limits of an account's Sieve scripts.
const (
	MaxScripts       = 64
	MaxScriptName    = 512 // octets; RFC 5804 section 1.6 demands 128 characters
	MaxScriptOctets  = 256 << 10
	MaxScriptsOctets = 1 << 20 // of all scripts of an account
)

// Scripts are an account's Sieve scripts (RFC 5228, RFC 5804). They count in no Digest of the account: the rows of the view that keeps them have digests of
// their own.
type Scripts struct {
	Content map[string]string // by name; nil without any
	Active  string            // the name of the one that runs at delivery; empty if none does
	Marks   Marks

	Vacation Vacation // which answers beside the active script
}

// Apply folds an event, and tells whether it is one of scripts.
func (s *Scripts) Apply(e event.Event) bool {
	switch e := e.(type) {
	case *event.SieveScriptStored:
		if s.Content == nil {
			s.Content = map[string]string{}
		}
		s.Content[e.Name] = e.Content
	case *event.SieveScriptRenamed:
		content, there := s.Content[e.Name]
		must(there, "script %q does not exist", e.Name)
		delete(s.Content, e.Name)
		s.Content[e.To] = content
		if s.Active == e.Name {
			s.Active = e.To
		}
	case *event.SieveScriptDeleted:
		must(s.Active != e.Name, "script %q is active", e.Name)
		delete(s.Content, e.Name)
	case *event.SieveScriptActivated:
		_, there := s.Content[e.Name]
		must(there || e.Name == "", "script %q does not exist", e.Name)
		s.Active = e.Name
	case *event.MarkSet:
		s.Marks.apply(e)
	case *event.VacationSet:
		s.Vacation = Vacation(*e)
	default:
		return false
	}
	return true
}

func (s *Scripts) octets() (n int64) {
	for name, content := range s.Content {
		n += int64(64 + len(name) + len(content))
	}
	return n + s.Marks.octets() + int64(len(s.Vacation.Subject)+len(s.Vacation.Text)+len(s.Vacation.HTML))
}

// CheckScriptName says whether a script may be called so (RFC 5804 section 1.6).
func CheckScriptName(name string) error {
	switch {
	case name == "":
		return domain.Errorf(domain.Invalid, "a script's name cannot be empty")
	case len(name) > MaxScriptName:
		return domain.Errorf(domain.TooLarge, "a script's name has at most %d octets", MaxScriptName)
	case !utf8.ValidString(name):
		return domain.Errorf(domain.Invalid, "a script's name must be valid UTF-8")
	}
	for _, r := range name {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return domain.Errorf(domain.Invalid, "a script's name cannot contain control characters")
		}
	}
	return nil
}

func noScript(name string) error {
	return domain.Errorf(domain.NotFound, "there is no script %q", name)
}

// PutScript stores a script. That it compiles is checked before: see package sieve.
type PutScript struct{ Name, Content string }

func (c PutScript) decide(s *State) ([]event.Event, error) {
	if !utf8.ValidString(c.Content) || strings.Contains(c.Content, "\x00") { // which no view could keep as text
		return nil, domain.Errorf(domain.Invalid, "a script must be valid UTF-8 without NUL")
	}
	if err := s.Scripts.Room(c.Name, len(c.Content)); err != nil {
		return nil, err
	}
	if old, there := s.Scripts.Content[c.Name]; there && old == c.Content {
		return nil, nil
	}
	return []event.Event{&event.SieveScriptStored{Name: c.Name, Content: c.Content}}, nil
}

// The errors of Room, by which protocols tell which limit it is.
var (
	ErrScriptTooLarge = domain.Errorf(domain.TooLarge, "a script has at most %d octets", MaxScriptOctets)
	ErrTooManyScripts = domain.Errorf(domain.OverQuota, "an account has at most %d scripts", MaxScripts)
	ErrScriptsFull    = domain.Errorf(domain.OverQuota, "all scripts of an account together have at most %d octets", MaxScriptsOctets)
)

// Room checks whether a script of a size fits, in place of one of its name (RFC 5804 section 2.5, HAVESPACE).
func (s *Scripts) Room(name string, size int) error {
	if err := CheckScriptName(name); err != nil {
		return err
	}
	_, there := s.Content[name]
	sum := size
	for other, content := range s.Content {
		if other != name {
			sum += len(content)
		}
	}
	switch {
	case size > MaxScriptOctets:
		return ErrScriptTooLarge
	case !there && len(s.Content) >= MaxScripts:
		return ErrTooManyScripts
	case sum > MaxScriptsOctets && size > len(s.Content[name]): // What shrinks is always allowed.
		return ErrScriptsFull
	}
	return nil
}

// RenameScript gives a script a name that no other has (RFC 5804 section 2.11.1).
type RenameScript struct{ From, To string }

func (c RenameScript) decide(s *State) ([]event.Event, error) {
	if err := CheckScriptName(c.To); err != nil {
		return nil, err
	}
	if _, there := s.Scripts.Content[c.From]; !there {
		return nil, noScript(c.From)
	}
	if _, taken := s.Scripts.Content[c.To]; taken {
		return nil, domain.Errorf(domain.Exists, "there is a script %q already", c.To)
	}
	return []event.Event{&event.SieveScriptRenamed{Name: c.From, To: c.To}}, nil
}

// ErrScriptActive says that the active script cannot be deleted (RFC 5804 section 2.10).
var ErrScriptActive = domain.Errorf(domain.Invalid, "the active script cannot be deleted: activate another one, or none, first")

// DeleteScript removes a script.
type DeleteScript struct{ Name string }

func (c DeleteScript) decide(s *State) ([]event.Event, error) {
	if _, there := s.Scripts.Content[c.Name]; !there {
		return nil, noScript(c.Name)
	}
	if s.Scripts.Active == c.Name {
		return nil, ErrScriptActive
	}
	return []event.Event{&event.SieveScriptDeleted{Name: c.Name}}, nil
}

// ActivateScript makes a script the one that runs, or stops all when Name is empty (RFC 5804 section 2.8).
type ActivateScript struct{ Name string }

func (c ActivateScript) decide(s *State) ([]event.Event, error) {
	if _, there := s.Scripts.Content[c.Name]; !there && c.Name != "" {
		return nil, noScript(c.Name)
	}
	if s.Scripts.Active == c.Name {
		return nil, nil
	}
	return []event.Event{&event.SieveScriptActivated{Name: c.Name}}, nil
}

// Clone gives scripts that later events do not change, without marks.
func (s Scripts) Clone() Scripts {
	return Scripts{Content: maps.Clone(s.Content), Active: s.Active, Vacation: s.Vacation}
}
