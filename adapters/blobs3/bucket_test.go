package blobs3_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/streampost/streampost/adapters/blobs3"
	"github.com/streampost/streampost/adapters/blobs3/s3test"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

// config gives what leads to a bucket, with small limits so that little data goes every way.
func config(t testing.TB, a s3test.Access) blobs3.Config {
	return blobs3.Config{
		URL: a.URL, Bucket: a.Bucket, Prefix: a.Prefix, Space: "blobs", Region: "us-east-1", AccessKey: a.AccessKey, SecretKey: a.SecretKey, Spool: t.TempDir(),
		Limits: blobs3.Limits{Memory: 256 << 10, Page: 7, Part: 5 << 20},
	}
}

func open(t testing.TB, cfg blobs3.Config) *blobs3.Bucket {
	t.Helper()
	b, err := blobs3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Bucket { return open(t, config(t, s3test.Open(t))) })
}

// TestClocks: what is old and what is young is told by one clock, whatever the server's says.
func TestClocks(t *testing.T) {
	for _, by := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
		t.Run(by.String(), func(t *testing.T) {
			a := s3test.Skewed(t, by)
			b := open(t, config(t, a))
			id, err := blobtest.Upload(b, blobtest.Text(100))
			if err != nil {
				t.Fatal(err)
			}
			if skew := b.Inspect(t.Context()).Skew; (skew - by).Abs() > time.Minute {
				t.Errorf("the clock seems to be ahead by %v", skew)
			}
			if deleted, err := b.Delete(t.Context(), id, time.Now().Add(-5*time.Minute)); deleted || err != nil {
				t.Errorf("what is young: %v, %v", deleted, err)
			}
			if deleted, err := b.Delete(t.Context(), id, time.Now().Add(5*time.Minute)); !deleted || err != nil {
				t.Errorf("what is old: %v, %v", deleted, err)
			}
			if _, err := blobtest.Upload(b, blobtest.Text(100)); err != nil { // beside a mark whose age has to be right as well
				t.Error(err)
			}
		})
	}
}

// TestInspect tells of versions, after which what is deleted is still gone for us.
func TestInspect(t *testing.T) {
	a := s3test.Double(t)
	b, c := open(t, config(t, a)), behind(t, a)
	if found := b.Inspect(t.Context()); found.Versioned || found.Locked || found.Skew != 0 {
		t.Errorf("%+v", found)
	}
	if err := c.EnableVersioning(t.Context(), a.Bucket); err != nil {
		t.Fatal(err)
	}
	if found := b.Inspect(t.Context()); !found.Versioned {
		t.Errorf("%+v", found)
	}
	id, err := blobtest.Upload(b, blobtest.Text(10))
	if err != nil {
		t.Fatal(err)
	}
	if deleted, err := b.Delete(t.Context(), id, time.Time{}); !deleted || err != nil {
		t.Error(deleted, err)
	}
	if _, err := b.Open(t.Context(), id); !domain.Is(err, domain.NotFound) {
		t.Errorf("got %v", err)
	}
}

// behind is the bucket as a client of S3 sees it.
func behind(t *testing.T, a s3test.Access) minio.Core {
	t.Helper()
	c, err := minio.NewCore(strings.TrimPrefix(a.URL, "http://"), &minio.Options{Creds: credentials.NewStaticV4(a.AccessKey, a.SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return *c
}

func keys(t *testing.T, c minio.Core, a s3test.Access) (all []string) {
	t.Helper()
	for o := range c.ListObjectsIter(t.Context(), a.Bucket, minio.ListObjectsOptions{Prefix: a.Prefix, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		all = append(all, o.Key)
	}
	return all
}

// TestSweep: marks of deletions and uploads that never ended go when they are old, and nothing else does.
func TestSweep(t *testing.T) {
	a := s3test.Open(t)
	cfg := config(t, a)
	b, c := open(t, cfg), behind(t, a)
	var left domain.BlobID
	for i := range 5 {
		id, err := blobtest.Upload(b, blobtest.Text(1000+i))
		if err != nil {
			t.Fatal(err)
		}
		if left = id; i == 4 {
			break
		}
		if deleted, err := b.Delete(t.Context(), id, time.Now().Add(time.Hour)); !deleted || err != nil {
			t.Fatal(deleted, err)
		}
	}
	if _, err := c.NewMultipartUpload(t.Context(), a.Bucket, a.Prefix+"blobs/aa/cut-off", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	unfinished := func() (n int) {
		for u := range c.ListIncompleteUploads(t.Context(), a.Bucket, a.Prefix+"blobs/", true) {
			if u.Err != nil {
				t.Fatal(u.Err)
			}
			n++
		}
		return n
	}
	marks := func() int {
		return len(slices.DeleteFunc(keys(t, c, a), func(key string) bool { return !strings.Contains(key, ".deleting/") }))
	}
	if err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if marks() != 4 || unfinished() != 1 {
		t.Errorf("what is young: %d marks, %d uploads", marks(), unfinished())
	}
	cfg.Limits.Lull, cfg.Limits.Abandoned = -time.Minute, -time.Minute // The date that a server tells may be a second old.
	later := open(t, cfg)
	if err := later.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if marks() != 0 || unfinished() != 0 {
		t.Errorf("what is old: %d marks, %d uploads", marks(), unfinished())
	}
	if got, err := read(b, left); err != nil || len(got) != 1004 {
		t.Errorf("a blob went as well: %v", err)
	}
}

// TestSpacesAndPrefixes: installations and kinds of things share a bucket and see nothing of each other.
func TestSpacesAndPrefixes(t *testing.T) {
	a := s3test.Open(t)
	blobs := config(t, a)
	snapshots, other := blobs, blobs
	snapshots.Space = "snapshots"
	other.Prefix += "other-"
	id, err := blobtest.Upload(open(t, blobs), blobtest.Text(10))
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []blobs3.Config{snapshots, other} {
		b := open(t, cfg)
		if _, err := b.Open(t.Context(), id); !domain.Is(err, domain.NotFound) {
			t.Errorf("got %v", err)
		}
		if err := b.List(t.Context(), func(domain.BlobID, int64, time.Time) error { t.Error("something is listed"); return nil }); err != nil {
			t.Error(err)
		}
	}
}
