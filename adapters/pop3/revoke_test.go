package pop3

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

// watchedBlobs calls passed when more than the first buffer of a message is read.
type watchedBlobs struct {
	door.Blobs
	passed func()
}

type watchedBlob struct {
	io.ReadCloser
	read   int
	passed func()
}

func (b *watchedBlobs) Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	octets, err := b.Blobs.Open(ctx, ref, off, n)
	return &watchedBlob{octets, 0, b.passed}, err
}

func (b *watchedBlob) Read(p []byte) (int, error) {
	if b.read > streamBuffer {
		b.passed()
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), streamBuffer/2+1)])
	b.read += n
	return n, err
}

// TestAMessageBreaksOffWithItsLogin: it has no end then, and nothing in it that the server says.
func TestAMessageBreaksOffWithItsLogin(t *testing.T) {
	var node *doortest.Node
	var id domain.AccountID
	node = doortest.Start(t, func(c *door.Config) {
		c.Blobs = &watchedBlobs{c.Blobs, func() {
			if err := node.Directory.SetPassword(t.Context(), "test", id, "another one"); err != nil {
				t.Error(err)
			}
		}}
	})
	id = node.AddAccount(t, alice, password)
	s := start(t, func(c *Config) { c.Accounts, c.Directory = node.Accounts, node.Directory })
	text := mail(1) + strings.Repeat("all work and no play\r\n", 4*streamBuffer/22)
	doortest.Deliver(t, node.Accounts, id, "INBOX", text)
	c := s.login()
	c.says("RETR 1", "+OK ... octets")
	got, err := io.ReadAll(c.r)
	if err != nil || len(got) == 0 || !strings.HasPrefix(text, string(got)) || len(got) > 2*streamBuffer {
		t.Errorf("%d of %d octets come, %v", len(got), len(text), err)
	}
}
