package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/blob"
)

// core is a server without its listeners: data directory, log, blobs, views and doors. Commands that work on a data directory without a
// running server open one too.
type core struct {
	cfg       *config.Config
	log       *slog.Logger
	metrics   *metrics.Metrics
	group     *lifecycle.Group
	failpoint func(string)
	// inspecting opens a log that a server would refuse, and goes on without the doors when they cannot be opened.
	inspecting bool
	data       *dataDir
	nats       *natsd.Server   // nil with an external server
	external   *natsd.External // nil with the embedded one
	streams    *streams.Log
	space      *health.Room
	blobs      *blobfs.Bucket
	runner     *projections.Runner
	accounts   *door.Accounts
	directory  *door.Directory
}

// startTimeout bounds the recovery of the log and the replay of the directory.
const startTimeout = 15 * time.Minute

// newCore takes the data directory.
func newCore(cfg *config.Config, log *slog.Logger) (*core, error) {
	c := &core{cfg: cfg, log: log, metrics: metrics.New(), group: lifecycle.New(log), failpoint: failpoint()}
	data, err := openData(cfg.Data)
	if err != nil {
		return nil, err
	}
	c.data = data
	c.group.Start(lifecycle.Part{Name: "data directory", Stop: func(context.Context) error { return data.close() }})
	return c, nil
}

// open opens everything in order. The caller closes the core also when it fails.
func (c *core) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, open := range []func(context.Context) error{c.openLog, c.openBlobs, c.openViews} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	err := c.openDoors(ctx)
	if err == nil { // The projectors start when there is somebody to hear from them.
		c.runner.Notify(c.accounts.Observe)
		c.runner.OnRebuilt(c.accounts.Rebuilt)
	}
	c.group.Start(lifecycle.Part{Name: "projectors", Run: c.runner.Run})
	if err == nil {
		c.group.Start(lifecycle.Part{Name: "erasures", Run: c.finishErasures})
		c.metrics.Scrape(c.samples)
	} else if c.inspecting {
		c.log.Error("the directory cannot be read: accounts are known by their ids only", "err", err)
		err = nil
	}
	return err
}

func (c *core) close() error { return c.group.Stop(c.cfg.Drain) }

func (c *core) openLog(ctx context.Context) error {
	cfg := c.cfg.Streams
	open := streams.Config{
		Topology:  streams.Topology{Prefix: cfg.Prefix, Shards: cfg.Shards, Replicas: cfg.Replicas},
		Logger:    c.log,
		Failpoint: c.failpoint,
		Observe:   func(r streams.Round) { c.metrics.Round(r.Stream, r.Appends, r.Conflicts, r.Publish, r.Sync) },
	}
	if cfg.URL == "" {
		server, err := natsd.Start(ctx, natsd.Config{Dir: c.data.join("log"), Listen: cfg.Listen, User: cfg.User, Password: cfg.Password.Reveal(), Logger: c.log})
		if err != nil {
			return err
		}
		c.nats, open.Conn, open.Syncer = server, server.Conn(), server
		c.group.Start(lifecycle.Part{Name: "NATS server", Stop: server.Close})
	} else {
		external, err := c.dial(ctx)
		if err != nil {
			return err
		}
		c.external, open.Conn = external, external.Conn()
		c.group.Start(lifecycle.Part{Name: "NATS connection", Stop: external.Close})
		if d := external.Durability(ctx); !d.Safe && !cfg.AllowUnsynced {
			return &domain.Error{
				Kind: domain.Invalid, Msg: "the external NATS is not known to sync its log before it answers: " + d.String(),
				Hint: "set sync_interval: always in the jetstream section of every server and list their monitoring addresses in streams.monitor, or accept the loss with streams.allow_unsynced",
			}
		} else if !d.Safe {
			c.log.Warn("MAIL THAT WAS ACCEPTED MAY BE LOST: the external NATS is not known to sync its log before it answers", "found", d.String())
		}
	}
	master, err := c.masterKeys()
	if err != nil {
		return err
	}
	open.Master = master
	c.streams, err = streams.Open(ctx, open)
	if c.inspecting && domain.Is(err, domain.Corrupt) {
		c.log.Error("the log is damaged: it is opened for reading what is left", "err", err)
		open.Damaged = true
		c.streams, err = streams.Open(ctx, open)
	}
	if err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "log", Stop: c.streams.Close})
	return nil
}

// dial connects to an external NATS.
func (c *core) dial(ctx context.Context) (*natsd.External, error) {
	cfg := c.cfg.Streams
	external := natsd.ExternalConfig{
		URL: cfg.URL, Credentials: cfg.Credentials, User: cfg.User, Password: cfg.Password.Reveal(), Token: cfg.Token.Reveal(), Monitor: cfg.Monitor, Logger: c.log,
	}
	if cfg.CA != "" {
		text, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, domain.Wrap(domain.Invalid, err, "read streams.ca")
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, domain.Errorf(domain.Invalid, "streams.ca: %s holds no PEM certificate", cfg.CA)
		}
		external.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return natsd.Dial(ctx, external)
}

func (c *core) masterKeys() (*streams.MasterKeys, error) {
	if value := c.cfg.Keys.Master.Reveal(); value != "" {
		return streams.ParseMaster(value)
	}
	keys := c.data.join("keys")
	if found, err := filepath.Glob(filepath.Join(escaped(keys), "*.key")); err == nil && len(found) == 0 && c.hasKeys() {
		return nil, &domain.Error{ // a new key would open nothing, and would look like the one that is missing
			Kind: domain.Unavailable, Msg: "the log has keys, but there is no master key in " + keys,
			Hint: "restore keys/ from its backup, or give the master key in STREAMPOST_KEYS_MASTER; without it nothing can be read",
		}
	}
	return streams.LoadMaster(keys)
}

// hasKeys reports whether the embedded log has its stream of keys, which is made after the first master key.
func (c *core) hasKeys() bool {
	found, err := filepath.Glob(filepath.Join(escaped(c.data.join("log")), "jetstream", "*", "streams", escaped(c.cfg.Streams.Prefix)+"KEYS"))
	return err == nil && len(found) > 0
}

// escaped makes a path that filepath.Glob takes literally.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func (c *core) openBlobs(ctx context.Context) (err error) {
	c.space = health.NewRoom(c.data.path, uint64(c.cfg.Reserve))
	c.blobs, err = blobfs.Open(c.data.join("blobs"), blobfs.Options{Failpoint: c.failpoint})
	return err
}

func (c *core) openViews(ctx context.Context) error {
	views, err := sqlview.Open(c.data.join("views"), sqlview.Options{Logger: c.log})
	if err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "view files", Stop: func(context.Context) error { return views.Close() }})
	c.runner = projections.NewRunner(projections.Config{
		Log:         c.streams,
		Views:       views,
		Projections: []projections.Projection{mailboxes.New(), counters.New(), quota.New(), dirview.New()},
		Logger:      c.log,
		Failpoint:   c.failpoint,
	})
	return nil
}

// finishErasures completes what a crash may have cut short. It waits for views, so nothing waits for it.
func (c *core) finishErasures(ctx context.Context) error {
	n, err := c.directory.FinishErasures(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.log.Error("an erasure is not complete: it is tried again at the next start", "err", err)
	case n > 0:
		c.log.Debug("erased accounts hold nothing readable", "accounts", n)
	}
	return nil
}

func (c *core) openDoors(ctx context.Context) error {
	blobSecret, err := c.streams.Secret(ctx, "blobs")
	if err != nil {
		return err
	}
	scramSecret, err := c.streams.Secret(ctx, "scram")
	if err != nil {
		return err
	}
	c.accounts, c.directory, err = door.New(ctx, door.Config{
		Log:        c.streams,
		Views:      rows{c.streams, c.runner},
		Blobs:      roomyBlobs{blob.New(c.blobs, blobSecret), c.space},
		Logger:     c.log,
		CacheBytes: int64(c.cfg.Views.Hot),
		Postmaster: c.cfg.Postmaster,
		Secret:     scramSecret[:],
	})
	return err
}

// samples are the metrics that are read at each scrape.
func (c *core) samples() []metrics.Sample {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s := c.accounts.Stats()
	all := metrics.Door(s.Commands, s.Transactions, s.Conflicts, s.Loads, s.Evictions, s.Hot, s.HotBytes)
	for _, p := range c.runner.Status(ctx) {
		all = append(all, metrics.Lag(p.Name, p.Stream, p.LagEntries, p.LagSeconds, p.State != projections.Stopped)...)
	}
	for _, stream := range c.streams.Streams() {
		if head, err := c.streams.Head(ctx, stream); err == nil {
			all = append(all, metrics.LogHead(stream, uint64(head)))
		}
	}
	if space, err := health.FreeSpace(c.data.path); err == nil {
		all = append(all, metrics.DiskFree(space.Free))
	}
	return all
}

// exists says whether a data directory has been used by a server.
func exists(data string) error {
	info, err := os.Stat(filepath.Join(data, "log"))
	if errors.Is(err, fs.ErrPermission) {
		return &domain.Error{Kind: domain.Denied, Msg: "the data directory cannot be read", Err: err, Hint: "run the command as the user who runs the server"}
	}
	if err != nil || !info.IsDir() {
		return &exitError{exitUnreachable, fmt.Errorf("no server has run on %s: start one with streampost serve, or point --data or --url to it", data)}
	}
	return nil
}
