package cluster_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streampost/streampost/ops/cluster"
)

// meet lets two nodes shake hands and says what each of them made of it.
func meet(t *testing.T, listener, dialer cluster.Secret) (listens, dials error) {
	t.Helper()
	server, err := listener.TLS()
	if err != nil {
		t.Fatal(err)
	}
	client, err := dialer.TLS()
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer func() { _ = here.Close() }()
		c := tls.Server(here, server)
		_, err := io.WriteString(c, "hello")
		done <- err
	}()
	c := tls.Client(there, client)
	_, dials = io.ReadFull(c, make([]byte, 5))
	_ = there.Close()
	return <-done, dials
}

func TestNodesOfOneSecretMeet(t *testing.T) {
	secret := cluster.New()
	if listens, dials := meet(t, secret, secret); listens != nil || dials != nil {
		t.Errorf("nodes with one secret: %v, %v", listens, dials)
	}
	if _, dials := meet(t, secret, cluster.New()); dials == nil {
		t.Error("a node with another secret is let in")
	}
}

// TestAStrangerIsNotLetIn: TLS without a certificate of the cluster does not do.
func TestAStrangerIsNotLetIn(t *testing.T) {
	server, err := cluster.New().TLS()
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- tls.Server(here, server).Handshake()
		_ = here.Close()
	}()
	c := tls.Client(there, &tls.Config{InsecureSkipVerify: true})
	_, _ = io.ReadFull(c, make([]byte, 1))
	_ = there.Close()
	if err := <-done; err == nil {
		t.Error("a client without a certificate is let in")
	}
}

func TestSecretsInFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := cluster.Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no secret gives %v", err)
	}
	secret := cluster.New()
	if err := secret.Save(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := cluster.Load(dir); err != nil || got != secret {
		t.Errorf("it is read back otherwise: %v", err)
	}
	if err := cluster.New().Save(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second secret gives %v", err)
	}
	name := filepath.Join(dir, cluster.File)
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Load(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a secret that others can read gives %v", err)
	}
	if err := os.WriteFile(name, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Load(dir); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("a secret that is none gives %v", err)
	}
	if shown := fmt.Sprintf("%v %+v %s %x", secret, secret, secret, secret); strings.Contains(shown, secret.Reveal()) || strings.Count(shown, "(secret)") != 4 {
		t.Errorf("it shows itself: %s", shown)
	}
}
