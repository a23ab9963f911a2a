// Package filing delivers a message into an account as the account's active Sieve script says (RFC 5228), or into the mailbox that it was addressed to when
// there is none.
//
// Invariants:
//   - What a script does with one message is one transaction: all copies, their flags, the mailboxes that are made for them and what is to be remembered, or nothing.
//   - Mail that a script sends is durable before that transaction, and leaves after it only; see commit.
//   - A script that does not compile any more, that fails, or whose actions the account cannot take, keeps the message where it would be without a
//     script; the cause is logged.
//   - A message that a script discards leaves no trace in the account.
//   - Only deliveries come here. APPEND, imports and restores run no script.
package filing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/sieve"
	"github.com/streampost/streampost/domain/trace"
	"github.com/streampost/streampost/projections/door"
)

// Accounts is what this package needs of door.Accounts.
type Accounts interface {
	Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error)
	View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error
	Ingest(ctx context.Context, r io.Reader) (door.Stored, error)
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Config is what a Filer works with. Accounts is needed.
type Config struct {
	Accounts Accounts
	Hostname string // the environment item "host" (RFC 5183)
	Version  string
	Logger   *slog.Logger     // slog.Default()
	Clock    func() time.Time // time.Now
	// Count is told of each run of a script; nil for nobody. outcome is filed, discarded, refused or failed.
	Count func(outcome string, steps int, took time.Duration)

	Queue Queue // nil where no mail leaves: what a script sends is an error in it then
	// Resolve finds the account of an address, as door.Directory.Known does; nil where nobody can tell whose an address is.
	Resolve func(ctx context.Context, address string) (id domain.AccountID, detail string, err error)
	// Sender gives the envelope sender of a message that is redirected; nil means the original one.
	Sender func(original, forwarder delivery.Address) delivery.Address
	// Trace is told of deliveries and of what scripts decide; nil tells nobody.
	Trace func(trace.Record)
	// Failpoint is called at named steps, for tests that kill the process there: filing.pledged (what leaves is in the queue), filing.delivered (the account has its part).
	Failpoint func(name string)
}

// Filer runs scripts. It is safe for concurrent use.
type Filer struct {
	cfg   Config
	cache cache
}

// New makes a Filer.
func New(cfg Config) *Filer {
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	if cfg.Count == nil {
		cfg.Count = func(string, int, time.Duration) {}
	}
	return &Filer{cfg: cfg}
}

// Mail is a message on its way into an account. Its blob is durable already.
type Mail struct {
	ID        string // names the transfer in the log
	Add       account.AddMessage
	From, To  delivery.Address // of the envelope
	UTF8      bool             // its header may be internationalized (RFC 6531)
	MayRefuse bool             // the sender can be told that this recipient refuses the message
	TLS       string           // what the sender demands of the way, see queue.Entry
	Junk      bool             // the policy of its author's domain (DMARC) wants it apart: no mail leaves because of it
}

// Refused is the error of a message that the recipient's script refuses (RFC 5429).
type Refused struct{ Reason string }

func (r *Refused) Error() string { return "the recipient's filter refuses the message: " + r.Reason }

// The bounds of one delivery beyond those of package sieve.
const (
	runTime    = 10 * time.Second // of a script; what it leaves of the delivery's time is for keeping the message
	maxHeaders = 4                // different edited headers, each of which stores the message once more
)

// Deliver delivers a message. Errors: *Refused; those of door.Accounts.Do.
func (f *Filer) Deliver(ctx context.Context, id domain.AccountID, actor string, m Mail) error {
	scripts, err := f.scripts(ctx, id)
	if err != nil {
		return err
	}
	if scripts.Active == "" && !scripts.Vacation.Holds(m.Add.Now) {
		out, err := f.cfg.Accounts.Do(ctx, id, actor, m.Add)
		f.delivered(id, &m, out)
		return err
	}
	begun := f.cfg.Clock()
	out := kept(nil, 0)
	if scripts.Active != "" {
		out = f.run(ctx, id, scripts, m)
	}
	f.vacate(ctx, id, scripts, m, &out)
	err = f.carryOut(ctx, id, actor, m, out)
	if out.Err == nil && refused(err) {
		out = kept(fmt.Errorf("what it does fails: %w", err), out.Steps)
		var added door.Outcome
		added, err = f.cfg.Accounts.Do(ctx, id, actor, m.Add)
		f.delivered(id, &m, added)
	}
	if domain.Is(err, domain.Conflict) {
		return err // and is tried again
	}
	what := outcome(out)
	f.cfg.Count(what, out.Steps, f.cfg.Clock().Sub(begun))
	f.filtered(id, &m, scripts.Active, what, &out)
	log := f.cfg.Logger.With("id", m.ID, "account", id, "script", scripts.Active, "outcome", what, "steps", out.Steps)
	switch {
	case out.Err != nil:
		log.Warn("sieve script failed: the message is kept", "cause", out.Err)
	default:
		log.Info("sieve script ran", "actions", describe(out.Actions), "notes", strings.Join(out.Notes, "; "))
	}
	return err
}

// scripts gives an account's scripts when one of them is active, and its vacation.
func (f *Filer) scripts(ctx context.Context, id domain.AccountID) (s account.Scripts, err error) {
	err = f.cfg.Accounts.View(ctx, id, func(state *account.State) error {
		if s = (account.Scripts{}); state.Scripts.Active != "" || state.Scripts.Vacation.Enabled {
			s = state.Scripts.Clone()
		}
		return nil
	})
	return s, err
}

func outcome(out sieve.Outcome) string {
	switch {
	case out.Err != nil:
		return "failed"
	case len(out.Actions) == 0:
		return "discarded"
	case out.Actions[0].Kind == sieve.Reject:
		return "refused"
	}
	return "filed"
}

// describe names the places for the log.
func describe(actions []sieve.Action) string {
	words := make([]string, len(actions))
	for i, a := range actions {
		words[i] = string(a.Kind)
		if a.Kind == sieve.File {
			words[i] += " " + strconv.Quote(a.Mailbox)
		}
		if a.Kind == sieve.Redirect {
			words[i] += " " + a.Address
		}
	}
	return strings.Join(words, ", ")
}

// kept is the outcome of a script that fails.
func kept(cause error, steps int) sieve.Outcome {
	return sieve.Outcome{Actions: []sieve.Action{{Kind: sieve.Keep, Mailbox: sieve.Inbox}}, Err: cause, Steps: steps}
}

// run runs the active script on a message.
func (f *Filer) run(ctx context.Context, id domain.AccountID, scripts account.Scripts, m Mail) (out sieve.Outcome) {
	defer func() {
		if p := recover(); p != nil { // A mistake in the interpreter costs the user a filter, and not a message.
			f.cfg.Logger.Error("sieve script panics", "id", m.ID, "account", id, "script", scripts.Active, "panic", p, "stack", string(debug.Stack()))
			out = kept(fmt.Errorf("the script panics: %v", p), 0)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	script, err := f.cache.compile(scripts.Content[scripts.Active])
	if err != nil { // It compiled when it was stored: this version of the server offers less.
		return kept(fmt.Errorf("the script no longer compiles: %w", err), 0)
	}
	out = script.Run(f.context(ctx, id, scripts, m))
	if !m.MayRefuse && len(out.Actions) == 1 && out.Actions[0].Kind == sieve.Reject {
		return kept(errors.New("it cannot be refused for one recipient of several"), out.Steps)
	}
	if headers(out.Actions) > maxHeaders {
		return kept(fmt.Errorf("it files the message with more than %d different headers", maxHeaders), out.Steps)
	}
	return out
}

// headers counts the different headers that a script has made.
func headers(actions []sieve.Action) int {
	made := map[*string]bool{}
	for _, a := range actions {
		if a.Header != nil {
			made[a.Header] = true
		}
	}
	return len(made)
}

// context shows a script the account and the message.
func (f *Filer) context(ctx context.Context, id domain.AccountID, scripts account.Scripts, m Mail) *sieve.Context {
	look := func(is func(s *account.State) bool) (found bool) {
		err := f.cfg.Accounts.View(ctx, id, func(s *account.State) error {
			found = is(s)
			return nil
		})
		return err == nil && found
	}
	quiet := ""
	if m.Junk { // Who it names as its sender has not sent it.
		quiet = "its sender may be forged"
	}
	return &sieve.Context{
		Message: sieve.Message{Root: &m.Add.Summary.Root, Size: m.Add.Blob.Size, Open: func(off, n int64) (io.ReadCloser, error) {
			return f.cfg.Accounts.Open(ctx, m.Add.Blob, off, n)
		}},
		From: m.From, To: m.To, Now: f.cfg.Clock(), Done: ctx.Done(),
		MailboxExists: func(name string) bool {
			return look(func(s *account.State) bool { _, ok := s.Mailbox(name); return ok })
		},
		ByID: func(text string) bool {
			return look(func(s *account.State) bool { return s.Mailboxes[mailboxOf(id, text)] != nil })
		},
		SpecialUse: func(mailbox, use string) bool {
			return look(func(s *account.State) bool {
				m, ok := s.BySpecialUse(use)
				return ok && (mailbox == "" || m.Name == account.CanonicalName(mailbox))
			})
		},
		Include: func(name string) (*sieve.Script, error) {
			content, there := scripts.Content[name]
			if !there {
				return nil, nil
			}
			return f.cache.compile(content)
		},
		Seen: func(kind, name string) bool {
			return look(func(s *account.State) bool {
				kind, marks := account.MarkKind(kind), s.Scripts.Marks
				return marks.Has(account.Mark{Kind: kind, Name: name}, m.Add.Now) || marks.Has(account.Mark{Kind: kind.Brief(), Name: name}, m.Add.Now)
			})
		},
		Own: func(address string) bool {
			if f.cfg.Resolve == nil {
				return false
			}
			owner, _, err := f.cfg.Resolve(ctx, address)
			return err == nil && owner == id
		},
		Answered: func() bool {
			return look(func(s *account.State) bool { return s.Scripts.Marks.Count(account.MarkAnswer, m.Add.Now) >= MaxAnswers })
		},
		Quiet: quiet,
		Environment: func(item string) (string, bool) {
			value, known := map[string]string{
				"host": f.cfg.Hostname, "name": "Streampost", "version": f.cfg.Version, "location": "MDA", "phase": "during", "domain": m.To.Domain,
			}[item]
			return value, known && value != ""
		},
	}
}

// mailboxOf reads a MAILBOXID (RFC 8474, RFC 9042); 0 when it is not one of the account's.
func mailboxOf(id domain.AccountID, text string) domain.MailboxID {
	n, ok := strings.CutPrefix(text, "F"+string(id)+"-")
	number, err := strconv.ParseUint(n, 10, 32)
	if !ok || err != nil {
		return 0
	}
	return domain.MailboxID(number)
}

// carryOut does what a script wants, in one transaction.
func (f *Filer) carryOut(ctx context.Context, id domain.AccountID, actor string, m Mail, out sieve.Outcome) error {
	c := account.Deliver{Message: m.Add, UIDValidity: uint32(m.Add.Now), Marks: memories(&out, m.Add.Now)}
	edited := map[*string]*account.AddMessage{} // a header that several actions share is stored once
	for _, a := range out.Actions {
		if a.Kind == sieve.Reject {
			return &Refused{a.Reason}
		}
		if a.Sends() {
			continue
		}
		p := account.Placement{
			Mailbox: a.Mailbox, ID: mailboxOf(id, a.MailboxID), SpecialUse: a.SpecialUse, Create: a.Create, Flags: a.Flags,
		}
		if a.Kind == sieve.Keep {
			p.Mailbox = m.Add.Mailbox
		}
		if a.Header != nil {
			if edited[a.Header] == nil {
				add, err := f.edit(ctx, m.Add, *a.Header)
				if err != nil {
					return err
				}
				edited[a.Header] = add
			}
			p.Instead = edited[a.Header]
		}
		c.Into = append(c.Into, p)
	}
	p, err := f.write(ctx, id, m, out.Actions)
	if err != nil {
		return err
	}
	c.Into = append(c.Into, p.copies...)
	if len(c.Into) == 0 && len(c.Marks) == 0 && len(p.letters) == 0 {
		return nil
	}
	return f.commit(ctx, id, actor, &m, c, p)
}

// edit stores the message with another header (RFC 5293).
func (f *Filer) edit(ctx context.Context, add account.AddMessage, header string) (*account.AddMessage, error) {
	body, err := f.cfg.Accounts.Open(ctx, add.Blob, add.Summary.Root.Body, -1)
	if err != nil {
		return nil, err
	}
	stored, err := f.cfg.Accounts.Ingest(ctx, io.MultiReader(strings.NewReader(header), body))
	if closed := body.Close(); err == nil && closed != nil {
		err = domain.Wrap(domain.Unavailable, closed, "read the message")
	}
	add.Blob, add.Summary = stored.Blob, stored.Summary
	return &add, err
}
