package archive

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// rootName is that of the root in every archive: whoever has lost the log knows no secret by which to find it.
var rootName = domain.BlobID(sha256.Sum256([]byte("streampost archive root 1")))

// Root is what an archive begins with. It is not sealed, because it holds what opens the rest, but it bears a MAC.
type Root struct {
	Secret      []byte // the record of the archive's secret, as KEYS has it
	Shards      int
	Generations []Generation // the oldest first
}

// Generation is a history of the log: the first one, or one that a restore began.
type Generation struct {
	ID    string    `json:"id"` // empty for the first one
	Began time.Time `json:"began"`
	// Complete is since when all that the log then had is in the archive; zero when that is not known. It is not in the root.
	Complete time.Time `json:"complete,omitzero"`
}

const rootMagic = "SPR\x01"

func (r *Root) encode(secret [32]byte) []byte {
	b := append([]byte(rootMagic), appendText(nil, string(r.Secret))...)
	b = binary.AppendUvarint(b, uint64(r.Shards))
	b = binary.AppendUvarint(b, uint64(len(r.Generations)))
	for _, g := range r.Generations {
		b = appendText(b, g.ID)
		b = binary.AppendVarint(b, g.Began.UnixMilli())
	}
	return append(b, r.mac(secret, b)...)
}

func (r *Root) mac(secret [32]byte, b []byte) []byte {
	sum := mac(mac(secret, []byte("streampost archive root 1")), b)
	return sum[:]
}

// decodeRoot reads a root. prove checks its MAC, when the secret is known.
func decodeRoot(b []byte) (root *Root, prove func(secret [32]byte) error, err error) {
	if !bytes.HasPrefix(b, []byte(rootMagic)) || len(b) < len(rootMagic)+sha256.Size {
		return nil, nil, damaged(errMalformed)
	}
	signed, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	r := &reader{b: signed[len(rootMagic):]}
	root = &Root{Secret: []byte(r.text()), Shards: int(min(r.uvarint(), 1<<20))}
	for range min(r.uvarint(), 1<<16) {
		root.Generations = append(root.Generations, Generation{ID: r.text(), Began: time.UnixMilli(r.varint())})
	}
	if r.bad || len(r.b) > 0 || len(root.Generations) == 0 {
		return nil, nil, damaged(errMalformed)
	}
	return root, func(secret [32]byte) error {
		if !hmac.Equal(sum, root.mac(secret, signed)) {
			return damaged(errors.New("its root was changed"))
		}
		return nil
	}, nil
}

// readRoot reads the root. Error: domain.NotFound where there is no archive.
func readRoot(ctx context.Context, buckets Buckets) (*Root, func([32]byte) error, error) {
	object, err := buckets.Keys.Open(ctx, rootName)
	if err != nil {
		return nil, nil, err
	}
	defer object.Close()
	b, err := io.ReadAll(io.NewSectionReader(object, 0, min(object.Size(), 1<<20)))
	if err != nil {
		return nil, nil, failed(ctx, err)
	}
	return decodeRoot(b)
}

// Exists tells whether an archive is there. Errors: domain.Unavailable.
func Exists(ctx context.Context, buckets Buckets) (bool, error) {
	_, _, err := readRoot(ctx, buckets)
	if domain.Is(err, domain.NotFound) {
		return false, nil
	}
	return err == nil || domain.Is(err, domain.Corrupt), asUnavailable(err)
}

// asUnavailable keeps those errors only.
func asUnavailable(err error) error {
	if domain.Is(err, domain.Corrupt) {
		return nil
	}
	return err
}

// Log is what an archive is made of; *streams.Log is it.
type Log interface {
	Secret(ctx context.Context, purpose string) ([32]byte, error)
	Master() *streams.MasterKeys
	Topology() streams.Topology
	Generation() string
}

// OpenUnseen gives the archive of a log without a look at what lies there, for when it cannot be reached: an Archiver looks before it writes.
// Error: domain.Unavailable.
func OpenUnseen(ctx context.Context, buckets Buckets, log Log) (*Store, error) {
	secret, err := log.Secret(ctx, purpose)
	if err != nil {
		return nil, err
	}
	return newStore(buckets, secret, log.Generation()), nil
}

// Open gives the archive of a log. It writes nothing. Errors: domain.Conflict when another log's archive lies there, domain.Unavailable.
func Open(ctx context.Context, buckets Buckets, log Log) (*Store, error) {
	secret, err := log.Secret(ctx, purpose)
	if err != nil {
		return nil, err
	}
	s := newStore(buckets, secret, log.Generation())
	if _, err := s.ownRoot(ctx, log.Master(), secret); err != nil && !domain.Is(err, domain.NotFound) {
		return nil, err
	}
	return s, nil
}

// ownRoot reads the root, which has to be this log's: its MAC is made with the log's own secret, whatever master key the secret was wrapped with. A root of
// its own that is damaged is as good as none, because the archiver writes it anew. Errors: domain.NotFound where there is none, domain.Conflict when
// another log's archive lies there, domain.Unavailable.
func (s *Store) ownRoot(ctx context.Context, master *streams.MasterKeys, secret [32]byte) (*Root, error) {
	root, prove, err := readRoot(ctx, s.buckets)
	if err == nil && prove(secret) == nil {
		return root, nil
	}
	if err != nil && !(domain.Is(err, domain.Corrupt) && ctx.Err() == nil) {
		return nil, err
	}
	missing := domain.Errorf(domain.NotFound, "the root of the archive is damaged")
	if err == nil {
		if theirs, err := master.Secret(purpose, root.Secret); err == nil && theirs == secret {
			return nil, missing
		} else if err == nil {
			return nil, errOfAnother
		}
	}
	// Nothing in the root can be believed. Only this log knows under what name it keeps a key there.
	_, err = s.key(ctx, streams.AccountRecord(domain.DirectoryID))
	switch {
	case err == nil, domain.Is(err, domain.Corrupt) && ctx.Err() == nil:
		return nil, missing
	case domain.Is(err, domain.NotFound):
		return nil, errOfAnother
	}
	return nil, err
}

var errOfAnother = &domain.Error{
	Kind: domain.Conflict, Msg: "the archive is that of another log",
	Hint: "if this log was begun anew by mistake, remove it and run log restore; else let archive.directory name another place, or move the old archive away",
}

// OpenLost gives the archive of a log that is lost, by the master key alone, with its root. generation is a history that the root names; the newest
// complete one if it is "latest". Errors: domain.NotFound when there is no archive, or no such generation; domain.Unavailable, such as without the master key; domain.Corrupt.
func OpenLost(ctx context.Context, buckets Buckets, master *streams.MasterKeys, generation string) (*Store, *Root, error) {
	root, prove, err := readRoot(ctx, buckets)
	if domain.Is(err, domain.NotFound) {
		return nil, nil, domain.Errorf(domain.NotFound, "there is no archive")
	}
	if err != nil {
		return nil, nil, err
	}
	secret, err := master.Secret(purpose, root.Secret)
	if err == nil {
		err = prove(secret)
	}
	if err != nil {
		return nil, nil, err
	}
	if generation == Latest {
		all, err := newStore(buckets, secret, "").Generations(ctx, root)
		if err != nil {
			return nil, nil, err
		}
		generation = newest(all)
	} else if !slices.ContainsFunc(root.Generations, func(g Generation) bool { return g.ID == generation }) {
		return nil, nil, domain.Errorf(domain.NotFound, "the archive has no generation %q", generation)
	}
	return newStore(buckets, secret, generation), root, nil
}

// Latest stands for the newest complete generation.
const Latest = "latest"

// keepRoot writes the root unless it is as it must be: it names this log's secret as KEYS has it now, and this log's generation.
// Errors are those of ownRoot, but for domain.NotFound.
func (s *Store) keepRoot(ctx context.Context, master *streams.MasterKeys, secret [32]byte, record []byte, shards int, now time.Time) error {
	root, err := s.ownRoot(ctx, master, secret)
	if domain.Is(err, domain.NotFound) {
		root = &Root{}
	} else if err != nil {
		return err
	}
	is := slices.ContainsFunc(root.Generations, func(g Generation) bool { return g.ID == s.generation })
	if is && bytes.Equal(root.Secret, record) && root.Shards == shards {
		return nil
	}
	root.Secret, root.Shards = record, shards
	if !is {
		root.Generations = append(root.Generations, Generation{ID: s.generation, Began: now})
	}
	return s.putRoot(ctx, secret, root)
}

func (s *Store) putRoot(ctx context.Context, secret [32]byte, root *Root) error {
	upload, err := s.buckets.Keys.Create(ctx)
	if err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	defer upload.Abort()
	if _, err = upload.Write(root.encode(secret)); err == nil {
		err = upload.Commit(ctx, rootName)
	}
	if err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	return nil
}
