package streams

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// deposed is a stream of three replicas, one of whose servers led it until it was stopped. Going on, it answers questions and refuses
// publications by what it has, until it learns that another leads. That other takes and acknowledges, but is heard later.
type deposed struct {
	jetstream.Stream
	had, has []jetstream.RawStreamMsg // on the two servers
	answers  int                      // that the deposed one still gives
}

func (d *deposed) CachedInfo() *jetstream.StreamInfo {
	return &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "ACCOUNTS_0", Replicas: 3}}
}

// messages is what the server has that answers next.
func (d *deposed) messages() []jetstream.RawStreamMsg {
	if d.answers > 0 {
		d.answers--
		return d.had
	}
	return d.has
}

func (d *deposed) GetLastMsgForSubject(context.Context, string) (*jetstream.RawStreamMsg, error) {
	if all := d.messages(); len(all) > 0 {
		return &all[len(all)-1], nil
	}
	return nil, jetstream.ErrMsgNotFound
}

func (d *deposed) GetMsg(_ context.Context, from uint64, _ ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	for _, m := range d.messages() {
		if m.Sequence >= from {
			return &m, nil
		}
	}
	return nil, jetstream.ErrMsgNotFound
}

var errExpectsAnother = &jetstream.APIError{Code: 400, ErrorCode: codeWrongLastSequence}

// refuser is what a publication meets that is repeated: the deposed server expects another sequence, and is heard first.
type refuser struct{ jetstream.JetStream }

func (refuser) PublishMsgAsync(*nats.Msg, ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	return refused{}, nil
}

type refused struct{ jetstream.PubAckFuture }

func (refused) Ok() <-chan *jetstream.PubAck { return nil }

func (refused) Err() <-chan error {
	answer := make(chan error, 1)
	answer <- errExpectsAnother
	return answer
}

// settleBehind settles a publication that expects the third of three messages, of which the deposed server has as many as had says.
func settleBehind(t *testing.T, had, answers int, stored ...string) (seq domain.Seq, err error) {
	synctest.Test(t, func(t *testing.T) {
		s := &deposed{answers: answers}
		for i, data := range append([]string{"one", "two", "three"}, stored...) {
			s.has = append(s.has, jetstream.RawStreamMsg{Subject: "acct.a", Sequence: uint64(i) + 1, Data: []byte(data)})
		}
		s.had = s.has[:had]
		l := &Log{js: refuser{}, cfg: Config{Limits: Limits{}.withDefaults()}}
		p := newPublication(s, "acct.a", 3, [16]byte{}, []byte("mine"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		err = l.settle(ctx, p, errExpectsAnother)
		seq = p.seq
	})
	return seq, err
}

// TestADeposedLeaderSettlesNothing: a server that was left behind refuses a publication which its successor stored. Taking its word for a
// conflict would have the caller decide again and append what is in the log already.
func TestADeposedLeaderSettlesNothing(t *testing.T) {
	for had := range 4 {
		for _, answers := range []int{0, 1, 2, 3, 5} {
			if seq, err := settleBehind(t, had, answers, "mine"); err != nil || seq != 4 {
				t.Errorf("with %d of 3 messages on a server that answers %d times: sequence %d, %v", had, answers, seq, err)
			}
			if _, err := settleBehind(t, had, answers, "another's"); !domain.Is(err, domain.Conflict) {
				t.Errorf("with %d of 3 messages on a server that answers %d times, another's message was stored: %v", had, answers, err)
			}
		}
	}
}

// TestALogThatStaysBehind: nobody knows then whether the publication is in the log.
func TestALogThatStaysBehind(t *testing.T) {
	_, err := settleBehind(t, 2, 1<<30)
	if !domain.Is(err, domain.Unavailable) {
		t.Errorf("the outcome is %v", err)
	}
}
