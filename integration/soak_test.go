package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// TestSoak lets mail and flags come in on many accounts while views are rebuilt, verified, upgraded and rolled back, rebuilds are cancelled, and the
// process is killed, at random. Each account has one client with an exact model of its mailbox: what it was told must be true, at once and at
// the end. STREAMPOST_SOAK sets how long it takes ("2m"), and then nobody may be kept waiting for long either (soak_pause_test.go); without it other tests use
// the machine, too.
func TestSoak(t *testing.T) {
	length, accounts, alone := 15*time.Second, 12, false
	if d, err := time.ParseDuration(os.Getenv("STREAMPOST_SOAK")); err == nil {
		length, accounts, alone = d, 50, true
	} else if testing.Short() {
		t.Skip("takes a while: not in short mode")
	}
	s := demoServer(t)
	soak := &soak{t: t, s: s}
	for i := range accounts {
		soak.clients = append(soak.clients, &soakClient{soak: soak, account: fmt.Sprintf("soak%02d@example.org", i), random: rand.New(rand.NewPCG(uint64(i), 1)), flags: map[imap.UID]string{}, number: map[imap.UID]int{}})
	}
	soak.addAccounts()

	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	soak.machine.watch(ctx, t, &wg)
	for _, c := range soak.clients {
		wg.Go(func() { c.run(ctx) })
	}
	soak.disturb(ctx)
	wg.Wait()
	soak.end()

	s.kill(syscall.SIGKILL)
	s.start("")
	for _, c := range soak.clients {
		if c.ended {
			c.settle(t.Context(), c.after)
		} else if c.connect(t.Context()) {
			c.compare("at the end")
		}
		c.close()
	}
	s.clean()
	t.Logf("%d steps of %d clients, %d of them deliveries; %v", soak.steps.Load(), accounts, soak.deliveries.Load(), soak.done)
	if soak.steps.Load() < int64(accounts) {
		t.Error("hardly anything was done: the test did not test much")
	}
	soak.judge(alone && s.views == "") // a database of its own has pauses of its own
}

// soak is the server under test and what happened to it.
type soak struct {
	t       *testing.T
	s       *server
	clients []*soakClient

	steps, deliveries atomic.Int64
	done              []string // disturbances, in order
	machine           stalls
	pauses
}

func (k *soak) addAccounts() {
	k.t.Helper()
	for _, c := range k.clients {
		if out, err := k.s.tryWith(strings.NewReader(password+"\n"), "account", "add", c.account); err != nil {
			k.t.Fatalf("add %s: %v\n%s", c.account, err, out)
		}
	}
}

// disturb does what operators and bad luck do, one thing after another.
func (k *soak) disturb(ctx context.Context) {
	random := rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))
	projections := []string{"mailboxes", "counters", "quota"}
	upgraded := false
	for ctx.Err() == nil {
		projection := projections[random.IntN(len(projections))]
		account := k.clients[random.IntN(len(k.clients))].account
		switch random.IntN(8) {
		case 0:
			k.do("rebuild "+projection, "projection", "rebuild", "--projection", projection)
		case 1:
			k.do("rebuild one account", "projection", "rebuild", "--account", account)
		case 2:
			k.do("rebuild all", "projection", "rebuild", "--all")
		case 3:
			k.do("verify", "projection", "verify", "--all")
		case 4:
			k.cancelled(random, "projection", "rebuild", "--all")
		case 5:
			k.restart("kill -9")
		case 6:
			if upgraded = !upgraded; upgraded {
				k.s.versions = projection + ":1"
				k.restart("upgrade " + projection)
			} else {
				k.s.versions = ""
				k.restart("roll back")
			}
		case 7:
			k.do("verify the log", "log", "verify")
		}
	}
}

// begin notes a disturbance.
func (k *soak) begin(what string) {
	k.done = append(k.done, what)
	k.meanwhile(what)
}

func (k *soak) do(what string, args ...string) {
	k.begin(what)
	if out, err := k.s.try(args...); err != nil {
		k.t.Errorf("%s: %v\n%s", what, err, tail([]byte(out), 2<<10))
	}
}

// cancelled orders a task and cancels it, at a random moment.
func (k *soak) cancelled(random *rand.Rand, args ...string) {
	k.begin("cancel a rebuild")
	id := strings.TrimSpace(k.s.run(append(args, "--detach")...))
	time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond) // a random moment, which may be after the end
	k.s.run("task", "cancel", id)
	if out, err := k.s.try("task", "wait", id); !strings.Contains(out, " canceled ") && !strings.Contains(out, " completed ") {
		k.t.Errorf("a rebuild that was cancelled: %v\n%s", err, out)
	}
}

func (k *soak) restart(why string) {
	k.begin(why)
	k.leaves()
	k.s.kill(syscall.SIGKILL)
	k.s.start("")
	k.returns()
}
