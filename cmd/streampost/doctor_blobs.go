package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/adapters/blobs3"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
)

// doctorBlobs finds out whether a message could be stored, and what is risky about the place where they lie.
func (c *core) doctorBlobs(ctx context.Context) (found []webadmin.Finding) {
	where, hint := "in "+c.blobDirectory(), "make "+c.blobDirectory()+" writable for the server's user"
	switch c.cfg.Blobs.Kind {
	case inS3:
		where, hint = "in the S3 bucket "+c.cfg.Blobs.S3.Bucket+" at "+c.cfg.Blobs.S3.URL, "look at the bucket, its server and the user's permissions"
	case inJetStream:
		where, hint = "in a JetStream object store", "see whether the NATS servers run, have a majority and have room"
	}
	if err := c.blobs.Check(ctx); err != nil {
		found = append(found, problem("blobs", cmp.Or(hintOf(err), hint), "no message can be stored: %v", err))
	} else {
		found = append(found, ok("blobs", "messages can be stored %s", where))
	}
	switch b := c.blobs.(type) {
	case *blobs3.Bucket:
		found = append(found, aboutS3(b.Inspect(ctx))...)
	case *blobfs.Shared:
		found = append(found, warning("blobs", "make sure that it is mounted with working locks on every node; see docs/operator.md, \"Where blobs lie\"", "the directory is said to be the same on all nodes"))
	}
	return found
}

// maxSkew is how far the clock of an S3 server may be off before somebody should look; it refuses requests from about 15 minutes on.
const maxSkew = time.Minute

func aboutS3(i blobs3.Inspection) (found []webadmin.Finding) {
	if i.Skew > maxSkew || i.Skew < -maxSkew {
		found = append(found, problem("blobs", "set the clocks and let them be synchronised; requests are refused when they differ by a quarter of an hour", "the clock of the S3 server differs from ours by %s", i.Skew.Round(time.Second)))
	}
	if i.Locked {
		found = append(found, problem("blobs", "use a bucket without object lock", "the bucket locks its objects: deleted messages stay, also those of erased accounts, though nobody can open these"))
	}
	if i.Versioned {
		found = append(found, warning("blobs", "let a lifecycle rule expire noncurrent versions and delete markers, after the time for which you want them", "the bucket keeps versions: deleted messages take room in it for ever"))
	}
	return found
}

// hintOf is what an error tells its operator to do.
func hintOf(err error) string {
	var known *domain.Error
	if errors.As(err, &known) {
		return known.Hint
	}
	return ""
}
