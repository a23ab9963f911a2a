// Package stack runs the whole server but its listeners inside a test: embedded NATS, the log, blobs in a directory, SQLite views, projectors
// and the doors, on a directory that goes with the test. Adapters' tests put their listener in front of it.
package stack

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/sieve"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/projections/vault"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/blob"
)

// Stack is a server without listeners.
type Stack struct {
	Accounts  *door.Accounts
	Directory *door.Directory
	Log       *streams.Log
	Runner    *projections.Runner
	Views     storetest.Store
	Blobs     *blob.Store
	Bucket    *blobfs.Bucket
	NATS      *natsd.Server
	Dir       string // the data directory: log/, views/, blobs/, keys/

	t      testing.TB
	config Config

	projections []projections.Projection
	stop        []func(context.Context) error // in order of opening
}

// Config is what a test may want otherwise.
type Config struct {
	Shards    int                // 2
	Failpoint func(name string)  // see the crash points of each part
	Door      func(*door.Config) // changes the doors' configuration
	// Projections gives more of them.
	Projections func(*blob.Store) []projections.Projection
	Logger      *slog.Logger // discards
}

// timeout bounds opening and closing.
const timeout = 5 * time.Minute

// New starts a server on an empty directory and stops it at the end of the test.
func New(t testing.TB, options ...func(*Config)) *Stack {
	t.Helper()
	s := &Stack{t: t, Dir: t.TempDir(), config: Config{Shards: 2, Logger: slog.New(slog.DiscardHandler)}}
	for _, option := range options {
		option(&s.config)
	}
	t.Cleanup(s.close)
	s.open()
	return s
}

// AddAccount creates an account, and its domain where that is missing.
func (s *Stack) AddAccount(t testing.TB, address, password string) domain.AccountID {
	t.Helper()
	return doortest.AddAccount(t, s.Directory, address, password)
}

// Projections gives what is projected.
func (s *Stack) Projections() []projections.Projection { return s.projections }

// Restart stops everything in order and starts it again on the same directory. The fields of the Stack are new then.
func (s *Stack) Restart() {
	s.t.Helper()
	s.close()
	s.open()
}

// RemoveViews stops everything, deletes every view file and starts again: the views are made anew from the log.
func (s *Stack) RemoveViews() {
	s.t.Helper()
	s.close()
	if err := os.RemoveAll(filepath.Join(s.Dir, "views")); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// Crash goes on with what a process that dies now would leave behind: a copy of the directory, made while everything is open. Nothing may be
// writing at that moment.
func (s *Stack) Crash() {
	s.t.Helper()
	left := s.t.TempDir()
	if err := copyTree(left, s.Dir); err != nil {
		s.t.Fatal(err)
	}
	s.close()
	s.Dir = left
	s.open()
}

// Settle waits until every view shows all that is in the log.
func (s *Stack) Settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for _, stream := range s.Log.Streams() {
		head, err := s.Log.Head(ctx, stream)
		if err == nil {
			err = s.Runner.Wait(ctx, stream, head)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *Stack) close() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for len(s.stop) > 0 {
		last := len(s.stop) - 1
		if err := s.stop[last](ctx); err != nil {
			s.t.Errorf("stop: %v", err)
		}
		s.stop = s.stop[:last]
	}
}

func (s *Stack) open() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for _, open := range []func(context.Context) error{s.openLog, s.openBlobs, s.openDoors} {
		if err := open(ctx); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *Stack) join(name string) string { return filepath.Join(s.Dir, name) }

func (s *Stack) openLog(ctx context.Context) (err error) {
	if s.NATS, err = natsd.Start(ctx, natsd.Config{Dir: s.join("log"), Logger: s.config.Logger}); err != nil {
		return err
	}
	s.stop = append(s.stop, s.NATS.Close)
	master, err := streams.LoadMaster(s.join("keys"))
	if err != nil {
		return err
	}
	s.Log, err = streams.Open(ctx, streams.Config{
		Conn: s.NATS.Conn(), Topology: streams.Topology{Shards: s.config.Shards}, Master: master, Syncer: s.NATS,
		Logger: s.config.Logger, Failpoint: s.config.Failpoint,
	})
	if err != nil {
		return err
	}
	s.stop = append(s.stop, s.Log.Close)
	return nil
}

func (s *Stack) openBlobs(ctx context.Context) (err error) {
	secret, err := s.Log.Secret(ctx, "blobs")
	if err != nil {
		return err
	}
	if s.Bucket, err = blobfs.Open(s.join("blobs"), blobfs.Options{Failpoint: s.config.Failpoint}); err != nil {
		return err
	}
	s.stop = append(s.stop, func(context.Context) error { return s.Bucket.Close() })
	s.Blobs = blob.New(s.Bucket, secret)
	return nil
}

// openDoors opens the views and the doors on them, and lets the projectors run once the doors hear of what they read.
func (s *Stack) openDoors(ctx context.Context) (err error) {
	if s.Views, err = storetest.Open(s.t, s.join("views"), sqlview.Options{Logger: s.config.Logger}); err != nil {
		return err
	}
	s.stop = append(s.stop, func(context.Context) error { return s.Views.Close() })
	all := []projections.Projection{mailboxes.New(), threads.New(), counters.New(), quota.New(), changes.New(), sieve.New(), vault.New(), blobs.New(), dirview.New()}
	if s.config.Projections != nil {
		all = append(all, s.config.Projections(s.Blobs)...)
	}
	s.projections = all
	s.Runner = projections.NewRunner(projections.Config{
		Log: s.Log, Views: s.Views, Projections: all,
		Logger: s.config.Logger, Failpoint: s.config.Failpoint,
	})
	secret, err := s.Log.Secret(ctx, "scram")
	if err != nil {
		return err
	}
	c := door.Config{Log: s.Log, Views: rows{mailboxes.Store{Runner: s.Runner}, s.Log}, Blobs: s.Blobs, Logger: s.config.Logger, Secret: secret[:]}
	// What rows that are late change in an answer is nothing that a busy machine may show.
	c.Limits = door.Limits{AppendTimeout: timeout, LoadTimeout: timeout, LoadPatience: time.Minute, RowsTimeout: timeout}
	if s.config.Door != nil {
		s.config.Door(&c)
	}
	if s.Accounts, s.Directory, err = door.New(ctx, c); err != nil {
		return err
	}
	s.Runner.Notify(s.Accounts.Observe)
	s.Runner.OnRebuilt(func(stream, projection string, id domain.AccountID) {
		if projection == mailboxes.Name {
			s.Accounts.Rebuilt(stream, id)
		}
	})
	running, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Runner.Run(running) }()
	s.stop = append(s.stop, func(context.Context) error { end(); return <-ended })
	return nil
}

// rows is the views as the door wants them: it has its own name for the mailbox view's row.
type rows struct {
	mailboxes.Store
	log *streams.Log
}

func (r rows) Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error] {
	return func(yield func(door.Email, error) bool) {
		for e, err := range r.Store.Emails(ctx, id, mailbox, uids, mailboxes.Columns(want)) {
			if !yield(door.Email(e), err) {
				return
			}
		}
	}
}

func (r rows) Thread(ctx context.Context, id domain.AccountID, s *message.Summary, upTo domain.Seq) (domain.ThreadID, error) {
	if err := r.WaitFor(ctx, threads.Name, r.log.StreamOf(id), upTo); err != nil {
		return 0, err
	}
	view, err := r.ReaderOf(threads.Name, id)
	if err != nil {
		return 0, err
	}
	return threads.Find(ctx, view, id, s.Keys)
}

func (r rows) ThreadKeys(ctx context.Context, id domain.AccountID, most int, upTo domain.Seq) ([]uint64, error) {
	if err := r.WaitFor(ctx, threads.Name, r.log.StreamOf(id), upTo); err != nil {
		return nil, err
	}
	view, err := r.ReaderOf(threads.Name, id)
	if err != nil {
		return nil, err
	}
	return threads.Keys(ctx, view, id, most)
}

func (r rows) Scripts(ctx context.Context, id domain.AccountID, upTo domain.Seq) (account.Scripts, domain.Tx, error) {
	return sieve.Store{Runner: r.Runner}.Scripts(ctx, id, upTo)
}

func (r rows) Vanished(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, since domain.Tx, upTo domain.Seq) (domain.UIDSet, bool, error) {
	return changes.Store{Runner: r.Runner}.Vanished(ctx, id, mailbox, since, upTo)
}

// copyTree copies a directory that others may still have open.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) (failed error) {
		defer func() {
			if errors.Is(failed, fs.ErrNotExist) { // a file that goes meanwhile is not in the copy
				failed = nil
			}
		}()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !info.Mode().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	})
}
