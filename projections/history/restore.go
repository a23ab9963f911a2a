package history

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections/door"
)

// Accounts is the door to accounts; door.Accounts is one.
type Accounts interface {
	Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error)
	View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error
}

// Blobs is where messages lie; blob.Store is one.
type Blobs interface {
	// Has tells whether a blob is there. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
	Has(ctx context.Context, ref domain.BlobRef) error
}

// Restorer brings messages back. Clock is time.Now when nil.
type Restorer struct {
	Log      Log
	Accounts Accounts
	Blobs    Blobs
	Clock    func() time.Time
}

func (r *Restorer) now() time.Time {
	if r.Clock == nil {
		return time.Now()
	}
	return r.Clock()
}

// Request says what Restore is to bring back: what the account had at a point and does not have now in the same mailbox.
type Request struct {
	At      Point
	Mailbox string        // only what was in this one; all if empty
	UIDs    domain.UIDSet // only these of Mailbox; all if nil
	Query   vault.Query   // only what meets it; its criteria on deletion are not met by anything, because nothing was deleted then
	Into    string        // put everything there; where it was if empty
	// DeletedOnly leaves alone what another mailbox of the account still has, because it was moved or copied there.
	DeletedOnly bool
	OverQuota   bool
	DryRun      bool
	Progress    func(done, total int64) // messages; may be nil
}

// Failure is a message that did not come back.
type Failure struct {
	Email   domain.EmailID `json:"emailId"`
	Mailbox string         `json:"mailbox"`
	UID     domain.UID     `json:"uid,omitempty"`
	Subject string         `json:"subject,omitempty"`
	Why     string         `json:"why"`
}

// MaxFailures bounds the list of them; all are counted.
const MaxFailures = 1000

// Result is what a restoration did, or would do.
type Result struct {
	DryRun       bool             `json:"dryRun,omitempty"`
	At           domain.Tx        `json:"at,omitempty"`     // the transaction after which the account is looked at
	AtTime       *time.Time       `json:"atTime,omitempty"` // when that was
	Found        int64            `json:"found"`            // messages that were meant
	Present      int64            `json:"present"`          // of them, those that are where they belong
	Restored     int64            `json:"restored"`         // or would be
	Octets       int64            `json:"octets"`           // of the restored
	Mailboxes    map[string]int64 `json:"mailboxes"`        // restored messages by mailbox, named as when they were lost
	Failed       int64            `json:"failed"`
	Failures     []Failure        `json:"failures,omitempty"`
	Transactions []domain.Tx      `json:"transactions,omitempty"`
}

// Clone gives a copy that shares nothing.
func (r *Result) Clone() Result {
	c := *r
	c.Mailboxes, c.Failures, c.Transactions = maps.Clone(r.Mailboxes), slices.Clone(r.Failures), slices.Clone(r.Transactions)
	return c
}

func (r *Result) fail(f Failure) {
	if r.Failed++; len(r.Failures) < MaxFailures {
		r.Failures = append(r.Failures, f)
	}
}

// attempts is how often a restoration begins anew because messages were purged meanwhile.
const attempts = 4

// Restore brings back what a request names, in transactions of at most account.MaxRestored messages and about account.MaxRestoredOctets of
// encoded events. A restoration that fits into one is all or nothing; a larger one that is cut short is finished by repeating it. Within a
// mailbox messages come back in the order in which they first arrived.
//
// Errors: those of At; domain.OverQuota when the account has no room for all that is meant, and then nothing or, with a query, the first
// transactions are restored; those of account.Restore; domain.Unavailable.
func (r *Restorer) Restore(ctx context.Context, id domain.AccountID, actor string, q Request) (result Result, err error) {
	for n := 1; ; n++ {
		if result, err = r.restore(ctx, id, actor, &q); !domain.Is(err, domain.Conflict) || n == attempts {
			return result, err
		}
	}
}

// place is where a message was and is to be again.
type place struct {
	mailbox    domain.MailboxID // 0 to go by name
	name       string
	specialUse string
	uid        domain.UID
	flags      event.Flags
	internal   int64
	size       int64
	present    bool // nothing has to be done
}

func (r *Restorer) restore(ctx context.Context, id domain.AccountID, actor string, q *Request) (Result, error) {
	result := Result{DryRun: q.DryRun, Mailboxes: map[string]int64{}}
	past, err := At(ctx, r.Log, id, q.At, r.now())
	if err != nil {
		return result, err
	}
	result.At, result.AtTime = past.Tx, &past.At
	lost, err := past.places(q)
	if err != nil {
		return result, err
	}
	selective := len(q.Query.Criteria) > 0
	if err := r.compare(ctx, id, lost, q, past.Purged, selective); err != nil {
		return result, err
	}
	wanted := make(map[domain.EmailID]bool, len(lost))
	for email, places := range lost {
		for _, p := range places {
			switch {
			case selective || !p.present:
				wanted[email] = true
			default:
				result.Found++
				result.Present++
			}
		}
	}
	w := writer{r: r, id: id, actor: actor, result: &result, seen: past.Head, overQuota: q.OverQuota}
	done := int64(0)
	err = Added(ctx, r.Log, id, wanted, func(e *event.MessageAdded) error {
		if done++; q.Progress != nil && done%256 == 0 {
			q.Progress(done, int64(len(wanted)))
		}
		m := vault.Describe(&e.Summary)
		m.Email, m.Delivered, m.Size = e.Email, e.Internal, e.Blob.Size
		for _, p := range lost[e.Email] {
			m.Origins = append(m.Origins, vault.Origin{ID: p.mailbox, Name: p.name})
		}
		if !q.Query.Matches(&m) || q.Query.Limit > 0 && result.Found >= int64(q.Query.Limit) {
			return nil
		}
		for _, p := range lost[e.Email] {
			result.Found++
			if p.present {
				result.Present++
				continue
			}
			if past.Purged[e.Email] {
				result.fail(Failure{e.Email, p.name, p.uid, m.Subject, "it was purged since"})
				continue
			}
			if err := w.add(ctx, p.lost(e), p.uid, m.Subject); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = w.flush(ctx)
	}
	return result, err
}

func (p *place) lost(e *event.MessageAdded) account.Lost {
	return account.Lost{
		Mailbox: p.mailbox, Name: p.name, SpecialUse: p.specialUse, Email: e.Email, Thread: e.Thread, Blob: e.Blob, Flags: p.flags, Internal: p.internal, Summary: e.Summary,
	}
}

// places lists what the request means, by email. A mailbox that had an email twice gets it once.
func (p *Past) places(q *Request) (map[domain.EmailID][]*place, error) {
	boxes := p.State.Sorted()
	if q.Mailbox != "" {
		m, ok := p.State.Mailbox(q.Mailbox)
		if !ok {
			return nil, p.noMailbox(q.Mailbox)
		}
		boxes = []*account.Mailbox{m}
	} else if q.UIDs != nil {
		return nil, domain.Errorf(domain.Invalid, "UIDs belong to a mailbox: name it")
	}
	lost := map[domain.EmailID][]*place{}
	for _, m := range boxes {
		for i := range m.Len() {
			row := m.At(i)
			if q.UIDs != nil && !q.UIDs.Contains(row.UID) {
				continue
			}
			at := &place{mailbox: m.ID, name: m.Name, specialUse: m.SpecialUse, uid: row.UID, flags: row.Flags, internal: row.Internal, size: row.Size}
			if q.Into != "" {
				at.mailbox, at.name, at.specialUse = 0, account.CanonicalName(q.Into), ""
			}
			known := lost[row.Email]
			if n := len(known); n > 0 && (q.Into != "" || known[n-1].mailbox == m.ID) {
				continue
			}
			lost[row.Email] = append(known, at)
		}
	}
	return lost, nil
}

// compare marks the places that are filled now, and finds out whether there is room for the rest. With a query nobody knows yet what is meant.
func (r *Restorer) compare(ctx context.Context, id domain.AccountID, lost map[domain.EmailID][]*place, q *Request, purged map[domain.EmailID]bool, selective bool) error {
	return r.Accounts.View(ctx, id, func(s *account.State) error {
		target := func(p *place) domain.MailboxID {
			if m, ok := s.Mailboxes[p.mailbox]; ok {
				return m.ID
			}
			if m, ok := s.Mailbox(p.name); ok {
				return m.ID
			}
			return 0
		}
		for _, places := range lost {
			for _, p := range places {
				p.present = false // f of View may run more than once
			}
		}
		for _, m := range s.Mailboxes {
			for _, email := range m.Email {
				for _, p := range lost[email] {
					p.present = p.present || q.DeletedOnly || target(p) == m.ID
				}
			}
		}
		if q.OverQuota || selective {
			return nil
		}
		var need account.Limits
		for email, places := range lost {
			for _, p := range places {
				if !p.present && !purged[email] {
					need.Messages++
					need.Bytes += p.size
				}
			}
		}
		return s.Room(need)
	})
}

// writer gathers messages and restores them in transactions.
type writer struct {
	r         *Restorer
	id        domain.AccountID
	actor     string
	result    *Result
	seen      domain.Tx
	overQuota bool

	waiting []account.Lost
	octets  int
}

// add takes a message whose blob is there; others are reported.
func (w *writer) add(ctx context.Context, lost account.Lost, uid domain.UID, subject string) error {
	if err := w.r.Blobs.Has(ctx, lost.Blob); err != nil {
		if domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt) {
			w.result.fail(Failure{lost.Email, lost.Name, uid, subject, err.Error()})
			return nil
		}
		return err
	}
	w.octets += len(event.MarshalSummary(&lost.Summary)) + 256
	w.waiting = append(w.waiting, lost)
	if len(w.waiting) < account.MaxRestored && w.octets < account.MaxRestoredOctets {
		return nil
	}
	return w.flush(ctx)
}

// flush restores what waits, as one transaction.
func (w *writer) flush(ctx context.Context) error {
	waiting := w.waiting
	w.waiting, w.octets = nil, 0
	if len(waiting) == 0 {
		return nil
	}
	names := map[domain.EmailID][]account.Lost{}
	for _, lost := range waiting {
		names[lost.Email] = append(names[lost.Email], lost)
	}
	if w.result.DryRun {
		for _, lost := range waiting {
			w.count(lost)
		}
		return nil
	}
	now := w.r.now().Unix()
	outcome, err := w.r.Accounts.Do(ctx, w.id, w.actor, account.Restore{
		Messages: waiting, Now: now, UIDValidity: uint32(now), Seen: w.seen, OverQuota: w.overQuota,
	})
	if err != nil {
		return fmt.Errorf("restore %d messages: %w", len(waiting), err)
	}
	if outcome.Tx != 0 {
		w.result.Transactions = append(w.result.Transactions, outcome.Tx)
	}
	restored := 0
	for _, ev := range outcome.Events {
		e, ok := ev.(*event.MessageRestored)
		if !ok {
			continue
		}
		restored++
		w.count(names[e.Email][0])
		if len(names[e.Email]) > 1 { // Its places come in the order in which they were given.
			names[e.Email] = names[e.Email][1:]
		}
	}
	w.result.Present += int64(len(waiting) - restored) // somebody else was faster
	return nil
}

func (w *writer) count(lost account.Lost) {
	w.result.Restored++
	w.result.Octets += lost.Blob.Size
	w.result.Mailboxes[lost.Name]++
}

// RestoreLost brings back messages that were deleted and are known by their emails, as they were when a mailbox lost them last, into one mailbox,
// or where they were if into is empty. It adds to a result. Errors: as of Restore; domain.Conflict asks to begin anew.
func (r *Restorer) RestoreLost(ctx context.Context, id domain.AccountID, actor, into string, overQuota bool, emails map[domain.EmailID]bool, result *Result) error {
	seen, tx, err := LastSeen(ctx, r.Log, id, emails)
	if err != nil {
		return err
	}
	w := writer{r: r, id: id, actor: actor, result: result, seen: tx, overQuota: overQuota}
	for _, email := range slices.Sorted(maps.Keys(emails)) {
		result.Found++
		last := seen[email]
		if last == nil {
			result.fail(Failure{Email: email, Why: "it was purged since"})
			continue
		}
		p := place{mailbox: last.Mailbox, name: last.Name, flags: last.Flags, internal: last.Internal}
		if into != "" {
			p.mailbox, p.name = 0, account.CanonicalName(into)
		}
		if err := w.add(ctx, p.lost(last.Added), last.UID, vault.Describe(&last.Added.Summary).Subject); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}
