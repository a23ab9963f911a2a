package search_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
	index "github.com/streampost/streampost/projections/search"
)

// writer makes messages that look like real ones: transport fields as a few hops leave them, and prose of words that are as frequent as words are.
type writer struct {
	random *rand.Rand
	words  []string
}

// newWriter takes the words of the corpus as often as they are there, and makes some up without it.
func newWriter(seed uint64) *writer {
	w := &writer{random: rand.New(rand.NewPCG(seed, 1))}
	files, _ := filepath.Glob(filepath.Join(os.Getenv("STREAMPOST_CORPUS"), "*.eml"))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		_, body, _ := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n\n")
		for _, word := range strings.Fields(body) {
			if len(word) < 20 {
				w.words = append(w.words, strings.ToValidUTF8(word, ""))
			}
		}
	}
	for len(w.words) < 10_000 {
		w.words = append(w.words, strings.ToLower(w.token(2+int(w.random.ExpFloat64()*4))))
	}
	return w
}

func (w *writer) prose(octets int) string {
	var b strings.Builder
	line := 0
	for b.Len() < octets {
		word := w.words[w.random.IntN(len(w.words))]
		b.WriteString(word)
		if line += len(word) + 1; line > 70 {
			b.WriteString("\r\n")
			line = 0
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func (w *writer) token(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[w.random.IntN(len(alphabet))]
	}
	return string(b)
}

func (w *writer) message(n int) string {
	var b strings.Builder
	for hop := range 3 {
		fmt.Fprintf(&b, "Received: from mx%d.%s.example (mx%d.example [192.0.2.%d])\r\n\tby mail.example.org with ESMTPS id %s\r\n\tfor <alice@example.org>; Tue, %d Feb 2024 %02d:00:00 +0000\r\n",
			hop, w.words[w.random.IntN(len(w.words))], hop, w.random.IntN(256), w.token(14), 1+n%28, n%24)
	}
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=sel;\r\n\th=from:to:subject:date; bh=%s=;\r\n\tb=%s\r\n", w.token(43), w.token(172))
	fmt.Fprintf(&b, "From: %s %s <%s@example.net>\r\nTo: alice@example.org\r\nSubject: %s\r\nMessage-ID: <%s@example.net>\r\nDate: Tue, %d Feb 2024 %02d:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
		w.words[w.random.IntN(len(w.words))], w.words[w.random.IntN(len(w.words))], w.words[w.random.IntN(len(w.words))], strings.ReplaceAll(w.prose(40), "\r\n", " "), w.token(20), 1+n%28, n%24)
	b.WriteString(w.prose(500 + w.random.IntN(4000)))
	if n%5000 == 7 {
		b.WriteString("the Zwiebelfisch swims\r\n")
	}
	return b.String()
}

// cpuTime is what the process has used, which other load on the machine changes less than the clock.
func cpuTime() time.Duration {
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use) // cannot fail with these arguments
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkMailbox indexes 50,000 messages of one account among those of others, and searches them with the index and by reading all.
func BenchmarkMailbox(b *testing.B) {
	mine, others := 50_000, 5_000
	if testing.Short() {
		mine, others = 10_000, 1_000
	}
	m := newModel(b, b.TempDir(), "")
	defer func() { m.stop() }()
	m.stop()
	m.octets = 0
	w := newWriter(1)
	var octets int
	m.do(m.ids[0], account.Open{UIDValidity: 1})
	m.do(m.ids[1], account.Open{UIDValidity: 1})
	for n := range mine + others {
		text := w.message(n)
		octets += len(text)
		m.deliver(m.ids[min(n%(mine/others+1)/(mine/others), 1)], "INBOX", text)
	}
	began, used := time.Now(), cpuTime()
	m.start(b, projections.Limits{})
	stream := m.log.StreamOf(m.ids[0])
	head, _ := m.log.Head(m.ctx, stream)
	if err := m.runner.WaitFor(m.ctx, index.Name, stream, head); err != nil {
		b.Fatal(err)
	}
	took, used := time.Since(began), cpuTime()-used
	var size int64
	files, _ := filepath.Glob(filepath.Join(m.dir, stream+"*"))
	for _, name := range files {
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	text := float64(m.projection.Stats().Octets)
	b.Logf("%d messages of %.1f MB in %.1f s (%.1f s of CPU): %.0f messages/s, %.2f MB/s; index %.1f MB, %.2f of %.1f MB of text", mine+others, float64(octets)/1e6, took.Seconds(), used.Seconds(),
		float64(mine+others)/took.Seconds(), float64(octets)/1e6/took.Seconds(), float64(size)/1e6, float64(size)/text, text/1e6)
	for _, test := range []struct {
		name string
		key  search.Key
	}{
		{"rare word", search.Text{Text: "zwiebelfisch"}},
		{"no word", search.Text{Text: "nowhereatall"}},
		{"frequent word", search.Text{Text: "meeting"}},
		{"body", search.Body{Text: "zwiebelfisch"}},
		{"subject", search.Subject{Text: "meeting"}},
		{"from", search.Address{In: search.From, Text: "meet"}},
		{"header", search.Header{Field: "Message-ID", Text: "xyzzy"}},
	} {
		var counts []string
		for _, indexed := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/index=%t", test.name, indexed), func(b *testing.B) {
				for b.Loop() {
					found, read := m.find(b, m.ids[0], test.key, indexed)
					counts = []string{fmt.Sprint(len(found)), fmt.Sprint(read)}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
			})
			b.Logf("%s, index %t: found %s, read %s", test.name, indexed, counts[0], counts[1])
		}
	}
}
