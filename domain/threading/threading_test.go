package threading

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// spell writes a forest as THREAD does, with messages counted from 1; a node without a message shows as nothing.
func spell(f *Forest) string {
	var b strings.Builder
	var list func(node int32)
	list = func(node int32) {
		b.WriteByte('(')
		first := true
		for {
			if !f.dummy(node) {
				if !first {
					b.WriteByte(' ')
				}
				fmt.Fprint(&b, node+1)
				first = false
			}
			children := f.Children(nil, node)
			if len(children) != 1 {
				if len(children) > 0 && !first {
					b.WriteByte(' ')
				}
				for _, c := range children {
					list(c)
				}
				break
			}
			node = children[0]
		}
		b.WriteByte(')')
	}
	for _, root := range f.Roots {
		list(root)
	}
	return b.String()
}

// parse makes messages of lines "id sent subject references...". A subject in capitals is a reply; "-" is none.
func parse(lines ...string) (all []Message) {
	numbers := map[string]uint32{"-": 0}
	number := func(s string) uint32 {
		n, known := numbers[s]
		if !known {
			n = uint32(len(numbers))
			numbers[s] = n
		}
		return n
	}
	for _, line := range lines {
		words := strings.Fields(line)
		m := Message{ID: number(words[0]), Subject: number("subject " + strings.ToLower(words[2])), Reply: words[2] != strings.ToLower(words[2])}
		if words[2] == "-" {
			m.Subject = 0
		}
		fmt.Sscan(words[1], &m.Sent)
		for _, r := range words[3:] {
			m.References = append(m.References, number(r))
		}
		all = append(all, m)
	}
	return all
}

// RFC 5256 section 3, step by step.
func TestReferences(t *testing.T) {
	for name, test := range map[string]struct {
		messages []string
		want     string
	}{
		"nothing":                        {nil, ""},
		"a reply":                        {[]string{"a 1 x", "b 2 X a"}, "(1 2)"},
		"a chain":                        {[]string{"a 1 x", "b 2 X a", "c 3 X a b"}, "(1 2 3)"},
		"siblings by date":               {[]string{"a 1 x", "b 3 X a", "c 2 X a"}, "(1 (3)(2))"},
		"siblings of one date":           {[]string{"a 1 x", "b 2 X a", "c 2 X a"}, "(1 (2)(3))"},
		"a reply that came first":        {[]string{"b 2 X a", "a 1 x"}, "(2 1)"},
		"1.A: a missing link":            {[]string{"a 1 x", "c 3 X a b"}, "(1 2)"},
		"1.A: an older link stays":       {[]string{"a 1 -", "b 2 - a", "c 3 - d b"}, "(1 2 3)"},
		"1.A: no loops":                  {[]string{"a 1 - b", "b 2 - a"}, "(2 1)"},
		"1.A: no loop with itself":       {[]string{"a 1 - a"}, "(1)"},
		"1.B: the own references win":    {[]string{"a 1 - ", "d 2 - b c", "c 3 - a"}, "(1 3 2)"},
		"1.B: none is none":              {[]string{"c 3 - a b", "b 2 y"}, "(2 1)"},
		"1: ids that are there twice":    {[]string{"a 1 -", "a 2 -", "b 3 - a"}, "(1 3)(2)"},
		"1: without ids":                 {[]string{"- 1 -", "- 2 -"}, "(1)(2)"},
		"3.A: nobody there":              {[]string{"c 1 - a b"}, "(1)"},
		"3.B: children are promoted":     {[]string{"a 1 -", "c 2 - a b", "d 3 - a b"}, "(1 (2)(3))"},
		"3.B: but several not to roots":  {[]string{"c 1 - b", "d 2 - b"}, "((1)(2))"},
		"3.B: nor those of two dummies":  {[]string{"c 1 - a b", "d 2 - a b"}, "((1)(2))"},
		"4: roots by date":               {[]string{"a 3 -", "b 1 -", "c 2 -"}, "(2)(3)(1)"},
		"4: a dummy by its first child":  {[]string{"a 3 -", "b 4 - z", "c 2 - z"}, "((3)(2))(1)"},
		"5: a reply without references":  {[]string{"a 1 x", "b 2 X"}, "(1 2)"},
		"5: a reply that was sent first": {[]string{"a 2 x", "b 1 X"}, "(1 2)"},
		"5: two of one subject":          {[]string{"a 1 x", "b 2 x"}, "((1)(2))"},
		"5: three of one subject":        {[]string{"a 1 x", "b 2 x", "c 3 x"}, "((1)(2)(3))"},
		"5: two replies":                 {[]string{"a 1 X", "b 2 X"}, "((1)(2))"},
		"5: no subject is none":          {[]string{"a 1 -", "b 2 -"}, "(1)(2)"},
		"5: of a dummy":                  {[]string{"a 1 x z", "b 2 x z", "c 3 x"}, "((1)(2)(3))"},
		"5: of two dummies":              {[]string{"a 1 x y", "b 2 x y", "c 3 x z", "d 4 x z"}, "((1)(2)(3)(4))"},
		"5: children come along":         {[]string{"a 1 x", "b 3 X", "c 4 X b", "d 2 X a"}, "(1 (4)(2 3))"},
		"5: only roots":                  {[]string{"a 1 y", "b 2 x a", "c 3 x"}, "(1 2)(3)"},
		"a change of subject":            {[]string{"a 1 x", "b 2 y a"}, "(1 2)"},
	} {
		if got := spell(References(parse(test.messages...))); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// RFC 5256 section 3: threads by their first messages, and all others are children of that one.
func TestOrderedSubject(t *testing.T) {
	for name, test := range map[string]struct {
		messages []string
		want     string
	}{
		"nothing":             {nil, ""},
		"one each":            {[]string{"a 2 x", "b 1 y"}, "(2)(1)"},
		"two":                 {[]string{"a 1 x", "b 2 X"}, "(1 2)"},
		"three":               {[]string{"a 1 x", "b 3 X", "c 2 X"}, "(1 (3)(2))"},
		"the first is first":  {[]string{"a 2 x", "b 1 X", "c 1 y"}, "(2 1)(3)"},
		"no subject is one":   {[]string{"a 1 -", "b 2 -"}, "(1 2)"},
		"references are none": {[]string{"a 1 x", "b 2 y a"}, "(1)(2)"},
	} {
		if got := spell(OrderedSubject(parse(test.messages...))); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestRefs(t *testing.T) {
	for name, test := range map[string]struct {
		messages []string
		want     string
	}{
		"no subjects":         {[]string{"a 1 x", "b 2 X"}, "(1)(2)"},
		"the latest is last":  {[]string{"a 1 x", "b 2 y", "c 3 X a"}, "(2)(1 3)"},
		"below a dummy, also": {[]string{"a 1 x z", "b 2 y", "c 3 X z"}, "(2)((1)(3))"},
	} {
		if got := spell(Refs(parse(test.messages...))); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// Whatever messages say of each other, each is in the forest once.
func TestEveryMessageIsThereOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Uint32Range(0, 12)
		messages := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Message {
			return Message{
				Sent: rapid.Int64Range(0, 5).Draw(t, "sent"), Subject: rapid.Uint32Range(0, 3).Draw(t, "subject"), Reply: rapid.Bool().Draw(t, "reply"),
				ID: id.Draw(t, "id"), References: rapid.SliceOfN(id, 0, 5).Draw(t, "references"),
			}
		}), 0, 20).Draw(t, "messages")
		for _, algorithm := range []func([]Message) *Forest{OrderedSubject, References, Refs} {
			f := algorithm(messages)
			var seen []int32
			level := slices.Clone(f.Roots)
			for depth := 0; len(level) > 0; depth++ {
				var below []int32
				for _, node := range level {
					if !f.dummy(node) {
						seen = append(seen, node)
					} else if depth > 0 || len(f.Children(nil, node)) < 2 {
						t.Fatalf("a node without a message is no root of several children: %s", spell(f))
					}
					below = f.Children(below, node)
				}
				if level = below; depth > len(messages) {
					t.Fatal("a loop")
				}
			}
			slices.Sort(seen)
			if len(slices.Compact(seen)) != len(messages) || len(seen) != len(messages) {
				t.Fatalf("%d messages are in %s", len(messages), spell(f))
			}
		}
	})
}

// Chains of references as long as a mailbox cost time in proportion.
func TestDeepThreads(t *testing.T) {
	const n = 100_000
	messages := make([]Message, n)
	for i := range messages {
		messages[i] = Message{ID: uint32(i + 1), Sent: int64(i), References: []uint32{uint32(i)}}
	}
	f := References(messages)
	if len(f.Roots) != 1 || f.Roots[0] != 0 {
		t.Errorf("%d roots", len(f.Roots))
	}
	slices.Reverse(messages)
	if f := References(messages); len(f.Roots) != 1 || f.Roots[0] != n-1 {
		t.Errorf("%d roots when the last comes first", len(f.Roots))
	}
}

func BenchmarkReferences(b *testing.B) {
	messages := make([]Message, 50_000)
	for i := range messages {
		m := &messages[i]
		m.ID, m.Sent, m.Subject = uint32(i+1), int64(i*7919%50_000), uint32(i/3+1)
		for r := i - i%5; r < i; r++ {
			m.References = append(m.References, uint32(r+1))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		References(messages)
	}
}
