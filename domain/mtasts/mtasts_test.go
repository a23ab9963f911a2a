package mtasts_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/mtasts"
)

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		texts string // with | in between
		want  string
	}{
		{"v=STSv1; id=20260101T000000;", "20260101T000000 true"}, {"v=STSv1;id=a", "a true"}, {"v=spf1 -all|v=STSv1 ; id = 7 ; x=y", "7 true"}, {"", " false"}, {"v=STSv1; id=1|v=STSv1; id=2", " false"},
		{"v=STSv12; id=1", " false"}, {"v=stsv1; id=1", " false"}, {"v=STSv1", " false"}, {"v=STSv1;", " false error"}, {"v=STSv1; id=", " false error"}, {"v=STSv1; id=a-b", " false error"},
		{"v=STSv1; id=" + strings.Repeat("x", 33), " false error"}, {"v=STSv1; id=1; id=2", " false error"},
	} {
		id, found, err := mtasts.ParseRecord(strings.Split(c.texts, "|"))
		got := fmt.Sprint(id, " ", found)
		if err != nil {
			got += " error"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s (%v)", c.texts, got, c.want, err)
		}
	}
}

func TestPolicies(t *testing.T) {
	for text, want := range map[string]string{
		"version: STSv1\nmode: enforce\nmx: MX1.Example.net\r\nmx: *.example.org\nmax_age: 604800\n": "enforce [mx1.example.net *.example.org] 168h0m0s",
		"mode:testing\nversion:STSv1\nnew: thing\nmode: none\nmax_age:99999999\nmx:bücher.example":   "testing [xn--bcher-kva.example] 8766h0m0s",
		"version: STSv1\nmode: none\nmax_age: 0":                                                     "none [] 0s",
		"":                                                                                           "", "version: STSv1\nmode: enforce\nmax_age: 1": "", "version: STSv2\nmode: none\nmax_age: 1": "", "version: STSv1\nmode: maybe\nmx: a.b\nmax_age: 1": "",
		"version: STSv1\nmode: enforce\nmx: *\nmax_age: 1": "", "version: STSv1\nmode: enforce\nmx: a.*.b\nmax_age: 1": "", "version: STSv1\nmode: none\nmax_age: -1": "",
		"version: STSv1\nmode: none\nmax_age: 99999999999999999999": "", "version: STSv1\nmode: none\nmax_age: 1\nwhat": "", "mode: none\nmax_age: 1": "",
		"version: STSv1\nmode: enforce\nmax_age: 1\n" + strings.Repeat("mx: a.example\n", 201): "", strings.Repeat("\n", mtasts.MaxText) + "version: STSv1\nmode: none\nmax_age: 1": "",
	} {
		p, err := mtasts.ParsePolicy(text)
		got := ""
		if err == nil {
			got = fmt.Sprint(p.Mode, " ", p.MX, " ", p.MaxAge)
		}
		if got != want {
			t.Errorf("%.60q: %q, want %q (%v)", text, got, want, err)
		}
	}
}

func TestHosts(t *testing.T) {
	p := mtasts.Policy{MX: []string{"mx.example.net", "*.example.org"}}
	for host, want := range map[string]bool{
		"mx.example.net": true, "MX.example.NET": true, "mx.example.net.": true, "a.example.org": true, "example.org": false, "a.b.example.org": false, ".example.org": false, "mx2.example.net": false, "": false,
	} {
		if p.Allows(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

// FuzzPolicy: a policy that can be read can be read again from its lines, and is bounded.
func FuzzPolicy(f *testing.F) {
	f.Add("version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 604800\n")
	f.Add("version:STSv1\r\nmode:none\r\nmax_age:1")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := mtasts.ParsePolicy(text)
		if err != nil {
			return
		}
		if p.MaxAge < 0 || p.MaxAge > mtasts.MaxAge {
			t.Errorf("a policy of %s", p.MaxAge)
		}
		again, err := mtasts.ParsePolicy(strings.Join(p.Lines(), "\n"))
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%+v became %+v, %v", p, again, err)
		}
		for _, mx := range p.MX {
			if host := strings.Replace(mx, "*", "a", 1); !p.Allows(host) {
				t.Errorf("%q is not allowed by %q", host, mx)
			}
		}
	})
}
