package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/queue"
)

func TestADelivery(t *testing.T) {
	p := newPeer(t, nil)
	s := newSender(t, to(p))
	e := mail("bob@example.net", "carol@example.net")
	e.Return, e.EnvelopeID = "HDRS", "a b"
	e.Recipients[0].Notify, e.Recipients[0].Original = queue.OnSuccess|queue.OnFailure, "rfc822;robert+x@example.net"
	if got := send(t, s, e); got != "bob relayed 2.0.0; carol relayed 2.0.0" {
		t.Error(got)
	}
	if got := p.got(); !slices.Equal(got, []string{text}) {
		t.Errorf("%q", got)
	}
	want := []string{
		"EHLO mail.example.org", "MAIL FROM:<alice@example.org> BODY=8BITMIME SIZE=36 RET=HDRS ENVID=a+20b",
		"RCPT TO:<bob@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;robert+2Bx@example.net", "RCPT TO:<carol@example.net>", "DATA",
	}
	if got := p.heard(""); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := send(t, s, mail()); got != "bob relayed 2.0.0" || p.connections() != 1 || len(p.got()) != 2 {
		t.Errorf("%s on %d connections", got, p.connections())
	}
}

func TestAnOldServer(t *testing.T) {
	p := newPeer(t, map[string][]string{"EHLO": {"500 what?"}})
	if got := send(t, newSender(t, to(p)), mail()); got != "bob relayed 2.0.0" {
		t.Error(got)
	}
	if got := p.heard("MAIL"); !slices.Equal(got, []string{"MAIL FROM:<alice@example.org>"}) {
		t.Errorf("%q", got)
	}
}

func TestChunks(t *testing.T) {
	p := newPeer(t, map[string][]string{"EHLO": {"250-peer\r\n250-CHUNKING\r\n250 SMTPUTF8"}})
	e := mail()
	e.UTF8 = true
	if got := send(t, newSender(t, to(p)), e); got != "bob relayed 2.0.0" {
		t.Error(got)
	}
	if got := p.got(); !slices.Equal(got, []string{text}) {
		t.Errorf("%q", got)
	}
	if got := p.heard("MAIL"); !slices.Equal(got, []string{"MAIL FROM:<alice@example.org> SMTPUTF8"}) {
		t.Errorf("%q", got)
	}
}

func TestWhatThePeerCannotHave(t *testing.T) {
	p := newPeer(t, nil)
	s := newSender(t, to(p))
	large := mail()
	large.Blob.BlobRef.Size = 10_001
	wide := mail()
	wide.UTF8 = true
	if got := send(t, s, large) + ", " + send(t, s, wide); got != "bob failed 5.3.4, bob failed 5.6.7" {
		t.Error(got)
	}
	if got := p.heard("MAIL"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestEveryAnswerAtEveryStage: what is refused for good fails, all else is tried again, and a session is used again only where that is safe.
func TestEveryAnswerAtEveryStage(t *testing.T) {
	const plain = "250 peer"
	patient := Limits{Greeting: time.Minute, Command: time.Minute, Data: time.Minute, End: time.Minute, Idle: time.Minute}
	for _, c := range []struct {
		stage, answer string
		want          string // of one recipient
	}{
		{"", "554 5.3.2 go away", "unreachable; bob deferred 4.4.0"}, {"", "421 4.3.2 busy", "unreachable; bob deferred 4.3.2"}, {"", "close", "unreachable; bob deferred 4.4.1"},
		{"", "250 odd", "unreachable; bob deferred 4.4.0"}, {"", "SSH-2.0-OpenSSH", "unreachable; bob deferred 4.5.0"}, {"", "220", "bob relayed 2.0.0"},
		{"", "220-" + strings.Repeat("x", 5000), "unreachable; bob deferred 4.5.0"}, {"", strings.Repeat("220-hello\r\n", 200) + "220 at last", "unreachable; bob deferred 4.5.0"},
		{"", "hang", "unreachable; bob deferred 4.4.1"},
		{"EHLO", "421 4.3.2 busy", "unreachable; bob deferred 4.3.2"}, {"EHLO", "close", "unreachable; bob deferred 4.4.1"}, {"EHLO", "hang", "unreachable; bob deferred 4.4.1"},
		{"MAIL", "451 4.7.1 greylisted", "bob deferred 4.7.1"}, {"MAIL", "550 5.7.1 no", "bob failed 5.7.1"}, {"MAIL", "421 4.7.0 bye", "bob deferred 4.7.0"},
		{"MAIL", "close", "bob deferred 4.4.1"}, {"MAIL", "354 odd", "bob deferred "}, {"MAIL", "hang", "bob deferred 4.4.1"}, {"MAIL", "999 odd", "bob deferred 4.5.0"},
		{"RCPT", "450 4.2.1 later", "bob deferred 4.2.1"}, {"RCPT", "550 5.1.1 who?", "bob failed 5.1.1"}, {"RCPT", "550 who?", "bob failed "}, {"RCPT", "251 elsewhere", "bob relayed 2.0.0"},
		{"RCPT", "552 5.2.2 full", "bob failed 5.2.2"}, {"RCPT", "552 too many", "bob deferred 4.5.3"}, {"RCPT", "close", "bob deferred 4.4.2"}, {"RCPT", "hang", "bob deferred 4.4.2"},
		{"RCPT", "450 5.1.1 odd", "bob deferred "},
		{"DATA", "451 4.3.0 later", "bob deferred 4.3.0"}, {"DATA", "554 5.7.1 no", "bob failed 5.7.1"}, {"DATA", "250 odd", "bob deferred 4.4.2"}, {"DATA", "close", "bob deferred 4.4.2"},
		{"DATA", "hang", "bob deferred 4.4.2"},
		{".", "451 4.3.0 later", "bob deferred 4.3.0"}, {".", "554 5.6.0 spam", "bob failed 5.6.0"}, {".", "250 OK", "bob relayed "}, {".", "close", "bob deferred 4.4.2"},
		{".", "hang", "bob deferred 4.4.2"}, {".", "354 odd", "bob deferred "}, {".", "250-a\r\n451 b", "bob deferred 4.4.2"},
	} {
		for _, pipelining := range []bool{false, true} {
			t.Run(c.stage+" "+c.answer[:min(len(c.answer), 20)], func(t *testing.T) {
				t.Parallel()
				answers := map[string][]string{c.stage: {c.answer, usual[c.stage]}}
				if !pipelining && c.stage != "EHLO" {
					answers["EHLO"] = []string{plain}
				}
				p := newPeer(t, answers)
				short := func(c *Config) {
					c.Limits = Limits{Greeting: 3 * time.Second, Command: 3 * time.Second, Data: 3 * time.Second, End: 3 * time.Second, Idle: time.Minute} // in which all else has to come, too
					if !slices.ContainsFunc(slices.Concat(answers["MAIL"], answers["RCPT"], answers["DATA"], answers["."], answers[""], answers["EHLO"]), func(a string) bool { return a == "hang" }) {
						c.Limits = patient
					}
				}
				s := newSender(t, to(p), short)
				if got := send(t, s, mail()); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
				s.cfg.Limits.Greeting, s.cfg.Limits.Command, s.cfg.Limits.Data, s.cfg.Limits.End = patient.Greeting, patient.Command, patient.Data, patient.End
				if got := send(t, s, mail()); !strings.HasPrefix(got, "bob relayed") {
					t.Errorf("the next message: %q", got)
				}
			})
		}
	}
}

// TestEachRecipientHasItsOwnAnswer.
func TestEachRecipientHasItsOwnAnswer(t *testing.T) {
	for _, ehlo := range []string{usual["EHLO"], "250 peer"} {
		p := newPeer(t, map[string][]string{"EHLO": {ehlo}, "RCPT TO:<b@": {"550 5.1.1 who?"}, "RCPT TO:<c@": {"450 4.2.1 later"}})
		got := send(t, newSender(t, to(p)), mail("a@example.net", "b@example.net", "c@example.net", "d@example.net"))
		if got != "a relayed 2.0.0; b failed 5.1.1; c deferred 4.2.1; d relayed 2.0.0" || len(p.got()) != 1 {
			t.Error(got)
		}
	}
}

// TestTooManyRecipientsAreSentInTurns (RFC 5321 section 4.5.3.1.10).
func TestAConnectionThatBreaksBeforeTheMessage(t *testing.T) {
	for _, hello := range []string{usual["EHLO"], "250 peer"} { // with PIPELINING and without
		p := newPeer(t, map[string][]string{"EHLO": {hello}, "RCPT": {"250 2.1.5 OK", "close"}})
		if got := send(t, newSender(t, to(p)), mail("ann@example.net", "bob@example.net")); got != "ann deferred 4.4.2; bob deferred 4.4.2" {
			t.Errorf("after %q: %s", hello, got)
		}
	}
}

func TestTooManyRecipientsAreSentInTurns(t *testing.T) {
	p := newPeer(t, map[string][]string{"RCPT TO:<c@": {"452 4.5.3 too many", usual["RCPT"]}, "RCPT TO:<d@": {"452 4.5.3 too many", usual["RCPT"]}})
	got := send(t, newSender(t, to(p)), mail("a@example.net", "b@example.net", "c@example.net", "d@example.net"))
	if got != "a relayed 2.0.0; b relayed 2.0.0; c relayed 2.0.0; d relayed 2.0.0" || len(p.got()) != 2 || p.connections() != 1 {
		t.Errorf("%s, %d messages on %d connections", got, len(p.got()), p.connections())
	}
}

func TestTLS(t *testing.T) {
	config, roots := certificate(t, "mx1.example.net")
	_, others := certificate(t, "mx1.example.net")
	offers := map[string][]string{"EHLO": {"250-peer\r\n250 STARTTLS"}}
	for _, c := range []struct {
		name    string
		route   Encryption
		answers map[string][]string
		broken  bool
		foreign bool
		want    string
		tls     bool
	}{
		{"offered", Opportunistic, offers, false, true, "bob relayed 2.0.0", true},
		{"broken", Opportunistic, offers, true, false, "bob relayed 2.0.0", false},
		{"refused", Opportunistic, map[string][]string{"EHLO": offers["EHLO"], "STARTTLS": {"454 4.7.0 no"}}, false, false, "bob relayed 2.0.0", false},
		{"text before it", Opportunistic, map[string][]string{"EHLO": offers["EHLO"], "STARTTLS": {"220 go\r\n250 injected"}}, false, false, "bob relayed 2.0.0", false},
		{"demanded", Required, offers, false, true, "bob relayed 2.0.0", true},
		{"demanded and broken", Required, offers, true, false, "unreachable; bob deferred 4.7.5", false},
		{"demanded and not offered", Required, nil, false, false, "unreachable; bob deferred 4.7.5", false},
		{"verified", Verified, offers, false, false, "bob relayed 2.0.0", true},
		{"not verified", Verified, offers, false, true, "unreachable; bob deferred 4.7.5", false},
		{"not wanted", Plain, offers, false, false, "bob relayed 2.0.0", false},
	} {
		p := newPeer(t, c.answers)
		if p.tls = config; c.broken {
			p.tls = nil
		}
		var secure []bool
		s := newSender(t, to(p), func(cfg *Config) {
			cfg.TLS = &tls.Config{RootCAs: roots}
			if c.foreign {
				cfg.TLS.RootCAs = others
			}
			cfg.RouteFor = func(string) *Route {
				if c.route == Opportunistic {
					return nil
				}
				return &Route{Hosts: []string{"mx1.example.net"}, TLS: c.route}
			}
			cfg.Metrics.Connected = func(tls bool) { secure = append(secure, tls) }
		})
		if got := send(t, s, mail()); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
		if strings.HasPrefix(c.want, "bob") && !slices.Equal(secure, []bool{c.tls}) {
			t.Errorf("%s: TLS %v", c.name, secure)
		}
	}
}

func TestLogins(t *testing.T) {
	config, roots := certificate(t, "mx1.example.net")
	for _, c := range []struct {
		name    string
		answers map[string][]string
		clear   bool
		want    string
		heard   []string
	}{
		{"PLAIN", map[string][]string{"EHLO": {"250-peer\r\n250-AUTH LOGIN PLAIN\r\n250 STARTTLS"}}, false, "bob relayed 2.0.0", []string{"AUTH PLAIN AHVzZXIAc2VjcmV0"}},
		{"LOGIN", map[string][]string{"EHLO": {"250-peer\r\n250-AUTH LOGIN\r\n250 STARTTLS"}, "AUTH": {"334 VXNlcm5hbWU6"}, "dXNlcg==": {"334 UGFzc3dvcmQ6"}, "c2VjcmV0": {"235 in"}}, false, "bob relayed 2.0.0", []string{"AUTH LOGIN"}},
		{"refused", map[string][]string{"EHLO": {"250-peer\r\n250-AUTH PLAIN\r\n250 STARTTLS"}, "AUTH": {"535 5.7.8 wrong"}}, false, "unreachable; bob deferred 4.4.0", []string{"AUTH PLAIN AHVzZXIAc2VjcmV0"}},
		{"unknown", map[string][]string{"EHLO": {"250-peer\r\n250-AUTH GSSAPI\r\n250 STARTTLS"}}, false, "unreachable; bob deferred 4.4.1", nil},
		{"in clear text", map[string][]string{"EHLO": {"250-peer\r\n250 AUTH PLAIN"}}, true, "unreachable; bob deferred 4.4.1", nil},
	} {
		p := newPeer(t, c.answers)
		p.tls = config
		s := newSender(t, to(p), func(cfg *Config) {
			cfg.TLS = &tls.Config{RootCAs: roots}
			cfg.RouteFor = func(string) *Route {
				r := &Route{Hosts: []string{"mx1.example.net:587"}, TLS: Verified, User: "user", Password: "secret"}
				if c.clear {
					r.TLS = Plain
				}
				return r
			}
		})
		if got := send(t, s, mail()); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
		if got := p.heard("AUTH"); !slices.Equal(got, c.heard) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// TestAMessageThatCannotBeRead never ends, so that no half of it counts.
func TestAMessageThatCannotBeRead(t *testing.T) {
	for _, ehlo := range []string{usual["EHLO"], "250-peer\r\n250 CHUNKING"} {
		p := newPeer(t, map[string][]string{"EHLO": {ehlo}})
		s := newSender(t, to(p))
		for _, open := range []queue.Open{
			func(context.Context) (io.ReadCloser, error) { return nil, errors.New("the blob is gone") },
			func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader("half"), broken{})), nil
			},
		} {
			outcomes, _ := s.Deliver(t.Context(), mail(), open)
			if len(outcomes) != 1 || outcomes[0].Fate != queue.Deferred {
				t.Errorf("%+v", outcomes)
			}
		}
		if got := p.got(); len(got) != 0 {
			t.Errorf("%q", got)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the blob is damaged") }

// TestACancelledAttemptEndsAtOnce, wherever it waits.
func TestACancelledAttemptEndsAtOnce(t *testing.T) {
	for _, stage := range []string{"", "EHLO", "MAIL", "."} {
		p := newPeer(t, map[string][]string{stage: {"hang"}})
		ctx, cancel := context.WithCancel(t.Context())
		s := newSender(t, to(p))
		done := make(chan []queue.Outcome)
		go func() {
			outcomes, _ := s.Deliver(ctx, mail(), open)
			done <- outcomes
		}()
		for deadline := time.Now().Add(time.Minute); stage != "" && len(p.heard(strings.ReplaceAll(stage, ".", "DATA"))) == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		cancel()
		select {
		case outcomes := <-done:
			if len(outcomes) != 1 || outcomes[0].Fate != queue.Deferred {
				t.Errorf("%+v", outcomes)
			}
		case <-time.After(time.Minute):
			t.Fatal("it goes on")
		}
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	p := newPeer(t, nil)
	s := newSender(t, to(p), func(c *Config) { c.Limits.Idle = time.Millisecond })
	send(t, s, mail())
	for deadline := time.Now().Add(time.Minute); len(p.heard("QUIT")) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nobody said QUIT")
		}
		time.Sleep(time.Millisecond)
	}
	send(t, s, mail())
	if p.connections() != 2 {
		t.Errorf("%d connections", p.connections())
	}
}

// TestASessionThatWasClosedMeanwhile costs nothing.
func TestASessionThatWasClosedMeanwhile(t *testing.T) {
	p := newPeer(t, map[string][]string{"MAIL": {"250 OK", "close", "250 OK", "421 4.7.0 idle too long", "250 OK"}})
	s := newSender(t, to(p))
	for range 3 {
		if got := send(t, s, mail()); got != "bob relayed 2.0.0" {
			t.Error(got)
		}
	}
	if len(p.got()) != 3 {
		t.Errorf("%d messages", len(p.got()))
	}
}
