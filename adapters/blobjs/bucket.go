// Package blobjs keeps blobs in a JetStream object store, beside the log and in as many copies: shared blobs without another product.
//
// The layout is that of NATS's object stores (ADR-20), so that `nats object ls` and `get` work: a stream OBJ_<bucket>, the octets in chunks under a subject
// of their own, and under the subject of the name a message that describes them. Writing is our own, because the client of NATS neither replaces nor
// deletes on a condition, and leaves chunks behind when two write one name.
//
// Invariants:
//   - Commit returns when the servers have acknowledged all chunks and then the description, each in its stream's number of copies. Until then nobody sees
//     anything. The servers have to sync before they acknowledge.
//   - A description is written and removed on the condition that the one before is still there, so a blob that is stored anew while it is deleted stays.
//   - Messages are read from the stream's leader: what was just stored is there, on whatever node one reads.
//   - Each question is asked again while no server answers, up to Limits.Timeout, which rides out an election; publications carry ids, so that one whose
//     answer was lost is not stored twice. Then the error is domain.Unavailable.
package blobjs

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// Config says where the store is.
type Config struct {
	Conn     *nats.Conn
	Prefix   string // of the log's streams; may be empty
	Space    string // what is kept: "blobs" or "snapshots"
	Replicas int    // copies in a cluster, as of the log; 0 means 1
	Grows    bool   // what is there may have fewer, as while a log grows
	Limits   Limits
	Logger   *slog.Logger // nil for slog.Default
	// Failpoint is as of blobfs.Options.
	Failpoint func(name string)
}

// Limits of a Bucket; zero fields get the default.
type Limits struct {
	Chunk   int           // octets of a chunk, at most those of a message (max_payload) less a KiB: 128 KiB
	Window  int           // chunks of one upload on their way at a time: 8
	Whole   int64         // octets up to which a blob is read as a whole when it is opened: 1 MiB
	Request time.Duration // for one answer: 5 s
	Timeout time.Duration // for one question, asked again while nobody answers: 30 s
	Orphan  time.Duration // age of chunks without a description after which Sweep removes them; it has to exceed any upload: 24 h
}

func (l *Limits) setDefaults() {
	l.Chunk = cmp.Or(l.Chunk, 128<<10)
	l.Window = cmp.Or(l.Window, 8)
	l.Whole = cmp.Or(l.Whole, 1<<20)
	l.Request = cmp.Or(l.Request, 5*time.Second)
	l.Timeout = cmp.Or(l.Timeout, 30*time.Second)
	l.Orphan = cmp.Or(l.Orphan, 24*time.Hour)
}

// Bucket is an object store.
type Bucket struct {
	cfg    Config
	limits Limits
	js     jetstream.JetStream
	stream jetstream.Stream
	name   string // of the object store
}

var (
	_ blob.Bucket = (*Bucket)(nil)
	_ blob.Sizer  = (*Bucket)(nil)
)

// Open makes the object store if there is none, and checks the one that is there. Errors: domain.Invalid for a store that is not as it has to be,
// domain.Unavailable.
func Open(ctx context.Context, cfg Config) (*Bucket, error) {
	cfg.Limits.setDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	cfg.Replicas = max(cfg.Replicas, 1)
	b := &Bucket{cfg: cfg, limits: cfg.Limits, name: cfg.Space}
	if cfg.Prefix != "" {
		b.name = cfg.Prefix + "_" + cfg.Space
	}
	if most := int(cfg.Conn.MaxPayload()) - 1024; most > 0 && b.limits.Chunk > most {
		return nil, &domain.Error{
			Kind: domain.Invalid, Msg: fmt.Sprintf("chunks of %d octets do not fit into the messages of the NATS server, which have %d at most", b.limits.Chunk, most+1024),
			Hint: "lower blobs.jetstream.chunk, or set max_payload: 8MB in the configuration of every server",
		}
	}
	var err error
	if b.js, err = jetstream.New(cfg.Conn, jetstream.WithPublishAsyncTimeout(b.limits.Request)); err == nil {
		b.stream, err = b.ensure(ctx)
	}
	if err != nil {
		return nil, failed(err, "open the object store "+b.name)
	}
	return b, b.check(b.stream.CachedInfo().Config)
}

// config is what the stream must be.
func (b *Bucket) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        "OBJ_" + b.name,
		Description: "Streampost: stored messages, sealed. Do not edit.",
		Subjects:    []string{b.chunks("*"), b.description("*")},
		Storage:     jetstream.FileStorage,
		Replicas:    b.cfg.Replicas,
		Discard:     jetstream.DiscardNew,
		AllowRollup: true,
	}
}

// grown is how many copies the stream has, or is taken to have.
func (b *Bucket) grown(copies int) int {
	if b.cfg.Grows && copies < b.cfg.Replicas {
		return b.cfg.Replicas
	}
	return copies
}

func (b *Bucket) chunks(upload string) string    { return "$O." + b.name + ".C." + upload }
func (b *Bucket) description(name string) string { return "$O." + b.name + ".M." + name }

// subject is where the description of a blob lies.
func (b *Bucket) subject(id domain.BlobID) string {
	return b.description(base64.URLEncoding.EncodeToString([]byte(id.String())))
}

func (b *Bucket) ensure(ctx context.Context) (jetstream.Stream, error) {
	s, err := ask(ctx, b.limits, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, b.config().Name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = ask(ctx, b.limits, func(ctx context.Context) (jetstream.Stream, error) { return b.js.CreateStream(ctx, b.config()) })
	}
	return s, err
}

// check refuses a stream that is not as it must be.
func (b *Bucket) check(is jetstream.StreamConfig) error {
	want := b.config()
	for _, field := range []struct {
		name     string
		is, want any
	}{
		{"subjects", fmt.Sprint(is.Subjects), fmt.Sprint(want.Subjects)},
		{"storage", is.Storage, want.Storage},
		{"replicas", b.grown(is.Replicas), want.Replicas},
		{"retention", is.Retention, want.Retention},
		{"discard", is.Discard, want.Discard},
		{"allow_rollup_hdrs", is.AllowRollup, want.AllowRollup},
		{"allow_direct", is.AllowDirect, want.AllowDirect},
		{"max_age", is.MaxAge, time.Duration(0)},
		{"sealed", is.Sealed, false},
		{"persist_mode", is.PersistMode, want.PersistMode},
		{"mirror", is.Mirror != nil, false},
	} {
		if field.is != field.want {
			return &domain.Error{
				Kind: domain.Invalid, Msg: fmt.Sprintf("stream %s, which keeps the blobs, has %s %v, but must have %v", is.Name, field.name, field.is, field.want),
				Hint: "edit it (nats stream edit), or make the configuration fit; it was made with streams.replicas as it was then",
			}
		}
	}
	return nil
}

// Stream names the stream that keeps the store.
func (b *Bucket) Stream() string { return b.config().Name }

// Close does nothing: the connection belongs to the log.
func (b *Bucket) Close() error { return nil }

// described is a description that was read.
type described struct {
	info   jetstream.ObjectInfo
	seq    uint64 // of the description
	stored time.Time
	chunks []uint64 // sequence of each chunk
}

// sequences is the metadata in which the sequences of chunks are kept, the first and then each less the one before, so that any range can be read.
const sequences = "streampost.chunks"

// describe reads a blob's description; nil when there is none. That of a deleted blob has info.Deleted. One that is damaged is given together with the
// error, so that it can be replaced.
func (b *Bucket) describe(ctx context.Context, id domain.BlobID) (*described, error) {
	m, err := ask(ctx, b.limits, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return b.stream.GetLastMsgForSubject(ctx, b.subject(id))
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err, "look up a stored message")
	}
	d := &described{seq: m.Sequence, stored: m.Time}
	if err := d.read(m.Data); err != nil {
		return d, domain.Wrap(domain.Corrupt, err, "the stored message is not described as it should be")
	}
	return d, nil
}

func (d *described) read(text []byte) error {
	if err := json.Unmarshal(text, &d.info); err != nil {
		return err
	}
	var last uint64
	for word := range strings.FieldsSeq(d.info.Metadata[sequences]) {
		var step uint64
		if _, err := fmt.Sscan(word, &step); err != nil {
			return err
		}
		last += step
		d.chunks = append(d.chunks, last)
	}
	if uint32(len(d.chunks)) != d.info.Chunks && !d.info.Deleted {
		return fmt.Errorf("it has %d chunks, of which %d are named", d.info.Chunks, len(d.chunks))
	}
	return nil
}

// Delete removes a blob on the condition that its description is still the one whose time was looked at.
func (b *Bucket) Delete(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	d, err := b.describe(ctx, id)
	if err != nil || d == nil || d.info.Deleted || !before.IsZero() && !d.stored.Before(before) {
		return false, err
	}
	gone := jetstream.ObjectInfo{ObjectMeta: jetstream.ObjectMeta{Name: id.String()}, Bucket: b.name, NUID: d.info.NUID, Deleted: true}
	seq, err := b.publishDescription(ctx, id, gone, d.seq)
	if errors.Is(err, errMoved) {
		return false, nil // It was stored anew, or somebody else deleted it.
	}
	if err != nil {
		return false, err
	}
	if err := b.purge(ctx, b.chunks(d.info.NUID), 0); err != nil {
		return true, err
	}
	return true, b.purge(ctx, b.subject(id), seq+1)
}

// purge removes all messages of a subject, or those before a sequence.
func (b *Bucket) purge(ctx context.Context, subject string, before uint64) error {
	options := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(subject)}
	if before > 0 {
		options = append(options, jetstream.WithPurgeSequence(before))
	}
	_, err := ask(ctx, b.limits, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.stream.Purge(ctx, options...) })
	return failed(err, "remove the octets of a deleted message")
}

// Check tells whether blobs can be stored and read. Error: domain.Unavailable.
func (b *Bucket) Check(ctx context.Context) error {
	// It is written like anything else, so that it needs what that needs: a leader, a majority, and room.
	probe := &nats.Msg{Subject: b.chunks("probe"), Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}}
	_, err := ask(ctx, b.limits, func(ctx context.Context) (*jetstream.PubAck, error) { return b.js.PublishMsg(ctx, probe) })
	return failed(err, "look whether the object store takes messages")
}
