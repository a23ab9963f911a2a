package sqlview

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"modernc.org/sqlite"
)

// Update runs g in a write transaction. The statements themselves cannot be interrupted, so that a cancelled context never leaves one half
// done; g sees the context and stops between them.
func (f *file) Update(ctx context.Context, g func(projections.Tx) error) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.awake(ctx); err != nil {
		return err
	}
	f.idle.Stop() // g may take long
	defer func() { f.idle.Reset(f.rest) }()
	tx := &tx{f: f}
	f.sums.begin()
	if _, err := tx.Exec(ctx, "begin immediate"); err != nil {
		return err
	}
	err := f.reading(g(tx))
	if err == nil {
		err = tx.sum(ctx)
	}
	if err == nil {
		err = tx.commit(ctx)
	}
	if info, lost := os.Stat(f.path); err == nil && lost == nil {
		f.most = max(f.most, info.Size())
	}
	if err != nil {
		if _, undo := tx.Exec(ctx, "rollback"); undo != nil && f.conn.PingContext(context.WithoutCancel(ctx)) != nil {
			f.damaged.Store(true) // the connection is of no use any more
		}
	}
	return err
}

// tx is the open write transaction of a file.
type tx struct {
	f    *file
	rows int // that Insert added
}

// bulk is how many rows make a transaction so large that moving its pages from the log to the file takes longer than others should wait for a commit.
const bulk = 20_000

// commit commits. SQLite empties a long log within the commit, in which case nobody hears of what was committed before that has been synced, too.
func (t *tx) commit(ctx context.Context) error {
	large := t.rows >= bulk && t.f.journal == "wal"
	if large {
		if _, err := t.f.conn.ExecContext(context.WithoutCancel(ctx), "pragma wal_autocheckpoint(0)"); err != nil {
			return t.f.fault(err, "write to a view")
		}
	}
	_, err := t.Exec(ctx, "commit")
	if large {
		t.f.settling++
		go t.f.settle(context.Background())
	}
	return err
}

// settle moves the log's pages to the file, beside readers and the writer, and has the writer do it from then on. Who calls it has counted it as settling.
func (f *file) settle(ctx context.Context) {
	if db, err := open(f.path, "", []string{"busy_timeout(5000)", "synchronous(normal)"}); err == nil {
		_, _ = db.ExecContext(ctx, "pragma wal_checkpoint(passive)") // the writer would meet the same error
		_ = db.Close()
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.settling--; f.conn != nil {
		_, _ = f.conn.ExecContext(context.Background(), "pragma "+autocheckpoint)
	}
	f.settled.Broadcast()
}

// Settle is of projections.Settler: the next commit finds a log that is short, and was begun anew already, for which SQLite waits until its header is synced.
func (f *file) Settle(ctx context.Context) {
	f.writing.Lock()
	waits := f.journal == "wal" && !f.closed
	if waits {
		f.settling++
	}
	f.writing.Unlock()
	if !waits {
		return
	}
	f.settle(ctx)
	_ = f.Update(ctx, func(t projections.Tx) error { // the next commit would meet the same error
		_, err := t.Exec(ctx, "update head set seq = seq")
		return err
	})
}

func (t *tx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := t.f.texts[query]; s != nil {
		return s, nil
	}
	s, err := t.f.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, t.f.fault(err, "prepare a statement on a view")
	}
	t.f.texts[query] = s
	return s, nil
}

func (t *tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := t.f.tell(!t.f.sums.uncounted(query)); err != nil {
		return 0, err
	}
	return t.exec(ctx, query, args...)
}

func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx = context.WithoutCancel(ctx)
	s, err := t.prepare(ctx, query)
	if err != nil {
		return 0, err
	}
	result, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, t.f.fault(err, "write to a view")
	}
	return result.RowsAffected()
}

func (t *tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx = context.WithoutCancel(ctx)
	s, err := t.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return nil, t.f.fault(err, "read a view")
	}
	return rows, nil
}

func (t *tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	ctx = context.WithoutCancel(ctx)
	s, err := t.prepare(ctx, query)
	if err != nil {
		return t.f.conn.QueryRowContext(ctx, query, args...) // fails again, and the row carries the error
	}
	return s.QueryRowContext(ctx, args...)
}

func (t *tx) Each(ctx context.Context, query string, rows [][]any) ([]int64, error) {
	changed := make([]int64, len(rows))
	for i, row := range rows {
		n, err := t.Exec(ctx, query, row...)
		if err != nil {
			return nil, err
		}
		changed[i] = n
	}
	return changed, nil
}

// together is how many values one statement of Insert has at most: a statement for many rows costs less than many statements.
const together = 600

func (t *tx) Insert(ctx context.Context, table string, columns []string, rows [][]any) error {
	return t.add(ctx, table, columns, rows, t.f.sums.inserted(table, columns, rows))
}

func (t *tx) Copy(ctx context.Context, table string, columns []string, rows [][]any) error {
	return t.add(ctx, table, columns, rows, true)
}

// add inserts rows. counted says that their digests are known.
func (t *tx) add(ctx context.Context, table string, columns []string, rows [][]any, counted bool) error {
	args := make([]driver.NamedValue, min(max(1, together/len(columns)), len(rows))*len(columns))
	for at := range args {
		args[at].Ordinal = at + 1
	}
	for len(rows) > 0 {
		account, n := run(rows)
		if err := t.insertRun(ctx, table, columns, rows[:n], args, account != "", counted); err != nil {
			if account != "" && domain.Is(err, domain.Exists) {
				err = &projections.Duplicate{Account: domain.AccountID(account), Err: err}
			}
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// run tells how many rows begin with the same text, which is their account. Rows that begin with anything else are all alike.
func run(rows [][]any) (account string, n int) {
	account, owned := rows[0][0].(string)
	if !owned {
		return "", len(rows)
	}
	for n < len(rows) && rows[n][0] == rows[0][0] {
		n++
	}
	return account, n
}

// insertRun inserts rows, of one account if owned. args has room for the values of a statement.
func (t *tx) insertRun(ctx context.Context, table string, columns []string, rows [][]any, args []driver.NamedValue, owned, counted bool) error {
	many := max(1, together/len(columns))
	var last insertion
	var text string
	for len(rows) > 0 {
		i := insertion{rows: 1}
		for _, n := range []int{many, many / 8} {
			if n > 1 && len(rows) >= n {
				i = insertion{rows: n, owned: owned}
				break
			}
		}
		if i != last {
			last, text = i, i.text(table, columns)
		}
		n := 0
		for at, row := range rows[:i.rows] {
			if i.owned && at > 0 {
				row = row[1:]
			}
			for _, v := range row {
				args[n].Value = v
				n++
			}
		}
		if err := t.f.tell(!counted); err != nil {
			return err
		}
		if err := t.insert(ctx, text, args[:n]); err != nil {
			return err
		}
		rows = rows[i.rows:]
		t.rows += i.rows
	}
	return nil
}

// insert runs a statement of Insert past database/sql, which looks at each of its hundreds of values again.
func (t *tx) insert(ctx context.Context, text string, args []driver.NamedValue) error {
	ctx = context.WithoutCancel(ctx)
	err := t.f.conn.Raw(func(conn any) (err error) {
		s := t.f.inserts[text]
		if s == nil {
			if s, err = conn.(driver.ConnPrepareContext).PrepareContext(ctx, text); err != nil {
				return err
			}
			t.f.inserts[text] = s
		}
		_, err = s.(driver.StmtExecContext).ExecContext(ctx, args)
		return err
	})
	if err != nil {
		return t.f.fault(err, "write to a view")
	}
	return nil
}

// insertion is a statement of Insert.
type insertion struct {
	rows  int
	owned bool // the first value is the same in all rows, and given once
}

// text is the statement's. Its places have no names, but for the one that stands in every row: SQLite's driver looks each name up among all of them. What
// was inserted before a conflict stays, for the transaction is given up anyway; else SQLite would copy every page before the statement changes it.
func (i insertion) text(table string, columns []string) string {
	first := "(?"
	if i.owned {
		first = "(?1"
	}
	row := first + strings.Repeat(", ?", len(columns)-1) + ")"
	return "insert or fail into " + table + " (" + strings.Join(columns, ", ") + ") values " + row + strings.Repeat(", "+row, i.rows-1)
}

// Query reads the committed rows. Its statement is compiled once for each connection.
func (f *file) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, ok := f.read.Load(query)
	if !ok {
		prepared, err := f.readers.PrepareContext(ctx, query)
		if err != nil {
			return nil, f.fault(err, "prepare a query")
		}
		if s, ok = f.read.LoadOrStore(query, prepared); ok {
			_ = prepared.Close()
		}
	}
	rows, err := s.(*sql.Stmt).QueryContext(ctx, args...)
	if err != nil {
		return nil, f.fault(err, "read a view")
	}
	return rows, nil
}

// Snapshot runs g on one committed state.
func (f *file) Snapshot(ctx context.Context, g func(projections.Reader) error) error {
	tx, err := f.readers.BeginTx(ctx, nil)
	if err != nil {
		return f.fault(err, "read a view")
	}
	defer tx.Rollback() // nothing was written
	return f.reading(g(snapshot{f, tx}))
}

type snapshot struct {
	f  *file
	tx *sql.Tx
}

func (s snapshot) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := s.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.f.fault(err, "read a view")
	}
	return rows, nil
}

func (s snapshot) Snapshot(_ context.Context, g func(projections.Reader) error) error { return g(s) }

// reading classifies an error of SQLite that was met while rows were scanned; other errors of a caller's function pass as they are.
func (f *file) reading(err error) error {
	var s *sqlite.Error
	if errors.As(err, &s) {
		return f.fault(err, "read a view")
	}
	return err
}

// fault gives an error of SQLite its kind, and remembers damage.
func (f *file) fault(err error, doing string) error {
	e := classify(err, doing)
	var met *sqlite.Error
	if errors.As(err, &met) && !errors.Is(e, projections.ErrDamaged) && !domain.Is(e, domain.Exists) {
		if gone := f.whole(); errors.Is(gone, projections.ErrDamaged) {
			e = classify(gone, doing)
		}
	}
	if errors.Is(e, projections.ErrDamaged) {
		f.damaged.Store(true)
	}
	return e
}
