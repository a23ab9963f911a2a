package message

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestPreview(t *testing.T) {
	const alternative = "Content-Type: multipart/alternative; boundary=b"
	cases := []struct {
		name string
		text []byte
		want string
	}{
		{"nothing", nil, ""},
		{"white space is squeezed", crlf("", "  Hello \t Bob,", "", "", "how are you?", ""), "Hello Bob, how are you?"},
		{"quotes and rulers are left out", crlf("", "> old", "-----", "new", ">> older", "_____"), "new"},
		{"unless there is nothing else", crlf("", "> old", "> text"), "> old > text"},
		{"quoted-printable in ISO-8859-1", crlf("Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: quoted-printable", "",
			"Sch=F6ne Gr=FC=", "=DFe"), "Schöne Grüße"},
		{"base64 in UTF-8", crlf("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", "", "U2Now7ZuZSBHcsO8w59l"), "Schöne Grüße"},
		{"an unknown transfer encoding", crlf("Content-Transfer-Encoding: x-uuencode", "", "begin 644 x"), ""},
		{"plain text before HTML", crlf(alternative, "", "--b", "Content-Type: text/html", "", "<b>html</b>", "--b", "", "plain", "--b--"), "plain"},
		{"HTML when plain text is empty", crlf(alternative, "", "--b", "", "", "--b", "Content-Type: text/html", "", "<b>html</b>", "--b--"), "html"},
		{"HTML", crlf("Content-Type: text/html", "", "<html><head><title>T</title><style>p {x: y}</style></head>", "<body><!-- no > -->",
			"<p class='a>b'>Hello&nbsp;<b>Bob</b> &amp; Al,</p><script>if (a<b) alert('</x>')</script>", "<div>1 &lt; 2&#33; &#x263A; &unknown; & a<br>b</div>"),
			"Hello Bob & Al, 1 < 2! ☺ &unknown; & a b"},
		{"no attachments", crlf("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Disposition: attachment", "", "file", "--b", "", "text", "--b--"), "text"},
		{"no embedded messages", crlf("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: message/rfc822", "", "", "inner", "--b--"), ""},
		{"the delimiter is no text", crlf("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "a", "--b", "Subject: x"), "a"},
		{"invisible padding", crlf("Content-Type: text/html; charset=utf-8", "", "Sale!&zwnj;&nbsp;\u034f \u034f \u200b&shy; Now"), "Sale! Now"},
	}
	for _, c := range cases {
		s := scan(c.text)
		if s.Preview != c.want {
			t.Errorf("%s: got %q, want %q", c.name, s.Preview, c.want)
		}
	}
}

func TestPreviewIsShort(t *testing.T) {
	for _, line := range []string{"ä", "word ", strings.Repeat("ü", 500), "a\r\n", "> q\r\n"} {
		s := scan([]byte("Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat(line, 10000)))
		if n := utf8.RuneCountInString(s.Preview); n > 200 || n < 199 || !utf8.ValidString(s.Preview) {
			t.Errorf("%q makes a preview of %d characters: %q", line[:2], n, s.Preview)
		}
	}
	late := scan([]byte("\r\n" + strings.Repeat("> quoted\r\n", 1000) + "new"))
	if late.Preview != "new" {
		t.Errorf("what follows ten kilobytes of quotes is shown as %q", late.Preview)
	}
	far := scan([]byte("\r\n" + strings.Repeat("> quoted\r\n", 5000) + "new"))
	if !strings.HasPrefix(far.Preview, "> quoted > quoted") {
		t.Errorf("a sample of quotes only is shown as %q", far.Preview)
	}
}

func TestHTMLText(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"a < b <3 <":                      "a < b <3 ",
		"<a":                              "",
		"a<b":                             "a",
		"<!-->a":                          "a",
		"<!-- -- > -->a<!--":              "a",
		"<!DOCTYPE html>a<?xml x?>b":      "ab",
		`<a href="x>y" title='>'>b</a>`:   "b",
		"<a title=it's>b</a>":             "b",
		"<SCRIPT>x</SCRIPT>a":             "a",
		"<script>x</b></script >a":        "a",
		"<td>a</td><td>b</td>":            " a  b ",
		"&Lambda;&nbsp;&copy2024&nosuch;": "Λ ©2024&nosuch;",
		"&#0;&#xD800;&#x110000;&#65&#65;": "\ufffd\ufffd\ufffdAA",
		"&amp":                            "&",
		"&":                               "&",
		"<p>a</p>":                        "\na\n",
		"a\nb":                            "a b",
		"ä\xff":                           "ä\xff",
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			if got, err := io.ReadAll(HTMLText(r)); err != nil || string(got) != want {
				t.Errorf("%q is read as %q, %v; want %q", in, got, err, want)
			}
		}
	}
}
