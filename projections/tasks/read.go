package tasks

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Task is what the view knows of one. Times are Unix milliseconds, 0 where there is none.
type Task struct {
	ID          domain.TaskID
	Kind        string
	About       string
	Status      task.Status
	Parameters  string // JSON, as Progress and Result are
	Progress    string
	Result      string
	Error       string
	Hint        string
	SubmittedBy string
	Node        string // that took the order
	On          string // the one node that may run it; empty when any may
	Runner      string // the node of the last attempt
	Attempt     uint32
	CancelledBy string
	Submitted   int64
	Started     int64 // of the last attempt
	Ended       int64
	Changed     int64
}

// Span is the time between two moments, both exclusive, in Unix milliseconds; 0 leaves a side open.
type Span struct{ After, Before int64 }

// Filter says which tasks are meant. The zero Filter means all.
type Filter struct {
	Status    string // its name
	Kind      string
	About     string
	Text      string // occurs in parameters, error or submitter, whatever the case of ASCII letters
	Submitted Span
	Started   Span
	Completed Span // ended well
	Failed    Span
}

// Page says which part of a list is wanted. Next is faster than Offset when the list is long.
type Page struct {
	Limit  int           // at most MaxPage; 0 means MaxPage
	Offset int           // tasks passed over
	Next   domain.TaskID // begin after this task
}

// MaxPage is the most that one page has.
const MaxPage = 1_000

const columns = `task, kind, about, status, parameters, progress, result, error, hint, submitted_by, node, bound, runner, attempt, cancelled_by,
	submitted, started, ended, changed`

// Find reads one task. Errors: domain.NotFound.
func Find(ctx context.Context, r projections.Reader, id domain.TaskID) (Task, error) {
	found, err := query(ctx, r, `select `+columns+` from tasks where task = $1`, string(id))
	if err == nil && len(found) == 0 {
		err = domain.Errorf(domain.NotFound, "there is no task %s, or it ended long ago", id)
	}
	if err != nil {
		return Task{}, err
	}
	return found[0], nil
}

// List reads a page of tasks, the newest first. A page of tasks of one status, kind or subject costs as much as it is long; spans of time and
// Text pass over what does not fit, which is at most Kept and the open ones. Errors: domain.NotFound when Page.Next is no task any more.
func List(ctx context.Context, r projections.Reader, f Filter, p Page) (found []Task, err error) {
	var where []string
	var args []any
	// arg adds a value and gives its placeholder.
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	for _, equal := range []struct{ column, value string }{{"status", f.Status}, {"kind", f.Kind}, {"about", f.About}} {
		if equal.value != "" {
			where = append(where, equal.column+" = "+arg(equal.value))
		}
	}
	if f.Text != "" {
		like := arg("%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(f.Text)) + "%")
		where = append(where, fmt.Sprintf(`(lower(parameters) like %[1]s escape '\' or lower(error) like %[1]s escape '\' or lower(submitted_by) like %[1]s escape '\')`, like))
	}
	for _, span := range []struct {
		Span
		column, status string
	}{{f.Submitted, "submitted", ""}, {f.Started, "started", ""}, {f.Completed, "ended", task.Completed.String()}, {f.Failed, "ended", task.Failed.String()}} {
		if span.Span == (Span{}) {
			continue
		}
		where = append(where, span.column+" > "+arg(span.After))
		if span.Before != 0 {
			where = append(where, span.column+" < "+arg(span.Before))
		}
		if span.status != "" {
			where = append(where, "status = "+arg(span.status))
		}
	}
	err = r.Snapshot(ctx, func(r projections.Reader) error {
		if p.Next != "" {
			submitted, place, err := position(ctx, r, p.Next)
			if err != nil {
				return err
			}
			where = append(where, fmt.Sprintf("(submitted, place) < (%s, %s)", arg(submitted), arg(place)))
		}
		text := `select ` + columns + ` from tasks`
		if len(where) > 0 {
			text += ` where ` + strings.Join(where, ` and `)
		}
		limit := p.Limit
		if limit <= 0 || limit > MaxPage {
			limit = MaxPage
		}
		text += fmt.Sprintf(` order by submitted desc, place desc limit %s offset %s`, arg(int64(limit)), arg(int64(max(p.Offset, 0))))
		found, err = query(ctx, r, text, args...)
		return err
	})
	return found, err
}

// Ended counts the tasks that have ended and were submitted before a time in Unix milliseconds.
func Ended(ctx context.Context, r projections.Reader, before int64) (n int, err error) {
	rows, err := r.Query(ctx, `select count(*) from tasks where finished > 0 and submitted < $1`, before)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(&n)
	}
	return n, errors.Join(err, rows.Err())
}

// position gives a task's place in the order of a list.
func position(ctx context.Context, r projections.Reader, id domain.TaskID) (submitted, place int64, err error) {
	rows, err := r.Query(ctx, `select submitted, place from tasks where task = $1`, string(id))
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return 0, 0, err
		}
		return 0, 0, domain.Errorf(domain.NotFound, "there is no task %s to go on from: begin anew", id)
	}
	err = rows.Scan(&submitted, &place)
	return submitted, place, err
}

func query(ctx context.Context, r projections.Reader, text string, args ...any) (found []Task, err error) {
	rows, err := r.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t Task
		var id, status string
		if err := rows.Scan(&id, &t.Kind, &t.About, &status, &t.Parameters, &t.Progress, &t.Result, &t.Error, &t.Hint, &t.SubmittedBy, &t.Node, &t.On,
			&t.Runner, &t.Attempt, &t.CancelledBy, &t.Submitted, &t.Started, &t.Ended, &t.Changed); err != nil {
			return nil, err
		}
		t.ID = domain.TaskID(id)
		if t.Status, err = task.ParseStatus(status); err != nil {
			return nil, domain.Wrap(domain.Corrupt, err, "read the view of tasks")
		}
		found = append(found, t)
	}
	return found, rows.Err()
}

// Load gives the state of tasks that the view stands for, and where its log stood then. It costs as much as there are open tasks.
func Load(ctx context.Context, r projections.Reader) (state *task.State, at streams.Position, err error) {
	state = task.New()
	err = r.Snapshot(ctx, func(r projections.Reader) error {
		if at, state.Created, err = loadPosition(ctx, r); err != nil {
			return err
		}
		state.Tx = at.Tx
		rows, err := r.Query(ctx, `select task, place, kind, parameters, submitted_by, node, bound, status, runner, attempt, deaths, progress, cancelled_by
			from tasks where finished = 0`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t task.Task
			var id, status string
			if err := rows.Scan(&id, &t.Place, &t.Kind, &t.Parameters, &t.SubmittedBy, &t.Node, &t.On, &status, &t.Runner, &t.Attempt, &t.Deaths, &t.Progress,
				&t.CancelledBy); err != nil {
				return err
			}
			t.ID = domain.TaskID(id)
			if t.Status, err = task.ParseStatus(status); err != nil || t.Status.Ended() {
				return domain.Errorf(domain.Corrupt, "the view has an open task %s that is %s", id, status)
			}
			state.Open[t.ID] = &t
		}
		return rows.Err()
	})
	return state, at, err
}

func loadPosition(ctx context.Context, r projections.Reader) (at streams.Position, created uint64, err error) {
	rows, err := r.Query(ctx, `select seq, tx, hash, created from tasks_position where account = $1`, string(domain.TasksID))
	if err != nil {
		return at, 0, err
	}
	defer rows.Close()
	if rows.Next() {
		var hash []byte
		if err := rows.Scan(&at.Seq, &at.Tx, &hash, &created); err != nil {
			return at, 0, err
		}
		copy(at.Hash[:], hash)
	}
	return at, created, rows.Err()
}
