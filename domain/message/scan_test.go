package message

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// scan scans a message in pieces of the given sizes, which repeat; without sizes at once.
func scan(text []byte, sizes ...int) Summary {
	s := NewScanner()
	for i := 0; len(text) > 0; i++ {
		n := len(text)
		if len(sizes) > 0 {
			n = min(n, sizes[i%len(sizes)])
		}
		_, _ = s.Write(text[:n])
		text = text[n:]
	}
	return s.Finish()
}

// checkOffsets fails unless the parts lie in the message and in each other as package message promises.
func checkOffsets(tb testing.TB, s *Summary, size int64) {
	tb.Helper()
	if s.Root.Start != 0 || s.Root.End != size {
		tb.Fatalf("the root is [%d, %d), want [0, %d)", s.Root.Start, s.Root.End, size)
	}
	parts := 0
	s.Root.All(func(p *Part, depth int) bool {
		parts++
		if depth >= MaxDepth {
			tb.Fatalf("a part lies at depth %d", depth)
		}
		if p.Start > p.Body || p.Body > p.End {
			tb.Fatalf("a part is [%d, %d, %d)", p.Start, p.Body, p.End)
		}
		if p.Lines < 0 || p.Lines > p.Size() {
			tb.Fatalf("a part of %d octets has %d lines", p.Size(), p.Lines)
		}
		at := p.Body
		for i := range p.Parts {
			c := &p.Parts[i]
			if c.Start < at || c.End > p.End {
				tb.Fatalf("[%d, %d) is not inside [%d, %d)", c.Start, c.End, at, p.End)
			}
			at = c.End
		}
		return true
	})
	if parts > MaxParts {
		tb.Fatalf("%d parts", parts)
	}
}

func TestSummaryDoesNotDependOnChunks(t *testing.T) {
	for name, text := range corpus(t) {
		whole := scan(text)
		checkOffsets(t, &whole, int64(len(text)))
		for range 3 {
			sizes := []int{1 + rand.IntN(7), 1 + rand.IntN(100), 1 + rand.IntN(2000)}
			if got := scan(text, sizes...); !reflect.DeepEqual(got, whole) {
				t.Fatalf("%s: pieces of %v octets give another summary:\n%+v\n%+v", name, sizes, got, whole)
			}
		}
	}
}

func BenchmarkScan(b *testing.B) {
	mails := corpus(b)
	size := 0
	for _, m := range mails {
		size += len(m)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range mails {
			scan(m, 32<<10)
		}
	}
}
