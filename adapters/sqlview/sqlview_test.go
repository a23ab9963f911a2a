package sqlview_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/viewtest"
)

var first = projections.Generation{Stream: "ACCOUNTS_0", Projection: "quota", Number: 1}

func open(t *testing.T, dir string) (*sqlview.Views, projections.View) {
	t.Helper()
	views, err := sqlview.Open(dir, sqlview.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	view, err := views.Open(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	return views, view
}

// set writes one row of quota.
func set(ctx context.Context, view projections.View, account string, bytes int64) error {
	return view.Update(ctx, func(tx projections.Tx) error {
		_, err := tx.Exec(ctx, `insert into quota (account, bytes, messages) values ($1, $2, 0) on conflict (account) do update set bytes = excluded.bytes`, account, bytes)
		return err
	})
}

func sum(t *testing.T, r projections.Reader) (n int64) {
	t.Helper()
	rows, err := r.Query(t.Context(), `select coalesce(sum(bytes), 0) from quota`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return n
}

// The conformance of SQLite.
func TestViews(t *testing.T) {
	viewtest.Test(t, func(t *testing.T, dir string) projections.Views {
		views, err := sqlview.Open(dir, sqlview.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = views.Close() })
		return views
	}, func(v projections.Views) { _ = v.(*sqlview.Views).Close() })
}

// Nobody but the owner can read views, comparing leaves no file, and those of earlier builds go.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "views")
	views, view := open(t, dir)
	shadow, release, err := views.Scratch(t.Context(), "quota")
	if err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), shadow, "a", 1); err != nil || sum(t, shadow) != 1 || sum(t, view) != 0 {
		t.Errorf("scratch: %v", err)
	}
	release()
	if left, _ := filepath.Glob(dir + "/*scratch*"); len(left) > 0 {
		t.Errorf("%v are left over", left)
	}
	gone := []string{"quota.scratch-1", "ACCOUNTS_0.quota.2.db.copying", "ACCOUNTS_0.db", "ACCOUNTS_0.db-wal", "DIRECTORY.db", "ACCOUNTS_1.db.damaged"}
	for _, name := range gone {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := views.Copy(t.Context(), first, projections.Generation{Stream: "ACCOUNTS_0", Projection: "quota", Number: 3}); err != nil {
		t.Fatal(err)
	}
	_ = views.Close()
	open(t, dir)
	names, _ := filepath.Glob(dir + "/*")
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
		if slices.Contains(gone, filepath.Base(name)) {
			t.Errorf("%s is left over", name)
		}
		if header, _ := os.ReadFile(name); strings.HasSuffix(name, ".db") && binary.BigEndian.Uint16(header[16:]) != 8192 { // https://www.sqlite.org/fileformat.html section 1.3.2
			t.Errorf("%s has pages of %d octets", name, binary.BigEndian.Uint16(header[16:]))
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
	for _, stream := range []string{"../etc", "a.b", ""} {
		if _, err := views.Open(t.Context(), projections.Generation{Stream: stream, Projection: "quota", Number: 1}); !domain.Is(err, domain.Invalid) {
			t.Errorf("stream %q: %v", stream, err)
		}
	}
}

// A damaged file is an error, is kept until a scrub when it is put aside, and makes room for another.
func TestDamagedFile(t *testing.T) {
	for name, content := range map[string]string{"no database": strings.Repeat("no database ", 1000), "short": "SQLite"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, first.String()+".db")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			views, err := sqlview.Open(dir, sqlview.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = views.Close() })
			if _, err := views.Open(t.Context(), first); !domain.Is(err, domain.Corrupt) || !errors.Is(err, projections.ErrDamaged) {
				t.Fatalf("open: %v", err)
			}
			if err := views.Aside(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != content {
				t.Errorf("what was there: %v", err)
			}
			second := first
			second.Number = 2
			view, err := views.Open(t.Context(), second)
			if err != nil {
				t.Fatal(err)
			}
			if err := view.Scrub(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path + ".damaged"); err == nil {
				t.Error("the damaged file outlives a scrub")
			}
		})
	}
}

// A server that stops while a file is opened says nothing about the file.
func TestOpeningIsCancelled(t *testing.T) {
	dir := t.TempDir()
	views, _ := open(t, dir)
	_ = views.Close()
	views, err := sqlview.Open(dir, sqlview.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := views.Open(stopped, first); !errors.Is(err, context.Canceled) || errors.Is(err, projections.ErrDamaged) {
		t.Errorf("a cancelled opening gives %v", err)
	}
	if _, err := views.Open(t.Context(), first); err != nil {
		t.Errorf("the next one gives %v", err)
	}
}

// A file that is deleted, replaced or cut while it is open is found by the next write; a reader that must open it again finds it too.
func TestFileGoesAway(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"deleted": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+"-away"), os.WriteFile(path, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			views, view := open(t, dir)
			if err := harm(filepath.Join(dir, first.String()+".db")); err != nil {
				t.Fatal(err)
			}
			if err := set(t.Context(), view, "a", 1); !errors.Is(err, projections.ErrDamaged) || !domain.Is(err, domain.Unavailable) {
				t.Errorf("write: %v", err)
			}
			if _, err := views.Open(t.Context(), first); !errors.Is(err, projections.ErrDamaged) {
				t.Errorf("open: %v", err)
			}
		})
	}
}

// A file at rest is closed, and wakes up for reading and for writing.
func TestRest(t *testing.T) {
	dir := t.TempDir()
	views, err := sqlview.Open(dir, sqlview.Options{Idle: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	view, err := views.Open(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n < 4; n++ {
		if err := set(t.Context(), view, "a", n); err != nil || sum(t, view) != n {
			t.Fatal(err)
		}
		for t.Context().Err() == nil { // the write-ahead log goes with the last connection
			if _, err := os.Stat(filepath.Join(dir, first.String()+".db-wal")); errors.Is(err, fs.ErrNotExist) {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// The pages of a large transaction are moved to the file beside what is written next; a scrub and a close wait for that, and then commits do it again.
func TestLargeTransaction(t *testing.T) {
	dir := t.TempDir()
	views, view := open(t, dir)
	var rows [][]any
	for i := range 25_020 {
		rows = append(rows, []any{fmt.Sprintf("%0200d", i), int64(1), int64(0), int64(0), int64(0)})
	}
	columns := []string{"account", "bytes", "messages", "limit_bytes", "limit_messages"}
	insert := func(rows [][]any) {
		t.Helper()
		if err := view.Update(t.Context(), func(tx projections.Tx) error { return tx.Insert(t.Context(), "quota", columns, rows) }); err != nil {
			t.Fatal(err)
		}
	}
	insert(rows[:25_000])
	for i := range 20 {
		insert(rows[25_000+i:][:1])
	}
	if err := view.Scrub(t.Context()); err != nil || sum(t, view) != 25_020 {
		t.Fatal(err)
	}
	if err := view.Update(t.Context(), func(tx projections.Tx) error {
		var pages int
		if err := tx.QueryRow(t.Context(), "pragma wal_autocheckpoint").Scan(&pages); err != nil || pages != 2000 {
			t.Errorf("a commit moves %d pages, %v", pages, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := view.Update(t.Context(), func(tx projections.Tx) error {
		_, err := tx.Exec(t.Context(), "delete from quota")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	insert(rows[:25_000])
	if err := views.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(dir + "/*-wal"); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	if _, view = open(t, dir); sum(t, view) != 25_000 {
		t.Error("rows are missing")
	}
}

// Who settles a view finds what was committed in the file itself, beside whatever else goes on, and closing waits for it.
func TestSettle(t *testing.T) {
	dir := t.TempDir()
	views, view := open(t, dir)
	if err := view.Update(t.Context(), func(tx projections.Tx) error {
		return tx.Insert(t.Context(), "quota", []string{"account", "bytes", "messages", "limit_bytes", "limit_messages"}, [][]any{{"somebody", int64(1), int64(0), int64(0), int64(0)}})
	}); err != nil {
		t.Fatal(err)
	}
	inFile := func() bool {
		files, err := filepath.Glob(dir + "/*.quota.*")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		return slices.ContainsFunc(files, func(name string) bool {
			text, err := os.ReadFile(name)
			return err == nil && !strings.HasSuffix(name, "-wal") && bytes.Contains(text, []byte("somebody"))
		})
	}
	if inFile() {
		t.Fatal("the row is in the file before")
	}
	view.(projections.Settler).Settle(t.Context())
	if !inFile() {
		t.Error("the row is in the log only")
	}
	if err := views.Close(); err != nil {
		t.Fatal(err)
	}
	view.(projections.Settler).Settle(t.Context()) // harmless
	if _, view = open(t, dir); sum(t, view) != 1 {
		t.Error("rows are missing")
	}
}

// tmpfs mounts a small file system, where the system lets us.
func tmpfs(t *testing.T, options string) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting needs privileges: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// A full disk is a clear error that loses nothing, and goes away with the disk's fullness.
func TestFullDisk(t *testing.T) {
	dir := tmpfs(t, "size=256k")
	_, view := open(t, dir)
	done := int64(0)
	var err error
	for i := 0; i < 10_000 && err == nil; i++ {
		if err = set(t.Context(), view, fmt.Sprintf("%01000d", i), 1); err == nil {
			done++
		}
	}
	var e *domain.Error
	if !errors.As(err, &e) || e.Kind != domain.Unavailable || !strings.Contains(e.Msg, "full") || e.Hint == "" {
		t.Fatalf("after %d rows: %+v", done, err)
	}
	if n := sum(t, view); n != done {
		t.Errorf("%d rows of %d are there", n, done)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=10m"); err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), view, "b", 1); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	views, _ := open(t, dir)
	_ = views.Close()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := sqlview.Open(dir, sqlview.Options{})
	var e *domain.Error
	if !errors.As(err, &e) || e.Kind != domain.Unavailable || !strings.Contains(e.Hint, dir) {
		t.Errorf("%+v", err)
	}
}

// A path that cannot be a directory is a clear error without any privileges.
func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlview.Open(file+"/views", sqlview.Options{}); !domain.Is(err, domain.Unavailable) {
		t.Errorf("%v", err)
	}
}
