package opensearch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/opensearch"
	"github.com/streampost/streampost/adapters/opensearch/opensearchtest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/streams/listen"
)

func wantAnswer(t *testing.T, what string, a search.Answer, exact bool, emails ...domain.EmailID) {
	t.Helper()
	slices.Sort(a.Emails)
	if !a.Known || a.Exact != exact || !slices.Equal(a.Emails, emails) {
		t.Errorf("%s: %+v, want %v, exact %v", what, a, emails, exact)
	}
}

func TestMessagesAreFound(t *testing.T) {
	clusters(t, func(t *testing.T, s *site) {
		s.must(s.index.Start(s.ctx, s.listeners))
		alice, bob := s.account(), s.account()
		s.deliver(alice, mail("Invoice of *March*", "the straße is long"), mail("Budget", "nothing\\else"), mail("re: invoice", "naïve café"))
		s.deliver(bob, mail("Invoice", "of bob"))
		long := mail(strings.Repeat("very long subject ", 30), "hidden")
		s.deliver(alice, long)

		a := s.answers(alice, subject("invoice"), subject("*march"), subject("of ?"), anywhere("caf"), anywhere("Is Long"), anywhere("nowhere to be found"),
			search.Question{Where: search.InFrom, Needle: "ANN@EXAMPLE"}, search.Question{Where: search.InField, Field: "x-mark"},
			search.Question{Where: search.SentOn, Days: search.Days{From: search.DayOf(1772409600), To: search.DayOf(1772409600) + 1}},
			anywhere("a"))
		wantAnswer(t, "a part of the subject", a.To[0], true, 1, 3)
		wantAnswer(t, "a star is a star", a.To[1], true, 1)
		wantAnswer(t, "a question mark is one", a.To[2], true)
		wantAnswer(t, "three characters", a.To[3], true, 3)
		wantAnswer(t, "a long needle", a.To[4], false, 1)
		wantAnswer(t, "nothing", a.To[5], false)
		wantAnswer(t, "an address", a.To[6], true, 1, 2, 3, 4)
		wantAnswer(t, "a field", a.To[7], false, 1, 2, 3, 4)
		wantAnswer(t, "a day", a.To[8], true, 1, 2, 3, 4)
		if a.To[9].Known {
			t.Errorf("one character: %+v", a.To[9])
		}
		if !slices.Equal(a.Except, []domain.EmailID{4}) {
			t.Errorf("those to be read are %v, want the one with too long a subject", a.Except)
		}
		// Another account's messages are never found, and one without any has none.
		wantAnswer(t, "bob's", s.answers(bob, subject("invoice")).To[0], true, 1)
		if a, err := s.index.Answer(s.ctx, s.account(), []search.Question{subject("invoice")}); err != nil || a.Next != 1 || len(a.To[0].Emails) != 0 {
			t.Errorf("an empty account: %+v, %v", a, err)
		}
	})
}

func TestTooManyAreNotAnswered(t *testing.T) {
	clusters(t, func(t *testing.T, s *site) {
		s.must(s.index.Start(s.ctx, s.listeners))
		alice := s.account()
		for i := range 60 {
			s.deliver(alice, mail(fmt.Sprintf("number %d", i), "text"))
		}
		wantAnswer(t, "few", s.answers(alice, subject("number 33")).To[0], true, 34)
		if a, err := s.index.Answer(s.ctx, alice, []search.Question{subject("number")}); err != nil || a.Next != 0 || a.To[0].Known {
			t.Errorf("more than Limits.Found: %+v, %v", a, err)
		}
	})
}

func TestAMessageThatCannotBeReadIsKnownNotToBeKnown(t *testing.T) {
	clusters(t, func(t *testing.T, s *site) {
		alice := s.account()
		s.deliver(alice, mail("one", "x"), mail("two", "x"))
		s.mu.Lock()
		clear(s.blobs)
		s.mu.Unlock()
		s.deliver(alice, mail("three", "x"))
		s.must(s.index.Start(s.ctx, s.listeners))
		a := s.answers(alice, subject("t"))
		wantAnswer(t, "by what the log has", a.To[0], true, 2, 3)
		if !slices.Equal(a.Except, []domain.EmailID{1, 2}) {
			t.Errorf("to be read are %v", a.Except)
		}
	})
}

func TestOutagesLoseNothing(t *testing.T) {
	clusters(t, func(t *testing.T, s *site) {
		if s.double == nil {
			t.Skip("a real cluster is not switched off here")
		}
		s.double.Trouble(func(x *opensearchtest.Trouble) { x.Away = true })
		s.must(s.index.Start(s.ctx, s.listeners))
		alice := s.account()
		s.deliver(alice, mail("during the outage", "x")) // which does not delay it
		s.until("the outage to be noticed", func() bool { return s.listeners.Status(s.ctx)[0].Outage })
		s.until("the circuit to open", func() bool { return s.index.Stats().Away })
		if _, err := s.index.Answer(s.ctx, alice, []search.Question{subject("x")}); !domain.Is(err, domain.Unavailable) {
			t.Errorf("asked during an outage: %v", err)
		}
		s.double.Trouble(func(x *opensearchtest.Trouble) { x.Away, x.Busy = false, 3 })
		wantAnswer(t, "afterwards", s.answers(alice, subject("outage")).To[0], true, 1)
		if n, err := s.listeners.Count(s.ctx); err != nil || n != 0 {
			t.Errorf("%d dead letters, %v", n, err)
		}
		// An index that somebody deletes is made again, empty, and knows that it is not whole.
		s.must(s.index.Remove(s.ctx))
		s.deliver(alice, mail("two", "x"))
		s.until("the second message", func() bool { return s.listeners.Status(s.ctx)[0].Lag == 0 })
		if a, err := s.index.Answer(s.ctx, alice, []search.Question{subject("two")}); err != nil || a.Next != 0 {
			t.Errorf("an index with a gap answers %+v, %v", a, err)
		}
	})
}

func TestARefusedDocumentIsADeadLetterAndTheOthersAreFound(t *testing.T) {
	clusters(t, func(t *testing.T, s *site) {
		if s.double == nil {
			t.Skip("a real cluster refuses nothing here")
		}
		s.double.Trouble(func(x *opensearchtest.Trouble) {
			x.Refuse = func(doc map[string]any) bool { return doc["subject"] == "POISON" }
			x.TooBig = 4000
		})
		s.must(s.index.Start(s.ctx, s.listeners))
		alice := s.account()
		s.deliver(alice, mail("one", "x"), mail("poison", "x"), mail("three", "x"))
		a := s.answers(alice, subject("o"))
		wantAnswer(t, "the others", a.To[0], true, 1)
		if !slices.Equal(a.Except, []domain.EmailID{2}) {
			t.Errorf("to be read are %v", a.Except)
		}
		page, err := s.listeners.List(s.ctx, listen.Filter{Listener: "opensearch-1"}, 0, 10)
		if err != nil || len(page.Letters) != 1 || page.Letters[0].Tx != 2 || !strings.Contains(page.Letters[0].Cause, "mapper_parsing_exception") || strings.Contains(page.Letters[0].Cause, "secret") {
			t.Fatalf("the letters are %+v, %v", page, err)
		}
		s.double.Trouble(func(x *opensearchtest.Trouble) { x.Refuse = nil })
		again, err := s.listeners.Redeliver(s.ctx, listen.Selection{}, nil)
		if err != nil || again.Successful != 1 {
			t.Errorf("redelivered %+v, %v", again, err)
		}
		a = s.answers(alice, subject("poison"))
		wantAnswer(t, "the redelivered one", a.To[0], true, 2)
		done, err := s.index.Repair(s.ctx, s.listeners, s.log, opensearch.Scope{Account: alice}, nil)
		if err != nil || done.Documents != 3 || done.Failed != 0 {
			t.Errorf("repaired %+v, %v", done, err)
		}
		a = s.answers(alice, subject("o"))
		wantAnswer(t, "all", a.To[0], true, 1, 2)
		if len(a.Except) != 0 {
			t.Errorf("to be read are still %v", a.Except)
		}
	})
}

func TestExpungedAndErasedMessagesLeaveTheIndex(t *testing.T) {
	clusters(t, func(t *testing.T, s *site) {
		s.must(s.index.Start(s.ctx, s.listeners))
		alice := s.account()
		s.deliver(alice, mail("keep", "x"), mail("drop", "x"), mail("keep too", "x"))
		s.answers(alice)
		s.append(alice, &event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDSet{{Lo: 2, Hi: 2}}})
		s.mu.Lock()
		delete(s.emails[alice], 2)
		s.mu.Unlock()
		done, err := s.index.Repair(s.ctx, s.listeners, s.log, opensearch.Scope{Account: alice}, nil)
		if err != nil || done.Documents != 2 || done.Removed != 1 {
			t.Errorf("repaired %+v, %v", done, err)
		}
		a := s.answers(alice, subject("drop"), subject("keep"))
		s.until("the refresh", func() bool { a = s.answers(alice, subject("drop"), subject("keep")); return len(a.To[0].Emails) == 0 })
		wantAnswer(t, "the others", a.To[1], true, 1, 3)
		if a.Tx != 3 {
			t.Errorf("with a document that may come back, the index answers up to transaction %d, want the last arrival's, 3", a.Tx)
		}
		// It comes back under the email that it had.
		s.restore(alice, 2)
		s.until("the restored message", func() bool { return len(s.answers(alice, subject("drop")).To[0].Emails) == 1 })

		s.append(domain.DirectoryID, &event.AccountErased{Account: alice})
		s.until("the erasure", func() bool {
			a, err := s.index.Answer(s.ctx, alice, []search.Question{subject("keep")})
			return err == nil && a.Next == 1
		})
	})
}

func TestReindexFillsANewIndexBesideTheOld(t *testing.T) {
	clusters(t, func(t *testing.T, s *site) {
		s.must(s.index.Start(s.ctx, s.listeners))
		alice := s.account()
		s.deliver(alice, mail("one", "x"), mail("two", "x"))
		s.answers(alice)
		told := false
		done, err := s.index.Reindex(s.ctx, s.listeners, func(uint64, uint64) { told = true })
		if err != nil || done.Documents != 2 || done.Failed != 0 || !strings.HasSuffix(done.Index, "-messages-2") || !told {
			t.Errorf("reindexed %+v, %v", done, err)
		}
		wantAnswer(t, "in the new index", s.answers(alice, subject("two")).To[0], true, 2)
		s.deliver(alice, mail("three", "x"))
		wantAnswer(t, "which goes on", s.answers(alice, subject("three")).To[0], true, 3)
		if known, err := s.listeners.Known(s.ctx); err != nil || !slices.Equal(known, []string{"opensearch-2"}) {
			t.Errorf("listeners are %q, %v", known, err)
		}
	})
}

func TestACancelledReindexLeavesTheOldIndex(t *testing.T) {
	clusters(t, func(t *testing.T, s *site) {
		s.must(s.index.Start(s.ctx, s.listeners))
		alice := s.account()
		s.deliver(alice, mail("one", "x"))
		s.answers(alice)
		s.mu.Lock()
		s.down = domain.Errorf(domain.Unavailable, "no messages for now") // so that it cannot end
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
		defer cancel()
		if _, err := s.index.Reindex(ctx, s.listeners, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a reindex that was cancelled: %v", err)
		}
		s.mu.Lock()
		s.down = nil
		s.mu.Unlock()
		if known, err := s.listeners.Known(s.ctx); err != nil || !slices.Equal(known, []string{"opensearch-1"}) {
			t.Errorf("listeners are %q, %v", known, err)
		}
		wantAnswer(t, "in the old index", s.answers(alice, subject("one")).To[0], true, 1)
	})
}
