package archive

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// Turn sees to it that one node at a time writes to the archive: the one whose name is the last in a stream of one message, which it renews. Another takes it
// over when it has seen the same message for the whole of Lease, by its own clock; by then the one that left it has stopped, because it asks
// again before each batch, and what it writes without asking is bounded by half of that. The append check of the stream decides between two that try at once.
type Turn struct {
	cfg TurnConfig

	handle jetstream.Stream
	seen   uint64    // the sequence of the last message
	since  time.Time // when it was first seen
	mine   bool      // it is ours
}

// TurnConfig says between whom.
type TurnConfig struct {
	JetStream jetstream.JetStream
	Stream    string // its name
	Subject   string
	Replicas  int
	Node      string        // this one's name
	Lease     time.Duration // 30 s if zero
	Now       func() time.Time
}

// NewTurn makes a Turn.
func NewTurn(cfg TurnConfig) *Turn {
	orElse(&cfg.Lease, 30*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Turn{cfg: cfg}
}

// holder is what the message says.
type holder struct {
	Node string `json:"node"`
}

// Take takes the turn or keeps it, and tells until when it may be used without asking again. Error: domain.Unavailable.
func (t *Turn) Take(ctx context.Context) (until time.Time, mine bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Lease/6)
	defer cancel()
	began := t.cfg.Now()
	if err := t.open(ctx); err != nil {
		return until, false, err
	}
	m, err := t.handle.GetLastMsgForSubject(ctx, t.cfg.Subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		m = &jetstream.RawStreamMsg{}
	case err != nil:
		return until, false, domain.Wrap(domain.Unavailable, err, "see who archives the log")
	}
	if m.Sequence != t.seen {
		t.seen, t.since, t.mine = m.Sequence, began, false
	}
	var last holder
	_ = json.Unmarshal(m.Data, &last) // what nobody can read is nobody's
	if last.Node != "" && last.Node != t.cfg.Node && !t.mine && began.Sub(t.since) < t.cfg.Lease {
		return until, false, nil
	}
	if err := t.publish(ctx, holder{t.cfg.Node}); err != nil {
		var refused *jetstream.APIError
		if errors.As(err, &refused) && refused.Code == 400 { // another was first
			t.mine = false
			return until, false, nil
		}
		return until, false, domain.Wrap(domain.Unavailable, err, "take the turn to archive the log")
	}
	t.mine, t.since = true, began
	return began.Add(t.cfg.Lease / 2), true, nil
}

// Hold is Take where an answer that is younger than a sixth of Lease does, so that it may be called often.
func (t *Turn) Hold(ctx context.Context) (until time.Time, mine bool, err error) {
	if t.mine && t.cfg.Now().Sub(t.since) < t.cfg.Lease/6 {
		return t.since.Add(t.cfg.Lease / 2), true, nil
	}
	return t.Take(ctx)
}

// Yield lets the next one take the turn at once.
func (t *Turn) Yield(ctx context.Context) {
	if t.mine {
		_ = t.publish(ctx, holder{}) // else another takes it when its time is over
		t.mine = false
	}
}

func (t *Turn) publish(ctx context.Context, h holder) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	ack, err := t.cfg.JetStream.PublishMsg(ctx, &nats.Msg{
		Subject: t.cfg.Subject, Data: text,
		Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: []string{strconv.FormatUint(t.seen, 10)}},
	})
	if err == nil {
		t.seen = ack.Sequence
	}
	return err
}

// open finds the stream, or makes it.
func (t *Turn) open(ctx context.Context) (err error) {
	if t.handle != nil {
		return nil
	}
	t.handle, err = t.cfg.JetStream.Stream(ctx, t.cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		t.handle, err = t.cfg.JetStream.CreateStream(ctx, jetstream.StreamConfig{
			Name: t.cfg.Stream, Description: "Streampost: which node archives the log.", Subjects: []string{t.cfg.Subject}, Replicas: max(t.cfg.Replicas, 1),
			Storage: jetstream.FileStorage, MaxMsgsPerSubject: 1, MaxBytes: -1, MaxMsgs: -1,
		})
	}
	if err != nil {
		t.handle = nil
		return domain.Wrap(domain.Unavailable, err, "find out who archives the log")
	}
	return nil
}
