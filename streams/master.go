package streams

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/streampost/streampost/domain"
	"golang.org/x/crypto/chacha20poly1305"
)

// MasterKeys wraps the keys of accounts. There is one, and a second while a rotation is under way. They live outside the log, in files or
// in a value that the operator supplies: who has the log but not them can read nothing.
type MasterKeys struct {
	dir string // of the files; empty when the keys came as a value

	mu   sync.Mutex
	keys []masterKey // the newest first
}

type masterKey struct {
	id     keyID
	secret [32]byte
	aead   cipher.AEAD
	name   string // of its file
	number int    // rises with every rotation
}

func newMasterKey(secret [32]byte) masterKey {
	aead, err := chacha20poly1305.NewX(secret[:])
	if err != nil {
		panic(err) // the length is right by type
	}
	sum := sha256.Sum256(append([]byte("streampost master key "), secret[:]...))
	return masterKey{id: keyID(sum[:8]), secret: secret, aead: aead}
}

// LoadMaster reads the master keys in dir: one file "master-N.key" for each, of which the highest N is the one in use. Without any it makes
// the first, durably: the directory with mode 0700, the file 0600. Back the directory up apart from the log.
func LoadMaster(dir string) (*MasterKeys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, keyFileError(err, "create the directory of master keys")
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, keyFileError(err, "list the master keys")
	}
	m := &MasterKeys{dir: dir}
	for _, file := range files {
		if named, _ := filepath.Match("master-*.key", file.Name()); !named {
			continue
		}
		k, err := readMasterKey(filepath.Join(dir, file.Name()))
		if err != nil {
			return nil, err
		}
		m.keys = append(m.keys, k)
	}
	slices.SortFunc(m.keys, func(a, b masterKey) int { return b.number - a.number })
	if len(m.keys) == 0 {
		if err := m.add(); err != nil {
			return nil, err
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return nil, keyFileError(err, "make the directory of master keys durable")
		}
	}
	return m, nil
}

// ParseMaster reads master keys from a value: 32 bytes in base64, or two of them separated by a comma while a rotation is under way, the
// new one first.
func ParseMaster(value string) (*MasterKeys, error) {
	m := new(MasterKeys)
	for text := range strings.SplitSeq(value, ",") {
		secret, err := decodeSecret(text)
		if err != nil {
			return nil, domain.Wrap(domain.Invalid, err, "read the master key")
		}
		m.keys = append(m.keys, newMasterKey(secret))
	}
	return m, nil
}

func decodeSecret(text string) (secret [32]byte, err error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != len(secret) {
		return secret, errors.New("a master key is 32 bytes in base64, 44 characters") // never the value itself
	}
	return [32]byte(raw), nil
}

func readMasterKey(name string) (masterKey, error) {
	number, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "master-"), ".key"))
	if err != nil {
		return masterKey{}, domain.Errorf(domain.Invalid, "%s is not named like a master key, master-1.key", name)
	}
	info, err := os.Stat(name)
	if err != nil {
		return masterKey{}, keyFileError(err, "read a master key")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return masterKey{}, &domain.Error{Kind: domain.Denied, Msg: fmt.Sprintf("%s can be read by others (mode %04o)", name, mode), Hint: "chmod 600 " + name}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return masterKey{}, keyFileError(err, "read a master key")
	}
	secret, err := decodeSecret(string(text))
	if err != nil {
		return masterKey{}, domain.Wrap(domain.Corrupt, err, "read "+name)
	}
	k := newMasterKey(secret)
	k.name, k.number = name, number
	return k, nil
}

// add makes a new master key, which from now on wraps. Its file is durable before anything depends on it.
func (m *MasterKeys) add() error {
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	k := newMasterKey(secret)
	k.number = 1
	if len(m.keys) > 0 {
		k.number = m.keys[0].number + 1
	}
	if err := k.save(m.dir); err != nil {
		return err
	}
	m.keys = slices.Insert(m.keys, 0, k)
	return nil
}

// begin makes sure that there is a key to rotate to: a new one, unless an unfinished rotation left two.
func (m *MasterKeys) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.keys) > 1:
		return nil
	case m.dir == "":
		return &domain.Error{Kind: domain.Invalid, Msg: "the master key comes from the configuration, which names one only", Hint: "set it to \"new,old\" and rotate again"}
	}
	return m.add()
}

// finish destroys the old keys. Nothing may be wrapped with them any more.
func (m *MasterKeys) finish() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.keys[1:] {
		if k.name == "" {
			continue
		}
		if err := shred(k.name); err != nil {
			return keyFileError(err, "destroy an old master key")
		}
	}
	m.keys = m.keys[:1]
	if m.dir == "" {
		return nil
	}
	if err := syncDir(m.dir); err != nil {
		return keyFileError(err, "destroy an old master key")
	}
	return nil
}

// shred overwrites a small file and removes it.
func shred(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(name))
}

// current is the key that wraps.
func (m *MasterKeys) current() masterKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[0]
}

// find gives the key that wrapped something.
func (m *MasterKeys) find(id keyID) (masterKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.keys {
		if k.id == id {
			return k, nil
		}
	}
	return masterKey{}, &domain.Error{
		Kind: domain.Unavailable,
		Msg:  "the keys of the log are wrapped by master key " + hex.EncodeToString(id[:]) + ", which is not here",
		Hint: "restore the directory of master keys, or the configured value, that belongs to this log",
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func keyFileError(err error, doing string) *domain.Error {
	e := domain.Wrap(domain.Unavailable, err, doing)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		e.Msg = doing + ": the disk is full"
	case errors.Is(err, syscall.EROFS):
		e.Msg = doing + ": the file system is read-only"
	case errors.Is(err, os.ErrPermission):
		e.Msg, e.Hint = doing+": this user may not use it", "run the server as the owner of its data directory, and give that user the directory of master keys and what is in it"
	}
	return e
}
