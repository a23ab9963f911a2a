package failover

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// cluster is nodes that beat, a log that can be read or not, and a judge.
type cluster struct {
	t     *testing.T
	now   time.Time
	judge *Judge
	nodes map[string]*sim
	deaf  bool // the judge cannot read leases, or there is no quorum
}

type sim struct {
	Lease
	mute bool // what it says reaches nobody: killed, frozen, without NATS, or cut off
}

func newCluster(t *testing.T, advise bool, names ...string) *cluster {
	c := &cluster{t: t, now: begin, judge: NewJudge(Limits{}, advise), nodes: map[string]*sim{}}
	for _, name := range names {
		c.nodes[name] = &sim{Lease: Lease{Node: name, Mail: !strings.HasPrefix(name, "witness"), Boot: "1"}}
	}
	c.run(time.Minute, nil)
	return c
}

// run lets time pass, half a second at a time, until until says so, and gives the last judgement and how long that took.
func (c *cluster) run(most time.Duration, until func(Judgement) bool) (v Judgement, took time.Duration) {
	c.t.Helper()
	for ; took < most; took += 500 * time.Millisecond {
		c.now = c.now.Add(500 * time.Millisecond)
		var leases []Lease
		for _, n := range c.nodes {
			if !n.mute && c.now.Sub(begin)%(500*time.Millisecond) == 0 {
				n.Beat++
			}
			leases = append(leases, n.Lease)
		}
		if !c.deaf {
			c.judge.Observe(c.now, leases)
		}
		if v = c.judge.Judge(c.now); until != nil && until(v) {
			return v, took
		}
		if until == nil && len(v.Evacuate) > 0 {
			c.t.Fatalf("after %v: %+v", took, v)
		}
	}
	if until != nil {
		c.t.Fatalf("it did not happen within %v: %+v", most, v)
	}
	return v, took
}

func (c *cluster) evacuates(names ...string) func(Judgement) bool {
	return func(v Judgement) bool {
		var got []string
		for _, e := range v.Evacuate {
			got = append(got, e.Node)
		}
		return slices.Equal(got, names)
	}
}

func withholds(why string) func(Judgement) bool {
	return func(v Judgement) bool {
		return strings.Contains(v.Withheld, why) && len(v.Advice) > 0 && v.Evacuate == nil
	}
}

// TestASilentNodeIsEvacuated, whatever silences it: it was killed, is frozen (SIGSTOP), has lost its NATS while its server lives, or is cut off. All look the
// same to who is in charge, and all count.
func TestASilentNodeIsEvacuated(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	c.nodes["mail1"].mute = true
	v, took := c.run(time.Minute, c.evacuates("mail1"))
	if took > 6*time.Second || !slices.Equal(v.Targets, []string{"mail2", "mail3"}) {
		t.Errorf("after %v: %+v", took, v)
	}
}

// TestAFullDisk: a node that says it is unfit keeps its accounts for a while, and gets no others.
func TestAFullDisk(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	c.nodes["mail1"].Unfit = "disk: only 3 MiB are free"
	v, _ := c.run(20*time.Second, nil)
	if slices.Contains(v.Targets, "mail1") {
		t.Errorf("an unfit node is a target: %+v", v)
	}
	v, _ = c.run(time.Minute, c.evacuates("mail1"))
	if !strings.Contains(v.Evacuate[0].Why, "3 MiB") {
		t.Errorf("it is evacuated because %q", v.Evacuate[0].Why)
	}
	c.nodes["mail1"].Unfit = ""
	c.run(2*time.Second, func(v Judgement) bool { return v.Nodes[0].State == Returning })
	c.run(2*time.Minute, func(v Judgement) bool { return slices.Contains(v.Targets, "mail1") })
}

// TestWhoJudgesIsCutOff: he hears nobody, does nothing, and when he hears again everybody gets time to be heard.
func TestWhoJudgesIsCutOff(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	c.deaf = true
	if v, _ := c.run(time.Hour, nil); v.Withheld == "" {
		t.Errorf("after an hour without the log: %+v", v)
	}
	c.deaf = false
	c.run(time.Minute, nil)
}

// TestTheLogHasNoLeader for some seconds because the node that led it died: who is left speaks again when there is one, and the dead one does not.
func TestTheLogHasNoLeader(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	for _, n := range c.nodes {
		n.mute = true
	}
	c.deaf = true
	c.run(9*time.Second, nil)
	c.deaf, c.nodes["mail1"].mute, c.nodes["mail2"].mute = false, false, false
	if _, took := c.run(time.Minute, c.evacuates("mail3")); took > 3*time.Second {
		t.Errorf("that takes %v more", took)
	}
}

// TestASlowVoice: after a time without a leader, who speaks a moment later than the others is not taken for dead.
func TestASlowVoice(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	for _, n := range c.nodes {
		n.mute = true
	}
	c.deaf = true
	c.run(9*time.Second, nil)
	c.deaf, c.nodes["mail1"].mute, c.nodes["mail2"].mute = false, false, false
	c.run(500*time.Millisecond, nil)
	c.nodes["mail3"].mute = false
	if v, _ := c.run(10*time.Second, nil); len(v.Targets) != 3 {
		t.Errorf("afterwards: %+v", v)
	}
}

// TestHalfOfTheNodesAreSilent: nothing is moved, since more likely who judges is on the wrong side.
func TestHalfOfTheNodesAreSilent(t *testing.T) {
	for _, silent := range []int{2, 3} {
		c := newCluster(t, false, "mail1", "mail2", "mail3", "mail4")
		for n := range silent {
			c.nodes[fmt.Sprintf("mail%d", n+1)].mute = true
		}
		c.run(time.Minute, withholds("more likely"))
	}
	c := newCluster(t, false, "mail1", "mail2", "witness1") // the witness counts, and is neither a target nor evacuated
	c.nodes["mail1"].mute = true
	if v, _ := c.run(time.Minute, c.evacuates("mail1")); !slices.Equal(v.Targets, []string{"mail2"}) {
		t.Errorf("with a witness: %+v", v)
	}
	c = newCluster(t, false, "mail1", "mail2", "witness1")
	c.nodes["witness1"].mute = true
	if v, _ := c.run(time.Minute, nil); v.Advice != nil {
		t.Errorf("a witness is to be evacuated: %+v", v)
	}
}

// TestEveryNodeIsUnfit, since what they share is away, such as the bucket of the blobs: moving would not help.
func TestEveryNodeIsUnfit(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	for _, n := range c.nodes {
		n.Unfit = "blobs: S3 does not answer"
	}
	c.run(time.Minute, withholds("more likely"))
}

// TestUnfitForAMoment: when a node dies that led a stream, the checks of all others fail until it has another leader. They get the accounts all the same.
func TestUnfitForAMoment(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	c.nodes["mail1"].mute = true
	c.nodes["mail2"].Unfit, c.nodes["mail3"].Unfit = "no answer within 2s", "no answer within 2s"
	if v, took := c.run(time.Minute, c.evacuates("mail1")); took > 6*time.Second || !slices.Equal(v.Targets, []string{"mail2", "mail3"}) {
		t.Errorf("after %v: %+v", took, v)
	}
}

// TestAFlappingNode gets nothing until it has been steady, and after a few evacuations somebody has to look.
func TestAFlappingNode(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	for range 3 {
		c.nodes["mail1"].mute = true
		c.run(time.Minute, c.evacuates("mail1"))
		c.judge.Moved(c.now, "mail1")
		c.judge.Moved(c.now, "mail1")
		c.run(time.Minute, c.evacuates("mail1")) // goes on: some accounts may be left
		c.nodes["mail1"].mute = false
		v, _ := c.run(30*time.Second, func(v Judgement) bool { return v.Nodes[0].State == Returning })
		if slices.Contains(v.Targets, "mail1") {
			t.Errorf("it is a target at once: %+v", v)
		}
		c.run(90*time.Second, func(v Judgement) bool { return slices.Contains(v.Targets, "mail1") })
	}
	c.nodes["mail1"].mute = true
	c.run(time.Minute, withholds("somebody should look"))
	c.run(15*time.Minute, c.evacuates("mail1"))
}

// TestAPlannedRestart moves nothing, unless the node stays away.
func TestAPlannedRestart(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	n := c.nodes["mail1"]
	n.Leaving, n.Beat = true, n.Beat+1
	v, _ := c.run(time.Second, nil)
	if slices.Contains(v.Targets, "mail1") {
		t.Errorf("a node that is being stopped is a target: %+v", v)
	}
	n.mute = true
	c.run(90*time.Second, nil)
	n.Leaving, n.mute, n.Boot = false, false, "2"
	c.run(3*time.Minute, nil)
	n.Leaving, n.Beat = true, n.Beat+1
	c.run(time.Second, nil)
	n.mute = true
	if _, took := c.run(5*time.Minute, c.evacuates("mail1")); took < 100*time.Second {
		t.Errorf("it is evacuated after %v", took)
	}
}

// TestAdvice is all that is given where that is wanted.
func TestAdvice(t *testing.T) {
	c := newCluster(t, true, "mail1", "mail2", "mail3")
	c.nodes["mail1"].mute = true
	if v, _ := c.run(time.Minute, withholds("advise")); v.Advice[0].Node != "mail1" {
		t.Errorf("%+v", v)
	}
	c.run(time.Hour, nil)
}

// TestANodeThatWasRemoved is forgotten when its lease is, and one that is added is a target once it is steady.
func TestANodeThatWasRemoved(t *testing.T) {
	c := newCluster(t, false, "mail1", "mail2", "mail3")
	delete(c.nodes, "mail3")
	c.nodes["mail4"] = &sim{Lease: Lease{Node: "mail4", Mail: true, Boot: "1"}}
	if v, _ := c.run(time.Second, nil); len(v.Nodes) != 3 || slices.Contains(v.Targets, "mail4") {
		t.Errorf("%+v", v)
	}
	c.run(2*time.Minute, func(v Judgement) bool { return slices.Contains(v.Targets, "mail4") })
}

// TestALoadedMachine: beats and readings come late by turns for hours, and nobody is moved.
func TestALoadedMachine(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	j, now := NewJudge(Limits{}, false), begin
	leases := []Lease{{Node: "mail1", Mail: true}, {Node: "mail2", Mail: true}, {Node: "mail3", Mail: true}}
	next := make([]time.Time, len(leases))
	for range 50_000 {
		now = now.Add(time.Second + time.Duration(random.ExpFloat64()*float64(200*time.Millisecond)))
		for i := range leases {
			for !next[i].After(now) {
				leases[i].Beat++
				next[i] = now.Add(time.Second + time.Duration(random.ExpFloat64()*float64(300*time.Millisecond)))
			}
		}
		j.Observe(now, leases)
		if v := j.Judge(now); len(v.Evacuate)+len(v.Advice) > 0 {
			t.Fatalf("%+v", v)
		}
	}
}
