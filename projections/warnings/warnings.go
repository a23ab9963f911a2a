// Package warnings tells users that their account becomes full (RFC 9208 leaves that to the server): a message into their INBOX, made from a template, when a part of a limit is reached.
//
// It listens to the log, so that it costs deliveries nothing, and works on whichever node has the listener's turn. Invariants:
//   - One warning for each crossing of a percentage: the message and the note that it was sent are one transaction, which is decided on the account as it is then. Neither a replay, another node, nor a kill sends a second one.
//   - Of several percentages that are crossed at once, the highest is told.
//   - A warning about the same percentage comes not again within the grace period, although the account was less full meanwhile.
//   - The warning itself is taken by an account that is full, and counts as any other message.
package warnings

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// Name is the listener's name.
const Name = "quota-warnings"

// Config is what Warnings work with. All but Logger, Clock and Count is needed.
type Config struct {
	Accounts filing.Accounts
	// Address gives an address of an account.
	Address  func(ctx context.Context, id domain.AccountID) (string, error)
	Policy   account.WarnPolicy
	Template *Template
	Hostname string
	Logger   *slog.Logger
	Clock    func() time.Time
	Count    func(percent int) // is told of each warning
}

// Warnings is the listener.
type Warnings struct{ cfg Config }

// New makes Warnings.
func New(cfg Config) *Warnings {
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Count == nil {
		cfg.Count = func(int) {}
	}
	return &Warnings{cfg}
}

// Listener gives what listen.Listeners run. It begins with what happens from now on.
func (w *Warnings) Listener() listen.Listener {
	return listen.Listener{Name: Name, Version: 1, From: listen.New, Batch: 64, Handle: w.Handle}
}

// Handle looks at an account after entries that may have filled or emptied it.
func (w *Warnings) Handle(ctx context.Context, entries []streams.Entry) (done int, err error) {
	for i := range entries {
		if t := entries[i].Transaction; t == nil || !matters(t.Events) {
			continue
		}
		if err := w.look(ctx, entries[i].Account); err != nil && !domain.Is(err, domain.Erased) && !domain.Is(err, domain.NotFound) {
			return i, err
		}
		break // The account is looked at as it is now, and all entries are of one account.
	}
	return len(entries), nil
}

// matters tells whether events change what an account uses or may use.
func matters(events []event.Event) bool {
	for _, e := range events {
		switch e.(type) {
		case *event.MessageAdded, *event.MessageRestored, *event.MessagesCopied, *event.MessagesMoved, *event.MessagesExpunged, *event.MailboxDeleted, *event.LimitsChanged:
			return true
		}
	}
	return false
}

// attempts bounds how often a decision is made anew because the account has changed meanwhile.
const attempts = 5

func (w *Warnings) look(ctx context.Context, id domain.AccountID) (err error) {
	for range attempts {
		if err = w.warn(ctx, id); !domain.Is(err, domain.Conflict) {
			return err
		}
	}
	return err
}

func (w *Warnings) warn(ctx context.Context, id domain.AccountID) error {
	now := w.cfg.Clock()
	var crossed account.Crossings
	var facts Facts
	if err := w.cfg.Accounts.View(ctx, id, func(s *account.State) error {
		crossed = s.Crossings(&w.cfg.Policy, now.Unix())
		facts = Facts{UsedPercent: s.Fullness(), UsedBytes: s.Usage.Bytes, LimitBytes: s.Limits.Bytes, UsedMessages: s.Usage.Messages, LimitMessages: s.Limits.Messages}
		return nil
	}); err != nil {
		return err
	}
	if len(crossed.Over)+len(crossed.Under) == 0 {
		return nil
	}
	c := account.WarnQuota{Policy: w.cfg.Policy, Percent: crossed.Warn(), Now: now.Unix()}
	if c.Percent > 0 {
		var err error
		if facts.Address, err = w.cfg.Address(ctx, id); err != nil {
			return err
		}
		facts.Percent, facts.Hostname, facts.Now, facts.ID = c.Percent, w.cfg.Hostname, now, rand.Text()
		text, err := w.cfg.Template.Message(facts)
		if err != nil {
			return err
		}
		stored, err := w.cfg.Accounts.Ingest(ctx, strings.NewReader(text))
		if err != nil {
			return err
		}
		c.Mail = account.AddMessage{Mailbox: account.Inbox, Blob: stored.Blob, Summary: stored.Summary, Internal: now.Unix(), Now: now.Unix()}
	}
	if _, err := w.cfg.Accounts.Do(ctx, id, Name, c); err != nil {
		return err
	}
	if c.Percent > 0 {
		w.cfg.Count(c.Percent)
		w.cfg.Logger.Info("a user was warned of a full account", "account", id, "percent", c.Percent)
	}
	return nil
}
