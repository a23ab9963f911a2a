package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/streampost/streampost/adapters/imap"
	"github.com/streampost/streampost/adapters/opensearch"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/adapters/webhook"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections/tasks/worker"
	"github.com/streampost/streampost/streams/listen"
)

// openListeners opens the dead letters and starts the listeners that are configured. While a core is only being looked at, none runs.
func (c *core) openListeners(ctx context.Context) (err error) {
	cfg := listen.Config{Log: c.streams, Logger: c.log}
	if c.nats != nil && c.nodes == nil { // as the log: a cluster syncs before it answers, and this node's copy may not be there yet
		cfg.Syncer = c.nats
	}
	if err := c.patiently(ctx, func() error { c.listeners, err = listen.Open(ctx, cfg); return err }); err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "listeners", Stop: c.listeners.Close})
	if len(c.cfg.Search.OpenSearch.URL) > 0 {
		if err := c.openCluster(); err != nil {
			return err
		}
	}
	c.webhooks, err = makeWebhooks(&c.cfg.Listeners, c.addressOf, webhook.Config{Logger: c.log.With("part", "webhooks"), Count: c.metrics.Posted})
	if c.inspecting { // what is wrong with a webhook is nothing to whoever only looks
		return nil
	}
	if err != nil {
		return err
	}
	if c.extracts != nil {
		if err := c.startExtractor(); err != nil {
			return err
		}
	}
	for _, start := range []func(context.Context) error{c.startWarnings, c.startWebhooks, c.startLearning, c.startExport, c.startPublishing} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	if c.cluster != nil {
		c.group.Start(lifecycle.Part{Name: "OpenSearch", Run: c.cluster.Run})
		if err := c.cluster.Start(ctx, c.listeners); err != nil {
			return err
		}
	}
	return c.patiently(ctx, func() error { return c.tellLeftovers(ctx) })
}

// tellLeftovers warns of listeners that have a place in the log and are not configured any more.
func (c *core) tellLeftovers(ctx context.Context) error {
	known, err := c.listeners.Known(ctx)
	if err != nil {
		return err
	}
	for _, s := range c.listeners.Status(ctx) {
		known = slices.DeleteFunc(known, func(id string) bool { return id == s.ID })
	}
	for _, id := range known {
		c.log.Warn("a listener has a place in the log and is not configured: it is kept for its return", "listener", id, "hint", "streampost listener remove "+id+" leaves nothing of it behind")
	}
	return nil
}

func (c *core) openCluster() (err error) {
	cfg := c.cfg.Search.OpenSearch
	open := opensearch.Config{
		URLs: cfg.URL, User: cfg.User, Password: cfg.Password.Reveal(), Prefix: cfg.Prefix, Shards: cfg.Shards, Replicas: cfg.Replicas,
		Blobs: c.store, Emails: c.emails, Logger: c.log.With("part", "opensearch"),
	}
	if cfg.CA != "" {
		roots, err := authorities("search.opensearch.ca", cfg.CA)
		if err != nil {
			return err
		}
		open.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	c.clusterTurn = make(chan struct{}, 1)
	c.cluster, err = opensearch.New(open)
	return err
}

// emails gives the emails that an account has, or one of its mailboxes, and where its log stands.
func (c *core) emails(ctx context.Context, id domain.AccountID, mailbox string) (all map[domain.EmailID]bool, tx domain.Tx, err error) {
	if c.accounts == nil {
		return nil, 0, domain.Errorf(domain.Unavailable, "the accounts cannot be read")
	}
	all = map[domain.EmailID]bool{}
	err = c.accounts.View(ctx, id, func(s *account.State) error {
		tx = s.Tx
		found := mailbox == ""
		for _, m := range s.Mailboxes {
			if mailbox != "" && m.Name != mailbox {
				continue
			}
			found = true
			for _, email := range m.Email {
				all[email] = true
			}
		}
		if !found {
			return domain.Errorf(domain.NotFound, "the account has no mailbox %q", mailbox)
		}
		return nil
	})
	return all, tx, err
}

// indexes asks one index after the other until one knows something of the account.
type indexes []imap.Index

// Answer is of imap.Index.
func (x indexes) Answer(ctx context.Context, id domain.AccountID, questions []search.Question) (answers *search.Answers, err error) {
	for _, index := range x {
		answers, err = index.Answer(ctx, id, questions)
		if err == nil && answers.Next > 0 || ctx.Err() != nil {
			break
		}
	}
	return answers, err
}

// searchIndex is what IMAP SEARCH asks; nil when messages are read.
func (c *core) searchIndex() imap.Index {
	var all indexes
	if c.cluster != nil {
		all = append(all, c.cluster)
	}
	if c.search != nil {
		all = append(all, c.search.Index(c.runner))
	}
	switch {
	case len(all) == 0:
		return nil
	case c.extracts != nil:
		return c.extracts.Index(c.runner, all)
	}
	return all
}

// listenerKinds are the tasks about listeners.
func (c *core) listenerKinds() []worker.Kind {
	redeliver := worker.Kind{
		Help: "Give dead letters to their listeners again; parameters: listener, account, cause, before, after, id, limit, rate", Local: true, Resumable: true, Check: c.checkLetters, Run: c.redeliver,
	}
	kinds := []worker.Kind{
		{Name: webadmin.TaskLettersDrop, Help: "Drop dead letters; parameters as of a redelivery", Destroys: true, Resumable: true, Check: c.checkLetters, Run: c.dropLetters},
		{Name: webadmin.TaskReindex, Help: "Make the OpenSearch index anew, or of one account, mailbox or message; parameters: account, mailbox, message", Local: true, Resumable: true, Join: true, Check: c.checkCluster, Run: c.reindexCluster},
	}
	for _, name := range []string{webadmin.TaskRedeliverAll, webadmin.TaskRedeliverGroup, webadmin.TaskRedeliverOne} {
		redeliver.Name = name
		kinds = append(kinds, redeliver)
	}
	return kinds
}

func (c *core) checkLetters(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var sel listen.Selection
	if err := parameters(text, &sel); err != nil {
		return nil, "", err
	}
	if sel.Account != "" {
		id, err := c.accountID(ctx, string(sel.Account))
		if err != nil {
			return nil, "", err
		}
		sel.Account = domain.AccountID(id)
	}
	if sel.Rate < 0 {
		return nil, "", domain.Errorf(domain.Invalid, "a rate cannot be negative")
	}
	return kept(cmp.Or(string(sel.Account), sel.Listener), sel)
}

func (c *core) redeliver(ctx context.Context, job worker.Job) (any, error) {
	var sel listen.Selection
	if err := parameters(job.Parameters, &sel); err != nil {
		return nil, err
	}
	done, err := c.listeners.Redeliver(ctx, sel, letterProgress(job))
	result := redelivered{Redelivered: done, Group: sel.Listener, InsertionID: nonzero(sel.ID)}
	if sel.Limit > 0 {
		result.Options = &runningOptions{sel.Limit}
	}
	return result, err
}

// redelivered is what a redelivery did, in James's words.
type redelivered struct {
	listen.Redelivered
	Group       string          `json:"group,omitempty"`
	InsertionID string          `json:"insertionId,omitempty"`
	Options     *runningOptions `json:"runningOptions,omitempty"`
}

type runningOptions struct {
	Limit uint64 `json:"limit"`
}

func letterProgress(job worker.Job) func(done, total uint64) {
	return func(done, total uint64) {
		job.Progress(webadmin.Progress{Done: done, Total: total, Unit: "dead letters"})
	}
}

// dropped is what a drop did.
type dropped struct {
	Dropped uint64 `json:"droppedCount"`
}

func (c *core) dropLetters(ctx context.Context, job worker.Job) (any, error) {
	var sel listen.Selection
	if err := parameters(job.Parameters, &sel); err != nil {
		return nil, err
	}
	n, err := c.listeners.Drop(ctx, sel, letterProgress(job))
	return dropped{n}, err
}

func (c *core) checkCluster(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var order webadmin.ReindexOrder
	if err := parameters(text, &order); err != nil {
		return nil, "", err
	}
	if c.cluster == nil {
		return nil, "", &domain.Error{Kind: domain.Unavailable, Msg: "there is no index in OpenSearch", Hint: "set search.opensearch.url"}
	}
	_, err := c.clusterScope(ctx, &order)
	if err != nil {
		return nil, "", err
	}
	return kept(order.Account, order)
}

// clusterScope finds what is meant, and names the account by its id.
func (c *core) clusterScope(ctx context.Context, order *webadmin.ReindexOrder) (scope opensearch.Scope, err error) {
	switch {
	case order.Account == "" && order.Mailbox != "", order.Mailbox == "" && order.Message != 0:
		return scope, domain.Errorf(domain.Invalid, "a mailbox is one of an account, and a message is named by its UID in a mailbox")
	case order.Account == "":
		return scope, nil
	}
	if order.Account, err = c.accountID(ctx, order.Account); err != nil {
		return scope, err
	}
	scope = opensearch.Scope{Account: domain.AccountID(order.Account), Mailbox: order.Mailbox}
	if order.Message == 0 {
		return scope, nil
	}
	return scope, c.accounts.View(ctx, scope.Account, func(s *account.State) error {
		m, ok := s.Mailbox(order.Mailbox)
		if !ok {
			return domain.Errorf(domain.NotFound, "there is no mailbox %s", order.Mailbox)
		}
		i, ok := m.Index(order.Message)
		if !ok {
			return domain.Errorf(domain.NotFound, "mailbox %s has no message %d", order.Mailbox, order.Message)
		}
		scope.Email = m.Email[i]
		return nil
	})
}

func (c *core) reindexCluster(ctx context.Context, job worker.Job) (any, error) {
	var order webadmin.ReindexOrder
	if err := parameters(job.Parameters, &order); err != nil {
		return nil, err
	}
	return c.intoCluster(ctx, job, order, func(uint64) {})
}

// intoCluster fills OpenSearch, one order after the other: two that made the index anew would switch and delete what the other fills.
func (c *core) intoCluster(ctx context.Context, job worker.Job, order webadmin.ReindexOrder, pace func(done uint64)) (sum opensearch.Reindexed, err error) {
	scope, err := c.clusterScope(ctx, &order)
	if err != nil {
		return sum, err
	}
	select {
	case c.clusterTurn <- struct{}{}:
		defer func() { <-c.clusterTurn }()
	case <-ctx.Done():
		return sum, ctx.Err()
	}
	unit := "entries"
	if scope.Account != "" {
		unit = "messages"
	}
	progress := func(done, total uint64) {
		job.Progress(webadmin.Progress{Done: done, Total: total, Unit: unit})
		pace(done)
	}
	if scope.Account != "" {
		return c.cluster.Repair(ctx, c.listeners, c.streams, scope, progress)
	}
	return c.cluster.Reindex(ctx, c.listeners, progress)
}

func (c *core) listenerSamples(ctx context.Context) (all []metrics.Sample) {
	for _, s := range c.listeners.Status(ctx) {
		all = append(all, metrics.Listener(s.ID, s.Lag, s.Handled, s.Retries, s.DeadLetters, !s.Outage)...)
	}
	if groups, err := c.listeners.Groups(ctx); err == nil {
		for _, g := range groups {
			all = append(all, metrics.DeadLetters(g.Listener, g.Count))
		}
	}
	if c.cluster != nil {
		s := c.cluster.Stats()
		all = append(all, metrics.OpenSearch(s.Written, s.Repeated, s.Stubs, s.Answered, s.Open, s.Failed)...)
	}
	return all
}

// lookAtListeners is a health check. A listener that cannot work delays no mail, so nothing here is worse than degraded.
func (c *core) lookAtListeners(ctx context.Context) (health.Status, string) {
	for _, s := range c.listeners.Status(ctx) {
		switch {
		case s.Outage:
			return health.Degraded, fmt.Sprintf("listener %s waits for what it feeds, %d entries behind: %s", s.ID, s.Lag, s.Error)
		case s.Lag > maxLag:
			return health.Degraded, fmt.Sprintf("listener %s is %d entries behind", s.ID, s.Lag)
		}
	}
	return health.Healthy, ""
}

func (c *core) lookAtDeadLetters(ctx context.Context) (health.Status, string) {
	n, err := c.listeners.Count(ctx)
	switch {
	case err != nil:
		return health.Degraded, err.Error()
	case n > 0:
		return health.Degraded, fmt.Sprintf("%d dead letters wait: see streampost deadletter groups", n)
	}
	return health.Healthy, ""
}
