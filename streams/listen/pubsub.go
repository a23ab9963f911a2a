package listen

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// What a message of Watermill is on the wire: the payload is the payload.
const (
	headerUUID     = "Streampost-Uuid"
	headerMetadata = "Streampost-Metadata" // a JSON object, so that values may hold anything
	headerLane     = "Streampost-Lane"
)

// LaneKey is the key of a message's metadata that says which lane it belongs to. Messages without it are one lane.
const LaneKey = "lane"

// PubSubConfig is what a Publisher and a Subscriber need. A topic is a stream of its own, which is made on first use.
type PubSubConfig struct {
	Conn     *nats.Conn
	Topology streams.Topology // names and replicas
	Syncer   streams.Syncer   // nil when the server syncs before it acknowledges
	Group    string           // Subscriber: those of one group share the messages; letters, digits, "-" and "_"
	Limits   Limits
	Retry    Retry        // Subscriber: pauses after a Nack; Attempts does not count, because nothing is ever given up
	Logger   *slog.Logger // nil discards
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// topics makes the streams of topics.
type topics struct {
	cfg PubSubConfig
	js  jetstream.JetStream

	mu   sync.Mutex
	made map[string]bool
}

func newTopics(cfg PubSubConfig) (*topics, error) {
	cfg.Limits, cfg.Retry = cfg.Limits.withDefaults(), cfg.Retry.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Conn == nil {
		return nil, domain.Errorf(domain.Invalid, "a publisher or subscriber needs a connection")
	}
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, unavailable(err, "use the log server")
	}
	return &topics{cfg: cfg, js: js, made: map[string]bool{}}, nil
}

// provide makes a topic's stream unless it is there.
func (t *topics) provide(ctx context.Context, topic string) (stream string, err error) {
	if !nameForm.MatchString(topic) {
		return "", domain.Errorf(domain.Invalid, "the topic %q may hold up to 128 letters, digits, \"-\" and \"_\" only", topic)
	}
	stream = t.cfg.Topology.Stream("TOPIC_" + topic)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made[topic] {
		return stream, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Limits.Request)
	defer cancel()
	if _, err = t.js.Stream(ctx, stream); errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = t.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: stream, Subjects: []string{t.subject(topic)}, Storage: jetstream.FileStorage, Replicas: max(t.cfg.Topology.Replicas, 1),
			Discard: jetstream.DiscardNew,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody else made it just now
			err = nil
		}
		if err == nil && t.cfg.Syncer != nil {
			err = t.cfg.Syncer.SyncAll(ctx, stream)
		}
	}
	if err != nil {
		return "", unavailable(err, "make stream "+stream)
	}
	t.made[topic] = true
	return stream, nil
}

func (t *topics) subject(topic string) string { return t.cfg.Topology.Subject("topic." + topic) }

// Publisher is a message.Publisher of Watermill. Publish returns when the messages are durable. A message's UUID is its id in JetStream's window
// of duplicates, so a Publish that failed may be repeated.
type Publisher struct {
	topics *topics

	mu     sync.RWMutex
	closed bool
}

// NewPublisher makes a Publisher.
func NewPublisher(cfg PubSubConfig) (*Publisher, error) {
	t, err := newTopics(cfg)
	if err != nil {
		return nil, err
	}
	return &Publisher{topics: t}, nil
}

var errClosed = domain.Errorf(domain.Unavailable, "the publisher or subscriber is closed")

// Publish appends messages in order. Errors: domain.Invalid for the topic, domain.Unavailable, after which some may have been appended.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return errClosed
	}
	if len(messages) == 0 {
		return nil
	}
	ctx := messages[0].Context()
	stream, err := p.topics.provide(ctx, topic)
	if err != nil {
		return err
	}
	for _, m := range messages {
		out, err := encode(p.topics.subject(topic), m)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(m.Context(), p.topics.cfg.Limits.Request)
		_, err = p.topics.js.PublishMsg(ctx, out, jetstream.WithMsgID(m.UUID))
		cancel()
		if err != nil {
			return unavailable(err, "publish to "+topic)
		}
	}
	if p.topics.cfg.Syncer != nil {
		return p.topics.cfg.Syncer.Sync(ctx, stream)
	}
	return nil
}

// Close makes Publish fail from here on. The connection is the caller's.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

func encode(subject string, m *message.Message) (*nats.Msg, error) {
	metadata, err := json.Marshal(m.Metadata)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "publish a message")
	}
	out := nats.NewMsg(subject)
	out.Data = m.Payload
	out.Header.Set(headerUUID, m.UUID)
	out.Header.Set(headerMetadata, string(metadata))
	if lane := m.Metadata[LaneKey]; lane != "" {
		text, err := json.Marshal(lane)
		if err != nil {
			return nil, domain.Wrap(domain.Invalid, err, "publish a message")
		}
		out.Header.Set(headerLane, string(text))
	}
	return out, nil
}

func decode(d *delivery) *message.Message {
	m := message.NewMessage(d.header.Get(headerUUID), d.data)
	// A message of somebody else has no metadata, or none that is ours: the payload is for the handler to judge.
	if err := json.Unmarshal([]byte(d.header.Get(headerMetadata)), &m.Metadata); err != nil || m.Metadata == nil {
		m.Metadata = message.Metadata{}
	}
	return m
}

// Subscriber is a message.Subscriber of Watermill. Of a group's Subscribers of a topic one receives, see "One at a time" above, with as many
// messages in flight as there are lanes. A message that is refused (Nack) is given again after a pause, before any other of its lane.
type Subscriber struct {
	topics *topics
	stop   context.CancelFunc
	ctx    context.Context

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// NewSubscriber makes a Subscriber.
func NewSubscriber(cfg PubSubConfig) (*Subscriber, error) {
	t, err := newTopics(cfg)
	if err != nil {
		return nil, err
	}
	if !nameForm.MatchString(cfg.Group) {
		return nil, domain.Errorf(domain.Invalid, "the group %q may hold up to 128 letters, digits, \"-\" and \"_\" only", cfg.Group)
	}
	s := &Subscriber{topics: t}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Subscribe begins to receive at the first message that the group has not acknowledged. The channel is closed when ctx ends or the Subscriber is
// closed, after the handlers have let go of their messages or Limits.Drain has passed.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	stream, err := s.topics.provide(ctx, topic)
	if err != nil {
		return nil, err
	}
	cfg := &s.topics.cfg
	made, err := ensureConsumer(ctx, s.topics.js, spec{stream: stream, name: cfg.Group, from: 1, limits: cfg.Limits})
	if err == nil && made && cfg.Syncer != nil {
		err = cfg.Syncer.SyncAll(ctx, stream)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	out := make(chan *message.Message)
	c := &consumer{
		js: s.topics.js, conn: cfg.Conn, stream: stream, name: cfg.Group, limits: cfg.Limits, logger: cfg.Logger, tracker: newTracker(),
		key: func(_ string, h nats.Header) string { return h.Get(headerLane) },
	}
	// Of one lane one message is out.
	c.lanes = newLanes(cfg.Limits.Parallel, 1, cfg.Limits.Memory, func(ctx context.Context, batch []*delivery) (int, time.Duration) {
		return s.give(ctx, out, batch[0])
	}, c.finish, c.load)
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.ctx, cancel)
	s.wg.Go(func() {
		defer close(out)
		defer cancel()
		defer unhook()
		if err := c.run(ctx); err != nil {
			cfg.Logger.Error("the subscription ends", "topic", topic, "group", cfg.Group, "err", err)
		}
	})
	return out, nil
}

// give hands a message to the handler and waits for its answer.
func (s *Subscriber) give(ctx context.Context, out chan<- *message.Message, d *delivery) (int, time.Duration) {
	m := decode(d)
	its, cancel := context.WithCancel(ctx)
	defer cancel()
	m.SetContext(its)
	select {
	case out <- m:
	case <-ctx.Done():
		return 0, 0
	}
	select {
	case <-m.Acked():
		return 1, 0
	case <-m.Nacked():
		d.failed++
		return 0, s.topics.cfg.Retry.pause(d.failed)
	case <-ctx.Done():
		return 0, 0
	}
}

// Close ends all subscriptions and waits for them.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
	return nil
}
