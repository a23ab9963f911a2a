package event_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/feed"
)

// TestEveryMemberThatOthersSee was looked at: a member that comes here is private to nobody, or feed withholds it.
func TestEveryMemberThatOthersSee(t *testing.T) {
	var text strings.Builder
	for _, name := range event.Names() {
		items, err := new(feed.Selection).Items(feed.Place{Account: "alice"}, &event.Transaction{Events: []event.Event{event.Sample(name)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "Task") {
			t.Errorf("%s is of the tasks", name)
		}
		var members map[string]any
		if err := json.Unmarshal(items[0].Data, &members); err != nil {
			t.Fatal(err)
		}
		text.WriteString(name + ": " + strings.Join(slices.Sorted(maps.Keys(members)), " ") + "\n")
	}
	const file = "testdata/feed.txt"
	if *event.Update {
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("other systems see\n%s\nDecide whether they may, and run this test with -update.", text.String())
	}
}
