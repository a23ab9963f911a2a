package streams

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"golang.org/x/crypto/chacha20poly1305"
)

// What a record of the stream KEYS is. Every subject there has one record: the last message.
const (
	recordVersion = 1

	kindAccount byte = 'k' // an account's key
	kindErased  byte = 'e' // an account's key was destroyed; the record holds none
	kindSecret  byte = 's' // a secret of the installation
)

// A record's sealed form: version, kind, master key id (8), key id (8), nonce (24), then XChaCha20-Poly1305 of the secret under the master
// key. Associated data: the first 18 octets, then the subject without prefix. An erased record seals nothing, but the seal proves that it
// was this installation that erased.
const recordHeader = 2 + 8 + 8

// record is an opened one.
type record struct {
	kind   byte
	id     keyID
	secret []byte // 32 octets; none when erased
}

func (m *MasterKeys) wrap(name string, r record) []byte {
	master := m.current()
	b := make([]byte, recordHeader+chacha20poly1305.NonceSizeX, recordHeader+chacha20poly1305.NonceSizeX+len(r.secret)+chacha20poly1305.Overhead)
	b[0], b[1] = recordVersion, r.kind
	copy(b[2:], master.id[:])
	copy(b[10:], r.id[:])
	_, _ = rand.Read(b[recordHeader:]) // never fails, see crypto/rand
	return master.aead.Seal(b, b[recordHeader:], r.secret, wrapAssociated(b, name))
}

// unwrap opens a record. current says whether the master key in use wrapped it.
func (m *MasterKeys) unwrap(name string, b []byte) (r record, current bool, err error) {
	if len(b) < recordHeader+chacha20poly1305.NonceSizeX || b[0] != recordVersion {
		return r, false, domain.Errorf(domain.Corrupt, "key record %s is malformed", name)
	}
	master, err := m.find(keyID(b[2:10]))
	if err != nil {
		return r, false, err
	}
	nonce, rest := b[recordHeader:recordHeader+chacha20poly1305.NonceSizeX], b[recordHeader+chacha20poly1305.NonceSizeX:]
	r = record{kind: b[1], id: keyID(b[10:18])}
	if r.secret, err = master.aead.Open(nil, nonce, rest, wrapAssociated(b, name)); err != nil {
		return r, false, domain.Errorf(domain.Corrupt, "key record %s does not open: it was changed, or belongs elsewhere", name)
	}
	if (r.kind == kindErased) != (len(r.secret) == 0) || r.kind != kindErased && len(r.secret) != 32 {
		return r, false, domain.Errorf(domain.Corrupt, "key record %s is malformed", name)
	}
	return r, master.id == m.current().id, nil
}

func wrapAssociated(b []byte, name string) []byte {
	return append(append([]byte(nil), b[:recordHeader]...), name...)
}

// keyring keeps the keys of accounts: wrapped in the stream KEYS, open in memory for those in use.
type keyring struct {
	log    *Log
	handle jetstream.Stream
	name   string // of the stream
	prefix string // of its subjects

	writing sync.Mutex // one writer at a time in this process
	stored  domain.Seq // the last sequence that it stored

	mu    sync.RWMutex
	cache map[domain.AccountID]*accountKey
}

func newKeyring(l *Log, handle jetstream.Stream) *keyring {
	return &keyring{
		log:    l,
		handle: handle,
		name:   l.cfg.Topology.keys(),
		prefix: l.cfg.Topology.subject("keys."),
		cache:  map[domain.AccountID]*accountKey{},
	}
}

func accountRecord(id domain.AccountID) string { return "account." + string(id) }

// open proves that the master key belongs to the log, completes erasures that a crash cut short, and makes the keys of the directory and of tasks.
// Of a log that is known to be damaged it opens what there is.
func (k *keyring) open(ctx context.Context) error {
	err := k.check(ctx)
	if err != nil && k.log.cfg.Damaged && domain.Is(err, domain.Corrupt) {
		k.log.cfg.Logger.Error("the keys are damaged", "error", err)
		return nil
	}
	return err
}

func (k *keyring) check(ctx context.Context) error {
	marked := k.log.marked(k.name)
	info, err := k.log.info(ctx, k.handle)
	if err != nil {
		return err
	}
	if finding := lostEnd(info, marked); finding != nil {
		return finding.corrupt()
	}
	k.stored = domain.Seq(info.State.LastSeq)
	k.mark() // ensure has made durable what the server recovered
	switch check, _, err := k.read(ctx, "secret.check"); {
	case err != nil:
		return err
	case check == nil:
		if err := k.unused(ctx, domain.DirectoryID); err != nil {
			return err
		}
	}
	if _, err := k.secret(ctx, "check"); err != nil {
		return err
	}
	if err := k.sweep(ctx); err != nil {
		return err
	}
	if err := k.own(ctx, domain.DirectoryID); err != nil {
		return err
	}
	err = k.own(ctx, domain.TasksID)
	if k.log.cfg.Damaged && domain.Is(err, domain.Unavailable) {
		return nil // A log of before there were tasks: while it cannot be written it has none.
	}
	return err
}

// own makes the key of one of the installation's own logs, unless there is one.
func (k *keyring) own(ctx context.Context, id domain.AccountID) error {
	_, err := k.key(ctx, id)
	if domain.Is(err, domain.NotFound) {
		return k.create(ctx, id)
	}
	return err
}

// key gives an account's key, erased or not. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
func (k *keyring) key(ctx context.Context, id domain.AccountID) (*accountKey, error) {
	k.mu.RLock()
	key := k.cache[id]
	k.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	r, _, err := k.read(ctx, accountRecord(id))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, domain.Errorf(domain.NotFound, "account %s has no key", id)
	}
	switch r.kind {
	case kindErased:
		key = &accountKey{erased: true}
	case kindAccount:
		key = newAccountKey(r.id, [32]byte(r.secret))
	default:
		return nil, domain.Errorf(domain.Corrupt, "the key record of account %s is of kind %q", id, r.kind)
	}
	k.keep(id, key)
	return key, nil
}

// surely is key for an account that is known to have one. In a cluster a server that was left behind may not know of it yet and is asked again.
func (k *keyring) surely(ctx context.Context, id domain.AccountID) (key *accountKey, err error) {
	for attempt := range maxRequests {
		key, err = k.key(ctx, id)
		if !domain.Is(err, domain.NotFound) || k.log.cfg.Topology.Replicas == 1 || wait(ctx, attempt+5) != nil {
			break
		}
	}
	return key, err
}

// keep caches a key; any other makes room.
func (k *keyring) keep(id domain.AccountID, key *accountKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.cache[id]; old != nil && old.erased {
		return // nothing comes after
	}
	if len(k.cache) >= k.log.cfg.Limits.Keys {
		for other := range k.cache {
			delete(k.cache, other)
			break
		}
	}
	k.cache[id] = key
}

// read opens the record of a name; nil when there is none. seq is where it is.
func (k *keyring) read(ctx context.Context, name string) (r *record, seq domain.Seq, err error) {
	m, err := k.log.lastMessage(ctx, k.handle, k.prefix+name)
	if err != nil || m == nil {
		return nil, 0, err
	}
	opened, _, err := k.log.cfg.Master.unwrap(name, m.Data)
	if err != nil {
		return nil, 0, err
	}
	return &opened, domain.Seq(m.Sequence), nil
}

// write stores a record after the one at expect, durably.
func (k *keyring) write(ctx context.Context, name string, expect domain.Seq, r record) error {
	if err := k.store(ctx, name, expect, r); err != nil {
		return err
	}
	return k.sync(ctx)
}

// store is write without its sync.
func (k *keyring) store(ctx context.Context, name string, expect domain.Seq, r record) error {
	if k.log.cfg.Damaged {
		return errDamaged
	}
	p := newPublication(k.handle, k.prefix+name, expect, [16]byte{}, k.log.cfg.Master.wrap(name, r))
	if err := k.log.publish(ctx, p); err != nil {
		return err
	}
	k.stored = max(k.stored, p.seq)
	return nil
}

// sync makes KEYS durable, overwritten and removed messages included, and leaves a mark.
func (k *keyring) sync(ctx context.Context) error {
	if k.log.cfg.Syncer == nil {
		return nil
	}
	if err := k.log.cfg.Syncer.SyncAll(ctx, k.name); err != nil {
		return err
	}
	k.mark()
	return nil
}

// mark notes how far the stream is durable.
func (k *keyring) mark() {
	if m, ok := k.log.cfg.Syncer.(Marker); ok && k.stored > 0 {
		m.Mark(k.name, k.stored)
	}
}

// KeysSettled returns when what was being written to KEYS, perhaps with an older master key, is written.
func (l *Log) KeysSettled() {
	l.keys.writing.Lock()
	defer l.keys.writing.Unlock()
}

func (k *keyring) create(ctx context.Context, id domain.AccountID) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	if err := k.unused(ctx, id); err != nil {
		return err
	}
	r := record{kind: kindAccount, secret: make([]byte, 32)}
	_, _ = rand.Read(r.id[:])
	_, _ = rand.Read(r.secret)
	err := k.write(ctx, accountRecord(id), 0, r)
	if !domain.Is(err, domain.Conflict) {
		return err
	}
	existing, _, err := k.read(ctx, accountRecord(id))
	switch {
	case err != nil:
		return err
	case existing != nil && existing.kind == kindErased:
		return domain.Errorf(domain.Erased, "account %s is erased", id)
	}
	return domain.Errorf(domain.Exists, "account %s has a key already", id)
}

// unused makes sure that an account that is to get its key has no log yet, unless it has a key too: a fresh key over entries that another one
// sealed would hide that theirs is lost.
func (k *keyring) unused(ctx context.Context, id domain.AccountID) error {
	s, m, err := k.log.last(ctx, id)
	if err != nil || m == nil {
		return err
	}
	if r, _, err := k.read(ctx, accountRecord(id)); err != nil || r != nil {
		return err
	}
	return (&Finding{Stream: s.name, Account: id, Seq: domain.Seq(m.Sequence), What: "the account has entries, but its key is lost"}).corrupt()
}

// secret gives the installation's secret for a purpose and makes it on first use.
func (k *keyring) secret(ctx context.Context, purpose string) (secret [32]byte, err error) {
	k.writing.Lock()
	defer k.writing.Unlock()
	name := "secret." + purpose
	for range 2 {
		r, _, err := k.read(ctx, name)
		if err != nil {
			return secret, err
		}
		if r != nil {
			if r.kind != kindSecret {
				return secret, domain.Errorf(domain.Corrupt, "key record %s is of kind %q", name, r.kind)
			}
			return [32]byte(r.secret), nil
		}
		_, _ = rand.Read(secret[:])
		err = k.write(ctx, name, 0, record{kind: kindSecret, secret: secret[:]})
		if !domain.Is(err, domain.Conflict) {
			return secret, err
		}
	}
	return secret, domain.Errorf(domain.Conflict, "secret %s is being written by somebody else", purpose)
}

// Create makes the key of a new account, durably. Append needs it. Errors: domain.Exists, domain.Erased, domain.Unavailable.
func (l *Log) Create(ctx context.Context, id domain.AccountID) error {
	if _, err := domain.ParseAccountID(string(id)); err != nil {
		return err
	}
	return l.keys.create(ctx, id)
}

// Secret gives a random secret of the installation that never changes, whatever becomes of master keys. It is made on first use. A purpose
// is one word of letters, digits and "-".
func (l *Log) Secret(ctx context.Context, purpose string) ([32]byte, error) {
	if purpose == "" || strings.Trim(purpose, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return [32]byte{}, domain.Errorf(domain.Invalid, "%q is not a purpose of a secret", purpose)
	}
	return l.keys.secret(ctx, "for-"+purpose)
}

// Erase destroys the account's key for ever: what the account wrote, here and in every copy of the log, can no longer be read. The key's
// place keeps a note that it was erased. Erase may be repeated; a crash in its middle is completed by the next Open.
// The wrapped key's bytes are removed from the log's files; a disk or a backup may still hold remnants, which the next Rotate makes useless.
// Errors: domain.NotFound when there never was a key, domain.Unavailable.
func (l *Log) Erase(ctx context.Context, id domain.AccountID) error {
	if id.Pseudo() {
		return domain.Errorf(domain.Invalid, "the log of the %s cannot be erased", id)
	}
	if _, err := domain.ParseAccountID(string(id)); err != nil {
		return err
	}
	k := l.keys
	k.writing.Lock()
	defer k.writing.Unlock()
	name := accountRecord(id)
	for attempt := 0; ; attempt++ {
		r, seq, err := k.read(ctx, name)
		if err == nil && r == nil {
			err = domain.Errorf(domain.NotFound, "account %s has no key", id)
		}
		if err == nil && r.kind != kindErased {
			err = k.write(ctx, name, seq, record{kind: kindErased})
		}
		if err == nil {
			break
		}
		if !domain.Is(err, domain.Conflict) || attempt == maxRequests || wait(ctx, attempt) != nil { // several nodes may erase at once
			return err
		}
	}
	k.keep(id, &accountKey{erased: true})
	if err := k.removeOld(ctx, name); err != nil {
		return err
	}
	return k.sync(ctx)
}

// Forget takes an account for erased without asking the log: its key leaves the memory of this process, and nothing of it opens here any more. It is for
// who has heard that another node erases the account, whose Erase may not have come as far yet.
func (l *Log) Forget(id domain.AccountID) {
	if !id.Pseudo() {
		l.keys.keep(id, &accountKey{erased: true})
	}
}

// removeOld removes all messages of a name but the last, overwriting them.
func (k *keyring) removeOld(ctx context.Context, name string) error {
	last, err := k.log.lastMessage(ctx, k.handle, k.prefix+name)
	if err != nil || last == nil {
		return err
	}
	for from := domain.Seq(1); ; {
		m, err := k.log.nextMessage(ctx, k.handle, from, k.prefix+name)
		if err != nil {
			return err
		}
		if m == nil || m.Sequence >= last.Sequence {
			return nil
		}
		if err := k.handle.SecureDeleteMsg(ctx, m.Sequence); err != nil {
			if _, gone := k.handle.GetMsg(ctx, m.Sequence); !errors.Is(gone, jetstream.ErrMsgNotFound) { // another node may have removed it meanwhile
				return unavailable(err, "remove an old key record")
			}
		}
		from = domain.Seq(m.Sequence) + 1
	}
}

// sweep removes old versions of records that an interrupted Erase left. An unfinished rotation is left to the next Rotate: it has a version of
// every record to remove, which is better done at once.
func (k *keyring) sweep(ctx context.Context) error {
	info, err := k.log.info(ctx, k.handle)
	if err != nil {
		return err
	}
	if info.State.NumSubjects == info.State.Msgs || k.log.cfg.Damaged || len(k.log.MasterKey()) > 1 {
		return nil
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	return k.removeVersions(ctx)
}
