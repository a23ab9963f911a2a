package changes

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"pgregory.net/rapid"
)

// model remembers what vanished, message by message, and never forgets.
type model struct {
	id    domain.AccountID
	state *account.State
	boxes map[domain.MailboxID]*box
	tx    domain.Tx
}

type box struct {
	Mailbox
	gone map[domain.UID]domain.Tx
}

// follow compares the account before and after an event, and so knows nothing of how events say what they say.
func (m *model) follow(tx domain.Tx, e event.Event) {
	before := map[domain.MailboxID]string{}
	there := map[domain.MailboxID]domain.UIDSet{}
	next := map[domain.MailboxID]domain.UID{}
	for id, b := range m.state.Mailboxes {
		before[id] = fmt.Sprint(b.Name, b.SpecialUse, b.UID, b.Flags, b.Modified, b.UIDNext, b.Metadata)
		there[id], next[id] = b.Select(domain.UIDSet{{Lo: 1, Hi: 1<<32 - 1}}), b.UIDNext
	}
	m.state.Apply(tx, e)
	m.tx = tx
	for id, b := range m.state.Mailboxes {
		was, known := before[id]
		if !known {
			m.boxes[id] = &box{Mailbox: Mailbox{ID: id, Created: tx}, gone: map[domain.UID]domain.Tx{}}
		}
		if fmt.Sprint(b.Name, b.SpecialUse, b.UID, b.Flags, b.Modified, b.UIDNext, b.Metadata) != was {
			m.boxes[id].Changed = tx
		}
		for uid := range there[id].All() {
			if _, stays := b.Index(uid); !stays {
				m.boxes[id].gone[uid] = tx
			}
		}
	}
	for id := range before {
		if m.state.Mailboxes[id] == nil {
			b := m.boxes[id]
			b.Changed, b.Deleted = tx, tx
			for uid := domain.UID(1); uid < next[id]; uid++ {
				b.gone[uid] = tx
			}
		}
	}
}

// floor is the last transaction that a mailbox which keeps so many UIDs has forgotten.
func (b *box) floor(keep int) (floor domain.Tx) {
	if b.Deleted != 0 {
		return 0
	}
	at := map[domain.Tx]int{}
	for _, tx := range b.gone {
		at[tx]++
	}
	var txs []domain.Tx
	for tx := range at {
		txs = append(txs, tx)
	}
	slices.SortFunc(txs, func(a, b domain.Tx) int { return cmp.Compare(b, a) })
	n := 0
	for _, tx := range txs {
		if n >= keep {
			return tx
		}
		n += at[tx]
	}
	return 0
}

// TestHistory runs random commands with a short memory and asks now and then for every mailbox that ever was.
func TestHistory(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		views, err := storetest.Open(t, fmt.Sprintf("%s/%d", dir, n), sqlview.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = views.Close() })
		keep := rapid.IntRange(1, 8).Draw(t, "keep")
		log := projectiontest.New(1)
		m := &model{id: domain.NewAccountID([10]byte{1}), state: account.New(), boxes: map[domain.MailboxID]*box{}}
		runner := projectiontest.Run(t, log, views, projection{int64(keep)})
		look := func(t *rapid.T) {
			projectiontest.Settle(t, log, runner)
			m.look(t, runner, keep)
		}
		t.Repeat(map[string]func(*rapid.T){
			"commands": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					m.command(t, log)
				}
			},
			"look": look,
		})
		look(t)
		if report, err := runner.Verify(t.Context(), projections.Selection{}, projections.VerifyOptions{Limit: 9}, nil); err != nil || report.Total > 0 {
			t.Fatalf("in other batches the rows are others: %v, %v", report.Differences, err)
		}
	})
}

func (m *model) command(t *rapid.T, log *projectiontest.Log) {
	var all []event.Event
	state := m.state
	for range rapid.IntRange(1, 2).Draw(t, "commands in a transaction") {
		events, err := account.Decide(state, m.draw(t))
		if err != nil || len(events) == 0 {
			continue
		}
		all = append(all, events...)
		if len(all) > len(events) {
			break
		}
		// The second command is decided on what the first one did.
		state = account.New()
		for e, err := range log.ReadAccount(t.Context(), m.id, 0) {
			if err != nil {
				t.Fatal(err)
			}
			for _, fact := range e.Transaction.Events {
				state.Apply(e.Tx, fact)
			}
		}
		for _, fact := range events {
			state.Apply(m.tx+1, fact)
		}
	}
	if len(all) > 0 {
		tx := log.Add(m.id, 0, all...).Tx
		for _, e := range all {
			m.follow(tx, e)
		}
	}
}

func (m *model) draw(t *rapid.T) account.Command {
	if len(m.state.Mailboxes) == 0 {
		return account.Open{UIDValidity: 1}
	}
	name := rapid.SampledFrom([]string{"INBOX", "INBOX", "a", "a", "a/b"})
	box := rapid.Custom(func(t *rapid.T) domain.MailboxID {
		if b, ok := m.state.Mailbox(name.Draw(t, "mailbox")); ok {
			return b.ID
		}
		return 1
	})
	uids := rapid.Custom(func(t *rapid.T) domain.UIDSet {
		b := m.state.Mailboxes[1]
		lo := rapid.IntRange(1, int(b.UIDNext)).Draw(t, "lo")
		return domain.UIDSet{{Lo: domain.UID(lo), Hi: domain.UID(lo + rapid.IntRange(0, 4).Draw(t, "more"))}}
	})
	switch rapid.IntRange(0, 15).Draw(t, "command") {
	case 0:
		return account.CreateMailbox{Name: name.Draw(t, "name")}
	case 1:
		return account.DeleteMailbox{Name: name.Draw(t, "name")}
	case 2:
		return account.RenameMailbox{From: name.Draw(t, "from"), To: name.Draw(t, "to")}
	case 15:
		value := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "value"))
		return account.SetMetadata{Mailbox: name.Draw(t, "name"), Changes: []account.MetadataChange{{Entry: "/private/comment", Value: &value}}, Limits: account.MetadataLimits{Value: 9, Entries: 9, Octets: 999}}
	case 3, 4:
		return account.StoreFlags{Mailbox: box.Draw(t, "box"), UIDs: uids.Draw(t, "uids"), Flags: []string{`\Deleted`}, Mode: account.AddFlags}
	case 5, 6:
		return account.Expunge{Mailbox: box.Draw(t, "box")}
	case 7, 8, 9, 10:
		return account.Transfer{From: box.Draw(t, "box"), To: name.Draw(t, "to"), UIDs: uids.Draw(t, "uids"), Move: rapid.Bool().Draw(t, "move")}
	}
	return account.AddMessage{Mailbox: name.Draw(t, "mailbox"), Fallback: true}
}

func (m *model) look(t *rapid.T, runner *projections.Runner, keep int) {
	r, err := runner.ReaderOf(Name, m.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, since := range append(rapid.SliceOfN(rapid.Uint64Range(1, uint64(max(m.tx, 1))), 3, 3).Draw(t, "since"), 0) {
		since := domain.Tx(since)
		var want []Mailbox
		for id := domain.MailboxID(1); id <= domain.MailboxID(len(m.boxes)); id++ {
			b := m.boxes[id]
			if b.Changed > since {
				want = append(want, b.Mailbox)
			}
			got, complete, err := Vanished(t.Context(), r, m.id, id, since)
			if err != nil {
				t.Fatal(err)
			}
			floor := b.floor(keep)
			if complete != (since >= floor) {
				t.Fatalf("mailbox %d since %d: complete is %v, it remembers what came after %d", id, since, complete, floor)
			}
			var all domain.UIDSet
			for uid, tx := range b.gone {
				if tx > max(since, floor) {
					all = all.Add(uid)
				}
			}
			if got.String() != all.String() {
				t.Fatalf("mailbox %d since %d lost %s, the view says %s", id, since, all, got)
			}
		}
		if got, err := Mailboxes(t.Context(), r, m.id, since); err != nil || !slices.Equal(got, want) {
			t.Fatalf("since %d %+v changed, the view says %+v, %v", since, want, got, err)
		}
	}
}

// A hundred thousand messages that go one by one are remembered, and no more rows than that are kept.
func TestKeep(t *testing.T) {
	views, err := storetest.Open(t, t.TempDir(), sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	log, id := projectiontest.New(1), domain.NewAccountID([10]byte{1})
	log.Add(id, 0, &event.MailboxCreated{Mailbox: 1, Name: "INBOX"})
	const all = Keep + 5000
	for uid := 1; uid <= 2*all; uid += 2 { // no two of them are neighbours
		log.Add(id, 0, &event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDs(domain.UID(uid))})
	}
	runner := projectiontest.Run(t, log, views, New())
	projectiontest.Settle(t, log, runner)
	r, err := runner.ReaderOf(Name, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		since    domain.Tx
		n        int
		complete bool
	}{{0, Keep, false}, {5000, Keep, false}, {5001, Keep, true}, {5002, Keep - 1, true}, {all + 1, 0, true}} {
		got, complete, err := Vanished(t.Context(), r, id, 1, c.since)
		if err != nil || complete != c.complete || got.Len() != c.n {
			t.Errorf("since %d: %d vanished, complete %v, %v; want %d, %v", c.since, got.Len(), complete, err, c.n, c.complete)
		}
	}
	if got, complete, err := Vanished(t.Context(), r, id, 7, 0); got != nil || !complete || err != nil {
		t.Errorf("a mailbox that never was: %s, %v, %v", got, complete, err)
	}
}
