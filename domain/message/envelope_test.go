package message

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAppendEnvelope(t *testing.T) {
	cases := []struct {
		name string
		text []byte
		want string
	}{
		{"nothing", nil, `(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{"the example of RFC 9051 section 8", crlf("Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)", "From: Terry Gray <gray@cac.washington.edu>",
			"Subject: IMAP4rev2 WG mtg summary and minutes", "To: imap@cac.washington.edu", "cc: minutes@CNRI.Reston.VA.US, ",
			"   John Klensin <KLENSIN@MIT.EDU>", "Message-Id: <B27397-0100000@cac.washington.edu>", "MIME-Version: 1.0", ""),
			`("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes"` +
				` (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu"))` +
				` ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU"))` +
				` NIL NIL "<B27397-0100000@cac.washington.edu>")`},
		{"empty fields", crlf("Date:", "Subject: ", "From:", "In-Reply-To:\t", "Message-ID:", "To: ;"),
			`("" "" NIL NIL NIL NIL NIL NIL "" "")`},
		{"an empty Sender counts as absent", crlf("From: a@x", "Sender: ", "Reply-To: b@x"),
			`(NIL NIL ((NIL NIL "a" "x")) ((NIL NIL "a" "x")) ((NIL NIL "b" "x")) NIL NIL NIL NIL NIL)`},
		{"a group", crlf(`To: Friends: al@x, "B, C" <bc@x>;, undisclosed-recipients:;, d@x`),
			`(NIL NIL NIL NIL NIL ((NIL NIL "Friends" NIL)(NIL NIL "al" "x")("B, C" NIL "bc" "x")(NIL NIL NIL NIL)` +
				`(NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL)(NIL NIL "d" "x")) NIL NIL NIL NIL)`},
		{"encoded words stay", crlf("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", " =?utf-8?q?_x?=", "From: =?iso-8859-1?q?J=F6rg?= Meier <j@x>"),
			`(NIL "=?utf-8?q?Gr=C3=BC=C3=9Fe?= =?utf-8?q?_x?=" (("=?iso-8859-1?q?J=F6rg?= Meier" NIL "j" "x")) (("=?iso-8859-1?q?J=F6rg?= Meier" NIL "j" "x"))` +
				` (("=?iso-8859-1?q?J=F6rg?= Meier" NIL "j" "x")) NIL NIL NIL NIL NIL)`},
		{"raw octets are literals", []byte("Subject: Gr\xfc\xdfe\r\nTo: J\xc3\xb6rg <j@x>"),
			"(NIL {5}\r\nGr\xfc\xdfe NIL NIL NIL (({5}\r\nJ\xc3\xb6rg NIL \"j\" \"x\")) NIL NIL NIL NIL)"},
		{"NUL and bare CR are no text", []byte("Subject: a\x00b\rc\r\n"), `(NIL "ab c" NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{"the first subject counts, recipients add up", crlf("Subject: a", "Subject: b", "To: a@x", "To: b@x"),
			`(NIL "a" NIL NIL NIL ((NIL NIL "a" "x")(NIL NIL "b" "x")) NIL NIL NIL NIL)`},
	}
	for _, c := range cases {
		s := scan(c.text)
		if got := string(AppendEnvelope(nil, &s.Envelope)); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	const none = missingDomain
	cases := map[string][]Address{
		"":                                nil,
		" , ,, ":                          nil,
		"a@x":                             {{"", "a", "x"}},
		"a@x, b@y":                        {{"", "a", "x"}, {"", "b", "y"}},
		"<a@x>":                           {{"", "a", "x"}},
		"A B <a@x>":                       {{"A B", "a", "x"}},
		"A  \t B<a@x>":                    {{"A B", "a", "x"}},
		`"A, \"B\"" <a@x>`:                {{`A, "B"`, "a", "x"}},
		`"A" "B" C <a@x>`:                 {{"A B C", "a", "x"}},
		`A. B. C. <a@x>`:                  {{"A. B. C.", "a", "x"}},
		"a@x (A B)":                       {{"A B", "a", "x"}},
		"(x) a (y) @ (z) x . y (A (B) C)": {{"A (B) C", "a", "x.y"}},
		"<a@x> (A)":                       {{"A", "a", "x"}},
		"A (B) <a@x> (C)":                 {{"A", "a", "x"}},
		`"a b"@x`:                         {{"", "a b", "x"}},
		`"a\"b"@x`:                        {{"", `a"b`, "x"}},
		"a . b @ x":                       {{"", "a.b", "x"}},
		`a."b c".d@x`:                     {{"", "a.b c.d", "x"}},
		"a@[192.0.2.1]":                   {{"", "a", "[192.0.2.1]"}},
		"a@[IPv6:2001:db8::1], b@x":       {{"", "a", "[IPv6:2001:db8::1]"}, {"", "b", "x"}},
		"<@relay,@other:a@x>":             {{"", "a", "x"}},
		"A <@relay:a@x>":                  {{"A", "a", "x"}},
		"a":                               {{"", "a", none}},
		"A B":                             {{"", "A B", none}},
		"<>":                              {{"", missingMailbox, none}},
		"A <>":                            {{"A", missingMailbox, none}},
		"A <a>":                           {{"A", "a", none}},
		"@x":                              {{"", missingMailbox, "x"}},
		"a@":                              {{"", "a", none}},
		"a@x <b@y>":                       {{"a@x", "b", "y"}},
		"<a@x":                            {{"", "a", "x"}},
		"a@x> , b@y":                      {{"", "a", "x"}, {"", "b", "y"}},
		"<a@x>, <b@y":                     {{"", "a", "x"}, {"", "b", "y"}},
		`"A <a@x>`:                        {{"", "A <a@x>", none}},
		"(A <a@x>":                        nil,
		"A <a@x> b, c@y":                  {{"A", "a", "x"}, {"", "c", "y"}},
		"G:;":                             {{"", "G", ""}, {}},
		"G: a@x;":                         {{"", "G", ""}, {"", "a", "x"}, {}},
		"G: a@x, B <b@y>; c@z":            {{"", "G", ""}, {"", "a", "x"}, {"B", "b", "y"}, {}, {"", "c", "z"}},
		`"G, H": a@x`:                     {{"", "G, H", ""}, {"", "a", "x"}, {}},
		"a@x; b@y":                        {{"", "a", "x"}, {"", "b", "y"}},
		"ä@ö":                             {{"", "ä", "ö"}},
		"J\xf6rg <j@x>":                   {{"J\xf6rg", "j", "x"}},
		"=?utf-8?q?a=2C_b?= <a@x>":        {{"=?utf-8?q?a=2C_b?=", "a", "x"}},
	}
	for in, want := range cases {
		if got := parseAddresses(nil, in, 100); !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nis read as %q\nwant       %q", in, got, want)
		}
	}
	if got := parseAddresses(nil, strings.Repeat("a@x,", 1000), 10); len(got) != 10 {
		t.Errorf("%d addresses were read where 10 may be", len(got))
	}
}

func TestParams(t *testing.T) {
	cases := map[string][]Param{
		"":                            nil,
		"; a=b":                       {{"a", "b"}},
		`;A="b;c" ; d = e`:            {{"a", "b;c"}, {"d", "e"}},
		`; a="b`:                      {{"a", "b"}},
		`; a="b\"c\\d"`:               {{"a", `b"c\d`}},
		"; a=b c.txt; d=e":            {{"a", "b c.txt"}, {"d", "e"}},
		"; charset=us-ascii (Plain)":  {{"charset", "us-ascii"}},
		"; a; b=c;; =d; e=":           {{"b", "c"}, {"e", ""}},
		"; a=1; a=2":                  {{"a", "1"}},
		"; a*=utf-8''%C3%A4%20b":      {{"a", "ä b"}},
		"; a*=iso-8859-1'de'%E4":      {{"a", "ä"}},
		"; a=x; a*=utf-8''%C3%A4":     {{"a", "ä"}},
		"; a*=utf-8''%C3%A4; a=x":     {{"a", "ä"}},
		"; a*0=b; a*1=c; a*2=d":       {{"a", "bcd"}},
		"; a*1=c; x=y; a*0=b":         {{"a", "bc"}, {"x", "y"}},
		"; a*0*=utf-8''%C3; a*1*=%A4": {{"a", "ä"}},
		`; a*0*=utf-8''%C3%A4; a*1=" %41"; a*2*=%42`: {{"a", "ä %41B"}},
		"; a*0=b; a*2=d":         {{"a", "b"}},
		"; a*1=c":                nil,
		"; a*=%zz'x":             {{"a", "%zz'x"}},
		"; a*x=b; c=d":           {{"c", "d"}},
		"; a*=utf-8''b%0D%0A%00": {{"a", "b   "}},
		"; a=\"=?utf-8?q?x?=\"":  {{"a", "=?utf-8?q?x?="}},
		"; a=\xe4":               {{"a", "ä"}},
	}
	for in, want := range cases {
		got := parseParams(in)
		if len(got) == 0 {
			got = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nis read as %q\nwant       %q", in, got, want)
		}
	}
}

func TestParseDate(t *testing.T) {
	at := func(s string) time.Time {
		d, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for in, want := range map[string]string{
		"Mon, 02 Jan 2006 15:04:05 -0700":            "2006-01-02T22:04:05Z",
		"Mon, 2 Jan 2006 15:04:05 -0700 (MST)":       "2006-01-02T22:04:05Z",
		"2 Jan 2006 15:04 +0100":                     "2006-01-02T14:04:00Z",
		"Mon,2 Jan 2006 15:04:05 GMT":                "2006-01-02T15:04:05Z",
		"Mon, 2 Jan 06 15:04:05 EST":                 "2006-01-02T20:04:05Z",
		"2 Jan 97 15:04:05 PDT":                      "1997-01-02T22:04:05Z",
		"2 Jan 102 15:04:05 -0000":                   "2002-01-02T15:04:05Z",
		"Mon, 2 January 2006 15:04:05 Z":             "2006-01-02T15:04:05Z",
		"Mon Jan  2 15:04:05 2006":                   "2006-01-02T15:04:05Z",
		"Mon Jan  2 15:04:05 CET 2006":               "2006-01-02T14:04:05Z",
		"Mon, Jan 2 2006 15:04:05 -0700":             "2006-01-02T22:04:05Z",
		"Mon (first), 2 (day) Jan 2006 (y) 15:04:05": "2006-01-02T15:04:05Z",
		"2006-01-02T15:04:05Z":                       "2006-01-02T15:04:05Z",
		"2006-01-02T15:04:05.678+02:00":              "2006-01-02T13:04:05Z",
		"2006-01-02 15:04:05 +0200":                  "2006-01-02T13:04:05Z",
		"02-Jan-2006 15:04:05 +0200":                 "2006-01-02T13:04:05Z",
		"Mon, 2 Jan 2006 3:04:05 PM":                 "2006-01-02T15:04:05Z",
		"Mon, 2 Jan 2006 15:04:05 GMT+0200":          "2006-01-02T13:04:05Z",
		"Fri, 31 Dec 1999 23:59:60 +0000":            "2000-01-01T00:00:00Z",
		"Mon, 2 Jan 2006 15:04:05 A":                 "2006-01-02T15:04:05Z",
		"Mon, 2 Jan 2006":                            "2006-01-02T00:00:00Z",
	} {
		if got, ok := ParseDate(in); !ok || !got.Equal(at(want)) {
			t.Errorf("%q is read as %v, %v; want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "yesterday", "Mon, 32 Jan 2006 15:04:05", "2 Foo 2006 15:04:05", "2 Jan 2006 25:04:05 +0000", "2 Jan 2006 15:04:05:06",
		"-", "+", "--", "a-b-c", "::", "Jan 2006", "99999999999999999999 Jan 2006"} {
		if got, ok := ParseDate(in); ok {
			t.Errorf("%q is read as %v", in, got)
		}
	}
}

// The end of an encoded word is not looked for in all that follows.
func TestEncodedWordIsBounded(t *testing.T) {
	for n, whole := range map[int]bool{maxWord: true, maxWord + 1: false} {
		in := "=?utf-8?q?" + strings.Repeat("a", n) + "?="
		if got := DecodeWords(in); (got == strings.Repeat("a", n)) != whole || !whole && got != in {
			t.Errorf("a word of %d octets becomes one of %d", n, len(got))
		}
	}
}

func TestDecodeWords(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"plain text":                            "plain text",
		"=?utf-8?q?Gr=C3=BC=C3=9Fe?=":           "Grüße",
		"=?UTF-8?B?R3LDvMOfZQ==?=":              "Grüße",
		"=?iso-8859-1?Q?Gr=FC=DFe?=":            "Grüße",
		"a =?utf-8?q?b?= c":                     "a b c",
		"=?utf-8?q?a?= =?utf-8?q?b?=":           "ab",
		"=?utf-8?q?a?=\t =?utf-8?q?b?=":         "ab",
		"=?utf-8?q?a_?= =?utf-8?q?b?= c":        "a b c",
		"=?utf-8?q?=C3?= =?utf-8?q?=A4?=":       "ä",
		"=?utf-8?b?4pyT?= =?iso-8859-1?q?=E4?=": "✓ä",
		"=?utf-8*en?q?a?=":                      "a",
		"=?utf-8?q?a b?=":                       "a b",
		"=?utf-8?x?a?=":                         "=?utf-8?x?a?=",
		"=?utf-8?q?a":                           "=?utf-8?q?a",
		"=??q?a?=":                              "=??q?a?=",
		"=?":                                    "=?",
		"=?=?utf-8?q?a?=":                       "=?a",
		"=?no-such?q?a=E4?=":                    "aä",
		"=?utf-8?b?R3LDvMOfZQ?=":                "Grüße",
		"=?gb2312?b?xOO6ww==?=":                 "你好",
		"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=":    "日本",
		"=?koi8-r?q?=EC?=":                      "Л",
		"=?utf-7?q?+AOQ-?=":                     "ä",
		"Gr\xfc\xdfe":                           "Grüße",
		"Grüße":                                 "Grüße",
	} {
		if got := DecodeWords(in); got != want {
			t.Errorf("%q is read as %q, want %q", in, got, want)
		}
	}
}

// RFC 5256 section 2.1. A mark of a reply or forward is what section 3 calls one: "re", "fw", "fwd", "(fwd)" or "[fwd:".
func TestBaseSubject(t *testing.T) {
	for in, want := range map[string]struct {
		base  string
		reply bool
	}{
		"":                                   {"", false},
		"lunch":                              {"lunch", false},
		"Re: lunch":                          {"lunch", true},
		"RE: re :fwd: Fw: lunch (fwd) (FWD)": {"lunch", true},
		"lunch (fwd)":                        {"lunch", true},
		"[list] lunch":                       {"lunch", false},
		"Re: [list] Re: [list] lunch":        {"lunch", true},
		"[list]":                             {"[list]", false},
		"re[2]: lunch":                       {"lunch", true},
		"[a] [b] re [c] : lunch":             {"lunch", true},
		"[Fwd: Re: lunch]":                   {"lunch", true},
		"[fwd: [list] lunch (fwd)]":          {"lunch", true},
		"lunch\t and\r\n more":               {"lunch and more", false},
		"Re:lunch":                           {"lunch", true},
		"Reply to lunch":                     {"Reply to lunch", false},
		"Regarding: lunch":                   {"Regarding: lunch", false},
		"[\u4f1a\u8b70] Re: lunch":           {"lunch", true},
		"=?utf-8?q?Re=3A?= =?utf-8?q?_Gr=C3=BC=C3=9Fe?=": {"Gr\u00fc\u00dfe", true},
		"Re: ":  {"", true},
		"(fwd)": {"", true},
		"[":     {"[", false}, "[]": {"[]", false}, "[a[b]] c": {"[a[b]] c", false},
		strings.Repeat("[a]", 20_000) + "lunch":   {"lunch", false}, // and in no time
		strings.Repeat("[a]", 20_000) + "re:":     {"", true},
		strings.Repeat("[fwd:", 10_000) + "lunch": {strings.Repeat("[fwd:", 10_000) + "lunch", false},
	} {
		if base, reply := BaseSubject(in); base != want.base || reply != want.reply {
			t.Errorf("%.80q has the base %.80q, reply %v; want %.80q, %v", in, base, reply, want.base, want.reply)
		}
	}
}

func TestReferences(t *testing.T) {
	one := ReferenceOf("<a@x>")
	for in, same := range map[string]bool{
		"<a@x>":           true,
		"(c) <a@x> <b@x>": true,
		`<"a"@x>`:         true, // RFC 5256 section 3: quoting makes no difference.
		"< a @ x >":       true,
		"<A@x>":           false,
		"<b@x>":           false,
		"<x<a@x>":         true, // never closed
		"<nothing> <a@x>": true, // no msg-id
	} {
		if got := ReferenceOf(in); (got == one) != same || got == 0 {
			t.Errorf("%s: %x, <a@x>: %x", in, got, one)
		}
	}
	for _, in := range []string{"", "a@x", "<a@x", "<>", "<a>", "<@x>", "<a@>", "<", ">"} {
		if got := ReferenceOf(in); got != 0 {
			t.Errorf("%s: %x", in, got)
		}
	}
	if got := References("<a@x> <b@x>,<a@x>"); len(got) != 3 || got[0] != one || got[2] != one {
		t.Errorf("%x", got)
	}
	var long strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&long, " <%d@x>", i)
	}
	got := References(long.String())
	if len(got) != maxReferences || got[0] != ReferenceOf("<0@x>") || got[1] != ReferenceOf(fmt.Sprintf("<%d@x>", 1001-maxReferences)) || got[maxReferences-1] != ReferenceOf("<999@x>") {
		t.Errorf("of 1000 ids %d are kept", len(got))
	}
	if s := scan(crlf("Message-ID: <c@x>", "References: <a@x>", " <b@x>", "", "")); len(s.References) != 2 || s.References[0] != one {
		t.Errorf("a message refers to %x", s.References)
	}
}

func TestKeys(t *testing.T) {
	keys := func(lines ...string) []uint64 {
		s := scan(crlf(append(lines, "", "")...))
		return s.Keys
	}
	share := func(a, b []uint64) bool {
		for _, x := range a {
			for _, y := range b {
				if x == y {
					return true
				}
			}
		}
		return false
	}
	first := keys("Message-ID: <1@x>", "Subject: Lunch")
	if len(first) != 1 {
		t.Fatalf("%d keys", len(first))
	}
	reply := keys("Message-ID: <2@x>", "In-Reply-To: <1@x>", "References: <1@x>", "Subject: Re: lunch")
	if !share(first, reply) || len(reply) != 2 {
		t.Error("a reply does not share a key with what it replies to")
	}
	if own := keys("Message-ID: <2@x>", "Subject: [list] LUNCH"); own[0] != reply[0] {
		t.Error("a message's own key is not the first")
	}
	if share(first, keys("Message-ID: <3@x>", "In-Reply-To: <1@x>", "Subject: dinner")) {
		t.Error("another subject shares a key")
	}
	if share(first, keys("Message-ID: <4@x>", "Subject: lunch")) {
		t.Error("another message shares a key")
	}
	if siblings := keys("Message-ID: <5@x>", "References: <1@x> <2@x>", "Subject: lunch"); !share(siblings, reply) || !share(siblings, first) {
		t.Error("References count for nothing")
	}
	if got := keys("Subject: lunch"); got != nil {
		t.Error("a message without ids has keys")
	}
	var chain strings.Builder
	for i := range 500 {
		chain.WriteString(" <" + strings.Repeat("r", i%7+1) + time.Unix(int64(i), 0).UTC().Format("150405") + "@x>")
	}
	long := keys("Message-ID: <own@x>", "References:"+chain.String(), "Subject: lunch")
	if len(long) != maxKeys || long[0] != keys("Message-ID: <own@x>", "Subject: lunch")[0] {
		t.Errorf("%d keys", len(long))
	}
	if !share(long, keys("Message-ID: <r000000@x>", "Subject: lunch")) {
		t.Error("the first reference is left out")
	}
	if !share(long, keys("Message-ID:"+chain.String()[strings.LastIndex(chain.String(), " "):], "Subject: lunch")) {
		t.Error("the last reference is left out")
	}
}
