package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/streampost/streampost/adapters/imap"
	"github.com/streampost/streampost/adapters/tika"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/extracts"
	"github.com/streampost/streampost/projections/search"
)

// startExtractor has Tika read attachments in the background.
func (c *core) startExtractor() error {
	cfg := c.cfg.Search.Tika
	ask := tika.Config{URL: cfg.URL, Time: cfg.Time}
	if cfg.CA != "" {
		roots, err := authorities("search.tika.ca", cfg.CA)
		if err != nil {
			return err
		}
		ask.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	client, err := tika.New(ask)
	if err != nil {
		return err
	}
	c.extractor = c.extracts.Worker(extracts.Config{
		Extractor: client, Blobs: c.store, Rows: c.runner, Streams: c.streams.Streams(), Types: cfg.Types, Logger: c.log.With("part", "attachments"),
		Limits: extracts.Limits{File: int64(cfg.File), Text: int64(cfg.Text), Parallel: cfg.Parallel},
	})
	c.group.Start(lifecycle.Part{Name: "attachments", Run: c.extractor.Run, Stop: func(context.Context) error { client.Close(); return nil }})
	return nil
}

// dropExtracts drops what was extracted while Tika was configured: nobody keeps it up to date, so it would outlive erased accounts.
func (c *core) dropExtracts(ctx context.Context, views projections.Views) error {
	if c.inspecting {
		return nil
	}
	all, err := views.Generations(ctx)
	if err != nil {
		return err
	}
	for _, g := range slices.DeleteFunc(all, func(g projections.Generation) bool { return g.Projection != extracts.Name }) {
		c.log.Info("what was extracted from attachments is dropped: search.tika.url is not set", "view", g.String())
		if err := views.Drop(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// extracted is what IMAP SEARCH reads beside messages; nil without Tika.
func (c *core) extracted() imap.Extracts {
	if c.extracts == nil {
		return nil
	}
	return c.extracts.Index(c.runner, nil)
}

// extractAgain has attachments of a whole account read again: all, or those that were given up.
func (c *core) extractAgain(ctx context.Context, sel search.Selection, failed bool) error {
	if c.extracts == nil || sel.Mailbox != 0 {
		return nil
	}
	_, err := c.extracts.Again(ctx, c.runner, sel.Account, failed)
	return err
}

func (c *core) extractSamples() []metrics.Sample {
	if c.extractor == nil {
		return nil
	}
	s := c.extractor.Stats()
	return metrics.Extracts(s.Extracted, s.Failed, s.GivenUp, s.Octets, s.Refused, s.TooLarge, s.Waiting, s.Away == nil)
}

// lookAtExtractor is a health check. Attachments that cannot be read delay no mail, so it is never worse than degraded.
func (c *core) lookAtExtractor(context.Context) (health.Status, string) {
	if c.extractor != nil {
		if s := c.extractor.Stats(); s.Away != nil {
			return health.Degraded, fmt.Sprintf("attachments of at least %d messages wait to be read: %s", s.Waiting, s.Away)
		}
	}
	return health.Healthy, ""
}
