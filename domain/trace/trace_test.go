package trace

import (
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	text, err := Marshal([]Record{{At: 2, Event: Queued, MessageID: "<1@x>"}, {At: 1, Event: Accepted, MessageID: "<1@x>"}, {At: 3, MessageID: "<2@x>"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"<1@x>", "1@x", " <1@x> "} {
		all, err := Find(text, id)
		if Sort(all); err != nil || len(all) != 2 || all[0].Event != Accepted {
			t.Errorf("%s: %v, %v", id, all, err)
		}
	}
	if _, err := Find([]byte("{"), "x"); err == nil {
		t.Error("half a record is read")
	}
	if Bucket("<1@x>") != Bucket("1@x") {
		t.Error("the brackets decide where records lie")
	}
}

func TestRecordsAreBounded(t *testing.T) {
	r := Record{MessageID: strings.Repeat("x", 5000), Text: strings.Repeat("ü", 5000), To: make([]string, 5000)}.Bounded()
	if len(r.MessageID)+len(r.Text) > 1100 || len(r.To) != 101 {
		t.Errorf("%d, %d, %d", len(r.MessageID), len(r.Text), len(r.To))
	}
	if Normal(r.MessageID) != Normal(strings.Repeat("x", 5000)) {
		t.Error("a long id is not found again")
	}
}
