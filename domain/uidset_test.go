package domain_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/streampost/streampost/domain"
	"pgregory.net/rapid"
)

// nearby draws UIDs close to each other, and some at both ends of the range, so that ranges touch and overlap.
var nearby = rapid.OneOf(rapid.Uint32Range(1, 60), rapid.Uint32Range(1<<32-20, 1<<32-1))

// TestUIDSetIsASet runs a UIDSet beside a map.
func TestUIDSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set domain.UIDSet
		model := map[domain.UID]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				u := domain.UID(nearby.Draw(t, "uid"))
				set = set.Add(u)
				model[u] = true
			},
			"add a range": func(t *rapid.T) {
				lo := domain.UID(nearby.Draw(t, "lo"))
				hi := lo + domain.UID(min(rapid.Uint32Range(0, 10).Draw(t, "more"), 1<<32-1-uint32(lo)))
				for u := lo; ; u++ {
					model[u] = true
					if u == hi {
						break
					}
				}
				if rapid.Bool().Draw(t, "backwards") {
					lo, hi = hi, lo
				}
				set = set.AddRange(lo, hi)
			},
			"": func(t *rapid.T) {
				want := slices.Sorted(maps.Keys(model))
				if got := slices.Collect(set.All()); !slices.Equal(got, want) {
					t.Fatalf("%v holds %v, want %v", set, got, want)
				}
				if set.Len() != len(model) {
					t.Fatalf("%v has %d members, want %d", set, set.Len(), len(model))
				}
				for u := domain.UID(1); u < 75; u++ {
					if set.Contains(u) != model[u] || set.Contains(-u) != model[-u] {
						t.Fatalf("%v contains %d or %d wrongly", set, u, -u)
					}
				}
				window := domain.UIDs(3, 4, 9, 20, 21).AddRange(1<<32-5, 1<<32-1)
				for u := range window.All() {
					if both := set.Intersect(window); both.Contains(u) != model[u] || both.Len() > window.Len() {
						t.Fatalf("%v and %v have %v in common", set, window, both)
					}
				}
				for i, r := range set {
					if r.Lo > r.Hi || i > 0 && (r.Lo <= set[i-1].Hi || r.Lo-set[i-1].Hi == 1) {
						t.Fatalf("%v has ranges that touch or are out of order", set)
					}
				}
				if again, err := domain.ParseUIDSet(set.String()); err != nil || !slices.Equal(again, set) {
					t.Fatalf("%q is read as %v, %v", set, again, err)
				}
			},
		})
	})
}

func TestUIDs(t *testing.T) {
	if got := domain.UIDs(7, 3, 1, 2, 7).String(); got != "1:3,7" {
		t.Errorf("got %q", got)
	}
	if got := domain.UIDs().String(); got != "" {
		t.Errorf("got %q", got)
	}
	if out, err := json.Marshal(domain.UIDs(5, 6)); err != nil || string(out) != `"5:6"` {
		t.Errorf("got %s, %v", out, err)
	}
}

func TestParseUIDSet(t *testing.T) {
	for in, want := range map[string]string{
		"":                 "",
		"5":                "5",
		"9:2,3":            "2:9",
		"4294967295":       "4294967295",
		"1,2,3":            "1:3",
		"1:2,4294967295:3": "1:4294967295",
	} {
		if got, err := domain.ParseUIDSet(in); err != nil || got.String() != want {
			t.Errorf("%q is read as %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"0", "1:0", "*", "1:*", "1,", ",", "x", "-1", "4294967296", "1:2:3", " 1"} {
		if got, err := domain.ParseUIDSet(in); err == nil {
			t.Errorf("%q is read as %q", in, got)
		}
	}
}

func TestAllStopsEarly(t *testing.T) {
	count := 0
	for range domain.UIDs(1, 2, 3, 9).All() {
		if count++; count == 2 {
			break
		}
	}
	if count != 2 {
		t.Errorf("%d", count)
	}
}

func BenchmarkAddRising(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var set domain.UIDSet
		for u := domain.UID(1); u < 2000; u += 2 {
			set = set.Add(u)
		}
	}
}
