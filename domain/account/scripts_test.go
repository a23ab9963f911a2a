package account

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// scripted is an account without scripts, and what applies commands to it.
func scripted(t *testing.T) (*State, func(c Command) error) {
	s := New()
	run := func(c Command) error {
		t.Helper()
		events, err := Decide(s, c)
		for _, e := range events {
			s.Apply(s.Tx+1, e)
		}
		return err
	}
	if err := run(Open{UIDValidity: 1}); err != nil {
		t.Fatal(err)
	}
	return s, run
}

func TestScripts(t *testing.T) {
	s, run := scripted(t)
	for i, step := range []struct {
		c    Command
		want domain.Kind // Internal: none
	}{
		{PutScript{"a", "keep;"}, 0},
		{PutScript{"", "keep;"}, domain.Invalid},
		{PutScript{"a\nb", "keep;"}, domain.Invalid},
		{PutScript{strings.Repeat("x", MaxScriptName+1), ""}, domain.TooLarge},
		{PutScript{"b", strings.Repeat("#", MaxScriptOctets+1)}, domain.TooLarge},
		{PutScript{"b", "# \x00"}, domain.Invalid},
		{ActivateScript{"b"}, domain.NotFound},
		{ActivateScript{"a"}, 0},
		{DeleteScript{"a"}, domain.Invalid}, // RFC 5804 section 2.10.
		{DeleteScript{"b"}, domain.NotFound},
		{PutScript{"b", "stop;"}, 0},
		{RenameScript{"a", "b"}, domain.Exists},
		{RenameScript{"c", "d"}, domain.NotFound},
		{RenameScript{"a", "c"}, 0},
		{DeleteScript{"c"}, domain.Invalid}, // it is active under its new name
		{ActivateScript{""}, 0},
		{DeleteScript{"c"}, 0},
	} {
		if err := run(step.c); (err != nil) != (step.want != 0) || err != nil && !domain.Is(err, step.want) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if got := fmt.Sprintf("%v %q", s.Scripts.Content, s.Scripts.Active); got != `map[b:stop;] ""` {
		t.Error(got)
	}
	if events, err := Decide(s, PutScript{"b", "stop;"}); len(events) > 0 || err != nil {
		t.Errorf("the same script again makes %v, %v", events, err)
	}
}

func TestScriptLimits(t *testing.T) {
	s, run := scripted(t)
	for i := range MaxScripts {
		if err := run(PutScript{fmt.Sprint(i), "keep;"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(PutScript{"more", ""}); !errors.Is(err, ErrTooManyScripts) {
		t.Error(err)
	}
	large := strings.Repeat("#", MaxScriptOctets)
	for i := range 3 {
		if err := run(PutScript{fmt.Sprint(i), large}); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(PutScript{"3", large}); !errors.Is(err, ErrScriptsFull) {
		t.Error(err)
	}
	if s.Scripts.octets() < 3*MaxScriptOctets {
		t.Error("scripts weigh nothing")
	}
}

// Deliver files into places by id, use and name, makes what is missing when it may, and never twice in one mailbox.
func TestDeliver(t *testing.T) {
	s, run := scripted(t)
	m := AddMessage{Mailbox: Inbox, Blob: domain.BlobRef{Size: 10}, Now: 7}
	if err := run(Deliver{Message: m, UIDValidity: 9, Into: []Placement{
		{ID: 2, Mailbox: "x"}, {SpecialUse: `\junk`, Mailbox: "x"}, {Mailbox: "New/Box", Create: true, Flags: []string{"ok", "not a flag"}}, {Mailbox: "new/box", Create: true},
		{Mailbox: "Other", Create: true}, {Mailbox: "missing"}, {Mailbox: "#wrong", Create: true},
	}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, box := range s.Sorted() {
		if box.Len() > 0 {
			got = append(got, fmt.Sprint(box.Name, box.Len(), s.FlagNames(box.Flags[0])))
		}
	}
	if want := `["INBOX1 []" "Archive1 []" "Junk1 []" "New/Box1 [ok]" "Other1 []"]`; fmt.Sprintf("%q", got) != want {
		t.Errorf("%q, want %s", got, want)
	}
	if s.Usage.Messages != 5 || !s.Subscribed["Other"] {
		t.Errorf("%d messages", s.Usage.Messages)
	}
	s.Apply(s.Tx+1, &event.LimitsChanged{Messages: 6})
	if err := run(Deliver{Message: m, Into: []Placement{{Mailbox: Inbox}, {Mailbox: "Sent"}}}); !domain.Is(err, domain.OverQuota) || s.Usage.Messages != 5 {
		t.Errorf("%v, and %d messages", err, s.Usage.Messages)
	}
}
