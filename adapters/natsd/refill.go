package natsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/streampost/streampost/domain"
)

// This file throws copies of streams away that are known to be bad, so that the other nodes fill them anew. The server has no command for that: it takes
// what its files say for true. So it is stopped, the files are put aside, and it is started again, within this process: connections of this process find
// the new one, and what was being written waits for it.
//
// What is put aside is kept in log/quarantine, the last of each stream. A file names what is to go there before anything moves, so that a crash in the
// middle is finished by the next start; one before the first move is not.

// quarantineDir is where bad copies lie, below Config.Dir; refillFile lists the directories that are on their way there.
const (
	quarantineDir = "quarantine"
	refillFile    = "refill"
)

// refillTime bounds how long the copies may take to come back, after which they go on doing so by themselves.
const refillTime = 10 * time.Minute

// runAgain is how often the server is started after its files were put aside, before the process gives up.
const runAgain = 3

// Refill replaces this node's copies of streams by what the other nodes have. choose names them, while no other Refill runs: it makes sure that they are
// bad and that others have all, and nothing here does. Meanwhile this node serves nothing from its log for about the time of a restart. It returns when the
// new copies are whole and current. When the server does not run again, Stopped says so.
// Errors: those of choose, domain.Invalid where there is no cluster, domain.NotFound, domain.Unavailable.
func (s *Server) Refill(ctx context.Context, choose func(context.Context) (streams []string, err error)) error {
	if s.cfg.Cluster == nil {
		return domain.Errorf(domain.Invalid, "a server that stands alone has no other copy of its log")
	}
	s.refilling.Lock()
	defer s.refilling.Unlock()
	streams, err := choose(ctx)
	if err != nil || len(streams) == 0 {
		return err
	}
	placed, err := s.placements(ctx)
	if err != nil {
		return err
	}
	dirs, err := s.directories(streams, placed)
	if err != nil {
		return err
	}
	before, err := s.Replicas()
	if err != nil {
		return err
	}
	reached := map[string]uint64{}
	for _, p := range placed {
		reached[p.Stream] = p.Last
	}
	for _, r := range before {
		reached[r.Stream] = max(reached[r.Stream], r.Last)
	}
	s.handOver(ctx)
	s.halt()
	if err = s.plan(dirs); err == nil {
		s.cfg.Failpoint("refill.planned")
		err = s.quarantine()
	}
	s.forget(streams)
	if err != nil {
		// What was moved goes back: a plan that outlived this would some day put good copies aside.
		if undone := s.undo(dirs); undone != nil {
			err = errors.Join(err, undone)
			s.stopped.Store(&err)
			return err
		}
	}
	// Whatever went wrong, the server has to run again.
	again := s.run(context.WithoutCancel(ctx))
	for n := 1; again != nil && n < runAgain; n++ {
		s.cfg.Logger.Error("the log server does not start again", "error", again)
		s.halt()
		s.log.fatal.Store(false)
		again = s.run(context.WithoutCancel(ctx))
	}
	if again != nil {
		err = errors.Join(err, again)
		s.stopped.Store(&err)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, refillTime)
	defer cancel()
	return s.filled(ctx, streams, reached)
}

// Stopped is why the server stopped for good, so that the process has to be started anew; nil while there is nothing of the kind.
func (s *Server) Stopped() error {
	if err := s.stopped.Load(); err != nil {
		return *err
	}
	return nil
}

// directories are those of the streams and of their groups, below Config.Dir, also of streams that the server does not have although they are placed on it.
// The groups come first: a group that is gone fills its stream anew, while one that is there without its stream believes that it has all.
func (s *Server) directories(streams []string, placed []Placement) (dirs []string, err error) {
	var stores []string
	info, err := s.nats.Load().Jsz(&server.JSzOptions{Account: account, Accounts: true, Streams: true, Consumer: true, RaftGroups: true})
	if err != nil {
		return nil, domain.Wrap(domain.Unavailable, err, "list the streams of the log server")
	}
	group := func(name string) {
		if name != "" {
			dirs = append(dirs, filepath.Join(server.JetStreamStoreDir, server.DEFAULT_SYSTEM_ACCOUNT, "_js_", name))
		}
	}
	found := map[string]bool{}
	for _, p := range placed {
		if slices.Contains(streams, p.Stream) && p.Group != "" && p.On(s.Name()) {
			found[p.Stream] = true
			stores = append(stores, filepath.Join(server.JetStreamStoreDir, account, "streams", p.Stream))
			group(p.Group)
		}
	}
	for _, a := range info.AccountDetails {
		for _, stream := range a.Streams {
			if found[stream.Name] {
				for _, c := range stream.ConsumerRaftGroups {
					group(c.RaftGroup)
				}
			}
		}
	}
	if len(found) != len(streams) {
		return nil, domain.Errorf(domain.NotFound, "this node is not to have a copy of each of %s, or nobody answers for one", strings.Join(streams, ", "))
	}
	return append(dirs, stores...), nil
}

// plan notes durably which directories go into quarantine: those that are there. The server must not run.
func (s *Server) plan(dirs []string) error {
	dirs = slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool { return !there(filepath.Join(s.cfg.Dir, dir)) })
	name := filepath.Join(s.cfg.Dir, refillFile)
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return storageError(err, "write to the log directory")
	}
	_, err = f.WriteString(strings.Join(dirs, "\n") + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = errors.Join(os.Rename(name+".tmp", name), syncDir(s.cfg.Dir))
	}
	if err != nil {
		return storageError(err, "write to the log directory")
	}
	return nil
}

// there tells whether a file may be there.
func there(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// arriving ends the name of a copy in quarantine until the earlier one of its name has made place.
const arriving = ".new"

// aside is where a directory goes first.
func (s *Server) aside(dir string) string {
	return filepath.Join(s.cfg.Dir, quarantineDir, filepath.Base(dir)+arriving)
}

// resume finishes what a crash interrupted. A plan of which nothing was carried out is dropped: by now the copies may be good, or the only ones.
// The server must not run.
func (s *Server) resume() error {
	dirs, err := s.planned()
	if err != nil || dirs == nil {
		return err
	}
	if !slices.ContainsFunc(dirs, func(dir string) bool { return !there(filepath.Join(s.cfg.Dir, dir)) }) {
		return s.unplan()
	}
	return s.quarantine()
}

// planned are the directories on their way into quarantine; nil when there is no plan.
func (s *Server) planned() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(s.cfg.Dir, refillFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storageError(err, "read the log directory")
	}
	return strings.Fields(string(text)), nil
}

// unplan removes the plan.
func (s *Server) unplan() error {
	if err := os.Remove(filepath.Join(s.cfg.Dir, refillFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storageError(err, "write to the log directory")
	}
	if err := syncDir(s.cfg.Dir); err != nil {
		return storageError(err, "write to the log directory")
	}
	return nil
}

// quarantine carries out what was planned. The server must not run.
func (s *Server) quarantine() error {
	dirs, err := s.planned()
	if err != nil {
		return err
	}
	aside := filepath.Join(s.cfg.Dir, quarantineDir)
	if err := makeDir(aside); err != nil {
		return storageError(err, "write to the log directory")
	}
	if err := settleQuarantine(aside); err != nil { // what an earlier one left
		return err
	}
	for _, dir := range dirs {
		from, to := filepath.Join(s.cfg.Dir, dir), s.aside(dir)
		if !there(from) { // it was moved before a crash
			continue
		}
		s.cfg.Logger.Warn("a copy of the log is put aside", "from", from, "to", strings.TrimSuffix(to, arriving))
		if err := errors.Join(os.Rename(from, to), syncDir(filepath.Dir(from))); err != nil {
			return storageError(err, "put a bad copy of the log aside")
		}
		s.cfg.Failpoint("refill.moved")
	}
	if err := syncDir(aside); err != nil {
		return storageError(err, "write to the log directory")
	}
	if err := s.unplan(); err != nil {
		return err
	}
	// The bad copies are where they belong; that earlier ones do not make place harms nobody.
	if err := settleQuarantine(aside); err != nil {
		s.cfg.Logger.Warn("an earlier bad copy of the log does not make place for a later one", "error", err)
	}
	return nil
}

// settleQuarantine gives copies that have arrived their names, in place of the earlier ones.
func settleQuarantine(aside string) error {
	entries, err := os.ReadDir(aside)
	if err != nil {
		return storageError(err, "read the log directory")
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), arriving)
		if !ok {
			continue
		}
		to := filepath.Join(aside, name)
		if err := errors.Join(os.RemoveAll(to), os.Rename(to+arriving, to)); err != nil {
			return storageError(err, "put a bad copy of the log aside")
		}
	}
	return nil
}

// undo moves back what was put aside and drops the plan, after either failed.
func (s *Server) undo(dirs []string) error {
	for _, dir := range slices.Backward(dirs) {
		from, to := s.aside(dir), filepath.Join(s.cfg.Dir, dir)
		if there(to) || !there(from) {
			continue
		}
		if err := errors.Join(os.Rename(from, to), syncDir(filepath.Dir(to))); err != nil {
			return storageError(err, "move a copy of the log back")
		}
	}
	return s.unplan()
}

// forget closes the files that were put aside.
func (s *Server) forget(streams []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range streams {
		if f := s.files[name]; f != nil {
			f.close()
			delete(s.files, name)
		}
	}
}

// filled waits until the copies are whole and current, and reach as far as those of before, and as those of the leaders did.
func (s *Server) filled(ctx context.Context, streams []string, reached map[string]uint64) error {
	tick := time.NewTicker(gatherEvery)
	defer tick.Stop()
	for {
		left := slices.Clone(streams)
		all, err := s.Replicas()
		for _, r := range all {
			if r.Current && r.Leader != "" && r.Group != "" && r.Last >= reached[r.Stream] && r.Lacks() == 0 {
				left = slices.DeleteFunc(left, func(name string) bool { return name == r.Stream })
			}
		}
		if err == nil && len(left) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &domain.Error{
				Kind: domain.Unavailable, Msg: fmt.Sprintf("the copies of %s are not whole yet", strings.Join(left, ", ")), Err: ctx.Err(),
				Hint: "they go on filling; cluster status tells how far they are",
			}
		}
	}
}
