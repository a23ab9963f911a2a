package greylist_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/greylist"
)

// TestEntries are read by all nodes, survive a restart of the server, go when their time is over, and are no more than they may be.
func TestEntries(t *testing.T) {
	dir := t.TempDir()
	var server *natsd.Server
	start := func() *greylist.Bucket {
		var err error
		if server, err = natsd.Start(t.Context(), natsd.Config{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		b, err := greylist.New(greylist.Config{Conn: server.Conn(), Prefix: "two", Entries: 3, Secret: [32]byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one := start()
	defer func() { _ = server.Close(context.Background()) }()
	if got, err := one.Load(t.Context(), "a"); got != nil || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, value := range []string{"1", "2"} {
		if err := one.Save(t.Context(), "a", []byte(value), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.Save(t.Context(), "soon gone", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if got, err := one.Load(t.Context(), "soon gone"); err != nil || time.Now().After(until) {
			t.Fatalf("%q is still there, %v", got, err)
		} else if got == nil {
			break
		}
	}
	if err := server.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Load(t.Context(), "a"); !domain.Is(err, domain.Unavailable) {
		t.Errorf("without a server: %v", err)
	}
	two := start()
	if got, err := two.Load(t.Context(), "a"); string(got) != "2" || err != nil {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	for i := range 5 {
		if err := two.Save(t.Context(), fmt.Sprint("b", i), []byte("x"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := two.Entries(t.Context()); n != 3 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	if got, err := two.Load(t.Context(), "a"); got != nil || err != nil {
		t.Errorf("the oldest is still there: %q, %v", got, err)
	}
	other, err := greylist.New(greylist.Config{Conn: server.Conn(), Prefix: "two", Entries: 10, Secret: [32]byte{2}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.Load(t.Context(), "b4"); got != nil || err != nil {
		t.Errorf("another secret reads the same names: %q, %v", got, err)
	}
	for i := range 5 { // the bound was raised
		if err := other.Save(t.Context(), fmt.Sprint("c", i), []byte("x"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := other.Entries(t.Context()); n != 8 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	js, err := jetstream.New(server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	remove := func() {
		if err := js.DeleteStream(t.Context(), "KV_two_greylist"); err != nil {
			t.Fatal(err)
		}
	}
	remove() // while it is in use: it is made again
	if got, err := two.Load(t.Context(), "b4"); got != nil || err != nil {
		t.Errorf("of a deleted bucket: %q, %v", got, err)
	}
	remove()
	if err := two.Save(t.Context(), "d", []byte("y"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := other.Load(t.Context(), "d"); got != nil || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := two.Load(t.Context(), "d"); string(got) != "y" || err != nil {
		t.Errorf("of a bucket that was made again: %q, %v", got, err)
	}
}
