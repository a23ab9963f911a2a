package smtp

import (
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/batv"
	"github.com/streampost/streampost/domain/delivery"
)

// TestReportsToMarkedSenders (BATV) arrive, and where it is configured those to others are refused.
func TestReportsToMarkedSenders(t *testing.T) {
	marks := batv.Secret("marks")
	now := time.Now().Unix()
	alice := delivery.Address{Local: "alice", Domain: "example.org"}
	good, old := marks.Mark(alice, now).String(), marks.Mark(alice, now-30*86_400).String()
	forged := batv.Secret("others").Mark(alice, now).String()
	for _, check := range []bool{false, true} {
		s := start(t, MX, withSRS, func(c *Config) { c.BATV, c.CheckBounces = marks, check })
		refused, unknown := "250 ", "550 5.1.1"
		if check {
			refused, unknown = "550 5.7.1", "550 5.7.1"
		}
		c := s.hello()
		c.do("MAIL FROM:<>", "250 ")
		c.do("RCPT TO:<alice@example.org>", refused)
		c.do("RCPT TO:<"+old+">", unknown)
		c.do("RCPT TO:<"+forged+">", unknown)
		c.do("RCPT TO:<postmaster>", "250 ")
		c.do("RSET", "250 ")
		c.do("MAIL FROM:<x@example.net>", "250 ")
		c.do("RCPT TO:<alice@example.org>", "250 ")
		c.do("RCPT TO:<"+forged+">", "550 5.1.1")
		c.do("RSET", "250 ")
		c.do("MAIL FROM:<>", "250 ")
		c.do("RCPT TO:<"+strings.ToUpper(good)+">", "250 ")
		c.do("DATA", "354 ")
		c.send(dots(hi))
		c.expect("250 ")
		s.only(s.alice, "INBOX")
	}
}
