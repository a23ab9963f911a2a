package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

const (
	// heartbeat is how often the server shows that it is still there while it has nothing to deliver.
	heartbeat = 2 * time.Second
	// pullExpires bounds one request for messages, after which it is renewed.
	pullExpires = 30 * time.Second
	// inactive is when the server drops a consumer that nobody asks.
	inactive = 2 * time.Minute
)

// raw is a message as the stream holds it.
type raw struct {
	seq     domain.Seq
	pending uint64 // messages that follow it for this reader, when it was sent
	subject string
	written time.Time
	data    []byte
}

// fetcher reads messages in order, from the server's consumer, which it asks for a bounded number at a time.
type fetcher struct {
	log      *Log
	sub      *nats.Subscription
	messages chan *nats.Msg
	next     string // the subject that asks for more
	request  []byte
	inbox    string
	reply    string     // of the present request, by which its end is told from an earlier one's
	requests int        // made so far
	asked    int        // messages that the present request may still bring; 0 without one
	sent     domain.Seq // as of the last heartbeat, how far the server believes to have delivered
	timer    *time.Timer
	stop     func()
}

var (
	// errStale says that the consumer is gone or silent, and reading goes on with another.
	errStale = errors.New("the reader of the log lost its server")
	// errIdle says that the server is there and has nothing to deliver.
	errIdle = errors.New("nothing to read")
)

// fetch begins to read a stream at a sequence; filter restricts it to one subject.
func (l *Log) fetch(ctx context.Context, s *stream, from domain.Seq, filter string) (*fetcher, error) {
	once, cancel := context.WithTimeout(ctx, l.cfg.Limits.Request)
	defer cancel()
	consumer, err := s.handle.CreateConsumer(once, jetstream.ConsumerConfig{
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(from),
		FilterSubject:     filter,
		InactiveThreshold: inactive,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return nil, unavailable(err, "read "+s.name)
	}
	name := consumer.CachedInfo().Name
	limits := &l.cfg.Limits
	f := &fetcher{
		log:      l,
		messages: make(chan *nats.Msg, limits.Fetch+64), // what is asked for, and notes
		next:     "$JS.API.CONSUMER.MSG.NEXT." + s.name + "." + name,
		inbox:    l.cfg.Conn.NewInbox(),
		timer:    time.NewTimer(time.Hour),
	}
	f.request, err = json.Marshal(map[string]any{
		"batch": limits.Fetch, "max_bytes": limits.FetchMax, "expires": pullExpires, "idle_heartbeat": heartbeat,
	})
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "read "+s.name)
	}
	if f.sub, err = l.cfg.Conn.ChanSubscribe(f.inbox+".*", f.messages); err != nil {
		return nil, unavailable(err, "read "+s.name)
	}
	f.stop = func() {
		f.timer.Stop()
		_ = f.sub.Unsubscribe()
		// The server drops the consumer by itself if this does not reach it.
		_ = l.cfg.Conn.Publish("$JS.API.CONSUMER.DELETE."+s.name+"."+name, nil)
	}
	return f, nil
}

// ready takes a message that has arrived already; nil when there is none.
func (f *fetcher) ready() (*raw, error) {
	for {
		select {
		case m := <-f.messages:
			if r, err := f.accept(m); r != nil || err != nil {
				return r, err
			}
		default:
			return nil, nil
		}
	}
}

// wait takes the next message. Errors: errIdle about every heartbeat without one, errStale, ctx's.
func (f *fetcher) wait(ctx context.Context) (*raw, error) {
	for {
		if f.asked == 0 {
			f.requests++
			f.reply = f.inbox + "." + strconv.Itoa(f.requests)
			if err := f.log.cfg.Conn.PublishRequest(f.next, f.reply, f.request); err != nil {
				return nil, errStale
			}
			f.asked = f.log.cfg.Limits.Fetch
		}
		f.timer.Reset(2*heartbeat + time.Second)
		select {
		case m, open := <-f.messages:
			if !open {
				return nil, errStale
			}
			if r, err := f.accept(m); r != nil || err != nil {
				return r, err
			}
		case <-f.timer.C:
			return nil, errStale
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// accept sorts out the server's notes from the messages.
func (f *fetcher) accept(m *nats.Msg) (*raw, error) {
	if m.Reply == "" || !strings.HasPrefix(m.Reply, "$JS.ACK.") {
		switch m.Header.Get("Status") {
		case "100": // a heartbeat
			sent, _ := strconv.ParseUint(m.Header.Get("Nats-Last-Stream"), 10, 64)
			f.sent = domain.Seq(sent)
			return nil, errIdle
		case "404", "408", "409":
			if strings.Contains(m.Header.Get("Description"), "Consumer") {
				return nil, errStale // deleted, or its server is leaving
			}
			if m.Subject == f.reply {
				f.asked = 0 // the request has ended before it brought all
			}
			return nil, nil
		default:
			return nil, errStale
		}
	}
	f.asked--
	r, err := parseReply(m.Reply)
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "read the log")
	}
	r.subject, r.data, r.written = m.Subject, m.Data, writtenAt(m.Header, r.written)
	return r, nil
}

// parseReply takes the stream sequence, the time and the number of pending messages out of a delivered message's reply subject:
// $JS.ACK.stream.consumer.delivered.seq.cseq.time.pending, or with domain and account hash in front of the stream.
func parseReply(reply string) (*raw, error) {
	var tokens [16]string
	n := 0
	for token := range strings.SplitSeq(reply, ".") {
		if n < len(tokens) {
			tokens[n] = token
			n++
		}
	}
	at := 5
	switch {
	case n == 9:
	case n >= 11:
		at = 7
	default:
		return nil, fmt.Errorf("cannot read %q", reply)
	}
	seq, err := strconv.ParseUint(tokens[at], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", reply, err)
	}
	written, err := strconv.ParseInt(tokens[at+2], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", reply, err)
	}
	pending, err := strconv.ParseUint(tokens[at+3], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", reply, err)
	}
	return &raw{seq: domain.Seq(seq), written: time.Unix(0, written), pending: pending}, nil
}
