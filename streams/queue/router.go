package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// Holder is whose claim on an entry holds.
type Holder struct{ Node, Boot string }

// Handle says what becomes of an entry: it appends a queue.Result in the name of the holder. Where it fails, the entry is given again after a pause.
type Handle func(ctx context.Context, e *queue.Entry, by Holder) error

// quiet keeps Watermill from saying what NewRouter's handler says itself.
var quiet = map[slog.Level]slog.Level{slog.LevelError: slog.LevelDebug, slog.LevelInfo: slog.LevelDebug}

// Router runs a handler of Watermill on the entries of a shelf. A handler that panics has failed.
type Router struct{ router *message.Router }

// NewRouter makes a Router. drain is how long handlers have to end when it is closed.
func NewRouter(q *Queue, shelf queue.Shelf, cfg SubscriberConfig, drain time.Duration, handle Handle) (*Router, error) {
	cfg.Drain = drain / 2
	subscriber, err := NewSubscriber(q, cfg)
	if err != nil {
		return nil, err
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: drain}, watermill.NewSlogLoggerWithLevelMapping(q.cfg.Logger, quiet))
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "make a router of the queue")
	}
	router.AddMiddleware(recovered)
	router.AddConsumerHandler(shelf.Name(), string(shelf), subscriber, func(m *message.Message) error {
		var e queue.Entry
		if err := json.Unmarshal(m.Payload, &e); err != nil {
			return domain.Wrap(domain.Corrupt, err, "read an entry of the queue")
		}
		err := handle(m.Context(), &e, Holder{Node: m.Metadata[MetadataNode], Boot: m.Metadata[MetadataBoot]})
		if err != nil {
			q.cfg.Logger.Error("an entry cannot be handled yet", "shelf", shelf.Name(), "queued", e.ID, "id", e.Transfer, "error", err)
		}
		return err
	})
	return &Router{router}, nil
}

// Run hands out entries until ctx ends or the Router is closed.
func (r *Router) Run(ctx context.Context) error {
	if err := r.router.Run(ctx); err != nil {
		return domain.Wrap(domain.Internal, err, "run the router of the queue")
	}
	return nil
}

// Close waits for the handlers.
func (r *Router) Close() error { return r.router.Close() }

// recovered makes an error of a panic: one message that meets a mistake in a step does not end the server.
func recovered(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) (produced []*message.Message, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("a handler panics: %v\n%s", p, debug.Stack())
			}
		}()
		return next(m)
	}
}
