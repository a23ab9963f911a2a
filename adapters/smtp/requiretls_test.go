package smtp

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/queue"
)

// TestWhatSendersDemandOfTheWay reaches the queue: REQUIRETLS, which is offered inside TLS only (RFC 8689 section 4.1), or the field TLS-Required, which does not count beside it.
func TestWhatSendersDemandOfTheWay(t *testing.T) {
	s, q := startQueue(t, Submission)
	c := s.login()
	if caps := c.do("EHLO x", "250 "); strings.Contains(caps, "REQUIRETLS") {
		t.Errorf("it is offered without TLS: %s", caps)
	}
	c.do("MAIL FROM:<alice@example.org> REQUIRETLS", "504 5.5.4")
	c = s.hello().starttls()
	if caps := c.do("EHLO x", "250 "); !strings.Contains(caps, "250-REQUIRETLS\r\n") {
		t.Errorf("it is not offered: %s", caps)
	}
	c.do(plainAuth("alice@example.org", "secret"), "235 ")
	for _, m := range []struct{ parameter, field, want string }{
		{"", "", ""}, {" REQUIRETLS", "", queue.TLSRequired}, {"", "TLS-Required: No\r\n", queue.TLSOptional}, {"", "tls-required:\r\n no\r\n", ""}, {"", "TLS-Required: no \r\n", queue.TLSOptional},
		{"", "TLS-Required: Yes\r\n", ""}, {" REQUIRETLS", "TLS-Required: No\r\n", queue.TLSRequired},
	} {
		c.do("MAIL FROM:<alice@example.org>"+m.parameter, "250 ")
		c.do("RCPT TO:<x@example.net>", "250 ")
		c.do("DATA", "354 ")
		c.send(dots(m.field + "Subject: hi\r\nFrom: alice@example.org\r\n\r\nTLS-Required: No\r\n"))
		c.expect("250 ")
		if got := q.last().TLS; got != m.want {
			t.Errorf("%q, %q: %q, want %q", m.parameter, m.field, got, m.want)
		}
	}
	s = start(t, Submission) // from which nothing leaves
	if caps := s.hello().starttls().do("EHLO x", "250 "); strings.Contains(caps, "REQUIRETLS") {
		t.Errorf("%s", caps)
	}
}
