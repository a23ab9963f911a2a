package integration

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkSMTPBesideLMTP delivers batches by LMTP, which takes no pipeline, and by SMTP through the default pipeline in turn, so that what else the machine does slows both down alike. It reports the median rates and
// their ratio, which is to be 0.7 at least.
func BenchmarkSMTPBesideLMTP(b *testing.B) {
	s := idleServer(b)
	s.start("")
	const clients, batch = 16, 320
	body := "Subject: hello\r\n\r\n" + strings.Repeat("A line of text that a message may have, or something like it.\r\n", 128) + "."
	dial := func(port int, verb string) (all []*lmtpClient) {
		for range clients {
			nc, err := net.DialTimeout("tcp", s.addr(port), 10*time.Second)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { nc.Close() })
			c := &lmtpClient{nc, bufio.NewReader(nc)}
			if !c.answer("220") || !c.ask("250", verb+" bench") {
				b.Fatal("no greeting")
			}
			all = append(all, c)
		}
		return all
	}
	run := func(all []*lmtpClient) float64 {
		began := time.Now()
		var wg sync.WaitGroup
		for n, c := range all {
			wg.Go(func() {
				for range batch / clients {
					to := []string{"alice", "bob"}[n%2] + "@example.org"
					if !c.ask("250", "MAIL FROM:<x@example.net>") || !c.ask("250", "RCPT TO:<"+to+">") || !c.ask("354", "DATA") || !c.ask("250", body) {
						b.Error("a message was refused")
						return
					}
				}
			})
		}
		wg.Wait()
		return batch / time.Since(began).Seconds()
	}
	lmtp, smtp := dial(1124, "LHLO"), dial(1025, "EHLO")
	run(lmtp)
	run(smtp)
	var rates [2][]float64
	for b.Loop() {
		for range 10 {
			rates[0] = append(rates[0], run(lmtp))
			rates[1] = append(rates[1], run(smtp))
		}
	}
	for i := range rates {
		slices.Sort(rates[i])
	}
	l, m := rates[0][len(rates[0])/2], rates[1][len(rates[1])/2]
	b.ReportMetric(l, "lmtp/s")
	b.ReportMetric(m, "smtp/s")
	b.ReportMetric(m/l, "smtp/lmtp")
	if b.Failed() {
		fmt.Println(string(tail(s.out.Bytes(), 4<<10)))
	}
}
