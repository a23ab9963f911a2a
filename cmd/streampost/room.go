package main

import (
	"context"
	"io"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/streams/blob"
)

// roomyBlobs refuses new messages while the disk is nearly full. What is left then belongs to the log and the views, so that reading, deleting
// and expunging go on and no sync fails half-way.
type roomyBlobs struct {
	*blob.Store
	room *health.Room
}

// Put stores a message unless the disk is nearly full. Errors: domain.Unavailable, and those of blob.Store.
func (b roomyBlobs) Put(ctx context.Context, r io.Reader) (domain.BlobRef, error) {
	if err := b.room.Check(); err != nil {
		return domain.BlobRef{}, &domain.Error{Kind: domain.Unavailable, Msg: "there is no room for new messages now", Err: err, Hint: "free space on the disk of the data directory"}
	}
	return b.Store.Put(ctx, r)
}
