package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/streampost/streampost/adapters/opensearch"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/search"
	"github.com/streampost/streampost/projections/tasks/worker"
)

// SearchCmd looks after the search index.
type SearchCmd struct {
	Reindex SearchReindexCmd `cmd:"" help:"Read messages again and mend what the index says of them."`
}

// SearchReindexCmd reads messages again.
type SearchReindexCmd struct {
	Account string `placeholder:"ACCOUNT" help:"Whose messages, by address or id."`
	Mailbox string `placeholder:"NAME" help:"Only those of one mailbox."`
	Message uint32 `placeholder:"UID" help:"Only this one of the mailbox."`
	Check   bool   `help:"Write only what is wrong."`
	Cluster bool   `name:"opensearch" help:"Not the embedded index, but the one in OpenSearch; without --account all of it, beside the old one."`
	JSON    bool   `name:"json" help:"Print JSON."`
	Detached
}

// Help teaches.
func (*SearchReindexCmd) Help() string {
	return `Messages are read from the blobs, and their documents are written in place while mail goes on. It is for messages that could not be read when they came: those are found by their headers only, and SEARCH reads them. With --check only documents that differ from their messages are written, so that it is also the proof that none do. The whole index is made anew, beside the one in use, by projection rebuild --projection search.

With search.tika, attachments of an account are sent again, too, in the background: with --check those that were given up, without it all. It is for the whole account, so not with --mailbox. Those of everybody are sent again after projection rebuild --projection extracts.

With --opensearch it is about search.opensearch. Without an account a new index is then filled from the beginning of the log while the old one serves and goes on. When it has caught up, the alias that is searched is switched in one step, and the old index is deleted. Cancelling the task leaves the old one as if nothing had been. A change of search.opensearch.shards takes effect this way. With an account, documents are written again where they are, and those of messages that are gone are emptied.

Examples:

  streampost search reindex --account alice@example.org --check
  streampost search reindex --account alice@example.org --mailbox INBOX --message 17
  streampost projection rebuild --projection search
  streampost search reindex --opensearch`
}

// Run reindexes.
func (c *SearchReindexCmd) Run(g *Globals, env *Env) error {
	if c.Message != 0 && c.Mailbox == "" {
		return usage("a message is named by its UID in a mailbox: give --mailbox too")
	}
	if c.Cluster {
		return c.cluster(g, env)
	}
	if c.Account == "" {
		return usage("say whose messages: --account ACCOUNT; all of the index is made anew by projection rebuild --projection search")
	}
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	work := reindexWork{Account: domain.AccountID(c.Account), Mailbox: c.Mailbox, Message: domain.UID(c.Message), Check: c.Check}
	var sum search.Reindexed
	if server.core != nil {
		if c.Detach {
			return usage("--detach needs a running server")
		}
		sum, err = server.core.reindex(env, work)
	} else {
		err = server.long(env, c.Detached, longWork{kind: "search-reindex", parameters: work}, &sum)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	env.printf("%d messages are read again, %d documents written, %d of them were wrong, %d messages cannot be read\n", sum.Messages, sum.Written, sum.Wrong, sum.Missing)
	return nil
}

// cluster orders a reindex of OpenSearch.
func (c *SearchReindexCmd) cluster(g *Globals, env *Env) error {
	if c.Check || c.Account == "" && c.Mailbox != "" {
		return usage("--opensearch goes without --check, and --mailbox with --account only")
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum opensearch.Reindexed
	order := webadmin.ReindexOrder{Account: c.Account, Mailbox: c.Mailbox, Message: domain.UID(c.Message)}
	if err := server.work(env, c.Detached, webadmin.TaskReindex, order, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		err = env.json(sum)
	} else {
		env.printf("%d messages are indexed, %d failed, %d that are gone were emptied\n", sum.Documents, sum.Failed, sum.Removed)
	}
	if err == nil && sum.Failed > 0 {
		err = &exitError{exitFound, nil}
	}
	return err
}

// reindexWork is the parameters of search-reindex.
type reindexWork struct {
	Account domain.AccountID `json:"account"` // an address is taken, too
	Mailbox string           `json:"mailbox,omitempty"`
	Message domain.UID       `json:"message,omitempty"`
	Check   bool             `json:"check,omitempty"`
}

// checkReindex checks such parameters.
func (c *core) checkReindex(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var work reindexWork
	if err := parameters(text, &work); err != nil {
		return nil, "", err
	}
	if _, err := c.reindexed(ctx, &work); err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(work)
	return text, string(work.Account), err
}

// reindexed finds what is meant, and names the account by its id.
func (c *core) reindexed(ctx context.Context, work *reindexWork) (sel search.Selection, err error) {
	if c.search == nil {
		return sel, &domain.Error{Kind: domain.Invalid, Msg: "there is no search index", Hint: "set search.enabled"}
	}
	if _, err := domain.ParseAccountID(string(work.Account)); err != nil {
		found, err := c.directory.Lookup(ctx, string(work.Account))
		if err != nil {
			return sel, err
		}
		work.Account = found.ID
	}
	sel.Account = work.Account
	if work.Mailbox == "" {
		if work.Message != 0 {
			return sel, domain.Errorf(domain.Invalid, "a message is named by its UID in a mailbox")
		}
		return sel, nil
	}
	if work.Message != 0 {
		sel.UIDs = domain.UIDs(work.Message)
	}
	return sel, c.accounts.View(ctx, work.Account, func(s *account.State) error {
		m, ok := s.Mailbox(work.Mailbox)
		if !ok {
			return domain.Errorf(domain.NotFound, "there is no mailbox %s", work.Mailbox)
		}
		sel.Mailbox = m.ID
		return nil
	})
}

// runReindex is search-reindex.
func (c *core) runReindex(ctx context.Context, job worker.Job) (any, error) {
	var work reindexWork
	if err := parameters(job.Parameters, &work); err != nil {
		return nil, err
	}
	var f found[search.Reindexed, struct{}]
	sel, err := c.reindexed(ctx, &work)
	if err == nil {
		err = c.extractAgain(ctx, sel, work.Check)
	}
	if err == nil {
		f.Sum, err = c.search.Reindex(ctx, searchRows{c.runner}, sel, work.Check, func(done search.Reindexed) { job.Progress(done) })
	}
	return f, err
}

// reindex does the same in this process, once the index has caught up.
func (c *core) reindex(ctx context.Context, work reindexWork) (search.Reindexed, error) {
	sel, err := c.reindexed(ctx, &work)
	if err != nil {
		return search.Reindexed{}, err
	}
	last, err := c.streams.Last(ctx, sel.Account)
	if err == nil {
		err = c.runner.WaitFor(ctx, search.Name, c.streams.StreamOf(sel.Account), last.Seq)
	}
	if err != nil {
		return search.Reindexed{}, err
	}
	if err := c.extractAgain(ctx, sel, work.Check); err != nil {
		return search.Reindexed{}, err
	}
	return c.search.Reindex(ctx, searchRows{c.runner}, sel, work.Check, nil)
}

// searchRows joins the views that reindexing needs.
type searchRows struct{ *projections.Runner }

// Emails yields the emails of a selection from the mailbox view.
func (r searchRows) Emails(ctx context.Context, sel search.Selection) iter.Seq2[search.Email, error] {
	return func(yield func(search.Email, error) bool) {
		rows, err := r.ReaderOf(mailboxes.Name, sel.Account)
		if err != nil {
			yield(search.Email{}, err)
			return
		}
		boxes := []domain.MailboxID{sel.Mailbox}
		if sel.Mailbox == 0 {
			state, _, err := mailboxes.Load(ctx, rows, sel.Account)
			if err != nil {
				yield(search.Email{}, fmt.Errorf("read the mailboxes: %w", err))
				return
			}
			boxes = boxes[:0]
			for id := range state.Mailboxes {
				boxes = append(boxes, id)
			}
		}
		uids := sel.UIDs
		if uids == nil {
			uids = domain.UIDSet{domain.AllUIDs}
		}
		for _, box := range boxes {
			for e, err := range mailboxes.Emails(ctx, rows, sel.Account, box, uids, mailboxes.WantSummary|mailboxes.WantBlob) {
				if !yield(search.Email{ID: e.Email, Blob: e.Blob, Summary: e.Summary}, err) || err != nil {
					return
				}
			}
		}
	}
}
