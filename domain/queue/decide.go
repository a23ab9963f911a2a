package queue

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// Fate is what became of a recipient in an attempt.
type Fate uint8

// The fates.
const (
	Deferred  Fate = iota // not now: a later attempt may succeed
	Delivered             // in a mailbox of this server
	Relayed               // the peer has it and reports by itself from here on
	Gone                  // the peer has it and knows no delivery status notifications
	Failed                // for good
)

// Outcome is what an attempt has found out about one recipient.
type Outcome struct {
	Recipient Recipient
	Fate      Fate
	Status    string // RFC 3463, such as 5.1.1
	Text      string // what was said: the peer's own words, or ours when there was no peer to ask
	Peer      string // the host that said it; empty when it was this server
}

// Report is a delivery status notification that is due. Kind is the action of all its recipients (RFC 3464 section 2.3.3).
type Report struct {
	Action   string
	Outcomes []Outcome
	Until    time.Time // of a delay: when the server gives up
}

// The actions of reports.
const (
	ActionFailed    = "failed"
	ActionDelayed   = "delayed"
	ActionDelivered = "delivered"
	ActionRelayed   = "relayed"
)

// Policy is how long things take.
type Policy struct {
	First  time.Duration // pause after the first attempt, doubled each time
	Most   time.Duration // the longest pause
	Warn   time.Duration // age at which the sender is told of a delay; 0: never
	Expire time.Duration // age at which recipients fail
}

// Pause is how long to wait after so many attempts. jitter is between 0 and 1: pauses differ by a fifth, so that what failed together does not come back together.
func (p *Policy) Pause(attempts int, jitter float64) time.Duration {
	d := p.First
	for range min(max(attempts-1, 0), 30) {
		if d *= 2; d >= p.Most {
			break
		}
	}
	d = min(d, p.Most)
	return d - d/5 + time.Duration(jitter*float64(d)*2/5)
}

// Verdict is what follows from an attempt.
type Verdict struct {
	Result  Result
	Reports []Report // none for the null sender (RFC 5321 section 6.1)
	Dropped []Outcome
}

// Decide says what follows from the outcomes of an attempt that ended at a time. Result has neither node nor process yet.
func Decide(e *Entry, outcomes []Outcome, policy *Policy, now time.Time, jitter float64) Verdict {
	v := Verdict{Result: Result{ID: e.ID, At: Millis(now), Tried: true}}
	age := now.Sub(time.UnixMilli(e.Arrived))
	var failed, delayed, delivered, relayed []Outcome
	for _, o := range outcomes {
		if o.Fate == Deferred {
			v.Result.Error = o.said()
			if age < policy.Expire {
				delayed = append(delayed, o)
				continue
			}
			o.Fate, o.Status = Failed, "4.4.7" // RFC 3463 section 3.5: delivery time expired.
			o.Text = fmt.Sprintf("not delivered within %s; the last answer was: %s", span(policy.Expire), o.Text)
		}
		v.Result.Done = append(v.Result.Done, o.Recipient.Address)
		switch {
		case o.Fate == Failed && o.Recipient.Notify.Wants(OnFailure) && e.Sender != "":
			failed = append(failed, o)
		case o.Fate == Failed:
			v.Dropped = append(v.Dropped, o)
		case o.Recipient.Notify.Wants(OnSuccess) && o.Fate == Delivered:
			delivered = append(delivered, o)
		case o.Recipient.Notify.Wants(OnSuccess) && o.Fate == Gone:
			relayed = append(relayed, o)
		}
	}
	if len(delayed) > 0 {
		v.Result.Due = Millis(now.Add(policy.Pause(e.Attempts+1, jitter)))
		if policy.Warn > 0 && age >= policy.Warn && !e.Warned {
			v.Result.Warned = true
		}
	}
	if e.Sender == "" {
		return v
	}
	until := time.UnixMilli(e.Arrived).Add(policy.Expire)
	if v.Result.Warned {
		if wanted := wanting(delayed, OnDelay); len(wanted) > 0 {
			v.Reports = append(v.Reports, Report{ActionDelayed, wanted, until})
		}
	}
	for _, r := range []Report{{ActionFailed, failed, time.Time{}}, {ActionDelivered, delivered, time.Time{}}, {ActionRelayed, relayed, time.Time{}}} {
		if len(r.Outcomes) > 0 {
			v.Reports = append(v.Reports, r)
		}
	}
	return v
}

func wanting(all []Outcome, event Notify) (wanted []Outcome) {
	for _, o := range all {
		if o.Recipient.Notify.Wants(event) {
			wanted = append(wanted, o)
		}
	}
	return wanted
}

// said is an outcome in one line.
func (o *Outcome) said() string {
	if o.Peer == "" {
		return o.Text
	}
	return o.Peer + ": " + o.Text
}

// span is a duration as people say it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day && d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return d.String()
}

// Open gives an entry's octets as they are sent.
type Open func(ctx context.Context) (io.ReadCloser, error)

var fateNames = [...]string{"deferred", "delivered", "relayed", "relayed", "failed"}

// String is what logs and metrics call it.
func (f Fate) String() string { return fateNames[f] }

// Postpone takes recipients out of those with a final answer again, because what has to be done about them cannot be done yet; of a delay it only takes back that the sender knows.
func (r *Result) Postpone(outcomes []Outcome, due int64, delay bool) {
	if delay {
		r.Warned = false
		return
	}
	for _, o := range outcomes {
		r.Done = slices.DeleteFunc(r.Done, func(a string) bool { return a == o.Recipient.Address })
	}
	if r.Due == 0 || due < r.Due {
		r.Due = due
	}
}
