package door_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/streams"
)

// gate holds appends up: each takes a fault from its channel and goes on, one by one. It is closed when appends are to pass freely.
type gate struct {
	came  chan *event.Transaction
	fault chan doortest.Fault
}

func newGate(n *doortest.Node) *gate {
	g := &gate{make(chan *event.Transaction, 100), make(chan doortest.Fault)}
	n.Log.Before = func(_ domain.AccountID, t *event.Transaction) doortest.Fault {
		g.came <- t
		return <-g.fault // None when closed
	}
	return g
}

// open starts a node with one account.
func open(t *testing.T, options ...func(*door.Config)) (*doortest.Node, domain.AccountID) {
	t.Helper()
	options = append(options, func(c *door.Config) { c.Limits.Backoff = time.Microsecond })
	n := doortest.Start(t, options...)
	return n, n.AddAccount(t, "alice@example.org", "")
}

// create is a command whose outcome is easy to see.
func create(name string) account.Command { return account.CreateMailbox{Name: name} }

func names(t *testing.T, n *doortest.Node, id domain.AccountID) (names []string) {
	t.Helper()
	err := n.Accounts.View(t.Context(), id, func(s *account.State) error {
		names = nil
		for _, m := range s.Sorted() {
			names = append(names, m.Name)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return names
}

// logged gives the transactions of an account as the log has them.
func logged(t *testing.T, n *doortest.Node, id domain.AccountID) (entries []streams.Entry) {
	t.Helper()
	for e, err := range n.Log.ReadAccount(context.Background(), id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

// result runs f in the background.
func result[T any](f func() (T, error)) <-chan struct {
	Value T
	Err   error
} {
	c := make(chan struct {
		Value T
		Err   error
	}, 1)
	go func() {
		v, err := f()
		c <- struct {
			Value T
			Err   error
		}{v, err}
	}()
	return c
}

func TestCommandsShareTheTransactionBehindTheOneInFlight(t *testing.T) {
	n, alice := open(t)
	doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
	before := n.Accounts.Stats()
	g := newGate(n)

	var clients sync.WaitGroup
	outcomes := make([]door.Outcome, 16)
	store := func(i int) {
		var err error
		outcomes[i], err = n.Accounts.Do(t.Context(), alice, fmt.Sprint("client ", i%2), account.AddMessage{Mailbox: "INBOX", Flags: []string{fmt.Sprint("word", i)}})
		if err != nil {
			t.Error(err)
		}
	}
	clients.Go(func() { store(0) })
	<-g.came // The first is on its way, so the others gather.
	for i := 1; i < 16; i++ {
		clients.Go(func() { store(i) })
	}
	for n.Accounts.Gathered(alice) < 2*15 { // Each makes a keyword and a message that has it.
		time.Sleep(time.Millisecond)
	}
	close(g.fault)
	clients.Wait()

	entries := logged(t, n, alice)[2:]
	if appends := n.Accounts.Stats().Transactions - before.Transactions; appends != 2 || len(entries) != 2 {
		t.Fatalf("16 commands made %d appends and %d entries", appends, len(entries))
	}
	if got := entries[1].Transaction.Actor; got != "client 0, client 1" && got != "client 1, client 0" {
		t.Errorf("the shared transaction is by %q", got)
	}
	// Each outcome is its own command's part of the entry with its Tx.
	words := 0
	for i, o := range outcomes {
		e := entries[o.Tx-entries[0].Tx]
		for _, fact := range o.Events {
			if !slices.ContainsFunc(e.Transaction.Events, func(x event.Event) bool { return reflect.DeepEqual(x, fact) }) {
				t.Errorf("outcome %d holds %+v, which is not in Tx %d", i, fact, o.Tx)
			}
			if k, ok := fact.(*event.KeywordCreated); ok && k.Name == fmt.Sprint("word", i) {
				words++
			}
		}
	}
	if words != 16 {
		t.Errorf("%d of 16 commands created their keyword", words)
	}
}

// RFC 7162 section 3.1: each STORE on a mailbox has a MODSEQ of its own, also when many come at once.
func TestStoresOnOneMailboxShareNoTransaction(t *testing.T) {
	n, alice := open(t)
	uid := doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
	g := newGate(n)
	var clients sync.WaitGroup
	var mu sync.Mutex
	seen := map[domain.Tx]bool{}
	for i := range 8 {
		clients.Go(func() {
			o, err := n.Accounts.Do(t.Context(), alice, "client", account.StoreFlags{Mailbox: 1, UIDs: domain.UIDs(uid), Mode: account.AddFlags, Flags: []string{fmt.Sprint("word", i)}})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[o.Tx] = true
		})
	}
	<-g.came
	close(g.fault)
	clients.Wait()
	if len(seen) != 8 {
		t.Errorf("8 STOREs have %d MODSEQs", len(seen))
	}
}

func TestAReaderSealsTheOpenTransactionAndWaits(t *testing.T) {
	n, alice := open(t)
	g := newGate(n)
	first := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "x", create("first")) })
	<-g.came
	second := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "x", create("second")) })
	var seen domain.Tx
	for seen < 3 { // until the second command has joined the open transaction
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		err := n.Accounts.View(ctx, alice, func(s *account.State) error { seen = s.Tx; return nil })
		cancel()
		if !domain.Is(err, domain.Unavailable) {
			t.Fatalf("a reader was told of Tx %d, which is not durable: %v", seen, err)
		}
	}
	third := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "x", create("third")) })
	close(g.fault)
	for i, r := range []door.Outcome{(<-first).Value, (<-second).Value, (<-third).Value} {
		if want := domain.Tx(i + 2); r.Tx != want {
			t.Errorf("command %d has Tx %d, want %d", i+1, r.Tx, want)
		}
	}
}

func TestARefusalWaitsForWhatItRestsOn(t *testing.T) {
	for fault, want := range map[doortest.Fault]domain.Kind{doortest.None: domain.Exists, doortest.LostKept: 0, doortest.LostSent: domain.Exists} {
		n, alice := open(t)
		g := newGate(n)
		first := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "x", create("box")) })
		<-g.came
		second := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "y", create("box")) })
		select {
		case r := <-second:
			t.Fatalf("refused before anything was durable: %v", r.Err)
		case <-time.After(5 * time.Millisecond):
		}
		g.fault <- fault
		close(g.fault)
		if r := <-first; (fault == doortest.None) != (r.Err == nil) || r.Err != nil && !domain.Is(r.Err, domain.Unavailable) {
			t.Errorf("fault %d: the first got %v", fault, r.Err)
		}
		if r := <-second; want == 0 && r.Err != nil || want != 0 && !domain.Is(r.Err, want) {
			t.Errorf("fault %d: the second got %v", fault, r.Err)
		}
		if got := names(t, n, alice); !slices.Contains(got, "box") {
			t.Errorf("fault %d: the mailboxes are %v", fault, got)
		}
	}
}

func TestALostAnswerIsToldToThoseItConcerns(t *testing.T) {
	for fault, landed := range map[doortest.Fault]bool{doortest.LostSent: true, doortest.LostKept: false, doortest.LostLate: true} {
		n, alice := open(t)
		g := newGate(n)
		sent := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "x", create("sent")) })
		<-g.came
		waiting := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "x", create("waiting")) })
		seen := result(func() ([]string, error) { return names(t, n, alice), nil })
		g.fault <- fault
		close(g.fault)
		if r := <-sent; !domain.Is(r.Err, domain.Unavailable) {
			t.Errorf("fault %d: the outcome is unknown, but the client heard %v", fault, r.Err)
		}
		if r := <-waiting; r.Err != nil {
			t.Errorf("fault %d: what had not left was not tried again: %v", fault, r.Err)
		}
		<-seen
		if got := names(t, n, alice); slices.Contains(got, "sent") != landed || !slices.Contains(got, "waiting") {
			t.Errorf("fault %d: the mailboxes are %v", fault, got)
		}
	}
}

func TestAConflictIsDecidedAgain(t *testing.T) {
	n, alice := open(t)
	left := 3
	n.Log.Before = func(domain.AccountID, *event.Transaction) doortest.Fault {
		if left--; left >= 0 {
			return doortest.Refused
		}
		return doortest.None
	}
	if o, err := n.Accounts.Do(t.Context(), alice, "x", create("box")); err != nil || o.Tx != 2 {
		t.Errorf("got %+v, %v", o, err)
	}
	left = 100
	_, err := n.Accounts.Do(t.Context(), alice, "x", create("other"))
	if !domain.Is(err, domain.Conflict) || left != 95 {
		t.Errorf("after %d attempts: %v", 100-left, err)
	}
	left = 0
	if got := names(t, n, alice); slices.Contains(got, "other") || !slices.Contains(got, "box") {
		t.Errorf("the mailboxes are %v", got)
	}
}

func TestTwoNodesShareAnAccount(t *testing.T) {
	n, alice := open(t)
	other := doortest.Join(t, n.Log, n.Blobs, func(c *door.Config) { c.Limits.Backoff = time.Millisecond; c.Limits.Attempts = 100 })
	w, err := other.Accounts.Watch(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	loads := other.Accounts.Stats().Loads
	if _, err := n.Accounts.Do(t.Context(), alice, "x", create("box")); err != nil {
		t.Fatal(err)
	}
	<-w.C
	if got := names(t, other, alice); !slices.Contains(got, "box") || other.Accounts.Stats().Loads != loads {
		t.Errorf("the other node sees %v after %d loads", got, other.Accounts.Stats().Loads-loads)
	}

	var clients sync.WaitGroup
	for i, node := range []*doortest.Node{n, other, n, other} {
		clients.Go(func() {
			for k := range 20 {
				// Conflicts may outlast the attempts; that is an answer too, and nothing happened then.
				if _, err := node.Accounts.Do(t.Context(), alice, "x", create(fmt.Sprint("box", i, "-", k))); err != nil && !domain.Is(err, domain.Conflict) {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	a, b := names(t, n, alice), names(t, other, alice)
	created := 0
	for _, e := range logged(t, n, alice)[2:] {
		created += len(e.Transaction.Events)
	}
	if !slices.Equal(a, b) || len(a) != 7+created {
		t.Errorf("%d and %d mailboxes after %d were created", len(a), len(b), created)
	}
}

func TestATransactionIsBounded(t *testing.T) {
	for name, limit := range map[string]func(*door.Limits){
		"events": func(l *door.Limits) { l.TransactionEvents = 2 },
		"bytes":  func(l *door.Limits) { l.TransactionBytes = 40 },
		"actors": func(l *door.Limits) { l.ActorBytes = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			n, alice := open(t, func(c *door.Config) { limit(&c.Limits) })
			g := newGate(n)
			var clients sync.WaitGroup
			do := func(i int) {
				if _, err := n.Accounts.Do(t.Context(), alice, fmt.Sprint("cl", i), create(fmt.Sprint("mailbox", i))); err != nil {
					t.Error(err)
				}
			}
			clients.Go(func() { do(0) })
			<-g.came
			for i := 1; i < 9; i++ {
				clients.Go(func() { do(i) })
			}
			close(g.fault)
			clients.Wait()
			for _, e := range logged(t, n, alice)[1:] {
				if len(e.Transaction.Events) > 2 {
					t.Errorf("Tx %d holds %d events by %s", e.Tx, len(e.Transaction.Events), e.Transaction.Actor)
				}
			}
			if got := names(t, n, alice); len(got) != 6+9 {
				t.Errorf("%d mailboxes", len(got))
			}
		})
	}
}

func TestAClientThatLeavesDoesNotTakeItsChangeAlong(t *testing.T) {
	n, alice := open(t)
	g := newGate(n)
	ctx, leave := context.WithCancel(t.Context())
	gone := result(func() (door.Outcome, error) { return n.Accounts.Do(ctx, alice, "x", create("box")) })
	<-g.came
	leave()
	if r := <-gone; !domain.Is(r.Err, domain.Unavailable) || !errors.Is(r.Err, context.Canceled) || !strings.Contains(r.Err.Error(), "unknown") {
		t.Errorf("the client heard %v", r.Err)
	}
	close(g.fault)
	if got := names(t, n, alice); !slices.Contains(got, "box") {
		t.Errorf("the mailboxes are %v", got)
	}
	if _, err := n.Accounts.Do(ctx, alice, "x", create("late")); !domain.Is(err, domain.Unavailable) {
		t.Errorf("a command of a client that is gone gave %v", err)
	}
	if got := names(t, n, alice); slices.Contains(got, "late") {
		t.Errorf("the mailboxes are %v", got)
	}
}

func TestAPoisonedEntryIsReported(t *testing.T) {
	var report bytes.Buffer
	n, alice := open(t, func(c *door.Config) { c.Logger = slog.New(slog.NewTextHandler(&report, nil)) })
	names(t, n, alice) // The state is hot.
	at, err := n.Log.Last(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	poison := &event.Transaction{Events: []event.Event{&event.MailboxDeleted{Mailbox: 99}}}
	if _, err := n.Log.Append(t.Context(), alice, at, poison); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"level=ERROR", "account=" + string(alice), "tx=2", "seq=4", "mailbox 99 does not exist"} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("the report lacks %s: %s", want, report.String())
		}
	}
	for range 2 {
		if err := n.Accounts.View(t.Context(), alice, func(*account.State) error { return nil }); !domain.Is(err, domain.Corrupt) {
			t.Errorf("a reader got %v", err)
		}
		if _, err := n.Accounts.Do(t.Context(), alice, "x", create("box")); !domain.Is(err, domain.Corrupt) {
			t.Errorf("a writer got %v", err)
		}
	}
}

func TestUnknownAccounts(t *testing.T) {
	n, _ := open(t)
	nobody := domain.NewAccountID([10]byte{1})
	for _, id := range []domain.AccountID{nobody, domain.DirectoryID, ""} {
		if err := n.Accounts.View(t.Context(), id, func(*account.State) error { return nil }); !domain.Is(err, domain.NotFound) {
			t.Errorf("View of %q gave %v", id, err)
		}
		if _, err := n.Accounts.Do(t.Context(), id, "x", create("box")); !domain.Is(err, domain.NotFound) {
			t.Errorf("Do on %q gave %v", id, err)
		}
		if _, err := n.Accounts.Watch(t.Context(), id); !domain.Is(err, domain.NotFound) {
			t.Errorf("Watch of %q gave %v", id, err)
		}
	}
	// A key without a log is an account that nobody opened.
	if err := n.Log.Create(t.Context(), nobody); err != nil {
		t.Fatal(err)
	}
	if err := n.Accounts.View(t.Context(), nobody, func(*account.State) error { return nil }); !domain.Is(err, domain.NotFound) {
		t.Errorf("View gave %v", err)
	}
}

// slowViews calls after once, between reading a state and handing it out.
type slowViews struct {
	door.Views
	after func()
}

func (v *slowViews) Load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error) {
	s, at, err := v.Views.Load(ctx, id)
	if f := v.after; f != nil {
		v.after = nil
		f()
	}
	return s, at, err
}

func TestAnEntryThatComesDuringALoadIsNotMissed(t *testing.T) {
	n, alice := open(t)
	var views *slowViews
	slow := doortest.Join(t, n.Log, n.Blobs, func(c *door.Config) {
		views = &slowViews{Views: c.Views}
		c.Views = views
	})
	views.after = func() {
		if _, err := n.Accounts.Do(t.Context(), alice, "x", create("box")); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, slow, alice); !slices.Contains(got, "box") {
		t.Errorf("the mailboxes are %v", got)
	}
}

func TestALoadWaitsForWhatIsInFlight(t *testing.T) {
	n, alice := open(t)
	g := newGate(n)
	first := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "x", create("first")) })
	<-g.came
	n.Accounts.Rebuilt(doortest.AccountsStream, alice) // The state goes, the append stays on its way.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := n.Accounts.View(ctx, alice, func(*account.State) error { return nil }); !domain.Is(err, domain.Unavailable) {
		t.Errorf("a reader got %v", err)
	}
	close(g.fault)
	if r := <-first; r.Err != nil {
		t.Error(r.Err)
	}
	if got := names(t, n, alice); !slices.Contains(got, "first") {
		t.Errorf("the mailboxes are %v", got)
	}
}

func TestAnUnusedAccountStaysWhileItsAppendIsInFlight(t *testing.T) {
	n, alice := open(t, func(c *door.Config) { c.CacheBytes = 1 })
	g := newGate(n)
	ctx, leave := context.WithCancel(t.Context())
	gone := result(func() (door.Outcome, error) { return n.Accounts.Do(ctx, alice, "x", create("box")) })
	<-g.came
	leave()
	<-gone
	if s := n.Accounts.Stats(); s.Hot != 1 {
		t.Errorf("%+v", s)
	}
	close(g.fault)
	for n.Accounts.Stats().Hot > 0 { // It goes when the append is done.
		time.Sleep(time.Millisecond)
	}
	if got := names(t, n, alice); !slices.Contains(got, "box") {
		t.Errorf("the mailboxes are %v", got)
	}
}

// lateViews never catch up beyond a position, and fail whoever waits for more.
type lateViews struct {
	door.Views
	upTo domain.Seq
}

func (v *lateViews) Wait(ctx context.Context, id domain.AccountID, seq domain.Seq) error {
	if v.upTo > 0 && seq > v.upTo {
		return domain.Errorf(domain.Unavailable, "the view has not caught up")
	}
	return v.Views.Wait(ctx, id, seq)
}

func (v *lateViews) Thread(ctx context.Context, id domain.AccountID, m *message.Summary, upTo domain.Seq) (domain.ThreadID, error) {
	if err := v.Wait(ctx, "", upTo); err != nil {
		return 0, err
	}
	return v.Views.Thread(ctx, id, m, upTo)
}

func (v *lateViews) ThreadKeys(ctx context.Context, id domain.AccountID, most int, upTo domain.Seq) ([]uint64, error) {
	if err := v.Wait(ctx, "", upTo); err != nil {
		return nil, err
	}
	return v.Views.ThreadKeys(ctx, id, most, upTo)
}

func TestThreadsOfTheLastDeliveriesNeedNoRows(t *testing.T) {
	var views *lateViews
	n, alice := open(t, func(c *door.Config) {
		views = &lateViews{Views: c.Views}
		c.Views = views
	})
	at, err := n.Log.Last(t.Context(), alice)
	check(t, err)
	views.upTo = at.Seq
	mail := func(id, answers string) string {
		return fmt.Sprintf("Message-ID: <%s@example.org>\r\nIn-Reply-To: <%s@example.org>\r\nSubject: Re: it\r\n\r\n", id, answers)
	}
	doortest.Deliver(t, n.Accounts, alice, "INBOX", mail("0", "none"))
	for i := range 40 {
		answers := fmt.Sprint(i)
		if i == 20 {
			answers = "nobody"
		}
		if i >= 32 { // The oldest are in the rows only, so the view must have caught up to them.
			views.upTo = at.Seq + domain.Seq(i) - 30
		}
		doortest.Deliver(t, n.Accounts, alice, "INBOX", mail(fmt.Sprint(i+1), answers))
	}
	check(t, n.Accounts.View(t.Context(), alice, func(s *account.State) error {
		for i, thread := range s.Mailboxes[1].Thread {
			if want := domain.ThreadID(1); i <= 20 && thread != want || i > 20 && thread != 22 {
				t.Errorf("message %d is in thread %d", i, thread)
			}
		}
		return nil
	}))
	views.upTo = 0
	stored, err := n.Accounts.Ingest(t.Context(), strings.NewReader(mail("late", "3"))) // long ago
	check(t, err)
	if thread, err := n.Accounts.Thread(t.Context(), alice, &stored.Summary); thread != 1 || err != nil {
		t.Errorf("the late answer is in thread %d, %v", thread, err)
	}
	n.Accounts.Rebuilt("", alice)
	if thread, err := n.Accounts.Thread(t.Context(), alice, &stored.Summary); thread != 1 || err != nil {
		t.Errorf("after a load it is in thread %d, %v", thread, err)
	}
}

// An account that gets many messages knows that a new conversation is none of those in rows, however late those are, and finds these all the same.
func TestNewConversationsNeedNoRows(t *testing.T) {
	var views *lateViews
	n, alice := open(t, func(c *door.Config) {
		views = &lateViews{Views: c.Views}
		c.Views = views
	})
	mail := func(i int) string { return fmt.Sprintf("Message-ID: <%d@example.org>\r\nSubject: %d\r\n\r\n", i, i) }
	for i := range 1300 {
		switch i {
		case 20: // From here on rows do not catch up, while more come than are remembered.
			at, err := n.Log.Last(t.Context(), alice)
			check(t, err)
			views.upTo = at.Seq
		case 350: // There is no room for more keys soon: they are learned again.
			views.upTo = 0
		}
		doortest.Deliver(t, n.Accounts, alice, "INBOX", mail(i))
	}
	for i := range 1300 {
		stored, err := n.Accounts.Ingest(t.Context(), strings.NewReader(fmt.Sprintf("Message-ID: <re%d@example.org>\r\nIn-Reply-To: <%d@example.org>\r\nSubject: Re: %d\r\n\r\n", i, i, i)))
		check(t, err)
		if thread, err := n.Accounts.Thread(t.Context(), alice, &stored.Summary); thread != domain.ThreadID(i+1) || err != nil {
			t.Fatalf("the answer to message %d is in thread %d, %v", i, thread, err)
		}
	}
}

func TestBytesOfTheLastDeliveriesNeedNoRows(t *testing.T) {
	var views *lateViews
	n, alice := open(t, func(c *door.Config) {
		views = &lateViews{Views: c.Views}
		c.Views = views
	})
	at, err := n.Log.Last(t.Context(), alice)
	check(t, err)
	views.upTo = at.Seq // no delivery will ever be in the rows
	for i := range 3 {
		doortest.Deliver(t, n.Accounts, alice, "INBOX", fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	_, err = n.Accounts.Do(t.Context(), alice, "test", account.StoreFlags{Mailbox: 1, UIDs: domain.UIDs(2), Mode: account.AddFlags, Flags: []string{`\Deleted`}})
	check(t, err)
	_, err = n.Accounts.Do(t.Context(), alice, "test", account.Expunge{Mailbox: 1})
	check(t, err)
	var read []string
	for e, err := range n.Accounts.Emails(t.Context(), alice, 1, domain.UIDs(1, 2, 3), door.WantBlob) {
		check(t, err)
		r, err := n.Accounts.Open(t.Context(), e.Blob, 0, -1)
		check(t, err)
		text, err := io.ReadAll(r)
		check(t, err)
		read = append(read, fmt.Sprint(e.UID, strings.TrimSpace(string(text))))
	}
	if got := strings.Join(read, ", "); got != "1Subject: 0, 3Subject: 2" {
		t.Errorf("read %s", got)
	}
	for _, err := range n.Accounts.Emails(t.Context(), alice, 1, domain.UIDs(1), door.WantEnvelope) {
		if !domain.Is(err, domain.Unavailable) {
			t.Errorf("an envelope came from a row that is not there: %v", err)
		}
	}
}

func TestRowsThatNeverComeAreNotWaitedForForEver(t *testing.T) {
	stuck := false
	n, alice := open(t, func(c *door.Config) {
		c.Limits.RowsTimeout = time.Millisecond
		c.Views = &stuckViews{Views: c.Views, stuck: &stuck}
	})
	doortest.Deliver(t, n.Accounts, alice, "INBOX", "Subject: a\r\n\r\n")
	stuck = true
	for _, err := range n.Accounts.Emails(t.Context(), alice, 1, domain.UIDs(1), door.WantEnvelope) {
		if !domain.Is(err, domain.Unavailable) {
			t.Errorf("the rows came, or something else: %v", err)
		}
	}
}

// TestAStateNeedsNoRowsThatAreLate: rows that do not come in time are no reason to keep an account from its users.
func TestAStateNeedsNoRowsThatAreLate(t *testing.T) {
	n, alice := open(t)
	doortest.Deliver(t, n.Accounts, alice, "INBOX", "Subject: a\r\n\r\n")
	for _, seen := range []bool{true, false} { // some of the account's rows, or none
		stuck := false
		again := doortest.Join(t, n.Log, n.Blobs, func(c *door.Config) {
			c.Limits.LoadPatience = time.Millisecond
			c.Views = &stuckViews{Views: c.Views, stuck: &stuck}
		})
		if seen {
			check(t, again.Views.Wait(t.Context(), alice, 1))
		}
		doortest.Deliver(t, n.Accounts, alice, "INBOX", "Subject: b\r\n\r\n")
		stuck = true
		var want, got int64
		check(t, n.Accounts.View(t.Context(), alice, func(s *account.State) error { want = s.Usage.Messages; return nil }))
		check(t, again.Accounts.View(t.Context(), alice, func(s *account.State) error { got = s.Usage.Messages; return nil }))
		if got != want || got < 2 {
			t.Errorf("without the rows there are %d messages, want %d", got, want)
		}
	}
}

// stuckViews do not catch up while stuck is set, as on a full disk.
type stuckViews struct {
	door.Views
	stuck *bool
}

func (v *stuckViews) Wait(ctx context.Context, id domain.AccountID, seq domain.Seq) error {
	if !*v.stuck {
		return v.Views.Wait(ctx, id, seq)
	}
	<-ctx.Done()
	return domain.Wrap(domain.Unavailable, ctx.Err(), "the view has not caught up")
}

// TestRowsThatAreThereNeedNoWaiting: while the view is stuck, messages whose rows it has are read, and only the others are not.
func TestRowsThatAreThereNeedNoWaiting(t *testing.T) {
	stuck := false
	n, alice := open(t, func(c *door.Config) {
		c.Views = &oldViews{stuckViews{c.Views, &stuck}, 3}
		c.Limits.LoadPatience, c.Limits.RowsTimeout = time.Millisecond, 50*time.Millisecond
	})
	read := func(last domain.UID) (string, error) {
		var got domain.UIDSet
		for e, err := range n.Accounts.Emails(t.Context(), alice, 1, domain.UIDSet(nil).AddRange(1, last), door.WantEnvelope) {
			if err != nil {
				return got.String(), err
			}
			got = got.Add(e.UID)
		}
		return got.String(), nil
	}
	caughtUp := func(want string) {
		t.Helper()
		for got := ""; got != want; {
			var err error
			if got, err = read(9); err != nil && !domain.Is(err, domain.Unavailable) {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		doortest.Deliver(t, n.Accounts, alice, "INBOX", "Subject: early\r\n\r\n")
	}
	caughtUp("1:3")
	stuck = true
	if _, err := n.Accounts.Do(t.Context(), alice, "test", account.StoreFlags{Mailbox: 1, UIDs: domain.UIDSet(nil).Add(2), Flags: []string{`\Seen`}}); err != nil {
		t.Fatal(err)
	}
	if got, err := read(9); err != nil || got != "1:3" {
		t.Errorf("%s, %v", got, err)
	}
	doortest.Deliver(t, n.Accounts, alice, "INBOX", "Subject: late\r\n\r\n")
	if got, err := read(2); err != nil || got != "1:2" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := read(9); !domain.Is(err, domain.Unavailable) || got != "1:3" {
		t.Errorf("%s, %v", got, err)
	}
	stuck = false
	caughtUp("1:4")
}

// oldViews are stuck, and have none of a mailbox's rows above a UID meanwhile.
type oldViews struct {
	stuckViews
	upTo domain.UID
}

func (v *oldViews) Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error] {
	return func(yield func(door.Email, error) bool) {
		for e, err := range v.Views.Emails(ctx, id, mailbox, uids, want) {
			if err == nil && *v.stuck && e.UID > v.upTo {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
