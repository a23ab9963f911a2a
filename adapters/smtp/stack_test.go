package smtp

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/integration/stack"
	"github.com/streampost/streampost/projections/door/doortest"
)

// startOnStack serves in front of the real log, blobs and views.
func startOnStack(t testing.TB, kind Kind, change ...func(*Config)) (*site, *stack.Stack) {
	t.Helper()
	st := stack.New(t)
	return startOn(t, &doortest.Node{Accounts: st.Accounts, Directory: st.Directory}, kind, change...), st
}

func TestDeliveredMailSurvivesRestart(t *testing.T) {
	s, st := startOnStack(t, LMTP)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			c := s.hello()
			for i := range 10 {
				c.envelope("x@example.net", "alice@example.org", "bob@example.org")
				c.send(dots(fmt.Sprintf("Subject: %d-%d\r\n\r\n", n, i)))
				c.expect("250 ")
				c.expect("250 ")
			}
		})
	}
	wg.Wait()
	before := s.messages(s.alice, "INBOX")
	if len(before) != 40 {
		t.Fatalf("%d messages", len(before))
	}
	st.Restart()
	s.Accounts, s.Directory = st.Accounts, st.Directory
	if after := s.messages(s.alice, "INBOX"); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("%d messages of %d are the same after a restart", len(after), len(before))
	}
}

func TestBigMessageNeedsLittleMemory(t *testing.T) {
	s, _ := startOnStack(t, MX)
	c := s.hello()
	line := strings.Repeat("x", 76) + "\r\n"
	block := bytes.Repeat([]byte(line), 1000)
	send := func(blocks int) (peak uint64) {
		var m runtime.MemStats
		c.envelope("x@example.net", "alice@example.org")
		c.send("Subject: big\r\n\r\n")
		for i := range blocks {
			if _, err := c.Write(block); err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 {
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
		c.send(".\r\n")
		c.expect("250 ")
		return peak
	}
	send(1) // What is allocated once does not count.
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	const blocks = 50_000_000 / 78_000
	if extra := int64(send(blocks)) - int64(m.HeapInuse); extra > 32<<20 {
		t.Errorf("%d MiB of memory for a message of 50 MB", extra>>20)
	} else {
		t.Logf("%d KiB", extra>>10)
	}
	got := s.messages(s.alice, "INBOX")[1]
	if body := s.body(got); len(body) != len("Subject: big\r\n\r\n")+blocks*len(block) || !strings.HasSuffix(body, line) {
		t.Errorf("%d octets arrived", len(body))
	}
}

// BenchmarkLMTP delivers messages of 8 KiB to 50 accounts.
func BenchmarkLMTP(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s, _ := startOnStack(b, LMTP)
			for i := range 50 {
				if _, err := s.Directory.AddAccount(b.Context(), "bench", fmt.Sprintf("u%d@example.org", i), ""); err != nil {
					b.Fatal(err)
				}
			}
			text := dots(hi + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 8192/72))
			b.SetBytes(int64(len(text)))
			todo := make(chan int)
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					c := s.hello()
					for i := range todo {
						c.envelope("x@example.net", fmt.Sprintf("u%d@example.org", i%50))
						c.send(fmt.Sprintf("Message-ID: <%d@example.net>\r\n", i) + text)
						c.expect("250 ")
					}
				})
			}
			b.ResetTimer()
			for i := range b.N {
				todo <- i
			}
			close(todo)
			wg.Wait()
		})
	}
}
