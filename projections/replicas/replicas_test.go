package replicas_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/replicas"
	"github.com/streampost/streampost/streams"
)

// cluster is nodes with views of their own on one log, and a directory that all know.
type cluster struct {
	*testing.T
	log   *projectiontest.Log
	nodes map[string]*node
	names []string

	mu        sync.Mutex
	directory *directory.State
	waited    int // questions for which somebody waited until the end of patience
}

// node is one of them.
type node struct {
	dir     string
	runner  *projections.Runner
	gate    sync.RWMutex // held by a test that keeps the node's rows from following
	replies map[string]func(context.Context, json.RawMessage) (any, error)
	dead    bool
	frozen  bool // the others believe that it is there
	owes    bool
	unread  atomic.Bool // no snapshot of its rows can be taken
}

// unreadable is the views of a node whose rows may be out of reach of readers, while the projectors know where they stand.
type unreadable struct {
	projections.Views
	n *node
}

func (u unreadable) Open(ctx context.Context, g projections.Generation) (projections.View, error) {
	v, err := u.Views.Open(ctx, g)
	return unreadableView{v, u.n}, err
}

type unreadableView struct {
	projections.View
	n *node
}

func (u unreadableView) Snapshot(ctx context.Context, f func(projections.Reader) error) error {
	if u.n.unread.Load() {
		return domain.Errorf(domain.Unavailable, "the disk does not answer")
	}
	return u.View.Snapshot(ctx, f)
}

// gated is the log as a node sees it that may be kept from following.
type gated struct {
	*projectiontest.Log
	n *node
}

func (g gated) Follow(ctx context.Context, stream string, after domain.Seq, f func([]streams.Entry) error) error {
	return g.Log.Follow(ctx, stream, after, func(entries []streams.Entry) error {
		g.n.gate.RLock()
		defer g.n.gate.RUnlock()
		return f(entries)
	})
}

var ids = []domain.AccountID{domain.NewAccountID([10]byte{1}), domain.NewAccountID([10]byte{2}), domain.NewAccountID([10]byte{3})}

func newCluster(t *testing.T) *cluster {
	c := &cluster{T: t, log: projectiontest.New(2), nodes: map[string]*node{}, directory: directory.New(), names: []string{"n1", "n2", "n3", "w"}}
	c.order(directory.AddDomain{Name: "example.org"})
	for i, name := range []string{"alice", "bob", "carol"} {
		c.order(directory.AddAccount{ID: ids[i], Address: name + "@example.org"})
		c.log.Add(ids[i], 0, &event.MailboxCreated{Mailbox: 1, Name: "INBOX", UIDValidity: 1})
	}
	for _, name := range c.names {
		c.nodes[name] = &node{dir: t.TempDir(), replies: map[string]func(context.Context, json.RawMessage) (any, error){}}
	}
	for _, name := range c.names[:3] {
		c.start(c.nodes[name])
	}
	if err := replicas.Witness(wire{c, "w"}); err != nil {
		t.Fatal(err)
	}
	c.settle()
	return c
}

// start gives a node its views.
func (c *cluster) start(n *node) {
	views, err := storetest.Open(c, n.dir, sqlview.Options{})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = views.Close() })
	log := gated{c.log, n}
	n.runner = projections.NewRunner(projections.Config{Log: log, Views: unreadable{views, n}, Projections: []projections.Projection{mailboxes.New()}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = n.runner.Run(ctx) }()
	c.Cleanup(func() { cancel(); <-ended })
	for name := range c.nodes {
		if c.nodes[name] == n {
			local := &replicas.Local{Log: c.log, Runner: n.runner, Check: func(context.Context) replicas.Health {
				return replicas.Health{Log: replicas.Reach{OK: true}, Blobs: replicas.Reach{Error: "no bucket"}, Keys: replicas.Reach{OK: true, Found: "k1"}}
			}}
			local.Owes = func(domain.AccountID) bool { return n.owes }
			if err := local.Answer(wire{c, name}); err != nil {
				c.Fatal(err)
			}
		}
	}
}

func (c *cluster) settle() {
	for _, name := range c.names[:3] {
		projectiontest.Settle(c, c.log, c.nodes[name].runner)
	}
}

// wire is the nodes as one of them sees them. Who is dead says nothing.
type wire struct {
	c    *cluster
	name string
}

func (w wire) Reply(name string, reply func(context.Context, json.RawMessage) (any, error)) error {
	w.c.nodes[w.name].replies[name] = reply
	return nil
}

func (w wire) Ask(ctx context.Context, name string, question any, _ int, answer func(string, json.RawMessage, string)) error {
	text, err := json.Marshal(question)
	if err != nil {
		return err
	}
	for _, to := range w.c.names {
		n := w.c.nodes[to]
		if n.dead || n.frozen || n.replies[name] == nil {
			continue
		}
		said, err := n.replies[name](ctx, text)
		if err != nil {
			answer(to, nil, err.Error())
			continue
		}
		text, err := json.Marshal(said)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return domain.Wrap(domain.Unavailable, ctx.Err(), "nobody waits any longer")
		}
		answer(to, text, "")
	}
	if ctx.Err() == nil {
		w.c.waited++
	}
	return nil
}

func (c *cluster) order(command directory.Command) {
	c.Helper()
	if err := c.ChangeEnrolments(c.Context(), "test", command); err != nil {
		c.Fatal(err)
	}
}

// What follows is replicas.Directory.

func (c *cluster) Placed(_ context.Context, sel directory.Selection) (all []door.Placed, _ []directory.Problem, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	chosen, problems, err := c.directory.Select(sel)
	for _, a := range chosen {
		all = append(all, door.Placed{Account: door.Account{ID: a.ID, Login: a.Login()}, Placements: slices.Clone(a.Placements)})
	}
	return all, problems, err
}

func (c *cluster) Try(_ context.Context, command directory.Command) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := directory.Decide(c.directory, command)
	return err
}

func (c *cluster) ChangeEnrolments(_ context.Context, _ string, command directory.Command) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	events, err := directory.Decide(c.directory, command)
	for _, e := range events {
		c.directory.Apply(c.directory.Tx+1, e)
	}
	return err
}

func (c *cluster) ChangePlacements(ctx context.Context, actor string, ids []domain.AccountID, command func([]domain.AccountID) directory.Command) map[domain.AccountID]error {
	failed := map[domain.AccountID]error{}
	for _, id := range ids {
		if err := c.ChangeEnrolments(ctx, actor, command([]domain.AccountID{id})); err != nil {
			failed[id] = err
		}
	}
	return failed
}

func (c *cluster) Enrolments(context.Context) (map[string]directory.Enrolment, error) {
	return maps.Clone(c.directory.Enrolments), nil
}

func (c *cluster) Destinations(context.Context) ([]string, error) {
	return c.directory.Destinations(), nil
}

// replicas is what an operator reaches through a node.
func (c *cluster) replicas(options ...func(*replicas.Config)) *replicas.Replicas {
	cfg := replicas.Config{
		Directory: c, Log: c.log, Nodes: wire{c, "n1"},
		Members: func() (all, there []string) {
			for _, name := range c.names {
				if !c.nodes[name].dead {
					there = append(there, name)
				}
			}
			return c.names, there
		},
		Limits: replicas.Limits{Transactions: 3, Age: time.Hour, AtOnce: 2, Pause: time.Millisecond},
	}
	for _, option := range options {
		option(&cfg)
	}
	return replicas.New(cfg)
}

// states tells those of an account: "n1 streaming, n2 paused".
func (c *cluster) states(id domain.AccountID) string {
	c.Helper()
	all, problems, err := c.replicas().Status(c.Context(), replicas.Filter{Accounts: directory.Selection{Names: []string{string(id)}}})
	if err != nil || len(problems) > 0 || len(all) != 1 {
		c.Fatalf("the status is %v, %v, %v", all, problems, err)
	}
	var texts []string
	for _, r := range all[0].Replicas {
		text := r.Destination + " " + string(r.State)
		if r.LagTransactions != nil && *r.LagTransactions > 0 {
			text += fmt.Sprintf(" %d", *r.LagTransactions)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

func (c *cluster) is(id domain.AccountID, want string) {
	c.Helper()
	if got := c.states(id); got != want {
		c.Errorf("the replicas are %q, want %q", got, want)
	}
}

// write adds transactions to an account.
func (c *cluster) write(id domain.AccountID, n int) {
	for i := range n {
		c.log.Add(id, time.Now().UnixMilli(), &event.SubscriptionChanged{Name: fmt.Sprintf("x%d", i), Subscribed: true})
	}
}

// TestStates: what a node says of its rows is compared with the log and with what the others say.
func TestStates(t *testing.T) {
	c := newCluster(t)
	for i, node := range []string{"n1", "n2", "n3"} {
		c.order(directory.Place{Accounts: ids[:2], Node: node, Priority: uint32(10 * (i + 1)), Nodes: c.names})
	}
	c.is(ids[0], "n1 streaming, n2 streaming, n3 streaming")

	// A node that does not follow is behind by so many transactions.
	c.nodes["n2"].gate.Lock()
	c.write(ids[0], 2)
	c.settle2("n1", "n3")
	c.is(ids[0], "n1 streaming, n2 streaming 2, n3 streaming")
	c.write(ids[0], 2)
	c.settle2("n1", "n3")
	c.is(ids[0], "n1 streaming, n2 lagging 4, n3 streaming")
	c.is(ids[1], "n1 streaming, n2 streaming, n3 streaming") // of which nothing is missing

	c.order(directory.Pause{Accounts: ids[:1], Node: "n3", Paused: true})
	c.is(ids[0], "n1 streaming, n2 lagging 4, n3 paused")
	c.order(directory.Pause{Accounts: ids[:1], Node: "n3", Paused: false})
	c.nodes["n3"].owes = true
	c.is(ids[0], "n1 streaming, n2 lagging 4, n3 lagging")
	c.nodes["n3"].owes = false

	// With a dead node, and with the only ones that are there behind, the log tells where it stands.
	c.nodes["n1"].dead = true
	c.is(ids[0], "n1 unavailable, n2 lagging 4, n3 streaming")
	c.nodes["n3"].dead = true
	c.is(ids[0], "n1 unavailable, n2 lagging 4, n3 unavailable")
	c.nodes["n1"].dead, c.nodes["n3"].dead = false, false
	c.nodes["n2"].gate.Unlock()
	c.settle()
	c.is(ids[0], "n1 streaming, n2 streaming, n3 streaming")

	// Rows that a stranger changed: two nodes are against one.
	c.spoil("n3", `update accounts set digest = digest + 1 where account = $1`, ids[0])
	c.is(ids[0], "n1 streaming, n2 streaming, n3 diverged")
	c.nodes["n2"].dead = true
	c.is(ids[0], "n1 diverged, n2 unavailable, n3 diverged") // nobody can say which of two is right
	c.nodes["n2"].dead = false
	// The log's hash needs no other node.
	c.spoil("n1", `update accounts set hash = $2 where account = $1`, ids[1], []byte{0})
	c.is(ids[1], "n1 diverged, n2 streaming, n3 streaming")
	c.spoil("n1", `update accounts set tx = 99 where account = $1`, ids[1])
	c.is(ids[1], "n1 diverged, n2 streaming, n3 streaming")

	// An account whose first entry a node has not seen is being made there; a witness never makes any.
	c.nodes["n2"].gate.Lock()
	c.order(directory.AddAccount{ID: domain.NewAccountID([10]byte{4}), Address: "dave@example.org"})
	c.log.Add(domain.NewAccountID([10]byte{4}), 0, &event.MailboxCreated{Mailbox: 1, Name: "INBOX", UIDValidity: 1})
	c.settle2("n1", "n3")
	for _, node := range []string{"n2", "w"} {
		c.order(directory.Place{Accounts: []domain.AccountID{domain.NewAccountID([10]byte{4})}, Node: node, Nodes: c.names})
	}
	c.is(domain.NewAccountID([10]byte{4}), "n2 initialising 1, w unavailable")
	c.nodes["n2"].gate.Unlock()
}

// TestUnreadRows: nodes that cannot read their rows have no word on where the log stands, and are unavailable.
func TestUnreadRows(t *testing.T) {
	c := newCluster(t)
	for i, node := range []string{"n1", "n2", "n3"} {
		c.order(directory.Place{Accounts: ids[:1], Node: node, Priority: uint32(10 * (i + 1)), Nodes: c.names})
	}
	c.nodes["n2"].unread.Store(true)
	c.is(ids[0], "n1 streaming, n2 unavailable, n3 streaming")
	c.nodes["n1"].unread.Store(true) // two that agree on nothing
	c.is(ids[0], "n1 unavailable, n2 unavailable, n3 streaming")
	c.nodes["n3"].unread.Store(true)
	c.is(ids[0], "n1 unavailable, n2 unavailable, n3 unavailable")
	all, _, err := c.replicas().Status(t.Context(), replicas.Filter{})
	if one := all[0]; err != nil || one.Sequence == 0 || one.Replicas[0].Available || one.Replicas[0].LagTransactions != nil || !strings.Contains(one.Replicas[0].Cause, "cannot read its rows") {
		t.Errorf("%+v, %v", all, err)
	}
}

// settle2 waits for some of the nodes.
func (c *cluster) settle2(names ...string) {
	for _, name := range names {
		projectiontest.Settle(c, c.log, c.nodes[name].runner)
	}
}

func (c *cluster) spoil(node, statement string, id domain.AccountID, more ...any) {
	c.Helper()
	n := c.nodes[node]
	storetest.Spoil(c, n.dir, projectiontest.Live(c, n.runner, c.log.StreamOf(id), mailboxes.Name), statement, append([]any{string(id)}, more...)...)
}

// TestFilters: Carbonio's, and ours.
func TestFilters(t *testing.T) {
	c := newCluster(t)
	c.order(directory.Place{Accounts: ids[:2], Node: "n1", Priority: 10, Nodes: c.names})
	c.order(directory.Place{Accounts: ids[1:2], Node: "n2", Priority: 5, Nodes: c.names})
	c.order(directory.Pause{Accounts: ids[:1], Paused: true})
	c.nodes["n2"].dead = true
	yes, no := true, false
	r := c.replicas(func(cfg *replicas.Config) {
		cfg.Primaries = func(context.Context) (map[domain.AccountID]string, error) {
			return map[domain.AccountID]string{ids[0]: "n3"}, nil
		}
	})
	for name, f := range map[string]struct {
		filter replicas.Filter
		want   string
	}{
		"all":         {replicas.Filter{}, "alice@n3[n1] bob@[n2 n1]"},
		"named":       {replicas.Filter{Accounts: directory.Selection{Names: []string{"c*", "bob@example.org"}}}, "bob@[n2 n1] carol@[]"},
		"domain":      {replicas.Filter{Accounts: directory.Selection{Domains: []string{"example.org"}}, Paused: &yes}, "alice@n3[n1]"},
		"host":        {replicas.Filter{MailHosts: []string{"n3", "n9"}}, "alice@n3[n1]"},
		"destination": {replicas.Filter{Replicas: []string{"n2"}}, "bob@[n2]"},
		"active":      {replicas.Filter{Paused: &no}, "bob@[n2 n1]"},
		"available":   {replicas.Filter{Available: &yes}, "alice@n3[n1] bob@[n1]"},
		"unavailable": {replicas.Filter{Available: &no}, "bob@[n2]"},
		"states":      {replicas.Filter{States: []replicas.State{replicas.Paused}}, "alice@n3[n1]"},
		"none":        {replicas.Filter{States: []replicas.State{replicas.Diverged}}, ""},
	} {
		all, problems, err := r.Status(t.Context(), f.filter)
		var texts []string
		for _, a := range all {
			var nodes []string
			for _, one := range a.Replicas {
				nodes = append(nodes, one.Destination)
			}
			name, _, _ := strings.Cut(a.Name, "@")
			texts = append(texts, fmt.Sprintf("%s@%s%v", name, a.MailHost, nodes))
		}
		if got := strings.Join(texts, " "); err != nil || len(problems) > 0 || got != f.want {
			t.Errorf("%s: %q, want %q, %v, %v", name, got, f.want, problems, err)
		}
	}
	if _, problems, err := r.Status(t.Context(), replicas.Filter{Accounts: directory.Selection{Names: []string{"nobody@example.org"}}}); err != nil || len(problems) != 1 {
		t.Errorf("a name that is none: %v, %v", problems, err)
	}
}

// TestOrders: an order is done as a whole or refused as a whole, unless it may be done in part.
func TestOrders(t *testing.T) {
	c := newCluster(t)
	r := c.replicas()
	some := func(names ...string) directory.Selection { return directory.Selection{Names: names} }
	refused := func(kind domain.Kind, why string, err error) {
		t.Helper()
		if !domain.Is(err, kind) || !strings.Contains(err.Error(), why) {
			t.Errorf("it says %v, and not %q", err, why)
		}
	}
	set := func(o replicas.Order) (replicas.Outcome, error) { return r.Set(t.Context(), "test", o) }

	_, err := set(replicas.Order{Selection: some("alice@example.org", "nobody@example.org", "x*"), Destination: "n2", Priority: 10})
	refused(domain.NotFound, "nothing was done: address nobody@example.org does not exist; no account has an address in or like x*", err)
	_, err = set(replicas.Order{Selection: some("alice@example.org"), Destination: "n7", Priority: 10, Partial: true})
	refused(domain.NotFound, `no node "n7"`, err)
	_, err = set(replicas.Order{Selection: some("alice@example.org"), Destination: "w", Priority: 10})
	refused(domain.NotFound, `no node "w" that serves mail`, err)
	_, err = set(replicas.Order{Selection: some("alice@example.org"), Destination: "n1,n2", Priority: 10})
	refused(domain.Invalid, "without wildcards and lists", err)
	_, err = set(replicas.Order{Destination: "n2"})
	refused(domain.Invalid, "not said which accounts", err)
	_, err = set(replicas.Order{Selection: some("alice@example.org"), Keep: 4})
	refused(domain.Invalid, "there are 3", err)
	_, err = set(replicas.Order{Selection: some("alice@example.org"), Destination: "n2", New: true})
	refused(domain.Invalid, "is one account", err)
	if nodes := c.directory.Destinations(); len(nodes) > 0 {
		t.Fatalf("something was done on %v", nodes)
	}

	done, err := set(replicas.Order{Selection: some("alice@example.org", "nobody@example.org"), Destination: "n2", Priority: 10, Partial: true})
	if err != nil || !slices.Equal(done.Accounts, ids[:1]) || len(done.Failed) != 1 || done.Failed[0].Name != "nobody@example.org" {
		t.Errorf("in part: %+v, %v", done, err)
	}
	if done, err = set(replicas.Order{Selection: directory.Selection{All: true}, Keep: 2, New: true}); err != nil || len(done.Accounts) != 3 || !slices.Equal(done.Selectors, []string{"all"}) {
		t.Errorf("keep: %+v, %v", done, err)
	}
	// A dead node that has replicas can be given more, but none is chosen that does not answer, and a node that left can be given up.
	c.nodes["n3"].dead = true
	_, err = set(replicas.Order{Selection: directory.Selection{All: true}, Keep: 3, New: true})
	refused(domain.Invalid, "there are 2", err)
	c.nodes["w"].dead = true
	_, err = set(replicas.Order{Selection: directory.Selection{All: true}, Keep: 3})
	refused(domain.Invalid, "there are 2", err)
	_, err = set(replicas.Order{Selection: some("alice@example.org"), Destination: "w", Priority: 5, Partial: true})
	refused(domain.Unavailable, "node w does not answer, and has no replicas yet", err)
	c.nodes["w"].dead = false
	if _, err = set(replicas.Order{Selection: some("alice@example.org"), Destination: "n3", Priority: 5}); err != nil {
		t.Error(err)
	}
	c.names = slices.DeleteFunc(c.names, func(n string) bool { return n == "n3" })
	if done, err = r.Remove(t.Context(), "test", replicas.Order{Selection: directory.Selection{All: true}, Destination: "n3"}); err != nil || len(done.Accounts) == 0 || len(done.Failed) > 0 {
		t.Errorf("remove: %+v, %v", done, err)
	}
	_, err = r.Remove(t.Context(), "test", replicas.Order{Selection: directory.Selection{All: true}, Destination: "n8"})
	refused(domain.NotFound, `no node "n8"`, err)
	_, err = r.Remove(t.Context(), "test", replicas.Order{Selection: some("alice@example.org"), Destination: "w"})
	refused(domain.NotFound, "alice@example.org has no replica", err)
	_, err = r.Remove(t.Context(), "test", replicas.Order{Selection: directory.Selection{All: true}, Destination: "w"})
	refused(domain.NotFound, "no such account has a replica on node w", err)

	for _, paused := range []bool{true, true, false} {
		if done, err = r.Pause(t.Context(), "test", replicas.Order{Selection: directory.Selection{Domains: []string{"example.org"}}}, paused); err != nil || len(done.Accounts) != 3 {
			t.Errorf("pause: %+v, %v", done, err)
		}
		for _, a := range c.directory.Accounts {
			for _, p := range a.Placements {
				if p.Paused != paused {
					t.Errorf("%s: %+v", a.Login(), p)
				}
			}
		}
	}
	c.order(directory.Enrol{Selector: directory.DomainSelector("example.org"), Node: "n2", Nodes: []string{"n2"}})
	if done, err = r.Remove(t.Context(), "test", replicas.Order{Selection: directory.Selection{All: true}, Destination: "n2", New: true}); err != nil || len(c.directory.Enrolments["all"].Destinations) != 2 || len(c.directory.Enrolments) != 1 {
		t.Errorf("remove for new accounts: %+v, %v, %v", done, err, c.directory.Enrolments)
	}
}

// TestAwait: replicas are waited for until they follow; one that cannot is told.
func TestAwait(t *testing.T) {
	c := newCluster(t)
	c.nodes["n2"].gate.Lock()
	c.write(ids[0], 9)
	for _, node := range []string{"n1", "n2", "n3"} {
		c.order(directory.Place{Accounts: ids[:2], Node: node, Nodes: c.names})
	}
	c.order(directory.Pause{Accounts: ids[:1], Node: "n3", Paused: true})
	c.settle2("n1", "n3")
	c.spoil("n3", `update accounts set digest = digest + 1 where account = $1`, ids[1])
	var steps []string
	sum, err := c.replicas().Await(t.Context(), ids[:2], nil, func(done, total int, at string) {
		step := fmt.Sprintf("%d of %d", done, total)
		if len(steps) == 0 || steps[len(steps)-1] != step {
			steps = append(steps, step)
		}
		if strings.Contains(at, "alice@example.org on n2 is lagging") {
			c.nodes["n2"].gate.Unlock()
			c.settle2("n2")
		}
	})
	if err != nil || sum.Accounts != 2 || sum.Replicas != 4 || len(sum.Failed) != 1 || !strings.HasPrefix(sum.Failed[0].Error, "bob@example.org on n3 is diverged") {
		t.Errorf("the sum is %+v, %v", sum, err)
	}
	if want := []string{"3 of 5", "4 of 5"}; !slices.Equal(steps, want) {
		t.Errorf("the steps are %q, want %q", steps, want)
	}
	c.nodes["n2"].dead = true
	sum, err = c.replicas(func(cfg *replicas.Config) { cfg.Limits.Patience = time.Nanosecond }).Await(t.Context(), nil, []string{"n2"}, func(int, int, string) {})
	if err != nil || sum.Replicas != 0 || len(sum.Failed) != 2 {
		t.Errorf("with a dead node: %+v, %v", sum, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.replicas().Await(ctx, ids[:1], []string{"n2"}, func(int, int, string) { cancel() }); !domain.Is(err, domain.Unavailable) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestAwaitEnds: a replica that gets no further is given up, and a log that cannot be asked for a moment ends nothing.
func TestAwaitEnds(t *testing.T) {
	c := newCluster(t)
	for _, node := range []string{"n1", "n2"} {
		c.order(directory.Place{Accounts: ids[:1], Node: node, Nodes: c.names})
	}
	c.nodes["n2"].gate.Lock()
	defer c.nodes["n2"].gate.Unlock()
	c.write(ids[0], 9)
	c.settle2("n1")
	patience := func(d time.Duration, log replicas.Log) *replicas.Replicas {
		return c.replicas(func(cfg *replicas.Config) { cfg.Limits.Patience, cfg.Log = d, log })
	}
	sum, err := patience(5*time.Millisecond, c.log).Await(t.Context(), nil, nil, func(int, int, string) {})
	if err != nil || sum.Replicas != 1 || len(sum.Failed) != 1 || !strings.HasPrefix(sum.Failed[0].Error, "alice@example.org on n2 is lagging") {
		t.Errorf("rows that stand still: %+v, %v", sum, err)
	}
	log := &electing{Log: c.log, looks: 3}
	var told []string
	sum, err = patience(time.Hour, log).Await(t.Context(), nil, []string{"n1"}, func(_, _ int, at string) { told = append(told, at) })
	if err != nil || sum.Replicas != 1 || len(told) != 4 || !strings.Contains(told[0], "no leader") || told[3] != "" {
		t.Errorf("after an election: %+v, %v; it was told %q", sum, err, told)
	}
	if _, err = patience(5*time.Millisecond, &electing{Log: c.log, looks: 1 << 40}).Await(t.Context(), nil, []string{"n1"}, func(int, int, string) {}); !domain.Is(err, domain.Unavailable) {
		t.Errorf("without a log: %v", err)
	}
}

// electing is a log that has no leader for some looks.
type electing struct {
	*projectiontest.Log
	looks int
}

func (e *electing) Head(ctx context.Context, stream string) (domain.Seq, error) {
	if e.looks--; e.looks >= 0 {
		return 0, domain.Errorf(domain.Unavailable, "the stream has no leader")
	}
	return e.Log.Head(ctx, stream)
}

// TestVerify: digests of every mailbox are compared at one transaction, and what differs is named.
func TestVerify(t *testing.T) {
	c := newCluster(t)
	c.log.Add(ids[0], 0, &event.MailboxCreated{Mailbox: 2, Name: "Sent", UIDValidity: 2})
	c.settle()
	all := directory.Selection{All: true}
	verify := func(nodes ...string) (replicas.Verified, []replicas.Difference, error) {
		var found []replicas.Difference
		done := 0
		sum, err := c.replicas().Verify(t.Context(), all, nodes, func(d replicas.Difference) { found = append(found, d) }, func(n, _ int) { done = n })
		if err == nil && done != 3 {
			t.Errorf("it was told of %d accounts", done)
		}
		return sum, found, err
	}
	if sum, found, err := verify(); err != nil || len(found) > 0 || sum.Accounts != 3 || sum.Mailboxes != 4 || len(sum.Nodes) != 3 || len(sum.Open) > 0 {
		t.Errorf("%+v, %v, %v", sum, found, err)
	}
	c.spoil("n2", `update mailboxes set digest = digest + 1 where account = $1 and mailbox = 2`, ids[0])
	c.spoil("n3", `update accounts set digest = digest + 1 where account = $1`, ids[1])
	sum, found, err := verify()
	if err != nil || sum.Differ != 2 || len(found) != 2 || found[0].Mailbox != 2 || found[0].Tx != 2 || found[0].Digests["n1"] == found[0].Digests["n2"] || found[1].Name != "bob@example.org" {
		t.Errorf("%+v, %+v, %v", sum, found, err)
	}
	if sum, found, err := verify("n3", "n1"); err != nil || len(found) != 1 || len(sum.Nodes) != 2 {
		t.Errorf("two nodes: %+v, %+v, %v", sum, found, err)
	}
	// Rows that are behind are waited for, but not for ever.
	c.nodes["n2"].gate.Lock()
	c.write(ids[2], 1)
	c.settle2("n1", "n3")
	if sum, _, err := verify("n1", "n2"); err != nil || !slices.Equal(sum.Open, []string{"carol@example.org"}) || sum.Accounts != 2 {
		t.Errorf("rows that are behind: %+v, %v", sum, err)
	}
	c.nodes["n2"].gate.Unlock()
	// Rows that no node can read are not equal, and a node that is away is missing. A witness is not missed by who knows it.
	for _, name := range c.names[:3] {
		c.nodes[name].unread.Store(true)
	}
	if sum, _, err := verify(); err != nil || len(sum.Open) != 3 || sum.Accounts != 0 {
		t.Errorf("rows that cannot be read: %+v, %v", sum, err)
	}
	for _, name := range c.names[:3] {
		c.nodes[name].unread.Store(false)
	}
	r := c.replicas()
	compared := func(missing ...string) {
		t.Helper()
		if sum, err := r.Verify(t.Context(), all, nil, func(replicas.Difference) {}, func(int, int) {}); err != nil || !slices.Equal(sum.Missing, missing) {
			t.Errorf("%+v, %v, want %q missing", sum, err, missing)
		}
	}
	compared()
	c.nodes["n3"].dead, c.nodes["w"].dead = true, true
	compared("n3")
	r = c.replicas()
	compared("n3", "w")
	c.nodes["w"].dead = false
	for node, kind := range map[string]domain.Kind{"n3": domain.Unavailable, "w": domain.Unavailable, "n7": domain.NotFound, "n1": domain.Invalid} {
		if _, _, err := verify("n1", node); !domain.Is(err, kind) {
			t.Errorf("n1 with %s: %v", node, err)
		}
	}
	all = directory.Selection{Names: []string{"nobody@example.org"}}
	if _, _, err := verify(); !domain.Is(err, domain.NotFound) {
		t.Errorf("a name that is none: %v", err)
	}
}

// TestHealth: each node says what it reaches, and one that says nothing is told as well.
func TestHealth(t *testing.T) {
	c := newCluster(t)
	c.nodes["n3"].dead = true
	all, err := c.replicas().Test(t.Context())
	if err != nil || len(all) != 4 {
		t.Fatalf("%+v, %v", all, err)
	}
	if n1 := all[0]; !n1.Answers || !n1.Log.OK || n1.Blobs.OK || n1.Blobs.Error != "no bucket" || n1.OK() {
		t.Errorf("n1 is %+v", n1)
	}
	if all[2].Answers || all[2].OK() || !all[3].Witness || !all[3].OK() {
		t.Errorf("the dead node is %+v, the witness %+v", all[2], all[3])
	}
	reply := c.nodes["n2"].replies["replicas.test"]
	c.nodes["n3"].dead = false
	c.nodes["n2"].replies["replicas.test"] = func(ctx context.Context, q json.RawMessage) (any, error) {
		said, err := reply(ctx, q)
		h := said.(replicas.Health)
		h.Keys.Found = "k0"
		return h, err
	}
	if all, err = c.replicas().Test(t.Context()); err != nil || all[1].Keys.OK || !all[0].Keys.OK || !all[2].Keys.OK {
		t.Errorf("other keys: %+v, %v", all, err)
	}
}

// TestFrozenNode: who does not answer is waited for once, and is heard again when it answers.
func TestFrozenNode(t *testing.T) {
	c := newCluster(t)
	c.order(directory.Place{Accounts: ids, Node: "n2", Nodes: c.names})
	c.nodes["n2"].frozen = true
	r := c.replicas()
	states := func(want replicas.State, waited int) {
		t.Helper()
		c.waited = 0
		all, _, err := r.Status(t.Context(), replicas.Filter{}) // two questions
		if err != nil || len(all) != 3 || all[0].Replicas[0].State != want || all[2].Replicas[0].State != want || c.waited != waited {
			t.Errorf("%+v, %v; waited %d times", all, err, c.waited)
		}
	}
	states(replicas.Unavailable, 1)
	states(replicas.Unavailable, 0)
	c.nodes["n2"].frozen = false
	states(replicas.Streaming, 0)
}
