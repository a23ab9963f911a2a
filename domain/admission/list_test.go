package admission

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/authres"
)

func TestQuestion(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.99":                "99.2.0.192.bad.example.com", // the examples of RFC 5782 sections 2.1 and 2.4
		"2001:db8:1:2:3:4:567:89ab": "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bad.example.com",
	} {
		if got := Question(netip.MustParseAddr(address).AsSlice(), "bad.example.com"); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
	for v6, want := range map[bool]string{false: "2.0.0.127.x 1.0.0.127.x", true: "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.x 1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.x"} {
		if listed, clear := TestPoints(v6); Question(listed, "x")+" "+Question(clear, "x") != want {
			t.Errorf("%s %s", Question(listed, "x"), Question(clear, "x"))
		}
	}
}

func TestWhichAnswersCount(t *testing.T) {
	any, some := List{}, List{Answers: []Range{{[4]byte{127, 0, 0, 2}, [4]byte{127, 0, 0, 4}}, {[4]byte{127, 0, 1, 0}, [4]byte{127, 0, 1, 255}}}}
	for _, c := range []struct {
		answer    [4]byte
		any, some bool
	}{
		{[4]byte{127, 0, 0, 2}, true, true}, {[4]byte{127, 0, 0, 4}, true, true}, {[4]byte{127, 0, 0, 5}, true, false}, {[4]byte{127, 0, 1, 77}, true, true}, {[4]byte{127, 255, 254, 1}, true, false},
		{[4]byte{127, 255, 255, 254}, false, false}, {[4]byte{127, 255, 255, 252}, false, false}, {[4]byte{192, 0, 2, 1}, false, false}, {[4]byte{0, 0, 0, 0}, false, false},
	} {
		if any.Counts(c.answer) != c.any || some.Counts(c.answer) != c.some {
			t.Errorf("%v: %v %v", c.answer, any.Counts(c.answer), some.Counts(c.answer))
		}
	}
}

// TestRefusalsOfAllowListsVouchForNobody: list.dnswl.org says by 127.0.0.255 that it does not answer this name server.
func TestRefusalsOfAllowListsVouchForNobody(t *testing.T) {
	usual := List{Allow: true}
	chosen := List{Allow: true, Answers: []Range{{[4]byte{127, 0, 0, 0}, [4]byte{127, 0, 0, 255}}}}
	if no := [4]byte{127, 0, 0, 255}; usual.Counts(no) || !chosen.Counts(no) || !(&List{}).Counts(no) || !usual.Counts([4]byte{127, 0, 10, 2}) {
		t.Error("the wrong answers count")
	}
}

func TestSumsOfLists(t *testing.T) {
	on := func(zone string, score int) Finding {
		return Finding{&List{Zone: zone, Score: score}, [][4]byte{{127, 0, 0, 2}}, "see\r\n http://" + zone}
	}
	off := Finding{List: &List{Zone: "off.example", Score: 100}}
	friend := Finding{&List{Zone: "friends.example", Allow: true}, [][4]byte{{127, 0, 5, 1}}, ""}
	for name, c := range map[string]struct {
		findings []Finding
		refusal  string
		junk     bool
		known    bool
		fields   string
	}{
		"nothing": {},
		"clear":   {findings: []Finding{off}},
		"one":     {[]Finding{on("a.example", 100), off}, "Refused: your address [192.0.2.1] is listed by a.example: see http://a.example", true, false, "X-DNS-Lists: mx;\r\n\ta.example=127.0.0.2\r\n"},
		"sum":     {[]Finding{on("a.example", 40), on("b.example", 60)}, "Refused: your address [192.0.2.1] is listed by b.example: see http://b.example", true, false, "X-DNS-Lists: mx;\r\n\ta.example=127.0.0.2;\r\n\tb.example=127.0.0.2\r\n"},
		"half":    {[]Finding{on("a.example", 20), on("b.example", 30)}, "", true, false, "X-DNS-Lists: mx;\r\n\ta.example=127.0.0.2;\r\n\tb.example=127.0.0.2\r\n"},
		"tag":     {[]Finding{on("a.example", 0)}, "", false, false, "X-DNS-Lists: mx;\r\n\ta.example=127.0.0.2\r\n"},
		"minus":   {[]Finding{on("a.example", 100), on("b.example", -60)}, "", false, false, "X-DNS-Lists: mx;\r\n\ta.example=127.0.0.2;\r\n\tb.example=127.0.0.2\r\n"},
		"friend":  {[]Finding{on("a.example", 100), friend}, "", false, true, "X-DNS-Lists: mx;\r\n\ta.example=127.0.0.2;\r\n\tfriends.example=127.0.5.1\r\n"},
	} {
		var o Opinion
		o.Weigh(c.findings, "192.0.2.1", "mx")
		got := ""
		if o.Refusal != nil {
			got = o.Refusal.Text
		}
		if got != c.refusal || o.Junk != c.junk || o.Known != c.known || o.Fields != c.fields {
			t.Errorf("%s: %q %v", name, got, o)
		}
	}
	var o Opinion
	o.Weigh([]Finding{friend}, "192.0.2.1", "mx")
	if got := authres.Field("mx", o.Methods); got != "Authentication-Results: mx;\r\n\tdnswl=pass\r\n\t dns.zone=friends.example\r\n\t dns.sec=na\r\n\t policy.ip=127.0.5.1\r\n" {
		t.Errorf("%q", got)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " \t\r\n": "", "Spam source": "Spam source", "\x00a\r\n550 b\x1b[2J\u202ec\x7f": "a 550 b [2J c", strings.Repeat("x", 5000): strings.Repeat("x", maxText), "ä": "", "\xff\xfex": "x",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
