package smtp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

// limit gives an account a quota.
func (s *site) limit(id domain.AccountID, l account.Limits) {
	s.t.Helper()
	if _, err := s.Accounts.Do(s.t.Context(), id, "test", account.SetLimits{Limits: l}); err != nil {
		s.t.Fatal(err)
	}
}

func TestQuota(t *testing.T) {
	for _, temporary := range []bool{false, true} {
		full := "552 5.2.2"
		if temporary {
			full = "452 4.2.2"
		}
		s := start(t, MX, func(c *Config) { c.QuotaTemporary = temporary })
		s.limit(s.alice, account.Limits{Bytes: 2000})
		c := s.hello()
		c.do("MAIL FROM:<x@example.net> SIZE=5000", "250 ")
		c.do("RCPT TO:<alice@example.org>", full)
		c.do("RCPT TO:<bob@example.org>", "250 ")
		c.do("RSET", "250 ")
		c.envelope("x@example.net", "alice@example.org") // The size is not declared.
		c.send(dots(hi + strings.Repeat("x\r\n", 1000)))
		c.expect(full)
		c.envelope("x@example.net", "alice@example.org")
		c.send(dots(hi))
		c.expect("250 ")
		s.limit(s.alice, account.Limits{Messages: 1})
		c.do("MAIL FROM:<x@example.net>", "250 ")
		c.do("RCPT TO:<alice@example.org>", full)
		s.only(s.alice, "INBOX")
	}
}

func TestLMTPAnswersForEachRecipient(t *testing.T) {
	s := start(t, LMTP)
	s.limit(s.alice, account.Limits{Messages: 1})
	for _, how := range []string{"DATA", "BDAT"} {
		c := s.hello()
		for i := range 2 {
			c.do("MAIL FROM:<x@example.net>", "250 ")
			c.do("RCPT TO:<nobody@example.org>", "550 5.1.1")
			c.do("RCPT TO:<alice@example.org>", "250 ")
			c.do("RCPT TO:<bob+junk@example.org>", "250 ")
			c.do("RCPT TO:<bob+junk@example.org>", "250 ")
			c.do("RCPT TO:<bob@example.org>", "250 ")
			if how == "DATA" {
				c.do("DATA", "354 ")
				c.send(dots(hi))
			} else {
				c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(hi), hi))
			}
			if i == 0 && how == "DATA" {
				c.expect("250 2.0.0 <alice@example.org> Accepted")
			} else {
				c.expect("552 5.2.2 <alice@example.org>")
			}
			c.expect("250 2.0.0 <bob+junk@example.org> Accepted")
			c.expect("250 2.0.0 <bob+junk@example.org> Accepted")
			c.expect("250 2.0.0 <bob@example.org> Accepted")
		}
		c.do("QUIT", "221 ")
	}
	if !strings.Contains(s.only(s.alice, "INBOX"), " with LMTP id ") {
		t.Error("Received does not say LMTP")
	}
	if n, m := len(s.messages(s.bob, "Junk")), len(s.messages(s.bob, "INBOX")); n != 4 || m != 4 {
		t.Errorf("bob has %d in Junk and %d in INBOX", n, m)
	}
}

func TestLMTPRefusesBrokenMessagesForEachRecipient(t *testing.T) {
	s := start(t, LMTP, func(c *Config) { c.Limits.Content.Message = 1000 })
	broken := "Subject: a\nb\r\n\r\n"
	for _, how := range []string{"DATA", "BDAT"} {
		c := s.hello()
		c.do("MAIL FROM:<x@example.net>", "250 ")
		c.do("RCPT TO:<alice@example.org>", "250 ")
		c.do("RCPT TO:<bob@example.org>", "250 ")
		if how == "DATA" {
			c.do("DATA", "354 ")
			c.send(dots(broken))
		} else {
			c.send(fmt.Sprintf("BDAT %d\r\n%s", len(broken), broken))
			c.expect("250 ")
			c.send("BDAT 3 LAST\r\nx\r\n")
		}
		c.expect("550 5.6.11 <alice@example.org>")
		c.expect("550 5.6.11 <bob@example.org>")
		c.do("NOOP", "250 ")
	}
}

func TestLMTPOnUnixSocket(t *testing.T) {
	s := start(t, LMTP)
	path := filepath.Join(t.TempDir(), "lmtp")
	l, err := netline.Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- s.server.Serve(ctx, l, false) }()
	raw, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, raw)
	c.expect("220 mx.example.org LMTP")
	c.do("EHLO x", "500 ")
	c.do("LHLO x", "250 ")
	c.envelope("x@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	c.do("QUIT", "221 ")
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if got := s.only(s.alice, "INBOX"); !strings.Contains(got, "Received: from x\r\n\tby mx.example.org with LMTP") {
		t.Errorf("%s", got)
	}
}

// moody is a door that fails as often as told.
type moody struct {
	Accounts
	fail func(id domain.AccountID) error
}

func (m moody) Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error) {
	if err := m.fail(id); err != nil {
		return door.Outcome{}, err
	}
	return m.Accounts.Do(ctx, id, actor, c)
}

func TestErrorsHaveOneTable(t *testing.T) {
	for kind := domain.Internal; kind <= domain.Erased; kind++ {
		if kindReplies[kind] == nil {
			t.Fatalf("no reply for %s", kind)
		}
	}
	var fail error
	s := start(t, MX, func(c *Config) { c.Accounts = moody{c.Accounts, func(domain.AccountID) error { return fail }} })
	c := s.hello()
	for _, x := range []struct {
		err  error
		want string
	}{
		{io.ErrUnexpectedEOF, "451 4.3.0 Internal error ["},
		{domain.Wrap(domain.Unavailable, io.ErrClosedPipe, "secret host name"), "451 4.3.0 Temporarily unavailable, try again later ["},
		{domain.Errorf(domain.Conflict, "x"), "451 4.3.0 The mailbox is busy"},
		{domain.Errorf(domain.OverQuota, "x"), "552 5.2.2"},
		{domain.Errorf(domain.Erased, "x"), "550 5.1.1"},
		{domain.Errorf(domain.NotFound, "x"), "550 5.1.1"},
		{domain.Errorf(domain.TooLarge, "x"), "552 5.3.4"},
		{domain.Errorf(domain.Corrupt, "x"), "451 4.3.0 Internal error ["},
	} {
		fail = x.err
		c.envelope("x@example.net", "alice@example.org")
		c.send(dots(hi))
		if got := c.expect(x.want); strings.Contains(got, "secret") {
			t.Errorf("an inner error was shown: %s", got)
		}
	}
}

func TestBlobStoreDown(t *testing.T) {
	s := start(t, MX, func(c *Config) { c.Accounts = noStore{c.Accounts} })
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org")
	c.send(dots(hi + strings.Repeat("Hello.\r\n", 20_000)))
	c.expect("451 4.3.0 Temporarily unavailable")
	c.do("NOOP", "250 ")
}

type noStore struct{ Accounts }

func (noStore) Ingest(_ context.Context, r io.Reader) (door.Stored, error) {
	_, _ = io.CopyN(io.Discard, r, 100)
	return door.Stored{}, domain.Wrap(domain.Unavailable, iotest.ErrTimeout, "writing a blob")
}

func TestLostRacesAreTriedAgain(t *testing.T) {
	races := 2
	s := start(t, MX, func(c *Config) {
		c.Accounts = moody{c.Accounts, func(domain.AccountID) error {
			if races--; races >= 0 {
				return domain.Errorf(domain.Conflict, "lost")
			}
			return nil
		}}
	})
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "INBOX")
}

func TestHalfDeliveredMessageIsNotDuplicated(t *testing.T) {
	var broken atomic.Bool
	var victim domain.AccountID
	s := start(t, MX, func(c *Config) {
		c.Accounts = moody{c.Accounts, func(id domain.AccountID) error {
			if id == victim && broken.Load() {
				return domain.Errorf(domain.Unavailable, "down")
			}
			return nil
		}}
	})
	victim = s.bob
	broken.Store(true)
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org", "bob@example.org")
	c.send(dots(hi))
	c.expect("451 4.3.0 Some recipients could not be served")
	c.envelope("x@example.net", "alice@example.org") // Other octets are another message.
	c.send(dots("Subject: another\r\n\r\n"))
	c.expect("250 ")

	c.do("MAIL FROM:<x@example.net>", "250 ")
	c.do("RCPT TO:<bob@example.org>", "452 4.5.3")
	c.do("RCPT TO:<alice@example.org>", "250 ")
	c.do("DATA", "354 ")
	c.send(dots(hi))
	c.expect("250 ")
	if n := len(s.messages(s.alice, "INBOX")); n != 2 {
		t.Errorf("alice has %d messages", n)
	}
	c.envelope("x@example.net", "bob@example.org")
	c.send(dots(hi))
	c.expect("451 4.3.0 Temporarily unavailable")
	broken.Store(false)
	c.envelope("x@example.net", "bob@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.bob, "INBOX")

	c.envelope("x@example.net", "alice@example.org", "bob@example.org") // Everybody had it, so this is a new message.
	c.send(dots(hi))
	c.expect("250 ")
	if n, m := len(s.messages(s.alice, "INBOX")), len(s.messages(s.bob, "INBOX")); n != 3 || m != 2 {
		t.Errorf("alice has %d messages, bob %d", n, m)
	}
}

// TestOneFullMailboxAmongSeveral: whatever a client does after the 451, everybody else has the message once, and the full mailbox gets the answer that
// it would have got alone.
func TestOneFullMailboxAmongSeveral(t *testing.T) {
	text := dots(hi + strings.Repeat("Hello.\r\n", 200))
	for _, temporary := range []bool{false, true} {
		full := "552 5.2.2"
		if temporary {
			full = "452 4.2.2"
		}
		for _, size := range []string{"", " SIZE=10"} {
			s := start(t, MX, func(c *Config) { c.QuotaTemporary = temporary })
			if err := s.Directory.AddAddress(t.Context(), "test", s.alice, "sales@example.org"); err != nil {
				t.Fatal(err)
			}
			s.limit(s.alice, account.Limits{Bytes: 1000})
			c := s.hello()
			try := func(recipients ...string) {
				t.Helper()
				c.do("MAIL FROM:<x@example.net>"+size, "250 ")
				for _, r := range recipients {
					address, want, _ := strings.Cut(r, " ")
					c.do("RCPT TO:<"+address+"@example.org>", want)
				}
			}
			send := func(want string) {
				t.Helper()
				c.do("DATA", "354 ")
				c.send(text)
				c.expect(want)
			}
			for range 2 { // The second time after a try that came to nothing.
				try("alice 250", "sales 250", "bob 250")
				send("451 4.3.0")
				try("alice 452 4.5.3", "sales 452 4.5.3", "bob 250")
				c.do("RSET", "250 ")
			}
			try("alice 250", "sales 250", "bob 250")
			send("451 4.3.0")
			try("alice 452 4.5.3", "bob 250", "sales 452 4.5.3")
			send("250 ")
			s.only(s.bob, "INBOX")
			for range 2 {
				try("alice 250", "sales 250")
				send(full)
			}
			if got := s.messages(s.alice, "INBOX"); len(got) > 0 {
				t.Errorf("alice has %q", got)
			}
		}
	}
}

// TestAClientThatGivesTheOthersUp gets through to the one that failed.
func TestAClientThatGivesTheOthersUp(t *testing.T) {
	s := start(t, MX)
	s.limit(s.alice, account.Limits{Bytes: 1000})
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org", "bob@example.org")
	c.send(dots(hi + strings.Repeat("Hello.\r\n", 200)))
	c.expect("451 4.3.0")
	c.do("MAIL FROM:<other@example.net>", "250 ")
	c.do("RCPT TO:<alice@example.org>", "250 ")
	c.do("RSET", "250 ")
	c.do("MAIL FROM:<x@example.net>", "250 ")
	c.do("RCPT TO:<alice@example.org>", "452 4.5.3")
	c.do("RSET", "250 ")
	c.envelope("x@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "INBOX")
}

// TestDeclaredSizeCountsWhatIsAdded: a message that does not fit with the fields that it gets is refused at RCPT, one that just fits is not.
func TestDeclaredSizeCountsWhatIsAdded(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	whole := int64(len(s.only(s.alice, "INBOX")))
	for _, spare := range []int64{-1, 0} {
		s.limit(s.alice, account.Limits{Bytes: 2*whole + spare})
		c.do(fmt.Sprintf("MAIL FROM:<x@example.net> SIZE=%d", len(hi)), "250 ")
		if spare < 0 {
			c.do("RCPT TO:<alice@example.org>", "552 5.2.2")
			c.do("RSET", "250 ")
			continue
		}
		c.do("RCPT TO:<alice@example.org>", "250 ")
		c.do("DATA", "354 ")
		c.send(dots(hi))
		c.expect("250 ")
	}
}

func TestHalvesAreBounded(t *testing.T) {
	h := newHalves(2, time.Hour)
	key := func(s string) halfKey { return halfKey{sender: s} }
	to := target{account: "a", mailbox: "INBOX"}
	now := time.Unix(0, 0)
	for _, k := range []string{"1", "2", "3"} {
		h.remember(key(k), []target{to}, nil, now)
	}
	if h.has(key("1"), to) || !h.has(key("2"), to) || !h.has(key("3"), to) || h.has(key("3"), target{account: "a", mailbox: "Junk"}) {
		t.Error("the oldest should be gone, and only it")
	}
	h.remember(key("4"), []target{to}, nil, now.Add(2*time.Hour))
	if h.has(key("2"), to) || h.has(key("3"), to) || !h.has(key("4"), to) {
		t.Error("what is too old should be gone")
	}
	h.forget(key("4"))
	if !h.empty() || h.targets != 0 {
		t.Error("not empty")
	}
	// Of large groups there are fewer.
	all := make([]target, maxRemembered/2)
	for i := range all {
		all[i] = target{queue: true, address: strconv.Itoa(i)}
	}
	h.remember(key("5"), all, nil, now)
	h.remember(key("6"), all, nil, now)
	h.remember(key("6"), all, nil, now)
	if !h.has(key("5"), all...) || !h.has(key("6"), all...) {
		t.Error("both have room")
	}
	h.remember(key("7"), nil, []target{to}, now)
	if h.has(key("5"), all...) || !h.has(key("6"), all...) || h.targets != len(all)+1 {
		t.Error("the oldest should be gone, and only it")
	}
	if got := h.putOff("7", append(all, to)); len(got) != 1 || got[0] != to || len(h.putOff("7", all)) != 0 || len(h.putOff("7", got)) != 0 {
		t.Error(got)
	}
}

func TestAnswerComesAfterDurability(t *testing.T) {
	for _, kind := range []Kind{MX, LMTP} {
		var s *site
		var passed atomic.Int32
		s = start(t, kind, func(c *Config) {
			c.Failpoint = func(name string) {
				if name != "smtp.before-reply" {
					t.Errorf("failpoint %s", name)
				}
				passed.Add(1)
				last, err := s.Log.Last(context.Background(), s.alice)
				if err != nil || last.Tx != 2 { // The account's opening is 1.
					t.Errorf("the log stands at %+v (%v) before the reply", last, err)
				}
			}
		})
		c := s.hello()
		c.envelope("x@example.net", "alice@example.org")
		c.send(dots(hi))
		c.expect("250 ")
		if passed.Load() != 1 {
			t.Errorf("passed %d times", passed.Load())
		}
	}
}

func TestThreads(t *testing.T) {
	s := start(t, LMTP)
	c := s.hello()
	for _, text := range []string{"Message-ID: <1@x>\r\nSubject: a\r\n\r\n", "Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\nSubject: Re: a\r\n\r\n", "Message-ID: <3@x>\r\nSubject: b\r\n\r\n"} {
		c.envelope("x@example.net", "alice@example.org")
		c.send(dots(text))
		c.expect("250 ")
	}
	err := s.Accounts.View(t.Context(), s.alice, func(state *account.State) error {
		m, _ := state.Mailbox("INBOX")
		if m.Len() != 3 || m.Thread[0] != m.Thread[1] || m.Thread[1] == m.Thread[2] {
			t.Errorf("threads %v", m.Thread)
		}
		if since := time.Since(time.Unix(m.Internal[0], 0)); since < 0 || since > time.Hour {
			t.Errorf("INTERNALDATE is %v ago", since)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentDeliveries(t *testing.T) {
	const clients, each = 8, 20
	s := start(t, LMTP)
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			c := s.hello()
			for i := range each {
				c.envelope("x@example.net", "alice@example.org", "bob@example.org")
				c.send(dots(fmt.Sprintf("Subject: %d-%d\r\n\r\n", n, i)))
				c.expect("250 ")
				c.expect("250 ")
			}
		})
	}
	wg.Wait()
	for _, id := range []domain.AccountID{s.alice, s.bob} {
		seen := map[string]bool{}
		for _, text := range s.messages(id, "INBOX") {
			seen[s.body(text)] = true
		}
		if len(seen) != clients*each {
			t.Errorf("%d of %d messages", len(seen), clients*each)
		}
	}
}

func TestManyRecipients(t *testing.T) {
	s := start(t, MX, func(c *Config) { c.Limits.Recipients = 60; c.Limits.Parallel = 4 })
	c := s.hello()
	c.do("MAIL FROM:<x@example.net>", "250 ")
	var ids []domain.AccountID
	for i := range 60 {
		// An account without a password costs no hashing.
		a, err := s.Directory.AddAccount(t.Context(), "test", fmt.Sprintf("u%d@example.org", i), "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
		c.do("RCPT TO:<"+a.Login+">", "250 ")
	}
	c.do("RCPT TO:<alice@example.org>", "452 4.5.3")
	c.do("DATA", "354 ")
	c.send(dots(hi))
	c.expect("250 ")
	first := s.only(ids[0], "INBOX")
	for _, id := range ids {
		if s.only(id, "INBOX") != first {
			t.Error("the copies differ")
		}
	}
}

// countingStore takes messages without keeping them and watches the heap meanwhile.
type countingStore struct {
	Accounts
	peak *uint64
}

func (c countingStore) Ingest(_ context.Context, r io.Reader) (door.Stored, error) {
	var m runtime.MemStats
	buf := make([]byte, 32<<10)
	for n := 0; ; n++ {
		if n%200 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			*c.peak = max(*c.peak, m.HeapAlloc)
		}
		if _, err := r.Read(buf); err == io.EOF {
			return door.Stored{}, nil
		} else if err != nil {
			return door.Stored{}, err
		}
	}
}

func (countingStore) Do(context.Context, domain.AccountID, string, account.Command) (door.Outcome, error) {
	return door.Outcome{Events: []event.Event{&event.MessageAdded{}}}, nil
}

func TestBigMessageStreamsThrough(t *testing.T) {
	for _, how := range []string{"DATA", "BDAT"} {
		var peak uint64
		s := start(t, MX, func(c *Config) { c.Accounts = countingStore{c.Accounts, &peak} })
		c := s.hello()
		c.do("MAIL FROM:<x@example.net> SIZE=50000000", "250 ")
		c.do("RCPT TO:<alice@example.org>", "250 ")
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		line := []byte(strings.Repeat("x", 78) + "\r\n")
		block := bytes.Repeat(line, 1000) // 80,000 octets
		if how == "DATA" {
			c.do("DATA", "354 ")
			c.send("Subject: big\r\n\r\n")
		}
		for range 624 {
			if how == "BDAT" {
				c.send(fmt.Sprintf("BDAT %d\r\n", len(block)))
			}
			if _, err := c.Write(block); err != nil {
				t.Fatal(err)
			}
			if how == "BDAT" {
				c.expect("250 ")
			}
		}
		if how == "DATA" {
			c.send(".\r\n")
		} else {
			c.send("BDAT 0 LAST\r\n")
		}
		c.expect("250 ")
		if extra := int64(peak) - int64(before.HeapAlloc); extra > 8<<20 {
			t.Errorf("%s: %d octets of memory for a message of 50 MB", how, extra)
		}
	}
}
