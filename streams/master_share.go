package streams

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
)

// This file lets the nodes of a cluster have the same master keys, in a directory on each.

// Export is the master keys as SaveMaster and Follow read them, the newest first: number:base64, with commas between them. It is as secret as
// they are.
func (m *MasterKeys) Export() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, k := range m.keys {
		all = append(all, strconv.Itoa(k.number)+":"+base64.StdEncoding.EncodeToString(k.secret[:]))
	}
	return strings.Join(all, ",")
}

func parseExported(exported string) (all []masterKey, err error) {
	for item := range strings.SplitSeq(exported, ",") {
		number, text, _ := strings.Cut(item, ":")
		secret, err := decodeSecret(text)
		if err != nil {
			return nil, domain.Wrap(domain.Invalid, err, "read the master keys of another node")
		}
		k := newMasterKey(secret)
		if k.number, err = strconv.Atoi(number); err != nil || k.number < 0 {
			return nil, domain.Errorf(domain.Invalid, "the master keys of another node have no numbers")
		}
		all = append(all, k)
	}
	return all, nil
}

// SaveMaster makes a directory of master keys from those of another node and reads it.
func SaveMaster(dir, exported string) (*MasterKeys, error) {
	all, err := parseExported(exported)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, keyFileError(err, "create the directory of master keys")
	}
	for i := range slices.Backward(all) { // the newest last: whoever finds that has all
		if err := all[i].save(dir); err != nil {
			return nil, err
		}
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, keyFileError(err, "make the directory of master keys durable")
	}
	return LoadMaster(dir)
}

// Follow takes over what another node knows: keys that a rotation there made, and that a rotation there has ended and destroyed the old one.
// Errors: domain.Conflict when both made another key of the same number, and then nothing is changed.
func (m *MasterKeys) Follow(exported string) error {
	theirs, err := parseExported(exported)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dir == "" || theirs[0].number < m.keys[0].number {
		return nil // from the configuration, or behind
	}
	oldest := theirs[0].number
	var fresh []masterKey
	for _, k := range theirs {
		oldest = min(oldest, k.number)
		mine := slices.IndexFunc(m.keys, func(mine masterKey) bool { return mine.number == k.number })
		switch {
		case mine < 0:
			fresh = append(fresh, k)
		case m.keys[mine].id != k.id:
			return &domain.Error{
				Kind: domain.Conflict, Msg: fmt.Sprintf("this node and another have master keys of number %d that differ", k.number),
				Hint: "keep the files of both, and find out with log verify which of them opens the log",
			}
		}
	}
	for i := range fresh {
		if err := fresh[i].save(m.dir); err != nil {
			return err
		}
	}
	m.keys = append(m.keys, fresh...)
	slices.SortFunc(m.keys, func(a, b masterKey) int { return b.number - a.number })
	var errs []error
	m.keys = slices.DeleteFunc(m.keys, func(k masterKey) bool {
		gone := k.number < oldest
		if gone {
			errs = append(errs, shred(k.name))
		}
		return gone
	})
	if err := errors.Join(append(errs, syncDir(m.dir))...); err != nil {
		return keyFileError(err, "destroy an old master key")
	}
	return nil
}

// save writes the file of a key, durably.
func (k *masterKey) save(dir string) error {
	k.name = filepath.Join(dir, fmt.Sprintf("master-%d.key", k.number))
	temporary := k.name + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return keyFileError(err, "write a master key")
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(k.secret[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = errors.Join(os.Rename(temporary, k.name), syncDir(dir))
	}
	if err != nil {
		return keyFileError(err, "write a master key")
	}
	return nil
}
