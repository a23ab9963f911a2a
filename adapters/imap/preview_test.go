package imap

import "testing"

// RFC 8970 section 3: what a message begins with, decoded; "" where there is no text. LAZY changes nothing, since it is always there.
func TestPreview(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", "Subject: x\r\nContent-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n8NLJ18XU\r\n")
	s.deliver("INBOX", "Subject: x\r\nContent-Type: text/html\r\n\r\n<style>p {}</style><p>Hello &amp;\r\n  <b>goodbye</b>\r\n")
	s.deliver("INBOX", "Subject: x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n")
	s.deliver("INBOX", "Subject: x\r\n\r\n")
	c := s.selected("INBOX")
	for _, item := range []string{"PREVIEW", "(PREVIEW (LAZY))"} {
		c.cmd("FETCH 1:4 %s", item).want("* 1 FETCH (PREVIEW {12}\r\n\u041f\u0440\u0438\u0432\u0435\u0442)", `* 2 FETCH (PREVIEW "Hello & goodbye")`, `* 3 FETCH (PREVIEW "")`,
			`* 4 FETCH (PREVIEW "")`, "OK ...")
	}
	c.cmd("FETCH 1 (PREVIEW ())").bad() // section 6: preview-mod is not optional inside parentheses.
	c.cmd("FETCH 1 (PREVIEW (EAGER))").bad()
}
