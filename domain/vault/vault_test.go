package vault_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/vault"
)

// letters is what the queries below are asked of.
var letters = map[string]vault.Message{
	"invoice": {
		Email: 7, Deleted: 1_700_000_000_000, Delivered: 1_690_000_000, Sender: "Bob@Example.org", Recipients: []string{"alice@example.org", "carol@example.org"},
		Subject: "Your INVOICE for May", HasAttachment: true, Origins: []vault.Origin{{ID: 3, Name: "Work/Bills"}},
	},
	"greeting": {
		Email: 8, Deleted: 1_700_000_500_000, Delivered: 1_699_000_000, Sender: "dave@example.net", Recipients: []string{"alice@example.org"},
		Subject: "Straße nach Istanbul", Origins: []vault.Origin{{ID: 1, Name: "INBOX"}, {ID: 6, Name: "Trash"}},
	},
}

func found(t *testing.T, q vault.Query) string {
	t.Helper()
	var names []string
	for name, m := range letters {
		if q.Matches(&m) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestJamesQueries(t *testing.T) {
	for _, c := range []struct{ field, operator, value, want string }{
		{"subject", "contains", `"INVOICE"`, "invoice"},
		{"subject", "contains", `"invoice"`, ""},
		{"subject", "containsIgnoreCase", `"invoice"`, "invoice"},
		{"subject", "containsIgnoreCase", `"sTRAßE"`, "greeting"},
		{"subject", "equals", `"Your INVOICE for May"`, "invoice"},
		{"subject", "equalsIgnoreCase", `"your invoice FOR may"`, "invoice"},
		{"subject", "equals", `"Your INVOICE"`, ""},
		{"deletionDate", "beforeOrEquals", `"2023-11-14T22:13:20Z"`, "invoice"},
		{"deletionDate", "beforeOrEquals", `"2023-11-14T22:13:19Z"`, ""},
		{"deletionDate", "afterOrEquals", `"2023-11-14T22:13:20Z"`, "greeting invoice"},
		{"deletionDate", "afterOrEquals", `"2023-11-14T23:13:21+01:00[Europe/Paris]"`, "greeting"},
		{"deliveryDate", "beforeOrEquals", `"2023-10-01"`, "invoice"},
		{"deliveryDate", "afterOrEquals", `"2023-10-01"`, "greeting"},
		{"sender", "equals", `"bob@example.org"`, "invoice"},
		{"recipients", "contains", `"carol@example.org"`, "invoice"},
		{"recipients", "contains", `"carol"`, ""},
		{"hasAttachment", "equals", `"true"`, "invoice"},
		{"hasAttachment", "equals", `false`, "greeting"},
		{"originMailboxes", "contains", `"Work/Bills"`, "invoice"},
		{"originMailboxes", "contains", `"6"`, "greeting"},
		{"messageId", "equals", `8`, "greeting"},
	} {
		q, err := vault.ParseQuery([]byte(`{"combinator": "and", "criteria": [{"fieldName": "` + c.field + `", "operator": "` + c.operator + `", "value": ` + c.value + `}]}`))
		if err != nil {
			t.Errorf("%v: %v", c, err)
		} else if got := found(t, q); got != c.want {
			t.Errorf("%s %s %s found %q, want %q", c.field, c.operator, c.value, got, c.want)
		}
	}
}

func TestCriteriaAreJoinedByAnd(t *testing.T) {
	for text, want := range map[string]string{
		`{"combinator":"and","criteria":[]}`: "greeting invoice",
		`{}`:                                 "greeting invoice",
		`{"criteria":[{"fieldName":"recipients","operator":"contains","value":"alice@example.org"},
			{"combinator":"and","criteria":[{"fieldName":"hasAttachment","operator":"equals","value":"true"}]}]}`: "invoice",
	} {
		q, err := vault.ParseQuery([]byte(text))
		if err != nil || found(t, q) != want {
			t.Errorf("%s found %q, %v; want %q", text, found(t, q), err, want)
		}
	}
	q, err := vault.ParseQuery([]byte(`{"combinator":"and","limit":99,"criteria":[]}`))
	if err != nil || q.Limit != 99 {
		t.Errorf("the limit is %d, %v", q.Limit, err)
	}
}

func TestTypedTerms(t *testing.T) {
	for text, want := range map[string]string{
		``:                                     "greeting invoice",
		`invoice`:                              "invoice",
		`from:bob subject:"invoice for"`:       "invoice",
		`to:alice attachment:false`:            "greeting",
		`mailbox:trash`:                        "greeting",
		`deleted-since:2023-11-14T22:13:21Z`:   "greeting",
		`"for May" id:7`:                       "invoice",
		` {"combinator":"and","criteria":[]} `: "greeting invoice",
		`received-until:2023-10-01 subject:straße`: "",
	} {
		q, err := vault.ParseTerms(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := found(t, q); got != want {
			t.Errorf("%s found %q, want %q", text, got, want)
		}
	}
}

func TestWhatIsNoQuery(t *testing.T) {
	for text, why := range map[string]string{
		`{"combinator":"or","criteria":[]}`:                                                        `only "and"`,
		`{"criteria":[{"fieldName":"colour","operator":"equals","value":"red"}]}`:                  "not a field",
		`{"criteria":[{"fieldName":"subject","operator":"beforeOrEquals","value":"red"}]}`:         "cannot be compared",
		`{"criteria":[{"fieldName":"deletionDate","operator":"beforeOrEquals","value":"monday"}]}`: "not a time",
		`{"criteria":[{"fieldName":"hasAttachment","operator":"equals","value":"maybe"}]}`:         "true or false",
		`{"limit":0}`:        "at least 1",
		`{"criterion":[]}`:   "not the JSON",
		`{} {}`:              "not the JSON",
		`colour:red`:         "is none of",
		`subject:"half open`: "quotation mark",
		`{"criteria":[` + strings.Repeat(`{"fieldName":"subject","operator":"equals","value":"x"},`, 100) + `{"fieldName":"subject","operator":"equals","value":"x"}]}`: "at most 100",
	} {
		if _, err := vault.ParseTerms(text); !domain.Is(err, domain.Invalid) && !domain.Is(err, domain.TooLarge) || !strings.Contains(err.Error(), why) {
			t.Errorf("%.80s gave %v, want something on %q", text, err, why)
		}
	}
}

func TestDescribe(t *testing.T) {
	m := vault.Describe(&message.Summary{
		Envelope: message.Envelope{
			Subject: "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", From: []message.Address{{Mailbox: "a", Host: "x.org"}},
			To: []message.Address{{Mailbox: "group"}, {Mailbox: "b", Host: "x.org"}, {}}, Cc: []message.Address{{Mailbox: "c", Host: "x.org"}},
		},
		Root: message.Part{Type: "multipart", Parts: []message.Part{{Type: "text"}, {Type: "image", Params: []message.Param{{Name: "name", Value: "x.png"}}}}},
	})
	if m.Subject != "Grüße" || m.Sender != "a@x.org" || strings.Join(m.Recipients, " ") != "b@x.org c@x.org" || !m.HasAttachment {
		t.Errorf("%+v", m)
	}
	if m := vault.Describe(&message.Summary{Root: message.Part{Type: "text", Disposition: "inline"}}); m.HasAttachment || m.Sender != "" {
		t.Errorf("%+v", m)
	}
}
