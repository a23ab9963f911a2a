package vault

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/history"
	"github.com/streampost/streampost/streams"
)

// DefaultMailbox is where restored messages go unless somebody says otherwise.
const DefaultMailbox = "Restored-Messages"

// DefaultRetention is how long deleted messages can be brought back: a year.
const DefaultRetention = 365 * 24 * time.Hour

// Log is the log of record, as far as a Keeper asks it.
type Log interface {
	history.Log
	Streams() []string
	StreamOf(id domain.AccountID) string
	Head(ctx context.Context, stream string) (domain.Seq, error)
	Last(ctx context.Context, id domain.AccountID) (streams.Position, error)
}

// Views is where the rows are. Wait returns once this projection shows a stream up to a position.
type Views interface {
	Reader(stream string) (projections.Reader, error)
	Wait(ctx context.Context, stream string, seq domain.Seq) error
}

// Blobs is where messages lie; blob.Store is one.
type Blobs interface {
	history.Blobs
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Keeper works with deleted messages. Clock is time.Now when nil.
type Keeper struct {
	Log      Log
	Views    Views
	Accounts history.Accounts
	Blobs    Blobs
	Clock    func() time.Time
}

func (k *Keeper) restorer() *history.Restorer {
	return &history.Restorer{Log: k.Log, Accounts: k.Accounts, Blobs: k.Blobs, Clock: k.Clock}
}

// streams names those that hold accounts.
func (k *Keeper) streams() []string {
	return slices.DeleteFunc(slices.Clone(k.Log.Streams()), func(stream string) bool {
		return stream == k.Log.StreamOf(domain.DirectoryID) || stream == k.Log.StreamOf(domain.TasksID)
	})
}

// reader gives the rows that show all that an account's log holds now.
func (k *Keeper) reader(ctx context.Context, id domain.AccountID) (projections.Reader, error) {
	last, err := k.Log.Last(ctx, id)
	if err != nil {
		return nil, err
	}
	if last.Tx == 0 {
		return nil, domain.Errorf(domain.NotFound, "account %s does not exist", id)
	}
	stream := k.Log.StreamOf(id)
	if err := k.Views.Wait(ctx, stream, last.Seq); err != nil {
		return nil, err
	}
	return k.Views.Reader(stream)
}

// Browse calls f for an account's deleted messages that meet a query, in order of arrival. Errors: domain.NotFound, domain.Unavailable, f's.
func (k *Keeper) Browse(ctx context.Context, id domain.AccountID, q vault.Query, f func(*Row) error) error {
	r, err := k.reader(ctx, id)
	if err != nil {
		return err
	}
	return Deleted(ctx, r, id, &q, f)
}

// Restoration says what Restore is to bring back.
type Restoration struct {
	Query     vault.Query
	Into      string // a mailbox, made if it does not exist; DefaultMailbox if empty
	Original  bool   // where each message was deleted, instead
	OverQuota bool
	DryRun    bool
	Progress  func(done, total int64) // may be nil
}

// together is how many messages are restored with one reading of the log.
const together = 2000

// Restore brings back the deleted messages that meet a query, with the flags they had except \Deleted. What was restored is no longer deleted, so
// repeating it does nothing. Errors: domain.OverQuota, with the transactions before it done; those of account.Restore; domain.Unavailable.
func (k *Keeper) Restore(ctx context.Context, id domain.AccountID, actor string, q Restoration) (history.Result, error) {
	result := history.Result{DryRun: q.DryRun, Mailboxes: map[string]int64{}}
	into := q.Into
	switch {
	case q.Original:
		into = ""
	case into == "":
		into = DefaultMailbox
	}
	var emails []domain.EmailID
	if err := k.Browse(ctx, id, q.Query, func(row *Row) error {
		emails = append(emails, row.Email)
		return nil
	}); err != nil {
		return result, err
	}
	total := int64(len(emails))
	for chunk := range slices.Chunk(emails, together) {
		if q.Progress != nil {
			q.Progress(result.Found, total)
		}
		if err := k.restoreSome(ctx, id, actor, into, q.OverQuota, chunk, &result); err != nil {
			return result, err
		}
	}
	return result, nil
}

// restoreSome begins anew when messages were purged meanwhile.
func (k *Keeper) restoreSome(ctx context.Context, id domain.AccountID, actor, into string, overQuota bool, emails []domain.EmailID, result *history.Result) error {
	wanted := make(map[domain.EmailID]bool, len(emails))
	for _, e := range emails {
		wanted[e] = true
	}
	for n := 1; ; n++ {
		attempt := result.Clone()
		err := k.restorer().RestoreLost(ctx, id, actor, into, overQuota, wanted, &attempt)
		if !domain.Is(err, domain.Conflict) || n == 4 {
			*result = attempt
			return err
		}
		result.Transactions = attempt.Transactions // what it did is done, and shows as present from now on
	}
}

// Export calls f with the octets of each deleted message that meets a query, in order of arrival. What cannot be read is told to failed, which
// may be nil, and passed over. Errors: those of f, domain.NotFound, domain.Unavailable.
func (k *Keeper) Export(ctx context.Context, id domain.AccountID, q vault.Query, f func(*Row, io.Reader) error, failed func(*Row, error)) error {
	return k.Browse(ctx, id, q, func(row *Row) error {
		err := k.Blobs.Has(ctx, row.Blob)
		var r io.ReadCloser
		if err == nil {
			r, err = k.Blobs.Open(ctx, row.Blob, 0, -1)
		}
		if domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt) {
			if failed != nil {
				failed(row, err)
			}
			return nil
		}
		if err != nil {
			return err
		}
		defer r.Close()
		return f(row, r)
	})
}

// Purged is what was given up.
type Purged struct {
	DryRun       bool  `json:"dryRun,omitempty"`
	Messages     int64 `json:"messages"`
	Octets       int64 `json:"octets"`
	Transactions int64 `json:"transactions"`
}

// Purge gives up an account's deleted messages that meet a query: they cannot be restored any more, and their blobs are deleted by the next
// collection if nobody else has them.
func (k *Keeper) Purge(ctx context.Context, id domain.AccountID, actor string, q vault.Query, dryRun bool) (sum Purged, err error) {
	sum.DryRun = dryRun
	p := purging{k: k, id: id, actor: actor, sum: &sum}
	err = k.Browse(ctx, id, q, func(row *Row) error { return p.add(ctx, row) })
	if err == nil {
		err = p.flush(ctx)
	}
	return sum, err
}

// Expire purges what was deleted longer ago than the retention, in all accounts. Accounts that cannot be purged now, because they were just erased
// for instance, are passed over; the next run tries again. Errors: domain.Unavailable when a view or the log cannot be used.
func (k *Keeper) Expire(ctx context.Context, actor string, retention time.Duration, dryRun bool, progress func(done int64)) (sum Purged, err error) {
	clock := k.Clock
	if clock == nil {
		clock = time.Now
	}
	before := clock().Add(-retention).UnixMilli()
	sum.DryRun = dryRun
	for _, stream := range k.streams() {
		if err := k.expire(ctx, stream, actor, before, &sum, progress); err != nil {
			return sum, fmt.Errorf("purge stream %s: %w", stream, err)
		}
	}
	return sum, nil
}

func (k *Keeper) expire(ctx context.Context, stream, actor string, before int64, sum *Purged, progress func(int64)) error {
	head, err := k.Log.Head(ctx, stream)
	if err == nil {
		err = k.Views.Wait(ctx, stream, head) // so that a run does not purge again what the last one did
	}
	if err != nil {
		return err
	}
	var last Row
	for {
		r, err := k.Views.Reader(stream)
		if err != nil {
			return err
		}
		chunk, err := expired(ctx, r, before, &last)
		if err != nil || len(chunk) == 0 {
			return err
		}
		last = chunk[len(chunk)-1]
		slices.SortStableFunc(chunk, func(a, b Row) int { return cmp.Compare(a.Account, b.Account) })
		p := purging{k: k, actor: actor, sum: sum}
		for i := range chunk {
			if err := p.add(ctx, &chunk[i]); err != nil {
				return err
			}
		}
		if err := p.flush(ctx); err != nil {
			return err
		}
		if progress != nil {
			progress(sum.Messages)
		}
	}
}

// purging gathers emails of one account after the other.
type purging struct {
	k      *Keeper
	id     domain.AccountID
	actor  string
	sum    *Purged
	emails []domain.EmailID
	octets map[domain.EmailID]int64
}

func (p *purging) add(ctx context.Context, row *Row) error {
	if row.Account != p.id || len(p.emails) == account.MaxPurged {
		if err := p.flush(ctx); err != nil {
			return err
		}
		p.id = row.Account
	}
	if p.octets == nil {
		p.octets = map[domain.EmailID]int64{}
	}
	p.emails = append(p.emails, row.Email)
	p.octets[row.Email] = row.Size
	return nil
}

// flush purges what was gathered, as one transaction.
func (p *purging) flush(ctx context.Context) error {
	emails, octets := p.emails, p.octets
	p.emails, p.octets = nil, nil
	if len(emails) == 0 {
		return nil
	}
	gone := emails
	if !p.sum.DryRun {
		outcome, err := p.k.Accounts.Do(ctx, p.id, p.actor, account.Purge{Emails: emails})
		switch {
		case domain.Is(err, domain.Erased), domain.Is(err, domain.NotFound): // nothing of it is left anyway
			return nil
		case err != nil:
			return err
		}
		gone = nil
		for _, ev := range outcome.Events {
			if e, ok := ev.(*event.MessagesPurged); ok {
				gone = append(gone, e.Emails...)
			}
		}
	}
	for _, email := range gone {
		p.sum.Messages++
		p.sum.Octets += octets[email]
	}
	if len(gone) > 0 {
		p.sum.Transactions++
	}
	return nil
}

// Stats adds up the deleted messages of all accounts.
func (k *Keeper) Stats(ctx context.Context) (all Totals, err error) {
	for _, stream := range k.streams() {
		r, err := k.Views.Reader(stream)
		if err != nil {
			return all, err
		}
		t, err := Sum(ctx, r)
		if err != nil {
			return all, err
		}
		all.Messages += t.Messages
		all.Octets += t.Octets
		if all.Oldest == 0 || t.Oldest != 0 && t.Oldest < all.Oldest {
			all.Oldest = t.Oldest
		}
	}
	return all, nil
}
