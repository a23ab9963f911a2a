package streams_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// wrapped reads the wrapped key of an account from the stream KEYS.
func (n *node) wrapped(id domain.AccountID) []byte {
	n.t.Helper()
	js, err := jetstream.New(n.server.Conn())
	if err != nil {
		n.t.Fatal(err)
	}
	ctx := deadline(n.t)
	keys, err := js.Stream(ctx, "KEYS")
	if err != nil {
		n.t.Fatal(err)
	}
	m, err := keys.GetLastMsgForSubject(ctx, "keys.account."+string(id))
	if err != nil {
		n.t.Fatal(err)
	}
	return m.Data
}

// holds names the files of the log directory in which bytes occur.
func (n *node) holds(secret []byte) (files []string) {
	for name, content := range n.stored() {
		if bytes.Contains(content, secret) {
			files = append(files, filepath.Base(name))
		}
	}
	return files
}

// TestForget: what another node is about to erase opens here no more, although its key is still in the log.
func TestForget(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		ctx := deadline(t)
		alice, bob := n.writer(), n.writer()
		alice.append("private")
		bob.append("kept")
		n.log.Forget(alice.id)
		for e, err := range n.log.ReadAccount(ctx, alice.id, 0) {
			if err != nil || !e.Erased || e.Transaction != nil {
				t.Errorf("an entry of the forgotten account is %+v, %v", e, err)
			}
		}
		for e, err := range n.log.ReadAccount(ctx, bob.id, 0) {
			if err != nil || e.Erased {
				t.Errorf("an entry of the other account is %+v, %v", e, err)
			}
		}
		if len(n.holds(n.wrapped(alice.id))) == 0 {
			t.Error("the key has left the log")
		}
		n.log.Forget(domain.DirectoryID) // cannot be
		if _, err := n.log.Last(ctx, domain.DirectoryID); err != nil {
			t.Errorf("the directory's log: %v", err)
		}
	})
}

func TestEraseLeavesNothingReadable(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		ctx := deadline(t)
		alice, bob := n.writer(), n.writer()
		alice.append("private")
		bob.append("kept")
		key := n.wrapped(alice.id)
		if len(n.holds(key)) == 0 {
			t.Fatal("the wrapped key is not in the log directory: this test looks in the wrong place")
		}

		if err := n.log.Erase(ctx, alice.id); err != nil {
			t.Fatal(err)
		}
		if files := n.holds(key); len(files) > 0 {
			t.Errorf("the wrapped key is still in %v", files)
		}
		check := func() {
			t.Helper()
			for e, err := range n.log.ReadAccount(ctx, alice.id, 0) {
				if err != nil || !e.Erased || e.Transaction != nil || e.Tx != 1 {
					t.Errorf("the erased account's entry reads %+v, %v", e, err)
				}
			}
			_, err := n.log.Append(ctx, alice.id, alice.at, note("too late"))
			wantKind(t, err, domain.Erased)
			wantKind(t, n.log.Create(ctx, alice.id), domain.Erased)
			if err := n.log.Erase(ctx, alice.id); err != nil {
				t.Errorf("erasing again: %v", err)
			}
			if got, err := n.notes(bob.id); err != nil || got[0] != "kept" {
				t.Errorf("the other account reads %q, %v", got, err)
			}
			report, err := n.log.Verify(ctx, streams.VerifyOptions{Keys: true}, nil)
			if err != nil || len(report.Findings) != 0 || report.Erased != 1 {
				t.Errorf("verify gives %+v, %v", report, err)
			}
		}
		check()
		n.restart()
		check()
		if files := n.holds(key); len(files) > 0 {
			t.Errorf("after a restart the wrapped key is in %v", files)
		}
		wantKind(t, n.log.Erase(ctx, "0000000000000000"), domain.NotFound)
	})
}

func TestRotate(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		ctx := deadline(t)
		alice, bob := n.writer(), n.writer()
		alice.append("before")
		if err := n.log.Erase(ctx, bob.id); err != nil {
			t.Fatal(err)
		}
		secret, err := n.log.Secret(ctx, "blobs")
		if err != nil {
			t.Fatal(err)
		}
		wrapped, masters := n.wrapped(alice.id), n.log.MasterKey()
		for range 2 {
			if err := n.log.Rotate(ctx, nil); err != nil {
				t.Fatal(err)
			}
		}
		if now := n.log.MasterKey(); len(now) != 1 || now[0] == masters[0] {
			t.Errorf("after rotating from %v the master keys are %v", masters, now)
		}
		if files := n.holds(wrapped); len(files) > 0 {
			t.Errorf("what the old master key wrapped is still in %v", files)
		}
		files, err := os.ReadDir(filepath.Join(n.dir, "keys"))
		if err != nil || len(files) != 1 || files[0].Name() != "master-3.key" {
			t.Errorf("the directory of master keys has %v, %v", files, err)
		}
		alice.append("after")
		n.restart()
		if got, err := n.notes(alice.id); err != nil || fmt.Sprint(got) != "[before after]" {
			t.Errorf("read %q, %v", got, err)
		}
		if again, err := n.log.Secret(ctx, "blobs"); err != nil || again != secret {
			t.Errorf("the secret changed, or %v", err)
		}
		wantKind(t, n.log.Create(ctx, bob.id), domain.Erased)
	})
}

// TestRotateInterrupted stops a rotation after its first chunk, restarts, works, and rotates again.
func TestRotateInterrupted(t *testing.T) {
	n := startNode(t)
	alice := n.writer()
	alice.append("before")
	var others []domain.AccountID
	for range 300 {
		others = append(others, n.account())
	}
	ctx, cancel := context.WithCancel(deadline(t))
	err := n.log.Rotate(ctx, func(int, int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the rotation ended with %v", err)
	}
	if masters := n.log.MasterKey(); len(masters) != 2 {
		t.Fatalf("half-way the master keys are %v", masters)
	}
	n.restart()
	alice.append("between")
	late := n.writer()
	late.append("made between")
	if err := n.log.Rotate(deadline(t), nil); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if masters := n.log.MasterKey(); len(masters) != 1 {
		t.Errorf("at the end the master keys are %v", masters)
	}
	for _, id := range others[:5] {
		w := &writer{n: n, id: id}
		w.append("still works")
	}
	if got, err := n.notes(alice.id); err != nil || fmt.Sprint(got) != "[before between]" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := n.log.Erase(deadline(t), late.id); err != nil {
		t.Error(err)
	}
}

func TestMasterKeyFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := streams.LoadMaster(dir); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "master-1.key"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, mode)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "master-1.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := streams.LoadMaster(dir)
	wantKind(t, err, domain.Denied)
}

func TestMasterKeyFromValue(t *testing.T) {
	first := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	second := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 32))
	master := func(value string) func(*node) {
		return func(n *node) {
			m, err := streams.ParseMaster(value)
			if err != nil {
				n.t.Fatal(err)
			}
			n.config.Master = m
		}
	}
	n := startNode(t, master(first))
	alice := n.writer()
	alice.append("before")
	wantKind(t, n.log.Rotate(deadline(t), nil), domain.Invalid)

	n.stop()
	master(second)(n)
	wantKind(t, n.start(), domain.Unavailable) // the wrong key opens nothing

	n.stop()
	master(second + "," + first)(n)
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	if err := n.log.Rotate(deadline(t), nil); err != nil {
		t.Fatal(err)
	}
	n.stop()
	master(second)(n)
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	if got, err := n.notes(alice.id); err != nil || fmt.Sprint(got) != "[before]" {
		t.Errorf("read %q, %v", got, err)
	}

	_, err := streams.ParseMaster("too short a secret")
	wantKind(t, err, domain.Invalid)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the value: %v", err)
	}
}

func TestSecretsDifferByPurpose(t *testing.T) {
	n := startNode(t)
	ctx := deadline(t)
	a, errA := n.log.Secret(ctx, "blobs")
	b, errB := n.log.Secret(ctx, "names")
	if errA != nil || errB != nil || a == b || a == [32]byte{} {
		t.Errorf("two secrets: equal %v, %v, %v", a == b, errA, errB)
	}
	_, err := n.log.Secret(ctx, "no.dots")
	wantKind(t, err, domain.Invalid)
}

// lose removes a key record behind the log's back, as damage on disk does.
func (n *node) lose(record string) {
	n.t.Helper()
	js, err := jetstream.New(n.server.Conn())
	if err != nil {
		n.t.Fatal(err)
	}
	ctx := deadline(n.t)
	keys, err := js.Stream(ctx, "KEYS")
	if err != nil {
		n.t.Fatal(err)
	}
	m, err := keys.GetLastMsgForSubject(ctx, "keys."+record)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := keys.DeleteMsg(ctx, m.Sequence); err != nil {
		n.t.Fatal(err)
	}
}

func TestLostKeysAreNeverMadeAnew(t *testing.T) {
	n := startNode(t)
	ctx := deadline(t)
	alice := n.writer()
	alice.append("sealed with the first key")
	if _, err := n.log.Append(ctx, domain.DirectoryID, streams.Position{}, note("directory")); err != nil {
		t.Fatal(err)
	}
	n.lose("account." + string(alice.id))
	n.restart()
	wantKind(t, n.log.Create(ctx, alice.id), domain.Corrupt)

	n.lose("account." + string(domain.DirectoryID))
	n.stop()
	wantKind(t, n.start(), domain.Corrupt)
	n.lose("secret.check")
	n.stop()
	wantKind(t, n.start(), domain.Corrupt)
}
