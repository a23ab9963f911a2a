package blobs3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/streampost/streampost/domain"
)

// How long the parts of one attempt may take.
const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	answerTimeout    = 10 * time.Second // from the end of a request to the header of its answer
	idleTimeout      = time.Minute
	connections      = 64 // that are kept open
)

// Transport gives the connections to an S3 server. What is nil in it is the system's.
func Transport(roots *x509.CertPool) *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   handshakeTimeout,
		ResponseHeaderTimeout: answerTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConns:          connections,
		MaxIdleConnsPerHost:   connections,
		DisableCompression:    true, // blobs are sealed
	}
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t
}

// client makes the client of the library.
func (b *Bucket) client() (*minio.Client, error) {
	u, err := url.Parse(b.cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, domain.Errorf(domain.Invalid, "%q is not the URL of an S3 server such as https://s3.eu-central-1.amazonaws.com, without the bucket", b.cfg.URL)
	}
	if b.cfg.Transport == nil {
		b.cfg.Transport = Transport(nil)
	}
	b.clock.next = b.cfg.Transport
	options := &minio.Options{
		Creds: b.credentials(), Secure: u.Scheme == "https", Region: b.cfg.Region, Transport: b.clock, MaxRetries: b.limits.Tries,
		BucketLookup: minio.BucketLookupAuto,
	}
	switch b.cfg.Addressing {
	case "path":
		options.BucketLookup = minio.BucketLookupPath
	case "host":
		options.BucketLookup = minio.BucketLookupDNS
	}
	client, err := minio.New(u.Host, options)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "use the S3 server "+b.cfg.URL)
	}
	client.SetAppInfo("streampost", "1")
	return client, nil
}

func (b *Bucket) credentials() *credentials.Credentials {
	switch {
	case b.cfg.AccessKey != "":
		return credentials.NewStaticV4(b.cfg.AccessKey, b.cfg.SecretKey, "")
	case b.cfg.Credentials != "":
		return credentials.NewFileAWSCredentials(b.cfg.Credentials, "default")
	}
	return credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.IAM{}})
}

// clock is the transport. It counts answers, and learns from each how far the server's clock is ahead of ours.
type clock struct {
	next http.RoundTripper
	skew atomic.Int64 // nanoseconds
	uses counters
}

// RoundTrip implements http.RoundTripper.
func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := time.Now()
	answer, err := c.next.RoundTrip(r)
	c.uses.count(answer, err)
	if last, wanted := r.Context().Value(lastAnswer{}).(*atomic.Value); wanted && err == nil {
		last.Store(answer.Status)
	}
	if err != nil {
		return nil, err
	}
	if date, bad := http.ParseTime(answer.Header.Get("Date")); bad == nil {
		c.skew.Store(int64(skew(sent, time.Now(), date)))
	}
	return answer, nil
}

// lastAnswer is the key of a context under which an operation keeps the status of the last answer, because the library forgets it when time is over.
type lastAnswer struct{}

// errSlow is the cause of an operation that took longer than Limits.Timeout.
var errSlow = errors.New("it did not answer in time")

// bounded gives an operation that moves so many octets its time.
func (b *Bucket) bounded(ctx context.Context, octets int64) (context.Context, context.CancelFunc) {
	ctx = context.WithValue(ctx, lastAnswer{}, new(atomic.Value))
	return context.WithTimeoutCause(ctx, b.limits.Timeout+time.Duration(octets/b.limits.Rate)*time.Second, errSlow)
}

// slow tells an operation that took too long from one that its caller gave up.
func slow(ctx context.Context, err error) error {
	if err == nil || context.Cause(ctx) != errSlow {
		return err
	}
	e := &domain.Error{
		Kind: domain.Unavailable, Msg: "the S3 server did not answer in time", Err: err,
		Hint: "the S3 server is away, busy or hangs: look at it, or raise blobs.s3.timeout",
	}
	if last, kept := ctx.Value(lastAnswer{}).(*atomic.Value); kept {
		if status, answered := last.Load().(string); answered {
			e.Msg = "the S3 server did not do it in time; its last answer was " + status
		}
	}
	return e
}

// skew is how far a clock is ahead, at least, that said date, in whole seconds, at some moment between two of ours; nothing where that may be. So blobs look
// younger than they are rather than older.
func skew(sent, received, date time.Time) time.Duration {
	if date.Add(time.Second).Before(sent) || date.After(received) {
		return date.Sub(received)
	}
	return 0
}

// ahead is how far the server's clock is ahead of ours, as far as it is known.
func (c *clock) ahead() time.Duration { return time.Duration(c.skew.Load()) }

// refusals are answers that no repetition changes, with what the operator has to do.
var refusals = map[string]string{
	"NoSuchBucket":                 "make the bucket, or correct blobs.s3.bucket",
	"InvalidBucketName":            "correct blobs.s3.bucket",
	"AccessDenied":                 "give the user the permissions that docs/operator.md lists under \"Where blobs lie\"",
	"InvalidAccessKeyId":           "correct blobs.s3.access_key",
	"SignatureDoesNotMatch":        "correct blobs.s3.secret_key, and blobs.s3.region if the server has one",
	"AuthorizationHeaderMalformed": "correct blobs.s3.region",
	"InvalidRegion":                "correct blobs.s3.region",
	"PermanentRedirect":            "the bucket lies in another region: correct blobs.s3.url and blobs.s3.region",
	"AccountProblem":               "ask the provider of the bucket",
	"NotImplemented":               "this server lacks a part of S3 that is needed; see docs/operator.md, \"Where blobs lie\"",
}

// hints are what to do about other answers.
var hints = map[string]string{
	"RequestTimeTooSkewed":           "set the clock of this machine, and let it be synchronised",
	"SlowDown":                       "the server asks for fewer requests: it may need more room, or a higher limit",
	"SlowDownWrite":                  "the server asks for fewer requests: it may need more room, or a higher limit",
	"SlowDownRead":                   "the server asks for fewer requests: it may need more room, or a higher limit",
	"QuotaExceeded":                  "the bucket is full: free space or raise its quota; nothing that was accepted is lost",
	"XMinioStorageFull":              "the bucket is full: free space or enlarge it; nothing that was accepted is lost",
	"InsufficientStorage":            "the bucket is full: free space or enlarge it; nothing that was accepted is lost",
	"XMinioAdminBucketQuotaExceeded": "the bucket is full: free space or raise its quota; nothing that was accepted is lost",
	"ObjectLocked":                   "the bucket locks its objects: blobs can neither be replaced nor collected there",
	"ExpiredToken":                   "renew the credentials of the bucket",
}

// refused tells whether an error means that the configuration is wrong.
func refused(err error) bool {
	_, is := refusals[codeOf(err)]
	return is
}

func codeOf(err error) string {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}

// missing tells whether there is no such object.
func missing(err error) bool {
	return codeOf(err) == minio.NoSuchKey || domain.Is(err, domain.NotFound)
}

// replaced tells whether there is another version than the one that was asked for.
func replaced(err error) bool { return codeOf(err) == minio.PreconditionFailed }

// failed gives an error of the library its kind and tells the operator what to do. Cancelled work stays cancelled.
func (b *Bucket) failed(err error, doing string) error {
	var known *domain.Error
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &known) {
		return err
	}
	e := domain.Wrap(domain.Unavailable, err, doing)
	code := codeOf(err)
	var unknown x509.UnknownAuthorityError
	var connection *url.Error
	switch {
	case refusals[code] != "":
		e.Hint = refusals[code]
	case hints[code] != "":
		e.Hint = hints[code]
	case errors.As(err, &unknown):
		e.Hint = "name the authority that signed the S3 server's certificate in blobs.s3.ca"
	case errors.As(err, &connection):
		e.Hint = "see whether the S3 server runs and blobs.s3.url names it"
	case errors.Is(err, context.DeadlineExceeded):
		e.Hint = "the S3 server is slow or hangs: look at it, or raise blobs.s3.timeout"
	}
	if code != "" {
		e.Err = &answerError{code, err}
	}
	return e
}

// answerError shows the code of an answer, which most operators know better than its text.
type answerError struct {
	code string
	err  error
}

func (e *answerError) Error() string { return "the S3 server answers " + e.code + ": " + e.err.Error() }
func (e *answerError) Unwrap() error { return e.err }
