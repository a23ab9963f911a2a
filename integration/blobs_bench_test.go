package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/adapters/blobcache"
	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/adapters/blobjs"
	"github.com/streampost/streampost/adapters/blobs3"
	"github.com/streampost/streampost/adapters/blobs3/s3test"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// BenchmarkBlobs stores and reads messages of 8 KiB by 16 at a time, wherever blobs may lie: what the kind costs a delivery and a FETCH.
//
//	STREAMPOST_S3_URL=... go test ./integration -run '^$' -bench Blobs -benchtime 300x -count 5
func BenchmarkBlobs(b *testing.B) {
	for name, open := range map[string]func(testing.TB) blob.Bucket{"directory": inDirectory, "jetstream": inJetStream, "s3": inBucket} {
		bucket := open(b)
		cached, err := blobcache.New(bucket, b.TempDir(), blobcache.Options{})
		if err != nil {
			b.Fatal(err)
		}
		far, near := blob.New(bucket, [32]byte{1}), blob.New(cached, [32]byte{1})
		var n atomic.Int64
		message := func() []byte {
			return bytes.Repeat(fmt.Appendf(nil, "%-63d\n", n.Add(1)), 128)
		}
		b.Run("store/"+name, func(b *testing.B) {
			together(b, func() error {
				_, err := far.Put(context.Background(), bytes.NewReader(message()))
				return err
			})
		})
		var refs []domain.BlobRef
		for range 100 {
			ref, err := near.Put(b.Context(), bytes.NewReader(message()))
			if err != nil {
				b.Fatal(err)
			}
			refs = append(refs, ref)
		}
		for where, store := range map[string]*blob.Store{name: far, name + " in the cache": near} {
			if where == "directory in the cache" {
				continue
			}
			b.Run("read/"+where, func(b *testing.B) {
				together(b, func() error {
					r, err := store.Open(context.Background(), refs[n.Add(1)%100], 0, -1)
					if err != nil {
						return err
					}
					defer r.Close()
					_, err = io.Copy(io.Discard, r)
					return err
				})
			})
		}
	}
}

func together(b *testing.B, do func() error) {
	b.SetParallelism(8) // of each CPU
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

func inDirectory(b testing.TB) blob.Bucket {
	bucket, err := blobfs.Open(filepath.Join(b.TempDir(), "blobs"), blobfs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = bucket.Close() })
	return bucket
}

func inJetStream(b testing.TB) blob.Bucket {
	server, err := natsd.Start(b.Context(), natsd.Config{Dir: b.TempDir(), Sync: natsd.SyncAlways})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close(context.Background()) })
	bucket, err := blobjs.Open(b.Context(), blobjs.Config{Conn: server.Conn(), Space: "blobs"})
	if err != nil {
		b.Fatal(err)
	}
	return bucket
}

func inBucket(b testing.TB) blob.Bucket {
	a := s3test.Open(b)
	bucket, err := blobs3.Open(b.Context(), blobs3.Config{
		URL: a.URL, Bucket: a.Bucket, Prefix: a.Prefix, Space: "blobs", Region: "us-east-1", AccessKey: a.AccessKey, SecretKey: a.SecretKey, Spool: b.TempDir(),
	})
	if err != nil {
		b.Fatal(err)
	}
	return bucket
}
