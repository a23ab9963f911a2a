package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobs3/s3test"
)

// inS3 makes a server keep its blobs in a bucket.
func (s *server) inS3(a s3test.Access) {
	s.flags = append(s.flags, "--set", "blobs.kind=s3")
	s.reachesS3(a)
}

// reachesS3 tells a server where the bucket is.
func (s *server) reachesS3(a s3test.Access) {
	for key, value := range map[string]string{"url": a.URL, "bucket": a.Bucket, "prefix": a.Prefix, "access_key": a.AccessKey} {
		s.flags = append(s.flags, "--set", "blobs.s3."+key+"="+value)
	}
	s.env = append(s.env, "STREAMPOST_BLOBS_S3_SECRET_KEY="+a.SecretKey)
}

// TestKilledWhileDeliveringToABucket is TestKilledWhileDelivering in short for blobs elsewhere: what was answered with 250 is there and opens.
func TestKilledWhileDeliveringToABucket(t *testing.T) {
	t.Parallel()
	points := []string{"blob.written", "blob.committed", "log.published", "smtp.before-reply"}
	for kind, prepare := range map[string]func(*server){
		"s3":        func(s *server) { s.inS3(s3test.Open(t)) },
		"jetstream": func(s *server) { s.flags = append(s.flags, "--set", "blobs.kind=jetstream") },
	} {
		t.Run(kind, func(t *testing.T) {
			s := idleServer(t)
			prepare(s)
			s.start("")
			killedWhileDelivering(t, s, 8, points)
		})
	}
}

// outage is a bucket that can be away.
type outage struct {
	away atomic.Bool
	next http.Handler
}

func (o *outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.away.Load() {
		http.Error(w, "", http.StatusServiceUnavailable)
		return
	}
	o.next.ServeHTTP(w, r)
}

// becomes waits until /readyz answers so.
func (s *server) becomes(status int) {
	s.t.Helper()
	bounded, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	if err := await(bounded, func() (bool, error) {
		answer, err := http.Get("http://" + s.addr(8000) + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil && answer.StatusCode == status, nil
	}); err != nil {
		s.t.Errorf("/readyz does not say %d: %v", status, err)
	}
}

// TestABucketThatIsAway: while it is, new mail is put off, what was read or delivered here lately is read, the server says that it is not ready, starts
// nevertheless, and then everything goes on with nothing lost and nothing half accepted.
func TestABucketThatIsAway(t *testing.T) {
	waits(t)
	var bucket outage
	a := s3test.Double(t, func(h http.Handler) http.Handler { bucket.next = h; return &bucket })
	s := idleServer(t)
	s.inS3(a)
	s.flags = append(s.flags, "--set", "blobs.s3.timeout=1s", "--set", "search.enabled=false")
	s.start("")
	s.accepts("before")
	for _, restart := range []bool{false, true} {
		bucket.away.Store(true)
		if restart {
			s.kill(syscall.SIGTERM)
			s.launch("")
		}
		s.becomes(http.StatusServiceUnavailable)
		if got := s.deliver("refused"); !strings.HasPrefix(got, "451 ") {
			t.Errorf("without its bucket the server answers %q", got)
		}
		if got := s.imap("SELECT INBOX", "FETCH * BODY[]"); !strings.Contains(got, "Subject: before") {
			t.Errorf("what was delivered lately is answered %q", got)
		}
		if got := s.imap("SELECT INBOX", `STORE * +FLAGS (\Flagged)`); !strings.Contains(got, " OK ") {
			t.Errorf("flags are answered %q", got)
		}
		if out, err := s.try("doctor"); err == nil || !strings.Contains(out, "problem  blobs") {
			t.Errorf("doctor says\n%s", out)
		}
		if err := os.RemoveAll(filepath.Join(s.data, "cache")); err != nil {
			t.Fatal(err)
		}
		if got := s.imap("SELECT INBOX", "FETCH * BODY[]"); !strings.Contains(got, "NO [UNAVAILABLE]") {
			t.Errorf("what is not here is answered %q", got)
		}
		bucket.away.Store(false)
		s.becomes(http.StatusOK)
		s.eventually(fmt.Sprintf("after %v", restart))
		if got := s.imap("SELECT INBOX", "FETCH 1:* BODY[]"); !strings.Contains(got, "Subject: before") || strings.Contains(got, "Subject: refused") {
			t.Errorf("afterwards there is %q", got)
		}
		s.imap("SELECT INBOX", `UID SEARCH SUBJECT "after"`)
		s.accepts("before") // the newest, for the second round
	}
	s.clean()
	s.run("blob", "verify", "--deep")
}

// TestABucketThatIsWrong: what no repetition changes is told at the start.
func TestABucketThatIsWrong(t *testing.T) {
	t.Parallel()
	a := s3test.Double(t)
	for name, c := range map[string]struct {
		flags []string
		want  string
	}{
		"no bucket":  {[]string{"--set", "blobs.s3.bucket=nothing-here"}, "make the bucket, or correct blobs.s3.bucket"},
		"no file":    {[]string{"--set", "blobs.s3.ca=/nowhere/ca.pem"}, "read blobs.s3.ca"},
		"no place":   {[]string{"--set", "blobs.kind=jetstream", "--set", "blobs.directory=/tmp/x"}, "are for blobs.kind directory"},
		"no secret":  {[]string{"--set", "blobs.s3.secret_key="}, "blobs.s3.access_key and blobs.s3.secret_key go together"},
		"no address": {[]string{"--set", "blobs.s3.url=mail.example"}, "blobs.s3.url"},
	} {
		t.Run(name, func(t *testing.T) {
			flags := []string{"--set", "blobs.kind=s3", "--set", "blobs.s3.url=" + a.URL, "--set", "blobs.s3.bucket=" + a.Bucket, "--set", "blobs.s3.access_key=x", "--set", "blobs.s3.secret_key=y"}
			s := idleServer(t)
			out, err := s.tryWith(nil, append([]string{"serve", "--port-offset", fmt.Sprint(s.offset)}, append(flags, c.flags...)...)...)
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("the server says %v\n%s", err, out)
			}
		})
	}
}

// copied is what blob copy --json says.
type copied struct{ Stored, Present, Copied, Octets, Gone, Failed int64 }

// TestBlobsMove takes an installation from its directory to S3 and on to JetStream: copied while mail is delivered, then without a server for what came
// since, then the place is switched.
func TestBlobsMove(t *testing.T) {
	waits(t)
	s := demoServer(t)
	a := s3test.Open(t)
	s.kill(syscall.SIGTERM)
	s.reachesS3(a)
	s.start("")
	copies := func(args ...string) (c copied) {
		t.Helper()
		out := s.run(append([]string{"blob", "copy", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return c
	}
	for i := range 30 {
		s.accepts(fmt.Sprintf("first %d", i))
	}
	var n atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				s.deliver(fmt.Sprintf("meanwhile %d", n.Add(1)))
			}
		}
	}()
	if c := copies("--to", "s3"); c.Copied < 30 || c.Failed > 0 {
		t.Errorf("%+v", c)
	}
	close(stop)
	<-stopped
	s.accepts("at the end")
	move := func(kind string) {
		t.Helper()
		s.kill(syscall.SIGTERM)
		c := copies(append([]string{"--to", kind}, s.flags...)...)
		if c.Copied == 0 || c.Failed > 0 || c.Present+c.Copied != c.Stored {
			t.Errorf("%+v", c)
		}
		if again := copies(append([]string{"--to", kind}, s.flags...)...); again.Copied != 0 || again.Present != c.Stored {
			t.Errorf("again %+v", again)
		}
		if deep := copies(append([]string{"--to", kind, "--deep"}, s.flags...)...); deep.Copied != 0 {
			t.Errorf("compared %+v", deep)
		}
		s.flags = append(s.flags, "--set", "blobs.kind="+kind)
		s.start("")
		s.run("blob", "verify", "--deep")
		s.subjects("at the end", "first 7")
		s.accepts("in " + kind)
	}
	move("s3")
	if err := os.RemoveAll(filepath.Join(s.data, "blobs")); err != nil {
		t.Fatal(err)
	}
	move("jetstream")
	s.subjects("in s3", "in jetstream", "first 29", fmt.Sprintf("meanwhile %d", n.Load()))
	s.clean()
}
