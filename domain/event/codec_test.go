package event

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

func TestRoundTrip(t *testing.T) {
	for _, name := range names() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := &Transaction{ID: [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), At: rapid.Int64().Draw(t, "at"),
					Actor: rapid.String().Draw(t, "actor")}
				for range rapid.IntRange(1, 3).Draw(t, "events") {
					want.Events = append(want.Events, draw(t, name))
				}
				got, err := Unmarshal(Marshal(want))
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("got\n%s\nwant\n%s", text(got), text(want))
				}
			})
		})
	}
}

func TestSummaryRoundTrip(t *testing.T) {
	want := sample("MessageAdded").(*MessageAdded).Summary
	got, err := UnmarshalSummary(MarshalSummary(&want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v, got %+v, want %+v", err, got, want)
	}
}

// nest wraps a value in messages of the given field numbers, the innermost first.
func nest(value []byte, fields ...protowire.Number) []byte {
	for _, n := range fields {
		value = protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), value)
	}
	return value
}

func TestUnknownIsRefused(t *testing.T) {
	number := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 7)
	fixed := protowire.AppendFixed64(protowire.AppendTag(nil, 99, protowire.Fixed64Type), 7)
	known := func(name string) []byte { return Marshal(&Transaction{ID: [16]byte{1}, Events: []Event{sample(name)}}) }
	cases := map[string][]byte{
		"a field of the transaction":       append(known("MailboxCreated"), number...),
		"a field of a type not yet in use": append(known("MailboxCreated"), fixed...),
		"an event":                         nest(nil, 99, 4),
		"a field of an event":              nest(number, 1, 4),
		"a field deep inside":              nest(number, 3, 2, 11, 10, 4), // Summary.Root.Params
	}
	for what, octets := range cases {
		_, err := Unmarshal(octets)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || unknown.Number != 99 {
			t.Errorf("%s: got %v, want field 99 to be unknown", what, err)
		}
	}
}

func TestMalformedIsCorrupt(t *testing.T) {
	varint := func(n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
	}
	octets := func(n protowire.Number, v ...byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), v)
	}
	deep := []byte(nil)
	for range 400 {
		deep = nest(deep, 16)
	}
	cases := map[string][]byte{
		"a cut field":                   octets(3, 'a', 'b')[:3],
		"a group":                       protowire.AppendTag(nil, 3, protowire.StartGroupType),
		"an id of the wrong length":     octets(1, 1, 2, 3),
		"a number where text belongs":   varint(3, 1),
		"text where a number belongs":   octets(2, 'x'),
		"a field twice":                 append(varint(2, 2), varint(2, 2)...),
		"no event in an event":          nest(nil, 4),
		"two events in an event":        nest(append(nest(nil, 1), nest(nil, 2)...), 4),
		"a mailbox beyond 32 bits":      nest(varint(1, 1<<32), 1, 4),
		"UID 0":                         nest(octets(2, 0, 0), 14, 4),
		"a UID beyond 32 bits":          nest(octets(2, 0xff, 0xff, 0xff, 0xff, 0x0f, 1), 14, 4),
		"half a range of UIDs":          nest(octets(2, 5), 14, 4),
		"a huge range of UIDs":          nest(octets(2, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), 14, 4),
		"seven octets of a fixed64":     nest(octets(5, 1, 2, 3, 4, 5, 6, 7), 11, 10, 4),
		"parts nested without an end":   nest(deep, 2, 11, 10, 4),
		"a field number that is no one": {0x00, 0x01},
	}
	for what, b := range cases {
		if _, err := Unmarshal(b); !domain.Is(err, domain.Corrupt) {
			t.Errorf("%s: got %v, want corrupt", what, err)
		}
	}
}

func TestDeepestMessageFits(t *testing.T) {
	root := message.Part{Type: "multipart"}
	for range message.MaxDepth - 1 {
		root = message.Part{Type: "multipart", Parts: []message.Part{root}}
	}
	tx := &Transaction{Events: []Event{&MessageAdded{Summary: message.Summary{Root: root}}}}
	if got, err := Unmarshal(Marshal(tx)); err != nil || !reflect.DeepEqual(got, tx) {
		t.Fatal(err)
	}
}

// TestManyEvents would not end if finding a field took a pass over all others.
func TestManyEvents(t *testing.T) {
	tx := &Transaction{}
	for range 200_000 {
		tx.Events = append(tx.Events, &MailboxRenamed{Mailbox: 1})
	}
	got, err := Unmarshal(Marshal(tx))
	if err != nil || len(got.Events) != len(tx.Events) {
		t.Fatal(err)
	}
}

func TestJSONIsReadableAndHidesSecrets(t *testing.T) {
	for _, name := range names() {
		out, err := json.Marshal(goldenOf(name))
		if err != nil {
			t.Fatal(err)
		}
		var view struct {
			ID     string
			At     int64
			Events []map[string]any
		}
		if err := json.Unmarshal(out, &view); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if len(view.Events) != 1 || view.Events[0]["type"] != name || view.At == 0 || len(view.ID) != 32 {
			t.Errorf("%s", out)
		}
		switch e := sample(name).(type) {
		case *PasswordChanged:
			if strings.Contains(string(out), e.Hash) || strings.Contains(strings.ToLower(string(out)), "key") {
				t.Errorf("a verifier is shown: %s", out)
			}
		case *AppPasswordAdded:
			if strings.Contains(strings.ToLower(string(out)), "hash") {
				t.Errorf("a verifier is shown: %s", out)
			}
		case *DKIMKeyAdded:
			if strings.Contains(strings.ToLower(string(out)), "private") || !strings.Contains(string(out), "selector") {
				t.Errorf("a private key is shown: %s", out)
			}
		case *MessageAdded:
			if !strings.Contains(string(out), `"key":"(secret)"`) {
				t.Errorf("a key is shown: %s", out)
			}
		}
	}
	out, err := json.Marshal(&Transaction{Events: []Event{}})
	if err != nil || !json.Valid(out) {
		t.Errorf("%s, %v", out, err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, name := range names() {
		f.Add(Marshal(goldenOf(name)))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		tx, err := Unmarshal(octets)
		if err != nil {
			return
		}
		again, err := Unmarshal(Marshal(tx))
		if err != nil || !reflect.DeepEqual(again, tx) {
			t.Fatalf("%v: what was read is not written back:\n%s\n%s", err, text(tx), text(again))
		}
	})
}

func BenchmarkMessageAdded(b *testing.B) {
	tx := &Transaction{ID: [16]byte{1}, At: 1, Actor: "lmtp", Events: []Event{&MessageAdded{Mailbox: 1, UID: 5, Email: 9, Thread: 9,
		Blob: domain.BlobRef{ID: [32]byte{1}, Key: [32]byte{2}, Size: 8000}, Internal: 1.7e9, Saved: 1.7e9, Summary: message.Summary{
			Envelope: message.Envelope{Date: "Mon, 2 Jan 2006 15:04:05 -0700", Subject: "Re: lunch", From: []message.Address{{Name: "Al", Mailbox: "al", Host: "example.org"}},
				Sender:  []message.Address{{Name: "Al", Mailbox: "al", Host: "example.org"}},
				ReplyTo: []message.Address{{Name: "Al", Mailbox: "al", Host: "example.org"}}, To: []message.Address{{Mailbox: "bo", Host: "example.org"}}, MessageID: "<1@x>", Has: 11},
			Root:    message.Part{Type: "text", Subtype: "plain", Params: []message.Param{{Name: "charset", Value: "utf-8"}}, Encoding: "7bit", Body: 500, End: 8000, Lines: 100},
			Preview: strings.Repeat("word ", 40), Keys: []uint64{1, 2}}}}}
	octets := Marshal(tx)
	b.Run("Marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Marshal(tx)
		}
	})
	b.Run("Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Unmarshal(octets)
		}
	})
}
