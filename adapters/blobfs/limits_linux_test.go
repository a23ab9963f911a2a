package blobfs_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// mount mounts a small tmpfs, where the test may.
func mount(t *testing.T, flags uintptr, data string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, data); err != nil {
		t.Skipf("mounting a tmpfs is not allowed here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestFullDisk(t *testing.T) {
	store := blob.New(open(t, mount(t, 0, "size=2m")), [32]byte{1})
	kept := map[domain.BlobRef]bool{}
	message := make([]byte, 200<<10)
	for range 20 {
		_, _ = rand.NewChaCha8([32]byte{byte(len(kept))}).Read(message)
		ref, err := store.Put(ctx, bytes.NewReader(message))
		if err != nil {
			wantHint(t, err, "is full")
			break
		}
		kept[ref] = true
	}
	if len(kept) == 0 || len(kept) == 20 {
		t.Fatalf("%d messages of 200 KiB fit into 2 MiB", len(kept))
	}
	for ref := range kept {
		if err := store.Verify(ctx, ref); err != nil {
			t.Error(err)
		}
	}
	for ref := range kept { // Room again.
		if _, err := store.Delete(ctx, ref.ID, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Put(ctx, bytes.NewReader(message)); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := mount(t, 0, "")
	shut(t, open(t, dir))
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := blobfs.Open(dir, blobfs.Options{})
	wantHint(t, err, "read-only")
}

func TestForbiddenDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("the superuser may write anywhere")
	}
	dir := filepath.Join(t.TempDir(), "blobs")
	if err := os.Mkdir(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := blobfs.Open(dir, blobfs.Options{})
	wantHint(t, err, "must own")
}
