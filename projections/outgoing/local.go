package outgoing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/filing"
)

// Mailboxes is the Carrier to mailboxes of this server: it brings reports, and mail whose sender wants to hear that it has arrived.
type Mailboxes struct {
	Accounts interface {
		View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error
		Ingest(ctx context.Context, r io.Reader) (door.Stored, error)
		Thread(ctx context.Context, id domain.AccountID, s *message.Summary) (domain.ThreadID, error)
		Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error]
	}
	Directory interface {
		Resolve(ctx context.Context, address string) (id domain.AccountID, detail string, err error)
		Rewrite(ctx context.Context, a delivery.Address) (*rewriting.Resolution, error)
	}
	// Accept takes what is sent on, all or none; Worker.AcceptAll is one. It and ReturnPath are needed where there are mappings.
	Accept func(ctx context.Context, mails ...*Mail) error
	// Origin gives the sender who is behind one that this server has rewritten, see Config.Origin; nil: none is.
	Origin func(sender delivery.Address) delivery.Address
	// Park keeps mail for an operator whose recipient's mappings come to no end; nil: its sender is told.
	Park func(ctx context.Context, repository string, e *queue.Entry, cause string) error
	// ReturnPath gives the sender of what is sent on for a recipient here.
	ReturnPath func(sender, recipient delivery.Address) delivery.Address
	// Filer is what this package needs of filing.Filer: it adds a message as the account's script says.
	Filer interface {
		Deliver(ctx context.Context, id domain.AccountID, actor string, m filing.Mail) error
	}
	Clock func() time.Time // nil means time.Now
}

// Deliver adds the message to the mailbox of each recipient, and sends it on where mappings say so.
func (m *Mailboxes) Deliver(ctx context.Context, e *queue.Entry, open queue.Open) (outcomes []queue.Outcome, reached bool) {
	for _, r := range e.Recipients {
		o := queue.Outcome{Recipient: r, Fate: queue.Delivered, Status: "2.1.5"}
		err := m.bring(ctx, e, &r, open)
		var fault *rewriting.Fault
		if errors.As(err, &fault) && m.Park != nil {
			o.Fate, o.Text = queue.Relayed, "parked: "+fault.Error()
			err = m.park(ctx, e, &r, fault)
		}
		if err != nil {
			o.Fate, o.Status, o.Text = fate(err)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, true
}

// fate says what an error makes of a recipient.
func fate(err error) (f queue.Fate, status, text string) {
	var fault *rewriting.Fault
	var refused *refused
	switch {
	case errors.As(err, &fault):
		return queue.Failed, "5.4.6", "mail for this recipient goes round in a loop" // RFC 3463 section 3.5: routing loop detected. The way is nothing that a stranger is told.
	case errors.As(err, &refused):
		if refused.Code < 500 {
			f = queue.Deferred
		} else {
			f = queue.Failed
		}
		return f, fmt.Sprintf("%d.%d.%d", refused.Enhanced[0], refused.Enhanced[1], refused.Enhanced[2]), refused.Text
	case domain.Is(err, domain.NotFound), domain.Is(err, domain.Invalid), domain.Is(err, domain.Erased):
		return queue.Failed, "5.1.1", "there is no such mailbox here"
	case domain.Is(err, domain.OverQuota):
		return queue.Deferred, "4.2.2", "the mailbox is full"
	}
	return queue.Deferred, "4.3.0", err.Error()
}

// refused is what an error mapping says.
type refused struct{ rewriting.Refusal }

func (r *refused) Error() string { return r.String() }

// bring delivers to one recipient.
func (m *Mailboxes) bring(ctx context.Context, e *queue.Entry, r *queue.Recipient, open queue.Open) error {
	to, err := delivery.ParseAddress(r.Address)
	if err != nil {
		return err
	}
	if e.Final {
		id, detail, err := m.Directory.Resolve(ctx, r.Address)
		if err != nil {
			return err
		}
		return m.deliver(ctx, e, id, detail, to, open)
	}
	if m.Origin != nil && e.Sender == "" { // Only what has no sender itself comes back to one that was rewritten (RFC 5321 section 4.5.5).
		if sender := m.Origin(to); sender != to {
			back := m.again(e, delivery.Address{})
			back.Final, back.Recipients = false, []Recipient{{Address: sender, Original: r.Original, Notify: r.Notify}}
			return m.Accept(ctx, back)
		}
	}
	found, err := m.Directory.Rewrite(ctx, to)
	if err != nil {
		return err
	}
	if refusal, is := found.Refusal(); is {
		return &refused{refusal}
	}
	if f := found.Finals[0]; len(found.Finals) == 1 && f.Account != "" {
		return m.deliver(ctx, e, f.Account, f.Detail, to, open)
	}
	return m.spread(ctx, e, r, to, found.Finals, open)
}

// spread delivers to several mailboxes, and puts into the queue what leaves, and for whom it does not succeed now: so that one of them keeps nobody waiting. What fails
// here is done again; mailboxes have the message once all the same, see has.
func (m *Mailboxes) spread(ctx context.Context, e *queue.Entry, r *queue.Recipient, to delivery.Address, finals []rewriting.Final, open queue.Open) error {
	sender, err := senderOf(e)
	if err != nil {
		return err
	}
	later := m.again(e, sender)
	later.Unclear = true
	away := m.again(e, m.ReturnPath(sender, to))
	away.Top = delivery.DeliveredTo(to) + e.Head
	for _, f := range finals {
		next := Recipient{Address: f.Address, Original: r.Original, Notify: r.Notify}
		if next.Original == "" {
			next.Original = "rfc822;" + r.Address
		}
		if next.Notify &^= queue.OnSuccess; next.Notify == 0 && r.Notify != 0 { // This recipient's success is told here.
			next.Notify = queue.Never
		}
		if f.Account == "" {
			away.UTF8 = away.UTF8 || !f.Address.IsASCII() && e.UTF8
			away.Recipients = append(away.Recipients, next)
			continue
		}
		if err := m.deliver(ctx, e, f.Account, f.Detail, to, open); err != nil {
			if f.Detail != "" {
				next.Address.Local += "+" + f.Detail
			}
			later.Recipients = append(later.Recipients, next)
		}
	}
	rest := slices.DeleteFunc([]*Mail{later, away}, func(mail *Mail) bool { return len(mail.Recipients) == 0 })
	if len(rest) == 0 {
		return nil
	}
	return m.Accept(ctx, rest...) // Of one without the other, the next attempt would make a second copy.
}

// RewritingErrors is where mail is parked whose recipients' mappings come to no end.
const RewritingErrors = "rrt-error"

// park keeps the mail for one recipient. When it is processed again, mappings are asked again.
func (m *Mailboxes) park(ctx context.Context, e *queue.Entry, r *queue.Recipient, fault *rewriting.Fault) error {
	one := *e
	one.Final, one.Recipients = false, []queue.Recipient{*r}
	return m.Park(ctx, RewritingErrors, &one, fault.Error())
}

// again makes another entry's message of one.
func (m *Mailboxes) again(e *queue.Entry, sender delivery.Address) *Mail {
	return &Mail{
		Transfer: e.Transfer, MessageID: e.MessageID, Login: e.Login, Sender: sender, Blob: e.Blob.BlobRef, Skip: e.Skip, Top: e.Head, Final: true, UTF8: e.UTF8, Junk: e.Junk, Return: e.Return, EnvelopeID: e.EnvelopeID, TLS: e.TLS,
	}
}

func senderOf(e *queue.Entry) (delivery.Address, error) {
	if e.Sender == "" {
		return delivery.Address{}, nil
	}
	return delivery.ParseAddress(e.Sender)
}

// deliver adds the message to a mailbox.
func (m *Mailboxes) deliver(ctx context.Context, e *queue.Entry, id domain.AccountID, detail string, to delivery.Address, open queue.Open) error {
	sender, err := senderOf(e)
	if err != nil {
		return err
	}
	r, err := open(ctx)
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "read the message")
	}
	defer r.Close()
	stored, err := m.Accounts.Ingest(ctx, io.MultiReader(strings.NewReader(delivery.ReturnPath(sender)), r))
	if err != nil {
		return err
	}
	mailbox := account.Inbox
	if err := m.Accounts.View(ctx, id, func(s *account.State) error {
		mailbox = delivery.Mailbox(s, detail)
		if e.Junk { // A script may file it elsewhere.
			for _, b := range s.Sorted() {
				if b.SpecialUse == `\Junk` {
					mailbox = b.Name
					break
				}
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if e.Attempts > 0 || e.Unclear > 0 { // an attempt that was cut off may have brought it, too
		if there, err := m.has(ctx, id, stored.Blob.ID); there || err != nil {
			return err
		}
	}
	thread, err := m.Accounts.Thread(ctx, id, &stored.Summary)
	if err != nil {
		return err
	}
	now := time.Now
	if m.Clock != nil {
		now = m.Clock
	}
	at := now().Unix()
	return m.Filer.Deliver(ctx, id, "queue", filing.Mail{
		ID: e.ID.String(), From: sender, To: to, TLS: e.TLS, Junk: e.Junk, UTF8: e.UTF8,
		Add: account.AddMessage{Mailbox: mailbox, Fallback: true, Blob: stored.Blob, Summary: stored.Summary, Thread: thread, Internal: at, Now: at},
	})
}

// latest is how many messages of a mailbox are looked at for one that an earlier attempt may have brought.
const latest = 1000

// has tells whether a message is among the latest of some mailbox: a script may have filed it anywhere.
func (m *Mailboxes) has(ctx context.Context, id domain.AccountID, blob domain.BlobID) (found bool, err error) {
	boxes := map[domain.MailboxID]domain.UIDSet{}
	err = m.Accounts.View(ctx, id, func(s *account.State) error {
		clear(boxes)
		for _, b := range s.Mailboxes {
			if len(b.UID) > 0 {
				boxes[b.ID] = domain.UIDs(b.UID[max(0, len(b.UID)-latest):]...)
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	for box, uids := range boxes {
		for email, err := range m.Accounts.Emails(ctx, id, box, uids, door.WantBlob) {
			if err != nil {
				return false, err
			}
			if email.Blob.ID == blob {
				return true, nil
			}
		}
	}
	return false, nil
}
