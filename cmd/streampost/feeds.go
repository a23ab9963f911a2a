package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/export"
	"github.com/streampost/streampost/adapters/learner"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/adapters/webhook"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections/learning"
	"github.com/streampost/streampost/projections/telling"
	"github.com/streampost/streampost/streams/listen"
)

// addressBook gives the present address of an account.
type addressBook = func(context.Context, domain.AccountID) (string, error)

// makeWebhooks makes the webhooks of a configuration, and looks at the selection of the export. Errors: domain.Invalid.
func makeWebhooks(cfg *config.Listeners, address addressBook, shared webhook.Config) (all []*webhook.Webhook, err error) {
	for _, text := range cfg.Webhooks {
		h, err := config.ParseWebhook(text)
		if err != nil {
			return nil, domain.Wrap(domain.Invalid, err, "read listeners.webhooks")
		}
		hook := webhook.Hook{
			Name: h.Name, URL: h.URL, Secret: h.Secret, Timeout: h.Timeout, Attempts: h.Attempts, Private: h.Private,
			Source: telling.Source{Address: address, From: listen.New, Events: feed.Selection{Kinds: h.Events, Accounts: h.Accounts, Domains: h.Domains, Content: h.Content}},
		}
		if h.Beginning {
			hook.Source.From = listen.Beginning
		}
		if hook.Roots, err = trusted("listeners.webhooks", h.CA); err != nil {
			return nil, err
		}
		made, err := webhook.New(hook, shared)
		if err != nil {
			return nil, err
		}
		all = append(all, made)
	}
	return all, (&feed.Selection{Kinds: cfg.Export.Events}).Check()
}

// trusted reads the authorities in a file; nil, which is those of the operating system, without one.
func trusted(key, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	return authorities(key, file)
}

func (c *core) startWebhooks(ctx context.Context) error {
	if c.directory == nil {
		return nil
	}
	for _, w := range c.webhooks {
		c.group.Start(lifecycle.Part{Name: "webhook", Stop: func(context.Context) error { w.Close(); return nil }})
		if err := c.patiently(ctx, func() error { return c.listeners.Add(ctx, w.Listener()) }); err != nil {
			return err
		}
	}
	return nil
}

// startLearning has a spam filter learn from users, where that is configured.
func (c *core) startLearning(ctx context.Context) error {
	cfg := c.cfg.Listeners.Learning
	if cfg.URL == "" || c.accounts == nil {
		return nil
	}
	roots, err := trusted("listeners.learning.ca", cfg.CA)
	if err != nil {
		return err
	}
	client := learner.New(learner.Config{URL: cfg.URL, Rspamd: cfg.Kind == "rspamd", Password: cfg.Password.Reveal(), Roots: roots, Time: cfg.Time})
	c.group.Start(lifecycle.Part{Name: "spam learning", Stop: func(context.Context) error { client.Close(); return nil }})
	l := learning.New(learning.Config{
		Accounts: c.accounts, Address: c.addressOf, Learner: client, Most: int64(cfg.Message), From: from(cfg.From), Logger: c.log.With("part", "spam learning"), Count: c.metrics.Learnt,
	})
	return c.patiently(ctx, func() error { return c.listeners.Add(ctx, l.Listener()) })
}

// startExport writes events into files, where that is configured.
func (c *core) startExport(ctx context.Context) error {
	cfg := c.cfg.Listeners.Export
	if cfg.Directory == "" || c.directory == nil {
		return nil
	}
	x, err := export.New(export.Config{
		Directory: cfg.Directory, Size: int64(cfg.Size), Age: cfg.Age, Logger: c.log.With("part", "event export"), Count: c.metrics.Exported,
		Source: telling.Source{Address: c.addressOf, From: from(cfg.From), Events: feed.Selection{Kinds: cfg.Events, Accounts: cfg.Accounts, Domains: cfg.Domains, Content: cfg.Content}},
	})
	if err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "event export", Run: x.Run})
	return c.patiently(ctx, func() error { return c.listeners.Add(ctx, x.Listener()) })
}

// startPublishing puts events into a stream of the operator's, where that is configured.
func (c *core) startPublishing(ctx context.Context) error {
	cfg := c.cfg.Listeners.Publish
	if cfg.Stream == "" || c.directory == nil {
		return nil
	}
	publish := natsd.FeedConfig{
		Stream: cfg.Stream, Subject: cfg.Subject, Count: c.metrics.Published,
		Source: telling.Source{Address: c.addressOf, From: from(cfg.From), Events: feed.Selection{Kinds: cfg.Events, Accounts: cfg.Accounts, Domains: cfg.Domains, Content: cfg.Content}},
	}
	if cfg.URL == "" {
		if err := c.refuseOwnStream(ctx, cfg.Stream); err != nil {
			return err
		}
		publish.Conn = c.conn
	} else {
		roots, err := trusted("listeners.publish.ca", cfg.CA)
		if err != nil {
			return err
		}
		publish.Other = &natsd.ExternalConfig{URL: cfg.URL, Credentials: cfg.Credentials, User: cfg.User, Password: cfg.Password.Reveal(), Logger: c.log.With("part", "event publishing")}
		if roots != nil {
			publish.Other.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		}
	}
	f, err := natsd.NewFeed(publish)
	if err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "event publishing", Stop: f.Close})
	return c.patiently(ctx, func() error { return c.listeners.Add(ctx, f.Listener()) })
}

// refuseOwnStream keeps events out of the server's own streams, which would take them for their own entries.
func (c *core) refuseOwnStream(ctx context.Context, name string) error {
	js := c.streams.JetStream()
	s, err := js.Stream(ctx, name)
	if err != nil { // It may come later.
		return nil
	}
	if strings.HasPrefix(s.CachedInfo().Config.Description, "Streampost") || slices.Contains(c.streams.Streams(), name) || strings.HasPrefix(name, "KV_") || strings.HasPrefix(name, "OBJ_") {
		return domain.Errorf(domain.Invalid, "listeners.publish.stream: %s is one of the server's own", name)
	}
	return nil
}

// from is where a new listener begins.
func from(word string) listen.From {
	if word == "beginning" {
		return listen.Beginning
	}
	return listen.New
}

// webhooksBackend is the webhooks as the admin door wants them.
type webhooksBackend []*webhook.Webhook

func (all webhooksBackend) States() (states []webadmin.Webhook) {
	for _, w := range all {
		states = append(states, webadmin.Webhook(w.State()))
	}
	return states
}

func (all webhooksBackend) Ping(ctx context.Context, name string) (webadmin.Pinged, error) {
	for _, w := range all {
		if w.State().Name == name {
			return webadmin.Pinged(w.Ping(ctx)), nil
		}
	}
	return webadmin.Pinged{}, &domain.Error{Kind: domain.NotFound, Msg: "there is no webhook " + name, Hint: "streampost webhook list tells those of listeners.webhooks"}
}
