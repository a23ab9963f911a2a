package integration

import (
	"bufio"
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/replicas"
	"github.com/streampost/streampost/streams"
)

// The figures of docs/measurements.md, "A cluster of three". Each prints the median of its rounds and what it should be:
//
//	go test ./integration -run '^$' -bench Cluster -benchtime 5x

// measure runs rounds and reports their median beside a goal.
func measure(b *testing.B, unit, goal string, round func() float64) {
	b.Helper()
	var all []float64
	for b.Loop() {
		all = append(all, round())
	}
	seen := slices.Clone(all)
	slices.Sort(all)
	b.ReportMetric(all[len(all)/2], unit)
	b.ReportMetric(0, "ns/op")
	b.Logf("median %.4g %s, goal %s; rounds %.4g", all[len(all)/2], unit, goal, seen)
}

// hashed is the test's password, as accounts have it that are made by the thousand: checking it is cheap.
var hashed = sync.OnceValue(func() string {
	salt := []byte("salt of a test")
	key, err := pbkdf2.Key(sha256.New, password, salt, 1000, 32)
	if err != nil {
		panic(err)
	}
	enc := base64.RawStdEncoding
	return "$pbkdf2-sha256$i=1000,l=32$" + enc.EncodeToString(salt) + "$" + enc.EncodeToString(key)
})

// each runs a function for each of n, some at a time, until one fails.
func each(n, atOnce int, f func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var work sync.WaitGroup
	for range atOnce {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	work.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// many is each, and none may fail.
func many(t testing.TB, n, atOnce int, f func(i int) error) {
	t.Helper()
	if err := each(n, atOnce, f); err != nil {
		t.Fatal(err)
	}
}

// populate adds accounts.
func populate(t testing.TB, s *server, n int) (accounts []string) {
	t.Helper()
	for i := range n {
		accounts = append(accounts, fmt.Sprintf("user%04d@example.org", i))
	}
	many(t, n, 16, func(i int) error {
		return s.api("POST", "/accounts", webadmin.NewAccount{Address: accounts[i], Password: hashed()}, nil)
	})
	return accounts
}

func (s *server) promote(t testing.TB, order webadmin.Promotion) {
	t.Helper()
	if err := s.api("POST", "/replicas/promote", order, nil); err != nil {
		t.Fatal(err)
	}
}

// seat is an IMAP connection that a benchmark speaks to.
type seat struct {
	net.Conn
	r *bufio.Reader
}

func (s *server) seat(t testing.TB, account string) *seat {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr(1143))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := &seat{nc, bufio.NewReader(nc)}
	if _, err := c.r.ReadSlice('\n'); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`LOGIN ` + account + ` "` + password + `"`, "SELECT INBOX"} {
		if err := c.do(line); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// do gives a command, which must be done.
func (c *seat) do(line string) error {
	if _, err := fmt.Fprintf(c, "x %s\r\n", line); err != nil {
		return err
	}
	for {
		got, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.HasPrefix(got, []byte("x ")) {
			if !bytes.HasPrefix(got, []byte("x OK")) {
				return fmt.Errorf("%s is answered %s", line, got)
			}
			return nil
		}
	}
}

// appended adds a message to INBOX.
func (c *seat) appended(size int) error {
	text := "Subject: of a benchmark\r\n\r\n" + strings.Repeat("words of the message\r\n", size/22)
	return c.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text))
}

// BenchmarkClusterPromotion: a client changes flags all the time while its account is promoted; the longest that it waits for an answer is the pause.
func BenchmarkClusterPromotion(b *testing.B) {
	all := startNodes(b, "cluster.failover.steady=1s")
	whole(b, all)
	account := populate(b, all[0], 1)[0]
	c, n := all[0].seat(b, account), 0
	if err := c.appended(1 << 10); err != nil {
		b.Fatal(err)
	}
	measure(b, "ms-pause", "below 100", func() float64 {
		promoted := make(chan struct{})
		go func() {
			defer close(promoted)
			n++
			all[0].promote(b, webadmin.Promotion{Accounts: []string{account}, To: fmt.Sprintf("node%d", n%3+1)})
		}()
		longest := time.Duration(0)
		for after := 0; after < 50; { // some more, for what comes late
			began := time.Now()
			if err := c.do("STORE 1 " + []string{"+", "-"}[after%2] + "FLAGS.SILENT (\\Flagged)"); err != nil {
				b.Fatal(err)
			}
			longest = max(longest, time.Since(began))
			select {
			case <-promoted:
				after++
			default:
			}
		}
		return longest.Seconds() * 1000
	})
}

// BenchmarkClusterPromotionOf1000: all accounts of a node, to one that is named and to whichever is best.
func BenchmarkClusterPromotionOf1000(b *testing.B) {
	all := startNodes(b, "cluster.failover.steady=1s")
	whole(b, all)
	accounts := populate(b, all[0], 1000)
	all[0].promote(b, webadmin.Promotion{Accounts: accounts, To: "node1"})
	at := 1
	b.Run("to a node", func(b *testing.B) {
		measure(b, "s", "below 2", func() float64 {
			from, began := fmt.Sprintf("node%d", at), time.Now()
			at = at%3 + 1
			all[0].promote(b, webadmin.Promotion{From: from, To: fmt.Sprintf("node%d", at)})
			return time.Since(began).Seconds()
		})
	})
	b.Run("to the best", func(b *testing.B) {
		measure(b, "s", "below 2", func() float64 {
			all[0].promote(b, webadmin.Promotion{Accounts: accounts, To: "node1"})
			began := time.Now()
			all[0].promote(b, webadmin.Promotion{From: "node1"})
			return time.Since(began).Seconds()
		})
	})
}

// BenchmarkClusterFailoverOf1000: the primary of all is killed. The clock stops when the last account has another primary and has taken a message.
func BenchmarkClusterFailoverOf1000(b *testing.B) {
	all := startNodes(b, "cluster.failover.steady=1s", "cluster.failover.most=1000")
	whole(b, all)
	accounts := populate(b, all[0], 1000)
	var moved, writable []float64
	measure(b, "s", "below 10", func() float64 {
		inCharge := steady(b, all)
		victim := inCharge // by turns
		if len(moved)%2 == 1 {
			victim = all[(slices.Index(all, inCharge)+1)%3]
		}
		victim.promote(b, webadmin.Promotion{Accounts: accounts, To: name(all, victim)})
		began := time.Now()
		victim.kill(syscall.SIGKILL)
		m, w := movedFrom(b, all, victim, accounts, began)
		moved, writable = append(moved, m.Seconds()), append(writable, w.Seconds())
		b.StopTimer()
		victim.join()
		victim.ready("")
		whole(b, all)
		b.StartTimer()
		return max(m, w).Seconds()
	})
	b.Logf("the last account had another primary after %.3g s, and had taken a message after %.3g s", moved, writable)
}

// BenchmarkClusterReplicaLag: while 1,000 flag changes a second are acknowledged on one node, a client in IDLE on another learns of a change later than the
// client who made it by so much.
func BenchmarkClusterReplicaLag(b *testing.B) {
	all := startNodes(b)
	whole(b, all)
	const writers = 50
	accounts := populate(b, all[0], writers+1)
	watched := accounts[writers]
	maker := all[0].seat(b, watched)
	if err := maker.appended(1 << 10); err != nil {
		b.Fatal(err)
	}
	watcher := all[1].seat(b, watched)
	fmt.Fprintf(watcher, "i IDLE\r\n")
	told := make(chan time.Time, 10)
	go func() {
		for {
			line, err := watcher.r.ReadSlice('\n')
			if err != nil {
				return
			}
			if bytes.Contains(line, []byte(" FETCH ")) {
				told <- time.Now()
			}
		}
	}()
	var sessions []*seat
	for _, account := range accounts[:writers] {
		c := all[0].seat(b, account)
		if err := c.appended(1 << 10); err != nil {
			b.Fatal(err)
		}
		sessions = append(sessions, c)
	}
	measure(b, "ms-p99", "below 250", func() float64 {
		var stop atomic.Bool
		var written atomic.Int64
		var work sync.WaitGroup
		began := time.Now()
		for i, c := range sessions {
			work.Go(func() {
				tick := time.NewTicker(writers * time.Millisecond)
				defer tick.Stop()
				time.Sleep(time.Duration(i) * time.Millisecond) // evenly
				for n := 0; !stop.Load(); n++ {
					if err := c.do("STORE 1 " + []string{"+", "-"}[n%2] + "FLAGS.SILENT (\\Flagged)"); err != nil {
						b.Error(err)
						return
					}
					written.Add(1)
					<-tick.C
				}
			})
		}
		var lags []time.Duration
		for n := range 300 {
			if err := maker.do("STORE 1 " + []string{"+", "-"}[n%2] + "FLAGS.SILENT (\\Flagged)"); err != nil {
				b.Fatal(err)
			}
			done := time.Now()
			lags = append(lags, max((<-told).Sub(done), 0))
			time.Sleep(15 * time.Millisecond)
		}
		stop.Store(true)
		work.Wait()
		slices.Sort(lags)
		b.Logf("%.0f changes/s beside; lag p50 %v, p99 %v", float64(written.Load())/time.Since(began).Seconds(), lags[len(lags)/2], lags[len(lags)*99/100])
		return lags[len(lags)*99/100].Seconds() * 1000
	})
}

// BenchmarkClusterReplicaInitialised: a node without views starts, and makes the rows of 100 accounts with 1,000 messages each. The clock runs from the start
// of its process until its replicas of all follow.
func BenchmarkClusterReplicaInitialised(b *testing.B) {
	all := startNodes(b)
	whole(b, all)
	accounts := populate(b, all[0], 100)
	many(b, len(accounts), 8, func(i int) error {
		c := all[0].seat(b, accounts[i])
		defer c.Close()
		for range 8 {
			if err := c.appended(4 << 10); err != nil {
				return err
			}
		}
		for range 7 { // 1,024
			if err := c.do("COPY 1:* INBOX"); err != nil {
				return err
			}
		}
		return nil
	})
	fresh := all[2]
	all[0].run("replica", "set", "node3", "10", "--all", "--wait")
	measure(b, "s", "below 10", func() float64 {
		b.StopTimer()
		fresh.kill(syscall.SIGTERM)
		if err := os.RemoveAll(filepath.Join(fresh.data, "views")); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		began := time.Now()
		fresh.join()
		fresh.ready("")
		ready := time.Since(began)
		for {
			var states []replicas.Account
			if err := all[0].api("GET", "/replicas?replicaServer=node3&state=streaming", nil, &states); err != nil {
				b.Fatal(err)
			}
			if len(states) >= len(accounts) {
				b.Logf("the node was ready after %v, and %d replicas followed after %v", ready, len(states), time.Since(began))
				return time.Since(began).Seconds()
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// BenchmarkClusterSecondReplica: how much slower mail is taken on one node while replicas on both others are kept instead of one. Each round measures with one, twice
// with two, and with one again, so that what a machine does besides slows both.
func BenchmarkClusterSecondReplica(b *testing.B) {
	all := startNodes(b)
	whole(b, all)
	accounts := populate(b, all[0], 50)
	all[0].run("replica", "set", "node2", "10", "--all", "--wait")
	all[0].run("replica", "set", "node3", "20", "--all", "--wait")
	const deliveries = 1500
	seconds := func() float64 { return deliveries / deliveries8KiB(b, all[0], accounts, 32, deliveries) }
	with := func(replicas int) float64 {
		if replicas == 1 {
			all[0].run("replica", "pause", "--all", "--destination", "node3")
		} else {
			all[0].run("replica", "resume", "--all", "--wait")
		}
		return seconds()
	}
	seconds() // what happens once
	measure(b, "%-slower", "below 10", func() float64 {
		one := with(1)
		two := with(2) + seconds()
		one += with(1)
		b.Logf("with one replica %.0f/s, with two %.0f/s", 2*deliveries/one, 2*deliveries/two)
		return (1 - one/two) * 100
	})
}

// BenchmarkClusterLMTP: messages of 8 KiB that one node takes over 32 connections, each durable on two nodes before it is answered.
func BenchmarkClusterLMTP(b *testing.B) {
	all := startNodes(b)
	whole(b, all)
	accounts := populate(b, all[0], 50)
	measure(b, "messages/s", "reported", func() float64 { return deliveries8KiB(b, all[0], accounts, 32, 3000) })
}

func deliveries8KiB(b *testing.B, s *server, accounts []string, connections, n int) float64 {
	text := "From: bench@example.net\r\nSubject: of a benchmark\r\n\r\n" + strings.Repeat("words of the message\r\n", 8<<10/22)
	var left atomic.Int64
	left.Store(int64(n))
	began := time.Now()
	many(b, connections, connections, func(int) error {
		c := dialLMTPWithin(s.addr(1124), 2*time.Minute)
		if c == nil {
			return fmt.Errorf("LMTP does not answer")
		}
		defer c.Close()
		for i := left.Add(-1); i >= 0; i = left.Add(-1) {
			if !c.begin(accounts[int(i)%len(accounts)]) || !c.ask("250", text+".") {
				return fmt.Errorf("a delivery is refused")
			}
		}
		return nil
	})
	return float64(n) / time.Since(began).Seconds()
}

// BenchmarkClusterLog: transactions of 4 KiB that 64 writers append to a log of which three NATS servers in processes of their own have a copy each, with
// a sync before each acknowledgement.
func BenchmarkClusterLog(b *testing.B) {
	for _, shards := range []int{1, streams.DefaultShards} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) { appendToThree(b, shards) })
	}
}

func appendToThree(b *testing.B, shards int) {
	servers := startCluster(b)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.url())
	}
	master, err := streams.LoadMaster(filepath.Join(b.TempDir(), "keys"))
	if err != nil {
		b.Fatal(err)
	}
	const writers = 64
	conn, err := nats.Connect(strings.Join(urls, ","))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	log, err := streams.Open(b.Context(), streams.Config{Conn: conn, Master: master, Topology: streams.Topology{Replicas: 3, Shards: shards}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = log.Close(b.Context()) }()
	ids, at := make([]domain.AccountID, writers), make([]streams.Position, writers)
	for i := range ids {
		ids[i] = domain.NewAccountID([10]byte{byte(i)})
		if err := log.Create(b.Context(), ids[i]); err != nil {
			b.Fatal(err)
		}
	}
	text := strings.Repeat("x", 4<<10)
	measure(b, "appends/s", "at least 5,000", func() float64 {
		const appends = 300
		began := time.Now()
		many(b, writers, writers, func(i int) (err error) {
			for range appends {
				t := &event.Transaction{At: 1, Actor: "bench", Events: []event.Event{&event.DomainAdded{Name: text}}}
				_, _ = rand.Read(t.ID[:])
				if at[i], err = log.Append(b.Context(), ids[i], at[i], t); err != nil {
					return err
				}
			}
			return nil
		})
		return writers * appends / time.Since(began).Seconds()
	})
}
