package listen_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/streams/listen"
)

// jetStream runs a NATS server in this process.
func jetStream(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); s.Shutdown(); s.WaitForShutdown() })
	return conn
}

// TestWatermill runs Watermill's own suite for pub/sub implementations.
func TestWatermill(t *testing.T) {
	conn := jetStream(t)
	pair := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		cfg := listen.PubSubConfig{Conn: conn, Group: group, Retry: listen.Retry{First: time.Millisecond, Max: 10 * time.Millisecond}}
		pub, err := listen.NewPublisher(cfg)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := listen.NewSubscriber(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return pub, sub
	}
	tests.TestPubSub(t, tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true},
		func(t *testing.T) (message.Publisher, message.Subscriber) { return pair(t, "all") }, pair)
}

func TestPublishRefusesWhatIsNoTopic(t *testing.T) {
	pub, err := listen.NewPublisher(listen.PubSubConfig{Conn: jetStream(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"", "a.b", "*", ">", "a b"} {
		if err := pub.Publish(topic, message.NewMessage("1", nil)); err == nil {
			t.Errorf("topic %q was taken", topic)
		}
	}
}
