package main

import (
	"context"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/mailboxes"
)

// viewsBackend is the runner as the admin door wants it.
type viewsBackend struct {
	*projections.Runner
	snapshots projections.Snapshots
	mailbox   func(ctx context.Context, id domain.AccountID, name string) (domain.MailboxID, error)
}

// views is the runner with what it takes to name things.
func (c *core) views() viewsBackend {
	return viewsBackend{c.runner, c.snapshots, func(ctx context.Context, id domain.AccountID, name string) (found domain.MailboxID, err error) {
		err = c.accounts.View(ctx, id, func(state *account.State) error {
			m, known := state.Mailbox(name)
			if !known {
				return domain.Errorf(domain.NotFound, "the mailbox %s does not exist", name)
			}
			found = m.ID
			return nil
		})
		return found, err
	}}
}

func (v viewsBackend) List(ctx context.Context) ([]webadmin.Projection, error) {
	var list []webadmin.Projection
	for _, s := range v.Status(ctx) {
		list = append(list, webadmin.Projection{
			Name: s.Name, Version: s.Version, Stream: s.Stream, Generation: s.Generation, Cursor: s.Cursor, Head: s.Head, Lag: s.LagEntries,
			LagTime: s.LagSeconds, Octets: s.Octets, State: string(s.State), Phase: string(s.Phase), Error: s.Error,
		})
	}
	return list, nil
}

func selection(scope webadmin.ViewScope) projections.Selection {
	return projections.Selection{Projection: scope.Projection, Stream: scope.Stream, Accounts: scope.Accounts}
}

// narrow is selection with the mailbox that is named.
func (v viewsBackend) narrow(ctx context.Context, scope webadmin.ViewScope) (sel projections.Selection, err error) {
	sel = selection(scope)
	if scope.Mailbox == "" {
		return sel, nil
	}
	if len(scope.Accounts) != 1 {
		return sel, domain.Errorf(domain.Invalid, "a mailbox is one of an account: name one account")
	}
	sel.UID = scope.UID
	sel.Mailbox, err = v.mailbox(ctx, scope.Accounts[0], scope.Mailbox)
	return sel, err
}

// viewProgress adds up the streams that are worked on at the same time.
func viewProgress(progress func(webadmin.Progress)) func(projections.Progress) {
	type key struct {
		stream string
		first  string
	}
	parts := map[key]projections.Progress{}
	return func(p projections.Progress) {
		k := key{stream: p.Stream}
		if len(p.Projections) > 0 {
			k.first = p.Projections[0]
		}
		parts[k] = p
		all := webadmin.Progress{Unit: "entries", At: p.Stream, Phase: string(p.Phase)}
		for _, part := range parts {
			all.Done += uint64(part.Done)
			all.Total += uint64(part.Total)
			all.Rate += part.Rate
			all.Left = max(all.Left, part.Left)
		}
		progress(all)
	}
}

func (v viewsBackend) Rebuild(ctx context.Context, scope webadmin.ViewScope, opt webadmin.RebuildOptions, progress func(webadmin.Progress)) (webadmin.Rebuilt, error) {
	options := projections.RebuildOptions{EntriesPerSecond: opt.Throttle, CPUShare: opt.CPU, DryRun: opt.DryRun, Verify: opt.Verify}
	if opt.FromSnapshot {
		options.Snapshots = v.snapshots
	}
	sel, err := v.narrow(ctx, scope)
	if err != nil {
		return webadmin.Rebuilt{}, err
	}
	result, err := v.Runner.Rebuild(ctx, sel, options, viewProgress(progress))
	return webadmin.Rebuilt{
		Entries: result.Entries, Seconds: result.Elapsed.Seconds(), Pause: result.Pause.Seconds(), Plan: planned(result.Plan),
	}, err
}

func planned(plan []projections.Planned) (all []webadmin.Planned) {
	for _, p := range plan {
		one := webadmin.Planned{Stream: p.Stream, Projection: p.Projection, Version: p.Version, Work: p.Work, Entries: p.Entries, Seconds: p.Seconds, Octets: p.Octets}
		for _, h := range p.Has {
			one.Has = append(one.Has, webadmin.Held(h))
		}
		all = append(all, one)
	}
	return all
}

func difference(d projections.Difference) webadmin.Difference {
	return webadmin.Difference{
		Stream: d.Stream, Projection: d.Projection, Table: d.Table, Account: d.Account, Key: d.Key, Column: d.Column, View: d.Live, Log: d.Log, Tx: d.Tx,
	}
}

// shownDifferences bounds the list; all differences are counted.
const shownDifferences = 1000

func (v viewsBackend) Verify(ctx context.Context, scope webadmin.ViewScope, opt webadmin.VerifyOptions, found func(webadmin.Difference), progress func(webadmin.Progress)) (webadmin.Compared, error) {
	sel, err := v.narrow(ctx, scope)
	if err != nil {
		return webadmin.Compared{}, err
	}
	report, err := v.Runner.Verify(ctx, sel, projections.VerifyOptions{
		Limit: shownDifferences, Sample: opt.Sample, Salt: opt.Salt, CPUShare: opt.CPU, Repair: opt.Repair, EntriesPerSecond: opt.Throttle, Digests: opt.Digests,
	}, viewProgress(progress))
	if err != nil {
		return webadmin.Compared{}, err
	}
	for _, d := range report.Differences {
		found(difference(d))
	}
	sum := webadmin.Compared{Rows: uint64(report.Rows), Accounts: uint64(report.Accounts), Differences: uint64(report.Total), Repaired: uint64(report.Repaired)}
	for _, c := range report.Compared {
		sum.Generations = append(sum.Generations, webadmin.ComparedGeneration(c))
	}
	return sum, nil
}

func (v viewsBackend) Digests(ctx context.Context, scope webadmin.ViewScope, boxes bool) (all []webadmin.Digested, err error) {
	list, err := v.Runner.Digests(ctx, selection(scope))
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		one := webadmin.Digested{Stream: d.Stream, Projection: d.Projection, Version: d.Version, Generation: d.Generation, Seq: d.Seq, Digests: d.Digests}
		if boxes && d.Projection == mailboxes.Name {
			if one.Mailboxes, err = v.mailboxDigests(ctx, d.Stream, scope.Accounts); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// mailboxDigests reads those of each mailbox of some accounts, or of all of a stream when none is named.
func (v viewsBackend) mailboxDigests(ctx context.Context, stream string, ids []domain.AccountID) (map[domain.AccountID]map[domain.MailboxID]account.Digest, error) {
	r, err := v.Reader(stream, mailboxes.Name)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		ids = []domain.AccountID{""}
	}
	all := map[domain.AccountID]map[domain.MailboxID]account.Digest{}
	for _, id := range ids {
		found, err := mailboxes.Digests(ctx, r, id)
		if err != nil {
			return nil, err
		}
		for _, a := range found {
			all[a.ID] = a.Mailboxes
		}
	}
	return all, nil
}

func (v viewsBackend) Count(ctx context.Context, scope webadmin.ViewScope, opt webadmin.CountOptions, found func(webadmin.Miscount), progress func(webadmin.Progress)) (webadmin.Counted, error) {
	report, err := v.Runner.Count(ctx, selection(scope), projections.CountOptions{Limit: shownDifferences, CPUShare: opt.CPU, Repair: opt.Repair}, viewProgress(progress))
	if err != nil {
		return webadmin.Counted{}, err
	}
	for _, m := range report.Miscounts {
		found(webadmin.Miscount(m))
	}
	return webadmin.Counted{Rows: uint64(report.Rows), Accounts: uint64(report.Accounts), Miscounts: uint64(report.Total), Repaired: uint64(report.Repaired)}, nil
}

func (v viewsBackend) Plan(ctx context.Context) ([]webadmin.Planned, error) {
	plan, err := v.Runner.Plan(ctx)
	return planned(plan), err
}

func (v viewsBackend) Prune(ctx context.Context, scope webadmin.ViewScope) (webadmin.DroppedViews, error) {
	n, err := v.Runner.Prune(ctx, selection(scope))
	return webadmin.DroppedViews{Generations: n}, err
}

func (v viewsBackend) Discard(ctx context.Context, scope webadmin.ViewScope) (webadmin.DroppedViews, error) {
	n, err := v.Runner.Discard(ctx, selection(scope))
	return webadmin.DroppedViews{Generations: n}, err
}
