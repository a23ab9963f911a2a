package streams_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

func TestTopologyIsRecorded(t *testing.T) {
	n := startNode(t, shards(3))
	if got, want := n.log.Streams(), []string{"DIRECTORY", "ACCOUNTS_0", "ACCOUNTS_1", "ACCOUNTS_2", "TASKS"}; !slices.Equal(got, want) {
		t.Errorf("the streams are %v, want %v", got, want)
	}
	alice := n.writer()
	alice.append("here")
	home := n.log.StreamOf(alice.id)
	n.config.Topology.Shards = 0 // as the log says
	n.restart()
	if got := n.log.StreamOf(alice.id); got != home || len(n.log.Streams()) != 5 {
		t.Errorf("after a restart the account is in %s of %v, was in %s", got, n.log.Streams(), home)
	}
	if n.log.StreamOf(domain.DirectoryID) != "DIRECTORY" || n.log.StreamOf(domain.TasksID) != "TASKS" {
		t.Error("the directory or the tasks are elsewhere")
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
	if got, want := second.Streams(), []string{"second_DIRECTORY", "second_ACCOUNTS_0", "second_ACCOUNTS_1", "second_TASKS"}; !slices.Equal(got, want) {
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

// TestEditedStreamIsRefused: a stream that somebody relaxed could lose messages, take those of others, or never say that it has one.
func TestEditedStreamIsRefused(t *testing.T) {
	n := startNode(t, shards(1))
	ctx := deadline(t)
	js, err := jetstream.New(n.server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.log.Close(ctx); err != nil {
		t.Fatal(err)
	}
	n.log = nil
	s, err := js.Stream(ctx, "ACCOUNTS_0")
	if err != nil {
		t.Fatal(err)
	}
	good := s.CachedInfo().Config
	reopen := func() error {
		cfg := n.config
		cfg.Conn, cfg.Syncer = n.server.Conn(), n.server
		if cfg.Master, err = streams.LoadMaster(filepath.Join(n.dir, "keys")); err != nil {
			return err
		}
		log, err := streams.Open(ctx, cfg)
		if err != nil {
			return err
		}
		return log.Close(ctx)
	}
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"max_msgs 1000, but must have -1":              func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"max_bytes 1000000, but must have -1":          func(c *jetstream.StreamConfig) { c.MaxBytes = 1000000 },
		"max_age 1h0m0s, but must have 0s":             func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max_msgs_per_subject 5, but must have -1":     func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
		"max_msg_size 1024, but must have -1":          func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1024 },
		"retention Interest, but must have Limits":     func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"retention WorkQueue, but must have Limits":    func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"discard DiscardOld, but must have DiscardNew": func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"storage Memory, but must have File":           func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"deny_delete false, but must have true":        func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny_purge false, but must have true":         func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"allow_direct true, but must have false":       func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"allow_msg_ttl true, but must have false":      func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"no_ack true, but must have false":             func(c *jetstream.StreamConfig) { c.NoAck = true },
		"sources 1, but must have 0":                   func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "TASKS"}} },
		"duplicate_window 1s, but must have 2m0s":      func(c *jetstream.StreamConfig) { c.Duplicates = time.Second },
		"subject_transform true, but must have false": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "accounts.0.*", Destination: "elsewhere.{{wildcard(1)}}"}
		},
		"subjects [accounts.0.* more], but must have [accounts.0.*]": func(c *jetstream.StreamConfig) { c.Subjects = append(slices.Clone(c.Subjects), "more") },
	} {
		edited := good
		change(&edited)
		if err := js.DeleteStream(ctx, good.Name); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(ctx, edited); err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		err := reopen()
		wantKind(t, err, domain.Invalid)
		if !strings.Contains(err.Error(), "stream ACCOUNTS_0 has "+want) {
			t.Errorf("the error reads %q, want %q", err, want)
		}
	}
	if err := js.DeleteStream(ctx, good.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, good); err != nil {
		t.Fatal(err)
	}
	if err := reopen(); err != nil {
		t.Errorf("edited back it is refused: %v", err)
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
	for _, name := range []string{"ACCOUNTS_1", "TASKS", "DIRECTORY"} {
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
	if err := os.Remove(filepath.Join(n.dir, "log", "marks", "KEYS")); err != nil { // which a stream gets after its creation
		t.Fatal(err)
	}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	n.writer().append("works")
}

// TestALogOfBeforeTasks: an installation that was made without the stream of tasks gets it, once.
func TestALogOfBeforeTasks(t *testing.T) {
	n := startNode(t)
	alice := n.writer()
	alice.append("here")
	js, err := jetstream.New(n.server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := js.Stream(deadline(t), "KEYS")
	if err != nil {
		t.Fatal(err)
	}
	m, err := keys.GetLastMsgForSubject(deadline(t), "keys.account.tasks")
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.DeleteMsg(deadline(t), m.Sequence); err != nil {
		t.Fatal(err)
	}
	n.stop()
	if err := os.RemoveAll(filepath.Join(n.dir, "log", "jetstream", "$G", "streams", "TASKS")); err != nil {
		t.Fatal(err)
	}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.log.Append(deadline(t), domain.TasksID, streams.Position{}, note("the first task")); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if got, err := n.notes(domain.TasksID); err != nil || !slices.Equal(got, []string{"the first task"}) {
		t.Errorf("the tasks are %q, %v", got, err)
	}
	if got, err := n.notes(alice.id); err != nil || len(got) != 1 {
		t.Errorf("alice has %q, %v", got, err)
	}
	wantKind(t, n.log.Erase(deadline(t), domain.TasksID), domain.Invalid)
}
