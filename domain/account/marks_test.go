package account

import (
	"fmt"
	"maps"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"pgregory.net/rapid"
)

func TestMarks(t *testing.T) {
	s, run := scripted(t)
	mark := Mark{MarkVacation, "bob"}
	if err := run(LeaveMarks{[]SetMark{{Mark: mark, Until: 20, Fresh: true}}, 10}); err != nil {
		t.Fatal(err)
	}
	if !s.Scripts.Marks.Has(mark, 19) || s.Scripts.Marks.Has(mark, 20) || s.Scripts.Marks.Has(Mark{MarkDuplicate, "bob"}, 19) {
		t.Errorf("%v", s.Scripts.Marks)
	}
	// Who decided before it was there has to decide again, and nothing else of the command happens.
	c := Deliver{Message: AddMessage{Mailbox: Inbox, Now: 19}, Into: []Placement{{Mailbox: Inbox}}, Marks: []SetMark{{Mark: mark, Until: 30, Fresh: true}}}
	if err := run(c); !domain.Is(err, domain.Conflict) || s.Usage.Messages != 0 {
		t.Errorf("%v, %v", err, s.Usage)
	}
	if c.Message.Now = 20; run(c) != nil || s.Usage.Messages != 1 || s.Scripts.Marks[mark] != 30 {
		t.Errorf("%v, %v", s.Usage, s.Scripts.Marks)
	}
	if err := run(LeaveMarks{[]SetMark{{Mark: mark, Until: 25}}, 21}); err != nil || s.Scripts.Marks[mark] != 30 {
		t.Errorf("%v, %v", err, s.Scripts.Marks)
	}
}

// TestMarksAreBounded, and folding the last events once more changes nothing.
func TestMarksAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var events []*event.MarkSet
		at := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			at += rapid.Int64Range(0, 3).Draw(t, "pause")
			events = append(events, &event.MarkSet{Kind: "vacation", Name: fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "name")), At: at, Until: at + rapid.Int64Range(0, 20).Draw(t, "time")})
		}
		from := rapid.IntRange(0, len(events)-1).Draw(t, "again")
		var m Marks
		for n := range MaxMarks - 3 {
			m.Put(Mark{MarkVacation, fmt.Sprintf("filler %d", n)}, int64(5+n%90))
		}
		for _, e := range events {
			m.apply(e)
		}
		want := maps.Clone(m)
		for _, e := range events[from:] {
			m.apply(e)
		}
		if !maps.Equal(m, want) || len(m) > MaxMarks {
			t.Fatalf("%d marks became %d", len(want), len(m))
		}
	})
}
