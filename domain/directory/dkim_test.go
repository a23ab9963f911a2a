package directory

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"pgregory.net/rapid"
)

func key(host, selector, algorithm string) AddDKIMKey {
	return AddDKIMKey{Domain: host, Selector: selector, Algorithm: algorithm, Private: []byte("private"), Public: []byte("public"), Now: 1}
}

// TestRotation: a new key is there before it signs, takes over from the old one, and the old one stays until it is removed.
func TestRotation(t *testing.T) {
	x := &script{t, New()}
	x.do(AddDomain{"bücher.example"})
	x.refuses(domain.NotFound, key("example.net", "a", "rsa"))
	for _, bad := range []AddDKIMKey{key("bücher.example", "", "rsa"), key("bücher.example", "a_b", "rsa"), key("bücher.example", "a..b", "rsa"), key("bücher.example", "-a", "rsa"),
		key("bücher.example", strings.Repeat("a.", 51), "rsa"), key("bücher.example", "a", "dsa"), {Domain: "bücher.example", Selector: "a", Algorithm: "rsa"}} {
		x.refuses(domain.Invalid, bad)
	}
	x.do(key("xn--bcher-kva.example", "Old.Key", "rsa"))
	x.refuses(domain.Exists, key("bücher.example", "old.key", "ed25519"))
	x.refuses(domain.Invalid, RetireDKIMKey{"bücher.example", "old.key", 5})
	x.do(ActivateDKIMKey{"bücher.example", "OLD.key", 10})
	x.do(key("bücher.example", "ed", "ed25519"))
	x.do(ActivateDKIMKey{"bücher.example", "ed", 11})
	x.do(key("bücher.example", "new", "rsa"))
	told := func() string {
		var all []string
		for _, k := range x.s.DKIM["bücher.example"] {
			all = append(all, k.Selector+" "+k.Status())
		}
		return strings.Join(all, ", ")
	}
	if got := told(); got != "old.key active, ed active, new pending" {
		t.Error(got)
	}
	x.do(ActivateDKIMKey{"bücher.example", "new", 20})
	if got := told(); got != "old.key retired, ed active, new active" {
		t.Error(got)
	}
	if events := x.do(ActivateDKIMKey{"bücher.example", "new", 21}); events != nil {
		t.Errorf("activating again gave %v", events)
	}
	x.refuses(domain.Invalid, RemoveDKIMKey{"bücher.example", "new"})
	x.do(ActivateDKIMKey{"bücher.example", "old.key", 30}) // back again
	x.do(RemoveDKIMKey{"bücher.example", "new"})
	x.do(RetireDKIMKey{"bücher.example", "ed", 31})
	if got := told(); got != "old.key active, ed retired" {
		t.Error(got)
	}
	k, _ := x.s.DKIMKey("bücher.example", "ed")
	if got := DKIMName(k.Selector, "bücher.example") + " " + k.Record(); got != "ed._domainkey.xn--bcher-kva.example v=DKIM1; k=ed25519; p=cHVibGlj" {
		t.Error(got)
	}
	x.do(RemoveDomain{"bücher.example"})
	if len(x.s.DKIM) > 0 {
		t.Errorf("the keys of a foreign domain are %v", x.s.DKIM)
	}
	x.do(AddDomain{"bücher.example"})
	if len(x.s.DKIM["bücher.example"]) > 0 {
		t.Error("they come back with the domain")
	}
}

// TestOneKeyOfAnAlgorithmSigns, whatever is done in whatever order.
func TestOneKeyOfAnAlgorithmSigns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		for now := range int64(rapid.IntRange(1, 60).Draw(t, "commands")) {
			host := rapid.SampledFrom([]string{"a.example", "b.example"}).Draw(t, "host")
			selector := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "selector")
			var c Command
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0:
				c = AddDomain{host}
			case 1:
				c = RemoveDomain{host}
			case 2:
				c = RetireDKIMKey{host, selector, now + 1}
			case 3:
				c = RemoveDKIMKey{host, selector}
			case 4:
				c = key(host, selector, rapid.SampledFrom(DKIMAlgorithms).Draw(t, "algorithm"))
			default:
				c = ActivateDKIMKey{host, selector, now + 1}
			}
			events, err := Decide(s, c)
			for _, e := range events {
				s.Apply(domain.Tx(now+1), e)
			}
			for host, keys := range s.DKIM {
				active := map[string]int{}
				for _, k := range keys {
					if k.Active() {
						active[k.Algorithm]++
					}
				}
				if _, local := s.Domains[host]; !local || active["rsa"] > 1 || active["ed25519"] > 1 {
					t.Fatalf("%s has %v after %+v, %v", host, keys, c, err)
				}
			}
			if a, ok := c.(ActivateDKIMKey); ok && err == nil {
				if k, found := s.DKIMKey(a.Domain, a.Selector); !found || !k.Active() {
					t.Fatalf("%+v left %+v", c, k)
				}
			}
		}
	})
}
