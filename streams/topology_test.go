package streams_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

func TestTopologyIsRecorded(t *testing.T) {
	n := startNode(t, shards(3))
	if got, want := n.log.Streams(), []string{"DIRECTORY", "ACCOUNTS_0", "ACCOUNTS_1", "ACCOUNTS_2"}; !slices.Equal(got, want) {
		t.Errorf("the streams are %v, want %v", got, want)
	}
	alice := n.writer()
	alice.append("here")
	home := n.log.StreamOf(alice.id)
	n.config.Topology.Shards = 0 // as the log says
	n.restart()
	if got := n.log.StreamOf(alice.id); got != home || len(n.log.Streams()) != 4 {
		t.Errorf("after a restart the account is in %s of %v, was in %s", got, n.log.Streams(), home)
	}
	if n.log.StreamOf(domain.DirectoryID) != "DIRECTORY" {
		t.Error("the directory is elsewhere")
	}

	n.stop()
	n.config.Topology.Shards = 16
	err := n.start()
	wantKind(t, err, domain.Invalid)
	if !strings.Contains(err.Error(), "created with 3 shards") || !strings.Contains(err.Error(), "says 16") {
		t.Errorf("the contradiction reads %q", err)
	}
}

func TestPrefixKeepsInstallationsApart(t *testing.T) {
	n := startNode(t, shards(1))
	alice := n.writer()
	alice.append("of the first")
	master, err := streams.LoadMaster(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t)
	second, err := streams.Open(ctx, streams.Config{
		Conn: n.server.Conn(), Syncer: n.server, Master: master, Topology: streams.Topology{Prefix: "second", Shards: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close(ctx) }()
	if got, want := second.Streams(), []string{"second_DIRECTORY", "second_ACCOUNTS_0", "second_ACCOUNTS_1"}; !slices.Equal(got, want) {
		t.Errorf("the streams are %v, want %v", got, want)
	}
	if err := second.Create(ctx, alice.id); err != nil {
		t.Fatal(err)
	}
	if at, err := second.Append(ctx, alice.id, streams.Position{}, note("of the second")); err != nil || at.Tx != 1 {
		t.Errorf("append gives %+v, %v", at, err)
	}
	if got, err := n.notes(alice.id); err != nil || len(got) != 1 {
		t.Errorf("the first reads %q, %v", got, err)
	}
	_, err = streams.Open(ctx, streams.Config{Conn: n.server.Conn(), Master: master, Topology: streams.Topology{Prefix: "a.b"}})
	wantKind(t, err, domain.Invalid)
}

// TestEditedStreamIsRefused: a stream that somebody relaxed could lose messages.
func TestEditedStreamIsRefused(t *testing.T) {
	n := startNode(t, shards(1))
	ctx := deadline(t)
	js, err := jetstream.New(n.server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, "ACCOUNTS_0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 1000
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	n.stop()
	err = n.start()
	wantKind(t, err, domain.Invalid)
	if !strings.Contains(err.Error(), "max_msgs 1000, but must have -1") {
		t.Errorf("the error reads %q", err)
	}
}

// TestLogCannotBeEmptied: the server refuses to delete and to purge.
func TestLogCannotBeEmptied(t *testing.T) {
	n := startNode(t, shards(1))
	alice := n.writer()
	alice.append("stays")
	ctx := deadline(t)
	js, err := jetstream.New(n.server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, "ACCOUNTS_0")
	if err != nil {
		t.Fatal(err)
	}
	if s.DeleteMsg(ctx, 1) == nil || s.SecureDeleteMsg(ctx, 1) == nil || s.Purge(ctx) == nil {
		t.Error("the server deleted from the log")
	}
}

func TestLostStreamIsRefused(t *testing.T) {
	for _, name := range []string{"ACCOUNTS_1", "DIRECTORY"} {
		n := startNode(t)
		for range 8 {
			n.writer().append("so that no stream is empty")
		}
		n.stop()
		if err := os.RemoveAll(filepath.Join(n.dir, "log", "jetstream", "$G", "streams", name)); err != nil {
			t.Fatal(err)
		}
		err := n.start()
		wantKind(t, err, domain.Corrupt)
		if !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("without %s the error reads %q", name, err)
		}
		n.stop()
	}
}

// TestInterruptedCreation: a first start that was cut short is taken up again.
func TestInterruptedCreation(t *testing.T) {
	n := startNode(t, shards(4))
	n.stop()
	for _, name := range []string{"DIRECTORY", "KEYS", "ACCOUNTS_2", "ACCOUNTS_3"} {
		if err := os.RemoveAll(filepath.Join(n.dir, "log", "jetstream", "$G", "streams", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	n.writer().append("works")
}
