package natsd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/streampost/streampost/domain"
)

// The framing of a record in a block: length (4 octets, little-endian, the highest bit says that there are headers), sequence (8, the two
// highest bits mark tombstones and erased records), time (8), length of the subject (2), subject, headers and message, checksum (8).
const (
	recordHead    = 4 + 8 + 8 + 2
	recordMin     = recordHead + 8
	recordMax     = 32 << 20
	lengthMask    = 1<<31 - 1
	tombstoneBit  = 1 << 62
	sequenceMask  = 1<<62 - 1
	sequenceLeap  = 1 << 24 // beyond this a sequence is nonsense, whatever was deleted between
	inspectBuffer = 1 << 20
)

// Inspect reads the framing of all blocks of a log whose server is not running. It exists because the server takes sequence numbers on
// trust: one flipped bit in one makes it note each of the quintillions of sequences that seem to be missing, until memory ends. Start
// inspects what the server reads when it starts. Errors: domain.Corrupt, naming file and offset; domain.Unavailable.
func Inspect(dir string) error {
	return inspect(filepath.Join(dir, server.JetStreamStoreDir, account, "streams"), false)
}

// inspect checks every stream's blocks, or the last of each.
func inspect(streams string, lastOnly bool) error {
	entries, err := os.ReadDir(streams)
	if err != nil {
		if err = passing(err); err != nil {
			return storageError(err, "list the streams of the log")
		}
		return nil
	}
	for _, e := range entries {
		msgs := filepath.Join(streams, e.Name(), "msgs")
		names, err := blockNames(msgs)
		if passing(err) != nil {
			return storageError(err, "list the blocks of "+e.Name())
		}
		slices.SortFunc(names, func(a, b string) int {
			if later(a, b) {
				return 1
			}
			return -1
		})
		if lastOnly && len(names) > 1 {
			names = names[len(names)-1:]
		}
		var last uint64
		for i, name := range names {
			if last, err = inspectBlock(filepath.Join(msgs, name), last, i == len(names)-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// inspectBlock walks one block, whose first sequence follows last unless that is 0, and returns its last sequence. The stream's final block
// may end in a torn record: nobody was promised that one, or the marks tell.
func inspectBlock(name string, last uint64, final bool) (uint64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, storageError(err, "read the log")
	}
	defer func() { _ = f.Close() }()
	r := bufio.NewReaderSize(f, inspectBuffer)
	damaged := func(at int64, format string, args ...any) error {
		return &domain.Error{
			Kind: domain.Corrupt,
			Msg:  fmt.Sprintf("the log is damaged: %s at offset %d: %s", name, at, fmt.Sprintf(format, args...)),
			Hint: "check the disk, and restore the file from a backup or a replica; nothing has been changed",
		}
	}
	for at := int64(0); ; {
		var head [recordHead]byte
		_, err := io.ReadFull(r, head[:])
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		length := int64(binary.LittleEndian.Uint32(head[:]) & lengthMask)
		if err == nil && (length < recordMin || length > recordMax) {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			_, err = r.Discard(int(length) - recordHead)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if final {
				return last, nil
			}
			return 0, damaged(at, "a record is cut off or has the impossible length %d", length)
		case err != nil:
			return 0, storageError(err, "read the log")
		}
		field := binary.LittleEndian.Uint64(head[4:])
		if seq := field & sequenceMask; field&tombstoneBit == 0 && seq != 0 {
			if last != 0 && (seq <= last || seq-last > sequenceLeap) {
				return 0, damaged(at, "sequence %d follows %d", seq, last)
			}
			last = seq
		}
		at += length
	}
}
