package smtp

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// go-smtp repeats to clients what they said, a CR inside a line included.
var replyLine = regexp.MustCompile(`^[2345]\d\d[ -][^\n]*\r\n$`)

// FuzzSMTPSession sends whatever the fuzzer thinks of to each kind of server. The session must end, speak in well-formed replies, and store
// as many messages as it says.
func FuzzSMTPSession(f *testing.F) {
	mail := "MAIL FROM:<x@example.net>\r\nRCPT TO:<alice@example.org>\r\n"
	auth := plainAuth("alice@example.org", "secret") + "\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
	for kind := range byte(3) {
		hello := "EHLO x\r\n"
		if Kind(kind) == LMTP {
			hello = "LHLO x\r\n"
		}
		for _, s := range []string{
			mail + "DATA\r\n" + dots(hi) + "QUIT\r\n", mail + "DATA\r\nSubject: a\n.\n\r\n.\r\nNOOP\r\n", mail + "BDAT 4\r\nA: bBDAT 4 LAST\r\n\r\n\r\nQUIT\r\n",
			mail + "RCPT TO:<bob+junk@example.org>\r\nDATA\r\n.\r\n", mail + "BDAT 3\r\nxyzRSET\r\n" + mail + "BDAT 0 LAST\r\n", auth + "DATA\r\n\r\n.\r\n",
			"AUTH SCRAM-SHA-256 biwsbj1hbGljZUBleGFtcGxlLm9yZyxyPWFiYw==\r\nYz1iaXdzLHI9YWJjLHA9QUFBQQ==\r\n", "AUTH LOGIN\r\n*\r\n", "STARTTLS\r\n\x16\x03\x01\x00\x05hello",
			"MAIL FROM:<\"a b\"@[IPv6:::1]> SIZE=10 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<@a,@b:alice@example.org>\r\nDATA\r\n..\r\n.\r\n",
		} {
			f.Add(kind, []byte(hello+s))
		}
	}
	var sites []*site
	var sockets []string
	for kind := MX; kind <= LMTP; kind++ {
		s := start(f, kind, func(c *Config) {
			c.Limits.Content.Message = 1 << 16
			c.Limits.Line = netline.Limits{Idle: 5 * time.Second, Grace: 5 * time.Second, Connections: 100}
		})
		path := filepath.Join(f.TempDir(), "s")
		l, err := netline.Listen(context.Background(), "unix:"+path)
		if err != nil {
			f.Fatal(err)
		}
		go func() { _ = s.server.Serve(context.Background(), l, false) }()
		sites, sockets = append(sites, s), append(sockets, path)
	}
	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		n := int(kind) % len(sites)
		s := sites[n]
		before := s.count()
		c, err := net.Dial("unix", sockets[n])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		go func() {
			_, _ = c.Write(in)
			_ = c.(*net.UnixConn).CloseWrite()
		}()
		out, err := io.ReadAll(c)
		if err != nil && !strings.Contains(err.Error(), "reset") { // It closed while we were still talking.
			t.Fatalf("the session does not end: %v after %q", err, out)
		}
		accepted := 0
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "\x15\x03") { // A TLS alert.
				break
			}
			if !replyLine.MatchString(line) {
				t.Fatalf("a malformed reply: %q", line)
			}
			if strings.Contains(line, "Accepted as ") {
				accepted++
			}
		}
		if after := s.count(); err == nil && (after > before) != (accepted > 0) {
			t.Fatalf("%d messages were stored and %d answers say so", after-before, accepted)
		}
	})
}

// count is the number of messages that alice and bob have.
func (s *site) count() (n int64) {
	for _, id := range []domain.AccountID{s.alice, s.bob} {
		err := s.Accounts.View(context.Background(), id, func(state *account.State) error {
			n += state.Usage.Messages
			return nil
		})
		if err != nil {
			panic(fmt.Sprint(err))
		}
	}
	return n
}
