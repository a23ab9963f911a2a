package main

import (
	"log/slog"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"
	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/adapters/gate"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/metrics"
)

// TestDoctorLooksAtLists by the addresses of which each has one and not the other.
func TestDoctorLooksAtLists(t *testing.T) {
	server := dnstest.Start(t, "2.0.0.127.bl.example. A 127.0.0.2", "2.0.0.127.all.example. A 127.0.0.2", "1.0.0.127.all.example. A 127.0.0.2")
	cfg := config.Default()
	cfg.Outbound.Resolvers = []string{server.Addr}
	c := &core{cfg: &cfg, log: slog.New(slog.DiscardHandler), metrics: metrics.New()}
	if found := c.doctorLists(t.Context()); found != nil {
		t.Errorf("%v", found)
	}
	cfg.SMTP.Lists.Zones = []string{"bl.example score=60 answer=127.0.0.0/24", "all.example", "none.example"}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	found := c.doctorLists(t.Context())
	for i, want := range []string{"ok bl.example lists what it should", "warning all.example: it lists 127.0.0.1", "warning none.example: it does not list 127.0.0.2"} {
		if got := found[i].Status + " " + found[i].Found; !strings.HasPrefix(got, want) || found[i].Status != "ok" && found[i].Hint == "" {
			t.Errorf("%+v", found[i])
		}
	}
	lists, err := dnsLists(cfg.SMTP.Lists.Zones)
	if err != nil || lists[0].Score != 60 || !lists[0].Counts([4]byte{127, 0, 0, 255}) || lists[0].Counts([4]byte{127, 0, 1, 0}) || lists[1].Score != 100 {
		t.Errorf("%+v %v", lists, err)
	}
	cfg.SMTP.Lists.Zones = []string{"bl.example so"}
	if _, err := c.gate(gate.Rates{}, nil, nil); err == nil {
		t.Error("a list that cannot be read is taken")
	}
}

// strict is a milter that refuses one sender.
type strict struct{ gomilter.NoOpMilter }

func (strict) MailFrom(from string, _ *gomilter.Modifier) (gomilter.Response, error) {
	if from == "evil@example.net" {
		return gomilter.NewResponseStr('y', "554 5.7.9 Not you"), nil
	}
	return gomilter.RespContinue, nil
}

// TestTheGateOfAServer: what is configured is what clients meet, with its code.
func TestTheGateOfAServer(t *testing.T) {
	names := dnstest.Start(t, "1.0.0.127.bl.example. A 127.0.0.2", `1.0.0.127.bl.example. TXT "a test"`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	milters := &gomilter.Server{NewMilter: func() gomilter.Milter { return strict{} }}
	go func() { _ = milters.Serve(l) }()
	t.Cleanup(func() { _ = l.Close() })

	cfg := config.Default()
	cfg.Data, cfg.Hostname, cfg.Streams.Shards, cfg.Reserve = t.TempDir(), "mx.example.org", 1, 0
	cfg.IMAP.Listen, cfg.IMAP.ListenTLS, cfg.POP3.Listen, cfg.POP3.ListenTLS, cfg.ManageSieve.Listen, cfg.Submission.Listen, cfg.Submission.ListenTLS, cfg.LMTP.Listen, cfg.Admin.Listen = nil, nil, nil, nil, nil, nil, nil, nil, nil
	cfg.SMTP.Listen, cfg.SMTP.Verify.Enabled, cfg.SMTP.Verify.Trusted = []string{"127.0.0.1:0"}, false, nil
	cfg.Outbound.Resolvers, cfg.SMTP.Lists.Zones, cfg.SMTP.Lists.Time = []string{names.Addr}, []string{"bl.example"}, cfg.SMTP.Verify.Time*5
	cfg.SMTP.Greylist.Enabled, cfg.Rates.AddressMessages = true, 2
	cfg.SMTP.Milters = []string{"strict " + l.Addr().String() + " fail=later"}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	if err := s.directory.AddDomain(t.Context(), "test", "example.org"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.directory.AddAccount(t.Context(), "test", "alice@example.org", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	dial := func() (say func(line, want string)) {
		c, err := textproto.Dial("tcp", s.sockets[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		say = func(line, want string) {
			t.Helper()
			if line != "" {
				_ = c.PrintfLine("%s", line)
			}
			code, text, err := c.ReadResponse(0)
			if got := strconv.Itoa(code) + " " + text; !strings.HasPrefix(got, want) {
				t.Fatalf("%s: %s (%v), want %s", line, got, err, want)
			}
		}
		say("", "220 ")
		say("EHLO client.example.net", "250 ")
		return say
	}
	say := dial()
	say("MAIL FROM:<a@example.net>", "250 ")
	say("RCPT TO:<alice@example.org>", "550 5.7.1 Refused: your address [127.0.0.1] is listed by bl.example: a test")
	names.Remove("1.0.0.127.bl.example")
	say = dial()
	say("MAIL FROM:<a@example.net>", "250 ")
	say("RCPT TO:<alice@example.org>", "451 4.7.1 Greylisted: ")
	say("RSET", "250 ")
	say("MAIL FROM:<evil@example.net>", "554 5.7.9 Not you")
	say("MAIL FROM:<a@example.net>", "451 4.7.1 Your address has sent its 2 messages of this hour, try again in ")
}
