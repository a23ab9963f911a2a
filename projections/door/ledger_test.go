package door_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	uid := doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
	before := n.Accounts.Stats()
	g := newGate(n)

	var clients sync.WaitGroup
	outcomes := make([]door.Outcome, 16)
	store := func(i int) {
		var err error
		outcomes[i], err = n.Accounts.Do(t.Context(), alice, fmt.Sprint("client ", i%2), account.StoreFlags{
			Mailbox: 1, UIDs: domain.UIDs(uid), Mode: account.AddFlags, Flags: []string{fmt.Sprint("word", i)},
		})
		if err != nil {
			t.Error(err)
		}
	}
	clients.Go(func() { store(0) })
	<-g.came // The first is on its way, so the others gather.
	for i := 1; i < 16; i++ {
		clients.Go(func() { store(i) })
	}
	for n.Accounts.Gathered(alice) < 2*15 { // Each makes a keyword and sets it.
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

func (v *lateViews) Wait(ctx context.Context, stream string, seq domain.Seq) error {
	if v.upTo > 0 && seq > v.upTo {
		return domain.Errorf(domain.Unavailable, "the view has not caught up")
	}
	return v.Views.Wait(ctx, stream, seq)
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

// stuckViews do not catch up while stuck is set, as on a full disk.
type stuckViews struct {
	door.Views
	stuck *bool
}

func (v *stuckViews) Wait(ctx context.Context, stream string, seq domain.Seq) error {
	if !*v.stuck {
		return v.Views.Wait(ctx, stream, seq)
	}
	<-ctx.Done()
	return domain.Wrap(domain.Unavailable, ctx.Err(), "the view has not caught up")
}
