package admission

import (
	"reflect"
	"testing"
	"time"
)

func TestTriples(t *testing.T) {
	g := Greylisting{Delay: 5 * time.Minute, Window: 48 * time.Hour, Keep: 35 * 24 * time.Hour, Prove: 2}
	start := time.Unix(1_700_000_000, 0)
	var state *Grey
	for _, c := range []struct {
		after time.Duration
		want  Verdict
	}{
		{0, Verdict{Wait: 5 * time.Minute, Keep: 48 * time.Hour}},
		{time.Minute, Verdict{Wait: 4 * time.Minute}},
		{5*time.Minute - time.Second, Verdict{Wait: time.Second}},
		{49 * time.Hour, Verdict{Wait: 5 * time.Minute, Keep: 48 * time.Hour}}, // too late: it begins anew
		{49*time.Hour + 5*time.Minute, Verdict{Pass: true, Proved: true, Keep: g.Keep}},
		{50 * time.Hour, Verdict{Pass: true}},
		{80 * time.Hour, Verdict{Pass: true, Keep: g.Keep}},
		{81 * time.Hour, Verdict{Pass: true}},
		{10 * time.Hour, Verdict{Pass: true}}, // a clock that was set back
	} {
		next, v := g.Triple(start.Add(c.after), state)
		if v != c.want {
			t.Errorf("after %v: %+v, want %+v", c.after, v, c.want)
		}
		state = ReadGrey(next.Bytes())
		if !reflect.DeepEqual(*state, next) {
			t.Errorf("%+v became %+v", next, state)
		}
	}
	if _, v := g.Triple(start.Add(-time.Hour), &Grey{First: start.Unix()}); v.Wait != g.Delay {
		t.Errorf("what comes before it came is put off for %v", v.Wait)
	}
}

func TestNetworks(t *testing.T) {
	g := Greylisting{Keep: time.Hour, Prove: 2}
	now := time.Unix(1_700_000_000, 0)
	next, pass, keep := g.Network(now, nil, false)
	if pass || keep != 0 {
		t.Error("a network that nobody knows passes, or is written down")
	}
	for n := range 2 {
		if next, pass, keep = g.Network(now, &next, true); pass || keep != time.Hour || next.Passed != n+1 {
			t.Errorf("%d: %+v %v %v", n, next, pass, keep)
		}
	}
	if _, pass, keep = g.Network(now, &next, false); !pass || keep != 0 {
		t.Errorf("%v %v", pass, keep)
	}
	if _, pass, keep = g.Network(now.Add(25*time.Hour), &next, false); !pass || keep != time.Hour {
		t.Errorf("%v %v", pass, keep)
	}
	if _, pass, keep = (&Greylisting{}).Network(now, &next, true); pass || keep != 0 {
		t.Error("networks are remembered where that is off")
	}
	if string(Subnet([]byte{1, 2, 3, 4})) != "\x01\x02\x03" || len(Subnet(make([]byte, 16))) != 8 || len(Subnet(nil)) != 0 {
		t.Error("subnets are wrong")
	}
}

func FuzzReadGrey(f *testing.F) {
	f.Add((&Grey{1, 2, 3}).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if g := ReadGrey(b); g != nil && !reflect.DeepEqual(ReadGrey(g.Bytes()), g) {
			t.Errorf("%x is read as %+v", b, g)
		}
	})
}
