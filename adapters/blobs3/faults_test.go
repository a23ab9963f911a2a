package blobs3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobs3"
	"github.com/streampost/streampost/adapters/blobs3/s3test"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

// faults stands between the adapter and the server. What the test sets is done to requests that want matches, as many as left says.
type faults struct {
	next http.Handler

	mu   sync.Mutex
	want func(*http.Request) bool
	do   func(w http.ResponseWriter, r *http.Request, next http.Handler)
	left int
	hits int
}

func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	do := f.do
	if do == nil || f.left == 0 || !f.want(r) {
		do = nil
	} else {
		f.left--
		f.hits++
	}
	f.mu.Unlock()
	if do == nil {
		f.next.ServeHTTP(w, r)
		return
	}
	do(w, r, f.next)
}

// set arms a fault. It returns how often it happened until then.
func (f *faults) set(times int, want func(*http.Request) bool, do func(http.ResponseWriter, *http.Request, http.Handler)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want, f.do, f.left, f.hits = want, do, times, 0
}

func (f *faults) happened() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

func method(m string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == m && !strings.Contains(r.URL.Path, "bell") }
}

const always = 1 << 30

// answers gives an S3 error.
func answers(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>`+code+`</Code><Message>no</Message></Error>`)
	}
}

// hangs reads the request and answers nothing while somebody waits.
func hangs(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// breaks closes the connection in the middle of the request.
func breaks(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.CopyN(io.Discard, r.Body, 1000)
	panic(http.ErrAbortHandler)
}

// stored lets the request be done and loses the answer.
func stored(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(discarded{http.Header{}}, r)
	panic(http.ErrAbortHandler)
}

type discarded struct{ header http.Header }

func (d discarded) Header() http.Header         { return d.header }
func (d discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d discarded) WriteHeader(int)             {}

// alters gives the answer to change before it is sent.
func alters(change func(header http.Header, body []byte) []byte) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		kept := &keeping{header: http.Header{}, status: http.StatusOK}
		next.ServeHTTP(kept, r)
		body := change(kept.header, kept.body.Bytes())
		for name, values := range kept.header {
			w.Header()[name] = values
		}
		w.WriteHeader(kept.status)
		_, _ = w.Write(body)
		if len(body) < kept.body.Len() {
			panic(http.ErrAbortHandler)
		}
	}
}

type keeping struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *keeping) Header() http.Header         { return k.header }
func (k *keeping) Write(p []byte) (int, error) { return k.body.Write(p) }
func (k *keeping) WriteHeader(status int)      { k.status = status }

// faulty gives a bucket behind faults, and another way to it that soon gives up.
func faulty(t *testing.T) (patient, hasty *blobs3.Bucket, f *faults) {
	t.Helper()
	f = new(faults)
	cfg := config(t, s3test.Double(t, func(h http.Handler) http.Handler { f.next = h; return f }))
	patient = open(t, cfg)
	cfg.Limits.Timeout, cfg.Limits.Rate = 2*time.Second, 1<<30
	return patient, open(t, cfg), f
}

func read(b blob.Bucket, id domain.BlobID) ([]byte, error) {
	o, err := b.Open(context.Background(), id)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}

// sizes go every way: in one request from memory and from the spool, and in parts.
var sizes = []int{1000, 600 << 10, 11 << 20}

// TestStoringOutlivesFaults: a fault that passes is not noticed.
func TestStoringOutlivesFaults(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"500":                          answers(500, "InternalError"),
		"503 SlowDown":                 answers(503, "SlowDown"),
		"a connection that breaks":     breaks,
		"an answer that does not come": stored,
	} {
		t.Run(name, func(t *testing.T) {
			b, _, f := faulty(t)
			for _, size := range sizes {
				f.set(1, method(http.MethodPut), fault)
				want := blobtest.Text(size)
				id, err := blobtest.Upload(b, want)
				if err != nil {
					t.Fatalf("%d octets: %v", size, err)
				}
				if got, err := read(b, id); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d octets: %d came back, %v", size, len(got), err)
				}
				if f.happened() == 0 {
					t.Error("there was no fault")
				}
			}
		})
	}
}

// TestStoringThatFails: a fault that stays is told as a temporary one, with what to do, and nothing of the blob is to be seen; what had the name stays.
func TestStoringThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request, http.Handler)
		want  string
	}{
		"500":                       {answers(500, "InternalError"), ""},
		"503 SlowDown":              {answers(503, "SlowDown"), ""},
		"denied":                    {answers(403, "AccessDenied"), "AccessDenied"},
		"full":                      {answers(507, "XMinioStorageFull"), "XMinioStorageFull"},
		"the octets arrive damaged": {answers(400, "BadDigest"), "BadDigest"},
		"a server that hangs":       {hangs, "in time"},
		"a connection that breaks":  {breaks, "S3"},
		"a clock that is wrong":     {answers(403, "RequestTimeTooSkewed"), "RequestTimeTooSkewed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patient, b, f := faulty(t)
			before, err := blobtest.Upload(patient, blobtest.Text(77))
			if err != nil {
				t.Fatal(err)
			}
			f.set(always, method(http.MethodPut), c.fault)
			for _, size := range sizes[:2] {
				began := time.Now()
				id, err := blobtest.Upload(b, blobtest.Text(size))
				if !domain.Is(err, domain.Unavailable) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%d octets: %v", size, err)
				}
				var told *domain.Error
				if errors.As(err, &told) && told.Hint == "" && c.want != "" && c.want != "BadDigest" {
					t.Errorf("no hint: %v", err)
				}
				if took := time.Since(began); took > 2*time.Minute {
					t.Errorf("it took %v", took)
				}
				if _, err := patient.Open(t.Context(), id); !domain.Is(err, domain.NotFound) {
					t.Errorf("%d octets: a part of it is to be seen: %v", size, err)
				}
			}
			if err := b.Check(t.Context()); !domain.Is(err, domain.Unavailable) {
				t.Errorf("Check says %v", err)
			}
			if got, err := read(patient, before); err != nil || !bytes.Equal(got, blobtest.Text(77)) {
				t.Errorf("what was there before: %v", err)
			}
			f.set(0, nil, nil)
			if err := patient.Check(t.Context()); err != nil {
				t.Errorf("afterwards Check says %v", err)
			}
		})
	}
}

// TestReadingOutlivesFaults: answers that are cut off or refused are asked for again, and those of another version are not taken.
func TestReadingOutlivesFaults(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"500":                      answers(500, "InternalError"),
		"503 SlowDown":             answers(503, "SlowDown"),
		"a connection that breaks": breaks,
		"an answer that is cut off": alters(func(_ http.Header, body []byte) []byte {
			return body[:len(body)/2]
		}),
		"another ETag": alters(func(h http.Header, body []byte) []byte {
			h.Set("ETag", `"0123456789abcdef0123456789abcdef"`)
			return body
		}),
	} {
		t.Run(name, func(t *testing.T) {
			b, _, f := faulty(t)
			store := blob.New(b, [32]byte{1})
			for _, size := range sizes {
				ref, err := store.Put(t.Context(), bytes.NewReader(blobtest.Text(size)))
				if err != nil {
					t.Fatal(err)
				}
				f.set(2, method(http.MethodGet), fault)
				if err := store.Verify(t.Context(), ref); err != nil {
					t.Errorf("%d octets: %v", size, err)
				}
				if f.happened() == 0 {
					t.Error("there was no fault")
				}
			}
		})
	}
}

// TestReadingThatFails: a bucket that cannot be read is away, and nothing is taken for damaged or missing.
func TestReadingThatFails(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"500":                       answers(500, "InternalError"),
		"denied":                    answers(403, "AccessDenied"),
		"no bucket any more":        answers(404, "NoSuchBucket"),
		"a server that hangs":       hangs,
		"answers that are cut off":  alters(func(_ http.Header, body []byte) []byte { return body[:len(body)/2] }),
		"another ETag for each":     alters(func(h http.Header, body []byte) []byte { h.Set("ETag", `"`+rand()+`"`); return body }),
		"ranges that are no ranges": alters(func(h http.Header, body []byte) []byte { h.Del("Content-Range"); return body }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patient, b, f := faulty(t)
			store := blob.New(patient, [32]byte{1})
			ref, err := store.Put(t.Context(), bytes.NewReader(blobtest.Text(3<<20)))
			if err != nil {
				t.Fatal(err)
			}
			f.set(always, method(http.MethodGet), fault)
			err = blob.New(b, [32]byte{1}).Verify(t.Context(), ref)
			if err == nil || domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt) && name != "ranges that are no ranges" {
				t.Errorf("got %v", err)
			}
			f.set(0, nil, nil)
			if err := store.Verify(t.Context(), ref); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

var counted atomic.Int64

func rand() string {
	return strings.Repeat("0", 20) + time.Unix(counted.Add(1), 0).UTC().Format("150405")
}

// TestDeletingBesideStoring holds a deletion between its look and its act while the message is stored anew: whoever stored it finds it.
func TestDeletingBesideStoring(t *testing.T) {
	b, _, f := faulty(t)
	p := blobtest.Text(500)
	id, err := blobtest.Upload(b, p)
	if err != nil {
		t.Fatal(err)
	}
	held, release := make(chan struct{}), make(chan struct{})
	f.set(1, method(http.MethodDelete), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(held)
		<-release
		next.ServeHTTP(w, r)
	})
	deleted := make(chan error, 1)
	go func() {
		_, err := b.Delete(context.Background(), id, time.Now().Add(time.Hour)) // as if it were old
		deleted <- err
	}()
	<-held
	other := make(chan error, 1)
	go func() {
		_, err := blobtest.Upload(b, p)
		other <- err
	}()
	select {
	case err := <-other:
		t.Fatalf("it was stored while a deletion was under way: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	if err := errors.Join(<-deleted, <-other); err != nil {
		t.Fatal(err)
	}
	if got, err := read(b, id); err != nil || !bytes.Equal(got, p) {
		t.Errorf("what was stored is gone: %v", err)
	}
}
