package listen

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

const (
	// pinGroup is the one priority group of every consumer: the server gives messages to one of those who ask.
	pinGroup = "one"
	// pullExpires bounds one request for messages. Each request also tells the server that the pinned client is alive.
	pullExpires = 8 * time.Second
	// heartbeat is how often the server shows that it is there while it has nothing to deliver.
	heartbeat = 2 * time.Second
)

// consumer feeds lanes from one durable pull consumer, alone of all processes.
type consumer struct {
	js     jetstream.JetStream
	conn   *nats.Conn
	stream string
	name   string
	key    func(subject string, h nats.Header) string
	limits Limits
	logger *slog.Logger

	lanes   *lanes
	tracker *tracker
	active  atomic.Bool
	pin     string // proves to the server that messages go to this process; only run touches it
}

// Errors that end a session with the server and begin another.
var (
	errSilent   = errors.New("the server fell silent")
	errLost     = errors.New("a delivery was lost on its way")
	errUnpinned = errors.New("another process took over")
	// errRemoved ends the consumer.
	errRemoved = domain.Errorf(domain.NotFound, "the consumer was removed")
)

// spec is what a durable consumer is made with.
type spec struct {
	stream, name, filter string
	from                 uint64 // the first sequence; 1 for the beginning
	limits               Limits
	metadata             map[string]string
}

// ensureConsumer makes the durable consumer unless it is there. It reports whether it made it.
func ensureConsumer(ctx context.Context, js jetstream.JetStream, s spec) (made bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Request)
	defer cancel()
	found, err := js.Consumer(ctx, s.stream, s.name)
	switch {
	case err == nil:
		config := found.CachedInfo().Config
		if config.MaxAckPending == s.limits.Window && config.AckWait == s.limits.AckWait && config.PinnedTTL == s.limits.Takeover {
			return false, nil
		}
		config.MaxAckPending, config.AckWait, config.PinnedTTL = s.limits.Window, s.limits.AckWait, s.limits.Takeover
		_, err = js.UpdateConsumer(ctx, s.stream, config)
		return false, unavailable(err, "change consumer "+s.name)
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return false, unavailable(err, "look up consumer "+s.name)
	}
	_, err = js.CreateConsumer(ctx, s.stream, jetstream.ConsumerConfig{
		Durable:        s.name,
		Description:    "Streampost: a listener's place in the log",
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        s.limits.AckWait,
		MaxDeliver:     -1,
		MaxAckPending:  s.limits.Window,
		FilterSubject:  s.filter,
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    max(s.from, 1),
		PriorityPolicy: jetstream.PriorityPolicyPinned,
		PriorityGroups: []string{pinGroup},
		PinnedTTL:      s.limits.Takeover,
		Metadata:       s.metadata,
	})
	if errors.Is(err, jetstream.ErrConsumerExists) { // somebody else made it just now
		return false, nil
	}
	return err == nil, unavailable(err, "make consumer "+s.name)
}

// run works until ctx ends or the consumer is removed, and then waits for its lanes.
func (c *consumer) run(ctx context.Context) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	go c.keep(work)
	err := c.sessions(work)
	cancel()
	c.drain()
	if c.pin != "" {
		c.resign()
	}
	return err
}

func (c *consumer) sessions(ctx context.Context) error {
	retry := Retry{First: 50 * time.Millisecond, Max: 2 * time.Second}
	for failures := 0; ; failures++ {
		began := time.Now()
		err := c.session(ctx)
		c.active.Store(false)
		if errors.Is(err, errUnpinned) {
			c.pin = ""
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, errRemoved):
			return errRemoved
		}
		if time.Since(began) > time.Minute {
			failures = 0
		}
		c.logger.Debug("the consumer begins again", "stream", c.stream, "consumer", c.name, "err", err)
		if !sleep(ctx, retry.pause(failures+1)) {
			return nil
		}
	}
}

// drain waits for the lanes.
func (c *consumer) drain() {
	done := make(chan struct{})
	go func() { c.lanes.wg.Wait(); close(done) }()
	timer := time.NewTimer(c.limits.Drain)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		c.logger.Warn("a handler ignores that it is to stop", "stream", c.stream, "consumer", c.name)
	}
	_ = c.conn.FlushTimeout(c.limits.Request) // the acknowledgements; what is not acknowledged comes again
}

// session becomes the pinned client, sets the consumer back to what is not acknowledged, and reads until something goes wrong.
func (c *consumer) session(ctx context.Context) error {
	p, err := newPuller(c)
	if err != nil {
		return err
	}
	defer p.close()
	if c.pin == "" {
		first, err := p.receive(ctx, 1) // whoever is given one message is pinned
		if err != nil {
			c.pin = p.late()
			return err
		}
		c.pin = first.Header.Get("Nats-Pin-Id")
	}
	// What was delivered to others, or to us before a connection was lost, and not acknowledged comes first: nothing may overtake it. The message
	// that told of the pin comes again, too.
	if err := c.reset(ctx); err != nil {
		return err
	}
	c.active.Store(true)
	for next := uint64(1); ; next++ {
		m, err := p.receive(ctx, c.limits.Window) // the window is the server's: it stops when as many are not acknowledged
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != next {
			return errLost
		}
		c.take(ctx, m, meta.Sequence.Stream)
	}
}

// take gives a message to its lane.
func (c *consumer) take(ctx context.Context, m *nats.Msg, seq uint64) {
	data := m.Data
	if data == nil {
		data = []byte{}
	}
	d := &delivery{seq: seq, subject: m.Subject, header: m.Header, data: data, reply: m.Reply, touched: time.Now()}
	switch c.tracker.admit(d) {
	case fresh:
		c.lanes.add(ctx, c.key(m.Subject, m.Header), d)
	case handled:
		c.ack(d)
	}
}

func (c *consumer) ack(d *delivery) { _ = c.conn.Publish(d.replyTo(), []byte("+ACK")) } // if it is lost, the delivery comes again

// finish is what lanes do with a delivery that is handled.
func (c *consumer) finish(d *delivery) {
	c.tracker.finish(d)
	c.ack(d)
}

// load reads a message's data again.
func (c *consumer) load(ctx context.Context, d *delivery) error {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Request)
	defer cancel()
	s, err := c.js.Stream(ctx, c.stream)
	if err != nil {
		return unavailable(err, "read "+c.stream)
	}
	m, err := s.GetMsg(ctx, d.seq)
	if err != nil {
		return unavailable(err, "read "+c.stream)
	}
	d.data, d.header = m.Data, m.Header
	if d.data == nil {
		d.data = []byte{}
	}
	return nil
}

// keep extends the server's patience with slow handlers, and forgets what is settled.
func (c *consumer) keep(ctx context.Context) {
	every := c.limits.AckWait / 3
	for sleep(ctx, every) {
		now := time.Now()
		for _, reply := range c.tracker.stale(now.Add(-every), now) {
			_ = c.conn.Publish(reply, []byte("+WPI"))
		}
		if info, err := c.info(ctx); err == nil {
			c.tracker.forget(info.AckFloor.Stream)
		}
	}
}

func (c *consumer) info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Request)
	defer cancel()
	found, err := c.js.Consumer(ctx, c.stream, c.name)
	if err != nil {
		return nil, err
	}
	return found.CachedInfo(), nil
}

// pinned names the pin of whoever is given the messages; empty if nobody is. There is one group.
func pinned(info *jetstream.ConsumerInfo) string {
	for _, group := range info.PriorityGroups {
		if group.PinnedClientID != "" {
			return group.PinnedClientID
		}
	}
	return ""
}

// inherit makes what a predecessor left without acknowledgement deliverable now rather than after Limits.AckWait, if nobody is pinned.
func (c *consumer) inherit(ctx context.Context) error {
	info, err := c.info(ctx)
	if err != nil || info.NumAckPending == 0 {
		return err
	}
	if pinned(info) != "" {
		return nil
	}
	return c.reset(ctx)
}

// reset sets the consumer back to the first message that is not acknowledged.
func (c *consumer) reset(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Request)
	defer cancel()
	_, err := c.js.ResetConsumer(ctx, c.stream, c.name)
	return err
}

// resign lets somebody else go on at once. Without it the server waits for Limits.Takeover.
func (c *consumer) resign() {
	ctx, cancel := context.WithTimeout(context.Background(), c.limits.Request)
	defer cancel()
	s, err := c.js.Stream(ctx, c.stream)
	if err == nil {
		err = s.UnpinConsumer(ctx, c.name, pinGroup)
	}
	if err == nil {
		_ = c.reset(ctx) // only now: our own last request would still be served
	}
}

// puller asks the server for messages and sorts its notes from them.
type puller struct {
	c        *consumer
	sub      *nats.Subscription
	messages chan *nats.Msg
	inbox    string
	reply    string // of the present request
	requests int
	asked    int
	timer    *time.Timer
	idle     idlePin // what the last look found
}

// idlePin is a pin whose holder was given nothing though there was something to give.
type idlePin struct {
	id        string
	delivered uint64
}

func newPuller(c *consumer) (*puller, error) {
	p := &puller{c: c, messages: make(chan *nats.Msg, c.limits.Window+256), inbox: c.conn.NewInbox(), timer: time.NewTimer(time.Hour)}
	var err error
	p.sub, err = c.conn.ChanSubscribe(p.inbox+".*", p.messages)
	return p, unavailable(err, "read "+c.stream)
}

// late gives the pin that came when nobody waited for it any more: as long as it holds, nobody else is given anything.
func (p *puller) late() (pin string) {
	_ = p.sub.Drain()
	_ = p.c.conn.FlushTimeout(p.c.limits.Request)
	_, _ = p.c.info(context.Background()) // The server forgets requests that nobody waits for when it is asked about the consumer.
	for {
		select {
		case m := <-p.messages:
			if id := m.Header.Get("Nats-Pin-Id"); id != "" {
				pin = id
			}
		default:
			return pin
		}
	}
}

func (p *puller) close() {
	p.timer.Stop()
	_ = p.sub.Unsubscribe()
}

// ask puts a request for up to n messages.
func (p *puller) ask(n int) error {
	request := map[string]any{"batch": n, "expires": pullExpires, "idle_heartbeat": heartbeat, "group": pinGroup}
	if p.c.pin != "" {
		request["id"] = p.c.pin
	}
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	p.requests++
	p.reply = p.inbox + "." + strconv.Itoa(p.requests)
	p.asked = n
	return p.c.conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+p.c.stream+"."+p.c.name, p.reply, text)
}

// release takes the pin from a holder that asks for nothing while messages wait: a process that was killed, or one that left just before a message
// came, whose last request the server pinned without looking whether anybody still waits for the answer. It does so at the second look that
// finds the same. A holder that was only slow is told, and stands in line again.
func (p *puller) release() {
	ctx, cancel := context.WithTimeout(context.Background(), p.c.limits.Request)
	defer cancel()
	info, err := p.c.info(ctx)
	if err != nil {
		return
	}
	var found idlePin
	if id := pinned(info); id != "" && info.NumPending > 0 && info.NumAckPending == 0 {
		found = idlePin{id: id, delivered: info.Delivered.Consumer}
	}
	if found.id == "" || found != p.idle {
		p.idle = found
		return
	}
	p.idle = idlePin{}
	if s, err := p.c.js.Stream(ctx, p.c.stream); err == nil {
		err = s.UnpinConsumer(ctx, p.c.name, pinGroup)
		p.c.logger.Info("a consumer is taken over from a process that asks for nothing", "stream", p.c.stream, "consumer", p.c.name, "err", err)
	}
}

// receive gives the next message, and asks for up to n when none is to come.
func (p *puller) receive(ctx context.Context, n int) (*nats.Msg, error) {
	for {
		if p.asked == 0 {
			if p.c.pin == "" {
				if err := p.c.inherit(ctx); err != nil {
					return nil, err
				}
			}
			if err := p.ask(n); err != nil {
				return nil, err
			}
		}
		p.timer.Reset(2*heartbeat + time.Second)
		select {
		case m := <-p.messages:
			if strings.HasPrefix(m.Reply, "$JS.ACK.") {
				p.asked--
				return m, nil
			}
			if err := p.note(m); err != nil {
				return nil, err
			}
		case <-p.timer.C:
			return nil, errSilent
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// note reads what the server says beside messages.
func (p *puller) note(m *nats.Msg) error {
	switch m.Header.Get("Status") {
	case "100": // a heartbeat
		if p.c.pin == "" {
			p.release()
		}
		return nil
	case "423":
		return errUnpinned
	case "404", "408", "409":
		if strings.Contains(m.Header.Get("Description"), "Consumer Deleted") {
			return errRemoved
		}
		if m.Subject == p.reply {
			p.asked = 0
		}
		return nil
	case "503": // nobody listens there: the consumer is gone, or its server
		if _, err := p.c.info(context.Background()); errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			return errRemoved
		}
	}
	return errSilent
}

// unavailable wraps an error of the NATS client; nil stays nil.
func unavailable(err error, doing string) error {
	if err == nil {
		return nil
	}
	return domain.Wrap(domain.Unavailable, err, doing)
}
