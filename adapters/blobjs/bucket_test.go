package blobjs_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/blobjs"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

// connect runs a NATS server.
func connect(t testing.TB) *nats.Conn {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 8 << 20, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func open(t testing.TB, cfg blobjs.Config) *blobjs.Bucket {
	t.Helper()
	cfg.Space = "blobs"
	b, err := blobjs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Bucket { return open(t, blobjs.Config{Conn: connect(t)}) })
}

func put(t testing.TB, b blob.Bucket, id domain.BlobID, p []byte) {
	t.Helper()
	u, err := b.Create(t.Context())
	if err == nil {
		_, err = u.Write(p)
	}
	if err == nil {
		err = u.Commit(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func read(b blob.Bucket, id domain.BlobID) ([]byte, error) {
	o, err := b.Open(context.Background(), id)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}

// TestNATSReadsIt: the layout is that of object stores, so the tools of NATS read what we wrote.
func TestNATSReadsIt(t *testing.T) {
	conn := connect(t)
	b := open(t, blobjs.Config{Conn: conn, Prefix: "mail"})
	id, want := domain.BlobID{1, 2}, make([]byte, 300<<10)
	want[77] = 7
	put(t, b, id, want)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	store, err := js.ObjectStore(t.Context(), "mail_blobs")
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.GetBytes(t.Context(), id.String()) // compares the digest
	if err != nil || string(got) != string(want) {
		t.Errorf("%d octets, %v", len(got), err)
	}
	all, err := store.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Size != uint64(len(want)) {
		t.Errorf("the list is %v, %v", all, err)
	}
}
