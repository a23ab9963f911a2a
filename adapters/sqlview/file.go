package sqlview

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/migrations"
	"github.com/streampost/streampost/projections"
	"modernc.org/sqlite" // also registers the driver
)

// file is one view file. It implements projections.View.
type file struct {
	path    string
	damaged atomic.Bool // a statement met malformed content

	writing sync.Mutex // guards the fields below
	writer  *sql.DB
	conn    *sql.Conn            // the one connection of writer
	texts   map[string]*sql.Stmt // compiled on conn, by text

	idle *time.Timer // gives the writer's cache back
	rest time.Duration

	readers *sql.DB
	read    sync.Map // text -> *sql.Stmt on readers
}

var _ projections.View = (*file)(nil)

// pageSize holds a typical row of structures in one page, while a single flag change still writes little.
const pageSize = 8192

func openFile(ctx context.Context, path string, opt Options, shadow bool) (*file, error) {
	if err := checkLength(path); err != nil {
		return nil, err
	}
	// The file is made here, so that nobody else can ever read it; SQLite gives its log the same permissions.
	created, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, unwritable(err, path)
	}
	_ = created.Close() // nothing was written
	busy := fmt.Sprintf("busy_timeout(%d)", opt.BusyTimeout.Milliseconds())
	write := []string{busy, fmt.Sprintf("page_size(%d)", pageSize), fmt.Sprintf("cache_size(-%d)", opt.WriteCache), "secure_delete(on)", "temp_store(memory)"}
	if shadow {
		write = append(write, "journal_mode(off)", "synchronous(off)", "secure_delete(off)")
	} else {
		write = append(write, "journal_mode(wal)", "synchronous(normal)", "wal_autocheckpoint(2000)", "journal_size_limit(67108864)")
	}
	f := &file{path: path, texts: map[string]*sql.Stmt{}, rest: opt.Idle}
	f.idle = time.AfterFunc(opt.Idle, f.shrink)
	if f.writer, err = open(path, write); err != nil {
		return nil, err
	}
	f.writer.SetMaxOpenConns(1)
	f.writer.SetMaxIdleConns(1)
	if f.readers, err = open(path, []string{busy, "query_only(on)", fmt.Sprintf("cache_size(-%d)", opt.ReadCache), "temp_store(memory)"}); err != nil {
		f.close()
		return nil, err
	}
	f.readers.SetMaxOpenConns(opt.Readers)
	f.readers.SetMaxIdleConns(opt.Readers)
	f.readers.SetConnMaxIdleTime(opt.Idle)
	if f.conn, err = f.writer.Conn(ctx); err == nil {
		_, err = f.conn.ExecContext(ctx, migrations.SQLite("cursors"))
	}
	if err != nil {
		f.close()
		return nil, f.fault(err, "open a view file")
	}
	return f, nil
}

func open(path string, pragmas []string) (*sql.DB, error) {
	query := url.Values{"_pragma": pragmas}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "open a view file")
	}
	return db, nil
}

// checkLength finds a file that lost its end, which SQLite itself would notice only when it needs a page from there. While a write-ahead log
// is beside it the file may rightly be shorter than it says.
func checkLength(path string) error {
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil // what cannot be opened is reported by whoever writes it
	}
	defer f.Close()
	var header [32]byte // https://www.sqlite.org/fileformat.html section 1.3
	if n, err := io.ReadFull(f, header[:]); err != nil {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("%w: the header is cut off", errDamaged)
	}
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 65536
	}
	if want := page * int64(binary.BigEndian.Uint32(header[28:])); info.Size() < want {
		return fmt.Errorf("%w: %d of %d octets are there", errDamaged, info.Size(), want)
	}
	return nil
}

func (f *file) close() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.idle.Stop()
	for _, s := range f.texts {
		_ = s.Close()
	}
	f.texts = nil
	f.read.Range(func(_, s any) bool { _ = s.(*sql.Stmt).Close(); return true })
	if f.readers != nil {
		_ = f.readers.Close() // before the writer, whose close folds the write-ahead log into the file
	}
	if f.conn != nil {
		_ = f.conn.Close()
	}
	_ = f.writer.Close()
}

// Update runs g in a write transaction. The statements themselves cannot be interrupted, so that a cancelled context never leaves one half
// done; g sees the context and stops between them.
func (f *file) Update(ctx context.Context, g func(projections.Tx) error) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.texts == nil {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.idle.Reset(f.rest)
	tx := &tx{f}
	if _, err := tx.Exec(ctx, "begin immediate"); err != nil {
		return err
	}
	err := f.reading(g(tx))
	if err == nil {
		_, err = tx.Exec(ctx, "commit")
	}
	if err != nil {
		if _, undo := tx.Exec(ctx, "rollback"); undo != nil && f.conn.PingContext(context.WithoutCancel(ctx)) != nil {
			f.damaged.Store(true) // the connection is of no use any more
		}
	}
	return err
}

// shrink gives the pages back that the writer keeps in memory.
func (f *file) shrink() {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.texts != nil {
		_, _ = f.conn.ExecContext(context.Background(), "pragma shrink_memory") // at worst nothing is given back
	}
}

// Scrub empties the write-ahead log into the file, where deleted content is overwritten, and deletes what was once moved aside.
func (f *file) Scrub(ctx context.Context) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.texts == nil {
		return errClosed
	}
	if err := removeFiles(f.path + aside); err != nil {
		return err
	}
	var busy, frames, moved int
	if err := f.conn.QueryRowContext(context.WithoutCancel(ctx), "pragma wal_checkpoint(truncate)").Scan(&busy, &frames, &moved); err != nil {
		return f.fault(err, "scrub a view")
	}
	if busy != 0 {
		return domain.Errorf(domain.Unavailable, "the view is being read: it cannot be scrubbed now")
	}
	return nil
}

var errClosed = domain.Errorf(domain.Unavailable, "the view is closed")

// tx is the open write transaction of a file.
type tx struct{ f *file }

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

func (t *tx) Create(ctx context.Context, projection string) error {
	text := migrations.SQLite(projection)
	if text == "" {
		return domain.Errorf(domain.Internal, "projection %s has no definition", projection)
	}
	if _, err := t.f.conn.ExecContext(context.WithoutCancel(ctx), text); err != nil {
		return t.f.fault(err, "create the tables of "+projection)
	}
	return nil
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
	if errors.Is(e, errDamaged) {
		f.damaged.Store(true)
	}
	return e
}
