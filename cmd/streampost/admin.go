package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"runtime"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/nodes"
)

// logBackend is the log as the admin door wants it.
type logBackend struct {
	*streams.Log
	c *core
}

func (l logBackend) Verify(ctx context.Context, scope webadmin.Scope, damage func(webadmin.Damage), progress func(webadmin.Progress)) (webadmin.Verified, error) {
	if scope.Archive {
		return l.c.verifyArchive(ctx, scope, damage, progress)
	}
	at := scope.Stream
	report, err := l.Log.Verify(ctx, streams.VerifyOptions{Account: scope.Account, Stream: scope.Stream, Keys: true}, func(done, total uint64) {
		progress(webadmin.Progress{Done: done, Total: total, Unit: "entries", At: at})
	})
	if err != nil {
		return webadmin.Verified{}, err
	}
	for _, f := range report.Findings {
		damage(webadmin.Damage{Stream: f.Stream, Account: f.Account, Seq: f.Seq, Tx: f.Tx, Problem: f.What})
	}
	sum := webadmin.Verified{
		Entries: report.Entries, Accounts: uint64(report.Accounts), Erased: uint64(report.Erased), Damages: uint64(len(report.Findings)), Partial: report.Partial,
	}
	if report.Keys != nil {
		sum.Keys = uint64(report.Keys.Records)
	}
	return sum, nil
}

func (l logBackend) RotateMaster(ctx context.Context, progress func(webadmin.Progress)) (int, error) {
	records := 0
	err := l.Rotate(ctx, func(done, total int) {
		records = total
		progress(webadmin.Progress{Done: uint64(done), Total: uint64(total), Unit: "keys"})
	})
	return records, err
}

// healthBackend is the checks as the admin door wants them.
type healthBackend struct{ *health.Checks }

func (h healthBackend) Run(ctx context.Context, names ...string) webadmin.HealthReport {
	checks := h.Checks
	if len(names) > 0 {
		checks = checks.Only(names...)
	}
	report := checks.Report(ctx)
	shown := webadmin.HealthReport{Status: string(report.Status), Checks: []webadmin.HealthCheck{}}
	for _, r := range report.Checks {
		shown.Checks = append(shown.Checks, webadmin.HealthCheck{Name: r.Name, Escaped: url.PathEscape(r.Name), Status: string(r.Status), Cause: r.Cause})
	}
	return shown
}

// newAccount is the quota of accounts that are created.
func (c *core) newAccount() account.Limits {
	return account.Limits{Bytes: int64(c.cfg.Quota.Bytes), Messages: c.cfg.Quota.Messages, Mailboxes: c.cfg.Quota.Mailboxes}
}

// admin makes the REST door of a core.
func (c *core) admin(token string, listeners func() []webadmin.Listener) (*webadmin.Server, error) {
	started := time.Now()
	checks := c.checks()
	ready := func(ctx context.Context) (bool, any) {
		report := checks.Report(ctx)
		return report.Status != health.Unhealthy, report
	}
	var replicas webadmin.Replicas
	if c.replicas != nil {
		replicas = c.replicas
	}
	limits, quota := c.cfg.Admin.Limits, c.newAccount()
	var directory webadmin.Directory = closedDirectory{}
	var names webadmin.Names
	if c.directory != nil {
		directory, names = c.directory, namesBackend{c.directory, c}
	}
	var cluster func(context.Context) (webadmin.Cluster, error)
	var removeNode func(context.Context, string, bool, func(webadmin.Progress)) (webadmin.RemovedNode, error)
	var grow func(context.Context, func(webadmin.Progress)) (webadmin.Grown, error)
	var repairLog func(context.Context, webadmin.RepairOrder, func(nodes.Repaired)) (webadmin.LogRepair, error)
	var promotions webadmin.Promotions
	if c.nodes != nil {
		c.promotions = c.newPromotions()
		promotions = c.promotions
		cluster, removeNode, repairLog, grow = c.clusterStatus, c.removeNode, c.repairLog, c.growLog
		if err := c.nodes.Answer(c.describe(started, checks)); err != nil {
			return nil, err
		}
	}
	return webadmin.New(webadmin.Config{
		Tokens: webadmin.Tokens{All: token, NoDelete: c.cfg.Admin.NoDeleteToken.Reveal(), ReadOnly: c.cfg.Admin.ReadOnlyToken.Reveal()},
		Logger: c.log,
		Limits: webadmin.Limits{
			Connections: limits.Connections, Body: int64(limits.Body), Message: int64(limits.Message),
			HeaderTime: limits.HeaderTime, RequestTime: limits.RequestTime, IdleTime: limits.IdleTime,
		},
		Backend: webadmin.Backend{
			Directory:  directory,
			Accounts:   c.accounts,
			Log:        logBackend{c.streams, c},
			Views:      c.views(),
			Tasks:      c.tasks,
			Snapshots:  snapshotsBackend{c},
			Vault:      vaultBackend{c.keeper(), c},
			Listeners:  c.listeners,
			Webhooks:   webhooksBackend(c.webhooks),
			Queue:      c.administered,
			Parked:     c.parkedNow,
			Pipeline:   c.pipelineNow,
			Trace:      c.found(),
			Names:      names,
			Health:     healthBackend{checks},
			NewAccount: quota,
			Metrics:    c.metrics.Handler(),
			Ready:      ready,
			Damaged:    c.damaged,
			Doctor:     c.doctor,
			Cluster:    cluster,
			Replicas:   replicas,
			RemoveNode: removeNode,
			RepairLog:  repairLog,
			Grow:       grow,
			Promotions: promotions,
			Status: func(ctx context.Context) (webadmin.Status, error) {
				return c.status(ctx, started, listeners(), ready)
			},
		},
	})
}

func (c *core) status(ctx context.Context, started time.Time, listeners []webadmin.Listener, ready func(context.Context) (bool, any)) (webadmin.Status, error) {
	accounts, err := c.directory.Accounts(ctx)
	if err != nil {
		return webadmin.Status{}, err
	}
	domains, err := c.directory.Domains(ctx)
	if err != nil {
		return webadmin.Status{}, err
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s := webadmin.Status{
		Version: version(), Started: started, Data: c.data.path, Hostname: c.hostname(), Listeners: listeners, Accounts: len(accounts), Domains: len(domains),
		Streams: map[string]uint64{}, Memory: memory.Sys - memory.HeapReleased,
	}
	for _, stream := range c.streams.Streams() {
		head, err := c.streams.Head(ctx, stream)
		if err != nil {
			return s, err
		}
		s.Streams[stream] = uint64(head)
	}
	s.Ready, _ = ready(ctx)
	return s, nil
}

// hinted adds what to do.
func hinted(hint string) string {
	if hint == "" {
		return ""
	}
	return "; " + hint
}

// maxLag is how far behind views may be before somebody should look, in entries.
const maxLag = 10_000

// checks are what /readyz looks at.
func (c *core) checks() *health.Checks {
	checks := &health.Checks{List: []health.Check{
		{Name: "log", Look: func(ctx context.Context) (health.Status, string) {
			if err := c.streams.Fault(); err != nil {
				return health.Unhealthy, err.Error()
			}
			for _, stream := range c.streams.Streams() {
				if _, err := c.streams.Head(ctx, stream); err != nil {
					return health.Unhealthy, err.Error()
				}
			}
			return health.Healthy, ""
		}},
		{Name: "projectors", Look: func(ctx context.Context) (health.Status, string) {
			status, cause := health.Healthy, ""
			if s := c.runner.Stats(); s.Differences > 0 {
				status, cause = health.Degraded, fmt.Sprintf("%d values differ from the log, run streampost projection verify --repair; the last was %s", s.Differences, s.Found)
			}
			if s := c.runner.Stats(); s.Miscounts > 0 {
				status, cause = health.Degraded, fmt.Sprintf("%d digests do not agree with the rows, run streampost projection count --repair; the last was %s", s.Miscounts, s.Miscount)
			}
			for _, p := range c.runner.Status(ctx) {
				switch {
				case !p.Serves():
				case p.State == projections.Stopped:
					return health.Unhealthy, fmt.Sprintf("projection %s of %s has stopped: %s%s", p.Name, p.Stream, p.Error, hinted(p.Hint))
				case p.State == projections.Starting:
					return health.Unhealthy, fmt.Sprintf("projection %s of %s is not open yet", p.Name, p.Stream)
				case !p.Readable && (p.Name == mailboxes.Name || p.Name == dirview.Name):
					return health.Unhealthy, fmt.Sprintf("projection %s of %s has no rows yet: they are made from the log, as far as entry %d of %d", p.Name, p.Stream, p.Cursor, p.Head)
				case p.State == projections.Damaged:
					status, cause = health.Degraded, fmt.Sprintf("projection %s of %s is damaged and being made anew: %s", p.Name, p.Stream, p.Error)
				case p.State == projections.Retrying || p.LagEntries > maxLag:
					status, cause = health.Degraded, fmt.Sprintf("projection %s of %s is %d entries behind %s", p.Name, p.Stream, p.LagEntries, p.Error)
				}
			}
			return status, cause
		}},
		{Name: "blobs", Look: func(ctx context.Context) (health.Status, string) {
			if err := c.writable.check(ctx); err != nil {
				return health.Unhealthy, err.Error()
			}
			return health.Healthy, ""
		}},
		{Name: "directory", Look: func(ctx context.Context) (health.Status, string) {
			if _, err := c.directory.Domains(ctx); err != nil {
				return health.Unhealthy, err.Error()
			}
			return health.Healthy, ""
		}},
		{Name: "listeners", Look: c.lookAtListeners},
		{Name: "attachments", Look: c.lookAtExtractor},
		{Name: "dead letters", Look: c.lookAtDeadLetters},
		{Name: "queue", Look: c.lookAtQueue},
		{Name: "parked mail", Look: c.lookAtParked},
		health.Disk(c.data.path, uint64(c.cfg.Reserve)),
	}}
	if c.nodes != nil {
		checks.List = append(checks.List, health.Check{Name: "copies of the log", Look: c.lookAtReplicas})
	}
	if c.archiver != nil {
		checks.List = append(checks.List, health.Check{Name: "archive", Look: c.lookAtArchive})
	}
	if c.audit != nil {
		checks.List = append(checks.List, health.Check{Name: "log verification", Look: c.audit.look})
	}
	return checks
}

// token gives the admin token: the configured one, the one of the last run, or a new one.
func (c *core) token() (string, error) {
	if t := c.cfg.Admin.Token.Reveal(); t != "" {
		return t, nil
	}
	access, err := readAccess(c.data.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read %s (remove it to get a new token): %w", c.data.join(adminFile), err)
	}
	if access.Token != "" {
		return access.Token, nil
	}
	return rand.Text(), nil
}
