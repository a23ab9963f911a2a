package message

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// crlf makes a message of lines.
func crlf(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n")) }

// outline shows a part tree with the octets of every leaf: what a client would be served.
func outline(text []byte, p *Part) string {
	kind := p.Type + "/" + p.Subtype
	if len(p.Parts) == 0 {
		return fmt.Sprintf("%s%q", kind, text[p.Body:p.End])
	}
	var sub []string
	for i := range p.Parts {
		sub = append(sub, outline(text, &p.Parts[i]))
	}
	return kind + "(" + strings.Join(sub, " ") + ")"
}

func TestStructure(t *testing.T) {
	const mixed = "Content-Type: multipart/mixed; boundary=b"
	cases := []struct {
		name string
		text []byte
		want string
	}{
		{"nothing", nil, `text/plain""`},
		{"one line end", crlf("", ""), `text/plain""`},
		{"a body only", crlf("", "hello", ""), `text/plain"hello\r\n"`},
		{"a header only", crlf("Subject: x"), `text/plain""`},
		{"a header and its end", crlf("Subject: x", "", ""), `text/plain""`},
		{"a plain message", crlf("Subject: x", "", "hello", "", "you"), `text/plain"hello\r\n\r\nyou"`},
		{"LF only", []byte("Subject: x\n\nhello\n"), `text/plain"hello\n"`},
		{"LF only, multipart", []byte(mixed + "\n\n--b\n\none\n--b\n\ntwo\n--b--\n"), `multipart/mixed(text/plain"one" text/plain"two")`},
		{"mixed line ends", []byte(mixed + "\r\n\n--b\r\n\none\n--b\n\r\ntwo\r\n--b--"), `multipart/mixed(text/plain"one" text/plain"two")`},
		{"bare CR is no line end", crlf("Subject: x\rContent-Type: text/html", "", "a\r\rb"), `text/plain"a\r\rb"`},
		{"bare CR before a boundary", []byte(mixed + "\r\n\r\n--b\r\n\r\none\r--b--\r\n--b--"), `multipart/mixed(text/plain"one\r--b--")`},
		{"NUL", []byte("Subject: x\x00\r\n\r\na\x00b"), `text/plain"a\x00b"`},
		{"an mbox line first", crlf("From alice@example.org Mon Jan  1 00:00:00 2024", "Content-Type: text/html", "", "x"), `text/html"x"`},
		{"text without a header", crlf("hello you", "how are you?", "", "fine"), `text/plain"fine"`},
		{"white space is no empty line", crlf("Subject: x", "  ", "Content-Type: text/html", "", "y"), `text/html"y"`},
		{"white space before the colon", crlf("Content-Type : text/html", "", "y"), `text/html"y"`},
		{"names in any case", crlf("cOnTeNt-tYpE: TEXT/Html", "", "y"), `text/html"y"`},
		{"the first of two types counts", crlf("Content-Type: text/html", "Content-Type: text/csv", "", "y"), `text/html"y"`},
		{"a type without a subtype", crlf("Content-Type: text", "", "y"), `text/plain"y"`},
		{"a type that is none", crlf("Content-Type: =?x?=", "", "y"), `text/plain"y"`},
		{"a comment in the type", crlf("Content-Type: (a) text (b) / (c) html (d)", "", "y"), `text/html"y"`},

		{"preamble and epilogue", crlf(mixed, "", "preamble", "--b", "", "one", "--b--", "epilogue", "--b", "", "no part"),
			`multipart/mixed(text/plain"one")`},
		{"a boundary right after the header", crlf(mixed, "", "--b", "", "one", "--b--"), `multipart/mixed(text/plain"one")`},
		{"empty parts", crlf(mixed, "", "--b", "", "", "--b", "", "--b", "--b--", ""),
			`multipart/mixed(text/plain"" text/plain"" text/plain"")`},
		{"a part ends with an empty line", crlf(mixed, "", "--b", "", "one", "", "--b--"), `multipart/mixed(text/plain"one\r\n")`},
		{"a part of header only", crlf(mixed, "", "--b", "Content-Type: text/html", "--b", "", "two", "--b--"),
			`multipart/mixed(text/html"" text/plain"two")`},
		{"no end boundary", crlf(mixed, "", "--b", "", "one", "--b", "", "two", ""), `multipart/mixed(text/plain"one" text/plain"two\r\n")`},
		{"the end boundary is the last octet", crlf(mixed, "", "--b", "", "one", "--b--"), `multipart/mixed(text/plain"one")`},
		{"padding after a boundary", crlf(mixed, "", "--b \t ", "", "one", "--b-- ", "x"), `multipart/mixed(text/plain"one")`},
		{"a longer line is no boundary", crlf(mixed, "", "--b", "", "--bc", "--b-", "--b---", "--b--x", "--b x", "-- b", "--b--"),
			`multipart/mixed(text/plain"--bc\r\n--b-\r\n--b---\r\n--b--x\r\n--b x\r\n-- b")`},
		{"a boundary inside a line is none", crlf(mixed, "", "--b", "", "x--b", " --b", "--b--"), `multipart/mixed(text/plain"x--b\r\n --b")`},
		{"a quoted boundary", crlf(`Content-Type: multipart/mixed; boundary="a b:?\"c"`, "", `--a b:?"c`, "", "one", `--a b:?"c--`),
			`multipart/mixed(text/plain"one")`},
		{"a boundary that ends in dashes", crlf("Content-Type: multipart/mixed; boundary=b--", "", "--b--", "", "one", "--b----"),
			`multipart/mixed(text/plain"one")`},
		{"a boundary in an RFC 2231 form", crlf("Content-Type: multipart/mixed; boundary*0=a;", " boundary*1=b", "", "--ab", "", "one", "--ab--"),
			`multipart/mixed(text/plain"one")`},
		{"no boundary parameter", crlf("Content-Type: multipart/mixed", "", "--b", "", "one", "--b--"),
			`text/plain"--b\r\n\r\none\r\n--b--"`},
		{"no boundary in the body", crlf(mixed, "", "one", "two"), `multipart/mixed"one\r\ntwo"`},
		{"a message ends within the multipart's header", crlf(mixed), `multipart/mixed""`},

		{"nested", crlf(mixed, "", "--b", "Content-Type: multipart/alternative; boundary=c", "", "pre", "--c", "", "one", "--c",
			"Content-Type: text/html", "", "two", "--c--", "post", "--b", "", "three", "--b--"),
			`multipart/mixed(multipart/alternative(text/plain"one" text/html"two") text/plain"three")`},
		{"the outer boundary ends the inner multipart", crlf(mixed, "", "--b", "Content-Type: multipart/related; boundary=c", "", "--c", "", "one",
			"--b", "", "two", "--b--"), `multipart/mixed(multipart/related(text/plain"one") text/plain"two")`},
		{"the outer end ends the inner multipart's header", crlf(mixed, "", "--b", "Content-Type: multipart/related; boundary=c", "--b--", "x"),
			`multipart/mixed(multipart/related"")`},
		{"nested with the same boundary", crlf(mixed, "", "--b", mixed, "", "--b", "", "one", "--b--", "--b", "", "two", "--b--"),
			`multipart/mixed(multipart/mixed(text/plain"one") text/plain"two")`},
		{"one boundary begins with the other", crlf("Content-Type: multipart/mixed; boundary=bb", "", "--bb", mixed, "", "--b", "", "one",
			"--bb", "", "two", "--bb--"), `multipart/mixed(multipart/mixed(text/plain"one") text/plain"two")`},

		{"a message in a message", crlf("Content-Type: message/rfc822", "", "Subject: inner", "Content-Type: text/html", "", "one"),
			`message/rfc822(text/html"one")`},
		{"a message without a body in a part", crlf(mixed, "", "--b", "Content-Type: message/rfc822", "", "Subject: inner", "--b--"),
			`multipart/mixed(message/rfc822(text/plain""))`},
		{"an empty message in a part", crlf(mixed, "", "--b", "Content-Type: message/rfc822", "", "--b", "", "two", "--b--"),
			`multipart/mixed(message/rfc822(text/plain"") text/plain"two")`},
		{"a multipart in a message in a multipart", crlf(mixed, "", "--b", "Content-Type: message/rfc822", "", "Content-Type: multipart/mixed; boundary=c",
			"", "--c", "", "one", "--c--", "", "--b", "", "two", "--b--"),
			`multipart/mixed(message/rfc822(multipart/mixed(text/plain"one")) text/plain"two")`},
		{"an internationalised message", crlf("Content-Type: message/global", "", "Subject: ä", "", "one"), `message/global(text/plain"one")`},
		{"an encoded message is not looked into", crlf("Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "", "U3ViamVjdDogeA=="),
			`message/rfc822"U3ViamVjdDogeA=="`},
		{"other message types are leaves", crlf("Content-Type: message/delivery-status", "", "Reporting-MTA: dns; x", "", "Action: failed"),
			`message/delivery-status"Reporting-MTA: dns; x\r\n\r\nAction: failed"`},
		{"a digest's parts are messages", crlf("Content-Type: multipart/digest; boundary=b", "", "--b", "", "Subject: one", "", "1",
			"--b", "Content-Type: text/plain", "", "2", "--b--"),
			`multipart/digest(message/rfc822(text/plain"1") text/plain"2")`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := scan(c.text)
			if got := outline(c.text, &s.Root); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			checkOffsets(t, &s, int64(len(c.text)))
			if got := scan(c.text, 1); !reflect.DeepEqual(got, s) {
				t.Errorf("octet by octet it is %s", outline(c.text, &got.Root))
			}
		})
	}
}

func TestOffsetsOfHeaders(t *testing.T) {
	text := crlf("From: a@x", "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-ID: <1>", "", "one", "two", "--b", "Content-ID: <2>",
		"Content-Type: message/rfc822", "", "Subject: inner", "", "three", "--b--", "")
	s := scan(text)
	header := func(p *Part) string { return string(text[p.Start:p.Body]) }
	for path, want := range map[*Part]string{
		&s.Root:                   "From: a@x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
		&s.Root.Parts[0]:          "Content-ID: <1>\r\n\r\n",
		&s.Root.Parts[1]:          "Content-ID: <2>\r\nContent-Type: message/rfc822\r\n\r\n",
		&s.Root.Parts[1].Parts[0]: "Subject: inner\r\n\r\n",
	} {
		if got := header(path); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if lines := s.Root.Parts[0].Lines; lines != 1 { // The last line end belongs to the boundary.
		t.Errorf("%d lines", lines)
	}
	if inner := s.Root.Parts[1]; inner.Lines != 2 || inner.Parts[0].Lines != 0 || inner.Size() != int64(len("Subject: inner\r\n\r\nthree")) {
		t.Errorf("%d and %d lines, %d octets", inner.Lines, inner.Parts[0].Lines, inner.Size())
	}
	if s.Root.Lines != 13 {
		t.Errorf("%d lines in all", s.Root.Lines)
	}
}

func TestContentFields(t *testing.T) {
	s := scan(crlf("MIME-Version: 1.0",
		"Content-Type: Image/PNG; Name=\"a\\\"b.png\"; x-mode=0644",
		"Content-Transfer-Encoding: BASE64 (of course)",
		"Content-ID: <1@x>",
		"Content-Description: =?utf-8?q?ein_Bild?=",
		"\tfolded",
		"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==",
		"Content-Disposition: ATTACHMENT; filename*=iso-8859-1'de'Gr%FC%DFe.png; size=12",
		"Content-Language: de, en-GB (mostly)",
		"Content-Location: http://example.org/",
		"  a/b.png", "", "AAAA"))
	want := Part{Type: "image", Subtype: "png", Params: []Param{{"name", `a"b.png`}, {"x-mode", "0644"}}, Encoding: "base64", ID: "<1@x>",
		Description: "=?utf-8?q?ein_Bild?=\tfolded", MD5: "Q2hlY2sgSW50ZWdyaXR5IQ==", Disposition: "attachment",
		DispParams: []Param{{"filename", "Grüße.png"}, {"size", "12"}}, Language: []string{"de", "en-GB"}, Location: "http://example.org/a/b.png",
		Body: s.Root.Body, End: s.Root.End}
	if !reflect.DeepEqual(s.Root, want) {
		t.Errorf("got  %+v\nwant %+v", s.Root, want)
	}
	if got, want := string(AppendStructure(nil, &s.Root, true)), `("image" "png" ("name" "a\"b.png" "x-mode" "0644") "<1@x>" "=?utf-8?q?ein_Bild?=	folded" "base64" 4`+
		` "Q2hlY2sgSW50ZWdyaXR5IQ==" ("attachment" ("filename*" "utf-8''Gr%C3%BC%C3%9Fe.png" "size" "12")) ("de" "en-GB") "http://example.org/a/b.png")`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(AppendStructure(nil, &s.Root, false)), `("image" "png" ("name" "a\"b.png" "x-mode" "0644") "<1@x>" "=?utf-8?q?ein_Bild?=	folded" "base64" 4)`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := s.Root.Filename(); got != "Grüße.png" {
		t.Errorf("the file name is %q", got)
	}
}

func TestAppendStructure(t *testing.T) {
	const mixed = "Content-Type: multipart/mixed; boundary=b"
	cases := []struct {
		name           string
		text           []byte
		body, extended string
	}{
		{"no header", crlf("", "a", "b", ""),
			`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 2)`,
			`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 2 NIL NIL NIL NIL)`},
		{"siblings", crlf(mixed, "", "--b", "", "a", "--b", "Content-Type: application/pdf", "", "b", "--b--"),
			`(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)("application" "pdf" NIL NIL NIL "7bit" 1) "mixed")`,
			`(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0 NIL NIL NIL NIL)("application" "pdf" NIL NIL NIL "7bit" 1 NIL NIL NIL NIL) "mixed" ("boundary" "b") NIL NIL NIL)`},
		{"a multipart without parts", crlf(mixed, "", "a"),
			`(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")`,
			`(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed" ("boundary" "b") NIL NIL NIL)`},
		{"a message", crlf("Content-Type: message/rfc822", "", "Subject:", "", "a", ""),
			`("message" "rfc822" NIL NIL NIL "7bit" 15 (NIL "" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1) 3)`,
			`("message" "rfc822" NIL NIL NIL "7bit" 15 (NIL "" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)`},
		{"an encoded message", crlf("Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "", "AAAA"),
			`("message" "rfc822" NIL NIL NIL "base64" 4 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) 0)`,
			`("message" "rfc822" NIL NIL NIL "base64" 4 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) 0 NIL NIL NIL NIL)`},
		{"a disposition without parameters", crlf("Content-Disposition: inline", "Content-Language: en", "", ""),
			`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)`,
			`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL ("inline" NIL) "en" NIL)`},
		{"raw octets are a literal", []byte("Content-Description: \xe4\r\n\r\n"),
			"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL {1}\r\n\xe4 \"7bit\" 0 0)",
			"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL {1}\r\n\xe4 \"7bit\" 0 0 NIL NIL NIL NIL)"},
	}
	for _, c := range cases {
		s := scan(c.text)
		if got := string(AppendStructure(nil, &s.Root, false)); got != c.body {
			t.Errorf("%s: BODY is\n%s, want\n%s", c.name, got, c.body)
		}
		if got := string(AppendStructure(nil, &s.Root, true)); got != c.extended {
			t.Errorf("%s: BODYSTRUCTURE is\n%s, want\n%s", c.name, got, c.extended)
		}
	}
}

func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                        `""`,
		"a b":                     `"a b"`,
		`a"b\c`:                   `"a\"b\\c"`,
		"a\tb":                    "\"a\tb\"",
		"ä":                       "{2}\r\nä",
		"a\r\nb":                  "{4}\r\na\r\nb",
		"a\x00b":                  `"ab"`,
		"\xff\x00\\":              "{2}\r\n\xff\\",
		strings.Repeat("x", 1001): "{1001}\r\n" + strings.Repeat("x", 1001),
	} {
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("%q is written %q, want %q", in, got, want)
		}
	}
}
