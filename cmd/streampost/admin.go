package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// logBackend is the log as the admin door wants it.
type logBackend struct{ *streams.Log }

func (l logBackend) Verify(ctx context.Context, scope webadmin.Scope, damage func(webadmin.Damage), progress func(webadmin.Progress)) (webadmin.Verified, error) {
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
	return webadmin.Verified{
		Entries: report.Entries, Accounts: uint64(report.Accounts), Erased: uint64(report.Erased), Damages: uint64(len(report.Findings)), Partial: report.Partial,
	}, nil
}

func (l logBackend) RotateMaster(ctx context.Context, progress func(webadmin.Progress)) (int, error) {
	records := 0
	err := l.Rotate(ctx, func(done, total int) {
		records = total
		progress(webadmin.Progress{Done: uint64(done), Total: uint64(total), Unit: "keys"})
	})
	return records, err
}

// viewsBackend is the runner as the admin door wants it.
type viewsBackend struct{ *projections.Runner }

func (v viewsBackend) List(ctx context.Context) ([]webadmin.Projection, error) {
	var list []webadmin.Projection
	for _, s := range v.Status(ctx) {
		list = append(list, webadmin.Projection{
			Name: s.Name, Version: s.Version, Stream: s.Stream, Cursor: s.Cursor, Head: s.Head, Lag: s.LagEntries, LagTime: s.LagSeconds, State: string(s.State), Error: s.Error,
		})
	}
	return list, nil
}

func selection(scope webadmin.Scope) projections.Selection {
	return projections.Selection{Projection: scope.Projection, Account: scope.Account}
}

// viewProgress adds up the streams that are worked on one after the other.
func viewProgress(progress func(webadmin.Progress)) (show func(projections.Progress), done func() uint64) {
	streams := map[string]projections.Progress{}
	sum := func() (p webadmin.Progress) {
		for _, s := range streams {
			p.Done += uint64(s.Done)
			p.Total += uint64(s.Total)
		}
		return p
	}
	return func(p projections.Progress) {
			streams[p.Stream] = p
			all := sum()
			all.Unit, all.At = "entries", p.Stream
			progress(all)
		}, func() uint64 {
			return sum().Done
		}
}

func (v viewsBackend) Rebuild(ctx context.Context, scope webadmin.Scope, progress func(webadmin.Progress)) (webadmin.Rebuilt, error) {
	show, done := viewProgress(progress)
	err := v.Runner.Rebuild(ctx, selection(scope), show)
	return webadmin.Rebuilt{Entries: done()}, err
}

// shownDifferences bounds the list; all differences are counted.
const shownDifferences = 1000

func (v viewsBackend) Verify(ctx context.Context, scope webadmin.Scope, difference func(webadmin.Difference), progress func(webadmin.Progress)) (webadmin.Compared, error) {
	show, _ := viewProgress(progress)
	report, err := v.Runner.Verify(ctx, selection(scope), shownDifferences, show)
	if err != nil {
		return webadmin.Compared{}, err
	}
	for _, d := range report.Differences {
		difference(webadmin.Difference{Stream: d.Stream, Projection: d.Projection, Table: d.Table, Key: d.Key, Column: d.Column, View: d.Live, Log: d.Log})
	}
	return webadmin.Compared{Rows: uint64(report.Rows), Differences: uint64(report.Total)}, nil
}

// admin makes the REST door of a core.
func (c *core) admin(token string, listeners func() []webadmin.Listener) (*webadmin.Server, error) {
	started := time.Now()
	checks := c.checks()
	ready := func(ctx context.Context) (bool, any) {
		report := checks.Report(ctx)
		return report.Status != health.Unhealthy, report
	}
	limits := c.cfg.Admin.Limits
	var directory webadmin.Directory = closedDirectory{}
	if c.directory != nil {
		directory = c.directory
	}
	return webadmin.New(webadmin.Config{
		Token:  token,
		Logger: c.log,
		Limits: webadmin.Limits{
			Connections: limits.Connections, Body: int64(limits.Body), Message: int64(limits.Message),
			HeaderTime: limits.HeaderTime, RequestTime: limits.RequestTime, IdleTime: limits.IdleTime,
		},
		Backend: webadmin.Backend{
			Directory: directory,
			Accounts:  c.accounts,
			Log:       logBackend{c.streams},
			Views:     viewsBackend{c.runner},
			Metrics:   c.metrics.Handler(),
			Ready:     ready,
			Doctor:    c.doctor,
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

// maxLag is how far behind views may be before somebody should look, in entries.
const maxLag = 10_000

// checks are what /readyz looks at.
func (c *core) checks() *health.Checks {
	return &health.Checks{List: []health.Check{
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
			for _, p := range c.runner.Status(ctx) {
				switch {
				case p.State == projections.Stopped:
					return health.Unhealthy, fmt.Sprintf("projection %s of %s has stopped: %s", p.Name, p.Stream, p.Error)
				case p.State == projections.Starting:
					return health.Unhealthy, fmt.Sprintf("projection %s of %s is not open yet", p.Name, p.Stream)
				case p.State == projections.Retrying || p.LagEntries > maxLag:
					status, cause = health.Degraded, fmt.Sprintf("projection %s of %s is %d entries behind %s", p.Name, p.Stream, p.LagEntries, p.Error)
				}
			}
			return status, cause
		}},
		{Name: "blobs", Look: func(ctx context.Context) (health.Status, string) {
			upload, err := c.blobs.Create(ctx)
			if err != nil {
				return health.Unhealthy, err.Error()
			}
			upload.Abort()
			return health.Healthy, ""
		}},
		{Name: "directory", Look: func(ctx context.Context) (health.Status, string) {
			if _, err := c.directory.Domains(ctx); err != nil {
				return health.Unhealthy, err.Error()
			}
			return health.Healthy, ""
		}},
		health.Disk(c.data.path, uint64(c.cfg.Reserve)),
	}}
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
