package queue_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/queue"
)

var policy = queue.Policy{First: time.Minute, Most: time.Hour, Warn: 4 * time.Hour, Expire: 5 * 24 * time.Hour}

func TestPauses(t *testing.T) {
	for attempts, want := range map[int]time.Duration{0: time.Minute, 1: time.Minute, 2: 2 * time.Minute, 3: 4 * time.Minute, 7: time.Hour, 100: time.Hour} {
		if got := policy.Pause(attempts, 0.5); got != want {
			t.Errorf("after %d attempts %v, want %v", attempts, got, want)
		}
	}
	if low, high := policy.Pause(1, 0), policy.Pause(1, 0.999999); low != 48*time.Second || high < 71*time.Second || high > 72*time.Second {
		t.Errorf("%v to %v", low, high)
	}
}

// told writes a verdict in short.
func told(v queue.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "done %v", v.Result.Done)
	if v.Result.Due != 0 {
		fmt.Fprintf(&b, ", again in %v", time.UnixMilli(v.Result.Due).Sub(time.UnixMilli(v.Result.At)))
	}
	for _, r := range v.Reports {
		fmt.Fprintf(&b, ", %s", r.Action)
		for _, o := range r.Outcomes {
			fmt.Fprintf(&b, " %s %s", o.Recipient.Address, o.Status)
		}
	}
	if len(v.Dropped) > 0 {
		fmt.Fprintf(&b, ", %d dropped", len(v.Dropped))
	}
	return b.String()
}

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	o := func(address string, fate queue.Fate, status string, notify queue.Notify) queue.Outcome {
		return queue.Outcome{Recipient: queue.Recipient{Address: address, Notify: notify}, Fate: fate, Status: status, Text: "words", Peer: "mx"}
	}
	for _, c := range []struct {
		name     string
		age      time.Duration
		bounce   bool
		warned   bool
		outcomes []queue.Outcome
		want     string
	}{
		{"delivered", 0, false, false, []queue.Outcome{o("x", queue.Gone, "", 0)}, "done [x]"},
		{"success is told where the peer does not", 0, false, false, []queue.Outcome{o("x", queue.Gone, "2.0.0", queue.OnSuccess)}, "done [x], relayed x 2.0.0"},
		{"and not where it does", 0, false, false, []queue.Outcome{o("x", queue.Relayed, "", queue.OnSuccess)}, "done [x]"},
		{"a mailbox here", 0, false, false, []queue.Outcome{o("x", queue.Delivered, "2.1.5", queue.OnSuccess)}, "done [x], delivered x 2.1.5"},
		{"failed", 0, false, false, []queue.Outcome{o("x", queue.Failed, "5.1.1", 0)}, "done [x], failed x 5.1.1"},
		{"failed, and nobody asked", 0, false, false, []queue.Outcome{o("x", queue.Failed, "5.1.1", queue.Never), o("y", queue.Failed, "5.1.1", queue.OnSuccess)}, "done [x y], 2 dropped"},
		{"a report that fails", 0, true, false, []queue.Outcome{o("x", queue.Failed, "5.1.1", 0)}, "done [x], 1 dropped"},
		{"mixed", 0, false, false, []queue.Outcome{o("x", queue.Failed, "5.1.1", 0), o("y", queue.Deferred, "4.2.1", 0), o("z", queue.Gone, "", 0)}, "done [x z], again in 1m0s, failed x 5.1.1"},
		{"later", time.Hour, false, false, []queue.Outcome{o("x", queue.Deferred, "4.2.1", 0)}, "done [], again in 1m0s"},
		{"a warning", 5 * time.Hour, false, false, []queue.Outcome{o("x", queue.Deferred, "4.2.1", 0), o("y", queue.Deferred, "4.2.1", queue.OnFailure)}, "done [], again in 1m0s, delayed x 4.2.1"},
		{"one warning", 5 * time.Hour, false, true, []queue.Outcome{o("x", queue.Deferred, "4.2.1", 0)}, "done [], again in 1m0s"},
		{"no warning about a report", 5 * time.Hour, true, false, []queue.Outcome{o("x", queue.Deferred, "4.2.1", 0)}, "done [], again in 1m0s"},
		{"expired", 5 * 24 * time.Hour, false, true, []queue.Outcome{o("x", queue.Deferred, "4.2.1", 0)}, "done [x], failed x 4.4.7"},
		{"an expired report", 6 * 24 * time.Hour, true, false, []queue.Outcome{o("x", queue.Deferred, "4.2.1", 0)}, "done [x], 1 dropped"},
	} {
		e := &queue.Entry{ID: 1, Sender: "alice@example.org", Arrived: now.Add(-c.age).UnixMilli(), Warned: c.warned}
		if c.bounce {
			e.Sender = ""
		}
		if got := told(queue.Decide(e, c.outcomes, &policy, now, 0.5)); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestPostponedReports: recipients about whom the sender could not be told are tried again.
func TestPostponedReports(t *testing.T) {
	r := queue.Result{Done: []string{"x", "y"}, Due: 500}
	r.Postpone([]queue.Outcome{{Recipient: queue.Recipient{Address: "x"}}}, 100, false)
	if !slices.Equal(r.Done, []string{"y"}) || r.Due != 100 {
		t.Errorf("%+v", r)
	}
	r.Warned = true
	if r.Postpone(nil, 100, true); r.Warned {
		t.Error("the sender knows what nobody told")
	}
}

// TestRecordsOfTheFirstVersion: what was written once can be read for ever.
func TestRecordsOfTheFirstVersion(t *testing.T) {
	const golden = `[{"put":{"id":"00000000000000ff","node":"mail1","transfer":"c-1","messageId":"\u003c1@x\u003e","login":"alice","sender":"alice@example.org","recipients":[{"address":"x@example.net","original":"rfc822;y@example.net","notify":3}],"domain":"example.net","via":"relay:25","blob":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJ","skip":2,"utf8":true,"return":"FULL","envelopeId":"q","arrived":1,"due":2,"attempts":3,"unclear":1,"last":4,"error":"no","held":true,"warned":true}},{"claim":{"ids":["00000000000000ff"],"node":"mail1","boot":"b","at":1,"until":2}},{"lapse":{"ids":["00000000000000ff"],"node":"mail1","boot":"b","at":1}},{"result":{"id":"00000000000000ff","node":"mail1","boot":"b","at":1,"done":["x@example.net"],"due":2,"error":"no","warned":true,"tried":true}},{"change":{"ids":["00000000000000ff"],"by":"admin","at":1,"held":true,"due":2,"via":"v","remove":true}},{"clear":{"by":"admin","at":1}}]`
	records, err := queue.Unmarshal([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(records)
	if err != nil || string(again) != golden {
		t.Errorf("%s, %v", again, err)
	}
}

// TestRecordsOfShelves are read for ever as well.
func TestRecordsOfShelves(t *testing.T) {
	const golden = `[{"put":{"id":"00000000000000ff","sender":"","recipients":[{"address":"x@example.net"}],"domain":"","blob":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJ","arrived":1,"due":0,"shelf":"parked/error","parking":{"cause":"loop","processor":"root","step":2,"visited":3,"first":4,"last":5,"times":6,"remoteAddress":"192.0.2.1","remoteHost":"h"},"attributes":{"a":"b"}}},{"result":{"id":"00000000000000ff","node":"mail1","boot":"b","at":1,"move":{"shelf":"parked/error","cause":"c","error":"e","processor":"p","step":1,"visited":2,"due":3}}},{"change":{"ids":["00000000000000ff"],"on":"parked/error","by":"admin","at":1,"move":{"shelf":"parked/dead","shift":true}}},{"clear":{"by":"admin","at":1,"shelf":"parked/dead"}},{"claim":{"ids":["00000000000000ff"],"node":"mail1","boot":"b","at":1,"until":2,"on":"spool"}},{"claim":{"ids":["00000000000000ff"],"node":"mail1","boot":"b","at":1,"until":2,"on":""}}]`
	records, err := queue.Unmarshal([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(records)
	if err != nil || string(again) != golden {
		t.Errorf("%s, %v", again, err)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte(`[{"put":{"id":"00000000000000ff","recipients":[{"address":"x"}]}},{"claim":{"ids":["00000000000000ff"]}},{"result":{"id":"00000000000000ff"}}]`))
	f.Add([]byte(`[{"put":{"id":"00000000000000ff","recipients":[{"address":"x"}],"shelf":"parked/error"}},{"change":{"ids":["00000000000000ff"],"on":"parked/error","move":{"shelf":"spool"}}},{"clear":{"shelf":"spool"}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := queue.Unmarshal(b)
		if err != nil {
			return
		}
		l := newLog(t)
		l.add(records...)
		l.next(1 << 50)
	})
}
