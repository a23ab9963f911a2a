package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// samples are texts of different kinds.
func samples() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	few := make([]byte, 200_000)
	for i := range few {
		few[i] = "abcdefgh"[random.IntN(8)]
	}
	return map[string][]byte{
		"empty": nil, "one": []byte("x"), "noise": noise, "few letters": few, "zeros": make([]byte, 1<<20),
		"text": []byte(strings.Repeat("* 12 FETCH (FLAGS (\\Seen) UID 4711)\r\n", 5000)),
		"far":  append(append(bytes.Clone(noise[:32768]), noise[:300]...), noise[:32768]...),
	}
}

func deflated(t testing.TB, level int, text []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAgreesWithTheStandardLibrary(t *testing.T) {
	for name, text := range samples() {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			packed := deflated(t, level, text)
			for how, src := range map[string]io.Reader{"at once": bytes.NewReader(packed), "by octets": iotest.OneByteReader(bytes.NewReader(packed))} {
				got, err := io.ReadAll(NewReader(src))
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s, level %d, %s: %d of %d octets, %v", name, level, how, len(got), len(text), err)
				}
			}
		}
	}
}

// stalled gives some octets and then waits, as a client does that expects an answer.
type stalled struct {
	octets []byte
	waits  int
}

var errWaiting = errors.New("the reader waits for its peer")

func (s *stalled) Read(p []byte) (int, error) {
	if len(s.octets) == 0 {
		s.waits++
		return 0, errWaiting
	}
	n := copy(p, s.octets)
	s.octets = s.octets[n:]
	return n, nil
}

// bitWriter packs bits as RFC 1951 section 3.1.1 orders them.
type bitWriter struct {
	out  []byte
	n    uint
	bits uint64
}

func (w *bitWriter) add(v uint64, n uint) {
	w.bits |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

// literals writes text, all below 144, with the fixed code, whose words have their first bit highest.
func (w *bitWriter) literals(text string) {
	for i := range len(text) {
		for bit := 7; bit >= 0; bit-- {
			w.add(uint64(0x30+text[i])>>bit&1, 1)
		}
	}
}

// TestGivesAllThatEachFlushSends is the trap of readers made for files: a command must be seen however its client flushed. The octets are those that
// zlib's deflate sends for the flush, up to the last whole one.
func TestGivesAllThatEachFlushSends(t *testing.T) {
	const command = "a NOOP\r\n"
	begin := func() *bitWriter {
		w := new(bitWriter)
		w.add(0b010, 3) // not the last block, fixed codes
		w.literals(command)
		return w
	}
	for name, flush := range map[string]func(w *bitWriter){
		"Z_SYNC_FLUSH and Z_FULL_FLUSH": func(w *bitWriter) {
			w.add(0, 7)     // end of block
			w.add(0b000, 3) // stored
			w.add(0, (8-w.n)%8)
			w.add(0xffff0000, 32)
		},
		"Z_PARTIAL_FLUSH": func(w *bitWriter) {
			w.add(0, 7)
			w.add(0b010, 3) // an empty block with fixed codes
			w.add(0, 7)
		},
		"Z_BLOCK":                       func(w *bitWriter) { w.add(0, 7) },
		"Z_PARTIAL_FLUSH of old":        func(w *bitWriter) { w.add(0, 7); w.add(0b010, 3); w.add(0, 7); w.add(0b010, 3); w.add(0, 7) },
		"no end of block, but an octet": func(w *bitWriter) { w.add(0, 7); w.add(0, (8-w.n)%8) },
	} {
		t.Run(name, func(t *testing.T) {
			w := begin()
			flush(w)
			src := &stalled{octets: w.out}
			r := NewReader(src)
			var got []byte
			for len(got) < len(command) {
				p := make([]byte, 100)
				n, err := r.Read(p)
				if err != nil {
					t.Fatalf("after %q: %v", got, err)
				}
				got = append(got, p[:n]...)
			}
			if string(got) != command || src.waits > 0 {
				t.Errorf("%q after %d waits", got, src.waits)
			}
			if _, err := r.Read(make([]byte, 1)); err != errWaiting {
				t.Errorf("then %v", err)
			}
		})
	}
}

// TestErrorsOfTheSourcePass and may be got over: a deadline that is set anew lets the reader go on.
func TestErrorsOfTheSourcePass(t *testing.T) {
	packed := deflated(t, 6, []byte("hello"))
	src := &stalled{octets: packed[:1]}
	r := NewReader(src)
	p := make([]byte, 10)
	if _, err := r.Read(p); err != errWaiting {
		t.Fatal(err)
	}
	src.octets = packed[1:]
	if n, err := r.Read(p); string(p[:n]) != "hello" || err != nil {
		t.Fatalf("%q %v", p[:n], err)
	}
	if _, err := r.Read(p); err != io.EOF {
		t.Fatal(err)
	}
}

func TestCorrupt(t *testing.T) {
	early := new(bitWriter)
	early.add(0b010, 3)
	early.add(0b1000000, 7) // the code 0000001: a match of length 3
	early.add(0, 5)         // one octet back
	for name, packed := range map[string][]byte{
		"reserved block type":    {0b111},
		"sizes that contradict":  {0b001, 1, 0, 1, 0},
		"distance before begin":  early.out,
		"a browser":              []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
		"too many literal codes": {0b101 | 0b11111<<3, 0xff, 0xff, 0xff, 0xff},
		"plain IMAP":             []byte("a NOOP\r\nb NOOP\r\nc NOOP\r\nd NOOP\r\n"),
	} {
		if _, err := io.ReadAll(NewReader(io.MultiReader(bytes.NewReader(packed), neverEnding{}))); err != ErrCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// neverEnding is a source of ones.
type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

// FuzzReader compares with the standard library, whatever the input: the same octets, and an error if and only if that has one.
func FuzzReader(f *testing.F) {
	for _, text := range samples() {
		f.Add(deflated(f, 6, text[:min(len(text), 2000)]))
		f.Add(deflated(f, 1, text[:min(len(text), 2000)]))
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		const most = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), most))
		got, gotErr := io.ReadAll(io.LimitReader(NewReader(iotest.OneByteReader(bytes.NewReader(packed))), most))
		truncated := errors.Is(wantErr, io.ErrUnexpectedEOF)
		switch {
		case wantErr == nil && (gotErr != nil || !bytes.Equal(got, want)):
			t.Errorf("%d octets and %v, the standard library %d", len(got), gotErr, len(want))
		case truncated && gotErr != ErrCorrupt && !bytes.HasPrefix(got, want): // a block without an end is refused at its beginning.
			t.Errorf("of a cut stream %d octets, the standard library %d", len(got), len(want))
		case wantErr != nil && !truncated && gotErr != ErrCorrupt: // perhaps it waits for the bits that show it.
			more := io.MultiReader(bytes.NewReader(packed), bytes.NewReader(make([]byte, 64)))
			if got, err := io.ReadAll(io.LimitReader(NewReader(more), most)); err != ErrCorrupt && len(got) < most {
				t.Errorf("no error where the standard library has %v", wantErr)
			}
		}
	})
}

// TestABombTakesNoMemory: the output of a bomb passes through the window and nothing else.
func TestABombTakesNoMemory(t *testing.T) {
	packed := deflated(t, 9, make([]byte, 64<<20))
	begun := time.Now()
	r := NewReader(bytes.NewReader(packed))
	buf := make([]byte, 4096)
	allocs := testing.AllocsPerRun(1, func() {
		for {
			if _, err := r.Read(buf); err != nil {
				return
			}
		}
	})
	if allocs > 1 || r.written != 64<<20 {
		t.Errorf("%v allocations, %d octets", allocs, r.written)
	}
	t.Logf("%d octets of %d in %v", r.written, len(packed), time.Since(begun))
}

func BenchmarkReader(b *testing.B) {
	text := samples()["few letters"]
	packed := deflated(b, 6, text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		_, _ = io.Copy(io.Discard, NewReader(bytes.NewReader(packed)))
	}
}

// pieces gives one piece at each Read.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	*p = (*p)[1:]
	return n, nil
}

// The end of a flush that comes by itself, whole or not, is told to hold nothing, and nothing else is.
func TestTellsOfBarrenOctets(t *testing.T) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	var from pieces
	for _, cuts := range [][]int{{4}, {4, 3}} { // from the end of each flush
		_, _ = io.WriteString(w, "a NOOP\r\n")
		_ = w.Flush()
		rest := bytes.Clone(packed.Bytes())
		packed.Reset()
		for _, cut := range cuts {
			from, rest = append(from, rest[:len(rest)-cut]), rest[len(rest)-cut:]
		}
		from = append(from, rest)
	}
	all := int64(0)
	for _, p := range from {
		all += int64(len(p))
	}
	r := NewReader(&from)
	r.Heard = func() uint64 { // as far as it is read
		left := int64(0)
		for _, p := range from {
			left += int64(len(p))
		}
		return uint64(all - left)
	}
	var barren []uint64
	r.Barren = func(octets uint64) { barren = append(barren, octets) }
	text, _ := io.ReadAll(r)
	if string(text) != "a NOOP\r\na NOOP\r\n" || !slices.Equal(barren, []uint64{4, 4}) {
		t.Errorf("read %q with %v barren octets", text, barren)
	}
}
