package natsd

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/streampost/streampost/domain"
)

// The framing of a record in a block: length (4 octets, little-endian, the highest bit says that there are headers), sequence (8, the two
// highest bits mark tombstones and erased records), time (8), length of the subject (2), subject, length of the headers (4, if there are any),
// headers, message, checksum (8). The checksum covers all but the lengths.
const (
	recordHead    = 4 + 8 + 8 + 2
	recordSum     = 8
	recordMin     = recordHead + recordSum
	recordMax     = 32 << 20
	headersBit    = 1 << 31
	tombstoneBit  = 1 << 62
	sequenceMask  = 1<<62 - 1
	sequenceLeap  = 1 << 24 // beyond this a sequence is nonsense, whatever was deleted between
	inspectBuffer = 1 << 20
)

// Damage is a record in the log's files whose framing or checksum is wrong. It is the inner error of the domain.Corrupt that Start gives.
type Damage struct {
	Stream string
	File   string
	Offset int64      // of the record, in bytes
	After  domain.Seq // the last sound sequence before it; 0 when there is none
	What   string
}

// Error names the file and the place.
func (d *Damage) Error() string { return fmt.Sprintf("%s at offset %d: %s", d.File, d.Offset, d.What) }

func (d *Damage) corrupt() error {
	return &domain.Error{
		Kind: domain.Corrupt,
		Msg:  "the log is damaged",
		Hint: "check the disk, and restore the file from a backup or a replica; nothing has been changed",
		Err:  d,
	}
}

// Inspect reads the framing and the checksums of all blocks of a log whose server is not running, and gives the first damage of each stream.
// It exists because the server takes both on trust or worse: one flipped bit in a sequence makes it note each of the quintillions of
// sequences that seem to be missing, until memory ends, and one in the last block makes it cut off all that follows. Start inspects what
// the server reads when it starts. Errors: domain.Unavailable when the files cannot be read.
func Inspect(dir string) ([]*Damage, error) {
	_, err := os.Stat(filepath.Join(dir, "running"))
	i := inspection{dir: dir, clean: errors.Is(err, os.ErrNotExist)}
	return i.all()
}

// inspection is one look at the files of a log.
type inspection struct {
	dir     string
	clean   bool // the server was stopped in an orderly way: not even the last record may be cut off
	indexed bool // look only at what the server believes of a log that it has an index of: the framing of the last block, the last checksum
}

func (i *inspection) all() (found []*Damage, err error) {
	streams := filepath.Join(i.dir, server.JetStreamStoreDir, account, "streams")
	entries, err := os.ReadDir(streams)
	if err != nil {
		if err = passing(err); err != nil {
			return nil, storageError(err, "list the streams of the log")
		}
		return nil, nil
	}
	marks := marks{dir: filepath.Join(i.dir, "marks")}
	for _, e := range entries {
		damage, err := i.stream(e.Name(), filepath.Join(streams, e.Name(), "msgs"), marks.read(e.Name()))
		if err != nil {
			return found, err
		}
		if damage != nil {
			found = append(found, damage)
		}
	}
	return found, nil
}

// stream walks a stream's blocks in order. marked is the sequence up to which it was acknowledged as durable.
func (i *inspection) stream(name, msgs string, marked domain.Seq) (*Damage, error) {
	blocks, err := blockNames(msgs)
	if passing(err) != nil {
		return nil, storageError(err, "list the blocks of "+name)
	}
	slices.SortFunc(blocks, func(a, b string) int {
		if later(a, b) {
			return 1
		}
		return -1
	})
	if i.indexed && len(blocks) > 1 {
		blocks = blocks[len(blocks)-1:]
	}
	last := domain.Seq(0)
	for n, b := range blocks {
		block := block{stream: name, file: filepath.Join(msgs, b), last: last, indexed: i.indexed}
		damage, err := block.walk(strings.TrimSuffix(b, ".blk"))
		// The stream's final block may end in a torn record that nobody was promised: the server cuts it off.
		torn := n == len(blocks)-1 && block.last >= marked && !i.clean
		if err != nil || damage != nil && !torn {
			return damage, err
		}
		last = block.last
	}
	return nil, nil
}

// block is a block's file on the way through it.
type block struct {
	stream, file string
	at           int64      // the offset of the record that is looked at
	last         domain.Seq // the sequence before it
	indexed      bool
	spoilt       *Damage // the record before, when its checksum is wrong and that is no reason yet to stop
	body         []byte
}

// walk reads a block up to its end or its first damage.
func (b *block) walk(number string) (*Damage, error) {
	f, err := os.Open(b.file)
	if err != nil {
		return nil, storageError(err, "read the log")
	}
	defer func() { _ = f.Close() }()
	key := sha256.Sum256([]byte(b.stream + "-" + number)) // as the server keys each block's checksums
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "check the log's blocks")
	}
	for r := bufio.NewReaderSize(f, inspectBuffer); ; {
		var head [recordHead]byte
		switch _, err := io.ReadFull(r, head[:]); {
		case errors.Is(err, io.EOF):
			return b.spoilt, nil // the server cuts off a last record that it cannot read
		case errors.Is(err, io.ErrUnexpectedEOF):
			return b.damage("the record is cut off"), nil
		case err != nil:
			return nil, storageError(err, "read the log")
		}
		field := binary.LittleEndian.Uint32(head[:])
		length := int(field &^ headersBit)
		if length < recordMin || length > recordMax {
			return b.damage("the record has the impossible length %d", length), nil
		}
		b.body = slices.Grow(b.body[:0], length-recordHead)[:length-recordHead]
		switch _, err := io.ReadFull(r, b.body); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return b.damage("the record is cut off, or its length %d is wrong", length), nil
		case err != nil:
			return nil, storageError(err, "read the log")
		}
		content, stored := b.body[:len(b.body)-recordSum], b.body[len(b.body)-recordSum:]
		subject, headers := int(binary.LittleEndian.Uint16(head[20:])), 0
		if field&headersBit != 0 {
			headers = 4
		}
		if subject+headers > len(content) {
			return b.damage("the record's subject has the impossible length %d", subject), nil
		}
		sum.Reset()
		_, _ = sum.Write(head[4:20]) // a hash takes everything
		_, _ = sum.Write(content[:subject])
		_, _ = sum.Write(content[subject+headers:])
		before := b.spoilt
		b.spoilt = nil
		if !bytes.Equal(sum.Sum(nil), stored) {
			if b.spoilt = b.damage("the record's checksum is wrong"); !b.indexed {
				return b.spoilt, nil
			}
		}
		sequence := binary.LittleEndian.Uint64(head[4:])
		if seq := domain.Seq(sequence & sequenceMask); sequence&tombstoneBit == 0 && seq != 0 {
			switch wrong := b.last != 0 && (seq <= b.last || seq-b.last > sequenceLeap); {
			case wrong && before != nil: // the one before is to blame
				return before, nil
			case wrong:
				return b.damage("sequence %d follows %d", seq, b.last), nil
			}
			b.last = seq
		}
		b.at += int64(length)
	}
}

func (b *block) damage(format string, args ...any) *Damage {
	return &Damage{Stream: b.stream, File: b.file, Offset: b.at, After: b.last, What: fmt.Sprintf(format, args...)}
}
