package account

import (
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// The limits of a vacation, in octets.
const (
	MaxVacationSubject = 500
	MaxVacationText    = 64 << 10 // of text and HTML each
)

// Vacation is how an account answers while its owner is away, without a script. Times are Unix seconds; 0 means no such bound.
type Vacation event.VacationSet

// Holds tells whether mail is answered at a time.
func (v *Vacation) Holds(now int64) bool {
	return v.Enabled && now >= v.From && (v.To == 0 || now < v.To)
}

// SetVacation sets it, or switches it off. Set has to be the present time.
type SetVacation struct{ Vacation Vacation }

func (c SetVacation) decide(s *State) ([]event.Event, error) {
	v := c.Vacation
	for _, text := range []string{v.Subject, v.Text, v.HTML} {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return nil, domain.Errorf(domain.Invalid, "a vacation's texts are valid UTF-8 without NUL")
		}
	}
	switch {
	case len(v.Subject) > MaxVacationSubject || strings.ContainsAny(v.Subject, "\r\n"):
		return nil, domain.Errorf(domain.Invalid, "a vacation's subject is one line of at most %d octets", MaxVacationSubject)
	case len(v.Text) > MaxVacationText || len(v.HTML) > MaxVacationText:
		return nil, domain.Errorf(domain.TooLarge, "a vacation's text has at most %d octets", MaxVacationText)
	case v.From < 0 || v.To < 0 || v.To > 0 && v.To <= v.From:
		return nil, domain.Errorf(domain.Invalid, "a vacation ends after it begins")
	case v.Enabled && v.Text == "" && v.HTML == "":
		return nil, domain.Errorf(domain.Invalid, "a vacation that is enabled has a text")
	}
	old := s.Scripts.Vacation
	if old.Set = v.Set; old == v {
		return nil, nil
	}
	e := event.VacationSet(v)
	return []event.Event{&e}, nil
}
