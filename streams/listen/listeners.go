package listen

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Config is what listeners need.
type Config struct {
	Log    *streams.Log
	Syncer streams.Syncer // as the log's own; nil when the server syncs before it acknowledges
	Limits Limits
	Logger *slog.Logger     // nil discards
	Now    func() time.Time // nil means time.Now
}

// Listeners runs the listeners of this process and keeps the dead letters of all. Make one with Open. Its methods may be called at once from many
// goroutines.
type Listeners struct {
	cfg     Config
	js      jetstream.JetStream
	topo    streams.Topology
	letters *letters

	mu      sync.Mutex
	running map[string]*running
	closed  bool
}

// Open makes the stream of dead letters on first use. Close ends what Add begins.
func Open(ctx context.Context, cfg Config) (*Listeners, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Listeners{cfg: cfg, js: cfg.Log.JetStream(), topo: cfg.Log.Topology(), running: map[string]*running{}}
	var err error
	l.letters, err = openLetters(ctx, l)
	return l, err
}

var listenerForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,40}$`)

// consumerPrefix tells the consumers of listeners from others.
const consumerPrefix = "listener_"

func consumerName(id string) string { return consumerPrefix + id }

// Add starts a listener. Errors: domain.Invalid, domain.Exists when it runs already, domain.Unavailable.
func (l *Listeners) Add(ctx context.Context, listener Listener) error {
	if !listenerForm.MatchString(listener.Name) || listener.Version < 1 || listener.Handle == nil {
		return domain.Errorf(domain.Invalid, "a listener has a name of small letters, digits and \"-\", a version from 1 on, and a Handle")
	}
	listener.Retry = listener.Retry.withDefaults()
	r := &running{Listener: listener, in: l, done: make(chan struct{})}
	for _, stream := range l.streamsOf(&listener) {
		if err := l.ensure(ctx, stream, &listener); err != nil {
			return err
		}
		r.consumers = append(r.consumers, r.consumer(stream))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return errClosed
	case l.running[listener.ID()] != nil:
		return domain.Errorf(domain.Exists, "listener %s runs already", listener.ID())
	}
	var running context.Context
	running, r.cancel = context.WithCancel(context.Background())
	l.running[listener.ID()] = r
	go r.run(running)
	return nil
}

// streamsOf lists the streams of accounts, and the directory's for a listener that wants it.
func (l *Listeners) streamsOf(listener *Listener) (all []string) {
	for _, stream := range l.cfg.Log.Streams() {
		switch stream {
		case l.cfg.Log.StreamOf(domain.TasksID):
		case l.cfg.Log.StreamOf(domain.DirectoryID):
			if listener.Directory {
				all = append(all, stream)
			}
		default:
			all = append(all, stream)
		}
	}
	return all
}

// ensure makes the listener's durable consumer of a stream. That is written to disk at once: a listener which began with New and lost its place
// would silently miss what came between.
func (l *Listeners) ensure(ctx context.Context, stream string, listener *Listener) error {
	s := spec{stream: stream, name: consumerName(listener.ID()), from: 1, limits: l.cfg.Limits, metadata: map[string]string{"streampost.listener": listener.ID()}}
	if listener.From == New {
		head, err := l.cfg.Log.Head(ctx, stream)
		if err != nil {
			return err
		}
		s.from = uint64(head) + 1
	}
	made, err := ensureConsumer(ctx, l.js, s)
	if err == nil && made && l.cfg.Syncer != nil {
		err = l.cfg.Syncer.SyncAll(ctx, stream)
	}
	return err
}

// Close stops all listeners and waits for them, at most Limits.Drain for handlers that ignore their context.
func (l *Listeners) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	all := l.running
	l.running = map[string]*running{}
	l.mu.Unlock()
	for _, r := range all {
		r.cancel()
	}
	for _, r := range all {
		select {
		case <-r.done:
		case <-ctx.Done():
			return unavailable(ctx.Err(), "stop listeners")
		}
	}
	return l.letters.close(ctx)
}

// Stop stops a listener in this process. Its place in the log and its dead letters stay.
func (l *Listeners) Stop(id string) {
	l.mu.Lock()
	r := l.running[id]
	delete(l.running, id)
	l.mu.Unlock()
	if r != nil {
		r.cancel()
		<-r.done
	}
}

// Remove stops a listener for ever and leaves nothing of it behind: consumers and dead letters are deleted, also of a listener that this build
// does not know. Removing what is not there is no error.
func (l *Listeners) Remove(ctx context.Context, id string) error {
	l.Stop(id)
	for _, stream := range l.cfg.Log.Streams() {
		once, cancel := context.WithTimeout(ctx, l.cfg.Limits.Request)
		err := l.js.DeleteConsumer(once, stream, consumerName(id))
		cancel()
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return unavailable(err, "remove listener "+id)
		}
	}
	return l.letters.purge(ctx, id, "")
}

// Known lists the ids of all listeners that have a place in the log, whether they run here or not.
func (l *Listeners) Known(ctx context.Context) ([]string, error) {
	var ids []string
	for _, stream := range l.cfg.Log.Streams() {
		handle, err := l.js.Stream(ctx, stream)
		if err != nil {
			return nil, unavailable(err, "look up stream "+stream)
		}
		names := handle.ConsumerNames(ctx)
		for name := range names.Name() {
			if id, ok := strings.CutPrefix(name, consumerPrefix); ok && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if err := names.Err(); err != nil {
			return nil, unavailable(err, "list consumers of "+stream)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Versions gives the versions of a listener that have a place in the log, in rising order.
func (l *Listeners) Versions(ctx context.Context, name string) (versions []int, err error) {
	ids, err := l.Known(ctx)
	for _, id := range ids {
		if rest, ok := strings.CutPrefix(id, name+"-"); ok {
			if n, err := strconv.Atoi(rest); err == nil && n > 0 {
				versions = append(versions, n)
			}
		}
	}
	slices.Sort(versions)
	return versions, err
}

// Status is how a listener of this process is doing.
type Status struct {
	ID      string         `json:"id"`
	Streams []StreamStatus `json:"streams"`
	Lag     uint64         `json:"lag"` // entries of the log that are not handled
	// Since the start of the process:
	Handled     uint64 `json:"handled"`
	Retries     uint64 `json:"retries"`
	DeadLetters uint64 `json:"deadLetters"`
	Skipped     uint64 `json:"skipped"` // entries of erased accounts
	Outage      bool   `json:"outage"`  // the destination is away
	Error       string `json:"error,omitempty"`
}

// StreamStatus is a listener's place in one stream.
type StreamStatus struct {
	Stream string     `json:"stream"`
	Floor  domain.Seq `json:"floor"` // all up to here is handled
	Lag    uint64     `json:"lag"`
	Active bool       `json:"active"` // whether it is this process that handles the stream
}

// Status tells how the listeners of this process are doing, by id. A stream whose server does not answer is left out.
func (l *Listeners) Status(ctx context.Context) []Status {
	l.mu.Lock()
	all := make([]*running, 0, len(l.running))
	for _, r := range l.running {
		all = append(all, r)
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b *running) int { return strings.Compare(a.ID(), b.ID()) })
	list := make([]Status, 0, len(all))
	for _, r := range all {
		s := Status{
			ID: r.ID(), Handled: r.handled.Load(), Retries: r.retried.Load(), DeadLetters: r.lettered.Load(), Skipped: r.skipped.Load(),
			Outage: r.failures.Load() > 0,
		}
		r.mu.Lock()
		s.Error = r.trouble
		r.mu.Unlock()
		for _, c := range r.consumers {
			info, err := c.info(ctx)
			if err != nil {
				continue
			}
			lag := info.NumPending + uint64(info.NumAckPending)
			s.Streams = append(s.Streams, StreamStatus{Stream: c.stream, Floor: domain.Seq(info.AckFloor.Stream), Lag: lag, Active: c.active.Load()})
			s.Lag += lag
		}
		list = append(list, s)
	}
	return list
}

func (l *Listeners) find(id string) *running {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running[id]
}

// accountOf takes the account out of a subject: its last token.
func accountOf(subject string) domain.AccountID {
	return domain.AccountID(subject[strings.LastIndexByte(subject, '.')+1:])
}
