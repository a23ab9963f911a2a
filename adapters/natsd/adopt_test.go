package natsd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
)

// everything is what a stream has: of each sequence the subject and the octets.
func everything(t *testing.T, js jetstream.JetStream, stream string) (all []string) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			all = append(all, fmt.Sprint(seq))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(seq, m.Subject, m.Time.UnixNano(), string(m.Data)))
	}
	return all
}

// TestClusterGrows: a server that stood alone becomes the first node of three. Its streams are what they were, octet by octet, a durable consumer goes on where
// it was, and while every stream gets two more copies, changes are accepted.
func TestClusterGrows(t *testing.T) {
	t.Parallel()
	c := &trio{t: t, secret: newSecret()}
	var seeds []string
	for range 3 {
		seeds = append(seeds, unused(t))
	}
	for i, address := range seeds {
		c.place(fmt.Sprintf("node%d", i+1), address, seeds[0])
	}
	places := c.places
	alone := start(t, natsd.Config{Dir: places[0].Dir})
	js, err := jetstream.New(alone.Conn())
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "LOG", Subjects: []string{"LOG.>"}, DenyDelete: true, DenyPurge: true, Metadata: map[string]string{"format": "1"}},
		{Name: "KEYS", Subjects: []string{"KEYS.>"}, MaxMsgsPerSubject: 1},
		{Name: "EMPTY", Subjects: []string{"EMPTY.>"}},
	} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		for _, subject := range []string{fmt.Sprint("LOG.", i%7), fmt.Sprint("KEYS.", i%9)} {
			if _, err := js.Publish(t.Context(), subject, fmt.Appendf(nil, "message %d", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	consumer, err := js.CreateConsumer(t.Context(), "LOG", jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(50)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	log, keys := everything(t, js, "LOG"), everything(t, js, "KEYS")
	for _, stream := range []string{"LOG", "KEYS", "EMPTY"} { // what a commit does
		if err := alone.SyncAll(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	if err := alone.Close(context.Background()); err != nil {
		t.Fatal(err)
	}

	c.start(1)
	c.start(2)
	began := time.Now()
	c.places[0].Cluster.Adopt = true
	first := c.start(0)
	if js, err = jetstream.New(first.Conn()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log goes on", func() bool {
		_, err := js.Publish(t.Context(), "EMPTY.a", nil)
		return err == nil && first.Gathered().Leader != ""
	})
	t.Logf("after %v the log goes on", time.Since(began).Round(time.Millisecond))
	for stream, want := range map[string][]string{"LOG": log, "KEYS": keys} {
		if now := everything(t, js, stream); fmt.Sprint(now) != fmt.Sprint(want) {
			t.Errorf("%s is %v, and was %v", stream, now, want)
		}
	}
	c.gathered(3)
	if os.Getenv("STREAMPOST_TEST_REPLICAS") == "" {
		t.Log("STREAMPOST_TEST_REPLICAS is not set: the streams get no copies")
		return
	}

	writing, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	written, slowest := 0, time.Duration(0)
	writer.Go(func() {
		for writing.Err() == nil {
			began := time.Now()
			if _, err := js.Publish(context.Background(), "LOG.new", fmt.Appendf(nil, "message %d", written)); err == nil {
				written, slowest = written+1, max(slowest, time.Since(began))
			}
		}
	})
	var steps []int
	if err := first.Scale(soon(t), 3, func(left int) { steps = append(steps, left) }); err != nil {
		t.Fatal(err)
	}
	stop()
	writer.Wait()
	t.Logf("%d messages were accepted meanwhile, the slowest after %v; streams left: %v", written, slowest, steps)
	if written == 0 || steps[len(steps)-1] != 0 {
		t.Errorf("%d messages were accepted, and the streams left are %v", written, steps)
	}
	c.stop(0) // who had all of it
	if js, err = jetstream.New(c.servers[1].Conn()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others go on", func() bool { _, err := js.Publish(t.Context(), "EMPTY.a", nil); return err == nil })
	now := everything(t, js, "LOG")
	if len(now) < len(log)+written || fmt.Sprint(now[:len(log)]) != fmt.Sprint(log) {
		t.Errorf("of %d messages and %d more, the others have %d", len(log), written, len(now))
	}
	if now := everything(t, js, "KEYS"); fmt.Sprint(now) != fmt.Sprint(keys) {
		t.Errorf("the keys are %v, and were %v", now, keys)
	}
	if consumer, err = js.Consumer(t.Context(), "LOG", "reader"); err != nil {
		t.Fatal(err)
	}
	if info := consumer.CachedInfo(); info.AckFloor.Stream != 50 {
		t.Errorf("the consumer is at %+v", info.AckFloor)
	}
}

// TestAnEmptyDiskCountsItsCluster: a server with an empty disk does not take itself and the only other one that it knows for the cluster, and has the id that
// follows from its name.
func TestAnEmptyDiskCountsItsCluster(t *testing.T) {
	t.Parallel()
	c := &trio{t: t, secret: newSecret()}
	s := c.start(c.place("node1", unused(t), unused(t)))
	if s.Size() != 3 {
		t.Errorf("it takes the cluster to have %d members", s.Size())
	}
	if s.Peer() != natsd.PeerOf("node1") {
		t.Errorf("node1 has the id %s, want %s", natsd.PeerOf("node1"), s.Peer())
	}
}

// TestClusterOutlivesEmptyDisks: two nodes of three lose their disks, are started again while the third is away, and know only each other. They must not begin
// anew without it: when it comes, everything is there.
func TestClusterOutlivesEmptyDisks(t *testing.T) {
	long(t)
	c := &trio{t: t, secret: newSecret()}
	seeds := []string{unused(t), unused(t), unused(t)}
	c.place("node1", seeds[0], seeds[1])
	c.place("node2", seeds[1], seeds[2])
	c.place("node3", seeds[2], seeds[1])
	for i := range 3 {
		c.start(i)
	}
	c.gathered(3)
	c.stream("LOG", 3, 100)
	c.whole("LOG", 100, 0, 1, 2)
	for i := range 3 {
		c.stop(i)
	}
	for i := 1; i < 3; i++ {
		if err := os.RemoveAll(c.places[i].Dir); err != nil {
			t.Fatal(err)
		}
		c.start(i)
	}
	eventually(t, "the two have met", func() bool { return c.servers[1].Routes() > 0 })
	time.Sleep(20 * time.Second) // in which they would have elected a leader
	if g := c.servers[1].Gathered(); g.Leader != "" {
		t.Errorf("%s leads a cluster of empty disks", g.Leader)
	}
	c.start(0)
	c.gathered(3)
	c.whole("LOG", 100, 0, 1, 2)
}
