package imap

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/streampost/streampost/integration/stack"
	"github.com/streampost/streampost/projections/door/doortest"
	"golang.org/x/sync/errgroup"
)

// benchMessages is the size of the mailbox in the benchmarks. Filling it takes longer than they do.
const benchMessages = 50_000

// BenchmarkFetch measures whole commands over a loopback connection, on a server with log, views and blobs on disk.
func BenchmarkFetch(b *testing.B) {
	behind := stack.New(b)
	s := start(b, func(c *Config) { c.Accounts, c.Directory = behind.Accounts, behind.Directory })
	s.account = behind.AddAccount(b, alice, password)
	stored, err := behind.Accounts.Ingest(b.Context(), bytes.NewReader([]byte(rfcExample)))
	if err != nil {
		b.Fatal(err)
	}
	var deliveries errgroup.Group
	deliveries.SetLimit(128)
	for range benchMessages {
		deliveries.Go(func() error {
			_, err := doortest.Add(b.Context(), behind.Accounts, s.account, "INBOX", stored)
			return err
		})
	}
	if err := deliveries.Wait(); err != nil {
		b.Fatal(err)
	}
	behind.Settle()
	c := s.selected("INBOX")
	for _, command := range []string{
		"FETCH 1:* (UID FLAGS)",
		"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)",
		"FETCH 1:* (UID BODYSTRUCTURE)",
		"FETCH 1:100 BODY.PEEK[]",
		"SEARCH UNSEEN",
		"SEARCH SUBJECT minutes",
		"SEARCH 1:1000 BODY nothing",
	} {
		b.Run(command, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.send("t %s\r\n", command)
				drain(b, c)
			}
		})
	}
}

// drain reads to the tagged answer without looking at what comes before it.
func drain(b *testing.B, c *client) {
	for {
		line, err := c.r.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
		case err != nil:
			b.Fatal(err)
		case bytes.HasPrefix(line, []byte("t OK")):
			return
		case bytes.HasPrefix(line, []byte("t ")):
			b.Fatalf("%s", line)
		}
	}
}
