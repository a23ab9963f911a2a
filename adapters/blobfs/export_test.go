package blobfs

import "os"

// Compact gives back the room of dead records now.
func (b *Bucket) Compact() error { return b.packs.compact() }

// Syncs tells how the syncs of marks and zeros went, and that of a record, when the descriptor through which records are written fails.
func (b *Bucket) Syncs() (aside, record error) {
	t := &b.packs.tail
	broken, err := os.Open(os.DevNull) // which cannot be synced
	if err != nil {
		return err, err
	}
	defer broken.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.file.File
	t.file.File = broken
	defer func() { t.file.File = own }()
	return b.packs.segments.sync(t.file.number), datasync(t.file.File)
}

// Checkpoint writes the index to its file now.
func (b *Bucket) Checkpoint() error { return b.packs.checkpoint() }
