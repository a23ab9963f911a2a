package snapshots_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/snapshots"
	"github.com/streampost/streampost/streams/blob/blobtest"
	"pgregory.net/rapid"
)

// TestHydratedIsReplayed drives two accounts with random commands, and makes, spoils, exchanges and removes snapshots at random. Whatever there is: a node
// that hydrates has the rows that replay gives, from the snapshot when it is whole and from the log when it is not. So has a visitor, a node that comes, dies
// half-way or goes, and comes again, and takes what it lacks from snapshots by itself.
func TestHydratedIsReplayed(t *testing.T) {
	tempDir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := newModel(t, fmt.Sprintf("%s/%d", tempDir, n))
		defer m.node.end()
		m.commands(t)
		t.Repeat(map[string]func(*rapid.T){
			"commands":     m.commands,
			"more":         m.commands,
			"make":         m.make,
			"make again":   m.make,
			"spoil":        m.spoil,
			"exchange":     m.exchange,
			"remove":       m.remove,
			"hydrate":      m.hydrate,
			"hydrate here": m.hydrateHere,
			"visit":        m.visit,
			"visit briefly": func(t *rapid.T) {
				head, _ := m.log.Head(m.node.ctx, stream)
				m.visitUpTo(t, domain.Seq(rapid.Uint64Range(0, uint64(head)).Draw(t, "up to")))
			},
			"verify": m.verify,
		})
		m.hydrate(t)
		m.visit(t)
	})
}

type model struct {
	dir    string
	n      int
	log    *projectiontest.Log
	bucket *blobtest.Memory
	store  *snapshots.Store
	maker  *snapshots.Maker
	node   *node
	states map[domain.AccountID]*account.State
	now    int64
	at     map[domain.AccountID]domain.Tx // of the snapshots that are whole
}

func newModel(t *rapid.T, dir string) *model {
	m := &model{dir: dir, log: projectiontest.New(1), bucket: new(blobtest.Memory), states: map[domain.AccountID]*account.State{alice: account.New(), bob: account.New()}, at: map[domain.AccountID]domain.Tx{}}
	m.store = newStore(t, m.bucket, m.log)
	m.node = start(t, m.dir, m.log, rules(), projections.Limits{BatchEntries: rapid.IntRange(1, 20).Draw(t, "batch")})
	m.maker = snapshots.NewMaker(snapshots.Config{Store: m.store, Views: m.node.runner, Logger: slog.New(slog.DiscardHandler)})
	return m
}

func (m *model) do(t *rapid.T, id domain.AccountID, c account.Command) {
	s := m.states[id]
	m.now++
	events, err := account.Decide(s, c)
	if err != nil || len(events) == 0 {
		return
	}
	position := m.log.Add(id, m.now*1000, events...)
	for _, e := range events {
		s.Apply(position.Tx, e)
	}
}

func (m *model) commands(t *rapid.T) {
	for range rapid.IntRange(1, 12).Draw(t, "commands") {
		id := rapid.SampledFrom([]domain.AccountID{alice, alice, bob}).Draw(t, "account")
		s := m.states[id]
		if len(s.Mailboxes) == 0 {
			m.do(t, id, account.Open{UIDValidity: uint32(m.now + 1)})
		}
		name := rapid.SampledFrom([]string{"INBOX", "Archive", "a/b"}).Draw(t, "name")
		uids := domain.UIDSet{{Lo: 1, Hi: domain.UID(rapid.IntRange(1, 9).Draw(t, "uids"))}}
		switch rapid.IntRange(0, 9).Draw(t, "command") {
		case 0:
			m.do(t, id, account.CreateMailbox{Name: name, UIDValidity: uint32(m.now + 1)})
		case 1:
			m.do(t, id, account.DeleteMailbox{Name: name})
		case 2:
			m.do(t, id, account.Subscribe{Name: name, On: rapid.Bool().Draw(t, "on")})
		case 3:
			m.do(t, id, account.StoreFlags{Mailbox: 1, UIDs: uids, Flags: []string{`\Seen`, "$Junk"}, Mode: account.AddFlags})
		case 4:
			m.do(t, id, account.Transfer{From: 1, To: name, UIDs: uids, Move: rapid.Bool().Draw(t, "move"), Now: m.now})
		case 5:
			m.do(t, id, account.StoreFlags{Mailbox: 1, UIDs: uids, Flags: []string{`\Deleted`}, Mode: account.AddFlags})
			m.do(t, id, account.Expunge{Mailbox: 1})
		default:
			summary := plain(rapid.SampledFrom([]string{"", "a subject", "Grüße"}).Draw(t, "subject"))
			summary.Keys = rapid.SliceOfN(rapid.Uint64Range(1<<63-5, 1<<63+5), 0, 3).Draw(t, "keys")
			m.do(t, id, account.AddMessage{
				Mailbox: name, Now: m.now, Fallback: true, Summary: summary,
				Blob: domain.BlobRef{ID: domain.BlobID{byte(m.now)}, Key: domain.BlobKey{byte(m.now >> 8)}, Size: rapid.Int64Range(1, 5000).Draw(t, "size")},
			})
		}
	}
}

func (m *model) make(t *rapid.T) {
	id := rapid.SampledFrom([]domain.AccountID{alice, alice, bob}).Draw(t, "account")
	if rapid.Bool().Draw(t, "at rest") {
		m.node.wait(t, m.log)
	}
	h, err := m.maker.Make(m.node.ctx, id)
	switch {
	case domain.Is(err, domain.NotFound): // nothing of it is projected yet
	case domain.Is(err, domain.Unavailable): // the views are not open yet
	case err != nil:
		t.Fatal(err)
	default:
		m.at[id] = h.At.Tx
	}
}

func (m *model) stored(id domain.AccountID) bool {
	o, err := m.bucket.Open(m.node.ctx, m.store.Name(id))
	if err == nil {
		_ = o.Close()
	}
	return err == nil
}

func (m *model) spoil(t *rapid.T) {
	if m.at[alice] == 0 {
		return
	}
	m.bucket.Damage(m.store.Name(alice), func(b []byte) []byte {
		at := rapid.IntRange(0, len(b)-1).Draw(t, "octet")
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			return b[:at]
		case 1:
			return append(b[:at], b[min(at+1+rapid.IntRange(0, 50).Draw(t, "octets"), len(b)):]...)
		}
		b[at] ^= byte(1 + rand.IntN(255))
		return b
	})
	m.at[alice] = 0
}

// exchange puts bob's in the place of alice's.
func (m *model) exchange(t *rapid.T) {
	if !m.stored(alice) || !m.stored(bob) {
		return
	}
	var others []byte
	m.bucket.Damage(m.store.Name(bob), func(b []byte) []byte { others = append(others, b...); return b })
	m.bucket.Damage(m.store.Name(alice), func([]byte) []byte { return others })
	m.at[alice] = 0
}

func (m *model) remove(t *rapid.T) {
	if err := m.maker.Remove(m.node.ctx, alice); err != nil {
		t.Fatal(err)
	}
	m.at[alice] = 0
}

func (m *model) check(t *rapid.T, done projections.Hydrated, err error) {
	if err != nil {
		t.Fatal(err)
	}
	if done.From != m.at[alice] || (done.From == 0) != (done.Refused != "") {
		t.Fatalf("there is a snapshot of transaction %d, but %+v", m.at[alice], done)
	}
	if last, _ := m.log.Last(m.node.ctx, alice); domain.Tx(done.Tail) != last.Tx-done.From {
		t.Fatalf("the log has %d transactions, but %+v", last.Tx, done)
	}
}

// hydrate has a node without alice's rows make them.
func (m *model) hydrate(t *rapid.T) {
	if m.states[alice].Tx == 0 {
		return
	}
	if len(m.states[bob].Mailboxes) == 0 {
		m.do(t, bob, account.Open{UIDValidity: 1})
	}
	m.do(t, bob, account.Subscribe{Name: fmt.Sprint("news", m.now), On: true})
	m.n++
	other := start(t, fmt.Sprintf("%s-%d", m.dir, m.n), without{m.log}, rules(), projections.Limits{BatchEntries: 3})
	defer other.end()
	other.wait(t, m.log)
	done, err := other.runner.Hydrate(other.ctx, alice, m.store)
	m.check(t, done, err)
	other.clean(t)
}

// hydrateHere does it on the node that has her rows.
func (m *model) hydrateHere(t *rapid.T) {
	m.node.wait(t, m.log)
	if m.states[alice].Tx == 0 {
		return
	}
	done, err := m.node.runner.Hydrate(m.node.ctx, alice, m.store)
	m.check(t, done, err)
	m.node.clean(t)
}

// visit has the visitor come and stay until it has all.
func (m *model) visit(t *rapid.T) {
	if m.states[alice].Tx+m.states[bob].Tx > 0 {
		m.visitUpTo(t, 1<<40)
	}
}

// visitUpTo has it come, and die when it has come to a position.
func (m *model) visitUpTo(t *rapid.T, upTo domain.Seq) {
	limits := returns
	limits.BatchEntries = rapid.IntRange(1, 9).Draw(t, "batch")
	v := startFrom(t, m.dir+"-visitor", m.store, stuck{projectiontest.Sparing{Log: m.log}, upTo}, rules(), limits)
	defer v.end()
	if head, _ := m.log.Head(v.ctx, stream); upTo < head {
		v.reach(t, upTo)
		return
	}
	v.wait(t, m.log)
	v.verify(t)
}

func (m *model) verify(t *rapid.T) {
	if m.at[alice] == 0 {
		return
	}
	report, err := m.node.runner.VerifySnapshot(m.node.ctx, alice, m.store, projections.VerifyOptions{Limit: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Differences {
		t.Error(d)
	}
}
