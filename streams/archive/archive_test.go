package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/blobs3"
	"github.com/streampost/streampost/adapters/blobs3/s3test"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/archive"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

// What is appended is archived by the next round, and Verify tells what is not yet.
func TestArchive(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.writer(), w.writer()
	alice.append("1", "2")
	bob.append("1")
	if _, err := archive.Verify(w.ctx, w.store, w.log, archive.VerifyOptions{}); !domain.Is(err, domain.NotFound) {
		t.Fatalf("an archive is found where none is: %v", err)
	}
	w.round()
	if r := w.verify(); r.Accounts != 2 || r.Entries != 3 || r.Behind != 0 || r.Keys < 4 {
		t.Errorf("verify counts %+v", r)
	}
	alice.append("3")
	if r := w.verify(); r.Entries != 3 || r.Behind != 1 {
		t.Errorf("verify counts %+v", r)
	}
	w.round()
	if r := w.verify(); r.Entries != 4 || r.Behind != 0 || r.Segments != 3 {
		t.Errorf("verify counts %+v", r)
	}
	if lags, elsewhere, err := w.archiver.State(w.ctx); err != nil || elsewhere || len(lags) != 4 || lags[1].Entries+lags[2].Entries != 0 {
		t.Errorf("the archiver says %+v, %v, %v", lags, elsewhere, err)
	}
}

// Segments of about one size are merged, and nothing is lost on the way, wherever the process dies.
func TestMerge(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	for n := range 9 {
		alice.append(fmt.Sprint(n))
		w.round()
	}
	chain, err := w.store.Chain(w.ctx, alice.id)
	if err != nil || len(chain) > 3 || chain[0][1] < 4 {
		t.Errorf("the segments are %v, %v", chain, err)
	}
	if r := w.verify(); r.Left != 0 || r.Entries != 9 {
		t.Errorf("verify counts %+v", r)
	}
	for _, point := range []string{"archive.segments", "archive.merged", "archive.segments"} {
		for range 3 {
			alice.append("more")
			w.dieAt(point)
		}
		w.archiver = w.another(nil) // a fresh process
		alice.append("again")
		w.round()
		w.verify()
	}
	w.lose()
	w.restore(nil)
	w.wantNotes(alice.id, "0 1 2 3 4 5 6 7 8 "+strings.Repeat("more more more again ", 3))
	w.sound()
}

// dieAt makes a round that ends at a failpoint if it comes there.
func (w *world) dieAt(point string) {
	w.Helper()
	died := fmt.Errorf("the process died at %s", point)
	w.fail = func(name string) {
		if name == point {
			panic(died)
		}
	}
	defer func() {
		w.fail = nil
		if r := recover(); r != nil && r != any(died) {
			panic(r)
		} else if r != nil {
			w.archiver = w.another(nil)
		}
	}()
	w.round()
}

// A lost log comes back whole: every transaction with its chain, the keys, the secrets, and it can be written and archived again.
func TestRestore(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.writer(), w.writer()
	for n := 1; n <= 20; n++ {
		alice.append(fmt.Sprint(n))
		bob.append(fmt.Sprint(-n))
		if n%7 == 0 {
			w.round()
		}
	}
	secret, err := w.log.Secret(w.ctx, "blobs")
	if err != nil {
		t.Fatal(err)
	}
	w.round()
	before := alice.at
	w.lose()
	sum := w.restore(nil)
	if sum.Entries != 40 || sum.Accounts != 2 || w.log.Generation() != sum.Generation || sum.Generation == "" {
		t.Errorf("restored %+v, the log says %q", sum, w.log.Generation())
	}
	w.sound()
	w.wantNotes(alice.id, strings.Join(numbers(1, 20), " ")+" ")
	if again, err := w.log.Secret(w.ctx, "blobs"); err != nil || again != secret {
		t.Errorf("the secret of blobs is another one (%v)", err)
	}
	at, err := w.log.Last(w.ctx, alice.id)
	if err != nil || at.Tx != before.Tx || at.Hash != before.Hash {
		t.Fatalf("alice stands at %+v, %v, before at %+v", at, err, before)
	}
	alice.at = at
	alice.append("21")
	w.round()
	if r := w.verify(); r.Entries != 41 {
		t.Errorf("verify counts %+v", r)
	}
	// And once more, from the archive of the restored log.
	w.lose()
	if again := w.restore(nil); again.Entries != 41 {
		t.Errorf("restored %+v", again)
	}
	w.wantNotes(alice.id, strings.Join(numbers(1, 21), " ")+" ")
}

// A log with anything in it is never overwritten, and one whose restore was cut off opens for nobody until it is repeated.
func TestRestoreRefused(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1", "2")
	w.round()
	_, err := w.tryRestore(nil)
	wantKind(t, err, domain.Exists)
	w.wantNotes(alice.id, "1 2 ")

	w.lose()
	w.listen()
	flip := func(b []byte) []byte { b[50] ^= 1; return b }
	w.vault.Damage(w.store.KeyName(streams.AccountRecord(domain.DirectoryID)), flip)
	_, err = w.tryRestore(func(p *archive.Part) { p.Lost = nil })
	wantKind(t, err, domain.Corrupt)
	_, err = streams.Open(w.ctx, streams.Config{Conn: w.server.Conn(), Syncer: w.server, Master: w.master()})
	if wantKind(t, err, domain.Unavailable); !strings.Contains(err.Error(), "restore") {
		t.Error(err)
	}
	w.vault.Damage(w.store.KeyName(streams.AccountRecord(domain.DirectoryID)), flip)
	if _, err := w.tryRestore(nil); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.wantNotes(alice.id, "1 2 ")
}

// A restore that was cut off in its last step, when some streams are ready to be used and others not, is repeated.
func TestRestoreCutOffAtTheEnd(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1", "2")
	w.round()
	w.lose()
	w.listen()
	store, root, err := archive.OpenLost(w.ctx, w.buckets(), w.master(), archive.Latest)
	if err != nil {
		t.Fatal(err)
	}
	restore := func(s streams.Syncer) error {
		_, err := streams.Restore(w.ctx, streams.RestoreConfig{Conn: w.server.Conn(), Syncer: s, Topology: streams.Topology{Shards: root.Shards}}, &archive.Part{Store: store})
		return err
	}
	wantKind(t, restore(&tired{w.server, map[string]bool{}}), domain.Unavailable)
	if there, err := streams.Restoring(w.ctx, w.server.Conn(), streams.Topology{}); err != nil || !there {
		t.Fatalf("the restore came to its end: %v", err)
	}
	if err := restore(w.server); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.wantNotes(alice.id, "1 2 ")
}

// tired is a Syncer that fails to sync the second time that it is asked to for an account's stream, which is then no longer marked.
type tired struct {
	streams.Syncer
	synced map[string]bool
}

func (s *tired) SyncAll(ctx context.Context, stream string) error {
	if s.synced[stream] && strings.HasPrefix(stream, "ACCOUNTS_1") {
		return domain.Errorf(domain.Unavailable, "the disk is full")
	}
	s.synced[stream] = true
	return s.Syncer.SyncAll(ctx, stream)
}

// A point in time cuts each account's log, a damaged segment the rest of one account's only.
func TestRestoreInPart(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.writer(), w.writer()
	alice.append("1", "2")
	bob.append("1")
	w.round()
	var until time.Time
	for e, err := range w.log.Sealed(w.ctx, w.log.StreamOf(alice.id), alice.at.Seq-1, alice.at.Seq) {
		if err != nil {
			t.Fatal(err)
		}
		until = e.Written
	}
	bob.append("2") // later than alice's second
	alice.append("3", "4")
	w.round()

	w.lose()
	w.restore(func(p *archive.Part) { p.Until = until })
	w.wantNotes(alice.id, "1 2 ")
	w.sound()
	// What was left out is in the old generation, and what comes now in the new one.
	alice.at, _ = w.log.Last(w.ctx, alice.id)
	alice.append("other 3")
	w.round()
	w.verify()
	w.lose()
	w.restore(nil)
	w.wantNotes(alice.id, "1 2 other 3 ")
	store, root, err := archive.OpenLost(w.ctx, w.buckets(), w.master(), "")
	if err != nil || len(root.Generations) != 2 {
		t.Fatalf("the archive has the generations %v, %v", root, err)
	}
	w.lose()
	w.restore(func(p *archive.Part) { p.Store, p.Account = store, alice.id })
	w.wantNotes(alice.id, "1 2 3 4 ")
	w.wantNotes(bob.id, "")
	w.round()

	w.lose()
	w.bucket.Damage(store.SegmentName(alice.id, 3), func(b []byte) []byte { b[90] ^= 1; return b })
	var lost []streams.Finding
	w.restore(func(p *archive.Part) {
		p.Store, p.Lost = store, func(f streams.Finding) { lost = append(lost, f) }
	})
	w.wantNotes(alice.id, "1 2 ")
	w.wantNotes(bob.id, "1 2 ")
	if len(lost) == 0 {
		t.Error("nobody is told what is lost")
	}
}

// A lost segment after which nothing follows is missed, because the cursor says that it was there; but not what an erased account had.
func TestRestoreMissesTheEnd(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1", "2")
	w.round()
	alice.append("3", "4")
	w.round()
	w.remove(w.bucket, w.store.SegmentName(alice.id, 3))
	w.lose()
	var lost []streams.Finding
	tell := func(p *archive.Part) { p.Lost = func(f streams.Finding) { lost = append(lost, f) } }
	w.restore(tell)
	w.wantNotes(alice.id, "1 2 ")
	if len(lost) != 1 || !strings.Contains(lost[0].What, "2 entries") || !strings.Contains(lost[0].What, "3-4") {
		t.Errorf("lost: %v", lost)
	}
	w.round()
	if err := w.log.Erase(w.ctx, alice.id); err != nil {
		t.Fatal(err)
	}
	w.round()
	w.lose()
	lost = nil
	if w.restore(tell); len(lost) != 0 {
		t.Errorf("lost: %v", lost)
	}
}

// What a destroyed key has sealed opens from no archive, whenever it was destroyed, and its segments go.
func TestErase(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.writer(), w.writer(), w.writer()
	for _, a := range []*writer{alice, bob, carol} {
		a.append("1", "2")
	}
	w.round()
	wrapped, err := w.log.KeyRecord(w.ctx, streams.AccountRecord(alice.id))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*writer{alice, bob, carol} {
		if a != carol {
			if err := w.log.Erase(w.ctx, a.id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.archiver.Erase(w.ctx, alice.id); err != nil { // at once
		t.Fatal(err)
	}
	if err := w.archiver.Erase(w.ctx, carol.id); err != nil { // who is not erased, and loses nothing
		t.Fatal(err)
	}
	if chain, err := w.store.Chain(w.ctx, alice.id); err != nil || len(chain) != 0 {
		t.Errorf("segments of an erased account are left: %v, %v", chain, err)
	}
	if r := w.look(); len(r.Findings) != 0 && !strings.Contains(r.Findings[0].What, "destroyed") {
		t.Errorf("verify finds %v", r.Findings)
	}
	w.round() // bob's is noticed by itself
	if chain, err := w.store.Chain(w.ctx, bob.id); err != nil || len(chain) != 0 {
		t.Errorf("segments of an erased account are left: %v, %v", chain, err)
	}
	if r := w.verify(); r.Erased != 2 || r.Entries != 2 {
		t.Errorf("verify counts %+v", r)
	}
	w.lose()
	w.restore(nil)
	w.wantNotes(carol.id, "1 2 ")
	for _, a := range []*writer{alice, bob} {
		if r, err := w.log.KeyRecord(w.ctx, streams.AccountRecord(a.id)); err != nil || !r.Erased || bytes.Equal(r.Data, wrapped.Data) {
			t.Errorf("the key of an erased account is back: %+v, %v", r, err)
		}
		wantKind(t, w.log.Create(w.ctx, a.id), domain.Erased)
	}
}

// A crash may leave segments of an erased account, and merging what nobody needs. Collect finds them, and generations that are old.
func TestCollect(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.writer(), w.writer()
	for n := range 3 {
		alice.append(fmt.Sprint(n))
		bob.append(fmt.Sprint(n))
		if n == 2 {
			w.dieAt("archive.merged")
		} else {
			w.round()
		}
	}
	w.round()
	r := w.verify()
	if r.Left == 0 {
		t.Fatalf("the crash has left nothing: %+v", r)
	}
	if sum, err := w.archiver.Collect(w.ctx, time.Hour); err != nil || sum.Left+sum.Erased+sum.Old != 0 {
		t.Errorf("collected %+v, %v, though it is young", sum, err)
	}
	for _, a := range []*writer{alice, bob} {
		for first := domain.Tx(2); first <= 3; first++ {
			if name := w.store.SegmentName(a.id, first); w.has(name) {
				w.bucket.Age(name, 2*time.Hour)
			}
		}
	}
	if sum, err := w.archiver.Collect(w.ctx, time.Hour); err != nil || sum.Left == 0 {
		t.Errorf("collected %+v, %v", sum, err)
	}
	if r := w.verify(); r.Left != 0 || r.Entries != 6 {
		t.Errorf("verify counts %+v", r)
	}
	if err := w.log.Erase(w.ctx, bob.id); err != nil {
		t.Fatal(err)
	}
	if sum, err := w.archiver.Collect(w.ctx, time.Hour); err != nil || sum.Erased == 0 {
		t.Errorf("collected %+v, %v", sum, err)
	}
	w.round()
	w.lose()
	w.restore(nil)
	w.round()
	w.verify()
	before := w.bucket.Len()
	if sum, err := w.archiver.Collect(w.ctx, -time.Second); err != nil || sum.Old == 0 || w.bucket.Len() >= before {
		t.Errorf("collected %+v, %v", sum, err)
	}
	if r := w.verify(); r.Entries != 3 {
		t.Errorf("verify counts %+v", r)
	}
	w.lose()
	w.restore(nil)
	w.wantNotes(alice.id, "0 1 2 ")
}

// Verify finds whatever is done to the archive, and Mend writes it anew from the log.
func TestVerifyAndMend(t *testing.T) {
	flip := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	for _, c := range []struct {
		name   string
		damage func(w *world, alice *writer)
		want   string
	}{
		{"a damaged segment", func(w *world, alice *writer) { w.bucket.Damage(w.store.SegmentName(alice.id, 1), flip) }, "cannot be read"},
		{"a lost segment", func(w *world, alice *writer) { w.remove(w.bucket, w.store.SegmentName(alice.id, 3)) }, "lacks this transaction"},
		{"a lost beginning", func(w *world, alice *writer) { w.remove(w.bucket, w.store.SegmentName(alice.id, 1)) }, "lacks this transaction"},
		{"exchanged segments", func(w *world, alice *writer) {
			other := w.octets(w.store.SegmentName(alice.id, 3))
			w.bucket.Damage(w.store.SegmentName(alice.id, 1), func([]byte) []byte { return other })
		}, "cannot be read"},
		{"a shortened segment", func(w *world, alice *writer) {
			w.bucket.Damage(w.store.SegmentName(alice.id, 3), func(b []byte) []byte { return b[:len(b)/2] })
		}, "cannot be read"},
		{"a damaged cursor", func(w *world, alice *writer) {
			w.bucket.Damage(w.store.CursorName(w.log.StreamOf(alice.id)), flip)
		}, "cursor cannot be read"},
		{"a lost key", func(w *world, alice *writer) { w.remove(w.vault, w.store.KeyName(streams.AccountRecord(alice.id))) }, "lacks key record"},
		{"a damaged key", func(w *world, alice *writer) {
			w.vault.Damage(w.store.KeyName(streams.AccountRecord(alice.id)), flip)
		}, "cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			alice := w.writer()
			alice.append("1", "2")
			w.round()
			alice.append("3", "4")
			w.round()
			w.verify()
			c.damage(w, alice)
			report := w.look()
			text := ""
			for i := range report.Findings {
				text += report.Findings[i].Error() + "\n"
			}
			if !strings.Contains(text, c.want) {
				t.Fatalf("found %q, want %q", text, c.want)
			}
			if err := w.archiver.Mend(w.ctx, report); err != nil {
				t.Fatal(err)
			}
			if c.name == "a damaged cursor" {
				w.archiver = w.another(nil) // it is noticed by the next process
				w.round()
			}
			w.verify()
			alice.append("5")
			w.round()
			w.lose()
			w.restore(nil)
			w.wantNotes(alice.id, "1 2 3 4 5 ")
		})
	}
}

// What the log has lost is not taken for damage of the archive: mending leaves what may be the last copy.
func TestMendKeepsWhatTheLogLost(t *testing.T) {
	for name, lacks := range map[string][]uint64{"the last one": {10}, "one in the middle": {5}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.writer()
			alice.append(numbers(1, 10)...)
			w.round()
			stream := w.log.StreamOf(alice.id)
			js := w.copyLog()(stream, lacks...)
			var err error
			if w.log, err = streams.Open(w.ctx, streams.Config{Conn: js.Conn(), Syncer: w.server, Master: w.master(), Recalls: true}); err != nil {
				t.Fatal(err)
			}
			if w.store, err = archive.Open(w.ctx, w.buckets(), w.log); err != nil {
				t.Fatal(err)
			}
			w.archiver = w.another(nil)
			w.remove(w.vault, w.store.KeyName(streams.AccountRecord(alice.id))) // something to mend
			report := w.look()
			if len(report.Findings) == 0 {
				t.Fatal("nothing is found")
			}
			if err := w.archiver.Mend(w.ctx, report); err != nil {
				t.Fatal(err)
			}
			if chain, err := w.store.Chain(w.ctx, alice.id); err != nil || len(chain) != 1 || chain[0][1] != 10 {
				t.Errorf("the archive has the transactions %v, %v", chain, err)
			}
			w.lose()
			w.restore(nil)
			w.wantNotes(alice.id, strings.Join(numbers(1, 10), " ")+" ")
		})
	}
}

func (w *world) remove(from *blobtest.Memory, name domain.BlobID) {
	w.Helper()
	if deleted, err := from.Delete(w.ctx, name, time.Time{}); err != nil || !deleted {
		w.Fatalf("nothing is removed: %v", err)
	}
}

func (w *world) has(name domain.BlobID) bool {
	o, err := w.bucket.Open(w.ctx, name)
	if err == nil {
		err = o.Close()
	}
	return err == nil
}

func (w *world) octets(name domain.BlobID) []byte {
	w.Helper()
	o, err := w.bucket.Open(w.ctx, name)
	if err != nil {
		w.Fatal(err)
	}
	b := make([]byte, o.Size())
	if _, err := o.ReadAt(b, 0); err != nil {
		w.Fatal(err)
	}
	return b
}

// The archive of one log is never taken for that of another.
func TestAnotherLog(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1")
	w.round()
	w.lose()
	w.listen()
	fresh, err := streams.Open(w.ctx, streams.Config{Conn: w.server.Conn(), Syncer: w.server, Master: w.master()})
	if err != nil {
		t.Fatal(err)
	}
	w.log = fresh
	_, err = archive.Open(w.ctx, w.buckets(), fresh)
	wantKind(t, err, domain.Conflict)
	if exists, err := archive.Exists(w.ctx, w.buckets()); err != nil || !exists {
		t.Errorf("the archive is not found: %v, %v", exists, err)
	}
	if exists, err := archive.Exists(w.ctx, archive.Buckets{Keys: new(blobtest.Memory)}); err != nil || exists {
		t.Errorf("an archive is found in nothing: %v, %v", exists, err)
	}
	other, err := streams.LoadMaster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = archive.OpenLost(w.ctx, w.buckets(), other, archive.Latest)
	wantKind(t, err, domain.Unavailable)
}

// After a rotation the archive opens with the new master key alone.
func TestRotate(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1")
	w.round()
	if err := w.log.Rotate(w.ctx, nil); err != nil {
		t.Fatal(err)
	}
	w.round()
	w.verify()
	w.lose()
	w.restore(nil)
	w.wantNotes(alice.id, "1 ")
}

// A rotation destroys the old master key only when the archive does not need it any more.
func TestRotateArchivesFirst(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1")
	w.round()
	w.anew = func(context.Context) error { return domain.Errorf(domain.Unavailable, "the bucket is away") }
	wantKind(t, w.log.Rotate(w.ctx, nil), domain.Unavailable)
	if n := len(w.log.MasterKey()); n != 2 {
		t.Fatalf("%d master keys are left, want the old one too", n)
	}
	w.anew = func(ctx context.Context) error { return w.archiver.Keys(ctx) }
	if err := w.log.Rotate(w.ctx, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(w.log.MasterKey()); n != 1 {
		t.Errorf("%d master keys are left", n)
	}
	w.lose() // before any round
	w.restore(nil)
	w.wantNotes(alice.id, "1 ")
}

// A root that a destroyed master key has wrapped, or that is damaged, is still the log's own, and is written anew.
func TestOwnRoot(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"stale": func(w *world) {
			if err := w.log.Rotate(w.ctx, nil); err != nil {
				t.Fatal(err)
			}
		},
		"a bit in the secret": func(w *world) { w.vault.Damage(archive.RootName, func(b []byte) []byte { b[20] ^= 1; return b }) },
		"a bit in the MAC":    func(w *world) { w.vault.Damage(archive.RootName, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }) },
		"cut off":             func(w *world) { w.vault.Damage(archive.RootName, func(b []byte) []byte { return b[:9] }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.writer()
			alice.append("1")
			w.round()
			spoil(w)
			w.stop()
			w.start() // which opens the archive
			w.round()
			w.lose()
			w.restore(nil)
			w.wantNotes(alice.id, "1 ")
		})
	}
}

// A log starts while the place of its archive is away. When it is there again and another log's archive is in it, nothing is written.
func TestStartWithoutTheBucket(t *testing.T) {
	w := newWorld(t)
	w.writer().append("1")
	w.round()
	w.lose()
	w.listen()
	var err error
	if w.log, err = streams.Open(w.ctx, streams.Config{Conn: w.server.Conn(), Syncer: w.server, Master: w.master()}); err != nil {
		t.Fatal(err)
	}
	_, err = archive.Open(w.ctx, archive.Buckets{Keys: away{}, Segments: away{}}, w.log)
	wantKind(t, err, domain.Unavailable)
	if w.store, err = archive.OpenUnseen(w.ctx, w.buckets(), w.log); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.another(nil).Round(w.ctx), domain.Conflict)
}

// away is a bucket that cannot be reached.
type away struct{ blob.Bucket }

func (away) Open(context.Context, domain.BlobID) (blob.Object, error) {
	return nil, domain.Errorf(domain.Unavailable, "the bucket is away")
}

// One node archives at a time. When it is gone, another goes on; when it yields, at once.
func TestTurn(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	turn := func(node string) *archive.Turn {
		return archive.NewTurn(archive.TurnConfig{JetStream: w.log.JetStream(), Stream: "ARCHIVE", Subject: "archive", Node: node, Now: func() time.Time { return now }})
	}
	one, two := turn("one"), turn("two")
	take := func(t *testing.T, turn *archive.Turn, want bool) {
		t.Helper()
		if _, mine, err := turn.Take(w.ctx); err != nil || mine != want {
			t.Fatalf("it is the node's turn: %v, %v, want %v", mine, err, want)
		}
	}
	take(t, one, true)
	take(t, two, false)
	now = now.Add(20 * time.Second)
	take(t, one, true)
	now = now.Add(20 * time.Second)
	take(t, two, false)
	now = now.Add(31 * time.Second) // and the first one says nothing
	take(t, two, true)
	take(t, one, false)
	two.Yield(w.ctx)
	take(t, one, true)
	take(t, turn("one"), true) // it was started afresh

	alice := w.writer()
	alice.append("1")
	a, b := w.another(one), w.another(two)
	if err := b.Round(w.ctx); err != nil {
		t.Fatal(err)
	}
	if _, elsewhere, _ := b.State(w.ctx); !elsewhere || b.Stats().Segments != 0 {
		t.Error("a node archives though it is not its turn")
	}
	now = now.Add(40 * time.Second)
	take(t, two, true)
	if err := a.Round(w.ctx); err != nil || a.Stats().Segments != 0 {
		t.Error("a node archives though it has lost its turn", err)
	}
	if err := b.Round(w.ctx); err != nil || b.Stats().Segments != 1 {
		t.Error("nobody archives", err)
	}
	w.verify()
}

// A node that loses its turn in a round writes nothing more, and the other one goes on where it was.
func TestTurnIsLostInARound(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits.Batch = 1 })
	now := time.Now()
	turn := func(node string) *archive.Turn {
		return archive.NewTurn(archive.TurnConfig{JetStream: w.log.JetStream(), Stream: "ARCHIVE", Subject: "archive", Node: node, Now: func() time.Time { return now }})
	}
	one, two := turn("one"), turn("two")
	alice := w.writer()
	alice.append("1", "2", "3")
	a, b := w.another(one), w.another(two)
	w.fail = func(string) {
		w.fail = nil
		if _, mine, err := two.Take(w.ctx); err != nil || mine {
			t.Errorf("it is both nodes' turn: %v", err)
		}
		now = now.Add(40 * time.Second) // of which the first one was asleep
		if _, mine, err := two.Take(w.ctx); err != nil || !mine {
			t.Errorf("the turn is not taken over: %v", err)
		}
	}
	if err := a.Round(w.ctx); err != nil {
		t.Fatal(err)
	}
	if n := a.Stats().Segments; n != 1 {
		t.Errorf("a node that has lost its turn has written %d segments", n)
	}
	if err := b.Round(w.ctx); err != nil || b.Stats().Segments != 2 {
		t.Errorf("the other one has written %d segments, %v", b.Stats().Segments, err)
	}
	w.verify()
}

// A first archive of many accounts is made in pieces, each within a turn.
func TestManyAccounts(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 600 {
		a := w.writer()
		wg.Go(func() { a.append("1") })
	}
	wg.Wait()
	batches := 0
	w.fail = func(string) { batches++ }
	w.round()
	if batches < 4 { // two for each of two streams, with 300 accounts or so
		t.Errorf("the archive was made in %d pieces", batches)
	}
	if r := w.verify(); r.Accounts != 600 || r.Behind != 0 {
		t.Errorf("verify counts %+v", r)
	}
}

// A segment that cannot be merged keeps neither its stream nor the others from being archived.
func TestMergeFails(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.writer(), w.writer()
	for w.log.StreamOf(bob.id) <= w.log.StreamOf(alice.id) { // which comes later
		alice, bob = w.writer(), w.writer()
	}
	for range 2 {
		alice.append("more")
		w.round()
	}
	w.bucket.Damage(w.store.SegmentName(alice.id, 1), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	alice.append("more")
	bob.append("1")
	wantKind(t, w.archiver.Round(w.ctx), domain.Corrupt)
	if chain, err := w.store.Chain(w.ctx, bob.id); err != nil || len(chain) != 1 {
		t.Errorf("bob's log is not archived: %v, %v", chain, err)
	}
	alice.append("more")
	if err := w.archiver.Mend(w.ctx, w.look()); err != nil {
		t.Fatal(err)
	}
	w.round()
	w.verify()
}

// The note that a key is destroyed is never replaced by the key.
func TestErasedStaysErased(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	w.round()
	live, err := w.log.KeyRecord(w.ctx, streams.AccountRecord(alice.id))
	if err == nil {
		err = w.log.Erase(w.ctx, alice.id)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.round()
	if err := w.store.PutKey(w.ctx, &live); err != nil {
		t.Fatal(err)
	}
	w.verify()
}

// A log that was taken back to an older state, and went on from there, is not archived over what it had been.
func TestRolledBack(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1", "2")
	w.stop()
	older := t.TempDir()
	if err := os.CopyFS(filepath.Join(older, "log"), os.DirFS(filepath.Join(w.dir, "log"))); err != nil {
		t.Fatal(err)
	}
	w.start()
	at := alice.at
	alice.append("3")
	w.round()
	w.stop()
	w.dir, alice.at = older, at
	w.start()
	alice.append("another 3", "another 4")
	wantKind(t, w.archiver.Round(w.ctx), domain.Conflict)
	w.lose()
	w.restore(nil)
	w.wantNotes(alice.id, "1 2 3 ")
}

// While the bucket is away the log waits, and the archiver says why.
func TestBucketAway(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1")
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error)
	go func() { ended <- w.archiver.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); w.archiver.Stats().Segments == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is archived")
		}
	}
	alice.append("2")
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if r := w.verify(); r.Behind != 0 || r.Entries != 2 {
		t.Errorf("the last round was left out: %+v", r)
	}
}

// An entry that a stream has lost is read from the archive, by whoever reads, as long as it is the very one.
func TestRecall(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.writer(), w.writer()
	for w.log.StreamOf(bob.id) != w.log.StreamOf(alice.id) {
		bob = w.writer()
	}
	for n := 1; n <= 20; n++ {
		alice.append(fmt.Sprint(n))
		bob.append(fmt.Sprint(-n))
		if n%8 == 0 {
			w.round()
		}
	}
	w.round()
	damaged := w.spoil(w.log.StreamOf(alice.id), 13, 14)

	follow := func() (seen int, err error) {
		err = w.log.Follow(w.ctx, w.log.StreamOf(alice.id), 0, func(entries []streams.Entry) error {
			if seen += len(entries); seen == 40 {
				return context.Canceled
			}
			return nil
		})
		return seen, err
	}
	if seen, err := follow(); seen != 12 || !domain.Is(err, domain.Corrupt) {
		t.Fatalf("without an archive %d entries are read, then %v", seen, err)
	}
	w.recallFrom(w.store)
	if seen, err := follow(); seen != 40 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d entries are read, then %v", seen, err)
	}
	w.wantNotes(alice.id, strings.Join(numbers(1, 20), " ")+" ")
	if w.log.Recalled() == 0 {
		t.Error("nobody counts what was recalled")
	}
	report, err := w.log.Verify(w.ctx, streams.VerifyOptions{}, nil)
	if err != nil || len(report.Findings) == 0 {
		t.Errorf("the damage is no longer found: %+v, %v", report, err)
	}
	// What the archive gives is proved: an archive that lacks it, or has something else, helps nobody.
	for _, e := range damaged {
		w.recallFrom(forger{e})
		if seen, err := follow(); seen > 13 || !domain.Is(err, domain.Corrupt) { // of two lost entries it has one
			t.Errorf("with a forged archive %d entries are read, then %v", seen, err)
		}
	}
	w.recallFrom(forger{})
	if seen, err := follow(); seen != 12 || !domain.Is(err, domain.Corrupt) {
		t.Errorf("with an empty archive %d entries are read, then %v", seen, err)
	}
}

func (w *world) recallFrom(r streams.Recaller) {
	w.Helper()
	if err := w.log.RecallFrom(w.ctx, r); err != nil {
		w.Fatal(err)
	}
}

// A log whose streams have holes opens when the archive has what is missing, and is written and archived on.
func TestOpenWithHoles(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append(numbers(1, 9)...)
	w.round()
	stream, ctx := w.log.StreamOf(alice.id), w.ctx
	streamed := w.copyLog()
	js := streamed(stream, 1, 4, 5)
	open := func(recalls bool) (err error) {
		w.log, err = streams.Open(ctx, streams.Config{Conn: js.Conn(), Syncer: w.server, Master: w.master(), Recalls: recalls})
		return err
	}
	wantKind(t, open(false), domain.Corrupt)
	if err := open(true); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.log.RecallFrom(ctx, forger{}), domain.Corrupt)
	var err error
	if w.store, err = archive.Open(ctx, w.buckets(), w.log); err != nil {
		t.Fatal(err)
	}
	w.recallFrom(w.store)
	w.archiver = w.another(nil)
	w.wantNotes(alice.id, strings.Join(numbers(1, 9), " ")+" ")
	alice.append("10")
	w.round()
	w.verify()
	w.wantNotes(alice.id, strings.Join(numbers(1, 10), " ")+" ")
}

// An account whose newest entry lies in a hole is read whole, and nothing is appended in the place of what was lost.
func TestNewestInAHole(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.writer(), w.writer()
	for w.log.StreamOf(bob.id) != w.log.StreamOf(alice.id) {
		bob = w.writer()
	}
	alice.append("1")
	before := alice.at
	alice.append("2")
	bob.append("1")
	w.round()
	stream := w.log.StreamOf(alice.id)
	js := w.copyLog()(stream, 2)
	var err error
	if w.log, err = streams.Open(w.ctx, streams.Config{Conn: js.Conn(), Syncer: w.server, Master: w.master(), Recalls: true}); err != nil {
		t.Fatal(err)
	}
	if w.store, err = archive.Open(w.ctx, w.buckets(), w.log); err != nil {
		t.Fatal(err)
	}
	w.recallFrom(w.store)
	w.wantNotes(alice.id, "1 2 ")
	_, err = w.log.Last(w.ctx, alice.id)
	wantKind(t, err, domain.Corrupt)
	for _, at := range []streams.Position{{}, before} {
		_, err = w.log.Append(w.ctx, alice.id, at, &event.Transaction{At: 1, Actor: "forged", Events: []event.Event{&event.DomainAdded{Name: "example.org"}}})
		wantKind(t, err, domain.Corrupt)
	}
	bob.append("2")
	w.wantNotes(bob.id, "1 2 ")
}

// copyLog ends the log and gives a function that makes another one with the same streams, of which one lacks some entries, as a damaged disk leaves them.
func (w *world) copyLog() func(stream string, lacks ...uint64) jetstream.JetStream {
	w.Helper()
	js := w.log.JetStream()
	var configs []jetstream.StreamConfig
	messages := map[string][]*jetstream.RawStreamMsg{}
	all := js.ListStreams(w.ctx)
	for info := range all.Info() {
		configs = append(configs, info.Config)
		s, err := js.Stream(w.ctx, info.Config.Name)
		if err != nil {
			w.Fatal(err)
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
			m, err := s.GetMsg(w.ctx, seq)
			if err != nil {
				w.Fatal(err)
			}
			messages[info.Config.Name] = append(messages[info.Config.Name], m)
		}
	}
	w.lose()
	return func(stream string, lacks ...uint64) jetstream.JetStream {
		w.listen()
		js, err := jetstream.New(w.server.Conn())
		if err != nil {
			w.Fatal(err)
		}
		for _, cfg := range configs {
			kept := cfg
			cfg.DenyDelete, cfg.DenyPurge = false, false
			s, err := js.CreateStream(w.ctx, cfg)
			if err != nil {
				w.Fatal(err)
			}
			for _, m := range messages[cfg.Name] {
				if _, err := js.Publish(w.ctx, m.Subject, m.Data); err != nil {
					w.Fatal(err)
				}
			}
			if cfg.Name == stream {
				for _, seq := range lacks {
					if err := s.DeleteMsg(w.ctx, seq); err != nil {
						w.Fatal(err)
					}
				}
			}
			if _, err := js.UpdateStream(w.ctx, kept); err != nil {
				w.Fatal(err)
			}
		}
		return js
	}
}

// forger gives the same entry for whatever is asked, or has nothing.
type forger struct{ entry streams.Sealed }

func (f forger) Recall(_ context.Context, _ string, from, to domain.Seq) (all []streams.Sealed, err error) {
	if f.entry.Data == nil {
		return nil, domain.Errorf(domain.NotFound, "nothing is there")
	}
	for ; from <= to; from++ {
		e := f.entry
		e.Seq = from
		all = append(all, e)
	}
	return all, nil
}

// spoil flips a bit in entries of a stream on the disk, while the log is closed, so that the server can no longer read them.
func (w *world) spoil(stream string, seqs ...domain.Seq) (damaged []streams.Sealed) {
	w.Helper()
	for _, seq := range seqs {
		for e, err := range w.log.Sealed(w.ctx, stream, seq-1, seq) {
			if err != nil {
				w.Fatal(err)
			}
			damaged = append(damaged, e)
		}
	}
	w.stop()
	block := filepath.Join(w.dir, "log", "jetstream", "$G", "streams", stream, "msgs", "1.blk")
	content, err := os.ReadFile(block)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range damaged {
		at := bytes.Index(content, e.Data)
		if at < 0 {
			w.Fatal("the entry is not found on the disk")
		}
		content[at+len(e.Data)/2] ^= 4
	}
	if err := os.WriteFile(block, content, 0o600); err != nil {
		w.Fatal(err)
	}
	w.start()
	return damaged
}

// In S3, where objects are written several at a time, all is the same.
func TestFarAway(t *testing.T) {
	w := newWorld(t, func(w *world) {
		a := s3test.Double(t)
		open := func(space string) *blobs3.Bucket {
			b, err := blobs3.Open(w.ctx, blobs3.Config{
				URL: a.URL, Bucket: a.Bucket, Prefix: a.Prefix, Space: space, Region: "us-east-1", AccessKey: a.AccessKey, SecretKey: a.SecretKey, Spool: t.TempDir(),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			return b
		}
		w.far, w.limits.Parallel = &archive.Buckets{Keys: open("archive-keys"), Segments: open("archive")}, 16
	})
	var all []*writer
	for range 10 {
		all = append(all, w.writer())
	}
	for n := range 4 {
		for _, a := range all {
			a.append(fmt.Sprint(n))
		}
		w.round()
	}
	if err := w.log.Erase(w.ctx, all[0].id); err != nil {
		t.Fatal(err)
	}
	if err := w.archiver.Erase(w.ctx, all[0].id); err != nil {
		t.Fatal(err)
	}
	w.round()
	if r := w.verify(); r.Entries != 36 || r.Erased != 1 || r.Left != 0 {
		t.Errorf("verify counts %+v", r)
	}
	w.lose()
	w.restore(nil)
	w.sound()
	for _, a := range all[1:] {
		w.wantNotes(a.id, "0 1 2 3 ")
	}
	w.round()
	w.verify()
	if sum, err := w.archiver.Collect(w.ctx, -time.Second); err != nil || sum.Old == 0 {
		t.Errorf("collected %+v, %v", sum, err)
	}
	w.verify()
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x00\x10aaaaaaaaaaaaaaaa\x0aACCOUNTS_0\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := archive.Decode(b); err == nil && !bytes.Equal(s.Encode(), b) {
			again, err := archive.Decode(s.Encode())
			if err != nil || again.Hash != s.Hash {
				t.Errorf("what was read is not written: %v", err)
			}
		}
		_, _, _ = archive.DecodeRoot(b)
	})
}
