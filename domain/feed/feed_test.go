package feed_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/domain/message"
)

var arrival = &event.MessageAdded{
	Mailbox: 1, UID: 7, Email: 9, Blob: domain.BlobRef{Size: 1234},
	Summary: message.Summary{Envelope: message.Envelope{Subject: "secret subject"}, Preview: "secret text"},
}

func items(t *testing.T, s *feed.Selection, at feed.Place, events ...event.Event) []feed.Item {
	t.Helper()
	got, err := s.Items(at, &event.Transaction{At: 1_700_000_000_123, Actor: "lmtp", Events: events}, func(id domain.AccountID) string { return string(id) + "@example.net" })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

var place = feed.Place{Account: "alice", Address: "alice@example.org", Stream: "ACCOUNTS_1", Seq: 50, Tx: 12}

// TestAnItem says all but what the message says.
func TestAnItem(t *testing.T) {
	got := items(t, &feed.Selection{}, place, &event.MailboxCreated{Mailbox: 2, Name: "Lists"}, arrival)
	text, err := json.Marshal(got[1])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"id":"alice/12/1","type":"MessageAdded","timestamp":"2023-11-14T22:13:20.123Z","account":"alice","address":"alice@example.org","tx":12,"stream":"ACCOUNTS_1","seq":50,"index":1,` +
		`"actor":"lmtp","data":{"blob":{"id":"` + arrival.Blob.ID.String() + `","size":1234},"email":9,"flags":0,"internalDate":0,"mailbox":1,"savedDate":0,"thread":0,"uid":7}}`
	if string(text) != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	all := items(t, &feed.Selection{Content: true}, place, arrival)
	if text := string(all[0].Data); !strings.Contains(text, "secret subject") || !strings.Contains(text, "secret text") || strings.Contains(text, "key") {
		t.Errorf("with content: %s", text)
	}
}

func TestWhatIsSelected(t *testing.T) {
	made := &event.MailboxCreated{Mailbox: 2, Name: "Lists"}
	directory := feed.Place{Account: domain.DirectoryID, Stream: "DIRECTORY", Seq: 1, Tx: 1}
	for name, c := range map[string]struct {
		s      feed.Selection
		at     feed.Place
		events []event.Event
		want   string
	}{
		"all":                     {feed.Selection{}, place, []event.Event{made, arrival}, "MailboxCreated MessageAdded"},
		"a kind":                  {feed.Selection{Kinds: []string{"MessageAdded"}}, place, []event.Event{made, arrival}, "MessageAdded"},
		"a pattern":               {feed.Selection{Kinds: []string{"Mailbox*", "Nothing"}}, place, []event.Event{made, arrival}, "MailboxCreated"},
		"an address":              {feed.Selection{Accounts: []string{"Alice@Example.org"}}, place, []event.Event{made}, "MailboxCreated"},
		"an id":                   {feed.Selection{Accounts: []string{"alice"}}, place, []event.Event{made}, "MailboxCreated"},
		"a domain":                {feed.Selection{Domains: []string{"example.org"}}, place, []event.Event{made}, "MailboxCreated"},
		"another domain":          {feed.Selection{Domains: []string{"ample.org"}}, place, []event.Event{made}, ""},
		"an account of a domain":  {feed.Selection{Domains: []string{"example.net"}}, directory, []event.Event{&event.PasswordChanged{Account: "bob"}, &event.AccountAdded{Account: "eve", Address: "eve@example.org"}}, "PasswordChanged"},
		"a domain of the server":  {feed.Selection{Domains: []string{"example.net"}}, directory, []event.Event{&event.DomainAdded{Name: "example.net"}, &event.DomainAdded{Name: "example.org"}}, "DomainAdded"},
		"nobody of the directory": {feed.Selection{Accounts: []string{"alice"}}, directory, []event.Event{&event.EnrolmentRemoved{Selector: "all"}}, ""},
	} {
		var got []string
		for _, item := range items(t, &c.s, c.at, c.events...) {
			got = append(got, item.Type)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if err := (&feed.Selection{Kinds: []string{"Message*", "MesageAdded"}}).Check(); !domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), "MesageAdded") {
		t.Errorf("a pattern for nothing: %v", err)
	}
	if (&feed.Selection{Kinds: []string{"Message*"}}).Directory() || !(&feed.Selection{}).Directory() || !(&feed.Selection{Kinds: []string{"Account*"}}).Directory() {
		t.Error("who hears the directory")
	}
}
