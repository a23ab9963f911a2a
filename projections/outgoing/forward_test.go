package outgoing_test

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/queue/queuetest"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/projections/outgoing"
)

// What is sent on has a field of its own in front, and a report about it goes to the sender, not to the name that was made of him.
func TestForwardedMail(t *testing.T) {
	made := delivery.Address{Local: "SRS0=hash=AA=sender.example=zoe", Domain: "example.org"}
	s := newSite(t, func(c *outgoing.Config) {
		c.Origin = func(sender delivery.Address) delivery.Address {
			if sender == made {
				return delivery.Address{Local: "zoe", Domain: "sender.example"}
			}
			return sender
		}
	})
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	s.accept(outgoing.Mail{Sender: made, Top: "Delivered-To: team@example.org\r\n", Return: "FULL"}, "bob@example.net", "carol@example.com")
	s.until("all is done", empty)
	var forwarded, report string
	for _, text := range s.remote.got() {
		switch {
		case strings.HasPrefix(text, made.String()+" -> carol@example.com: "):
			_, forwarded, _ = strings.Cut(text, ": ")
		case strings.Contains(text, " -> zoe@sender.example: "):
			report = text
		}
	}
	if forwarded != "Delivered-To: team@example.org\r\n"+header+"\r\nHello.\r\n" {
		t.Errorf("%q", forwarded)
	}
	if !strings.Contains(report, "To: <zoe@sender.example>") || strings.Contains(report, "SRS0") || !strings.Contains(report, header+"\r\nHello.") {
		t.Errorf("%s", report)
	}
}

// asked tells how many unclear attempts an entry has when it is its turn.
type asked struct {
	outgoing.Carrier
	unclear chan int
}

func (a asked) Deliver(ctx context.Context, e *queue.Entry, open queue.Open) ([]queue.Outcome, bool) {
	a.unclear <- e.Unclear
	return a.Carrier.Deliver(ctx, e, open)
}

// Several messages come into the queue together, or none does. What may be in a mailbox is known there from the first attempt on.
func TestSeveralAreAcceptedTogether(t *testing.T) {
	unclear := make(chan int, 2)
	s := newSite(t, func(c *outgoing.Config) { c.Remote = asked{c.Remote, unclear} })
	to := func(name string) []outgoing.Recipient {
		return []outgoing.Recipient{{Address: delivery.Address{Local: name, Domain: "example.net"}}}
	}
	blob, err := s.store.Put(t.Context(), strings.NewReader(header+"\r\nHello.\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	first := &outgoing.Mail{Blob: blob, Recipients: to("bob"), Unclear: true}
	if err := s.worker.AcceptAll(t.Context(), first, &outgoing.Mail{Blob: blob, Recipients: to("carol")}); err != nil {
		t.Fatal(err)
	}
	s.until("both are done", empty)
	if one, other := <-unclear, <-unclear; one+other != 1 {
		t.Errorf("%d and %d attempts are unclear", one, other)
	}
}

// What the queue brings to an address here goes where mappings send it, unless they were applied already.
func TestMailboxesFollowMappings(t *testing.T) {
	n := doortest.Start(t)
	alice, bob := n.AddAccount(t, "alice@example.org", ""), n.AddAccount(t, "bob@example.org", "")
	if _, err := n.Accounts.Do(t.Context(), bob, "test", account.SetLimits{Limits: account.Limits{Bytes: 10}}); err != nil {
		t.Fatal(err)
	}
	var more []rewriting.Mapping
	for _, text := range []string{
		"group team@example.org alice@example.org", "group team@example.org bob@example.org", "group team@example.org zoe@example.net", "forward alice@example.org alice@example.org", "forward alice@example.org alice@example.com",
		"error gone@example.org 551 5.1.6 Moved", "error later@example.org 450 4.2.1 On holiday", "regex @example.org ax@.*:bx@example.org", "regex @example.org bx@.*:ax@example.org", "alias sales@example.org alice@example.org",
	} {
		f := strings.SplitN(text, " ", 3)
		more = append(more, rewriting.Mapping{Kind: event.MappingKind(f[0]), Source: f[1], Target: f[2]})
	}
	if err := n.Directory.ChangeMappings(t.Context(), "test", directory.ChangeMappings{Add: more}); err != nil {
		t.Fatal(err)
	}
	var told []string
	appends := 0
	local := &outgoing.Mailboxes{
		Accounts: n.Accounts, Directory: n.Directory, Filer: filing.New(filing.Config{Accounts: n.Accounts}),
		Accept: func(_ context.Context, mails ...*outgoing.Mail) error {
			appends++
			for _, m := range mails {
				for _, r := range m.Recipients {
					told = append(told, fmt.Sprintf("%s%s -> %s, original %s, notify %d, final %v%s", m.Top, m.Sender, r.Address, r.Original, r.Notify, m.Final, map[bool]string{true: ", unclear"}[m.Unclear]))
				}
			}
			return nil
		},
		ReturnPath: func(_, recipient delivery.Address) delivery.Address {
			return delivery.Address{Local: "made", Domain: recipient.Domain}
		},
	}
	text := func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(header + "\r\nHello.\r\n")), nil
	}
	deliver := func(final bool, notify queue.Notify, to ...string) (fates []string) {
		t.Helper()
		told = nil
		e := &queue.Entry{ID: 1, Sender: "x@sender.example", Domain: "example.org", Final: final}
		for _, a := range to {
			e.Recipients = append(e.Recipients, queue.Recipient{Address: a, Notify: notify})
		}
		outcomes, _ := local.Deliver(t.Context(), e, text)
		for _, o := range outcomes {
			fates = append(fates, fmt.Sprintf("%v %s", o.Fate, o.Status))
		}
		return fates
	}
	has := func(id domain.AccountID) (count int) {
		if err := n.Accounts.View(t.Context(), id, func(s *account.State) error { m, _ := s.Mailbox("INBOX"); count = m.Len(); return nil }); err != nil {
			t.Fatal(err)
		}
		return count
	}

	if got := deliver(false, queue.OnSuccess, "team@example.org"); !slices.Equal(got, []string{"delivered 2.1.5"}) || has(alice) != 1 || appends != 1 {
		t.Errorf("%q, alice has %d, the queue was asked %d times", got, has(alice), appends)
	}
	if want := []string{
		fmt.Sprintf("x@sender.example -> bob@example.org, original rfc822;team@example.org, notify %d, final true, unclear", queue.Never),
		fmt.Sprintf("Delivered-To: team@example.org\r\nmade@example.org -> alice@example.com, original rfc822;team@example.org, notify %d, final true", queue.Never),
		fmt.Sprintf("Delivered-To: team@example.org\r\nmade@example.org -> zoe@example.net, original rfc822;team@example.org, notify %d, final true", queue.Never),
	}; !slices.Equal(told, want) {
		t.Errorf("%q", told)
	}
	if got := deliver(false, 0, "gone@example.org", "later@example.org", "ax@example.org", "nobody@example.org"); !slices.Equal(got, []string{"failed 5.1.6", "deferred 4.2.1", "failed 5.4.6", "failed 5.1.1"}) || len(told) > 0 {
		t.Errorf("%q, %q", got, told)
	}
	if outcomes, _ := local.Deliver(t.Context(), &queue.Entry{ID: 1, Sender: "x@sender.example", Domain: "example.org", Recipients: []queue.Recipient{{Address: "ax@example.org"}}}, text); strings.Contains(outcomes[0].Text, "bx") {
		t.Errorf("strangers are told the way: %q", outcomes[0].Text)
	}
	var parked []string
	local.Park = func(_ context.Context, repository string, e *queue.Entry, cause string) error {
		parked = append(parked, fmt.Sprintf("%s %s %s %v: %s", repository, e.Sender, e.Recipients[0].Address, e.Final, cause))
		return nil
	}
	if got := deliver(false, 0, "ax@example.org"); !slices.Equal(got, []string{"relayed 2.1.5"}) ||
		!slices.Equal(parked, []string{"rrt-error x@sender.example ax@example.org false: a loop: ax@example.org -> (regex) bx@example.org -> (regex) ax@example.org"}) {
		t.Errorf("%q, %q", got, parked)
	}
	var whole *queue.Entry
	local.Park = func(_ context.Context, _ string, e *queue.Entry, _ string) error { whole = e; return nil }
	full := queuetest.Full()
	full.Final, full.Recipients = false, []queue.Recipient{{Address: "ax@example.org", Original: "rfc822;x", Notify: queue.OnDelay}}
	if local.Deliver(t.Context(), full, text); !reflect.DeepEqual(whole, full) {
		t.Errorf("%+v is parked of %+v", whole, full)
	}
	// A report to a sender who was rewritten goes to him; what is no report does not.
	local.Origin = func(a delivery.Address) delivery.Address {
		if a.Local == "made" {
			return delivery.Address{Local: "x", Domain: "sender.example"}
		}
		return a
	}
	told = nil
	report := &queue.Entry{ID: 1, Domain: "example.org", Recipients: []queue.Recipient{{Address: "made@example.org", Notify: queue.Never}, {Address: "nobody@example.org"}}}
	if outcomes, _ := local.Deliver(t.Context(), report, text); outcomes[0].Fate != queue.Delivered || outcomes[1].Status != "5.1.1" ||
		!slices.Equal(told, []string{fmt.Sprintf(" -> x@sender.example, original , notify %d, final false", queue.Never)}) {
		t.Errorf("%+v, %q", outcomes, told)
	}
	if got := deliver(false, 0, "made@example.org"); !slices.Equal(got, []string{"failed 5.1.1"}) || len(told) > 0 {
		t.Errorf("%q, %q", got, told)
	}
	if got := deliver(true, 0, "alice@example.org", "sales@example.org"); !slices.Equal(got, []string{"delivered 2.1.5", "delivered 2.1.5"}) || len(told) > 0 || has(alice) != 3 {
		t.Errorf("%q, %q, alice has %d", got, told, has(alice))
	}
}
