package account

import (
	"reflect"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// TestPromotions: each raises the epoch by one; of two operators who saw the same epoch one is refused, unless both want the same.
func TestPromotions(t *testing.T) {
	x := open(t)
	seen := x.s.Primary.Epoch
	x.do(Promote{Node: "mail2", Expected: &seen, Reason: "maintenance"})
	if want := (Primary{1, "mail2"}); x.s.Primary != want {
		t.Fatalf("the primary is %v, want %v", x.s.Primary, want)
	}
	x.refuses(domain.Conflict, Promote{Node: "mail3", Expected: &seen})
	if events := x.do(Promote{Node: "mail2", Expected: &seen}); events != nil {
		t.Errorf("the node that is primary already gets %v", events)
	}
	x.refuses(domain.Conflict, Promote{Node: "mail3", From: "mail1"})
	x.do(Promote{Node: "mail3", From: "mail2"})
	x.do(Promote{Node: "mail2"})
	if want := (Primary{3, "mail2"}); x.s.Primary != want {
		t.Errorf("the primary is %v, want %v", x.s.Primary, want)
	}
	x.refuses(domain.Invalid, Promote{})
	x.refuses(domain.Invalid, Promote{Node: strings.Repeat("n", MaxNode+1)})
	x.refuses(domain.Invalid, Promote{Node: "mail1", Reason: strings.Repeat("r", MaxReason+1)})
}

// TestAPromotionChangesNothingThatClientsSee: what a client synchronises by is the same before and after.
func TestAPromotionChangesNothingThatClientsSee(t *testing.T) {
	x := open(t)
	x.add(Inbox, 3, `\Flagged`)
	before := *x.box(Inbox)
	digest := x.s.Digest()
	x.do(Promote{Node: "mail2"})
	if after := *x.box(Inbox); !reflect.DeepEqual(after, before) {
		t.Errorf("INBOX is\n%+v\nand was\n%+v", after, before)
	}
	if x.s.Digest() == digest {
		t.Error("two nodes that differ about the primary would have the same digest")
	}
}

// TestAnEpochThatIsMissing is a damaged log.
func TestAnEpochThatIsMissing(t *testing.T) {
	x := open(t)
	defer func() {
		if recover() == nil {
			t.Error("epoch 2 follows 0")
		}
	}()
	x.s.Apply(x.tx+1, &event.Promoted{Epoch: 2, Node: "mail2"})
}
