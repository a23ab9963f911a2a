package blobfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// index knows where each blob's record is. Entries gather in memory and go to a file (bbolt, a B+ tree) some thousand at a time, because a
// tree whose keys are random writes a page for each. What the file does not have yet is found again by scanning segments from the
// recorded position, so nothing here is needed for a Commit to be durable.
type index struct {
	db *bbolt.DB

	mu       sync.RWMutex
	recent   map[domain.BlobID]place // newer than the file
	flushing map[domain.BlobID]place // being written to the file, older than recent
	indexed  position                // every record before it is in one of the three
	dead     map[uint32]int64        // octets of dead records by segment
	stale    map[uint32]bool         // segments whose number in dead the file does not have
	flushed  chan struct{}           // closed by the next flush that ends
	failed   error                   // of the last flush
}

// position is a point in the sequence of segments.
type position struct {
	segment uint32
	offset  int64
}

const indexFormat = "1"

var (
	bucketBlobs    = []byte("blobs")    // id -> place
	bucketSegments = []byte("segments") // number -> octets of dead records
	bucketMeta     = []byte("meta")
	keyFormat      = []byte("format")
	keyIndexed     = []byte("indexed")
)

var errIndexFormat = errors.New("the index has another format")

// openIndex opens the index file or begins an empty one. When the file cannot be read it is removed, and fresh is true, as it is for a missing one.
func openIndex(path string) (x *index, fresh bool, err error) {
	_, err = os.Stat(path)
	fresh = errors.Is(err, fs.ErrNotExist)
	x = &index{recent: map[domain.BlobID]place{}, dead: map[uint32]int64{}, stale: map[uint32]bool{}, flushed: make(chan struct{})}
	if err = x.open(path); err == nil || fresh {
		return x, fresh, err
	}
	if errors.Is(err, bbolterrors.ErrTimeout) || !unreadable(err) {
		return nil, false, err
	}
	if err := os.Remove(path); err != nil {
		return nil, false, err
	}
	return x, true, x.open(path)
}

// unreadable tells an index file that is damaged from a disk that does not work.
func unreadable(err error) bool {
	var broken *fs.PathError
	var call *os.SyscallError
	return !errors.As(err, &broken) && !errors.As(err, &call)
}

func (x *index) open(path string) (err error) {
	defer func() {
		if r := recover(); r != nil { // bbolt panics on some damage.
			err = errors.Join(errors.New("the index is damaged"), x.close())
		}
	}()
	// The list of free pages is made anew at start instead of being written with each checkpoint.
	x.db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = x.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketBlobs, bucketSegments, bucketMeta} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		switch format := meta.Get(keyFormat); {
		case format == nil:
			if err := meta.Put(keyFormat, []byte(indexFormat)); err != nil {
				return err
			}
		case string(format) != indexFormat:
			return errIndexFormat
		}
		if p := meta.Get(keyIndexed); len(p) == 12 {
			x.indexed = position{binary.BigEndian.Uint32(p), int64(binary.BigEndian.Uint64(p[4:]))}
		}
		return tx.Bucket(bucketSegments).ForEach(func(k, v []byte) error {
			if len(k) == 4 && len(v) == 8 {
				x.dead[binary.BigEndian.Uint32(k)] = int64(binary.BigEndian.Uint64(v))
			}
			return nil
		})
	})
	if err != nil {
		err = errors.Join(err, x.close())
	}
	return err
}

func (x *index) close() error {
	if x.db == nil {
		return nil
	}
	err := x.db.Close()
	x.db = nil
	return err
}

// find gives the place of a blob; the zero place when it has none.
func (x *index) find(id domain.BlobID) (place, error) {
	x.mu.RLock()
	p, ok := x.newest(id)
	x.mu.RUnlock()
	if ok {
		return p, nil
	}
	return x.filed(id)
}

// newest looks into memory, under the lock.
func (x *index) newest(id domain.BlobID) (p place, ok bool) {
	if p, ok = x.recent[id]; !ok {
		p, ok = x.flushing[id]
	}
	return p, ok
}

// filed looks into the file.
func (x *index) filed(id domain.BlobID) (p place, err error) {
	err = x.db.View(func(tx *bbolt.Tx) error {
		p = decodePlace(tx.Bucket(bucketBlobs).Get(id[:]))
		return nil
	})
	return p, err
}

// buried counts a record as dead. The caller holds the lock.
func (x *index) buried(p place) {
	x.dead[p.segment] += span(p.size)
	x.stale[p.segment] = true
}

// size is the number of entries that are not in the file.
func (x *index) size() int {
	entries, _, _ := x.behind()
	return entries
}

// behind is size, with what is closed by the next flush that ends, and with the error of the last one.
func (x *index) behind() (entries int, flushed <-chan struct{}, failed error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.recent) + len(x.flushing), x.flushed, x.failed
}

// flush writes to the file what has gathered. replaced is called, before anything is lost, with the places that the file had for the same ids.
// One flush or remove runs at a time.
func (x *index) flush(replaced func([]place) error) error {
	x.mu.Lock()
	if len(x.recent)+len(x.flushing)+len(x.stale) == 0 {
		x.mu.Unlock()
		return nil
	}
	if x.flushing == nil {
		x.flushing, x.recent = x.recent, make(map[domain.BlobID]place, len(x.recent))
	} else { // The last flush failed.
		maps.Copy(x.flushing, x.recent)
		clear(x.recent)
	}
	entries, indexed := x.flushing, x.indexed
	x.mu.Unlock()

	ids := slices.SortedFunc(maps.Keys(entries), func(a, b domain.BlobID) int { return bytes.Compare(a[:], b[:]) })
	var counted []uint32
	err := x.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketBlobs)
		b.FillPercent = 0.8
		var old []place
		for _, id := range ids {
			p := entries[id]
			if before := decodePlace(b.Get(id[:])); !before.gone() && before != p {
				old = append(old, before)
			}
			var err error
			if p.gone() {
				err = b.Delete(id[:])
			} else {
				err = b.Put(id[:], p.encode())
			}
			if err != nil {
				return err
			}
		}
		if err := replaced(old); err != nil {
			return err
		}
		if err := x.putDead(tx, &counted); err != nil {
			return err
		}
		at := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, indexed.segment), uint64(indexed.offset))
		return tx.Bucket(bucketMeta).Put(keyIndexed, at)
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.flushed)
	x.flushed, x.failed = make(chan struct{}), err
	if err != nil {
		x.uncount(counted)
		return err
	}
	x.flushing = nil
	return nil
}

// putDead writes the changed numbers of dead octets and says whose they are; if the transaction fails, uncount them.
func (x *index) putDead(tx *bbolt.Tx, counted *[]uint32) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	*counted = slices.Collect(maps.Keys(x.stale))
	clear(x.stale)
	b := tx.Bucket(bucketSegments)
	for _, n := range *counted {
		key := binary.BigEndian.AppendUint32(nil, n)
		octets, ok := x.dead[n]
		var err error
		if ok {
			err = b.Put(key, binary.BigEndian.AppendUint64(nil, uint64(octets)))
		} else {
			err = b.Delete(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// uncount says under the lock that the file has old numbers of these segments.
func (x *index) uncount(segments []uint32) {
	for _, n := range segments {
		x.stale[n] = true
	}
}

// remove takes an id out of the file.
func (x *index) remove(id domain.BlobID) error {
	var counted []uint32
	err := x.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(bucketBlobs).Delete(id[:]); err != nil {
			return err
		}
		return x.putDead(tx, &counted)
	})
	if err != nil {
		x.mu.Lock()
		x.uncount(counted)
		x.mu.Unlock()
	}
	return err
}

// listed is an entry of the file.
type listed struct {
	id domain.BlobID
	place
}

// after gives up to n entries of the file that follow an id; the first ones when it is nil. No transaction stays open between two calls, so that
// the file need not grow meanwhile.
func (x *index) after(id *domain.BlobID, n int) (list []listed, err error) {
	err = x.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketBlobs).Cursor()
		var k, v []byte
		if id == nil {
			k, v = c.First()
		} else if k, v = c.Seek(id[:]); bytes.Equal(k, id[:]) {
			k, v = c.Next()
		}
		for ; k != nil && len(list) < n; k, v = c.Next() {
			if p := decodePlace(v); len(k) == len(domain.BlobID{}) && !p.gone() {
				list = append(list, listed{domain.BlobID(k), p})
			}
		}
		return nil
	})
	return list, err
}
