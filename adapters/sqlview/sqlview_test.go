package sqlview_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

func open(t *testing.T, dir string) (*sqlview.Views, projections.View) {
	t.Helper()
	views, err := sqlview.Open(dir, sqlview.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	view, err := views.Open(t.Context(), "ACCOUNTS_0")
	if err != nil {
		t.Fatal(err)
	}
	return views, view
}

// set writes one row of quota.
func set(ctx context.Context, view projections.View, account string, bytes int64) error {
	return view.Update(ctx, func(tx projections.Tx) error {
		_, err := tx.Exec(ctx, `insert into quota values ($1, $2, 0, 0, 0) on conflict (account) do update set bytes = excluded.bytes`, account, bytes)
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

func create(t *testing.T, view projections.View) {
	t.Helper()
	if err := view.Update(t.Context(), func(tx projections.Tx) error { return tx.Create(t.Context(), "quota") }); err != nil {
		t.Fatal(err)
	}
}

func TestCommitAndRollback(t *testing.T) {
	dir := t.TempDir()
	views, view := open(t, dir)
	create(t, view)
	if err := set(t.Context(), view, "a", 1); err != nil {
		t.Fatal(err)
	}
	changedMind := errors.New("changed my mind")
	if err := view.Update(t.Context(), func(tx projections.Tx) error {
		n, err := tx.Exec(t.Context(), `update quota set bytes = 9 where account = $1`, "a")
		if n != 1 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
		return changedMind
	}); !errors.Is(err, changedMind) {
		t.Errorf("update: %v", err)
	}
	if n := sum(t, view); n != 1 {
		t.Errorf("after a rollback the sum is %d", n)
	}
	if err := view.Update(t.Context(), func(tx projections.Tx) error {
		_, err := tx.Exec(t.Context(), `insert into quota values ('a', 0, 0, 0, 0)`)
		return err
	}); !domain.Is(err, domain.Exists) {
		t.Errorf("a row twice: %v", err)
	}
	_ = views.Close()
	if err := set(t.Context(), view, "a", 2); !domain.Is(err, domain.Unavailable) {
		t.Errorf("after close: %v", err)
	}
	if _, again := open(t, dir); sum(t, again) != 1 {
		t.Error("the row did not outlive the process")
	}
}

// A snapshot does not see what is committed meanwhile, and a reader cannot write.
func TestSnapshot(t *testing.T) {
	_, view := open(t, t.TempDir())
	create(t, view)
	if err := view.Snapshot(t.Context(), func(r projections.Reader) error {
		before := sum(t, r)
		if err := set(t.Context(), view, "a", 5); err != nil {
			t.Error(err)
		}
		if after := sum(t, r); before != 0 || after != 0 {
			t.Errorf("the snapshot changed from %d to %d", before, after)
		}
		if rows, err := r.Query(t.Context(), `delete from quota returning bytes`); err == nil {
			if rows.Next() || rows.Err() == nil {
				t.Error("a reader wrote")
			}
			_ = rows.Close()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if sum(t, view) != 5 {
		t.Error("the commit is lost")
	}
}

// Many readers and one writer do not fail each other.
func TestConcurrency(t *testing.T) {
	_, view := open(t, t.TempDir())
	create(t, view)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				sum(t, view)
			}
		})
	}
	for i := range 50 {
		if err := set(t.Context(), view, fmt.Sprint(i), 1); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if n := sum(t, view); n != 50 {
		t.Errorf("sum %d", n)
	}
}

// Nobody but the owner can read views, and comparing leaves no file.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "views")
	views, view := open(t, dir)
	create(t, view)
	shadow, release, err := views.Shadow(t.Context(), "ACCOUNTS_0")
	if err != nil {
		t.Fatal(err)
	}
	create(t, shadow)
	if err := set(t.Context(), shadow, "a", 1); err != nil || sum(t, shadow) != 1 || sum(t, view) != 0 {
		t.Errorf("shadow: %v", err)
	}
	release()
	if err := os.WriteFile(filepath.Join(dir, "ACCOUNTS_0.shadow-1.db"), nil, 0o600); err != nil {
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
		if strings.Contains(name, "shadow") {
			t.Errorf("%s is left over", name)
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
	if _, err := views.Open(t.Context(), "../etc"); !domain.Is(err, domain.Invalid) {
		t.Errorf("a name with a slash: %v", err)
	}
}

// A damaged file is kept beside the one that is made instead.
func TestDamagedFileIsMovedAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ACCOUNTS_0.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, view := open(t, dir)
	create(t, view)
	if kept, err := os.ReadFile(path + ".damaged"); err != nil || !strings.HasPrefix(string(kept), "no database") {
		t.Errorf("what was there: %v", err)
	}
	if err := view.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".damaged"); err == nil {
		t.Error("the damaged file outlives a scrub")
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
	create(t, view)
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
