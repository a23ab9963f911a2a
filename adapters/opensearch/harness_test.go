package opensearch_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/opensearch"
	"github.com/streampost/streampost/adapters/opensearch/opensearchtest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// site is a log with an index in a cluster.
type site struct {
	t         *testing.T
	ctx       context.Context
	double    *opensearchtest.Cluster // nil with a real cluster
	log       *streams.Log
	listeners *listen.Listeners
	index     *opensearch.Index

	mu      sync.Mutex
	blobs   map[domain.BlobID]string
	down    error
	emails  map[domain.AccountID]map[domain.EmailID]bool
	at      map[domain.AccountID]streams.Position
	present map[domain.AccountID]domain.EmailID // the last email
	added   map[domain.EmailID]*event.MessageAdded
}

// clusters runs a test against the double, and against a real cluster when STREAMPOST_OPENSEARCH_URL names one.
func clusters(t *testing.T, f func(t *testing.T, s *site)) {
	t.Run("double", func(t *testing.T) {
		c := opensearchtest.New(t)
		s := newSite(t, c.URL)
		s.double = c
		f(t, s)
	})
	t.Run("real", func(t *testing.T) {
		url := os.Getenv("STREAMPOST_OPENSEARCH_URL")
		if url == "" {
			t.Skip("STREAMPOST_OPENSEARCH_URL names no cluster; integration/opensearch starts one")
		}
		f(t, newSite(t, url))
	})
}

func newSite(t *testing.T, url string) *site {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	s := &site{
		t: t, ctx: ctx, blobs: map[domain.BlobID]string{}, emails: map[domain.AccountID]map[domain.EmailID]bool{},
		at: map[domain.AccountID]streams.Position{}, present: map[domain.AccountID]domain.EmailID{}, added: map[domain.EmailID]*event.MessageAdded{},
	}
	dir := t.TempDir()
	server, err := natsd.Start(ctx, natsd.Config{Dir: filepath.Join(dir, "log")})
	s.must(err)
	master, err := streams.LoadMaster(filepath.Join(dir, "keys"))
	s.must(err)
	s.log, err = streams.Open(ctx, streams.Config{Conn: server.Conn(), Syncer: server, Master: master, Topology: streams.Topology{Shards: 2}})
	s.must(err)
	s.listeners, err = listen.Open(ctx, listen.Config{Log: s.log, Syncer: server})
	s.must(err)
	var unique [5]byte
	_, _ = rand.Read(unique[:])
	s.index, err = opensearch.New(opensearch.Config{
		URLs: []string{url}, Prefix: fmt.Sprintf("t%x", unique), Logger: slog.Default(), Blobs: s, Emails: s.has,
		Limits: opensearch.Limits{Open: 10 * time.Millisecond, Answer: time.Minute, Column: 200, Found: 50},
	})
	s.must(err)
	t.Cleanup(func() {
		ctx := context.Background()
		s.must(s.listeners.Close(ctx))
		s.must(s.index.Remove(ctx))
		s.must(s.log.Close(ctx))
		s.must(server.Close(ctx))
	})
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Open is of opensearch.Blobs.
func (s *site) Open(_ context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, found := s.blobs[ref.ID]
	switch {
	case s.down != nil:
		return nil, s.down
	case !found:
		return nil, domain.Errorf(domain.NotFound, "there is no such message")
	}
	return io.NopCloser(strings.NewReader(text[off : off+n])), nil
}

func (s *site) has(_ context.Context, id domain.AccountID, _ string) (map[domain.EmailID]bool, domain.Tx, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[domain.EmailID]bool{}
	for e := range s.emails[id] {
		all[e] = true
	}
	return all, s.at[id].Tx, nil
}

func (s *site) account() domain.AccountID {
	s.t.Helper()
	var random [10]byte
	_, _ = rand.Read(random[:])
	id := domain.NewAccountID(random)
	s.must(s.log.Create(s.ctx, id))
	return id
}

func (s *site) append(id domain.AccountID, events ...event.Event) {
	s.t.Helper()
	t := &event.Transaction{At: 1, Events: events}
	_, _ = rand.Read(t.ID[:])
	at, err := s.log.Append(s.ctx, id, s.at[id], t)
	s.must(err)
	s.mu.Lock()
	s.at[id] = at
	s.mu.Unlock()
}

// mail is a message with a subject and a body.
func mail(subject, body string) string {
	return "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\nSubject: " + subject + "\r\nX-Mark: yes\r\n\r\n" + body + "\r\n"
}

// deliver adds messages to an account, whose emails are numbered from 1.
func (s *site) deliver(id domain.AccountID, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		scanner := message.NewScanner()
		_, _ = io.WriteString(scanner, text)
		s.mu.Lock()
		s.present[id]++
		email := s.present[id]
		var blob domain.BlobID
		_, _ = rand.Read(blob[:])
		s.blobs[blob] = text
		if s.emails[id] == nil {
			s.emails[id] = map[domain.EmailID]bool{}
		}
		s.emails[id][email] = true
		s.mu.Unlock()
		added := &event.MessageAdded{Mailbox: 1, UID: domain.UID(email), Email: email, Thread: 1, Blob: domain.BlobRef{ID: blob, Size: int64(len(text))}, Summary: scanner.Finish()}
		s.added[added.Email] = added
		s.append(id, added)
	}
}

// until waits for a condition.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Fatalf("%s did not come: %+v", what, s.listeners.Status(context.Background()))
		}
	}
}

// answers asks until the index knows all of the account's messages.
func (s *site) answers(id domain.AccountID, q ...search.Question) *search.Answers {
	s.t.Helper()
	if len(q) == 0 {
		q = []search.Question{anywhere("anything")}
	}
	var last *search.Answers
	s.until("the index of all messages", func() bool {
		a, err := s.index.Answer(s.ctx, id, q)
		last = a
		return err == nil && a.Next == s.present[id]+1
	})
	return last
}

func anywhere(needle string) search.Question {
	return search.Question{Where: search.Anywhere, Needle: string(search.Fold(needle))}
}

func subject(needle string) search.Question {
	return search.Question{Where: search.InSubject, Needle: string(search.Fold(needle))}
}

// restore brings a message back.
func (s *site) restore(id domain.AccountID, email domain.EmailID) {
	s.t.Helper()
	s.mu.Lock()
	s.emails[id][email] = true
	s.mu.Unlock()
	s.append(id, (*event.MessageRestored)(s.added[email]))
}
