package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-msgauth/dkim"
	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/projections/door"
)

// arrive brings a message by MX and gives the answer to it.
func arrive(t *testing.T, addr, from, text string) string {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(3 * time.Minute))
	c := &lmtpClient{nc, bufio.NewReader(nc)}
	if !c.answer("220") || !c.ask("250", "EHLO mail.example.net") || !c.ask("250", "MAIL FROM:<"+from+">") || !c.ask("250", "RCPT TO:<alice@example.org>") || !c.ask("354", "DATA") {
		t.Fatal("the server does not take a message")
	}
	if _, err := fmt.Fprint(nc, strings.ReplaceAll(text, "\n", "\r\n")+".\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestWhatUsersSendIsSigned: a key signs once its record is in DNS, and what leaves from then on verifies.
func TestWhatUsersSendIsSigned(t *testing.T) {
	t.Parallel()
	names := dnstest.Start(t, "mx.example.org. A 192.0.2.1", `example.org. MX 10 mx.example.org.`)
	peer := newSink(t)
	s := idleServer(t)
	s.flags = []string{"--set", "hostname=mx.example.org", "--set", "outbound.resolvers=" + names.Addr, "--set", "outbound.routes=example.net " + peer.Addr().String()}
	s.start("")
	sent := func(id string) string {
		if !submit(s.addr(1587), id, "bob@example.net") {
			t.Fatal("the server does not take a message")
		}
		var text string
		for deadline := time.Now().Add(3 * time.Minute); text == "" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			peer.mu.Lock()
			text = peer.all[id+"@laptop"]
			peer.mu.Unlock()
		}
		return text
	}
	if text := sent("unsigned"); strings.Contains(text, "DKIM-Signature:") || !strings.Contains(text, "Hello.") {
		t.Errorf("before there is a key: %s", text)
	}
	for _, algorithm := range []string{"rsa", "ed25519"} {
		var key door.DKIMKey
		if err := json.Unmarshal([]byte(s.run("dkim", "generate", "example.org", "--algorithm", algorithm, "--json")), &key); err != nil {
			t.Fatal(err)
		}
		if out, err := s.try("dkim", "activate", "example.org", key.Selector); err == nil || !strings.Contains(out, "missing in DNS") {
			t.Errorf("a key is activated that nobody can find: %s", out)
		}
		names.TXT(key.Name, key.Record)
		s.run("dkim", "activate", "example.org", key.Selector)
	}
	signed := sent("signed")
	resolver, err := dns.New(dns.Config{Servers: []string{names.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := dkim.VerifyWithOptions(strings.NewReader(strings.ReplaceAll(signed, "\r\n..", "\r\n.")), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return resolver.TXT(t.Context(), name) }})
	if err != nil || len(all) != 2 || all[0].Err != nil || all[1].Err != nil || all[0].Domain != "example.org" {
		t.Errorf("%+v, %v:\n%s", all, err, signed)
	}
	if out, err := s.try("dns", "example.org", "--check"); err == nil || !strings.Contains(out, "ok") {
		t.Errorf("records that are missing are not told: %s", out)
	}
	names.Add(t, `example.org. TXT "v=spf1 ip4:192.0.2.1 -all"`, `_dmarc.example.org. TXT "v=DMARC1; p=none"`)
	if out, err := s.try("dns", "example.org", "--check"); err == nil || !strings.Contains(out, "192.0.2.1 leads back to no name") {
		t.Errorf("%v: %s", err, out)
	}
	names.Add(t, "1.2.0.192.in-addr.arpa. PTR mx.example.org.")
	if out, err := s.try("dns", "example.org", "--check"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	s.kill(syscall.SIGKILL)
	s.start("") // whose keys are in the log
	if text := sent("again"); strings.Count(text, "DKIM-Signature:") != 2 {
		t.Errorf("after a restart: %s", text)
	}
}

// TestWhoMailIsFrom: a message that its domain stands behind arrives and says so; one under a false name is refused at the end of its data and leaves nothing.
func TestWhoMailIsFrom(t *testing.T) {
	t.Parallel()
	names := dnstest.Start(t, `example.com. TXT "v=spf1 ip4:127.0.0.1 -all"`, `_dmarc.example.com. TXT "v=DMARC1; p=reject"`, `_dmarc.example.net. TXT "v=DMARC1; p=quarantine"`)
	s := idleServer(t)
	s.flags = []string{"--set", "outbound.resolvers=" + names.Addr, "--set", "smtp.verify.trusted=", "--set", "smtp.verify.id=mx.example.org"}
	s.start("")
	mx := s.addr(1025)
	for from, want := range map[string]string{"joe@example.com": "250 2.0.0", "joe@example.net": "550 5.7.26"} {
		text := "Authentication-Results: mx.example.org; dmarc=pass\nFrom: joe@example.com\nSubject: from " + from + "\n\nHello.\n"
		if got := arrive(t, mx, from, text); !strings.HasPrefix(got, want) {
			t.Errorf("from %s: %s, want %s", from, got, want)
		}
	}
	if got := arrive(t, mx, "x@example.org", "From: jane@example.net\nSubject: odd\n\nHello.\n"); !strings.HasPrefix(got, "250 ") {
		t.Error(got)
	}
	c, err := imapclient.DialInsecure(s.addr(1143), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("alice@example.org", password).Wait(); err != nil {
		t.Fatal(err)
	}
	for mailbox, want := range map[string]string{
		"INBOX": "Authentication-Results: mx.example.org;\r\n\tiprev=permerror\r\n\t policy.iprev=127.0.0.1;\r\n\tspf=pass\r\n\t smtp.mailfrom=joe@example.com;\r\n\tdkim=none;\r\n\tdmarc=pass\r\n\t header.from=example.com\r\n\t policy.dmarc=reject\r\n",
		"Junk":  "\tdmarc=fail\r\n\t header.from=example.net\r\n\t policy.dmarc=quarantine\r\n",
	} {
		selected, err := c.Select(mailbox, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if found, err := c.Search(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "from joe@example.net"}}}, nil).Wait(); err != nil || len(found.AllSeqNums()) > 0 {
			t.Errorf("what was refused is in %s: %+v, %v", mailbox, found, err)
		}
		all, err := c.Fetch(imap.SeqSetNum(selected.NumMessages), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}}).Collect()
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		text := string(all[0].BodySection[0].Bytes)
		if !strings.Contains(text, want) || strings.Count(text, "Authentication-Results:") != 1 {
			t.Errorf("%s has\n%s", mailbox, text)
		}
	}
}
