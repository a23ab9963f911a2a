package main

import (
	"context"
	"os"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/warnings"
)

// startWarnings has users warned of full accounts, where that is configured.
func (c *core) startWarnings(ctx context.Context) error {
	percent, err := c.cfg.Quota.Percentages()
	if err != nil || len(percent) == 0 || c.accounts == nil {
		return err
	}
	text := warnings.Usual
	if file := c.cfg.Quota.WarnTemplate; file != "" {
		read, err := os.ReadFile(file)
		if err != nil {
			return domain.Wrap(domain.Invalid, err, "read quota.warn_template")
		}
		text = string(read)
	}
	template, err := warnings.Parse(text)
	if err != nil {
		return err
	}
	w := warnings.New(warnings.Config{
		Accounts: c.accounts, Address: c.addressOf, Policy: account.WarnPolicy{Percent: percent, Grace: int64(c.cfg.Quota.WarnGrace.Seconds())}, Template: template,
		Hostname: c.hostname(), Logger: c.log.With("part", "quota warnings"), Count: c.metrics.Warned,
	})
	return c.patiently(ctx, func() error { return c.listeners.Add(ctx, w.Listener()) })
}

// addressOf is the login name of an account.
func (c *core) addressOf(ctx context.Context, id domain.AccountID) (string, error) {
	found, err := c.directory.Lookup(ctx, string(id))
	return found.Login, err
}
