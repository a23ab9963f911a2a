package search_test

import (
	"context"
	"iter"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview/postgres/pgtest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
	index "github.com/streampost/streampost/projections/search"
)

// Emails yields what the model knows of an account's messages.
func (m *model) Emails(_ context.Context, sel index.Selection) iter.Seq2[index.Email, error] {
	return func(yield func(index.Email, error) bool) {
		for _, box := range m.states[sel.Account].Mailboxes {
			for i, uid := range box.UID {
				if sel.Mailbox != 0 && (box.ID != sel.Mailbox || sel.UIDs != nil && !sel.UIDs.Contains(uid)) {
					continue
				}
				added := m.refs[sel.Account][box.Email[i]]
				if !yield(index.Email{ID: box.Email[i], Blob: added.Blob, Summary: &added.Summary}, nil) {
					return
				}
			}
		}
	}
}

func (m *model) ReaderOf(projection string, id domain.AccountID) (projections.Reader, error) {
	return m.runner.ReaderOf(projection, id)
}

func (m *model) Change(ctx context.Context, projection string, id domain.AccountID, f func(context.Context, projections.Tx) error) error {
	return m.runner.Change(ctx, projection, id, f)
}

func TestReindex(t *testing.T)         { reindex(t, "") }
func TestReindexPostgres(t *testing.T) { reindex(t, pgtest.Shared(t).Database(t)) }

// Whatever is wrong with a document is noticed, by comparing with the log or by reading messages again, and mended in place.
func reindex(t *testing.T, url string) {
	m := newModel(t, t.TempDir(), url)
	defer func() { m.stop() }()
	id := m.ids[0]
	m.do(id, account.Open{UIDValidity: 1})
	m.do(id, account.CreateMailbox{Name: "Archive", UIDValidity: 2})
	for range 3 {
		m.deliver(id, "INBOX", "Subject: zebra\r\nFrom: a@example.org\r\n\r\nplain words\r\n")
	}
	m.deliver(id, "Archive", "Subject: zebra\r\n\r\narchived words\r\n")
	m.do(id, account.Transfer{From: 1, To: "Archive", UIDs: domain.UIDs(1), Now: m.now})
	m.wait(t)
	run := func(sel index.Selection, check bool) index.Reindexed {
		t.Helper()
		sel.Account = id
		done, err := m.projection.Reindex(m.ctx, m, sel, check, nil)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if done := run(index.Selection{}, true); done != (index.Reindexed{Messages: 4}) {
		t.Errorf("nothing was wrong: %+v", done)
	}
	if done := run(index.Selection{Mailbox: 2}, false); done != (index.Reindexed{Messages: 2, Written: 2}) {
		t.Errorf("a mailbox: %+v", done)
	}
	if done := run(index.Selection{Mailbox: 1, UIDs: domain.UIDs(2)}, false); done != (index.Reindexed{Messages: 1, Written: 1}) {
		t.Errorf("a message: %+v", done)
	}
	gone := `delete from grams where rowid in (select doc from documents where email = 2)`
	if url != "" {
		gone = `delete from grams where doc in (select doc from documents where email = 2)`
	}
	for _, harm := range []string{
		gone,
		`update documents set subject = 'HORSE' where email = 2`,
		`update documents set state = 2 where email = 2`,
		`delete from documents where email = 2`,
	} {
		if err := m.Change(m.ctx, index.Name, id, func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, harm)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		report, err := m.runner.Verify(m.ctx, projections.Selection{Projection: index.Name}, projections.VerifyOptions{Limit: 10}, nil)
		if err != nil || report.Total == 0 {
			t.Errorf("%s is not noticed: %+v, %v", harm, report, err)
		}
		if done := run(index.Selection{}, true); done != (index.Reindexed{Messages: 4, Written: 1, Wrong: 1}) {
			t.Errorf("%s: %+v", harm, done)
		}
		if found, _ := m.find(t, id, search.And{search.Text{Text: "plain"}, search.Subject{Text: "zebra"}}, true); len(found) != 4 { // one of them is in two mailboxes
			t.Errorf("%s: found %v after it was mended", harm, found)
		}
		m.verify(t)
	}
	// A message that could not be read is indexed as soon as it can.
	text := "Subject: later\r\n\r\nretrieved words\r\n"
	ref := m.blobs.put(text)
	m.blobs.lose(ref)
	m.do(id, account.AddMessage{Mailbox: "INBOX", Now: m.now, Fallback: true, Blob: ref, Summary: scan(text)})
	m.wait(t)
	if done := run(index.Selection{}, true); done != (index.Reindexed{Messages: 5, Missing: 1}) {
		t.Errorf("a lost message: %+v", done)
	}
	m.blobs.mu.Lock()
	m.blobs.all[ref.ID] = text
	m.blobs.mu.Unlock()
	if done := run(index.Selection{}, true); done != (index.Reindexed{Messages: 5, Written: 1, Wrong: 1}) {
		t.Errorf("the lost message is back: %+v", done)
	}
	if found, read := m.find(t, id, search.Text{Text: "retrieved"}, true); len(found) != 1 || read != 1 {
		t.Errorf("found %v, read %d", found, read)
	}
	m.verify(t)
}
