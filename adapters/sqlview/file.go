package sqlview

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/migrations"
	"github.com/streampost/streampost/projections"
	_ "modernc.org/sqlite" // registers the driver
)

// file is one view file. It implements projections.View.
type file struct {
	path    string
	made    os.FileInfo // of the file as it was opened
	damaged atomic.Bool // a statement met malformed content, or the file is not what was opened
	journal string      // mode of the writer
	pragmas []string    // of the writer
	rest    time.Duration

	writing sync.Mutex // guards the fields below
	closed  bool
	most    int64 // octets that the file was seen to have; it never shrinks
	writer  *sql.DB
	conn    *sql.Conn            // the one connection of writer; nil at rest
	texts   map[string]*sql.Stmt // compiled on conn, by text
	inserts map[string]driver.Stmt
	sums    sums        // of the open transaction
	idle    *time.Timer // closes conn

	settling int        // how many move the pages of a large transaction
	settled  *sync.Cond // on writing, when that is fewer

	readers *sql.DB
	read    sync.Map // text -> *sql.Stmt on readers
}

var _ projections.View = (*file)(nil)

// pageSize holds a typical row of structures in one page, while a single flag change still writes little.
const pageSize = 8192

// autocheckpoint is the number of pages in the log from which a commit moves them to the file.
const autocheckpoint = "wal_autocheckpoint(2000)"

// openFile opens a file, and makes one with the tables of the projection when there is none or an empty one.
func openFile(ctx context.Context, path, projection string, opt Options, scratch bool) (*file, error) {
	empty, err := checkLength(path)
	if err != nil {
		return nil, err
	}
	if empty && migrations.SQLite(projection) == "" {
		return nil, undefined(projection)
	}
	// The file is made here, so that nobody else can ever read it; SQLite gives its log the same permissions.
	created, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, unwritable(err, path)
	}
	made, err := created.Stat()
	_ = created.Close() // nothing was written
	if err != nil {
		return nil, unwritable(err, path)
	}
	busy := fmt.Sprintf("busy_timeout(%d)", opt.BusyTimeout.Milliseconds())
	f := &file{path: path, made: made, rest: opt.Idle}
	f.settled = sync.NewCond(&f.writing)
	f.pragmas = []string{busy, fmt.Sprintf("page_size(%d)", pageSize), fmt.Sprintf("cache_size(-%d)", opt.WriteCache), "temp_store(memory)"}
	if scratch {
		f.journal, f.pragmas = "off", append(f.pragmas, "synchronous(off)")
	} else {
		f.journal, f.pragmas = "wal", append(f.pragmas, "synchronous(normal)", autocheckpoint, "journal_size_limit(67108864)", "secure_delete(on)")
	}
	if f.readers, err = open(path, "", []string{busy, "query_only(on)", fmt.Sprintf("cache_size(-%d)", opt.ReadCache), "temp_store(memory)"}); err != nil {
		return nil, err
	}
	f.readers.SetMaxOpenConns(opt.Readers)
	f.readers.SetMaxIdleConns(opt.Readers)
	f.readers.SetConnMaxIdleTime(opt.Idle)
	if empty {
		err = f.create(ctx, projection)
	} else {
		err = f.probe(ctx)
	}
	if err == nil {
		f.sums, err = f.counted(ctx, projection)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// open opens a file. The driver runs pragmas in the order of their names and the mode of the journal after them. A new file gets its first page, and with
// it the size of all, when the log is switched on.
func open(path, journal string, pragmas []string) (*sql.DB, error) {
	query := url.Values{"_pragma": pragmas, "mode": {"rw"}} // a file that went is not made again
	if journal != "" {
		query.Set("_journal_mode", journal)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "open a view file")
	}
	return db, nil
}

// create makes the tables.
func (f *file) create(ctx context.Context, projection string) error {
	return f.Update(ctx, func(projections.Tx) error {
		if _, err := f.conn.ExecContext(context.WithoutCancel(ctx), migrations.SQLite("head")+migrations.SQLite("digests")+migrations.SQLite("ahead")+migrations.SQLite(projection)); err != nil {
			return f.fault(err, "create the tables of "+projection)
		}
		return nil
	})
}

// probe finds a file that is none of ours.
func (f *file) probe(ctx context.Context) error {
	var n int
	if err := f.readers.QueryRowContext(ctx, "select count(*) from head").Scan(&n); err != nil {
		err = f.fault(err, "open a view file")
		if domain.Is(err, domain.Internal) && ctx.Err() == nil { // there is no such table
			err = fmt.Errorf("%w: %w", projections.ErrDamaged, err)
		}
		return err
	}
	if n != 1 {
		return fmt.Errorf("%w: the head has %d rows", projections.ErrDamaged, n)
	}
	// Files of builds that knew neither digests nor accounts ahead get what they lack.
	for _, lacks := range []struct{ unless, add string }{
		{"select count(*) from pragma_table_info('head') where name = 'counted'", "alter table head add column counted integer not null default 0;" + migrations.SQLite("digests")},
		{"select count(*) from sqlite_master where name = 'ahead'", migrations.SQLite("ahead")},
	} {
		if err := f.readers.QueryRowContext(ctx, lacks.unless).Scan(&n); err != nil {
			return f.fault(err, "open a view file")
		}
		if n == 1 {
			continue
		}
		if err := f.Update(ctx, func(projections.Tx) error {
			if _, err := f.conn.ExecContext(context.WithoutCancel(ctx), lacks.add); err != nil {
				return f.fault(err, "add a table to a view file")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// checkLength finds a file that lost its end, which SQLite itself would notice only when it needs a page from there. While a write-ahead log
// is beside it the file may rightly be shorter than it says. A file that is empty or not there has yet to be made.
func checkLength(path string) (empty bool, err error) {
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		info, err := os.Stat(path)
		if err != nil {
			return true, removeFiles(path) // a log without its file says nothing
		}
		return info.Size() == 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return true, nil // what cannot be opened is reported by whoever writes it
	}
	defer f.Close()
	var header [32]byte // https://www.sqlite.org/fileformat.html section 1.3
	if n, err := io.ReadFull(f, header[:]); err != nil {
		if n == 0 {
			return true, nil
		}
		return false, fmt.Errorf("%w: the header is cut off", projections.ErrDamaged)
	}
	info, err := f.Stat()
	if err != nil {
		return false, nil
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 65536
	}
	if want := page * int64(binary.BigEndian.Uint32(header[28:])); info.Size() < want {
		return false, fmt.Errorf("%w: %d of %d octets are there", projections.ErrDamaged, info.Size(), want)
	}
	return false, nil
}

// whole tells whether the file can still be used: nothing malformed was met, and it is what was opened.
func (f *file) whole() error {
	info, err := os.Stat(f.path)
	switch {
	case f.damaged.Load():
		return fmt.Errorf("%w: its content is malformed", projections.ErrDamaged)
	case os.IsNotExist(err):
		err = fmt.Errorf("%w: the file was deleted", projections.ErrDamaged)
	case err != nil:
		return unwritable(err, f.path)
	case !os.SameFile(f.made, info):
		err = fmt.Errorf("%w: the file was replaced", projections.ErrDamaged)
	default:
		return nil
	}
	f.damaged.Store(true)
	return err
}

// awake makes the writer's connection. The caller holds writing.
func (f *file) awake(ctx context.Context) error {
	if f.closed {
		return errClosed
	}
	if err := f.whole(); err != nil {
		return classify(err, "write to a view")
	}
	if info, err := os.Stat(f.path); err == nil {
		if info.Size() < f.most {
			f.damaged.Store(true)
			return classify(fmt.Errorf("%w: the file was cut to %d of %d octets", projections.ErrDamaged, info.Size(), f.most), "write to a view")
		}
		f.most = info.Size()
	}
	if f.conn != nil {
		f.idle.Reset(f.rest)
		return nil
	}
	db, err := open(f.path, f.journal, f.pragmas)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		return f.fault(err, "open a view file")
	}
	f.writer, f.conn, f.texts, f.inserts = db, conn, map[string]*sql.Stmt{}, map[string]driver.Stmt{}
	f.idle = time.AfterFunc(f.rest, f.sleep)
	return nil
}

// sleep closes the writer's connection until it is needed again. With it goes its cache, and, when nobody reads, the write-ahead log.
func (f *file) sleep() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.lieDown()
}

func (f *file) lieDown() {
	if f.conn == nil {
		return
	}
	f.idle.Stop()
	for _, s := range f.texts {
		_ = s.Close()
	}
	_ = f.tell(false)
	_ = f.conn.Raw(func(any) error {
		for _, s := range f.inserts {
			_ = s.Close()
		}
		return nil
	})
	_ = f.conn.Close()
	_ = f.writer.Close()
	f.conn, f.writer, f.texts, f.inserts = nil, nil, nil, nil
}

func (f *file) close() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.closed = true
	for f.settling > 0 {
		f.settled.Wait()
	}
	f.read.Range(func(_, s any) bool { _ = s.(*sql.Stmt).Close(); return true })
	_ = f.readers.Close() // before the writer, whose close folds the write-ahead log into the file
	f.lieDown()
}

// Scrub empties the write-ahead log into the file, where deleted content is overwritten, and deletes what was once moved aside.
func (f *file) Scrub(ctx context.Context) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	for f.settling > 0 {
		f.settled.Wait()
	}
	if err := f.awake(ctx); err != nil {
		return err
	}
	name := filepath.Base(f.path)
	if parts := strings.Split(name, "."); len(parts) == 4 {
		kept, err := os.ReadDir(filepath.Dir(f.path))
		if err != nil {
			return unwritable(err, f.path)
		}
		for _, entry := range kept {
			if n := entry.Name(); strings.HasPrefix(n, parts[0]+"."+parts[1]+".") && strings.Contains(n, ending+aside) {
				if err := os.Remove(filepath.Join(filepath.Dir(f.path), n)); err != nil {
					return unwritable(err, f.path)
				}
			}
		}
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

// copy writes the committed rows to another file, whose head is of no version and not ready.
func (f *file) copy(ctx context.Context, path string) error {
	made, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unwritable(err, path)
	}
	_ = made.Close() // nothing was written
	db, err := open(f.path, "", []string{"busy_timeout(5000)"})
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "vacuum into $1", path); err != nil {
		return f.fault(err, "copy a view")
	}
	to, err := open(path, f.journal, f.pragmas)
	if err != nil {
		return err
	}
	_, err = to.ExecContext(ctx, "update head set version = 0, ready = 0")
	if closed := to.Close(); err == nil { // folds its write-ahead log into the file
		err = closed
	}
	if err != nil {
		return f.fault(err, "copy a view")
	}
	return nil
}

var errClosed = domain.Errorf(domain.Unavailable, "the view is closed")
