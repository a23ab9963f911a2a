package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/adapters/blobcache"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/opensearch"
	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/postgres"
	"github.com/streampost/streampost/adapters/webhook"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/batv"
	domainsearch "github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/domain/srs"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/extracts"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/ordering"
	"github.com/streampost/streampost/projections/promotion"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/replicas"
	"github.com/streampost/streampost/projections/search"
	"github.com/streampost/streampost/projections/sieve"
	"github.com/streampost/streampost/projections/snapshots"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/projections/tasks/worker"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/projections/tlsreports"
	"github.com/streampost/streampost/projections/vault"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/archive"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/listen"
	"github.com/streampost/streampost/streams/nodes"
	streamtrace "github.com/streampost/streampost/streams/trace"
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
	restoring  bool // the log is to be filled from its archive
	data       *dataDir
	nats       *natsd.Server      // nil with an external server
	external   *natsd.External    // nil with the embedded one
	nodes      *nodes.Nodes       // nil where the server stands alone
	replicas   *replicas.Replicas // likewise
	paused     pauses
	copies     *copies    // nil where the server stands alone
	conn       *nats.Conn // to either
	streams    *streams.Log
	space      *health.Room
	audit      *audit // nil when the log is not verified in the background
	blobs      bucket
	writable   *lately          // whether blobs can be stored
	cache      *blobcache.Cache // nil without one
	store      *blob.Store      // reads what is in the cache there
	stored     *blob.Store      // always reads from the bucket
	runner     *projections.Runner
	kept       bucket // of snapshots
	snapshots  *snapshots.Store
	maker      *snapshots.Maker
	archived   archive.Buckets      // where the archive lies; empty where there is to be none
	archive    *archive.Store       // nil without one
	archiver   *archive.Archiver    // likewise
	search     *search.Projection   // nil when it is switched off
	extracts   *extracts.Projection // nil without search.tika
	extractor  *extracts.Worker     // likewise
	accounts   *door.Accounts
	tables     *ordering.Tables
	filer      *filing.Filer
	directory  *door.Directory
	tasks      *worker.Worker
	listeners  *listen.Listeners
	webhooks   []*webhook.Webhook
	tracing    *streamtrace.Log      // nil where nothing is traced
	mailroom   mailroom              // of mail for other servers
	batv       batv.Secret           // likewise, of marks of what users send
	srs        srs.Secret            // of senders of what is sent on
	tlsReports *tlsreports.Collector // nil without
	cluster    *opensearch.Index     // nil without search.opensearch
	promotions *promotions           // nil where the server stands alone
	controller *promotion.Controller // likewise, and without failover

	clusterTurn chan struct{} // holds something while an order writes into it anew
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
	for _, open := range []func(context.Context) error{c.openLog, c.openBlobs, c.openArchive, c.openSnapshots, c.openViews} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	if err := c.openTrace(ctx); err != nil {
		return err
	}
	err := c.openDoors(ctx)
	if err == nil { // The projectors start when there is somebody to hear from them.
		c.runner.Notify(c.accounts.Observe)
		c.runner.OnRebuilt(func(stream, projection string, id domain.AccountID) {
			if projection == mailboxes.Name { // the only one that the doors keep anything of
				c.accounts.Rebuilt(stream, id)
			}
		})
	}
	c.group.Start(lifecycle.Part{Name: "projectors", Run: c.runner.Run})
	if err == nil && c.nodes != nil {
		if err := c.openReplicas(ctx); err != nil {
			return err
		}
	}
	if err := c.openListeners(ctx); err != nil {
		return err
	}
	if err := c.openQueue(ctx); err != nil {
		return err
	}
	if err := c.openTasks(); err != nil {
		return err
	}
	if err == nil {
		c.group.Start(lifecycle.Part{Name: "erasures", Run: c.directory.FollowErasures})
		if !c.inspecting && c.cfg.Snapshots.Enabled {
			c.group.Start(lifecycle.Part{Name: "snapshots", Run: c.maker.Run})
		}
		if !c.inspecting {
			c.group.Start(lifecycle.Part{Name: "regular work", Run: c.regularly})
		}
		if c.cfg.Streams.VerifyEvery > 0 && !c.inspecting {
			c.audit = c.newAudit()
			c.group.Start(lifecycle.Part{Name: "log verification", Run: c.audit.run})
		}
		c.metrics.Scrape(c.samples)
		err = c.later(ctx)
	} else if c.inspecting {
		c.log.Error("the directory cannot be read: accounts are known by their ids only", "err", err)
		err = nil
	}
	return err
}

func (c *core) close() error { return c.group.Stop(c.cfg.Drain) }

func (c *core) openLog(ctx context.Context) error {
	open, clustered, err := c.openNATS(ctx)
	if err != nil || c.cfg.Cluster.Witness {
		return err
	}
	if err := c.refuseFreshLog(ctx, open); err != nil {
		return err
	}
	if open.Master == nil {
		if open.Master, err = c.masterKeys(ctx, open); err != nil {
			return err
		}
	}
	open.Recalls = c.archived.Keys != nil && !c.inspecting
	open.Rewrapped = c.archiveKeys
	try := func() (err error) { c.streams, err = streams.Open(ctx, *open); return err }
	if clustered {
		err = c.insist(ctx, try)
	} else {
		err = try()
	}
	if c.inspecting && domain.Is(err, domain.Corrupt) {
		c.log.Error("the log is damaged: it is opened for reading what is left", "err", err)
		open.Damaged = true
		c.streams, err = streams.Open(ctx, *open)
	}
	if err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "log", Stop: c.streams.Close})
	if clustered {
		return c.keepUp(open.Master)
	}
	return nil
}

// openNATS starts the NATS server, or connects to one, and opens where the archive lies. It tells what the log is to be opened with, and whether this is a
// node of a cluster.
func (c *core) openNATS(ctx context.Context) (*streams.Config, bool, error) {
	secret, clustered, err := c.secret()
	if err != nil {
		return nil, clustered, err
	}
	if clustered && c.cfg.Streams.URL != "" {
		return nil, clustered, &domain.Error{
			Kind: domain.Invalid, Msg: "the data directory has the secret of a cluster, and streams.url names another NATS",
			Hint: "remove one of them: a node keeps the log with an embedded NATS server",
		}
	}
	c.usual(clustered)
	cfg := c.cfg.Streams
	open := &streams.Config{
		Topology:  streams.Topology{Prefix: cfg.Prefix, Shards: cfg.Shards, Replicas: cfg.Replicas},
		Logger:    c.log,
		Failpoint: c.failpoint,
		Observe:   func(r streams.Round) { c.metrics.Round(r.Stream, r.Appends, r.Conflicts, r.Publish, r.Sync) },
	}
	embedded := natsd.Config{Dir: c.data.join("log"), Sync: c.syncMode(), Listen: cfg.Listen, User: cfg.User, Password: cfg.Password.Reveal(), Logger: c.log, Failpoint: c.failpoint}
	switch {
	case clustered:
		if err := c.joinCluster(ctx, embedded, secret, open); err != nil || c.cfg.Cluster.Witness {
			return open, clustered, err
		}
	case cfg.URL == "":
		server, err := natsd.Start(ctx, embedded)
		if err != nil {
			return nil, clustered, err
		}
		c.nats, open.Conn, open.Syncer = server, server.Conn(), server
		c.group.Start(lifecycle.Part{Name: "NATS server", Stop: server.Close})
	default:
		if err := c.useExternal(ctx, open); err != nil {
			return nil, clustered, err
		}
	}
	c.conn = open.Conn
	return open, clustered, c.openArchiveBuckets(ctx)
}

// masterKeys reads the master keys, and makes the first one for a log that has no keys.
func (c *core) masterKeys(ctx context.Context, log *streams.Config) (*streams.MasterKeys, error) {
	if value := c.cfg.Keys.Master.Reveal(); value != "" {
		return streams.ParseMaster(value)
	}
	keys := c.data.join("keys")
	if !hasMaster(keys) {
		switch found, err := streams.HasKeys(ctx, log.Conn, log.Topology); {
		case err != nil:
			return nil, err
		case !found:
			return streams.LoadMaster(keys)
		}
		return nil, &domain.Error{ // a new key would open nothing, and would look like the one that is missing
			Kind: domain.Unavailable, Msg: "the log has keys, but there is no master key in " + keys,
			Hint: "restore keys/ from its backup, or give the master key in STREAMPOST_KEYS_MASTER; without it nothing can be read",
		}
	}
	return streams.LoadMaster(keys)
}

// hasMaster tells whether a directory has master keys, or may have some that cannot be seen.
func hasMaster(dir string) bool {
	files, err := os.ReadDir(dir)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return slices.ContainsFunc(files, func(f fs.DirEntry) bool { return strings.HasSuffix(f.Name(), ".key") })
}

func (c *core) openViews(ctx context.Context) error {
	if err := c.dropForeignRows(); err != nil {
		return err
	}
	views, err := c.viewStore(ctx)
	if err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "view store", Stop: func(context.Context) error { return views.Close() }})
	all := []projections.Projection{mailboxes.New(), threads.New(), counters.New(), quota.New(), changes.New(), sieve.New(), vault.New(), blobs.New(), dirview.New(), tasks.New()}
	if c.cfg.Search.Enabled {
		c.search = search.New(search.Config{
			Blobs: c.store, Postings: c.postings(), Limits: search.Limits{Message: domainsearch.IndexLimits{Octets: int64(c.cfg.Search.Text)}},
			Defer: c.paused.has,
		})
		all = append(all, c.search)
	}
	if c.cfg.Search.Tika.URL != "" {
		c.extracts = extracts.New(c.postings())
		all = append(all, c.extracts)
	} else if err := c.dropExtracts(ctx, views); err != nil {
		return err
	}
	c.runner = projections.NewRunner(projections.Config{
		Log:         c.streams,
		Views:       views,
		Projections: versioned(all),
		Snapshots:   c.hydratesFrom(),
		Limits:      projections.Limits{VerifyEvery: never(c.cfg.Views.VerifyEvery), CountEvery: never(c.cfg.Views.CountEvery), VerifyShare: float64(c.cfg.Views.VerifyCPU) / 100},
		Logger:      c.log,
		Load:        health.NewLoad().Now,
		Failpoint:   c.failpoint,
	})
	c.newMaker()
	return nil
}

// postings is where the view store keeps grams.
func (c *core) postings() search.Postings {
	if c.cfg.Views.URL.Reveal() != "" {
		return search.Postgres{}
	}
	return search.FTS5{}
}

// viewStore opens what keeps the rows.
func (c *core) viewStore(ctx context.Context) (interface {
	projections.Views
	Close() error
}, error) {
	cfg := c.cfg.Views
	if url := cfg.URL.Reveal(); url != "" {
		return postgres.Open(ctx, url, postgres.Options{Schema: cfg.Schema, Connections: cfg.Connections, Logger: c.log})
	}
	return sqlview.Open(c.data.join("views"), sqlview.Options{Logger: c.log})
}

func (c *core) openDoors(ctx context.Context) error {
	scramSecret, err := c.streams.Secret(ctx, "scram")
	if err != nil {
		return err
	}
	if err := c.openForwarding(ctx); err != nil {
		return err
	}
	gossip, err := c.gossip(ctx)
	if err != nil {
		return err
	}
	cfg := door.Config{
		Log:        c.streams,
		Views:      rows{c.streams, c.runner, c.maker, c.eraseArchived},
		Blobs:      roomyBlobs{c.store, c.space},
		Logger:     c.log,
		CacheBytes: int64(c.cfg.Views.Hot),
		Postmaster: c.cfg.Postmaster,
		NewAccount: c.newAccount(),
		Secret:     scramSecret[:],
		Shared:     c.nodes != nil,

		MinPassword: c.cfg.Logins.MinPassword,
		Guessing:    guessing(c.cfg.Logins),
		Sessions:    sessions(c.cfg.Logins),
		Gossip:      gossip,
	}
	err = c.patiently(ctx, func() error { c.accounts, c.directory, err = door.New(ctx, cfg); return err })
	if err == nil {
		c.tables = ordering.New(c.accounts, int64(c.cfg.Views.Order))
		c.filer = filing.New(c.filing())
	}
	return err
}

// samples are the metrics that are read at each scrape.
func (c *core) samples() []metrics.Sample {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s := c.accounts.Stats()
	all := append(c.blobSamples(), metrics.Door(s.Commands, s.Transactions, s.Conflicts, s.Loads, s.Evictions, s.Mended, s.Hot, s.HotBytes)...)
	all = append(append(all, metrics.Order(c.tables.Size())...), c.viewSamples(ctx)...)
	all = append(all, c.loginSamples()...)
	for _, stream := range c.streams.Streams() {
		if head, err := c.streams.Head(ctx, stream); err == nil {
			all = append(all, metrics.LogHead(stream, uint64(head)))
		}
	}
	if c.nodes != nil {
		all = slices.Concat(all, c.copySamples(), c.replicaSamples(ctx), c.failoverSamples())
	}
	stats := c.runner.Stats()
	all = append(all, metrics.Hydrations(stats.Hydrated, stats.Refused)...)
	if c.search != nil {
		s := c.search.Stats()
		all = append(all, metrics.Search(s.Documents, s.Octets, s.Partial, s.Missing, s.Answered, s.Failed)...)
	}
	all = append(append(all, c.extractSamples()...), c.archiveSamples(ctx)...)
	if c.audit != nil {
		all = append(all, c.audit.samples()...)
	}
	for _, n := range c.tasks.Counts() {
		all = append(all, metrics.TasksOpen(n.Kind, n.Status.String(), n.Tasks))
	}
	all = append(append(all, c.listenerSamples(ctx)...), c.queueSamples(ctx)...)
	all = append(all, c.parkedSamples()...)
	if space, err := health.FreeSpace(c.data.path); err == nil {
		all = append(all, metrics.DiskFree(space.Free))
	}
	return all
}

// viewSamples tells of the projections.
func (c *core) viewSamples(ctx context.Context) (all []metrics.Sample) {
	type view struct{ name, stream string }
	octets := map[view]int64{}
	states := map[view]map[projections.State]int{}
	for _, p := range c.runner.Status(ctx) {
		v := view{p.Name, p.Stream}
		octets[v] += p.Octets
		if states[v] == nil {
			states[v] = map[projections.State]int{}
		}
		states[v][p.State]++
		if p.Serves() {
			all = append(all, metrics.Lag(p.Name, p.Stream, p.LagEntries, p.LagSeconds, p.State != projections.Stopped && p.State != projections.Damaged)...)
		}
	}
	for v, n := range octets {
		all = append(all, metrics.ViewBytes(v.name, v.stream, n))
		for state, n := range states[v] {
			all = append(all, metrics.Generations(v.name, v.stream, string(state), n))
		}
	}
	s := c.runner.Stats()
	all = append(all, metrics.Views(s.Switches, s.LongestPause, s.Verified, s.Differences, unix(s.LastVerified))...)
	return append(all, metrics.Counts(s.Counted, s.Miscounts, unix(s.LastCounted))...)
}

// unix is a time for metrics.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// never makes of 0, which is never in the configuration, what a runner takes for it.
func never(every time.Duration) time.Duration {
	if every == 0 {
		return -1
	}
	return every
}

// exists says whether a data directory has been used by a server of this configuration: an embedded log is in it, an external one leaves the node's name.
func exists(cfg *config.Config) error {
	name := "log"
	if cfg.Streams.URL != "" {
		name = nodeFile
	}
	_, err := os.Stat(filepath.Join(cfg.Data, name))
	if errors.Is(err, fs.ErrPermission) {
		return &domain.Error{Kind: domain.Denied, Msg: "the data directory cannot be read", Err: err, Hint: "run the command as the user who runs the server"}
	}
	if err != nil {
		return &exitError{exitUnreachable, fmt.Errorf("no server has run on %s: start one with streampost serve, or point --data or --url to it", cfg.Data)}
	}
	return nil
}
