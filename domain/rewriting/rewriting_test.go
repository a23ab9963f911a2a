package rewriting

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
)

// How mappings are followed is tested where there are accounts and domains: in package directory.

func TestParseRefusal(t *testing.T) {
	for text, want := range map[string]string{
		"551 5.1.6 Moved to Mars":       "551 5.1.6 Moved to Mars",
		"550 Closed":                    "550 5.7.1 Closed",
		"450 Later":                     "450 4.7.1 Later",
		"5.1.1 Nobody":                  "550 5.1.1 Nobody",
		"We have moved":                 "550 5.7.1 We have moved",
		"  550   5.1.1   a\tb\r\nc  ":   "550 5.1.1 a b c",
		"":                              "550 5.7.1 The recipient does not take mail",
		"550":                           "550 5.7.1 The recipient does not take mail",
		"550 5.1.1":                     "550 5.1.1 The recipient does not take mail",
		"5501 is a number":              "550 5.7.1 5501 is a number",
		"250 OK":                        "550 5.7.1 250 OK",
		"421 4.3.0 Bye":                 "",
		"550 4.1.1 Mixed":               "",
		"4.1.1 Mixed":                   "",
		"Grüße":                         "",
		"a\x00b":                        "",
		strings.Repeat("x", maxReply+1): "",
	} {
		r, err := ParseRefusal(text)
		if want == "" {
			if !domain.Is(err, domain.Invalid) {
				t.Errorf("%q: %v, %v", text, r, err)
			}
			continue
		}
		if again, err := ParseRefusal(want); r.String() != want || err != nil || again != r {
			t.Errorf("%q is %q, want %q; again %v, %v", text, r, want, again, err)
		}
	}
}

func TestRules(t *testing.T) {
	for text, want := range map[string]string{
		`(.*)@example\.org:${1}@example.net`:                  "zoe.old@example.net",
		`(.*)\.old@(.*):${1}@${2}`:                            "zoe@example.org",
		`ZOE\.OLD@.*:zoe@example.net`:                         "zoe@example.net",
		`(?P<name>\w+)\..*:${name}@example.net`:               "zoe@example.net",
		`zoe@example\.org:x@example.net`:                      "", // not the whole of it
		`.*:@example.net`:                                     "",
		`.*:x@[192.0.2.1]`:                                    "",
		`.*:x@exa mple`:                                       "",
		`(.*):` + strings.Repeat("${1}", 40) + `@example.net`: "", // longer than a local part can be
		`.*:x@example.net@example.com`:                        "x@example.net@example.com",
	} {
		r, err := parseRule(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		a, ok := r.rewrite("zoe.old@example.org")
		if ok != (want != "") || ok && a.Local+"@"+a.Domain != want {
			t.Errorf("%s gives %v, %v", text, a, ok)
		}
	}
}

func FuzzRule(f *testing.F) {
	f.Add(`(.*)@example\.org:${1}@example.net`, "zoe@example.org")
	f.Add(`(a*)*@.*:${1}${1}@x`, "aaaaaaaaaaaaaaaaaaaaaa@b")
	f.Add("(?i)x{2,5}|y@:$0@example.net", "xx")
	f.Fuzz(func(t *testing.T, text, address string) {
		r, err := parseRule(text)
		if err != nil {
			if kind := domain.KindOf(err); kind != domain.Invalid && kind != domain.TooLarge {
				t.Fatal(err)
			}
			return
		}
		if a, ok := r.rewrite(address); ok {
			if again, err := delivery.ParseAddress(a.String()); err == nil && again.Key() != a.Key() {
				t.Fatalf("%q makes %v of %q, which is read as %v", text, a, address, again)
			}
		}
	})
}
