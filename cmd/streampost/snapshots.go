package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/snapshots"
	"github.com/streampost/streampost/projections/tasks/worker"
)

// openSnapshots opens the bucket of snapshots, which is not that of messages: what collects blobs never sees it. The views take rows from it, so it is open before
// them and closed after.
func (c *core) openSnapshots(ctx context.Context) (err error) {
	if c.kept, err = c.openBucket(ctx, c.cfg.Blobs.Kind, snapshotSpace); err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "snapshot files", Stop: func(context.Context) error { return c.kept.Close() }})
	c.snapshots, err = snapshots.New(ctx, c.kept, c.streams)
	return err
}

// hydratesFrom gives where rows come from that this node does not have.
func (c *core) hydratesFrom() projections.Snapshots {
	if !c.cfg.Snapshots.Use {
		return nil
	}
	return c.snapshots
}

// newMaker makes what makes snapshots of the views.
func (c *core) newMaker() {
	cfg := c.cfg.Snapshots
	c.maker = snapshots.NewMaker(snapshots.Config{
		Store: c.snapshots, Views: c.runner, Streams: c.accountStreams, Logger: c.log, Failpoint: c.failpoint,
		Limits:  snapshots.Limits{Every: cfg.Every, Share: float64(cfg.CPU) / 100},
		Observe: func(octets int64, took time.Duration, err error) { c.metrics.SnapshotMade(octets, took, err == nil) },
	})
}

// accountStreams names the streams that hold accounts.
func (c *core) accountStreams() []string {
	return slices.DeleteFunc(c.streams.Streams(), func(stream string) bool {
		return stream == c.streams.StreamOf(domain.DirectoryID) || stream == c.streams.StreamOf(domain.TasksID)
	})
}

// snapshotsBackend is the store as the admin door wants it.
type snapshotsBackend struct{ c *core }

func (b snapshotsBackend) List(ctx context.Context, f func(webadmin.Snapshot) error) error {
	return b.c.snapshots.List(ctx, func(l snapshots.Listed) error {
		shown := webadmin.Snapshot{Account: l.Account, Made: l.Made.UTC(), Octets: l.Octets}
		err := l.Err
		if err == nil {
			shown.Tx, shown.Seq, shown.Hash, shown.Projections = l.At.Tx, l.Seq, hex.EncodeToString(l.At.Hash[:]), l.Taken().Versions
			err = b.c.runner.Usable(ctx, l.Taken())
		}
		if err == nil {
			last, err := b.c.streams.Last(ctx, l.Account)
			if err != nil {
				return err
			}
			shown.Behind = last.Tx - l.At.Tx
		} else {
			shown.Problem = err.Error()
		}
		return f(shown)
	})
}

func (b snapshotsBackend) Remove(ctx context.Context, id domain.AccountID) error {
	return b.c.maker.Remove(ctx, id)
}

// snapshotOrder is the parameters of snapshot-make and snapshot-verify.
type snapshotOrder struct {
	Account domain.AccountID `json:"account,omitempty"` // all if empty, when verifying
	CPU     float64          `json:"cpu,omitempty"`     // share of the time in which it works; 0: all
}

func (c *core) snapshotWork(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var order snapshotOrder
	if err := parameters(text, &order); err != nil {
		return nil, "", err
	}
	if order.CPU < 0 || order.CPU > 1 {
		return nil, "", domain.Errorf(domain.Invalid, "a share of the CPU is above 0 and at most 1, and not %g", order.CPU)
	}
	if order.Account != "" {
		if _, err := domain.ParseAccountID(string(order.Account)); err != nil {
			account, err := c.directory.Lookup(ctx, string(order.Account))
			if err != nil {
				return nil, "", err
			}
			order.Account = account.ID
		}
	}
	text, err := json.Marshal(order)
	return text, string(order.Account), err
}

// madeSnapshot is the result of snapshot-make.
type madeSnapshot struct {
	Account domain.AccountID `json:"account"`
	Tx      domain.Tx        `json:"tx"`
	Octets  int64            `json:"octets"`
	Seconds float64          `json:"seconds"`
}

func (c *core) makeSnapshot(ctx context.Context, job worker.Job) (any, error) {
	var order snapshotOrder
	if err := parameters(job.Parameters, &order); err != nil {
		return nil, err
	}
	if order.Account == "" {
		return nil, domain.Errorf(domain.Invalid, "say of which account")
	}
	last, err := c.streams.Last(ctx, order.Account)
	if err == nil {
		err = c.runner.Wait(ctx, c.streams.StreamOf(order.Account), last.Seq)
	}
	if err != nil {
		return nil, err
	}
	began := time.Now()
	h, err := c.maker.Make(ctx, order.Account)
	if err != nil {
		return nil, err
	}
	return found[madeSnapshot, struct{}]{Sum: madeSnapshot{h.Account, h.At.Tx, h.Octets, time.Since(began).Seconds()}}, nil
}

// verifiedSnapshots is the result of snapshot-verify.
type verifiedSnapshots struct {
	Snapshots   int   `json:"snapshots"`
	Rows        int64 `json:"rows"`
	Differences int64 `json:"differences"`
	Unusable    int   `json:"unusable"`
}

// wrongSnapshot is one thing that is wrong with a snapshot: a difference, or why it cannot be used.
type wrongSnapshot struct {
	Account    domain.AccountID     `json:"account"`
	Problem    string               `json:"problem,omitempty"`
	Difference *webadmin.Difference `json:"difference,omitempty"`
}

func (c *core) verifySnapshots(ctx context.Context, job worker.Job) (any, error) {
	var order snapshotOrder
	if err := parameters(job.Parameters, &order); err != nil {
		return nil, err
	}
	var out found[verifiedSnapshots, wrongSnapshot]
	unusable := func(id domain.AccountID, err error) {
		out.Sum.Unusable++
		out.keep(wrongSnapshot{Account: id, Problem: err.Error()})
	}
	accounts := []domain.AccountID{order.Account}
	if order.Account == "" {
		accounts = nil
		if err := c.snapshots.List(ctx, func(l snapshots.Listed) error {
			if l.Err != nil {
				out.Sum.Snapshots++
				unusable(l.Account, l.Err)
			} else {
				accounts = append(accounts, l.Account)
			}
			return nil
		}); err != nil {
			return out, err
		}
	}
	for i, id := range accounts {
		job.Progress(webadmin.Progress{Done: uint64(i), Total: uint64(len(accounts)), Unit: "snapshots", At: string(id)})
		report, err := c.runner.VerifySnapshot(ctx, id, c.snapshots, projections.VerifyOptions{Limit: keptItems, CPUShare: order.CPU}, nil)
		switch {
		case errors.Is(err, projections.ErrRefused) || domain.Is(err, domain.Corrupt):
			unusable(id, err)
		case order.Account == "" && (domain.Is(err, domain.NotFound) || domain.Is(err, domain.Erased)):
			continue // removed meanwhile
		case err != nil:
			return out, err
		}
		out.Sum.Snapshots++
		out.Sum.Rows += report.Rows
		out.Sum.Differences += report.Total
		for _, d := range report.Differences {
			shown := difference(d)
			out.keep(wrongSnapshot{Account: id, Difference: &shown})
		}
	}
	return out, nil
}
