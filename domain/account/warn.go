package account

import (
	"math"
	"slices"
	"strconv"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// WarnPolicy says when the owner of an account is warned that it becomes full.
type WarnPolicy struct {
	Percent []int // of a limit, each from 1 to 100
	Grace   int64 // seconds between two warnings about the same percentage, at least
}

// Fullness is how full an account is by that of its limits which is nearest, in percent and rounded down; 0 without limits.
func (s *State) Fullness() (percent int) {
	for _, part := range [][2]int64{{s.Usage.Bytes, s.Limits.Bytes}, {s.Usage.Messages, s.Limits.Messages}} {
		if used, limit := part[0], part[1]; limit > 0 {
			percent = max(percent, int(math.Floor(min(float64(used)*100/float64(limit), 1000))))
		}
	}
	return percent
}

// Two marks say on which side of a percentage an account is: that which ends later. Their ends are the time at which the side was taken, and warnFor after it, so that neither is ever forgotten before it matters.
const warnFor = int64(100 * 365 * 24 * 3600)

func overMark(percent int) Mark  { return Mark{MarkQuota, "over " + strconv.Itoa(percent)} }
func underMark(percent int) Mark { return Mark{MarkQuota, "under " + strconv.Itoa(percent)} }

// Crossings are the percentages of a policy that an account has passed since that was last noted.
type Crossings struct {
	Over, Under []int
}

// Warn is the percentage to warn about: the highest; 0 for none.
func (c *Crossings) Warn() int {
	if len(c.Over) == 0 {
		return 0
	}
	return slices.Max(c.Over)
}

// Crossings compares an account with what was last noted. What was warned of less than the grace period ago is not noted again until that has passed.
func (s *State) Crossings(p *WarnPolicy, now int64) (c Crossings) {
	full := s.Fullness()
	for _, percent := range p.Percent {
		over, under := s.Scripts.Marks[overMark(percent)], s.Scripts.Marks[underMark(percent)]
		switch is, was := full >= percent, over > under; {
		case is && !was && (over == 0 || over-warnFor+p.Grace <= now):
			c.Over = append(c.Over, percent)
		case !is && was:
			c.Under = append(c.Under, percent)
		}
	}
	return c
}

// WarnQuota puts a warning into INBOX, and notes which percentages were passed, at once: so there is one warning for each crossing, whoever finds it, and however often. The warning is taken although the account is full.
type WarnQuota struct {
	Policy  WarnPolicy
	Percent int // that the warning is about; 0 for none, when only what was left is noted
	Mail    AddMessage
	Now     int64 // Unix seconds
}

func (c WarnQuota) decide(s *State) (events []event.Event, err error) {
	x := s.Crossings(&c.Policy, c.Now)
	if x.Warn() != c.Percent {
		return nil, domain.Errorf(domain.Conflict, "the account is otherwise full by now")
	}
	for side, list := range map[bool][]int{true: x.Over, false: x.Under} {
		for _, percent := range list {
			mark, other := overMark(percent), underMark(percent)
			if !side {
				mark, other = other, mark
			}
			until := max(c.Now+warnFor, s.Scripts.Marks[other]+1)
			events = append(events, &event.MarkSet{Kind: string(mark.Kind), Name: mark.Name, At: c.Now, Until: until})
		}
	}
	slices.SortFunc(events, func(a, b event.Event) int { return compareMarks(a.(*event.MarkSet), b.(*event.MarkSet)) })
	if c.Percent == 0 {
		return events, nil
	}
	arrivals, _, err := AddMessages{c.Mail}.arrive(s)
	if err != nil {
		return nil, err
	}
	return append(arrivals, events...), nil
}

func compareMarks(a, b *event.MarkSet) int {
	if a.Name < b.Name {
		return -1
	}
	return 1
}
