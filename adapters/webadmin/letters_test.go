package webadmin_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// letters are dead letters in memory.
type letters struct{ all []listen.Letter }

func sampleLetters() []listen.Letter {
	at := time.Unix(1_699_990_000, 0).UTC()
	return []listen.Letter{
		{ID: 3, Listener: "opensearch-1", Account: alice, Stream: "ACCOUNTS_0", Seq: 7, Tx: 2, Cause: "refused", Attempts: 8, First: at, Last: at},
		{ID: 5, Listener: "hook-1", Account: alice, Stream: "ACCOUNTS_0", Seq: 8, Tx: 3, Cause: "timeout", Attempts: 8, First: at, Last: at},
		{ID: 9, Listener: "opensearch-1", Account: alice, Stream: "ACCOUNTS_0", Seq: 9, Tx: 4, Cause: "refused", Attempts: 8, First: at, Last: at},
	}
}

func (l *letters) Status(context.Context) []listen.Status {
	return []listen.Status{{ID: "opensearch-1", Lag: 4}}
}

func (l *letters) Known(context.Context) ([]string, error) {
	return []string{"hook-1", "opensearch-1"}, nil
}

func (l *letters) Remove(context.Context, string) error { return nil }

func (l *letters) Groups(context.Context) ([]listen.Group, error) {
	var groups []listen.Group
	for _, letter := range l.all {
		i := slices.IndexFunc(groups, func(g listen.Group) bool { return g.Listener == letter.Listener })
		if i < 0 {
			i, groups = len(groups), append(groups, listen.Group{Listener: letter.Listener})
		}
		groups[i].Count++
	}
	return groups, nil
}

func (l *letters) List(_ context.Context, f listen.Filter, from uint64, limit int) (page listen.Page, err error) {
	for _, letter := range l.all {
		if letter.ID < from || f.Listener != "" && f.Listener != letter.Listener || !f.Before.IsZero() && !letter.Last.Before(f.Before) {
			continue
		}
		if len(page.Letters) == limit {
			page.Next = letter.ID
			break
		}
		page.Letters = append(page.Letters, letter)
	}
	return page, nil
}

func (l *letters) Show(_ context.Context, id uint64) (listen.Shown, error) {
	for _, letter := range l.all {
		if letter.ID == id {
			e := streams.Entry{Account: letter.Account, Stream: letter.Stream, Seq: letter.Seq, Tx: letter.Tx, Transaction: &event.Transaction{At: 1, Actor: "lmtp"}}
			return listen.Shown{Letter: letter, Entry: &e}, nil
		}
	}
	return listen.Shown{}, domain.Errorf(domain.NotFound, "there is no dead letter %d", id)
}

func (l *letters) Drop(ctx context.Context, sel listen.Selection, _ func(done, total uint64)) (uint64, error) {
	before := len(l.all)
	l.all = slices.DeleteFunc(l.all, func(letter listen.Letter) bool {
		return letter.Listener == sel.Listener && (sel.ID == 0 || sel.ID == letter.ID)
	})
	return uint64(before - len(l.all)), nil
}

func TestDeadLettersAsInJames(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{})
	for _, step := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/events/deadLetter/groups", 200, `["opensearch-1","hook-1"]`},
		{"GET", "/events/deadLetter/groups/opensearch-1", 200, `["3","9"]`},
		{"GET", "/events/deadLetter/groups/nobody-1", 200, `[]`},
		{"GET", "/events/deadLetter/groups/opensearch-1/3", 200, `"actor":"lmtp"`},
		{"GET", "/events/deadLetter/groups/opensearch-1/5", 404, `notFound`},
		{"GET", "/events/deadLetter/groups/opensearch-1/x", 400, `InvalidArgument`},
		{"POST", "/events/deadLetter", 400, `reDeliver`},
		{"POST", "/events/deadLetter?action=reDeliver&limit=0", 400, `limit`},
		{"DELETE", "/events/deadLetter/groups/opensearch-1/3", 204, ``},
		{"DELETE", "/events/deadLetter/groups/opensearch-1/3", 204, ``},
		{"GET", "/events/deadLetter/groups/opensearch-1", 200, `["9"]`},
		{"DELETE", "/events/deadLetter/groups/opensearch-1", 204, ``},
		{"GET", "/events/deadLetter/groups", 200, `["hook-1"]`},
		{"GET", "/v1/dead-letters?limit=1", 200, `"cause":"timeout"`},
		{"GET", "/v1/dead-letters?olderThan=10h", 200, `"letters":`},
		{"GET", "/v1/listeners", 200, `"running":true`},
		{"DELETE", "/v1/listeners/hook-1", 204, ``},
	} {
		status, body := ask(t, step.method, s.URL+step.path, "")
		if status != step.status || !strings.Contains(body, step.has) {
			t.Errorf("%s %s: %d %s, want %d with %s", step.method, step.path, status, body, step.status, step.has)
		}
	}
}
