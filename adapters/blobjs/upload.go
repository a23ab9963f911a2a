package blobjs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// upload publishes chunks as they fill, and their description at the end.
type upload struct {
	bucket *Bucket
	ctx    context.Context // of Create: a Write has none
	id     string          // of the upload, under which its chunks lie
	chunk  []byte
	sent   []*sending // chunks on their way, the oldest first
	stored []uint64   // sequences of those that are acknowledged
	size   uint64
	digest hash.Hash
	over   bool
}

// sending is a chunk on its way.
type sending struct {
	message *nats.Msg
	future  jetstream.PubAckFuture // nil if it could not be sent
}

var errOver = domain.Errorf(domain.Internal, "the upload is over")

// Create begins an upload.
func (b *Bucket) Create(ctx context.Context) (blob.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &upload{bucket: b, ctx: ctx, id: rand.Text(), digest: sha256.New()}, nil
}

func (u *upload) Write(p []byte) (n int, err error) {
	if u.over {
		return 0, errOver
	}
	for n < len(p) {
		if len(u.chunk) == u.bucket.limits.Chunk { // the last one waits for Commit
			if err := u.send(u.ctx); err != nil {
				return n, err
			}
		}
		m := min(len(p)-n, u.bucket.limits.Chunk-len(u.chunk))
		u.chunk = append(u.chunk, p[n:n+m]...)
		n += m
	}
	return n, nil
}

// send publishes the chunk, when the window has room for it.
func (u *upload) send(ctx context.Context) error {
	if len(u.sent) == u.bucket.limits.Window {
		if err := u.acknowledged(ctx, 1); err != nil {
			return err
		}
	}
	_, _ = u.digest.Write(u.chunk)
	u.size += uint64(len(u.chunk))
	m := &nats.Msg{Subject: u.bucket.chunks(u.id), Data: u.chunk, Header: nats.Header{jetstream.MsgIDHeader: {u.id + "." + strconv.Itoa(len(u.stored)+len(u.sent))}}}
	future, err := u.bucket.js.PublishMsgAsync(m)
	if err != nil {
		future = nil // acknowledged publishes it again
	}
	u.sent, u.chunk = append(u.sent, &sending{m, future}), nil
	return nil
}

// acknowledged waits for the oldest n chunks on their way.
func (u *upload) acknowledged(ctx context.Context, n int) error {
	for _, s := range u.sent[:n] {
		seq, err := u.bucket.await(ctx, s)
		if err != nil {
			return failed(err, "store a message")
		}
		u.stored = append(u.stored, seq)
	}
	u.sent = slices.Delete(u.sent, 0, n)
	return nil
}

// settled waits until the server has answered what was published.
func (s *sending) settled(ctx context.Context) {
	if s.future == nil {
		return
	}
	select {
	case <-s.future.Ok():
	case <-s.future.Err():
	case <-ctx.Done():
	}
}

// await gives the sequence of a chunk. One whose acknowledgement does not come is published again, under its id.
func (b *Bucket) await(ctx context.Context, s *sending) (uint64, error) {
	if s.future != nil {
		once, cancel := context.WithTimeout(ctx, b.limits.Request)
		defer cancel()
		select {
		case ack := <-s.future.Ok():
			return ack.Sequence, nil
		case <-s.future.Err():
		case <-once.Done():
		}
	}
	return b.publish(ctx, s.message)
}

// publish publishes a message that has an id, as often as it takes.
func (b *Bucket) publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	ack, err := ask(ctx, b.limits, func(ctx context.Context) (*jetstream.PubAck, error) { return b.js.PublishMsg(ctx, m) })
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// Commit implements blob.Upload. When it fails the blob may be stored all the same; nobody refers to it then, and it is collected.
func (u *upload) Commit(ctx context.Context, id domain.BlobID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if u.over {
		return errOver
	}
	defer u.Abort()
	if len(u.chunk) > 0 {
		if err := u.send(ctx); err != nil {
			return err
		}
	}
	if err := u.acknowledged(ctx, len(u.sent)); err != nil {
		return err
	}
	u.bucket.cfg.Failpoint("blob.written")
	if err := u.describeAs(ctx, id); err != nil {
		return err
	}
	u.stored = nil // Abort has nothing to remove
	u.bucket.cfg.Failpoint("blob.committed")
	return nil
}

// info describes what was uploaded.
func (u *upload) info(id domain.BlobID) jetstream.ObjectInfo {
	var steps []string
	var last uint64
	for _, seq := range u.stored {
		steps = append(steps, strconv.FormatUint(seq-last, 10))
		last = seq
	}
	return jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{
			Name: id.String(), Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(u.bucket.limits.Chunk)}, Metadata: map[string]string{sequences: strings.Join(steps, " ")},
		},
		Bucket: u.bucket.name, NUID: u.id, Size: u.size, Chunks: uint32(len(u.stored)), Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(u.digest.Sum(nil)),
	}
}

// describeAs writes a description in the place of the one before, whose chunks go then.
func (u *upload) describeAs(ctx context.Context, id domain.BlobID) error {
	b, info := u.bucket, u.info(id)
	var before *described
	for {
		var expect uint64
		if before != nil {
			expect = before.seq
		}
		_, err := b.publishDescription(ctx, id, info, expect)
		if err == nil {
			break
		}
		if !errors.Is(err, errMoved) {
			return err
		}
		if before, err = b.describe(ctx, id); err != nil && !domain.Is(err, domain.Corrupt) {
			return err
		}
		if before == nil { // It was deleted since, or the server has not settled what came before.
			if err := pause(ctx); err != nil {
				return err
			}
			continue
		}
		// An acknowledgement may have been lost: the blob is ours then, or was replaced since, and our chunks with it.
		if before.info.NUID == u.id {
			return nil
		}
		if there, err := u.there(ctx); err != nil || !there {
			return err
		}
	}
	if before != nil && !before.info.Deleted {
		// If this fails, Sweep removes them.
		if err := b.purge(ctx, b.chunks(before.info.NUID), 0); err != nil {
			b.cfg.Logger.Warn("the octets of a blob that was replaced are still there", "blob", id, "error", err)
		}
	}
	return nil
}

// there tells whether the chunks of the upload are.
func (u *upload) there(ctx context.Context) (bool, error) {
	if len(u.stored) == 0 {
		return true, nil
	}
	_, err := ask(ctx, u.bucket.limits, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return u.bucket.stream.GetMsg(ctx, u.stored[0])
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return err == nil, failed(err, "store a message")
}

// errMoved says that the description that was expected is not there any more.
var errMoved = errors.New("somebody else wrote first")

// publishDescription writes a description on a condition. The rollup removes the one before.
func (b *Bucket) publishDescription(ctx context.Context, id domain.BlobID, info jetstream.ObjectInfo, expect uint64) (uint64, error) {
	text, err := json.Marshal(info)
	if err != nil {
		return 0, domain.Wrap(domain.Internal, err, "describe a stored message")
	}
	seq, err := b.publish(ctx, &nats.Msg{Subject: b.subject(id), Data: text, Header: nats.Header{
		jetstream.MsgRollup:                 {jetstream.MsgRollupSubject},
		jetstream.MsgIDHeader:               {fmt.Sprintf("%s.%v.%d", info.NUID, info.Deleted, expect)},
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(expect, 10)},
	}})
	if moved(err) {
		return 0, errMoved
	}
	return seq, failed(err, "store a message")
}

// Abort implements blob.Upload.
func (u *upload) Abort() {
	if u.over {
		return
	}
	u.over, u.chunk = true, nil
	if len(u.stored)+len(u.sent) == 0 {
		return
	}
	// Chunks that arrive later, or when no server answers now, are removed by Sweep.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), u.bucket.limits.Request)
	defer cancel()
	for _, s := range u.sent { // The server does not store what is published and purge in the order in which it was told to.
		s.settled(ctx)
	}
	_ = u.bucket.stream.Purge(ctx, jetstream.WithPurgeSubject(u.bucket.chunks(u.id)))
}
