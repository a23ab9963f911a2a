package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/domain/srs"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/projections/outgoing"
)

// maps adds mappings, each written as kind, source and target.
func (s *site) maps(texts ...string) {
	s.t.Helper()
	c := directory.ChangeMappings{}
	for _, text := range texts {
		f := strings.SplitN(text, " ", 3)
		c.Add = append(c.Add, rewriting.Mapping{Kind: event.MappingKind(f[0]), Source: f[1], Target: f[2]})
	}
	if err := s.Directory.ChangeMappings(s.t.Context(), "test", c); err != nil {
		s.t.Fatal(err)
	}
}

var secret = srs.Secret("a secret of the installation")

func withSRS(c *Config) { c.SRS = secret }

func TestMailIsDeliveredByMappings(t *testing.T) {
	s, q := startQueue(t, MX, withSRS)
	s.maps("alias sales@example.org alice@example.org",
		"group team@example.org sales@example.org", "group team@example.org alice@example.org", "group team@example.org bob@example.org", "group team@example.org Zoe@example.net", "group team@example.org nobody@example.org",
		"forward bob@example.org bob@example.org", "forward bob@example.org bob@example.com",
		"error gone@example.org 551 5.1.6 Moved to Mars", "error later@example.org 450 4.2.1 On holiday",
		"address @example.org alice@example.org")
	c := s.hello()
	c.do("MAIL FROM:<x@sender.example>", "250 ")
	c.do("RCPT TO:<gone@example.org>", "551 5.1.6 Moved to Mars")
	c.do("RCPT TO:<later@example.org>", "450 4.2.1 On holiday")
	c.do("RCPT TO:<zoe@example.net>", "550 5.7.1") // Nobody relays by naming where a mapping leads.
	c.do("RCPT TO:<team@example.org>", "250 ")
	c.do("RCPT TO:<Alice@example.org>", "250 ")
	c.do("DATA", "354 ")
	c.send(dots(hi))
	c.expect("250 2.0.0 Accepted as ")
	s.only(s.alice, "INBOX") // one copy, by four ways
	s.only(s.bob, "INBOX")
	sender, _ := secret.Forward(delivery.Address{Local: "x", Domain: "sender.example"}, "example.org", time.Now().Unix())
	if got, want := q.told(), []string{sender.String() + " -> bob@example.com Zoe@example.net"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	m := q.last()
	if m.Top != "Delivered-To: team@example.org\r\n" || m.Recipients[0].Original != "rfc822;team@example.org" || m.Recipients[1].Original != m.Recipients[0].Original || m.UTF8 {
		t.Errorf("%+v", m)
	}
	r, err := s.Accounts.Open(t.Context(), m.Blob, m.Skip, -1)
	if err != nil {
		t.Fatal(err)
	}
	leaves, _ := io.ReadAll(r)
	_ = r.Close()
	if !strings.HasPrefix(string(leaves), "Received: from ") {
		t.Errorf("%s", leaves)
	}
	// A name that nobody has, with the catch-all, and a detail that goes with an alias.
	if _, err := s.Accounts.Do(t.Context(), s.alice, "test", account.CreateMailbox{Name: "lists", UIDValidity: 1}); err != nil {
		t.Fatal(err)
	}
	c.envelope("", "typo@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	c.envelope("x@sender.example", "Sales+Lists@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	if inbox, lists := s.messages(s.alice, "INBOX"), s.messages(s.alice, "lists"); len(inbox) != 2 || len(lists) != 1 {
		t.Errorf("%d in INBOX, %d in lists", len(inbox), len(lists))
	}
}

// Whatever a client names, it is delivered or refused, and the connection goes on.
func TestOddRecipients(t *testing.T) {
	s, _ := startQueue(t, MX, withSRS)
	s.maps("address @example.org alice@example.org", `regex @example.org (.*)\.x@(.*):${1}"@${2}`)
	c := s.hello()
	for _, odd := range []string{
		`"a b"@example.org`, `"@"@example.org`, "a..b@example.org", ".a@example.org", "+@example.org", "+x@example.org", "a+@example.org", "SRS0@example.org", "SRS1=@example.org",
		strings.Repeat("l", 200) + "@example.org", `"\\"@EXAMPLE.ORG`, "SRS0=AAAAAAAA=AA=sender.example=x@example.org",
	} {
		c.do("MAIL FROM:<>", "250 ")
		c.do("RCPT TO:<"+odd+">", "250 ")
		c.do("RSET", "250 ")
	}
	for _, odd := range []string{"@example.org", "example.org", "a@[127.0.0.1]", "a@b@example.org@else.example", "a.x@example.org"} { // a catch-all takes nothing that an expression has made
		c.do("MAIL FROM:<>", "250 ")
		c.do("RCPT TO:<"+odd+">", "5")
		c.do("RSET", "250 ")
	}
	c.envelope("x@sender.example", `"a b"@example.org`)
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "INBOX")
}

func TestForwardingIsRefusedWhereNothingLeaves(t *testing.T) {
	s := start(t, MX)
	s.maps("alias zoe@example.org zoe@example.net")
	c := s.hello()
	c.do("MAIL FROM:<x@sender.example>", "250 ")
	c.do("RCPT TO:<zoe@example.org>", "550 5.7.1 Mail for this recipient is sent on")
}

// The sender of what is sent on is rewritten unless there is nothing to rewrite.
func TestReturnPathOfForwards(t *testing.T) {
	s, q := startQueue(t, MX, withSRS)
	s.maps("alias zoe@example.org zoe@example.net")
	c := s.hello()
	for from, want := range map[string]string{
		"": "", "bob@example.org": "bob@example.org", strings.Repeat("long", 12) + "@sender.example": strings.Repeat("long", 12) + "@sender.example",
		"x@sender.example": "SRS0=",
	} {
		c.envelope(from, "zoe@example.org")
		c.send(dots(hi))
		c.expect("250 ")
		if got := q.last().Sender.String(); got != want && !(want == "SRS0=" && strings.HasPrefix(got, want)) {
			t.Errorf("%q is sent on from %q", from, got)
		}
	}
}

// What comes back for a rewritten sender goes to the sender, and nothing else does.
func TestReportsComeBack(t *testing.T) {
	s, q := startQueue(t, MX, withSRS)
	now := time.Now().Unix()
	back, _ := secret.Forward(delivery.Address{Local: "Zoe", Domain: "sender.example"}, "example.org", now)
	here, _ := secret.Forward(delivery.Address{Local: "bob", Domain: "example.org"}, "example.org", now)
	other, _ := srs.Secret("another").Forward(delivery.Address{Local: "Zoe", Domain: "sender.example"}, "example.org", now)
	old, _ := secret.Forward(delivery.Address{Local: "Zoe", Domain: "sender.example"}, "example.org", now-(srs.MaxAge+2)*86_400)
	c := s.hello()
	c.envelope("", back.String(), here.String())
	c.send(dots(hi))
	c.expect("250 ")
	if got := q.told(); !slices.Equal(got, []string{" -> Zoe@sender.example"}) {
		t.Fatalf("%q", got)
	}
	s.only(s.bob, "INBOX")
	c.do("MAIL FROM:<>", "250 ")
	c.do("RCPT TO:<"+other.String()+">", "550 5.1.1")
	c.do("RCPT TO:<"+old.String()+">", "550 5.1.1")
	c.do("RCPT TO:<SRS0=@example.org>", "550 5.1.1")
	c.do("RSET", "250 ")
	c.do("MAIL FROM:<x@sender.example>", "250 ")
	c.do("RCPT TO:<"+back.String()+">", "550 5.7.1 Only reports")
	c.do("RSET", "250 ")
	// A catch-all changes nothing of it.
	s.maps("address @example.org bob@example.org")
	c.envelope("", back.String())
	c.send(dots(hi))
	c.expect("250 ")
	if got := q.told(); len(got) != 2 || got[1] != got[0] {
		t.Errorf("%q", got)
	}
}

// A message that was sent on for a recipient and comes again is in a loop; others still get it.
func TestLoopsBetweenServers(t *testing.T) {
	s, q := startQueue(t, MX, withSRS)
	s.maps("forward alice@example.org alice@example.org", "forward alice@example.org alice@example.net")
	c := s.hello()
	looped := dots("Delivered-To: ALICE@example.org\r\n" + hi)
	c.envelope("x@sender.example", "alice@example.org")
	c.send(looped)
	c.expect("554 5.4.6")
	c.envelope("x@sender.example", "alice@example.org", "bob@example.org")
	c.send(looped)
	c.expect("451 4.3.0")
	c.envelope("x@sender.example", "bob@example.org")
	c.send(looped)
	c.expect("250 ")
	s.only(s.bob, "INBOX")
	if got := s.messages(s.alice, "INBOX"); len(got) > 0 || len(q.told()) > 0 {
		t.Errorf("%q, %q", got, q.told())
	}
	// The field alone says nothing where mail stays here.
	c.envelope("x@sender.example", "bob@example.org")
	c.send(dots("Delivered-To: bob@example.org\r\n" + hi))
	c.expect("250 ")
}

// parkingLot remembers what it was given.
type parkingLot struct {
	told []string
	err  error
}

func (p *parkingLot) Park(_ context.Context, repository string, e *queue.Entry, cause string) error {
	for _, r := range e.Recipients {
		p.told = append(p.told, repository+" "+e.Sender+" "+r.Address+" "+e.Parking.RemoteAddress+" "+e.Parking.RemoteHost+" "+cause)
	}
	return p.err
}

// A loop that expressions make is refused with its path in the log, or parked with it.
func TestLoopsOfExpressions(t *testing.T) {
	const loop = `a loop: zoe.a@example.org -> (regex) zoe.b@example.org -> (regex) zoe.a@example.org`
	expressions := []string{`regex @example.org (.*)\.a@(.*):${1}.b@${2}`, `regex @example.org (.*)\.b@(.*):${1}.a@${2}`}
	s := start(t, MX)
	s.maps(expressions...)
	c := s.hello()
	c.do("MAIL FROM:<x@sender.example>", "250 ")
	c.do("RCPT TO:<zoe.a@example.org>", "550 5.4.6")
	c.do("RCPT TO:<alice@example.org>", "250 ")

	lot := &parkingLot{}
	s = start(t, MX, func(c *Config) { c.Parking = lot })
	s.maps(expressions...)
	c = s.hello()
	c.envelope("x@sender.example", "zoe.a@example.org", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "INBOX")
	if want := []string{"rrt-error x@sender.example zoe.a@example.org 127.0.0.1 client.example.net " + loop}; !slices.Equal(lot.told, want) {
		t.Errorf("%q", lot.told)
	}
	lot.err = errors.New("full")
	c.envelope("x@sender.example", "zoe.a@example.org")
	c.send(dots(hi))
	c.expect("451 ")
}

// A group has one answer. A member whose mailbox is full gets the message from the queue, which tells the sender when it gives up.
func TestAFullMemberKeepsNobodyWaiting(t *testing.T) {
	s, q := startQueue(t, MX)
	s.maps("group team@example.org alice@example.org", "group team@example.org bob@example.org")
	s.limit(s.alice, account.Limits{Bytes: 10})
	c := s.hello()
	c.envelope("x@sender.example", "team@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.bob, "INBOX")
	if got := q.told(); !slices.Equal(got, []string{"x@sender.example -> alice@example.org"}) || q.last().Top != "" {
		t.Errorf("%q", got)
	}
	// Where the queue fails as well, the client sends again, and bob has his copy.
	q.fail(domain.Errorf(domain.Unavailable, "down"))
	text := "Subject: again\r\n\r\n"
	c.envelope("x@sender.example", "team@example.org")
	c.send(dots(text))
	c.expect("451 4.3.0")
	c.do("MAIL FROM:<x@sender.example>", "250 ")
	c.do("RCPT TO:<team@example.org>", "452 4.5.3")
	q.fail(nil)
	c.do("RSET", "250 ")
	c.envelope("x@sender.example", "team@example.org")
	c.send(dots(text))
	c.expect("250 ")
	if got := s.messages(s.bob, "INBOX"); len(got) != 2 {
		t.Errorf("bob has %d", len(got))
	}
}

// punctual is a queue that takes nothing when time is over.
type punctual struct{ fakeQueue }

func (q *punctual) Accept(ctx context.Context, m *outgoing.Mail) error {
	if err := ctx.Err(); err != nil {
		return domain.Wrap(domain.Unavailable, err, "append")
	}
	return q.fakeQueue.Accept(ctx, m)
}

// hanging is an account that never answers.
type hanging struct {
	Accounts
	who domain.AccountID
}

func (a *hanging) Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error) {
	if id != a.who {
		return a.Accounts.Do(ctx, id, actor, c)
	}
	<-ctx.Done()
	return door.Outcome{}, domain.Wrap(domain.Unavailable, ctx.Err(), "nobody answers")
}

func TestAHangingMemberKeepsNobodyWaiting(t *testing.T) {
	q, h := &punctual{}, &hanging{}
	s := start(t, MX, func(c *Config) {
		h.Accounts = c.Accounts
		c.Queue, c.Accounts, c.Limits.Work = q, h, 2*time.Second
	})
	h.who = s.bob
	s.maps("group team@example.org alice@example.org", "group team@example.org bob@example.org")
	c := s.hello()
	c.envelope("x@sender.example", "team@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "INBOX")
	if got := q.told(); !slices.Equal(got, []string{"x@sender.example -> bob@example.org"}) || !q.last().Unclear {
		t.Errorf("%q", got)
	}
}

// forgetful is an account that adds a message and does not say so.
type forgetful struct {
	Accounts
	who domain.AccountID
}

func (a *forgetful) Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error) {
	o, err := a.Accounts.Do(ctx, id, actor, c)
	if err == nil && id == a.who {
		err = domain.Errorf(domain.Unavailable, "no answer from the quorum")
	}
	return o, err
}

// What a mailbox may have is asked of it before the queue brings it, also when a user has sent it: signed, it would be another message.
func TestAMemberWhoMayHaveTheMessageGetsItOnce(t *testing.T) {
	h := &forgetful{}
	s, q := startQueue(t, Submission, func(c *Config) { h.Accounts, c.Accounts = c.Accounts, h })
	h.who = s.bob
	s.maps("group team@example.org alice@example.org", "group team@example.org bob@example.org")
	c := s.login()
	c.envelope("alice@example.org", "team@example.org")
	c.send(dots("From: alice@example.org\r\n" + hi))
	c.expect("250 ")
	m := q.last()
	e := &queue.Entry{ID: 1, Sender: m.Sender.String(), Domain: "example.org", Final: m.Final, Head: m.Top, Recipients: []queue.Recipient{{Address: m.Recipients[0].Address.String()}}}
	if m.Unclear {
		e.Unclear = 1
	}
	local := &outgoing.Mailboxes{Accounts: s.Accounts, Directory: s.Directory, Filer: filing.New(filing.Config{Accounts: s.Accounts})}
	outcomes, _ := local.Deliver(t.Context(), e, func(ctx context.Context) (io.ReadCloser, error) { return s.Accounts.Open(ctx, m.Blob, m.Skip, -1) })
	if len(q.told()) != 1 || m.Sign || outcomes[0].Fate != queue.Delivered || len(s.messages(s.bob, "INBOX")) != 1 {
		t.Errorf("%+v, %+v: bob has %d", m, outcomes, len(s.messages(s.bob, "INBOX")))
	}
}

func TestLMTPAnswersForAGroup(t *testing.T) {
	s, q := startQueue(t, LMTP)
	s.maps("group team@example.org alice@example.org", "group team@example.org bob@example.org", "group team@example.org zoe@example.net")
	c := s.hello()
	c.envelope("x@sender.example", "team@example.org", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	c.expect("250 ")
	s.only(s.alice, "INBOX")
	s.only(s.bob, "INBOX")
	q.fail(domain.Errorf(domain.Unavailable, "down"))
	c.envelope("x@sender.example", "team@example.org", "alice@example.org")
	c.send(dots(hi))
	got := []string{c.expect(""), c.expect("")}
	slices.Sort(got)
	if !strings.HasPrefix(got[0], "250 ") || !strings.HasPrefix(got[1], "451 ") {
		t.Errorf("%q", got)
	}
}

// Users send under their aliases, but under no group's name; what they ask to hear goes on with the message.
func TestSubmissionAndMappings(t *testing.T) {
	s, q := startQueue(t, Submission, withSRS)
	s.maps("alias sales@example.org alice@example.org", "group team@example.org alice@example.org", "group team@example.org bob@example.org", "alias zoe@example.org zoe@example.net")
	c := s.login()
	c.do("MAIL FROM:<team@example.org>", "553 5.7.1")
	c.do("MAIL FROM:<sales@example.org> ENVID=q RET=HDRS", "250 ")
	c.do("RCPT TO:<zoe@example.org> NOTIFY=SUCCESS,FAILURE", "250 ")
	c.do("RCPT TO:<team@example.org> NOTIFY=SUCCESS ORCPT=rfc822;the-team@example.org", "250 ")
	c.do("DATA", "354 ")
	c.send(dots(hi))
	c.expect("250 ")
	told := q.told()
	slices.Sort(told)
	if want := []string{"sales@example.org -> alice@example.org bob@example.org", "sales@example.org -> zoe@example.net"}; !slices.Equal(told, want) {
		t.Fatalf("%q", told)
	}
	for _, m := range q.mails {
		for _, r := range m.Recipients {
			want := outgoing.Recipient{Address: r.Address, Original: "rfc822;the-team@example.org", Notify: queue.OnSuccess}
			if r.Address.Local == "zoe" {
				want.Original, want.Notify = "rfc822;zoe@example.org", queue.OnSuccess|queue.OnFailure
			}
			if r != want || m.EnvelopeID != "q" || m.Return != "HDRS" {
				t.Errorf("%+v of %+v", r, m)
			}
		}
	}
}

func TestAGroupOfThousands(t *testing.T) {
	s, q := startQueue(t, MX)
	var members []string
	for i := range 1500 {
		members = append(members, fmt.Sprintf("group all@example.org m%d@example.net", i))
	}
	s.maps(members[:800]...)
	s.maps(members[800:]...)
	c := s.hello()
	c.envelope("x@sender.example", "all@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	if n := len(q.last().Recipients); n != 1500 || len(q.told()) != 1 {
		t.Error(n)
	}
}

// What each of many mailboxes asks of a message costs the same, however many there are.
func TestAGroupOfMailboxesIsLookedAtOnce(t *testing.T) {
	m := &received{transaction: &transaction{}}
	all := recipient{address: delivery.Address{Local: "all", Domain: "example.org"}}
	for i := range 10_000 {
		all.copies = append(all.copies, leg{target{account: domain.AccountID(fmt.Sprintf("a%d", i)), mailbox: "INBOX"}, delivery.Address{Local: fmt.Sprintf("m%d", i), Domain: "example.org"}})
	}
	one := recipient{address: delivery.Address{Local: "m7", Domain: "example.org"}, copies: []leg{all.copies[7]}}
	m.recipients = []recipient{all, one}
	if n := len(m.targets()); n != 10_000 {
		t.Fatal(n)
	}
	places := 0
	for i, to := range m.targets() {
		places += len(m.share(to).dues)
		if m.spread(to) == (i == 7) || m.passed(to) || m.first(to) != all.address {
			t.Fatalf("%v: spread %v, passed %v, for %v", to, m.spread(to), m.passed(to), m.first(to))
		}
	}
	if places != 10_001 {
		t.Errorf("%d places are looked at, not one for each copy", places)
	}
	if got := m.names(m.targets()[7]); !slices.Equal(got, []string{"m7@example.org", "m7@example.org"}) || len(m.remembered(m.targets()...)) != 10_001 {
		t.Error(got)
	}
}

// Naming a group again and again costs nothing, and naming many groups ends somewhere.
func TestCopiesOfAMessageAreBounded(t *testing.T) {
	s, q := startQueue(t, MX, func(c *Config) { c.Limits.Copies = 4 })
	s.maps("group one@example.org zoe@example.net", "group one@example.org yan@example.net", "group two@example.org zoe@example.net", "group two@example.org xia@example.net", "group three@example.org wim@example.net")
	c := s.hello()
	c.do("MAIL FROM:<x@example.org>", "250 ")
	for range 20 {
		c.do("RCPT TO:<one@example.org>", "250 ")
		c.do("RCPT TO:<One@EXAMPLE.org>", "250 ")
	}
	c.do("RCPT TO:<two@example.org>", "250 ")
	c.do("RCPT TO:<three@example.org>", "452 4.5.3")
	c.do("RCPT TO:<alice@example.org>", "452 4.5.3")
	c.do("RCPT TO:<two@example.org>", "250 ")
	c.do("DATA", "354 ")
	c.send(dots(hi))
	c.expect("250 ")
	told := q.told()
	slices.Sort(told)
	if want := []string{"x@example.org -> zoe@example.net xia@example.net", "x@example.org -> zoe@example.net yan@example.net"}; !slices.Equal(told, want) {
		t.Errorf("%q", told)
	}
	c.envelope("x@example.org", "three@example.org")
	c.send(dots(hi))
	c.expect("250 ")

	// LMTP answers as often as it was asked.
	s, _ = startQueue(t, LMTP, func(c *Config) { c.Limits.Copies = 2 })
	c = s.hello()
	c.do("MAIL FROM:<x@sender.example>", "250 ")
	c.do("RCPT TO:<alice@example.org>", "250 ")
	c.do("RCPT TO:<alice@example.org>", "250 ")
	c.do("RCPT TO:<alice@example.org>", "452 4.5.3")
	c.do("DATA", "354 ")
	c.send(dots(hi))
	c.expect("250 ")
	c.expect("250 ")
	s.only(s.alice, "INBOX")
}

// Members of two groups that leave by one entry of the queue are in it once.
func TestAMemberOfTwoGroupsLeavesOnce(t *testing.T) {
	zoe := delivery.Address{Local: "zoe", Domain: "example.net"}
	r := recipient{address: delivery.Address{Local: "team", Domain: "example.org"}, options: &gosmtp.RcptOptions{}, copies: []leg{{target{queue: true}, zoe}}}
	m := &received{transaction: &transaction{envelope: &gosmtp.MailOptions{}, recipients: []recipient{r, r}}}
	if got := m.outgoing(target{queue: true}).Recipients; len(got) != 1 || got[0].Address != zoe {
		t.Error(got)
	}
}
