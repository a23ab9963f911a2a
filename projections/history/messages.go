package history

import (
	"context"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/vault"
)

// Message is a message as it was. Times are Unix seconds.
type Message struct {
	UID      domain.UID      `json:"uid"`
	Flags    []string        `json:"flags"`
	Size     int64           `json:"size"`
	Internal int64           `json:"internalDate"`
	Saved    int64           `json:"savedDate"`
	ModSeq   domain.Tx       `json:"modSeq"`
	Email    domain.EmailID  `json:"emailId"`
	Thread   domain.ThreadID `json:"threadId"`
	Subject  string          `json:"subject"`
	From     string          `json:"from"`
}

// MaxPage bounds the messages that Messages gives at once.
const MaxPage = 10_000

// Messages gives at most limit messages that a mailbox had at a point of the past, from a UID on, in rising order of UID. Errors:
// domain.NotFound, and those of reading the log.
func (p *Past) Messages(ctx context.Context, log Log, id domain.AccountID, mailbox string, from domain.UID, limit int) ([]Message, error) {
	m, ok := p.State.Mailbox(mailbox)
	if !ok {
		return nil, p.noMailbox(mailbox)
	}
	start, _ := m.Index(from)
	end := min(m.Len(), start+min(max(limit, 0), MaxPage))
	page := make([]Message, 0, end-start)
	wanted := map[domain.EmailID]bool{}
	for i := start; i < end; i++ {
		r := m.At(i)
		flags := p.State.FlagNames(r.Flags)
		if flags == nil {
			flags = []string{}
		}
		page = append(page, Message{UID: r.UID, Flags: flags, Size: r.Size, Internal: r.Internal, Saved: r.Saved, ModSeq: r.Modified, Email: r.Email, Thread: r.Thread})
		wanted[r.Email] = true
	}
	texts := make(map[domain.EmailID][2]string, len(wanted))
	if err := Added(ctx, log, id, wanted, func(e *event.MessageAdded) error {
		d := vault.Describe(&e.Summary)
		texts[e.Email] = [2]string{d.Subject, d.Sender}
		return nil
	}); err != nil {
		return nil, err
	}
	for i := range page {
		text := texts[page[i].Email]
		page[i].Subject, page[i].From = text[0], text[1]
	}
	return page, nil
}

func (p *Past) noMailbox(name string) error {
	err := domain.Errorf(domain.NotFound, "there was no mailbox %q at Tx %d", account.CanonicalName(name), p.Tx)
	names := make([]string, 0, len(p.State.Mailboxes))
	for _, m := range p.State.Sorted() {
		names = append(names, m.Name)
	}
	if len(names) > 0 {
		err.Hint = "the account had " + shortList(names)
	}
	return err
}

// shortList names some of a list.
func shortList(names []string) string {
	const most = 20
	rest := len(names) - most
	names = slices.Clone(names[:min(most, len(names))])
	text := ""
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	if rest > 0 {
		text += " and others"
	}
	return text
}
