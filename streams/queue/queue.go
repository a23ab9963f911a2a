package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/streams"
)

// Config is what a Queue works with.
type Config struct {
	Conn     *nats.Conn
	Topology streams.Topology // names and replicas
	Syncer   streams.Syncer   // nil when the server syncs before it acknowledges
	Secret   [32]byte         // of the installation
	Name     string           // of the queue: letters in lower case, digits, "-" and "_"
	Node     string           // this one
	Patience time.Duration    // how long entries are left to the node that took them; 1 minute
	Limits   Limits
	Logger   *slog.Logger // nil discards
	// Failpoint is called at named steps, for tests that kill the process there: queue.before-publish, queue.published, queue.synced; queue.overlaid and
	// queue.before-cut while the stream is cut.
	Failpoint func(name string)
}

// Limits bound what a Queue holds and how long it waits. A zero field means its default.
type Limits struct {
	Waiting int           // appends that wait before callers block; 4096
	Round   int           // octets of records that become one message; 512 KiB
	Publish time.Duration // for one acknowledgement; 5 s
	Settle  time.Duration // to find out what became of an append without one; 20 s
	Request time.Duration // for one answer to a question; 5 s
	Cut     uint64        // octets of the stream below which it is never cut; 64 MiB
	Entry   int           // octets of one append; 4 MiB
}

func (l *Limits) setDefaults() {
	for field, value := range map[*int]int{&l.Waiting: 4096, &l.Round: 512 << 10, &l.Entry: 4 << 20} {
		if *field == 0 {
			*field = value
		}
	}
	for field, value := range map[*time.Duration]time.Duration{&l.Publish: 5 * time.Second, &l.Settle: 20 * time.Second, &l.Request: 5 * time.Second} {
		if *field == 0 {
			*field = value
		}
	}
	if l.Cut == 0 {
		l.Cut = 64 << 20
	}
}

// Queue is a queue. Make one with Open. Its methods may be called at once from many goroutines.
type Queue struct {
	cfg     Config
	js      jetstream.JetStream
	name    string // of the stream
	subject string
	handle  jetstream.Stream
	sealer  Sealer

	in      chan *addition
	carries chan *carrying
	stop    context.CancelFunc
	done    <-chan struct{}
	wg      sync.WaitGroup

	mu      sync.Mutex
	state   *queue.State
	folded  domain.Seq // the last message that is in state
	durable domain.Seq // the last message that may be folded
	err     error      // why no more is folded, or appended
	changed chan struct{}
	damage  string
	syncing sync.Mutex // held while the stream is synced or cut
}

// DefaultPatience is how long entries are left to the node that took them.
const DefaultPatience = time.Minute

// Open connects to the queue's stream, makes it if there is none, and reads it. Errors: domain.Invalid when the stream is not ours, domain.Unavailable.
func Open(ctx context.Context, cfg Config) (*Queue, error) {
	cfg.Limits.setDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	js, err := jetstream.New(cfg.Conn, jetstream.WithDefaultTimeout(cfg.Limits.Publish))
	if err != nil {
		return nil, unavailable(err, "use the log server")
	}
	running, stop := context.WithCancel(context.Background())
	q := &Queue{
		cfg: cfg, js: js, name: cfg.Topology.Stream("QUEUE_" + cfg.Name), subject: cfg.Topology.Subject("queue." + cfg.Name), in: make(chan *addition, cfg.Limits.Waiting),
		carries: make(chan *carrying), stop: stop, done: running.Done(), changed: make(chan struct{}),
	}
	q.sealer = NewSealer(cfg.Secret, q.name)
	q.reset()
	if err := q.open(ctx, running); err != nil {
		_ = q.Close(ctx)
		return nil, err
	}
	return q, nil
}

func (q *Queue) reset() {
	q.state = queue.New()
	q.state.Self, q.state.Patience = q.cfg.Node, q.cfg.Patience.Milliseconds()
}

func (q *Queue) open(ctx, running context.Context) error {
	var err error
	if q.handle, err = q.provide(ctx); err != nil {
		return err
	}
	if q.cfg.Syncer != nil {
		if err := q.cfg.Syncer.SyncAll(ctx, q.name); err != nil {
			return err
		}
	}
	info, err := q.info(ctx)
	if err != nil {
		return err
	}
	q.durable = domain.Seq(info.State.LastSeq)
	if m, ok := q.cfg.Syncer.(streams.Marker); ok {
		if marked := m.Marked(q.name); marked > q.durable {
			q.damaged(fmt.Sprintf("the stream ends at %d, but %d was acknowledged", q.durable, marked))
		}
	}
	q.wg.Go(func() { q.follow(running) })
	q.wg.Go(func() { q.commit(running) })
	return q.Shown(ctx)
}

// config is what the stream must be.
func (q *Queue) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: q.name, Description: "Streampost: mail on its way to other servers. Do not edit.", Subjects: []string{q.subject}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Replicas: max(q.cfg.Topology.Replicas, 1), Duplicates: dedupe, DenyDelete: true,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1,
	}
}

// dedupe is how long the server remembers message ids. It exceeds Limits.Settle.
const dedupe = 2 * time.Minute

// provide finds or makes the stream, and refuses one that would lose records.
func (q *Queue) provide(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*q.cfg.Limits.Request)
	defer cancel()
	want := q.config()
	s, err := q.js.Stream(ctx, q.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = q.js.CreateStream(ctx, want)
	}
	if err != nil {
		return nil, unavailable(err, "open stream "+q.name)
	}
	is := s.CachedInfo().Config
	for _, field := range []struct {
		name     string
		is, want any
	}{
		{"subjects", fmt.Sprint(is.Subjects), fmt.Sprint(want.Subjects)}, {"retention", is.Retention, want.Retention}, {"discard", is.Discard, want.Discard},
		{"storage", is.Storage, want.Storage}, {"replicas", q.cfg.Topology.Grown(is.Replicas), want.Replicas}, {"deny_delete", is.DenyDelete, true}, {"no_ack", is.NoAck, false},
		{"duplicate_window", is.Duplicates, want.Duplicates}, {"max_age", is.MaxAge, want.MaxAge}, {"max_msgs", is.MaxMsgs, want.MaxMsgs}, {"max_bytes", is.MaxBytes, want.MaxBytes},
		{"max_msgs_per_subject", is.MaxMsgsPerSubject, want.MaxMsgsPerSubject}, {"max_msg_size", is.MaxMsgSize, want.MaxMsgSize}, {"sealed", is.Sealed, false},
		{"persist_mode", is.PersistMode, want.PersistMode},
	} {
		if field.is != field.want {
			return nil, &domain.Error{
				Kind: domain.Invalid, Msg: fmt.Sprintf("stream %s has %s %v, but must have %v", q.name, field.name, field.is, field.want),
				Hint: "somebody else made or edited this stream; edit it back, or choose another prefix",
			}
		}
	}
	return s, nil
}

// Close stops the queue. Appends that wait get domain.Unavailable.
func (q *Queue) Close(ctx context.Context) error {
	q.stop()
	stopped := make(chan struct{})
	go func() { q.wg.Wait(); close(stopped) }()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return unavailable(ctx.Err(), "close the queue")
	}
}

// View runs f on the state, which f must neither keep nor change.
func (q *Queue) View(f func(*queue.State)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f(q.state)
}

// Changed is closed when the state is another than now.
func (q *Queue) Changed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed
}

// Damage tells what is wrong with the stream; empty when nothing is known to be.
func (q *Queue) Damage() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.damage
}

func (q *Queue) damaged(what string) {
	q.mu.Lock()
	q.damage = what
	q.mu.Unlock()
	q.cfg.Logger.Error("the queue is damaged: mail may be lost", "stream", q.name, "damage", what)
}

// tell wakes who waits for a change. The caller holds mu.
func (q *Queue) tell() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// Shown returns when the state shows all that the stream holds now.
func (q *Queue) Shown(ctx context.Context) error {
	info, err := q.info(ctx)
	if err != nil {
		return err
	}
	return q.wait(ctx, domain.Seq(info.State.LastSeq))
}

// wait returns when a message is folded.
func (q *Queue) wait(ctx context.Context, seq domain.Seq) error {
	for {
		q.mu.Lock()
		folded, err, changed := q.folded, q.err, q.changed
		q.mu.Unlock()
		switch {
		case folded >= seq:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-changed:
		case <-q.done:
			return errClosed
		case <-ctx.Done():
			return unavailable(ctx.Err(), "read the queue")
		}
	}
}

// Claims tells which of some blobs entries may need. Errors: domain.Unavailable when that cannot be told, as while the stream is damaged.
func (q *Queue) Claims(ctx context.Context, ids []domain.BlobID) (needed []bool, err error) {
	if q == nil {
		return nil, domain.Errorf(domain.Unavailable, "the queue cannot be read, so that it cannot be told which messages it needs")
	}
	if damage := q.Damage(); damage != "" {
		return nil, &domain.Error{Kind: domain.Unavailable, Msg: "it cannot be told which messages the queue needs: " + damage, Hint: "no blob is deleted as long as the queue is damaged"}
	}
	if err := q.Shown(ctx); err != nil {
		return nil, err
	}
	q.View(func(s *queue.State) { needed = s.Blobs(ids) })
	return needed, nil
}

func (q *Queue) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Limits.Request)
	defer cancel()
	info, err := q.handle.Info(ctx)
	return info, unavailable(err, "look up stream "+q.name)
}

// Entries reads entries as they now are; those that are gone are left out.
func (q *Queue) Entries(ctx context.Context, ids []queue.ID) (all []*queue.Entry, err error) {
	packs := map[domain.Seq][]queue.Record{}
	for _, id := range ids {
		for {
			var at queue.Place
			q.View(func(s *queue.State) {
				if i := s.Find(id); i != nil {
					at = i.Place
				}
			})
			if at.Seq == 0 {
				break
			}
			if packs[at.Seq] == nil {
				if packs[at.Seq], err = q.read(ctx, at.Seq); err != nil {
					moved := false
					q.View(func(s *queue.State) { i := s.Find(id); moved = i == nil || i.Place != at })
					if moved { // it was carried, or is gone
						continue
					}
					return nil, err
				}
			}
			records := packs[at.Seq]
			if at.Index >= len(records) || records[at.Index].Put == nil || records[at.Index].Put.ID != id {
				return nil, domain.Errorf(domain.Corrupt, "the record of queued message %s is not where it should be", id)
			}
			e := *records[at.Index].Put
			there := false
			q.View(func(s *queue.State) {
				if i := s.Find(id); i != nil {
					there = true
					i.Overlay(&e)
				}
			})
			if there {
				all = append(all, &e)
			}
			break
		}
	}
	return all, nil
}

// read reads one message.
func (q *Queue) read(ctx context.Context, seq domain.Seq) ([]queue.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Limits.Request)
	defer cancel()
	m, err := q.handle.GetMsg(ctx, uint64(seq))
	if err != nil {
		return nil, unavailable(err, "read the queue")
	}
	plain, err := q.sealer.Open(m.Data)
	if err != nil {
		return nil, domain.Wrap(domain.Corrupt, err, "read the queue")
	}
	return queue.Unmarshal(plain)
}

var errClosed = domain.Errorf(domain.Unavailable, "the queue is closed")

// unavailable wraps an error of the NATS client; nil stays nil.
func unavailable(err error, doing string) error {
	if err == nil {
		return nil
	}
	return domain.Wrap(domain.Unavailable, err, doing)
}
