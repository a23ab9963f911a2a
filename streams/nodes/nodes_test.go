package nodes_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/nodes"
)

// wire is a connection that all nodes of a test share.
func wire(t *testing.T) *nats.Conn {
	t.Helper()
	server, err := natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close(context.Background()) })
	return server.Conn()
}

// node joins; key says which secret it has.
func node(t *testing.T, conn *nats.Conn, name string, key byte) *nodes.Nodes {
	t.Helper()
	n := nodes.New(nodes.Config{Conn: conn, Prefix: "mail", Node: name, Key: [32]byte{key}, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	return n
}

func TestAllAnswer(t *testing.T) {
	conn := wire(t)
	if all, err := node(t, conn, "alone", 1).All(t.Context(), 1); err != nil || len(all) != 0 {
		t.Errorf("nobody is there, and the answers are %v, %v", all, err)
	}
	for _, name := range []string{"c", "a", "b"} {
		n := node(t, conn, name, 1)
		if err := n.Answer(func(context.Context) nodes.Status {
			return nodes.Status{Role: nodes.Mail, Health: "healthy", Replicas: []nodes.Replica{{Stream: "S", First: 1, Last: 10, Entries: 8}}}
		}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := node(t, conn, "asker", 1).All(t.Context(), 3)
	if err != nil || len(all) != 3 {
		t.Fatalf("the answers are %v, %v", all, err)
	}
	for i, name := range []string{"a", "b", "c"} {
		if s := all[i]; s.Node != name || s.Role != nodes.Mail || s.Skew.Abs() > time.Minute || s.Replicas[0].Lacks() != 2 {
			t.Errorf("node %s says %+v", name, s)
		}
	}
}

func TestWhatACopyLacks(t *testing.T) {
	for _, test := range []struct {
		nodes.Replica
		lacks uint64
	}{{nodes.Replica{}, 0}, {nodes.Replica{First: 1, Last: 3, Entries: 3}, 0}, {nodes.Replica{First: 1, Last: 3, Entries: 1}, 2}, {nodes.Replica{First: 3, Last: 3, Entries: 1}, 2}} {
		if got := test.Lacks(); got != test.lacks {
			t.Errorf("%+v lacks %d entries, want %d", test.Replica, got, test.lacks)
		}
	}
}

func masterKeys(t *testing.T) (string, *streams.MasterKeys) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	m, err := streams.LoadMaster(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

// TestAJoiningNodeGetsTheMasterKeys, and who does not know the cluster's secret gets nothing that opens.
func TestAJoiningNodeGetsTheMasterKeys(t *testing.T) {
	conn := wire(t)
	joins, stranger := node(t, conn, "joins", 1), node(t, conn, "stranger", 2)
	if _, ok, err := joins.Keys(t.Context()); ok || err != nil {
		t.Fatalf("nobody has keys: %v, %v", ok, err)
	}
	dir, have := masterKeys(t)
	if err := node(t, conn, "has", 1).Share(have, func() {}); err != nil {
		t.Fatal(err)
	}
	if exported, ok, err := stranger.Keys(t.Context()); ok || err != nil {
		t.Errorf("a stranger gets %d octets, %v", len(exported), err)
	}
	exported, ok, err := joins.Keys(t.Context())
	if !ok || err != nil {
		t.Fatalf("the node that joins gets nothing: %v", err)
	}
	joined := filepath.Join(t.TempDir(), "data", "keys")
	if _, err := streams.SaveMaster(joined, exported); err != nil {
		t.Fatal(err)
	}
	theirs, _ := os.ReadFile(filepath.Join(dir, "master-1.key"))
	ours, err := os.ReadFile(filepath.Join(joined, "master-1.key"))
	if err != nil || string(ours) != string(theirs) {
		t.Errorf("the key that joined differs: %v", err)
	}
}

// TestARotationIsFollowed: a node takes over the new key, and destroys the old one when the rotating node has.
func TestARotationIsFollowed(t *testing.T) {
	conn := wire(t)
	_, rotates := masterKeys(t)
	dir := filepath.Join(t.TempDir(), "keys")
	follows, err := streams.SaveMaster(dir, rotates.Export())
	if err != nil {
		t.Fatal(err)
	}
	before := follows.Export()
	here, there := node(t, conn, "here", 1), node(t, conn, "there", 1)
	for n, m := range map[*nodes.Nodes]*streams.MasterKeys{here: rotates, there: follows} {
		if err := n.Share(m, func() {}); err != nil {
			t.Fatal(err)
		}
	}
	server, err := streams.Open(t.Context(), streams.Config{Conn: conn, Master: rotates, Topology: streams.Topology{Prefix: "mail", Shards: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close(context.Background()) }()
	if err := server.Rotate(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if rotates.Export() == before {
		t.Fatal("nothing was rotated")
	}
	if err := here.KeysChanged(t.Context(), []string{"here", "there", "away"}); err == nil || !strings.Contains(err.Error(), "away") || strings.Contains(err.Error(), "here") {
		t.Errorf("a node that is away gives %v", err)
	}
	if err := here.KeysChanged(t.Context(), []string{"here", "there"}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); follows.Export() != rotates.Export(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the other node has not followed")
		}
	}
	if err := follows.Follow(before); err != nil || follows.Export() != rotates.Export() {
		t.Errorf("a node that is behind changes the keys: %v", err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 1 || filepath.Base(files[0]) != "master-2.key" {
		t.Errorf("the files of the node that follows are %v", files)
	}
}

// TestQuestions: whoever has something to say to a question does, and one that cannot says why.
func TestQuestions(t *testing.T) {
	conn := wire(t)
	for _, name := range []string{"a", "b"} {
		if err := node(t, conn, name, 1).Reply("weather", func(_ context.Context, question json.RawMessage) (any, error) {
			if name == "b" {
				return nil, errors.New("it is foggy")
			}
			var where string
			err := json.Unmarshal(question, &where)
			return map[string]string{"there": where}, err
		}); err != nil {
			t.Fatal(err)
		}
	}
	heard := map[string]string{}
	err := node(t, conn, "asker", 1).Ask(t.Context(), "weather", "Oslo", 2, func(node string, said json.RawMessage, failure string) {
		heard[node] = string(said) + failure
	})
	if err != nil || heard["a"] != `{"there":"Oslo"}` || heard["b"] != "it is foggy" || len(heard) != 2 {
		t.Errorf("the answers are %v, %v", heard, err)
	}
	if err := node(t, conn, "asker", 1).Ask(t.Context(), "time", nil, 2, func(string, json.RawMessage, string) { t.Error("somebody answers") }); err != nil {
		t.Error(err)
	}
	if err := node(t, conn, "asker", 1).Ask(t.Context(), "weather", strings.Repeat("x", int(conn.MaxPayload())), 2, nil); !domain.Is(err, domain.TooLarge) {
		t.Errorf("too long a question: %v", err)
	}
}
