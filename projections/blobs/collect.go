package blobs

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

// Log is what is asked of the log of record.
type Log interface {
	Streams() []string
	StreamOf(id domain.AccountID) string
	Head(ctx context.Context, stream string) (domain.Seq, error)
}

// Views is where the rows are.
type Views interface {
	// Wait returns once this projection shows a stream up to a position, and fails when it has stopped before.
	Wait(ctx context.Context, stream string, seq domain.Seq) error
	Reader(stream string) (projections.Reader, error)
}

// Store is where the blobs are; blob.Store is one.
type Store interface {
	List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error
	Delete(ctx context.Context, id domain.BlobID, before time.Time) (deleted bool, err error)
	Has(ctx context.Context, ref domain.BlobRef) error
	Verify(ctx context.Context, ref domain.BlobRef) error
}

// Keeper compares what is stored with what is claimed.
type Keeper struct {
	Log      Log
	Views    Views
	Store    Store
	Others   []Claimant       // who needs blobs beside the accounts
	Clock    func() time.Time // time.Now when nil
	Parallel int              // blobs that are deleted at the same time, where each takes long; 1 if less
}

// Claimant needs blobs for a while, such as mail that is on its way.
type Claimant interface {
	// Claims tells which of some blobs it needs, by all that was known to be durable when it was asked. Errors: domain.Unavailable.
	Claims(ctx context.Context, ids []domain.BlobID) ([]bool, error)
}

// DefaultGrace is how old a blob is at least before it is deleted.
const DefaultGrace = 24 * time.Hour

// MinGrace is the shortest grace period that operators may ask for. A message is claimed within seconds of being stored, and no command lasts as
// long as this.
const MinGrace = time.Hour

// shown is the view of one stream, and what it has to show before it is believed.
type shown struct {
	stream string
	head   domain.Seq
}

// settled waits until the views of all accounts' streams show what the log holds now. Errors: domain.Unavailable when one is stopped, or not
// caught up within ctx: then nobody knows what is claimed.
func (k *Keeper) settled(ctx context.Context) (all []shown, err error) {
	for _, stream := range k.Log.Streams() {
		if stream == k.Log.StreamOf(domain.DirectoryID) || stream == k.Log.StreamOf(domain.TasksID) {
			continue // Every other stream may hold accounts, and then has to be asked.
		}
		head, err := k.Log.Head(ctx, stream)
		if err == nil {
			err = k.Views.Wait(ctx, stream, head)
		}
		if err != nil {
			return nil, unknown(stream, err)
		}
		all = append(all, shown{stream, head})
	}
	return all, nil
}

func unknown(stream string, err error) error {
	return &domain.Error{
		Kind: domain.Unavailable, Msg: "it cannot be told what the accounts of stream " + stream + " claim", Err: err,
		Hint: "see projection list; nothing is deleted until every stream can be read and its view has caught up",
	}
}

// read runs f on one state of a stream's view that shows all it has to. A view that was dropped or emptied meanwhile, to be made anew, is not believed.
func (k *Keeper) read(ctx context.Context, s shown, f func(projections.Reader) error) error {
	r, err := k.Views.Reader(s.stream)
	if err != nil {
		return unknown(s.stream, err)
	}
	return r.Snapshot(ctx, func(r projections.Reader) error {
		at, err := projections.Position(ctx, r)
		if err == nil && at < s.head {
			err = domain.Errorf(domain.Unavailable, "its view stands at %d of %d", at, s.head)
		}
		if err != nil {
			return unknown(s.stream, err)
		}
		return f(r)
	})
}

// Request says what Collect is to do.
type Request struct {
	DryRun bool
	Grace  time.Duration
	// Each is told of every blob that is, or would be, deleted; it may be nil.
	Each func(id domain.BlobID, size int64, modified time.Time)
	// Progress is called now and then with how many blobs were looked at; it may be nil.
	Progress func(looked int64)
}

// Collected is what Collect found. Octets are of the sealed form.
type Collected struct {
	DryRun  bool  `json:"dryRun,omitempty"`
	Stored  int64 `json:"stored"`  // blobs in the bucket
	Young   int64 `json:"young"`   // of them, those that are younger than the grace period, claimed or not
	Claimed int64 `json:"claimed"` // older, and claimed
	Deleted int64 `json:"deleted"` // or would be
	Octets  int64 `json:"octets"`  // of the deleted
}

// candidate is a stored blob that is old enough to be deleted.
type candidate struct {
	id       domain.BlobID
	size     int64
	modified time.Time
}

// together is how many blobs are looked up at once.
const together = 512

// Collect deletes every stored blob that no account claims and that is older than the grace period. It may be cut short and repeated at any time.
// Errors: domain.Unavailable when the claims of any stream cannot be told, and those of the store.
func (k *Keeper) Collect(ctx context.Context, q Request) (Collected, error) {
	clock := k.Clock
	if clock == nil {
		clock = time.Now
	}
	before := clock().Add(-q.Grace) // taken before the log's heads are: what is stored later is young
	views, err := k.settled(ctx)
	c := collection{keeper: k, views: views, request: q, before: before, sum: Collected{DryRun: q.DryRun}}
	if err != nil {
		return c.sum, err
	}
	err = k.Store.List(ctx, func(id domain.BlobID, size int64, modified time.Time) error {
		if c.sum.Stored++; q.Progress != nil && c.sum.Stored%1024 == 0 {
			q.Progress(c.sum.Stored)
		}
		if !modified.Before(before) {
			c.sum.Young++
			return nil
		}
		c.waiting = append(c.waiting, candidate{id, size, modified})
		if len(c.waiting) < together {
			return nil
		}
		return c.decide(ctx)
	})
	if err == nil {
		err = c.decide(ctx)
	}
	return c.sum, err
}

// collection is a Collect that runs.
type collection struct {
	keeper  *Keeper
	views   []shown
	request Request
	before  time.Time
	waiting []candidate

	mu  sync.Mutex // guards sum while blobs are deleted
	sum Collected
}

// decide deletes those of the waiting blobs that nobody claims.
func (c *collection) decide(ctx context.Context) error {
	claimed := make(map[domain.BlobID]bool, len(c.waiting))
	for _, view := range c.views {
		err := c.keeper.read(ctx, view, func(r projections.Reader) error {
			for _, w := range c.waiting {
				if claimed[w.id] {
					continue
				}
				is, err := Claimed(ctx, r, w.id)
				if err != nil {
					return err
				}
				claimed[w.id] = is
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := c.askOthers(ctx, claimed); err != nil {
		return err
	}
	unclaimed := slices.DeleteFunc(c.waiting, func(w candidate) bool { return claimed[w.id] })
	c.sum.Claimed += int64(len(c.waiting) - len(unclaimed))
	c.waiting = c.waiting[:0]
	return c.deleteAll(ctx, unclaimed)
}

// askOthers adds what others need.
func (c *collection) askOthers(ctx context.Context, claimed map[domain.BlobID]bool) error {
	ids := make([]domain.BlobID, len(c.waiting))
	for n, w := range c.waiting {
		ids[n] = w.id
	}
	for _, other := range c.keeper.Others {
		needed, err := other.Claims(ctx, ids)
		if err != nil {
			return err
		}
		for n, is := range needed {
			claimed[ids[n]] = claimed[ids[n]] || is
		}
	}
	return nil
}

// deleteAll deletes several at the same time, and ends with the first error.
func (c *collection) deleteAll(ctx context.Context, all []candidate) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range max(c.keeper.Parallel, 1) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := c.delete(ctx, all[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (c *collection) delete(ctx context.Context, w candidate) error {
	deleted := true
	if !c.request.DryRun {
		var err error
		if deleted, err = c.keeper.Store.Delete(ctx, w.id, c.before); err != nil {
			return fmt.Errorf("delete blob %s: %w", w.id, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !deleted { // It was stored anew since it was listed.
		c.sum.Young++
		return nil
	}
	c.sum.Deleted++
	c.sum.Octets += w.size
	if c.request.Each != nil {
		c.request.Each(w.id, w.size, w.modified)
	}
	return nil
}

// Check says what Verify is to look at.
type Check struct {
	Account domain.AccountID // only this one's claims; all if empty
	Deep    bool             // read and decrypt every message instead of looking at its size
	// Each is told of every message that cannot be read; it may be nil. The error's kind is NotFound when the blob is missing, Corrupt when damaged.
	Each     func(Claim, error)
	Progress func(looked int64) // may be nil
}

// Verified is what Verify found.
type Verified struct {
	Claims  int64 `json:"claims"` // messages looked at
	Missing int64 `json:"missing"`
	Damaged int64 `json:"damaged"`
	Octets  int64 `json:"octets"` // of plain text that the messages have
}

// Verify looks for every blob that is claimed. A blob that many claim is looked at for each of them, since the claims may differ. Errors:
// domain.Unavailable when the claims or the bucket cannot be read; what is missing or damaged is no error.
func (k *Keeper) Verify(ctx context.Context, c Check) (sum Verified, err error) {
	views, err := k.settled(ctx)
	if err != nil {
		return sum, err
	}
	look := k.Store.Has
	if c.Deep {
		look = k.Store.Verify
	}
	for _, view := range views {
		r, err := k.Views.Reader(view.stream)
		if err != nil {
			return sum, unknown(view.stream, err)
		}
		err = Claims(ctx, r, c.Account, func(claim Claim) error {
			if sum.Claims++; c.Progress != nil && sum.Claims%256 == 0 {
				c.Progress(sum.Claims)
			}
			sum.Octets += claim.Blob.Size
			wrong := look(ctx, claim.Blob)
			if wrong == nil {
				return nil
			}
			if still, err := stillClaimed(ctx, r, claim); err != nil || !still {
				return err
			}
			switch {
			case domain.Is(wrong, domain.NotFound):
				sum.Missing++
			case domain.Is(wrong, domain.Corrupt):
				sum.Damaged++
			default:
				return wrong
			}
			if c.Each != nil {
				c.Each(claim, wrong)
			}
			return nil
		})
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// stillClaimed tells whether a claim was given up since it was read.
func stillClaimed(ctx context.Context, r projections.Reader, c Claim) (bool, error) {
	chunk, err := claimsAfter(ctx, r, c.Account, Claim{Email: c.Email - 1})
	return len(chunk) > 0 && chunk[0] == c, err
}

// Stats adds up what is stored and what is claimed. A blob that accounts of several streams claim counts once in each.
type Stats struct {
	Stored       int64  `json:"stored"`       // blobs in the bucket
	StoredOctets int64  `json:"storedOctets"` // sealed
	Claims       Totals `json:"claims"`
}

// Stats reads the whole list of blobs.
func (k *Keeper) Stats(ctx context.Context) (s Stats, err error) {
	views, err := k.settled(ctx)
	if err != nil {
		return s, err
	}
	for _, view := range views {
		err := k.read(ctx, view, func(r projections.Reader) error {
			t, err := Sum(ctx, r)
			s.Claims.Claims += t.Claims
			s.Claims.Octets += t.Octets
			s.Claims.Blobs += t.Blobs
			return err
		})
		if err != nil {
			return s, err
		}
	}
	err = k.Store.List(ctx, func(_ domain.BlobID, size int64, _ time.Time) error {
		s.Stored++
		s.StoredOctets += size
		return nil
	})
	return s, err
}
