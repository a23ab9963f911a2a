package authres

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestField(t *testing.T) {
	got := Field("mx.example.org", []Method{
		{Name: "spf", Result: Pass, Properties: []Property{{"smtp", "mailfrom", "joe@example.com"}, {"smtp", "helo", ""}}},
		{Name: "dkim", Result: Fail, Reason: `it "is" not`, Properties: []Property{{"header", "d", "example.com"}, {"header", "b", "a/b="}}},
		{Name: "dmarc", Result: TempError, Properties: []Property{{"header", "from", "evil\r\nX: y"}}},
	})
	want := "Authentication-Results: mx.example.org;\r\n\tspf=pass\r\n\t smtp.mailfrom=joe@example.com;\r\n\tdkim=fail reason=\"it \\\"is\\\" not\"\r\n\t header.d=example.com\r\n\t header.b=\"a/b=\";\r\n" +
		"\tdmarc=temperror\r\n\t header.from=\"evil??X: y\"\r\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Field("a b", nil); got != "Authentication-Results: \"a b\"; none\r\n" {
		t.Error(got)
	}
}

// TestParse has the examples of RFC 8601 appendix B, and what others write.
func TestParse(t *testing.T) {
	for value, want := range map[string]string{
		" example.org 1; none":                                  "example.org []",
		" example.com;\r\n\tspf=pass smtp.mailfrom=example.net": "example.com [{spf pass  [{smtp mailfrom example.net}]}]",
		" example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net":                                                                                                             "example.com [{auth pass  [{smtp auth sender@example.net}]} {spf pass  [{smtp mailfrom example.net}]}]",
		" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462": "foo.example.net [{dkim fail  [{policy expired 1362471462}]}]",
		` "Mx.Example.org"; dkim=pass reason="good signature" header.i=@mail-router.example.net;`:                                                                                                                                 "mx.example.org [{dkim pass good signature [{header i @mail-router.example.net}]}]",
		` a; spf=pass smtp.mailfrom="o p"@x.example`: "a [{spf pass  [{smtp mailfrom o p@x.example}]}]",
		"":                                      "invalid",
		"; spf=pass":                            "invalid",
		"a; spf":                                "invalid",
		"a; spf=":                               "invalid",
		"a; spf=pass smtp":                      "invalid",
		"a; spf=pass smtp.x":                    "invalid",
		"a; spf=pass (":                         "invalid",
		`a; spf=pass smtp.x="`:                  "invalid",
		"a; spf=pass x.y=\x00":                  "invalid",
		"a" + strings.Repeat("; spf=pass", 101): "invalid",
		"a; spf=pass" + strings.Repeat(" x.y=z", 21):            "invalid",
		strings.Repeat("(", 11) + strings.Repeat(")", 11) + "a": "invalid",
	} {
		id, methods, err := Parse(value)
		got := fmt.Sprint(id, " ", methods)
		if err != nil {
			got = "invalid"
		}
		if got != want {
			t.Errorf("%q:\n%s\nwant\n%s", value, got, want)
		}
	}
}

func TestFieldsKeepEveryOctet(t *testing.T) {
	header := "From a mailbox\r\nA: b\r\n c\r\nno field\r\nB :\r\n\td\r\nC: e"
	var names []string
	var all strings.Builder
	for name, field := range Fields([]byte(header)) {
		names = append(names, name)
		all.Write(field)
	}
	if want := []string{"", "A", "", "B", "C"}; !reflect.DeepEqual(names, want) || all.String() != header {
		t.Errorf("%q, %q", names, all.String())
	}
}

// TestForgedFieldsGo: what may say to any reader that it is from this server; and fields of others stay.
func TestForgedFieldsGo(t *testing.T) {
	for value, stays := range map[string]bool{
		" mx.example.org; dmarc=pass": false, ` "mx.example.org"; dmarc=pass`: false, " (a) MX.Example.ORG 1; dmarc=pass": false, ` "mx\.example.org"; x`: false, "mx.example.org": false, " mx.example.org.; dmarc=pass": false,
		strings.Repeat("(", 11) + "a" + strings.Repeat(")", 11) + ` "mx\.example.org"; x`: false, " mx.example(x).org; x": false, " mx(x).example.org; x": false, " mx. example.org; x": false, " mx .example.org; x": false,
		" \x00mx.example.org; x": false, " =?utf-8?q?mx.example.org?=; x": false, ";mx.example.org": false, " \u00a0mx.example.org; x": false, " mx.example.org\u00a0; x": false, " mx\xff.example.org; x": false, " mx.example.org\xff; x": false,
		" mx.example.org\x00; x": false, " mx.example.org/1; x": false, " mx.example.org=1; x": false, " mx.example.org x; x": false, " \u212a.example.org; x": true, " \uff4dx.example.org; x": false, " mx.e\u017fample.org; x": true, "": false, " (": false,
		" other.example.org; spf=pass": true, " other.example.org 1; none": true, " (mx.example.org) other.example.org (x) 2 (y); spf=pass (mx.example.org)": true, ` "a b"; none`: true, " amx.example.org; x": true, " example.org": true,
	} {
		header := "A: b\r\nAuthentication-Results:" + value + "\r\n"
		kept, removed := Trusted([]byte(header), "mx.example.org")
		if want := map[bool]string{true: header, false: "A: b\r\n"}[stays]; string(kept) != want || removed != strings.Count(header, "\n")-strings.Count(want, "\n") {
			t.Errorf("%q: %d went, %q is left", value, removed, kept)
		}
	}
	for name, stays := range map[string]bool{
		"Authentication-Results": false, "authentication-results \t": false, "Authentication-Results\u00a0": false, "Authentication-Results\x00": false, "\vAuthentication-Results\v": false, " Authentication-Results": false,
		"Authentication-Re\u017fult\u017f": false, "X-Authentication-Results": true, "Authentication-Results-Old": true, "X: y\r\n Authentication-Results": true,
	} {
		header := name + ": mx.example.org; dmarc=pass\r\n"
		if kept, removed := Trusted([]byte(header), "mx.example.org"); (removed == 0) != stays || stays && string(kept) != header {
			t.Errorf("%q: %d went", name, removed)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("example.org 1; dkim/1 = pass (x) header . d = \"a\\\"b\"; none")
	f.Add(" mx; spf=pass smtp.mailfrom=@x.y reason=z")
	f.Fuzz(func(t *testing.T, value string) {
		id, methods, err := Parse(value)
		if err != nil {
			return
		}
		if first, ok := ServerID(value); !ok || first != id {
			t.Errorf("%q is of %q, %v and of %q", value, first, ok, id)
		}
		// What was read can be written, and is then read again as it was.
		_, written, _ := strings.Cut(Field(id, methods), ":")
		if len(value) >= maxValue {
			return
		}
		if _, again, err := Parse(written); err != nil || len(again) != len(methods) {
			t.Errorf("%q becomes %q: %v", value, written, err)
		}
	})
}

func FuzzTrusted(f *testing.F) {
	f.Add([]byte("Authentication-Results: mx.example.org; spf=pass\r\nA: b\r\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		kept, removed := Trusted(header, "mx.example.org")
		if removed == 0 && string(kept) != string(header) || removed > 0 && len(kept) >= len(header) {
			t.Errorf("%q became %q without %d", header, kept, removed)
		}
		if _, more := Trusted(kept, "mx.example.org"); more > 0 && removed > 0 {
			t.Errorf("%q still has what was removed of %q", kept, header)
		}
	})
}
