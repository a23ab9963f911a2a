package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/projections/blobs"
)

// BlobCmd looks after blobs.
type BlobCmd struct {
	GC     BlobGCCmd     `cmd:"" name:"gc" help:"Delete blobs that no account claims."`
	Verify BlobVerifyCmd `cmd:"" help:"Look for messages whose blobs are missing or damaged."`
	Stats  BlobStatsCmd  `cmd:"" help:"Add up what is stored and what is claimed."`
	Copy   BlobCopyCmd   `cmd:"" help:"Copy all blobs to where they are to lie, while mail comes and goes."`
}

// BlobGCCmd deletes blobs.
type BlobGCCmd struct {
	Grace  time.Duration `placeholder:"TIME" help:"Leave alone what was stored less than this long ago; at least 1h, and blobs.grace without it."`
	DryRun bool          `short:"n" help:"Only say what would be deleted."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*BlobGCCmd) Help() string {
	return `A blob is the stored content of a message; messages of several accounts may share it. It is claimed by every message in a mailbox and by every deleted message that can be restored. When the last claim is purged or its account erased, the blob is deleted by the next collection. Claims are counted exactly, from the log. While the log or a view of any shard cannot be read, nothing is deleted.

The server collects by itself, every blobs.collect_every. Mail may come and go meanwhile.

Examples:

  streampost blob gc --dry-run
  streampost blob gc --grace 2h --json`
}

// Run orders the collection.
func (c *BlobGCCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	order := collectOrder{DryRun: c.DryRun}
	if c.Grace != 0 {
		order.Grace = &period{c.Grace}
	}
	var sum blobs.Collected
	if err := server.work(env, c.Detached, webadmin.TaskBlobGC, order, func(raw json.RawMessage) error {
		var b deletedBlob
		if c.JSON || !c.DryRun {
			return nil
		}
		if err := json.Unmarshal(raw, &b); err != nil {
			return err
		}
		env.printf("%s  %s  %s\n", b.Blob, b.Stored.Local().Format(time.DateTime), octets(b.Size))
		return nil
	}, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	done := "deleted"
	if sum.DryRun {
		done = "would be deleted"
	}
	env.printf("%d blobs stored: %d younger than the grace period, %d claimed, %d %s (%s)\n", sum.Stored, sum.Young, sum.Claimed, sum.Deleted, done, octets(sum.Octets))
	return nil
}

// BlobVerifyCmd looks for lost blobs.
type BlobVerifyCmd struct {
	Account string `arg:"" optional:"" help:"Address or id of one account; all without it."`
	Deep    bool   `help:"Read and decrypt every message instead of looking at its size."`
	Detached
	JSON bool `name:"json" help:"Print JSON lines."`
}

// Help teaches.
func (*BlobVerifyCmd) Help() string {
	return `Every message in a mailbox, and every deleted one that can be restored, must have its blob. What is missing or damaged is listed with its account and where it lies, and the exit code is then 4: restore these files of blobs/ from a backup. A message that is delivered or imported again mends its blob for everybody who has it.

Examples:

  streampost blob verify
  streampost blob verify alice@example.org --deep`
}

// Run orders the verification.
func (c *BlobVerifyCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum blobs.Verified
	if err := server.work(env, c.Detached, webadmin.TaskBlobVerify, verifyOrder{c.Account, c.Deep}, shown(env, c.JSON, func(l *lostBlob) {
		env.printf("%s message %d (%s) in %s: %s\n", cmp.Or(l.Login, string(l.Account)), l.Email, octets(l.Size), cmp.Or(strings.Join(l.Places, ", "), "the vault"), l.Problem)
	}), &sum); err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else {
		env.printf("%d messages looked at, %d are missing, %d damaged\n", sum.Claims, sum.Missing, sum.Damaged)
	}
	if sum.Missing+sum.Damaged > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

// BlobStatsCmd adds up.
type BlobStatsCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*BlobStatsCmd) Help() string {
	return `How much is stored, and how much of it messages claim, deleted ones among them. One blob may be claimed by many.

Examples:

  streampost blob stats`
}

// Run prints the sums.
func (c *BlobStatsCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var s webadmin.BlobStats
	if err := server.stream(env, http.MethodGet, path("blobs", "stats"), nil, nil, &s); err != nil {
		return err
	}
	if c.JSON {
		return env.json(s)
	}
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	return env.table("WHAT COUNT SIZE", [][]string{
		{"stored blobs, sealed", count(s.Stored), octets(s.StoredOctets)},
		{"messages that can be read or restored", count(s.Claims.Claims), octets(s.Claims.Octets)},
		{"of them deleted", count(s.Deleted.Messages), octets(s.Deleted.Octets)},
	})
}
