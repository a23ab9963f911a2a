package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/streampost/streampost/adapters/blobjs"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/tasks/worker"
	"github.com/streampost/streampost/streams/blob"
)

// BlobCopyCmd copies blobs to where they are to lie.
type BlobCopyCmd struct {
	To   string `required:"" enum:"directory,s3,jetstream" help:"Where they are to lie: directory, s3 or jetstream, as the configuration describes it."`
	Deep bool   `help:"Also read what is there already on both sides, and copy anew what differs."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*BlobCopyCmd) Help() string {
	return `Blobs are copied as they are, sealed, from where blobs.kind says to another kind, whose keys (blobs.s3, blobs.jetstream) are in the configuration. Each copy is read back and compared. What is there already is left out, so an interrupted run goes on, and a second one copies only what came since.

Mail comes and goes meanwhile. To move an installation: run it while the server runs, stop the server, run it once more for what has come since, set blobs.kind, and start the server. Where several nodes share the blobs, stop all of them before the second run. Then see blob verify --deep. The old place stays as it was; remove it when you need it no more.

Examples:

  streampost blob copy --to s3
  streampost blob copy --to jetstream --json`
}

// Run orders the copying, or copies itself where no server runs.
func (c *BlobCopyCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	order, sum := copyOrder{c.To, c.Deep}, blob.Copied{}
	item := shown(env, c.JSON, func(l *lostCopy) { env.printf("%s: %s\n", l.Blob, l.Problem) })
	if server.core == nil {
		err = server.work(env, c.Detached, webadmin.TaskBlobCopy, order, item, &sum)
	} else {
		err = c.alone(env, server.core, order, item, &sum)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else {
		env.printf("%d blobs: %d copied (%s) and read back, %d there already, %d deleted meanwhile, %d damaged\n", sum.Stored, sum.Copied, octets(sum.Octets), sum.Present, sum.Gone, sum.Failed)
	}
	if sum.Failed > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

// alone copies in this process.
func (c *BlobCopyCmd) alone(env *Env, opened *core, order copyOrder, item func(json.RawMessage) error, sum *blob.Copied) error {
	if c.Detach {
		return usage("--detach needs a running server")
	}
	bar := newBar(env)
	out, err := opened.copyTo(env, order, bar.show)
	bar.finish()
	if err != nil {
		return err
	}
	*sum = out.Sum
	for _, lost := range out.Items {
		if err := item(mustJSON(lost)); err != nil {
			return err
		}
	}
	return nil
}

// copyOrder is the parameters of blob-copy.
type copyOrder struct {
	To   string `json:"to"`
	Deep bool   `json:"deep,omitempty"`
}

// lostCopy is a blob that could not be copied because it is damaged.
type lostCopy struct {
	Blob    domain.BlobID `json:"blob"`
	Problem string        `json:"problem"`
}

func (c *core) checkCopy(_ context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var o copyOrder
	err := parameters(text, &o)
	if err == nil {
		err = c.checkTarget(o.To)
	}
	if err != nil {
		return nil, "", err
	}
	return kept("", o)
}

func (c *core) checkTarget(to string) error {
	b := c.cfg.Blobs
	switch {
	case !slices.Contains([]string{inDirectory, inS3, inJetStream}, to):
		return domain.Errorf(domain.Invalid, "%q is not a kind of place for blobs: directory, s3 or jetstream", to)
	case to == b.Kind:
		return domain.Errorf(domain.Invalid, "the blobs lie there already: blobs.kind is %s", to)
	case to == inS3 && (b.S3.URL == "" || b.S3.Bucket == ""):
		return domain.Errorf(domain.Invalid, "say where the bucket is with blobs.s3.url and blobs.s3.bucket")
	}
	return nil
}

func (c *core) copyBlobs(ctx context.Context, job worker.Job) (any, error) {
	var o copyOrder
	if err := parameters(job.Parameters, &o); err != nil {
		return nil, err
	}
	return c.copyTo(ctx, o, func(p webadmin.Progress) { job.Progress(p) })
}

// copying bounds how many blobs are on their way at the same time.
const copying = 8

func (c *core) copyTo(ctx context.Context, o copyOrder, progress func(webadmin.Progress)) (out found[blob.Copied, lostCopy], err error) {
	if err := c.checkTarget(o.To); err != nil {
		return out, err
	}
	to, err := c.openBucket(ctx, o.To, blobSpace)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.Check(ctx); err != nil {
		return out, err
	}
	out.Sum, err = blob.Copying{
		From: c.blobs, To: to, Deep: o.Deep, Parallel: copying,
		Failed: func(id domain.BlobID, why error) { out.keep(lostCopy{id, why.Error()}) },
		Progress: func(done, all int64) {
			progress(webadmin.Progress{Done: uint64(done), Total: uint64(all), Unit: "blobs"})
		},
	}.Run(ctx)
	if js, embedded := to.(*blobjs.Bucket); err == nil && embedded && c.nats != nil && c.nodes == nil { // nodes of a cluster sync anyway
		err = c.nats.SyncAll(ctx, js.Stream()) // it does not sync by itself until blobs.kind says that they lie there
	}
	return out, err
}
