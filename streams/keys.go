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

// open proves that the master key belongs to the log, completes erasures that a crash cut short, and makes the directory's key.
func (k *keyring) open(ctx context.Context) error {
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
	switch _, err := k.key(ctx, domain.DirectoryID); {
	case domain.Is(err, domain.NotFound):
		return k.create(ctx, domain.DirectoryID)
	default:
		return err
	}
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
	return k.log.publish(ctx, newPublication(k.handle, k.prefix+name, expect, [16]byte{}, k.log.cfg.Master.wrap(name, r)))
}

// sync makes KEYS durable, overwritten and removed messages included.
func (k *keyring) sync(ctx context.Context) error {
	if k.log.cfg.Syncer == nil {
		return nil
	}
	return k.log.cfg.Syncer.SyncAll(ctx, k.name)
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
	if id == domain.DirectoryID {
		return domain.Errorf(domain.Invalid, "the directory cannot be erased")
	}
	if _, err := domain.ParseAccountID(string(id)); err != nil {
		return err
	}
	k := l.keys
	k.writing.Lock()
	defer k.writing.Unlock()
	name := accountRecord(id)
	r, seq, err := k.read(ctx, name)
	if err != nil {
		return err
	}
	if r == nil {
		return domain.Errorf(domain.NotFound, "account %s has no key", id)
	}
	if r.kind != kindErased {
		if err := k.write(ctx, name, seq, record{kind: kindErased}); err != nil {
			return err
		}
	}
	k.keep(id, &accountKey{erased: true})
	if err := k.removeOld(ctx, name); err != nil {
		return err
	}
	return k.sync(ctx)
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
		if err := k.handle.SecureDeleteMsg(ctx, m.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return unavailable(err, "remove an old key record")
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
