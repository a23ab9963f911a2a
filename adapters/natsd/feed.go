package natsd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/projections/telling"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// FeedName is the name of a Feed's listener.
const FeedName = "event-publish"

// FeedConfig says what a Feed publishes, and where.
type FeedConfig struct {
	Conn    *nats.Conn      // to the NATS that keeps the log; nil where there is another
	Other   *ExternalConfig // another NATS, which is connected to when there is something to publish
	Stream  string          // that takes the events, and is the operator's
	Subject string          // what subjects begin with: an account's id and the event's name follow
	Source  telling.Source  // of the events
	Request time.Duration   // for one acknowledgement; 0 means 5 s
	Count   func()          // is told of each event that is stored; nil tells nobody
}

// Feed publishes events into a stream of the operator's, with their ids as Nats-Msg-Id, so that the stream stores none twice within its window for duplicates.
// The events of an account are published one after the other, each when the stream has the one before it, and only into the stream that is configured:
// a subject that another stream takes, one of the log's for instance, is refused by the server.
type Feed struct {
	cfg FeedConfig

	mu    sync.Mutex
	other *External
	js    jetstream.JetStream
}

// NewFeed makes a Feed and connects to nobody yet. Errors: domain.Invalid.
func NewFeed(cfg FeedConfig) (*Feed, error) {
	if err := cfg.Source.Events.Check(); err != nil {
		return nil, err
	}
	cfg.Request = cmp.Or(cfg.Request, 5*time.Second)
	if cfg.Count == nil {
		cfg.Count = func() {}
	}
	return &Feed{cfg: cfg}, nil
}

// Listener gives what listen.Listeners run.
func (f *Feed) Listener() listen.Listener {
	return f.cfg.Source.Listener(FeedName, f.handle)
}

// Close ends the connection to another NATS.
func (f *Feed) Close(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.other == nil {
		return nil
	}
	return f.other.Close(ctx)
}

// connect gives the connection, which finds its way back by itself once it was made.
func (f *Feed) connect(ctx context.Context) (jetstream.JetStream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.js != nil {
		return f.js, nil
	}
	conn := f.cfg.Conn
	if f.cfg.Other != nil {
		other, err := Dial(ctx, *f.cfg.Other)
		if err != nil {
			return nil, err
		}
		f.other, conn = other, other.Conn()
	}
	js, err := jetstream.New(conn)
	if err == nil {
		f.js = js
	}
	return js, err
}

func (f *Feed) handle(ctx context.Context, entries []streams.Entry) (done int, err error) {
	js, err := f.connect(ctx)
	if err != nil {
		return 0, listen.Outage(domain.Wrap(domain.Unavailable, err, "publish events"))
	}
	for i := range entries {
		if err := f.publish(ctx, js, &entries[i]); err != nil {
			return i, err
		}
	}
	return len(entries), nil
}

func (f *Feed) publish(ctx context.Context, js jetstream.JetStream, e *streams.Entry) error {
	items, err := f.cfg.Source.Items(ctx, e)
	if err != nil {
		return err
	}
	for i := range items {
		text, err := json.Marshal(&items[i])
		if err != nil {
			return domain.Wrap(domain.Internal, err, "write an event")
		}
		if err := f.one(ctx, js, &items[i], text); err != nil {
			return err
		}
		f.cfg.Count()
	}
	return nil
}

func (f *Feed) one(ctx context.Context, js jetstream.JetStream, item *feed.Item, text []byte) error {
	within, cancel := context.WithTimeout(ctx, f.cfg.Request)
	defer cancel()
	_, err := js.Publish(within, f.cfg.Subject+"."+string(item.Account)+"."+item.Type, text, jetstream.WithMsgID(item.ID), jetstream.WithExpectStream(f.cfg.Stream), jetstream.WithRetryAttempts(0))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, nats.ErrMaxPayload):
		return domain.Wrap(domain.TooLarge, err, "publish an event")
	}
	return listen.Outage(&domain.Error{
		Kind: domain.Unavailable, Msg: "publish events to " + f.cfg.Subject, Err: err,
		Hint: "there has to be a stream " + f.cfg.Stream + " which takes " + f.cfg.Subject + ".>, has room, and lets this user publish",
	})
}
