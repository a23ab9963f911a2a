package dmarc

import (
	"fmt"
	"strings"
	"testing"
)

func TestRecords(t *testing.T) {
	for text, want := range map[string]string{
		"v=DMARC1; p=reject": "{reject reject false false 100}",
		"v=DMARC1;p=Quarantine;sp=none;adkim=s;aspf=S;pct=20;rua=mailto:a@b.example;fo=1;x=y": "{quarantine none true true 20}",
		" v = DMARC1 ; p = none ; pct = 101":                                                  "{none none false false 100}",
		"v=DMARC1; rua=mailto:a@b.example":                                                    "{none none false false 100}", // RFC 7489 section 6.6.3, step 6
		"v=DMARC1; p=reject; p=none":                                                          "{reject reject false false 100}",
		"v=DMARC1; p=reject; sp=sometimes":                                                    "{reject reject false false 100}",
		"v=DMARC1":                                                                            "invalid",
		"v=DMARC1; p=maybe":                                                                   "invalid",
		"v=dmarc1; p=none":                                                                    "invalid",
		"p=none; v=DMARC1":                                                                    "invalid",
		"":                                                                                    "invalid",
		"v=DMARC1; p=none; " + strings.Repeat("x", 5000):                                      "invalid",
	} {
		r, err := Parse(text)
		got := "invalid"
		if err == nil {
			got = fmt.Sprint(*r)
		}
		if got != want {
			t.Errorf("%.60q: %s, want %s", text, got, want)
		}
	}
	if r, err := Find([]string{"v=spf1 -all", "v=DMARC1; p=none", "v=DMARC1; p=none"}); r != nil || err != nil {
		t.Errorf("%v, %v", r, err)
	}
}

// TestAlignment has the examples of RFC 7489 appendix B.1.
func TestAlignment(t *testing.T) {
	organization := func(name string) string {
		labels := strings.Split(name, ".")
		return strings.Join(labels[max(len(labels)-2, 0):], ".")
	}
	for _, c := range []struct {
		from, spf, dkim string
		strict, passes  bool
	}{
		{"example.com", "example.com", "", true, true},         // B.1.1, example 1
		{"example.com", "child.example.com", "", false, true},  // example 2
		{"example.com", "child.example.com", "", true, false},  //
		{"child.example.com", "example.com", "", false, true},  //
		{"child.example.com", "example.net", "", false, false}, // example 3
		{"example.com", "", "example.com", true, true},         // B.1.2, example 1
		{"child.example.com", "", "example.com", false, true},  // example 2
		{"child.example.com", "", "example.com", true, false},  //
		{"example.com", "", "sample.net", false, false},        // example 3
		{"Example.com", "", "example.COM", true, true},
		{"example.com", "", "", false, false},
		{"example.com", "", "com", false, false},
	} {
		e := Evidence{From: c.from, At: c.from, SPF: c.spf, Record: &Record{Policy: Reject, Percent: 100, StrictDKIM: c.strict, StrictSPF: c.strict}}
		if c.dkim != "" {
			e.DKIM = []string{"other.example", c.dkim}
		}
		o := Evaluate(e, organization)
		if o.Aligned != c.passes || (o.Applied == None) != c.passes {
			t.Errorf("%+v: %+v", c, o)
		}
	}
}

// TestSamples: pct weakens the policy for those who are not drawn (section 6.6.4).
func TestSamples(t *testing.T) {
	for policy, weaker := range map[Policy]Policy{Reject: Quarantine, Quarantine: None, None: None} {
		for sample, want := range map[int]Policy{0: policy, 29: policy, 30: weaker, 99: weaker} {
			e := Evidence{From: "a.example", At: "a.example", Sample: sample, Record: &Record{Policy: policy, Percent: 30}}
			if got := Evaluate(e, strings.ToLower); got.Applied != want || got.Policy != policy {
				t.Errorf("%s, %d: %+v", policy, sample, got)
			}
		}
	}
	if Strictest(None, Quarantine) != Quarantine || Strictest(Reject, Quarantine) != Reject || Strictest(None, None) != None {
		t.Error("the strictest policy is another")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=none; pct=10")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		for _, p := range []Policy{r.Policy, r.Subdomains} {
			if p != None && p != Quarantine && p != Reject {
				t.Errorf("%q has the policy %q", text, p)
			}
		}
		if r.Percent < 0 || r.Percent > 100 {
			t.Errorf("%q is for %d percent", text, r.Percent)
		}
	})
}
