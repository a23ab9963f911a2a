// Package failover decides whose accounts get another primary node because theirs is gone, from what nodes say of themselves and from their silence.
//
// It decides about comfort, not about safety: every node serves every account, and the log's append check alone says who may write. So a wrong decision
// costs clients a move, and none loses mail; and whoever wrongly believes to be in charge promotes with an epoch that is out of date and is refused.
//
// Invariants:
//   - Nobody is judged by a time in which nobody could be heard: who judges was cut off himself, or the log had no leader.
//   - Nothing is moved while half of the nodes or more are silent or unfit: then it is more likely that who judges sees wrongly.
//   - A node that comes back gets nothing before it has been steady for a while, and nothing of what it had comes back by itself.
//   - More than a few evacuations within a while are only advised.
//
// Everything here is pure: times are given, all from the one clock of who judges.
package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Lease is what a node says of itself whenever it renews its lease.
type Lease struct {
	Node string `json:"node"`
	// Mail says that the node serves mail; a witness does not.
	Mail bool `json:"mail"`
	// Boot differs at each start of the node's process, and Beat with each renewal.
	Boot string `json:"boot"`
	Beat uint64 `json:"beat"`
	// Unfit says why the node cannot serve well, such as that its disk is full. Empty: it can.
	Unfit string `json:"unfit,omitempty"`
	// Leaving says that the node is being stopped by its operator.
	Leaving bool `json:"leaving,omitempty"`
}

// Limits say how patient a Judge is. Zero fields take the defaults in their comments.
type Limits struct {
	Suspicion
	Grace   time.Duration // in which nodes can be heard again after nobody could be: 1 s
	Unfit   time.Duration // for which a node is unfit before its accounts go: 30 s
	Restart time.Duration // in which a node that was stopped by its operator can come back: 2 min
	Steady  time.Duration // for which a node that came back must be live and fit before it gets accounts: 1 min
	Window  time.Duration // in which at most Most nodes are evacuated: 10 min
	Most    int           // 3
}

func (l *Limits) setDefaults() {
	l.Suspicion.setDefaults()
	l.Grace = cmp.Or(l.Grace, time.Second)
	l.Unfit = cmp.Or(l.Unfit, 30*time.Second)
	l.Restart = cmp.Or(l.Restart, 2*time.Minute)
	l.Steady = cmp.Or(l.Steady, time.Minute)
	l.Window = cmp.Or(l.Window, 10*time.Minute)
	l.Most = cmp.Or(l.Most, 3)
}

// State is how a node does.
type State string

// The states of a node.
const (
	Live      State = "live"
	Returning State = "returning" // live, but not for long enough to get accounts
	Unfit     State = "unfit"     // live, and says that it cannot serve well
	Leaving   State = "leaving"   // stopped by its operator, who has some time to start it again
	Silent    State = "silent"    // gone, as far as can be known
)

// Judged is one node.
type Judged struct {
	Node    string        `json:"node"`
	State   State         `json:"state"`
	Phi     float64       `json:"phi"`           // the suspicion, see Detector
	Silence time.Duration `json:"silence"`       // since it was last heard
	Why     string        `json:"why,omitempty"` // it is not live
}

// Evacuation is a node whose accounts should get other primaries.
type Evacuation struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

// Judgement is what to do.
type Judgement struct {
	Nodes []Judged `json:"nodes"` // by name
	// Targets are the nodes that accounts may go to.
	Targets []string `json:"targets"`
	// Evacuate are the nodes whose accounts are to go now.
	Evacuate []Evacuation `json:"evacuate,omitempty"`
	// Advice are those whose accounts would go, and Withheld says why they do not.
	Advice   []Evacuation `json:"advice,omitempty"`
	Withheld string       `json:"withheld,omitempty"`
}

// Judge watches nodes. It is used by one goroutine.
type Judge struct {
	limits Limits
	advise bool

	nodes       map[string]*node
	observed    time.Time // when all leases were last read
	amnesty     time.Time // until when nothing is done
	evacuations []time.Time
}

type node struct {
	Lease
	detector *Detector
	unfit    time.Time // since when it has been so
	back     time.Time // since when it has been there again; zero for one that was there from the beginning
	gone     bool      // it was silent when last judged
	moved    bool      // its accounts are being moved, since it is gone or unfit
}

// NewJudge makes a Judge. With advise it never wants anything done.
func NewJudge(limits Limits, advise bool) *Judge {
	limits.setDefaults()
	return &Judge{limits: limits, advise: advise, nodes: map[string]*node{}}
}

// outageBeats is how many beats pass between two readings of the leases before that was an outage.
const outageBeats = 3

func (j *Judge) outage(now time.Time) bool { return now.Sub(j.observed) > outageBeats*j.limits.Beat }

// Observe takes all leases, as a quorum has them now. A node that is no longer among them is forgotten.
func (j *Judge) Observe(now time.Time, leases []Lease) {
	first, outage := j.observed.IsZero(), j.outage(now)
	if outage {
		j.amnesty = now.Add(j.limits.Grace)
	}
	j.observed = now
	listed := map[string]bool{}
	for _, l := range leases {
		listed[l.Node] = true
		n := j.nodes[l.Node]
		switch {
		case n == nil:
			n = &node{detector: NewDetector(j.limits.Suspicion, now)}
			if !first {
				n.back = now
			}
			j.nodes[l.Node] = n
		case n.Boot != l.Boot || n.gone && n.Beat != l.Beat:
			n.detector.Resume(now)
			n.back, n.moved = now, false
		case n.Beat == l.Beat:
			continue
		case now.Before(j.amnesty): // how long it could not be heard says nothing of its habits
			n.detector.Resume(now)
		default:
			n.detector.Beat(now)
		}
		n.gone = false
		switch {
		case l.Unfit == "" && n.Unfit != "":
			if now.Sub(n.unfit) >= j.limits.Unfit { // else nobody had to care
				n.back = now
			}
			n.unfit, n.moved = time.Time{}, false
		case l.Unfit != "" && n.unfit.IsZero():
			n.unfit = now
		}
		n.Lease = l
	}
	for name := range j.nodes {
		if !listed[name] {
			delete(j.nodes, name)
		}
	}
}

// Judge tells how the nodes do and what is to be done, by who is in charge.
func (j *Judge) Judge(now time.Time) (v Judgement) {
	var wishes []Evacuation
	var makeshift []string
	bad := 0
	for _, n := range j.nodes {
		d := j.look(n, now)
		v.Nodes = append(v.Nodes, d)
		n.gone = d.State == Silent && !j.outage(now) && !now.Before(j.amnesty)
		lost := d.State == Silent || d.State == Unfit && now.Sub(n.unfit) >= j.limits.Unfit
		if lost {
			bad++
		}
		if lost && n.Mail {
			wishes = append(wishes, Evacuation{n.Node, d.Why})
		}
		switch {
		case !n.Mail || lost:
		case d.State == Live:
			v.Targets = append(v.Targets, n.Node)
		case d.State == Unfit:
			makeshift = append(makeshift, n.Node)
		}
	}
	if v.Targets == nil { // While the log has no leader, nodes call themselves unfit for a moment: that is still better than to be gone.
		v.Targets = makeshift
	}
	slices.SortFunc(v.Nodes, func(a, b Judged) int { return strings.Compare(a.Node, b.Node) })
	slices.SortFunc(wishes, func(a, b Evacuation) int { return strings.Compare(a.Node, b.Node) })
	slices.Sort(v.Targets)
	if len(wishes) == 0 {
		return v
	}
	if v.Withheld = j.guard(now, bad, len(v.Targets)); v.Withheld != "" {
		v.Advice = wishes
		return v
	}
	for _, w := range wishes {
		if !j.nodes[w.Node].moved && j.recent(now) >= j.limits.Most {
			v.Withheld = fmt.Sprintf("%d nodes were evacuated within %v: somebody should look why", j.limits.Most, j.limits.Window)
			v.Advice = append(v.Advice, w)
			continue
		}
		v.Evacuate = append(v.Evacuate, w)
	}
	return v
}

// look judges one node.
func (j *Judge) look(n *node, now time.Time) Judged {
	d := Judged{Node: n.Node, State: Live, Phi: n.detector.Phi(now), Silence: n.detector.Silence(now)}
	silent := d.Phi >= j.limits.Threshold
	switch {
	case silent && n.Leaving && d.Silence < j.limits.Restart:
		d.State, d.Why = Leaving, fmt.Sprintf("it was stopped %v ago", d.Silence.Round(time.Second))
	case silent:
		d.State, d.Why = Silent, fmt.Sprintf("it has not been heard for %v", d.Silence.Round(100*time.Millisecond))
	case n.Leaving:
		d.State, d.Why = Leaving, "it is being stopped"
	case n.Unfit != "":
		d.State, d.Why = Unfit, n.Unfit
	case !n.back.IsZero() && now.Sub(n.back) < j.limits.Steady:
		d.State, d.Why = Returning, fmt.Sprintf("it has been well for %v only", now.Sub(n.back).Round(time.Second))
	}
	return d
}

// guard says why nothing may be done.
func (j *Judge) guard(now time.Time, bad, targets int) string {
	switch {
	case j.outage(now):
		return "this node does not hear the log: it may be the one that is cut off"
	case now.Before(j.amnesty):
		return "until a moment ago no node could be heard: all get time to speak"
	case 2*bad >= len(j.nodes):
		return fmt.Sprintf("%d of %d nodes are silent or unfit: more likely, something else is wrong", bad, len(j.nodes))
	case targets == 0:
		return "no other node is well, and has been for long enough"
	case j.advise:
		return "failover is set to advise only"
	}
	return ""
}

// Moved tells that the accounts of a node are being moved.
func (j *Judge) Moved(now time.Time, name string) {
	if n := j.nodes[name]; n != nil && !n.moved {
		n.moved = true
		j.evacuations = append(j.evacuations, now)
	}
}

// recent counts evacuations within the window.
func (j *Judge) recent(now time.Time) int {
	j.evacuations = slices.DeleteFunc(j.evacuations, func(t time.Time) bool { return now.Sub(t) >= j.limits.Window })
	return len(j.evacuations)
}
