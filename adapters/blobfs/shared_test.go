package blobfs_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

func openShared(t *testing.T, dir string) *blobfs.Shared {
	t.Helper()
	s, err := blobfs.OpenShared(ctx, dir, blobfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// twoNodes takes turns between two users of one directory.
type twoNodes struct {
	blob.Bucket
	other blob.Bucket
}

func (n twoNodes) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	return n.other.Open(ctx, id)
}

func (n twoNodes) Delete(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	return n.other.Delete(ctx, id, before)
}

// TestTwoNodesShareADirectory stores with one and reads, lists and deletes with another. Their locks are of the kernel, as between machines.
func TestTwoNodesShareADirectory(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Bucket {
		dir := t.TempDir()
		return twoNodes{openShared(t, dir), openShared(t, dir)}
	})
}

// TestSegmentsAreDissolved: what one process kept in segments is there when the directory becomes a shared one, with its age, and no segments are.
func TestSegmentsAreDissolved(t *testing.T) {
	dir := t.TempDir()
	alone := open(t, dir)
	store := blob.New(alone, [32]byte{1})
	var refs []domain.BlobRef
	for _, text := range []string{"small", "another", strings.Repeat("large", 100_000)} {
		ref, err := store.Put(ctx, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	before := time.Now()
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		shared := openShared(t, dir)
		store = blob.New(shared, [32]byte{1})
		for _, ref := range refs {
			if err := store.Verify(ctx, ref); err != nil {
				t.Error(err)
			}
		}
		if err := shared.List(ctx, func(_ domain.BlobID, _ int64, modified time.Time) error {
			if modified.After(before) {
				t.Error("a blob became young")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "packs")); !os.IsNotExist(err) {
		t.Errorf("the segments are still there: %v", err)
	}
	again := open(t, dir) // and back
	defer again.Close()
	for _, ref := range refs {
		if err := blob.New(again, [32]byte{1}).Verify(ctx, ref); err != nil {
			t.Error(err)
		}
	}
}
