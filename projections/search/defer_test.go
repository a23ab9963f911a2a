package search_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview/postgres/pgtest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
)

func TestDefer(t *testing.T)         { later(t, "") }
func TestDeferPostgres(t *testing.T) { later(t, pgtest.Shared(t).Database(t)) }

// Messages of an account at rest are not read for the index. They are found all the same, also after a restart, a comparison with the log finds nothing
// wrong with it, and afterwards they are read, however many came.
func later(t *testing.T, url string) {
	var rests atomic.Bool
	m := newModel(t, t.TempDir(), url)
	m.stop()
	m.later = func(id domain.AccountID) bool { return id == m.ids[0] && rests.Load() }
	limits := projections.Limits{BackoffMin: time.Millisecond}
	m.start(t, limits)
	defer func() { m.stop() }()
	for _, id := range m.ids {
		m.do(id, account.Open{UIDValidity: 1})
		m.deliver(id, "INBOX", "Subject: zebra\r\n\r\nplain words\r\n")
	}
	m.wait(t)
	rests.Store(true)
	m.blobs.fail(domain.Errorf(domain.Unavailable, "nobody may read it")) // which would hold up the index
	const more = 40
	for range more {
		m.deliver(m.ids[0], "INBOX", "Subject: zebra\r\n\r\nplain words\r\n")
	}
	m.do(m.ids[0], account.Transfer{From: 1, To: "INBOX", UIDs: domain.UIDs(2), Now: m.now})
	m.do(m.ids[0], account.Expunge{Mailbox: 1, UIDs: domain.UIDs(3), Any: true})
	m.wait(t)
	m.blobs.fail(nil)

	// A text that no message has is looked for in those that the index cannot decide on.
	reads := func(want int) {
		t.Helper()
		if _, read := m.find(t, m.ids[0], search.Body{Text: "giraffe"}, true); read != want {
			t.Errorf("%d messages are read, and %d are not in the index", read, want)
		}
		if emails, _ := m.find(t, m.ids[0], search.Body{Text: "plain"}, true); len(emails) != more+1 {
			t.Errorf("%d messages are found", len(emails))
		}
	}
	sound := func() {
		t.Helper()
		report, err := m.runner.Verify(m.ctx, projections.Selection{}, projections.VerifyOptions{Limit: 5}, nil)
		counted, failed := m.runner.Count(m.ctx, projections.Selection{}, projections.CountOptions{Limit: 5}, nil)
		if err != nil || failed != nil || report.Total > 0 || counted.Total > 0 {
			t.Errorf("%+v, %v; %+v, %v", report.Differences, err, counted, failed)
		}
	}
	reads(more)
	sound()
	if owing := m.projection.Owing(); !slices.Equal(owing, m.ids[:1]) {
		t.Errorf("%v owe", owing)
	}

	// What is to be read is in the rows: a new process finds it.
	m.stop()
	rests.Store(false)
	m.start(t, limits)
	m.wait(t)
	r, err := m.runner.ReaderOf("search", m.ids[0])
	if err == nil {
		err = m.projection.Recall(m.ctx, r)
	}
	if err != nil || !m.projection.Owes(m.ids[0]) || m.projection.Owes(m.ids[1]) {
		t.Fatalf("after a restart %v owe, %v", m.projection.Owing(), err)
	}
	sound()
	m.blobs.fail(domain.Errorf(domain.Unavailable, "away"))
	if _, err := m.projection.CatchUp(m.ctx, m, m.ids[0]); !domain.Is(err, domain.Unavailable) || !m.projection.Owes(m.ids[0]) {
		t.Errorf("while the blobs are away: %v", err)
	}
	m.blobs.fail(nil)
	if done, err := m.projection.CatchUp(m.ctx, m, m.ids[0]); err != nil || done.Written < more-1 || m.projection.Defers(m.ids[0]) {
		t.Errorf("%+v, %v, %v owe", done, err, m.projection.Owing())
	}
	reads(0)
	sound()
}
