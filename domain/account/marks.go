package account

import (
	"cmp"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// MarkKind is what a mark says.
type MarkKind string

// The kinds of marks.
const (
	MarkDuplicate MarkKind = "duplicate" // a script has seen this (RFC 7352)
	MarkVacation  MarkKind = "vacation"  // a sender has had this answer (RFC 5230 section 4.2)
	MarkSent      MarkKind = "sent"      // what a delivery has put into the queue counts: see queue.Pledge
	MarkRedirect  MarkKind = "redirect"  // a message was sent on; their number is what limits redirects
	MarkAnswer    MarkKind = "answer"    // a vacation was sent; their number is what limits them
	MarkQuota     MarkKind = "quota"     // the owner was warned that the account becomes full
)

// BriefMark is how long a mark holds at most that is Brief, in seconds.
const BriefMark = 3600

// Brief is the kind of the same marks that hold for BriefMark at most. They are bounded by themselves: beside many that end much later there would be no room for them.
func (k MarkKind) Brief() MarkKind { return k + ", brief" }

// MaxMarks bounds the marks of one kind that an account has. Those that would end first make room.
const MaxMarks = 1000

// Mark names a mark.
type Mark struct {
	Kind MarkKind
	Name string
}

// Marks are what deliveries have left for later ones, with the Unix second in which each ends. The fold is the same in whichever order, and however often, the last events are folded: of each mark
// the latest end counts, and of each kind the MaxMarks marks that end last. So rows that are ahead of the rest of an account do no harm.
type Marks map[Mark]int64

// Has tells whether a mark holds at a time.
func (m Marks) Has(mark Mark, now int64) bool { return m[mark] > now }

// Count is how many marks of a kind hold at a time.
func (m Marks) Count(kind MarkKind, now int64) (n int) {
	for mark, until := range m {
		if mark.Kind == kind && until > now {
			n++
		}
	}
	return n
}

func (m *Marks) apply(e *event.MarkSet) {
	for mark, until := range *m {
		if until <= e.At && mark.Kind == MarkKind(e.Kind) {
			delete(*m, mark)
		}
	}
	if e.Until > e.At {
		m.Put(Mark{MarkKind(e.Kind), e.Name}, e.Until)
	}
}

// Put notes when a mark ends, unless it ends later anyway.
func (m *Marks) Put(mark Mark, until int64) {
	if *m == nil {
		*m = Marks{}
	}
	if (*m)[mark] >= until {
		return
	}
	(*m)[mark] = until
	count, first := 0, mark
	for other, end := range *m {
		if other.Kind != mark.Kind {
			continue
		}
		if count++; cmp.Or(cmp.Compare(end, (*m)[first]), cmp.Compare(other.Name, first.Name)) < 0 {
			first = other
		}
	}
	if count > MaxMarks {
		delete(*m, first)
	}
}

func (m Marks) octets() (n int64) {
	for mark := range m {
		n += int64(96 + len(mark.Name))
	}
	return n
}

// SetMark is a mark that a delivery leaves.
type SetMark struct {
	Mark
	Until int64 // Unix seconds
	// Fresh says that the decision to leave it rests on there being none: where there is one by now, the whole command is domain.Conflict and has to be decided anew.
	Fresh bool
}

// marks gives the events of marks that are left at a time.
func (s *State) marks(all []SetMark, now int64) (events []event.Event, err error) {
	for _, m := range all {
		if m.Fresh && s.Scripts.Marks.Has(m.Mark, now) {
			return nil, domain.Errorf(domain.Conflict, "another delivery has just left the mark %s %q", m.Kind, m.Name)
		}
		events = append(events, &event.MarkSet{Kind: string(m.Kind), Name: m.Name, At: now, Until: m.Until})
	}
	return events, nil
}

// LeaveMarks leaves marks alone.
type LeaveMarks struct {
	Marks []SetMark
	Now   int64 // Unix seconds
}

func (c LeaveMarks) decide(s *State) ([]event.Event, error) { return s.marks(c.Marks, c.Now) }
