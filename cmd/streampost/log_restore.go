package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/history"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/archive"
)

// LogRestoreCmd fills an empty log.
type LogRestoreCmd struct {
	FromArchive string           `placeholder:"DIR" help:"The directory of the archive, instead of where archive.kind says that it lies."`
	Until       string           `placeholder:"TIME" help:"Leave out what was written later: a time, a date, or how long ago."`
	Account     domain.AccountID `placeholder:"ID" help:"Besides the directory, restore this account only, to look at it: mail to others is refused there."`
	Generation  string           `default:"latest" placeholder:"ID" help:"Restore another history than the newest complete one, see --list; the first one has the name first."`
	List        bool             `help:"Only list the generations of the archive."`
	JSON        bool             `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*LogRestoreCmd) Help() string {
	return `When the log is lost, or is to be as it once was, stop the server, move the directory log/ away and run this: the log is filled from its archive. It needs the master key, in keys/ or in STREAMPOST_KEYS_MASTER. A log that holds anything is left as it is. What was not archived yet is lost, and the summary says up to when the archive goes.

With --until, each account has what was written up to that time and nothing that followed; blobs that were collected since are not brought back. Accounts that were erased stay erased. Every transaction keeps its number, hash and seal, so UIDs, UIDVALIDITY and modification sequences are what they were, and clients synchronise as if nothing had happened, unless they have seen what is left out.

The restored log is a new generation, which is archived anew. It is complete when all that the log had was archived once; until then, and for archive.keep after that, the archive of the old one is kept. Without --generation the newest complete one is restored. Views and snapshots are made anew.

In a cluster, stop all nodes, move log/ away on each, start all but one, and run this on that one, which must have keys/: it joins the others. Then start it.

The exit code is 4 when something that was archived could not be restored.

Examples:

  streampost log restore
  streampost log restore --until 2026-11-23T12:00:00Z
  streampost log restore --from-archive /mnt/backup/archive --data /var/lib/streampost
  streampost log restore --list`
}

// restoredLog is what the command prints as JSON.
type restoredLog struct {
	Generation string            `json:"generation"`
	Entries    uint64            `json:"entries"`
	Accounts   int               `json:"accounts"`
	Keys       int               `json:"keys"`
	Skipped    uint64            `json:"skipped"` // left out by --until
	Last       time.Time         `json:"last"`    // when the newest entry was written
	Lost       []webadmin.Damage `json:"lost"`
}

// firstGeneration is what people call the history without a name.
const firstGeneration = "first"

// Run restores.
func (c *LogRestoreCmd) Run(g *Globals, env *Env) (err error) {
	part := &archive.Part{Account: c.Account}
	if c.Until != "" {
		point, err := history.ParsePoint(c.Until, time.Now())
		if err == nil && point.Tx != 0 {
			err = errors.New("a restore goes up to a time, since each account has transactions of its own")
		}
		if err != nil {
			return usage("--until: %v", err)
		}
		part.Until = point.Time
	}
	if c.Account != "" {
		if _, err := domain.ParseAccountID(string(c.Account)); err != nil {
			return usage("--account wants an id: without a log nobody knows the addresses")
		}
	}
	loaded, err := g.load()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	core, err := newCore(&loaded.Config, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.close()) }()
	return c.run(core, env, part)
}

func (c *LogRestoreCmd) run(core *core, env *Env, part *archive.Part) error {
	core.restoring = true
	if c.FromArchive != "" {
		if _, err := os.Stat(filepath.Join(c.FromArchive, "keys")); err != nil {
			return &domain.Error{Kind: domain.NotFound, Msg: c.FromArchive + " is no archive", Hint: "name the directory that holds keys and segments", Err: err}
		}
		core.cfg.Archive.Kind, core.cfg.Archive.Directory = inDirectory, c.FromArchive
	}
	if !hasMaster(core.data.join("keys")) && core.cfg.Keys.Master == "" {
		return errNoMaster(core.data.join("keys"))
	}
	open, _, err := core.openNATS(env)
	if err != nil {
		return err
	}
	if core.archived.Keys == nil {
		return &domain.Error{Kind: domain.NotFound, Msg: "the configuration names no archive", Hint: "say with --from-archive or archive.kind where it lies"}
	}
	if open.Master == nil {
		if value := core.cfg.Keys.Master.Reveal(); value != "" {
			open.Master, err = streams.ParseMaster(value)
		} else {
			open.Master, err = streams.LoadMaster(core.data.join("keys"))
		}
		if err != nil {
			return err
		}
	}
	generation := c.Generation
	if generation == firstGeneration {
		generation = ""
	}
	var root *archive.Root
	if part.Store, root, err = archive.OpenLost(env, core.archived, open.Master, generation); err != nil {
		return err
	}
	if c.List {
		return c.list(env, part.Store, root)
	}
	return c.fill(core, env, open, root, part)
}

// list prints the histories that the archive has.
func (c *LogRestoreCmd) list(env *Env, store *archive.Store, root *archive.Root) error {
	all, err := store.Generations(env, root)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.json(all)
	}
	var rows [][]string
	for _, g := range all {
		complete := "-"
		if !g.Complete.IsZero() {
			complete = g.Complete.Local().Format(time.DateTime)
		}
		rows = append(rows, []string{cmp.Or(g.ID, firstGeneration), g.Began.Local().Format(time.DateTime), complete})
	}
	return env.table("GENERATION BEGAN COMPLETE", rows)
}

// fill restores the log, and drops the rows that were made of the lost one.
func (c *LogRestoreCmd) fill(core *core, env *Env, open *streams.Config, root *archive.Root, part *archive.Part) error {
	sum := restoredLog{Lost: []webadmin.Damage{}}
	part.Lost = func(f streams.Finding) {
		sum.Lost = append(sum.Lost, webadmin.Damage{Stream: f.Stream, Account: f.Account, Seq: f.Seq, Tx: f.Tx, Problem: f.What})
	}
	shown := newBar(env)
	open.Topology.Shards = root.Shards
	part.Topology = open.Topology
	restored, err := streams.Restore(env, streams.RestoreConfig{
		Conn: open.Conn, Topology: open.Topology, Syncer: open.Syncer, Logger: core.log,
		Progress: func(entries, keys uint64) {
			shown.show(webadmin.Progress{Done: entries + keys, Unit: "entries", At: "restoring"})
		},
		Filled: func(context.Context) error {
			if err := os.RemoveAll(core.data.join("views")); err != nil {
				return domain.Wrap(domain.Unavailable, err, "remove the rows that were made of the lost log")
			}
			return nil
		},
	}, part)
	shown.finish()
	if err != nil {
		return err
	}
	sum.Generation, sum.Entries, sum.Accounts, sum.Keys, sum.Skipped, sum.Last = restored.Generation, restored.Entries, restored.Accounts, restored.Keys, part.Skipped, restored.Last.UTC()
	if c.JSON {
		if err := env.json(sum); err != nil {
			return err
		}
	} else {
		for _, d := range sum.Lost {
			env.printf("not restored: %s\n", damageLine(d))
		}
		env.printf("%d transactions of %d accounts and %d keys are restored; the newest is of %s\n", sum.Entries, sum.Accounts, sum.Keys, sum.Last.Local().Format(time.DateTime))
		if sum.Skipped > 0 {
			env.printf("%d later transactions were left out\n", sum.Skipped)
		}
		if core.cfg.Views.URL != "" {
			env.printf("Drop the schema %s of the view database, and those whose names begin with it, before you start the server.\n", core.cfg.Views.Schema)
		}
	}
	if len(sum.Lost) > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

func errNoMaster(dir string) error {
	return &domain.Error{
		Kind: domain.Unavailable, Msg: "there is no master key in " + dir + ", and without it nothing in the archive can be read",
		Hint: fmt.Sprintf("restore %s from its backup, or give the master key in STREAMPOST_KEYS_MASTER", dir),
	}
}
