package natsd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/projections/telling"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// TestEventsArePublished into the stream that is configured and into no other, each once, in order.
func TestEventsArePublished(t *testing.T) {
	server, err := natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close(context.Background())
	js, err := jetstream.New(server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	open := func(stream, subject string) *natsd.Feed {
		f, err := natsd.NewFeed(natsd.FeedConfig{Conn: server.Conn(), Stream: stream, Subject: subject, Count: func() { count++ }, Source: telling.Source{
			Address: func(context.Context, domain.AccountID) (string, error) { return "alice@example.org", nil },
		}})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	var entries []streams.Entry
	for tx := range 3 {
		entries = append(entries, streams.Entry{Account: "alice", Stream: "ACCOUNTS_0", Seq: domain.Seq(tx + 1), Tx: domain.Tx(tx + 1), Transaction: &event.Transaction{Events: []event.Event{&event.MailboxCreated{Name: "a"}, &event.MailboxDeleted{}}}})
	}
	events := open("EVENTS", "mail.events")
	if done, err := events.Listener().Handle(t.Context(), entries); done != 0 || !listen.IsOutage(err) || !strings.Contains(fmt.Sprintf("%+v", err), "mail.events") {
		t.Errorf("without a stream: %d, %v", done, err)
	}
	for name, subject := range map[string]string{"EVENTS": "mail.events.>", "OTHER": "accounts.>"} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // as after a crash before the acknowledgement
		if done, err := events.Listener().Handle(t.Context(), entries); done != 3 || err != nil {
			t.Fatal(done, err)
		}
	}
	if done, err := open("EVENTS", "accounts.0").Listener().Handle(t.Context(), entries); done != 0 || !listen.IsOutage(err) {
		t.Errorf("into another stream: %d, %v", done, err)
	}
	stream, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		m, err := stream.GetMsg(t.Context(), uint64(n+1))
		if err != nil {
			t.Fatal(err)
		}
		var item feed.Item
		id := fmt.Sprintf("alice/%d/%d", n/2+1, n%2)
		if err := json.Unmarshal(m.Data, &item); err != nil || item.ID != id || m.Header.Get("Nats-Msg-Id") != id || m.Subject != "mail.events.alice."+item.Type || item.Address != "alice@example.org" {
			t.Errorf("%d: %s %s %v", n, m.Subject, m.Data, err)
		}
	}
	for name, want := range map[string]uint64{"EVENTS": 6, "OTHER": 0} {
		s, err := js.Stream(t.Context(), name)
		if err != nil || s.CachedInfo().State.Msgs != want {
			t.Errorf("%s has %d messages, want %d, %v", name, s.CachedInfo().State.Msgs, want, err)
		}
	}
}
