// Package tasks is the view of tasks: what waits, what runs, and how the newest ended, for listing by pages.
//
// Its rows are task.State.Apply written as SQL, and beyond it what the state does not keep: times, results, and the tasks that have ended. Of
// those the Kept last ones stay, counted in the order in which they ended, so that every node forgets the same ones.
package tasks

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "tasks"

// Kept is how many tasks that have ended the view keeps. Another number makes another Version.
const Kept = 10_000

type projection struct{ kept int64 }

// New gives the projection.
func New() projections.Projection { return projection{Kept} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 1 }
func (projection) Scope() projections.Scope { return projections.TaskStream }

func (projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "tasks_position", Key: []string{"account"}},
		{Name: "tasks", Key: []string{"task"}},
	}
}

func (p projection) Begin(ctx context.Context, tx projections.Tx) (projections.Batch, error) {
	b := &batch{tx: tx, kept: p.kept}
	var hash []byte
	err := tx.QueryRow(ctx, `select seq, tx, hash, created, ended from tasks_position where account = $1`, string(domain.TasksID)).
		Scan(&b.at.Seq, &b.at.Tx, &hash, &b.created, &b.ended)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the position of tasks: %w", err)
	}
	copy(b.at.Hash[:], hash)
	return b, nil
}

type batch struct {
	tx      projections.Tx
	kept    int64
	at      streams.Position
	created int64 // tasks so far
	ended   int64 // of those
}

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Account != domain.TasksID {
		return domain.Errorf(domain.Corrupt, "the stream of tasks has an entry of account %s", e.Account)
	}
	if err := projections.Link(b.at, e); err != nil {
		return err
	}
	if e.Erased {
		return domain.Errorf(domain.Corrupt, "the key of tasks is gone: transaction %d cannot be read", e.Tx)
	}
	for _, ev := range e.Transaction.Events {
		if err := b.fold(ctx, e.Transaction.At, ev); err != nil {
			return fmt.Errorf("tasks, transaction %d: %w", e.Tx, err)
		}
	}
	b.at = e.Position()
	return nil
}

func (b *batch) fold(ctx context.Context, at int64, e event.Event) error {
	switch e := e.(type) {
	case *event.TaskCreated:
		b.created++
		return b.one(ctx, e.Task, `insert into tasks (task, place, kind, about, status, parameters, progress, result, error, hint, submitted_by, node, bound,
			runner, attempt, deaths, cancelled_by, submitted, started, ended, changed, finished)
			values ($1, $2, $3, $4, $5, $6, '', '', '', '', $7, $8, $9, '', 0, 0, '', $10, 0, 0, $10, 0)`,
			string(e.Task), b.created, e.Kind, e.About, task.Waiting.String(), e.Parameters, e.SubmittedBy, e.Node, e.On, at)
	case *event.TaskStarted:
		return b.one(ctx, e.Task, `update tasks set status = $2, runner = $3, attempt = $4, started = $5, changed = $5 where task = $1 and finished = 0`,
			string(e.Task), task.InProgress.String(), e.Node, int64(e.Attempt), at)
	case *event.TaskProgressed:
		return b.one(ctx, e.Task, `update tasks set progress = $2, changed = $3 where task = $1 and finished = 0`, string(e.Task), e.Progress, at)
	case *event.TaskCancelRequested:
		return b.one(ctx, e.Task, `update tasks set status = $2, cancelled_by = $3, changed = $4 where task = $1 and finished = 0`,
			string(e.Task), task.CancelRequested.String(), e.By, at)
	case *event.TaskAbandoned:
		died := int64(0)
		if e.Died {
			died = 1
		}
		return b.one(ctx, e.Task, `update tasks set status = $2, runner = '', deaths = deaths + $3, changed = $4 where task = $1 and finished = 0`,
			string(e.Task), task.Waiting.String(), died, at)
	case *event.TaskCompleted:
		return b.end(ctx, e.Task, task.Completed, at, e.Result, "", "", "")
	case *event.TaskFailed:
		return b.end(ctx, e.Task, task.Failed, at, e.Result, e.Error, e.Hint, "")
	case *event.TaskCancelled:
		return b.end(ctx, e.Task, task.Cancelled, at, e.Result, "", "", e.By)
	case *event.TasksForgotten:
		_, err := b.tx.Exec(ctx, `delete from tasks where finished > 0 and submitted < $1`, e.Before)
		return err
	}
	return domain.Errorf(domain.Corrupt, "%s is not an event of tasks", event.Name(e))
}

func (b *batch) end(ctx context.Context, id domain.TaskID, status task.Status, at int64, result, failure, hint, by string) error {
	b.ended++
	return b.one(ctx, id, `update tasks set status = $2, result = $3, error = $4, hint = $5, cancelled_by = $6, ended = $7, changed = $7, finished = $8
		where task = $1 and finished = 0`, string(id), status.String(), result, failure, hint, by, at, b.ended)
}

// one runs a statement that must change one row.
func (b *batch) one(ctx context.Context, id domain.TaskID, query string, args ...any) error {
	n, err := b.tx.Exec(ctx, query, args...)
	switch {
	case domain.Is(err, domain.Exists):
		return &projections.Damage{Account: domain.TasksID, What: err.Error()}
	case err == nil && n != 1:
		return &projections.Damage{Account: domain.TasksID, What: fmt.Sprintf("task %s is not there or has ended", id)}
	}
	return err
}

// Remove has nothing to do: tasks belong to no account.
func (b *batch) Remove(context.Context, domain.AccountID) error { return nil }

func (b *batch) Flush(ctx context.Context) error {
	if b.at.Tx == 0 {
		return nil
	}
	if _, err := b.tx.Exec(ctx, `delete from tasks where finished > 0 and finished <= $1`, b.ended-b.kept); err != nil {
		return err
	}
	_, err := b.tx.Exec(ctx, `insert into tasks_position (account, seq, tx, hash, created, ended) values ($1, $2, $3, $4, $5, $6)
		on conflict (account) do update set seq = excluded.seq, tx = excluded.tx, hash = excluded.hash, created = excluded.created, ended = excluded.ended`,
		string(domain.TasksID), int64(b.at.Seq), int64(b.at.Tx), b.at.Hash[:], b.created, b.ended)
	return err
}
