package streams

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// rotateChunk is how many records share one sync while they are wrapped anew. Creating and erasing accounts wait that long.
const rotateChunk = 256

// Rotate replaces the master key: it makes a new one, wraps every key of the log with it, and destroys the old one at the end. Sealed
// transactions, account keys and secrets stay as they are. It may be interrupted and run again; the log works on meanwhile. With master
// keys from the configuration, set "new,old", rotate, then remove the old one.
// progress is told how many of how many records are done; it may be nil.
func (l *Log) Rotate(ctx context.Context, progress func(done, total int)) error {
	if progress == nil {
		progress = func(int, int) {}
	}
	if err := l.cfg.Master.begin(); err != nil {
		return err
	}
	if err := l.cfg.KeysChanged(ctx); err != nil {
		return err
	}
	if err := l.keys.fill(ctx); err != nil {
		return err
	}
	// The first pass moves all records to the new file, also those that an interrupted rotation has wrapped already.
	for all := true; ; all = false {
		rewrapped, err := l.keys.rewrapAll(ctx, all, progress)
		if err != nil {
			return err
		}
		if rewrapped == 0 { // a whole pass found nothing of the old key's
			break
		}
	}
	if err := l.keys.dropOld(ctx); err != nil {
		return err
	}
	if err := l.cfg.Rewrapped(ctx); err != nil {
		return &domain.Error{
			Kind: domain.Unavailable, Msg: "the old master key is kept, because the archive still needs it", Err: err,
			Hint: "see that the archive can be written, then run keys rotate again to finish",
		}
	}
	if err := l.cfg.Master.finish(); err != nil {
		return err
	}
	if err := l.cfg.KeysChanged(ctx); err != nil { // nothing is wrapped with the old key any more: keeping it for a while does no harm
		l.cfg.Logger.Warn("a node keeps the old master key until it hears that it is replaced", "error", err)
	}
	return nil
}

// The server removes whole files, but blanks records inside one only when there is much to gain. So that none holds both old and new
// versions, a rotation begins by filling the present file, of at most fileSize octets, with noughts.
const (
	fileSize   = 8 << 20
	fillerName = "filler"
	fillerSize = 512 << 10
)

func (k *keyring) fill(ctx context.Context) error {
	for range fileSize/fillerSize + 1 {
		if _, err := k.log.js.Publish(ctx, k.prefix+fillerName, make([]byte, fillerSize)); err != nil {
			return unavailable(err, "begin a new file of key records")
		}
	}
	return nil
}

// names lists all records with how many versions each has.
func (k *keyring) names(ctx context.Context) (map[string]uint64, error) {
	info, err := k.log.info(ctx, k.handle, jetstream.WithSubjectFilter(k.prefix+">"))
	if err != nil {
		return nil, err
	}
	names := make(map[string]uint64, len(info.State.Subjects))
	for subject, versions := range info.State.Subjects {
		names[strings.TrimPrefix(subject, k.prefix)] = versions
	}
	delete(names, fillerName)
	return names, nil
}

// rewrapAll wraps with the current master key all records, or those that are not yet, and counts them.
func (k *keyring) rewrapAll(ctx context.Context, all bool, progress func(done, total int)) (rewrapped int, err error) {
	names, err := k.names(ctx)
	if err != nil {
		return 0, err
	}
	done := 0
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(names)), rotateChunk) {
		n, err := k.rewrap(ctx, all, chunk)
		if err != nil {
			return rewrapped, err
		}
		rewrapped += n
		done += len(chunk)
		progress(done, len(names))
	}
	return rewrapped, nil
}

func (k *keyring) rewrap(ctx context.Context, all bool, names []string) (rewrapped int, err error) {
	k.writing.Lock()
	defer k.writing.Unlock()
	for _, name := range names {
		m, err := k.log.lastMessage(ctx, k.handle, k.prefix+name)
		if err != nil {
			return rewrapped, err
		}
		if m == nil {
			continue
		}
		r, current, err := k.log.cfg.Master.unwrap(name, m.Data)
		if err != nil {
			return rewrapped, err
		}
		if current && !all {
			continue
		}
		if err := k.store(ctx, name, domain.Seq(m.Sequence), r); err != nil {
			return rewrapped, fmt.Errorf("rewrap %s: %w", name, err)
		}
		rewrapped++
	}
	return rewrapped, k.sync(ctx)
}

// dropOld removes all versions of records but the last. Nearly all of them lie before the first of the last, in whole files.
func (k *keyring) dropOld(ctx context.Context) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	names, err := k.names(ctx)
	if err != nil {
		return err
	}
	first := ^uint64(0)
	for name := range names {
		m, err := k.log.lastMessage(ctx, k.handle, k.prefix+name)
		if err != nil {
			return err
		}
		if m != nil {
			first = min(first, m.Sequence)
		}
	}
	if err := k.handle.Purge(ctx, jetstream.WithPurgeSequence(first)); err != nil {
		return unavailable(err, "drop old key records")
	}
	return k.removeVersions(ctx)
}

// removeVersions removes what dropOld's purge cannot reach, or an interrupted Erase left, one by one.
func (k *keyring) removeVersions(ctx context.Context) error {
	names, err := k.names(ctx)
	if err != nil {
		return err
	}
	for name, versions := range names {
		if versions > 1 {
			if err := k.removeOld(ctx, name); err != nil {
				return err
			}
		}
	}
	return k.sync(ctx)
}

// MasterKey tells which master keys wrap the log's keys now, by their ids: one, or two while a rotation is unfinished.
func (l *Log) MasterKey() []string {
	m := l.cfg.Master
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, key := range m.keys {
		ids = append(ids, hex.EncodeToString(key.id[:]))
	}
	return ids
}
