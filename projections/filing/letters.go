package filing

import (
	"context"
	"crypto/rand"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/sieve"
)

// Letter is mail that a script sends.
type Letter struct {
	Transfer  string // of the message that the script ran on
	MessageID string
	Login     string           // who sends it, for operators
	Sender    delivery.Address // of the envelope
	To        []delivery.Address
	Notify    queue.Notify
	Blob      domain.BlobRef // durable
	UTF8      bool
	Own       bool   // written here, and not by others
	TLS       string // see queue.Entry
}

// Queue takes letters. Errors of both: domain.Unavailable.
type Queue interface {
	// Pledge makes letters durable that count once the account has a mark of the kind account.MarkSent.
	Pledge(ctx context.Context, id domain.AccountID, mark string, letters []Letter) ([]queue.ID, error)
	// Settle says whether they count. Without it, who works on the queue looks for the mark.
	Settle(ctx context.Context, ids []queue.ID, kept bool) error
}

// The bounds of what an account's scripts send.
const (
	// MaxForwards is how many messages an account's scripts redirect and notify of in an hour, each counted for each of its recipients. Beyond that messages are kept.
	MaxForwards = 200
	// MaxAnswers is how many senders an account's vacations answer in an hour, about. Beyond that they are not answered.
	MaxAnswers = 200

	limitSpan = int64(time.Hour / time.Second)
	sentSpan  = int64(7 * 24 * time.Hour / time.Second) // how long a pledge may wait to be looked at; MaxForwards and MaxAnswers leave account.MaxMarks room for two hours of them
	maxHeader = 1 << 20                                 // octets of the header of a message that is redirected
	settling  = 10 * time.Second
)

// post is what a script's actions send, ready for the queue.
type post struct {
	letters []Letter
	copies  []account.Placement
	marks   []account.SetMark
}

// write makes the bytes of all that leaves durable.
func (f *Filer) write(ctx context.Context, id domain.AccountID, m Mail, actions []sieve.Action) (p post, err error) {
	now, sending := m.Add.Now, 0
	for i := range actions {
		a := &actions[i]
		if !a.Sends() {
			continue
		}
		if f.cfg.Queue == nil {
			return p, domain.Errorf(domain.Invalid, "this server sends no mail, so that %s does nothing", a.Kind)
		}
		letter := Letter{Transfer: m.ID, Login: "sieve:" + m.To.String()}
		if a.Kind == sieve.Redirect {
			letter.TLS = m.TLS // RFC 8689 section 4.2: on the whole way.
			err = f.redirect(ctx, m, a, &letter)
		} else {
			letter.Own = true
			err = f.compose(ctx, id, m, a, &letter, &p)
		}
		if err != nil {
			return p, err
		}
		if len(letter.To) == 0 {
			return p, domain.Errorf(domain.Invalid, "%s has nobody to send to", a.Kind)
		}
		for _, to := range letter.To {
			letter.UTF8 = letter.UTF8 || !to.IsASCII()
		}
		p.letters = append(p.letters, letter)
		kind := account.MarkRedirect
		if a.Kind == sieve.Vacation {
			kind = account.MarkAnswer
		} else {
			sending += len(letter.To)
		}
		for range letter.To {
			p.marks = append(p.marks, account.SetMark{Mark: account.Mark{Kind: kind, Name: rand.Text()}, Until: now + limitSpan})
		}
	}
	if sending == 0 {
		return p, nil
	}
	sent := 0
	err = f.cfg.Accounts.View(ctx, id, func(s *account.State) error {
		sent = s.Scripts.Marks.Count(account.MarkRedirect, now)
		return nil
	})
	if err == nil && sent+sending > MaxForwards {
		err = domain.Errorf(domain.Invalid, "an account's scripts send messages on to %d recipients in an hour, and this would be more", MaxForwards)
	}
	return p, err
}

// redirect makes the copy of a message that goes to another address (RFC 5228 section 4.2): without the Return-Path of final delivery, and with a field by which it is known when it comes back.
func (f *Filer) redirect(ctx context.Context, m Mail, a *sieve.Action, l *Letter) error {
	to, err := delivery.ParseAddress(a.Address)
	if err != nil {
		return err
	}
	l.To, l.MessageID = []delivery.Address{to}, m.Add.Summary.Envelope.MessageID
	if l.Sender = m.From; !m.From.IsNull() && f.cfg.Sender != nil { // RFC 5228 section 10: what had no sender gets none.
		l.Sender = f.cfg.Sender(m.From, m.To)
	}
	size := m.Add.Summary.Root.Body
	if a.Header == nil && size > maxHeader {
		return domain.Errorf(domain.Invalid, "a message whose header has more than %d octets is not redirected", maxHeader)
	}
	header := ""
	if a.Header != nil {
		header = *a.Header
	} else {
		r, err := f.cfg.Accounts.Open(ctx, m.Add.Blob, 0, size)
		if err != nil {
			return err
		}
		all, err := io.ReadAll(r)
		if closed := r.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return domain.Wrap(domain.Unavailable, err, "read the message's header")
		}
		header = string(all)
	}
	header = strings.TrimPrefix(header, delivery.ReturnPath(m.From))
	forwarder := f.forwarder(ctx, m.To)
	header = sieve.RedirectedBy + ": " + forwarder.String() + "\r\n" + header
	l.UTF8 = m.UTF8 && wide(header) || !l.Sender.IsASCII() || !forwarder.IsASCII() // Octets that came without leave (RFC 6531 section 3.4) go on so.
	edited, err := f.edit(ctx, m.Add, header)
	if err == nil {
		l.Blob = edited.Blob
	}
	return err
}

// forwarder is an address of the account without the detail that its sender put there, so that all mail for one account has one.
func (f *Filer) forwarder(ctx context.Context, to delivery.Address) delivery.Address {
	if f.cfg.Resolve == nil {
		return to
	}
	_, detail, err := f.cfg.Resolve(ctx, to.String())
	if at := len(to.Local) - len(detail) - 1; err == nil && detail != "" && at > 0 && strings.EqualFold(to.Local[at:], "+"+detail) {
		to.Local = to.Local[:at]
	}
	return to
}

// wide tells whether a header is not ASCII.
func wide(header string) bool {
	return strings.ContainsFunc(header, func(r rune) bool { return r >= utf8.RuneSelf })
}

// compose writes an answer or a notification. It has the null sender and asks for no reports.
func (f *Filer) compose(ctx context.Context, id domain.AccountID, m Mail, a *sieve.Action, l *Letter, p *post) error {
	l.MessageID = "<" + rand.Text() + ".sieve@" + f.cfg.Hostname + ">"
	l.To, l.Notify = a.Letter.Addresses(), queue.Never
	text := a.Letter.Message(m.To, l.MessageID, f.cfg.Clock())
	stored, err := f.cfg.Accounts.Ingest(ctx, strings.NewReader(text))
	if err != nil {
		return err
	}
	header, _, _ := strings.Cut(text, "\r\n\r\n")
	l.Blob, l.UTF8 = stored.Blob, wide(header)
	if c := a.Letter.Copy; c != nil { // RFC 8580.
		p.copies = append(p.copies, account.Placement{
			Mailbox: c.Mailbox, ID: mailboxOf(id, c.MailboxID), SpecialUse: c.SpecialUse, Create: c.Create, Flags: c.Flags, Apart: true,
			Instead: &account.AddMessage{Blob: stored.Blob, Summary: stored.Summary, Thread: m.Add.Thread, Internal: m.Add.Now, Now: m.Add.Now},
		})
	}
	return nil
}

// memories are the marks by which later runs know of this one.
func memories(out *sieve.Outcome, now int64) (all []account.SetMark) {
	for _, r := range out.Remember {
		kind := account.MarkKind(r.Kind)
		if r.Seconds <= account.BriefMark {
			kind = kind.Brief()
		}
		all = append(all, account.SetMark{Mark: account.Mark{Kind: kind, Name: r.Name}, Until: now + r.Seconds, Fresh: r.Fresh})
	}
	return all
}

// commit does what a script wants in the account, and lets go what it sends. The order is what keeps both together: the letters are durable before the account says that they count, and nothing of
// them leaves before. A process that dies in between leaves letters that the queue either finds the mark of, or drops; the sender of the message has had no answer then and sends it again.
func (f *Filer) commit(ctx context.Context, id domain.AccountID, actor string, m *Mail, c account.Deliver, p post) error {
	var ids []queue.ID
	if len(p.letters) > 0 {
		pledge := account.Mark{Kind: account.MarkSent, Name: rand.Text()}
		var err error
		if ids, err = f.cfg.Queue.Pledge(ctx, id, pledge.Name, p.letters); err != nil {
			return err
		}
		f.cfg.Failpoint("filing.pledged")
		c.Marks = append(append(c.Marks, p.marks...), account.SetMark{Mark: pledge, Until: c.Message.Now + sentSpan})
	}
	out, err := f.cfg.Accounts.Do(ctx, id, actor, c)
	f.delivered(id, m, out)
	if len(ids) == 0 {
		return err
	}
	if err != nil && !domain.Is(err, domain.Conflict) && !refused(err) { // It is not known whether the account has it.
		return err
	}
	f.cfg.Failpoint("filing.delivered")
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	if wrong := f.cfg.Queue.Settle(settle, ids, err == nil); wrong != nil {
		f.cfg.Logger.Warn("mail that a script sends waits until the queue finds out by itself whether it counts", "account", id, "messages", len(ids), "error", wrong)
	}
	return err
}

// refused tells errors that say that the account did not take a command.
func refused(err error) bool {
	return domain.Is(err, domain.OverQuota) || domain.Is(err, domain.TooLarge) || domain.Is(err, domain.Invalid)
}
