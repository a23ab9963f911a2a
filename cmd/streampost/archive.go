package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/archive"
	"github.com/streampost/streampost/streams/blob"
)

// This file joins the archive of the log with the server.

// nowhere is the kind of archive.kind that switches the archive off.
const nowhere = "none"

// archiveKind settles where the archive lies.
func (c *core) archiveKind() string {
	switch kind := c.cfg.Archive.Kind; {
	case kind != whereUsual:
		return kind
	case c.cfg.Archive.Directory != "":
		return inDirectory
	case c.cfg.Blobs.Kind == inJetStream, c.cfg.Blobs.Kind == inDirectory && c.nodes != nil:
		return nowhere
	}
	return c.cfg.Blobs.Kind
}

// archiveDirectory is where an archive of the kind directory lies.
func (c *core) archiveDirectory() string {
	return cmp.Or(c.cfg.Archive.Directory, c.data.join("archive"))
}

// sharedArchive tells whether other nodes have the directory of the archive too.
func (c *core) sharedArchive() bool {
	return c.nodes != nil || c.external != nil && c.cfg.Blobs.DirectoryIsShared
}

// openArchiveBuckets opens where the archive lies, also before there is a log. It opens nothing where there is to be none.
func (c *core) openArchiveBuckets(ctx context.Context) (err error) {
	kind := c.archiveKind()
	if kind == nowhere {
		return nil
	}
	if kind == inDirectory && c.nodes != nil && c.cfg.Archive.Directory == "" {
		return &domain.Error{
			Kind: domain.Invalid, Msg: "the nodes of a cluster have one archive, and a directory of one node is not for the others",
			Hint: "let archive.directory name a directory that is the same on all nodes, or set archive.kind to s3 or none",
		}
	}
	c.archived, err = c.archiveBuckets(ctx, kind, c.archiveDirectory())
	return err
}

// archiveBuckets opens both buckets, each now or when it is there.
func (c *core) archiveBuckets(ctx context.Context, kind, directory string) (archive.Buckets, error) {
	// A key has a file of its own, so that what replaces it leaves nothing of it in other files.
	keys, err := c.archiveBucket(ctx, kind, archiveKeySpace, filepath.Join(directory, "keys"), blobfs.Limits{Packed: 1, Ahead: 64 << 10})
	if err != nil {
		return archive.Buckets{}, err
	}
	segments, err := c.archiveBucket(ctx, kind, archiveSpace, filepath.Join(directory, "segments"), blobfs.Limits{Ahead: 1 << 20})
	if err != nil {
		return archive.Buckets{}, err
	}
	return archive.Buckets{Keys: keys, Segments: segments}, nil
}

func (c *core) archiveBucket(ctx context.Context, kind, space, directory string, limits blobfs.Limits) (bucket, error) {
	b, err := c.openLate(ctx, space, func(ctx context.Context) (bucket, error) {
		switch {
		case kind == inDirectory && c.sharedArchive():
			return blobfs.OpenShared(ctx, directory, blobfs.Options{Logger: c.log})
		case kind == inDirectory:
			return blobfs.Open(directory, blobfs.Options{Logger: c.log, Limits: limits})
		}
		return c.openBucket(ctx, kind, space)
	})
	if err == nil {
		c.group.Start(lifecycle.Part{Name: space, Stop: func(context.Context) error { return b.Close() }})
	}
	return b, err
}

// roomyBucket refuses to store while the disk of the log is nearly full, if it lies there, so that what is left belongs to the log.
type roomyBucket struct {
	blob.Bucket
	directory, data string
	space           *health.Room
}

func (b roomyBucket) Create(ctx context.Context) (blob.Upload, error) {
	if err := b.space.Check(); err != nil && sameDisk(b.directory, b.data) {
		return nil, domain.Wrap(domain.Unavailable, err, "store in the archive")
	}
	return b.Bucket.Create(ctx)
}

// refuseFreshLog refuses to make a log where there is the archive of one: the log was lost, and mail that comes would go into another.
func (c *core) refuseFreshLog(ctx context.Context, log *streams.Config) error {
	if c.archived.Keys == nil {
		return nil
	}
	if there, err := streams.HasKeys(ctx, log.Conn, log.Topology); err != nil || there {
		return err
	}
	exists, err := archive.Exists(ctx, c.archived)
	if err != nil || !exists {
		return err
	}
	return &domain.Error{
		Kind: domain.Corrupt, Msg: "there is no log, but the archive of one: the log was lost",
		Hint: "streampost log restore brings it back; for a new installation move the archive away, or let archive.directory, or the S3 prefix, name another place",
	}
}

// rowsFile says of which generation of the log the rows in views/ are made; it is not there for the first one.
const rowsFile = "rows.json"

// dropForeignRows removes the rows of another history of the log, which a restore has ended, perhaps one that ran on another node: their positions mean
// nothing in this one. Rows in PostgreSQL are the operator's to drop.
func (c *core) dropForeignRows() error {
	var kept struct {
		Generation string `json:"generation"`
	}
	text, err := os.ReadFile(c.data.join(rowsFile))
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return domain.Wrap(domain.Unavailable, err, "read "+c.data.join(rowsFile)+" (remove it and views/)")
	}
	if kept.Generation == c.streams.Generation() {
		return nil
	}
	if c.cfg.Views.URL != "" {
		c.log.Warn("the log was restored: the rows in the database have to be dropped before the first start after that", "schema", c.cfg.Views.Schema)
	} else if err := os.RemoveAll(c.data.join("views")); err != nil {
		return domain.Wrap(domain.Unavailable, err, "remove the rows of a log that is no longer there")
	}
	kept.Generation = c.streams.Generation()
	return c.data.writeJSON(rowsFile, kept)
}

// openArchive begins to archive the log.
func (c *core) openArchive(ctx context.Context) error {
	if c.archived.Keys == nil {
		return nil
	}
	if c.archiveKind() == inDirectory {
		c.archived.Segments = roomyBucket{c.archived.Segments, c.archiveDirectory(), c.data.path, c.space}
	}
	store, err := archive.Open(ctx, c.archived, c.streams)
	if domain.Is(err, domain.Unavailable) && ctx.Err() == nil {
		c.log.Error("the archive cannot be reached: mail goes on without it, and the log is archived when it is there again", "error", err)
		store, err = archive.OpenUnseen(ctx, c.archived, c.streams)
	}
	if c.inspecting && domain.Is(err, domain.Conflict) {
		c.log.Error("the archive cannot be used", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	cfg := archive.Config{Store: store, Log: c.streams, Logger: c.log, Failpoint: c.failpoint, Limits: archive.Limits{Every: c.cfg.Archive.Every, Parallel: c.parallelBlobs()}}
	if c.nodes != nil || c.external != nil {
		node, _, err := c.runners()
		if err != nil {
			return err
		}
		t := c.streams.Topology()
		cfg.Turn = archive.NewTurn(archive.TurnConfig{
			JetStream: c.streams.JetStream(), Stream: t.Stream("ARCHIVE"), Subject: t.Subject("archive"), Replicas: t.Replicas, Node: node,
		})
	}
	c.archiver, c.archive = archive.NewArchiver(cfg), store
	if !c.inspecting { // who inspects wants to see what is lost
		if err := c.streams.RecallFrom(ctx, store); err != nil {
			return err
		}
		c.group.Start(lifecycle.Part{Name: "archive", Run: c.archiver.Run})
	}
	return nil
}

// keysArchived is how long a rotation waits until the archive has the keys that it has wrapped.
const keysArchived = 2 * time.Minute

// archiveKeys archives the keys that a rotation has wrapped anew, also while no server runs.
func (c *core) archiveKeys(ctx context.Context) error {
	if c.archiver == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keysArchived)
	defer cancel()
	return c.archiver.Keys(ctx)
}

// sameDisk tells whether two paths lie on one file system.
func sameDisk(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	if err != nil {
		return false
	}
	x, ok := one.Sys().(*syscall.Stat_t)
	y, also := other.Sys().(*syscall.Stat_t)
	return ok && also && x.Dev == y.Dev
}

// eraseArchived leaves nothing readable of an erased account in the archive. Where that cannot be done now, the archiver does it: it meets the destroyed key.
func (c *core) eraseArchived(ctx context.Context, id domain.AccountID) error {
	if c.archive == nil {
		return nil
	}
	err := c.archive.Erase(ctx, c.streams, id)
	if domain.Is(err, domain.Unavailable) {
		c.log.Warn("the archive still has the key of an erased account: it is replaced as soon as the archive is there", "account", id, "error", err)
		return nil
	}
	return err
}

// verifyArchive compares the archive with the log, and writes anew what is wrong if it is asked to.
func (c *core) verifyArchive(ctx context.Context, scope webadmin.Scope, damage func(webadmin.Damage), progress func(webadmin.Progress)) (sum webadmin.Verified, err error) {
	switch {
	case c.archive == nil:
		return sum, &domain.Error{Kind: domain.NotFound, Msg: "the log has no archive", Hint: "say with archive.kind where it is to lie"}
	case scope.Stream != "":
		return sum, domain.Errorf(domain.Invalid, "the archive is verified as a whole, or one account of it")
	}
	opts := archive.VerifyOptions{
		Account: scope.Account,
		Found: func(f streams.Finding) {
			damage(webadmin.Damage{Stream: f.Stream, Account: f.Account, Seq: f.Seq, Tx: f.Tx, Problem: f.What})
		},
		Progress: func(kind string, done, total uint64) {
			progress(webadmin.Progress{Done: done, Total: total, Unit: kind, At: "archive"})
		},
	}
	report, err := archive.Verify(ctx, c.archive, c.streams, opts)
	if err != nil {
		return sum, err
	}
	if scope.Mend && len(report.Findings) > 0 {
		if err := c.archiver.Mend(ctx, report); err != nil {
			return sum, err
		}
		opts.Found, sum.Mended = nil, true
		if report, err = archive.Verify(ctx, c.archive, c.streams, opts); err != nil {
			return sum, err
		}
	}
	sum.Entries, sum.Accounts, sum.Erased, sum.Keys = report.Entries, uint64(report.Accounts), uint64(report.Erased), uint64(report.Keys)
	sum.Segments, sum.Behind, sum.Damages = uint64(report.Segments), report.Behind, uint64(len(report.Findings))
	return sum, nil
}

// collectArchive removes from the archive what nobody needs, or nobody can read.
func (c *core) collectArchive(ctx context.Context) error {
	if c.archiver == nil {
		return nil
	}
	sum, err := c.archiver.Collect(ctx, c.cfg.Archive.Keep)
	if err == nil && sum.Erased+sum.Left+sum.Old > 0 {
		c.log.Info("the archive was collected", "segments", sum.Segments, "erased", sum.Erased, "superfluous", sum.Left, "old", sum.Old, "octets", sum.Octets)
	}
	return err
}

// archiveLate is how long a transaction may wait to be archived before somebody should look.
func (c *core) archiveLate() time.Duration { return max(time.Minute, 10*c.cfg.Archive.Every) }

// lookAtArchive is the archive's part of the health checks. Mail goes on without it.
func (c *core) lookAtArchive(ctx context.Context) (health.Status, string) {
	if n := c.streams.Recalled(); n > 0 {
		return health.Degraded, fmt.Sprintf("the log is damaged, run streampost log verify: what it lost was read from the archive %d times", n)
	}
	lags, _, err := c.archiver.State(ctx)
	if err != nil {
		return health.Degraded, "the log is not archived: " + err.Error()
	}
	for _, l := range lags {
		if late := time.Duration(l.Seconds * float64(time.Second)); late > c.archiveLate() {
			return health.Degraded, fmt.Sprintf("the archive is %d entries of %s behind, for %s", l.Entries, l.Stream, late.Round(time.Second))
		}
	}
	return health.Healthy, ""
}

// archiveSamples are the metrics of the archive.
func (c *core) archiveSamples(ctx context.Context) (all []metrics.Sample) {
	if c.archiver == nil {
		return nil
	}
	lags, _, _ := c.archiver.State(ctx)
	for _, l := range lags {
		all = append(all, metrics.ArchiveLag(l.Stream, l.Entries, l.Seconds)...)
	}
	s := c.archiver.Stats()
	return append(all, metrics.Archive(s.Segments, s.Merged, s.Octets, s.Keys, s.Failures, c.streams.Recalled())...)
}

// doctorArchive finds out whether the log could be restored, and what is risky about the place where its archive lies.
func (c *core) doctorArchive(ctx context.Context) (found []webadmin.Finding) {
	if c.archiver == nil {
		return []webadmin.Finding{warning("archive", "set archive.kind to directory and let archive.directory name another disk, or set it to s3", "the log has no archive: what its disks lose is lost")}
	}
	lags, elsewhere, err := c.archiver.State(ctx)
	if c.inspecting { // no archiver runs that would know
		_, err = archive.Exists(ctx, c.archived)
	}
	behind, late := uint64(0), 0.0
	for _, l := range lags {
		behind, late = behind+l.Entries, max(late, l.Seconds)
	}
	switch {
	case err != nil:
		found = append(found, problem("archive", cmp.Or(hintOf(err), "look at the place where the archive lies"), "the log is not archived: %v", err))
	case elsewhere:
		found = append(found, ok("archive", "another node archives the log"))
	case late > c.archiveLate().Seconds():
		found = append(found, problem("archive", "look whether the place where the archive lies is slow", "the archive is %d entries and %.0f s behind the log", behind, late))
	case !c.inspecting:
		found = append(found, ok("archive", "the log is archived; %d entries wait", behind))
	}
	switch kind := c.archiveKind(); {
	case kind == inJetStream:
		found = append(found, warning("archive", "let archive.directory name another disk, or set archive.kind to s3", "the archive lies in the NATS that keeps the log: what loses one may lose both"))
	case kind == inDirectory && c.nats != nil && sameDisk(c.archiveDirectory(), c.data.join("log")):
		found = append(found, warning("archive", "let archive.directory name another disk, or set archive.kind to s3", "the archive lies on the disk of the log: what loses the disk loses both"))
	}
	if n := c.streams.Recalled(); n > 0 {
		found = append(found, problem("archive", "run streampost log verify, look at the disk, and see \"Archive\" in docs/operator.md", "the log has lost entries, which readers took from the archive %d times", n))
	}
	return found
}
