// Package s3test gives tests an S3 server: a double in this process, or the real one that STREAMPOST_S3_URL names as http://access:secret@host:port/bucket.
package s3test

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Access is a bucket, and a prefix in it that nobody else uses.
type Access struct {
	URL, Bucket, Prefix  string
	AccessKey, SecretKey string
}

// Real tells whether tests run against a real server.
func Real() bool { return os.Getenv("STREAMPOST_S3_URL") != "" }

// Open gives a server's bucket.
func Open(t testing.TB) Access {
	t.Helper()
	if Real() {
		return open(t)
	}
	return Double(t)
}

func open(t testing.TB) Access {
	t.Helper()
	u, err := url.Parse(os.Getenv("STREAMPOST_S3_URL"))
	if err != nil || u.User == nil {
		t.Fatalf("STREAMPOST_S3_URL is not http://access:secret@host:port/bucket: %v", err)
	}
	secret, _ := u.User.Password()
	return Access{
		URL: u.Scheme + "://" + u.Host, Bucket: strings.Trim(u.Path, "/"), Prefix: strings.ToLower(rand.Text()) + "/",
		AccessKey: u.User.Username(), SecretKey: secret,
	}
}

// Double gives the double's, whose handler may be wrapped.
func Double(t testing.TB, wrap ...func(http.Handler) http.Handler) Access {
	t.Helper()
	return double(t, gofakes3.DefaultTimeSource(), wrap...)
}

// Skewed gives the double's whose clock is ahead of ours.
func Skewed(t testing.TB, by time.Duration) Access {
	t.Helper()
	clock := skewed{gofakes3.DefaultTimeSource(), by}
	return double(t, clock, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", clock.Now().UTC().Format(http.TimeFormat))
			next.ServeHTTP(w, r)
		})
	})
}

// skewed is a clock that is wrong.
type skewed struct {
	gofakes3.TimeSource
	by time.Duration
}

// Now implements gofakes3.TimeSource.
func (s skewed) Now() time.Time { return s.TimeSource.Now().Add(s.by) }

func double(t testing.TB, clock gofakes3.TimeSource, wrap ...func(http.Handler) http.Handler) Access {
	t.Helper()
	store := s3mem.New(s3mem.WithTimeSource(clock))
	if err := store.CreateBucket("mail"); err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = gofakes3.New(store, gofakes3.WithLogger(gofakes3.DiscardLog()), gofakes3.WithTimeSource(clock), gofakes3.WithTimeSkewLimit(0)).Server()
	for _, w := range wrap {
		handler = w(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		_ = server.Config.Shutdown(context.Background())
	})
	return Access{URL: server.URL, Bucket: "mail", AccessKey: "access", SecretKey: "secret"}
}
