package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/integration/stack"
	"github.com/streampost/streampost/projections/door/doortest"
)

// BenchmarkResync measures how a client comes back to a mailbox of 100,000 messages of which 100 have changed, on a server with log, views and blobs on
// disk: whole commands over a loopback connection, and the octets of their answers.
func BenchmarkResync(b *testing.B) {
	behind := stack.New(b)
	s := start(b, func(c *Config) { c.Accounts, c.Directory = behind.Accounts, behind.Directory })
	s.Node = &doortest.Node{Accounts: behind.Accounts, Directory: behind.Directory}
	s.account = behind.AddAccount(b, alice, password)
	const messages = 100_000
	stored, err := behind.Accounts.Ingest(b.Context(), strings.NewReader(rfcExample))
	if err != nil {
		b.Fatal(err)
	}
	for range 1000 {
		if _, err := doortest.Add(b.Context(), behind.Accounts, s.account, "INBOX", stored); err != nil {
			b.Fatal(err)
		}
	}
	do := func(c account.Command) {
		if _, err := behind.Accounts.Do(b.Context(), s.account, "test", c); err != nil {
			b.Fatal(err)
		}
	}
	for range messages/1000 - 1 {
		do(account.Transfer{From: 1, To: "INBOX", UIDs: domain.UIDSet{{Lo: 1, Hi: 1000}}, Now: 1})
	}
	behind.Settle()
	since := s.modseq()
	for i := range domain.UID(50) {
		do(account.Expunge{Mailbox: 1, UIDs: domain.UIDs(1 + i*1999), Any: true})
		do(account.StoreFlags{Mailbox: 1, UIDs: domain.UIDs(1000 + i*1999), Mode: account.AddFlags, Flags: []string{`\Seen`}})
	}
	behind.Settle()
	c := s.aware()
	c.cmd("SELECT INBOX").ok()
	for name, command := range map[string]string{
		"SELECT":             "SELECT INBOX",
		"QRESYNC":            fmt.Sprintf("SELECT INBOX (QRESYNC (%d %d))", s.validity(), since),
		"QRESYNC with UIDs":  fmt.Sprintf("SELECT INBOX (QRESYNC (%d %d 1:%d))", s.validity(), since, messages),
		"nothing changed":    fmt.Sprintf("SELECT INBOX (QRESYNC (%d %d))", s.validity(), s.modseq()),
		"UID FETCH VANISHED": fmt.Sprintf("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)", since),
		"FETCH 1:* (FLAGS)":  "FETCH 1:* (FLAGS)",
		"STATUS":             "STATUS INBOX (HIGHESTMODSEQ)",
		"UID SEARCH MODSEQ":  fmt.Sprintf("UID SEARCH MODSEQ %d", since+1),
		"NOOP":               "NOOP",
	} {
		b.Run(name, func(b *testing.B) {
			c.t = b
			octets := 0
			b.ReportAllocs()
			for b.Loop() {
				a := c.begin("%s", command)
				octets = 0
				for line := ""; !strings.HasPrefix(line, a+" "); {
					text, err := c.r.ReadSlice('\n')
					if err != nil {
						b.Fatal(err)
					}
					octets += len(text)
					if text[0] == 'a' {
						line = string(text)
					}
				}
			}
			b.ReportMetric(float64(octets), "octets")
		})
	}
}
