package listen_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/streams/listen"
)

// jetStream runs a NATS server in this process.
func jetStream(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, AuthTimeout: 60})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1), nats.Timeout(time.Minute))
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

// TestAPinOfNobodyIsTakenAway: a message that comes just after somebody stopped waiting for it makes the server pin whoever asked. Nobody knows of
// that pin, and those who come later must not wait until it ends by itself, which is in an hour here.
func TestAPinOfNobodyIsTakenAway(t *testing.T) {
	t.Parallel()
	conn := jetStream(t)
	cfg := listen.PubSubConfig{Conn: conn, Group: "all", Limits: listen.Limits{Takeover: time.Hour}}
	pub, err := listen.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	first, err := listen.NewSubscriber(cfg) // makes the stream and the consumer
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Subscribe(t.Context(), "news"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), "TOPIC_news", "all")
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := conn.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.PINNED.TOPIC_news.all")
	if err != nil {
		t.Fatal(err)
	}
	inbox := conn.NewInbox()
	left, err := conn.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.TOPIC_news.all", inbox, []byte(`{"batch":1,"expires":3600000000000,"group":"one"}`)); err != nil {
		t.Fatal(err)
	}
	for waiting := 0; waiting == 0; {
		info, err := consumer.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		waiting = info.NumWaiting
	}
	if err := left.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := pub.Publish("news", message.NewMessage("1", []byte("for whoever is there"))); err != nil {
		t.Fatal(err)
	}
	if _, err := pinned.NextMsg(10 * time.Second); err != nil {
		t.Skip("this server pins only those who still wait")
	}

	second, err := listen.NewSubscriber(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	messages, err := second.Subscribe(t.Context(), "news")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-messages:
		m.Ack()
	case <-time.After(time.Minute):
		t.Fatal("the pin of nobody holds")
	}
}
