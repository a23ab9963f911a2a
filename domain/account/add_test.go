package account

import (
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
)

// opened gives a new account's state.
func opened(t *testing.T, limits Limits) *State {
	t.Helper()
	s := New()
	run(t, s, Open{UIDValidity: 7, Limits: limits})
	return s
}

// run decides and folds.
func run(t *testing.T, s *State, c Command) []event.Event {
	t.Helper()
	events, err := Decide(s, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		s.Apply(s.Tx+1, e)
	}
	return events
}

func sized(size int64, keys ...uint64) AddMessage {
	return AddMessage{Mailbox: Inbox, Blob: domain.BlobRef{Size: size}, Summary: message.Summary{Keys: keys}}
}

func TestSeveralMessagesArriveOrNone(t *testing.T) {
	s := opened(t, Limits{Bytes: 100, Messages: 4})
	for name, batch := range map[string]AddMessages{
		"octets":       {sized(60), sized(41)},
		"messages":     {sized(1), sized(1), sized(1), sized(1), sized(1)},
		"flags":        {sized(1), {Mailbox: Inbox, Flags: []string{"not a flag"}}},
		"mailbox":      {sized(1), {Mailbox: "nowhere"}},
		"their number": make(AddMessages, MaxAdded+1),
	} {
		if events, err := Decide(s, batch); err == nil || events != nil {
			t.Errorf("%s: %v and %v", name, events, err)
		}
	}
	a, b := sized(50), sized(50)
	a.Flags, b.Flags = []string{"one", "two"}, []string{"TWO", "three"}
	run(t, s, AddMessages{a, b})
	if len(s.Keywords) != 3 || s.Usage.Bytes != 100 {
		t.Errorf("keywords %q, usage %+v", s.Keywords, s.Usage)
	}
}

// TestMessagesOfOneCommandShareTheirThread: a reply that comes with what it answers belongs to its conversation.
func TestMessagesOfOneCommandShareTheirThread(t *testing.T) {
	s := opened(t, Limits{})
	run(t, s, AddMessages{sized(1, 10), sized(1, 11, 10), sized(1, 12), sized(1, 13, 11)})
	m, _ := s.Mailbox(Inbox)
	if want := []domain.ThreadID{1, 1, 3, 1}; m.Thread[1] != want[1] || m.Thread[2] != want[2] || m.Thread[3] != want[3] {
		t.Errorf("threads %v, want %v", m.Thread, want)
	}
}

func TestReplaceCountsTheDifferenceOnly(t *testing.T) {
	s := opened(t, Limits{Bytes: 100, Messages: 1})
	run(t, s, sized(90))
	for size, fits := range map[int64]bool{90: true, 100: true, 101: false} {
		if _, err := Decide(s, Replace{From: 1, UID: 1, With: sized(size)}); (err == nil) != fits {
			t.Errorf("%d octets: %v", size, err)
		}
	}
	run(t, s, SetLimits{Limits{Bytes: 10}})
	if _, err := Decide(s, Replace{From: 1, UID: 1, With: sized(89)}); err != nil { // RFC 9208 section 4.1.3: a limit below the use stops growth only.
		t.Error(err)
	}
	if _, err := Decide(s, Replace{From: 1, UID: 2, With: sized(1)}); !domain.Is(err, domain.NotFound) {
		t.Error(err)
	}
}
