package blobs3

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// Inspection is what a look at the bucket found that no request fails by.
type Inspection struct {
	Versioned bool          // what is deleted stays as an older version
	Locked    bool          // objects cannot be deleted before a time
	Skew      time.Duration // how far the server's clock is ahead of ours
	Unknown   string        // what could not be looked at, and why
}

// Inspect looks at settings of the bucket. The user needs no permission to do so: what it may not see is unknown.
func (b *Bucket) Inspect(ctx context.Context) (found Inspection) {
	ctx, cancel := b.bounded(ctx, 0)
	defer cancel()
	versioning, err := b.core.GetBucketVersioning(ctx, b.cfg.Bucket)
	if err != nil {
		found.Unknown = "versioning: " + codeOf(err)
	}
	found.Versioned = versioning.Enabled()
	lock, _, _, _, err := b.core.GetObjectLockConfig(ctx, b.cfg.Bucket)
	found.Locked = err == nil && lock == "Enabled"
	found.Skew = b.clock.ahead()
	return found
}

// Stats counts what was asked of the server, by what became of it.
type Stats struct {
	Answered int64 // with success, or that there is no such object
	Refused  int64 // 4xx otherwise
	Failed   int64 // 5xx, or no answer
}

// counters are Stats that change.
type counters struct{ answered, refused, failed atomic.Int64 }

// Stats tells how often the server was asked. An operation may ask several times.
func (b *Bucket) Stats() Stats {
	return Stats{b.clock.uses.answered.Load(), b.clock.uses.refused.Load(), b.clock.uses.failed.Load()}
}

// count notes an answer, or that there was none.
func (c *counters) count(answer *http.Response, err error) {
	switch {
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			c.failed.Add(1)
		}
	case answer.StatusCode >= 500:
		c.failed.Add(1)
	case answer.StatusCode >= 400 && answer.StatusCode != http.StatusNotFound && answer.StatusCode != http.StatusPreconditionFailed:
		c.refused.Add(1)
	default:
		c.answered.Add(1)
	}
}
