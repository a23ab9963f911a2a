package delivery

import (
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.FixedZone("", 3600))

func TestReceived(t *testing.T) {
	full := Trace{
		Helo: "client.example.net", Address: "2001:db8::7", Login: "alice@example.org", Hostname: "mx.example.org",
		Protocol: Protocol{TLS: true, Auth: true}, ID: "abc-1", For: Address{"bob b", "example.org"}, Cipher: "TLS_AES_128_GCM_SHA256", Time: noon,
	}
	const want = "Received: from client.example.net ([IPv6:2001:db8::7])\r\n" +
		"\t(authenticated as alice@example.org)\r\n" +
		"\tby mx.example.org with ESMTPSA id abc-1\r\n" +
		"\tfor <\"bob b\"@example.org>\r\n" +
		"\ttls TLS_AES_128_GCM_SHA256;\r\n" +
		"\tTue, 24 Nov 2026 12:00:00 +0100\r\n"
	if got := full.Received(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	small := Trace{Helo: "hö|st", Hostname: "mx.example.org", Protocol: Protocol{LMTP: true}, ID: "x", Time: noon}
	if got := small.Received(); got != "Received: from unknown\r\n\tby mx.example.org with LMTP id x;\r\n\tTue, 24 Nov 2026 12:00:00 +0100\r\n" {
		t.Error(got)
	}
}

func TestReceivedCannotBeForged(t *testing.T) {
	for _, evil := range []string{"a\r\nX: y", "a) (b", "a;b", "a\nb", "a\x00", "x\ty", `\`, strings.Repeat("a", 300)} {
		got := Trace{Helo: evil, Login: evil, Hostname: "mx", ID: "1", Time: noon}.Received()
		m, err := mail.ReadMessage(strings.NewReader(got + "\r\n"))
		if err != nil || len(m.Header) != 1 || strings.Count(got, "(") != 1 || strings.Count(got, ")") != 1 || strings.Count(got, "\n") != 4 || strings.Count(got, ";") > 2 {
			t.Errorf("%q gave %q (%v)", evil, got, err)
		}
	}
}

func TestProtocolKeywords(t *testing.T) {
	for want, p := range map[string]Protocol{
		"ESMTP": {}, "ESMTPS": {TLS: true}, "ESMTPA": {Auth: true}, "ESMTPSA": {TLS: true, Auth: true}, "LMTP": {LMTP: true}, "LMTPS": {LMTP: true, TLS: true},
		"UTF8SMTP": {UTF8: true}, "UTF8SMTPSA": {UTF8: true, TLS: true, Auth: true}, "UTF8LMTP": {UTF8: true, LMTP: true},
	} {
		if p.String() != want {
			t.Errorf("%s, want %s", p, want)
		}
	}
}

func TestReturnPath(t *testing.T) {
	if got := ReturnPath(Address{}); got != "Return-Path: <>\r\n" {
		t.Error(got)
	}
}

func TestMailboxOfDetail(t *testing.T) {
	s := account.New()
	for tx, e := range []event.Event{
		&event.MailboxCreated{Mailbox: 1, Name: "INBOX", UIDValidity: 1},
		&event.MailboxCreated{Mailbox: 2, Name: "Lists", UIDValidity: 2},
		&event.MailboxCreated{Mailbox: 3, Name: "lists/go", UIDValidity: 3},
		&event.MailboxCreated{Mailbox: 4, Name: "Gesendet", SpecialUse: `\Sent`, UIDValidity: 4},
		&event.MailboxCreated{Mailbox: 5, Name: "Junk", SpecialUse: `\Junk`, UIDValidity: 5},
	} {
		s.Apply(domain.Tx(tx+1), e)
	}
	for detail, want := range map[string]string{
		"": "INBOX", "inbox": "INBOX", "Lists": "Lists", "lists": "Lists", "LISTS/GO": "lists/go", "nothing": "INBOX", "gesendet": "INBOX", "junk": "Junk",
		"../x": "INBOX", "a*": "INBOX", "#x": "INBOX", "\x01": "INBOX", "\xff": "INBOX", "/": "INBOX",
	} {
		if got := Mailbox(s, detail); got != want {
			t.Errorf("+%s leads to %s, want %s", detail, got, want)
		}
	}
}
