package door_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

// faulty makes about one append in twelve fail, in every way there is, and lets others run meanwhile.
func faulty(seed uint64) func(domain.AccountID, *event.Transaction) doortest.Fault {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	return func(domain.AccountID, *event.Transaction) doortest.Fault {
		mu.Lock()
		dice, yields := random.IntN(50), random.IntN(20)
		mu.Unlock()
		for range yields {
			runtime.Gosched()
		}
		switch dice {
		case 0:
			return doortest.Refused
		case 1:
			return doortest.LostSent
		case 2:
			return doortest.LostKept
		case 3:
			return doortest.LostLate
		}
		return doortest.None
	}
}

// digest is all of a state that a client can see.
func digest(s *account.State) [32]byte {
	h := sha256.New()
	fmt.Fprintln(h, s.Tx, s.Keywords, s.Usage)
	for _, m := range s.Sorted() {
		fmt.Fprintln(h, *m)
	}
	return [32]byte(h.Sum(nil))
}

// TestNobodySeesHalfATransaction runs writers and readers on one account through a log that fails now and then. Whoever sees a Tx sees the same
// as everybody else who sees it, and that is what the log says of it.
func TestNobodySeesHalfATransaction(t *testing.T) {
	n, alice := open(t, func(c *door.Config) { c.Limits.Attempts = 50 })
	for range 20 {
		doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
	}
	n.Log.Before = faulty(7)
	var mu sync.Mutex
	seen := map[domain.Tx][32]byte{}
	var readers, writers sync.WaitGroup
	var over atomic.Bool
	for range 3 {
		readers.Go(func() {
			last := domain.Tx(0)
			for !over.Load() {
				var tx domain.Tx
				var sum [32]byte
				err := n.Accounts.View(t.Context(), alice, func(s *account.State) error { tx, sum = s.Tx, digest(s); return nil })
				if err != nil {
					t.Error(err)
					return
				}
				if tx < last {
					t.Errorf("Tx %d is seen after %d", tx, last)
				}
				last = tx
				mu.Lock()
				if before, again := seen[tx]; again && before != sum {
					t.Errorf("Tx %d looks different the second time", tx)
				}
				seen[tx] = sum
				mu.Unlock()
			}
		})
	}
	for w := range 6 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 2))
			for i := range 60 {
				var c account.Command
				uids := domain.UIDs(domain.UID(1+random.IntN(20)), domain.UID(1+random.IntN(20)))
				switch random.IntN(4) {
				case 0:
					c = account.AddMessage{Mailbox: "INBOX", Blob: domain.BlobRef{Size: int64(i)}}
				case 1:
					c = account.Transfer{From: 1, To: "Trash", UIDs: uids}
				default:
					c = account.StoreFlags{Mailbox: 1, UIDs: uids, Mode: account.StoreMode(random.IntN(3)), Flags: []string{fmt.Sprint("w", w), `\Seen`}}
				}
				if _, err := n.Accounts.Do(t.Context(), alice, fmt.Sprint("writer ", w), c); err != nil && !domain.Is(err, domain.Unavailable) {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	over.Store(true)
	readers.Wait()
	n.Log.Before = nil

	s := account.New()
	for _, e := range logged(t, n, alice) {
		for _, fact := range e.Transaction.Events {
			s.Apply(e.Tx, fact)
		}
		if sum, was := seen[e.Tx]; was && sum != digest(s) {
			t.Errorf("Tx %d was seen otherwise than the log has it", e.Tx)
		}
	}
	if len(seen) < 5 {
		t.Errorf("the readers saw %d states only", len(seen))
	}
	err := n.Accounts.View(t.Context(), alice, func(live *account.State) error {
		if digest(live) != digest(s) {
			t.Error("the live state is not what the log folds to")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The operations of one mailbox, for porcupine.
type operation struct {
	kind string // "add", "flag", "read"
	word string
}

type answer struct {
	unknown bool // the client heard nothing, or that the outcome is unknown
	uid     domain.UID
	changed bool
	state   string
}

// register is the sequential mailbox: how many messages there are and which words lie on the first of them.
type register struct {
	messages int
	flagged  string // sorted words
}

func (r register) String() string { return fmt.Sprint(r.messages, " ", r.flagged) }

var mailboxModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{register{messages: 1}} },
	Step: func(state, input, output any) []any {
		r, in, out := state.(register), input.(operation), output.(answer)
		switch in.kind {
		case "add":
			next := register{r.messages + 1, r.flagged}
			if out.unknown {
				return []any{r, next}
			}
			if int(out.uid) != next.messages {
				return nil
			}
			return []any{next}
		case "flag":
			next := register{r.messages, in.word}
			if out.unknown {
				return []any{r, next}
			}
			if out.changed != (r.flagged != in.word) {
				return nil
			}
			return []any{next}
		}
		if out.unknown || out.state == r.String() {
			return []any{r}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
}

// TestLinearizable checks that deliveries, flag changes and readings of one account, through a log that fails now and then, look as if each
// happened at one moment between its call and its answer.
func TestLinearizable(t *testing.T) {
	for seed := range uint64(8) {
		n, alice := open(t, func(c *door.Config) { c.Limits.Attempts = 50 })
		doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
		n.Log.Before = faulty(seed)
		var mu sync.Mutex
		var history []porcupine.Operation
		start := time.Now()
		var clients sync.WaitGroup
		for client := range 5 {
			clients.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(client)))
				for range 25 {
					in := operation{kind: []string{"add", "flag", "flag", "read"}[random.IntN(4)], word: fmt.Sprint("word", random.IntN(3))}
					call := time.Since(start).Nanoseconds()
					out := perform(t, n.Accounts, alice, in)
					end := time.Since(start).Nanoseconds()
					if out.unknown { // It may take effect at any later time.
						end = 1 << 60
					}
					mu.Lock()
					history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
					mu.Unlock()
				}
			})
		}
		clients.Wait()
		n.Log.Before = nil
		if result := porcupine.CheckOperationsTimeout(mailboxModel.ToModel(), history, 2*time.Minute); result != porcupine.Ok {
			t.Fatalf("seed %d: the history is not linearizable (%s)", seed, result)
		}
	}
}

func perform(t *testing.T, a *door.Accounts, id domain.AccountID, in operation) (out answer) {
	var err error
	var o door.Outcome
	switch in.kind {
	case "add":
		o, err = a.Do(t.Context(), id, "x", account.AddMessage{Mailbox: "INBOX"})
		for _, e := range o.Events {
			out.uid = e.(*event.MessageAdded).UID
		}
	case "flag":
		o, err = a.Do(t.Context(), id, "x", account.StoreFlags{Mailbox: 1, UIDs: domain.UIDs(1), Flags: []string{in.word}})
		out.changed = o.Events != nil
	case "read":
		err = a.View(t.Context(), id, func(s *account.State) error {
			m := s.Mailboxes[1]
			words := s.FlagNames(m.Flags[0])
			slices.Sort(words)
			word := ""
			if len(words) > 0 {
				word = words[0]
			}
			if len(words) > 1 {
				return domain.Errorf(domain.Internal, "the first message has the words %v", words)
			}
			out.state = register{m.Len(), word}.String()
			return nil
		})
	}
	if err != nil {
		if !domain.Is(err, domain.Unavailable) {
			t.Error(err)
		}
		return answer{unknown: true}
	}
	return out
}

func TestWatchesHearOfWhatIsDurable(t *testing.T) {
	n, alice := open(t)
	var all []*door.Watch
	for range 1000 {
		w, err := n.Accounts.Watch(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	g := newGate(n)
	done := result(func() (door.Outcome, error) { return n.Accounts.Do(t.Context(), alice, "x", create("box")) })
	<-g.came
	for _, w := range all {
		select {
		case <-w.C:
			t.Fatal("a token came before the change was durable")
		default:
		}
	}
	close(g.fault)
	<-done
	for _, w := range all {
		<-w.C
	}
	all[0].Close()
	all[0].Close()
	for range 3 { // Tokens coalesce.
		doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
	}
	select {
	case <-all[0].C:
		t.Error("a closed watch got a token")
	default:
	}
	for _, w := range all[1:] {
		<-w.C
		w.Close()
	}
	if hot := n.Accounts.Stats().Hot; hot != 1 {
		t.Errorf("%d accounts are hot", hot)
	}
}

func TestStatesThatNobodyUsesFitIntoTheBudget(t *testing.T) {
	const budget = 100 << 10 // Twenty empty accounts, about.
	n, alice := open(t, func(c *door.Config) { c.CacheBytes = budget })
	w, err := n.Accounts.Watch(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	ids := []domain.AccountID{alice}
	for i := range 60 {
		ids = append(ids, n.AddAccount(t, fmt.Sprintf("user%d@example.org", i), ""))
	}
	for i := range 300 {
		id := ids[1+i*7%60]
		doortest.Deliver(t, n.Accounts, id, "INBOX", letter)
		if s := n.Accounts.Stats(); s.HotBytes > budget {
			t.Fatalf("%d accounts take %d octets", s.Hot, s.HotBytes)
		}
	}
	s := n.Accounts.Stats()
	if s.Evictions == 0 || s.Hot < 5 || s.Hot > 40 {
		t.Errorf("after the rush: %+v", s)
	}
	names(t, n, alice)
	if now := n.Accounts.Stats(); now.Loads != s.Loads {
		t.Error("the watched account was loaded again")
	}
	for _, id := range ids[1:] {
		err := n.Accounts.View(t.Context(), id, func(s *account.State) error {
			if m, _ := s.Mailbox("INBOX"); m.Len() != 5 {
				t.Errorf("account %s has %d messages", id, m.Len())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	w.Close()
	n.Accounts.Rebuilt(doortest.AccountsStream, "")
	if s := n.Accounts.Stats(); s.Hot != 0 || s.HotBytes != 0 {
		t.Errorf("after a rebuild: %+v", s)
	}
	if got := names(t, n, alice); len(got) != 6 {
		t.Errorf("the mailboxes are %v", got)
	}
}

func TestALoadIsNobodysInParticular(t *testing.T) {
	n, alice := open(t)
	n.Accounts.Rebuilt("", alice)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Accounts.View(ctx, alice, func(*account.State) error { return nil }); !domain.Is(err, domain.Unavailable) {
		t.Errorf("a client that is gone got %v", err)
	}
	loads := n.Accounts.Stats().Loads
	var readers sync.WaitGroup
	for range 50 {
		readers.Go(func() { names(t, n, alice) })
	}
	readers.Wait()
	if more := n.Accounts.Stats().Loads - loads; more > 1 {
		t.Errorf("50 readers made %d loads", more)
	}
}

// BenchmarkDo stores flags from 1 and 16 clients of one account, on a log that answers at once and on one that takes as long as a disk's sync.
func BenchmarkDo(b *testing.B) {
	for _, latency := range []time.Duration{0, 300 * time.Microsecond} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("append=%v/writers=%d", latency, writers), func(b *testing.B) {
				n := doortest.Start(b)
				alice := n.AddAccount(b, "alice@example.org", "")
				doortest.Deliver(b, n.Accounts, alice, "INBOX", letter)
				if latency > 0 {
					n.Log.Before = func(domain.AccountID, *event.Transaction) doortest.Fault {
						time.Sleep(latency)
						return doortest.None
					}
				}
				var left atomic.Int64
				left.Store(int64(b.N))
				before := n.Accounts.Stats()
				b.ResetTimer()
				var clients sync.WaitGroup
				for w := range writers {
					clients.Go(func() {
						for i := 0; left.Add(-1) >= 0; i++ {
							c := account.StoreFlags{Mailbox: 1, UIDs: domain.UIDs(1), Mode: account.StoreMode(1 + i%2), Flags: []string{fmt.Sprint("w", w)}}
							if _, err := n.Accounts.Do(context.Background(), alice, "x", c); err != nil {
								b.Error(err)
							}
						}
					})
				}
				clients.Wait()
				after := n.Accounts.Stats()
				b.ReportMetric(float64(after.Commands-before.Commands)/float64(after.Transactions-before.Transactions), "commands/append")
			})
		}
	}
}

func BenchmarkView(b *testing.B) {
	n := doortest.Start(b)
	alice := n.AddAccount(b, "alice@example.org", "")
	for b.Loop() {
		if err := n.Accounts.View(context.Background(), alice, func(*account.State) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
