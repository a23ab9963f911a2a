package queue_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

type oneBlob string

func (b oneBlob) Open(_ context.Context, _ domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(b)[off : off+n])), nil
}

// TestContent is the head and what is stored, whatever part of it is wanted.
func TestContent(t *testing.T) {
	const blob = "Return-Path: <>\r\nSubject: x\r\n\r\nHello.\r\n"
	for _, head := range []string{"", "Delivered-To: a@b\r\n"} {
		e := &queue.Entry{Head: head, Skip: int64(len("Return-Path: <>\r\n"))}
		e.Blob.Size = int64(len(blob))
		all := head + blob[e.Skip:]
		for off := range len(all) + 3 {
			for n := -1; n < len(all)+3; n++ {
				want := all[min(off, len(all)):]
				if n >= 0 {
					want = want[:min(n, len(want))]
				}
				r, err := e.Content(t.Context(), oneBlob(blob), int64(off), int64(n))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || string(got) != want {
					t.Fatalf("%d octets from %d on are %q instead of %q, %v", n, off, got, want, err)
				}
			}
		}
	}
}
