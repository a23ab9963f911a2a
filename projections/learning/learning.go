// Package learning has a spam filter learn from what users do, as a listener of the log: what they move or copy into their mailbox with the special use \Junk
// (RFC 6154), append to it, or flag with $Junk, is spam; what they move or copy out of it, or flag with $NotJunk (RFC 9051 section 2.3.2), is not.
//
// Invariants:
//   - Only what users do counts: changes that an IMAP session made. A delivery into that mailbox, by a filter's verdict or by a script, teaches nothing, and
//     neither does a restored message or an expunge.
//   - What goes from junk into the trash is no praise.
//   - Mailboxes and messages are looked at as they are when the listener comes to them: what was expunged or moved on meanwhile is not learnt from its old place.
//   - At least once, and the filter takes what it has learnt already for a success.
package learning

import (
	"cmp"
	"context"
	"io"
	"iter"
	"log/slog"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// Name is the listener's name.
const Name = "spam-learning"

// Verdict is what a message is.
type Verdict bool

// The verdicts.
const (
	Ham  Verdict = false
	Spam Verdict = true
)

// String is ham or spam.
func (v Verdict) String() string {
	if v == Spam {
		return "spam"
	}
	return "ham"
}

// Accounts is door.Accounts.
type Accounts interface {
	View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error
	Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error]
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Learner is a spam filter. Learn takes a message of so many octets, of an account with an address. known says that the filter had learnt it already. Errors:
// those of listen.Outage when the filter is away; others are about the message.
type Learner interface {
	Learn(ctx context.Context, v Verdict, address string, message io.Reader, size int64) (known bool, err error)
}

// Config is what Learning works with. Accounts, Address and Learner are needed.
type Config struct {
	Accounts Accounts
	// Address gives an address of an account.
	Address func(ctx context.Context, id domain.AccountID) (string, error)
	Learner Learner
	Most    int64 // octets of a message; larger ones are left out
	From    listen.From
	Logger  *slog.Logger                  // nil means slog.Default()
	Count   func(verdict, outcome string) // is told of each message; nil tells nobody. outcome is learnt, known, large, away (it is not there any more) or failed
}

// Learning is the listener.
type Learning struct{ cfg Config }

// New makes Learning.
func New(cfg Config) *Learning {
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Count == nil {
		cfg.Count = func(string, string) {}
	}
	return &Learning{cfg}
}

// Listener gives what listen.Listeners run.
func (l *Learning) Listener() listen.Listener {
	return listen.Listener{Name: Name, Version: 1, From: l.cfg.From, Batch: 16, Handle: l.handle}
}

// lesson is messages of a mailbox to be learnt.
type lesson struct {
	verdict Verdict
	mailbox domain.MailboxID
	uids    domain.UIDSet
}

func (l *Learning) handle(ctx context.Context, entries []streams.Entry) (done int, err error) {
	for i := range entries {
		lessons, err := l.lessons(ctx, &entries[i])
		for n := 0; err == nil && n < len(lessons); n++ {
			err = l.learn(ctx, entries[i].Account, &lessons[n])
		}
		switch {
		case domain.Is(err, domain.Erased) || domain.Is(err, domain.NotFound): // All entries are of one account, which is gone.
			return len(entries), nil
		case err != nil:
			return i, err
		}
	}
	return len(entries), nil
}

// byUsers reports whether a user's session made a transaction, alone or among others, and whether nobody else had a part in it.
func byUsers(actors string) (any, all bool) {
	all = true
	for actor := range strings.SplitSeq(actors, ", ") {
		user := strings.HasPrefix(actor, "imap:")
		any, all = any || user, all && user
	}
	return any, all
}

// lessons finds what a transaction teaches.
func (l *Learning) lessons(ctx context.Context, e *streams.Entry) (all []lesson, err error) {
	some, only := byUsers(e.Transaction.Actor)
	if !some || !matters(e.Transaction.Events) {
		return nil, nil
	}
	err = l.cfg.Accounts.View(ctx, e.Account, func(s *account.State) error {
		all = all[:0]
		add := func(v Verdict, mailbox domain.MailboxID, uids domain.UIDSet) {
			all = append(all, lesson{v, mailbox, uids})
		}
		for _, ev := range e.Transaction.Events {
			switch ev := ev.(type) {
			case *event.MessagesMoved:
				transfer(s, (*event.MessagesCopied)(ev), add)
			case *event.MessagesCopied: // Clients without MOVE copy and then expunge.
				transfer(s, ev, add)
			case *event.MessageAdded:
				if only && use(s, ev.Mailbox) == junk { // Deliveries add messages as well, and may share a transaction.
					add(Spam, ev.Mailbox, domain.UIDs(ev.UID))
				}
			case *event.FlagsChanged:
				if f, ok := s.Keyword("$Junk"); ok && ev.Add&f != 0 {
					add(Spam, ev.Mailbox, ev.UIDs)
				} else if f, ok := s.Keyword("$NotJunk"); ok && ev.Add&f != 0 {
					add(Ham, ev.Mailbox, ev.UIDs)
				}
			}
		}
		return nil
	})
	return all, err
}

// matters tells whether events may teach something, so that most transactions cost nothing.
func matters(events []event.Event) bool {
	for _, ev := range events {
		switch ev := ev.(type) {
		case *event.MessagesMoved, *event.MessagesCopied, *event.MessageAdded:
			return true
		case *event.FlagsChanged:
			if ev.Add != ev.Add.System() {
				return true
			}
		}
	}
	return false
}

// The special uses that matter (RFC 6154 section 2).
const (
	junk  = `\junk`
	trash = `\trash`
)

// use is the special use of a mailbox in lower case; empty for none, and for a mailbox that is gone.
func use(s *account.State, id domain.MailboxID) string {
	m := s.Mailboxes[id]
	if m == nil {
		return ""
	}
	return strings.ToLower(m.SpecialUse)
}

func transfer(s *account.State, ev *event.MessagesCopied, add func(Verdict, domain.MailboxID, domain.UIDSet)) {
	from, to := use(s, ev.From), use(s, ev.To)
	arrived := domain.UIDSet{}.AddRange(ev.First, ev.First+domain.UID(ev.UIDs.Len())-1)
	switch {
	case from == to:
	case to == junk:
		add(Spam, ev.To, arrived)
	case from == junk && to != trash && s.Mailboxes[ev.To] != nil:
		add(Ham, ev.To, arrived)
	}
}

// learn has the filter learn the messages of a lesson.
func (l *Learning) learn(ctx context.Context, id domain.AccountID, lesson *lesson) error {
	address, err := l.cfg.Address(ctx, id)
	if err != nil {
		return err
	}
	var blobs []domain.BlobRef // before the first goes to the filter, which may be slow
	for email, err := range l.cfg.Accounts.Emails(ctx, id, lesson.mailbox, lesson.uids, door.WantBlob) {
		if err != nil {
			return err
		}
		blobs = append(blobs, email.Blob)
	}
	for _, blob := range blobs {
		outcome, err := l.one(ctx, lesson.verdict, address, blob)
		l.cfg.Count(lesson.verdict.String(), outcome)
		if err != nil {
			return err
		}
		l.cfg.Logger.Debug("a user's verdict was passed on", "account", id, "verdict", lesson.verdict, "outcome", outcome)
	}
	for range lesson.uids.Len() - len(blobs) {
		l.cfg.Count(lesson.verdict.String(), "away")
	}
	return nil
}

func (l *Learning) one(ctx context.Context, v Verdict, address string, blob domain.BlobRef) (outcome string, err error) {
	if blob.Size > l.cfg.Most {
		return "large", nil
	}
	r, err := l.cfg.Accounts.Open(ctx, blob, 0, -1)
	if domain.Is(err, domain.NotFound) { // it was expunged and purged
		return "away", nil
	}
	if err != nil {
		return "failed", err
	}
	defer r.Close()
	known, err := l.cfg.Learner.Learn(ctx, v, address, r, blob.Size)
	switch {
	case err != nil:
		return "failed", err
	case known:
		return "known", nil
	}
	return "learnt", nil
}
