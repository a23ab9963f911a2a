package natsd_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/cluster"
)

// TestADirectoryBelongsToOneNode: under another name, or alone, the server would remove or miss what is in it.
func TestADirectoryBelongsToOneNode(t *testing.T) {
	address := unused(t)
	secret, err := cluster.New().TLS()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	start := func(name string) error {
		cfg := natsd.Config{Dir: dir}
		if name != "" {
			cfg.Cluster = &natsd.Cluster{Node: name, Listen: address, Seeds: []string{address}, TLS: secret}
		}
		server, err := natsd.Start(t.Context(), cfg)
		if err == nil {
			err = server.Close(context.Background())
		}
		return err
	}
	for range 2 {
		if err := start("a"); err != nil {
			t.Fatalf("its own node: %v", err)
		}
	}
	if err := start("b"); !domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), "is that of node a") {
		t.Errorf("another node: %v", err)
	}
}
