package config_test

import (
	"fmt"
	"testing"

	"github.com/streampost/streampost/ops/config"
)

func TestRoutesAndSources(t *testing.T) {
	for text, want := range map[string]string{
		"Example.net relay.example.com:587 tls=verify source=192.0.2.5 source=2001:db8::5": "{example.net [relay.example.com:587] verify [192.0.2.5 2001:db8::5]}",
		"example.net relay source=::ffff:192.0.2.5":                                        "{example.net [relay] opportunistic [192.0.2.5]}",
		"example.net relay source=192.0.2.5 source=192.0.2.6":                              "", "example.net relay source=eth0": "", "example.net relay source=0.0.0.0": "", "example.net relay sauce=1": "", "example.net": "",
	} {
		got := ""
		if r, err := config.ParseRoute(text); err == nil {
			got = fmt.Sprint(r)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for _, c := range []struct {
		texts []string
		want  string
	}{
		{[]string{"example.org 192.0.2.5 2001:db8::5", "* 192.0.2.1"}, "map[*:[192.0.2.1] example.org:[192.0.2.5 2001:db8::5]]"},
		{[]string{"example.org"}, ""}, {[]string{"example.org x"}, ""}, {[]string{"a.example 192.0.2.1", "A.example 192.0.2.2"}, ""}, {[]string{"a.example fe80::1%eth0"}, ""}, {[]string{"a.example 224.0.0.1"}, ""},
	} {
		got := ""
		if all, err := config.ParseSources(c.texts); err == nil {
			got = fmt.Sprint(all)
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.texts, got, c.want)
		}
	}
}
