package replicas

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/mailboxes"
)

// question asks a node where its rows of some accounts stand.
type question struct {
	Accounts  []domain.AccountID `json:"accounts,omitempty"`
	Mailboxes bool               `json:"mailboxes,omitempty"` // tell the digests of mailboxes too
}

// answer is what a node says of itself and its rows.
type answer struct {
	Witness  bool                          `json:"witness,omitempty"` // it has no rows and never will
	Views    map[string]view               `json:"views,omitempty"`   // by stream
	Accounts map[domain.AccountID]standing `json:"accounts,omitempty"`
}

// view is how far a node's rows have come in a stream.
type view struct {
	Cursor  domain.Seq        `json:"cursor"`
	Head    domain.Seq        `json:"head"` // of the log; 0 when the node does not reach it, or when it is empty
	Lag     uint64            `json:"lag"`  // entries
	Seconds float64           `json:"seconds"`
	Rate    float64           `json:"rate,omitempty"` // entries a second that were applied lately; 0 when nobody looked
	State   projections.State `json:"state"`
	Error   string            `json:"error,omitempty"`
	// Unread is why the rows of accounts could not be read: what the answer lacks, or tells, of accounts of this stream is no word on them.
	Unread string `json:"unread,omitempty"`
}

// reaches tells whether the node reaches the log.
func (v *view) reaches() bool { return v.Head > 0 || v.Error == "" }

// standing is where rows of an account stand.
type standing struct {
	Tx        domain.Tx                           `json:"tx"`
	Hash      string                              `json:"hash"` // of the entry there, hexadecimal
	Email     domain.EmailID                      `json:"email"`
	Erased    bool                                `json:"erased,omitempty"`
	Owes      bool                                `json:"owes,omitempty"` // the index lacks messages that came while it was paused
	Digest    account.Digest                      `json:"digest"`
	Mailboxes map[domain.MailboxID]account.Digest `json:"mailboxes,omitempty"`
}

// Local is one node's own rows.
type Local struct {
	Log    Log
	Runner *projections.Runner
	// Check looks at what a replica here needs: the log, the blobs, the keys.
	Check func(ctx context.Context) Health
	// Owes tells whether the node's index of words lacks messages of an account that came while it was paused. It may be nil.
	Owes func(id domain.AccountID) bool

	mu   sync.Mutex
	seen map[string]sample // by stream
}

// sample is where a view stood at a time, and how fast it came there.
type sample struct {
	at     time.Time
	cursor domain.Seq
	rate   float64
}

// How a rate is measured: from two looks that are neither too close nor too far apart.
const (
	shortest = 200 * time.Millisecond
	longest  = 10 * time.Second
	headTime = 700 * time.Millisecond // that the log has to tell where it ends
)

// Answer has the node answer the questions of package replicas.
func (l *Local) Answer(n Nodes) error {
	if err := n.Reply(askStanding, func(ctx context.Context, text json.RawMessage) (any, error) {
		var q question
		if err := json.Unmarshal(text, &q); err != nil {
			return nil, domain.Wrap(domain.Invalid, err, "read a question of another node")
		}
		return l.stand(ctx, q)
	}); err != nil {
		return err
	}
	return n.Reply(askHealth, func(ctx context.Context, _ json.RawMessage) (any, error) { return l.Check(ctx), nil })
}

// stand tells where rows stand. The rows of an account show at least what the cursor of their stream says.
func (l *Local) stand(ctx context.Context, q question) (answer, error) {
	a := answer{Views: map[string]view{}, Accounts: map[domain.AccountID]standing{}}
	byStream := map[string][]domain.AccountID{}
	for _, id := range q.Accounts {
		stream := l.Log.StreamOf(id)
		byStream[stream] = append(byStream[stream], id)
	}
	if len(byStream) == 0 {
		return a, nil
	}
	a.Views = l.views(ctx)
	for stream, ids := range byStream {
		r, err := l.Runner.Reader(stream, mailboxes.Name)
		if err == nil {
			err = l.rows(ctx, r, ids, q.Mailboxes, a.Accounts)
		}
		if v, has := a.Views[stream]; has && err != nil {
			v.Unread = err.Error()
			a.Views[stream] = v
		}
	}
	return a, nil
}

func (l *Local) rows(ctx context.Context, r projections.Reader, ids []domain.AccountID, boxes bool, into map[domain.AccountID]standing) error {
	return r.Snapshot(ctx, func(r projections.Reader) error {
		all, err := mailboxes.Standings(ctx, r, ids)
		for _, s := range all {
			one := standing{Tx: s.At.Tx, Hash: hex.EncodeToString(s.At.Hash[:]), Email: s.Email, Erased: s.Erased, Digest: s.Digest}
			one.Owes = l.Owes != nil && l.Owes(s.Account)
			if boxes {
				digests, err := mailboxes.Digests(ctx, r, s.Account)
				if err != nil {
					return err
				}
				if len(digests) > 0 {
					one.Mailboxes = digests[0].Mailboxes
				}
			}
			into[s.Account] = one
		}
		return err
	})
}

// views tells how far the rows have come, and how fast they do where they are behind.
func (l *Local) views(ctx context.Context) map[string]view {
	all := l.look(ctx)
	if l.measure(all) {
		return all
	}
	if err := projections.Pause(ctx, shortest); err != nil {
		return all
	}
	all = l.look(ctx)
	l.measure(all)
	return all
}

func (l *Local) look(ctx context.Context) map[string]view {
	ctx, cancel := context.WithTimeout(ctx, headTime)
	defer cancel()
	all := map[string]view{}
	for _, s := range l.Runner.Status(ctx) {
		if s.Name == mailboxes.Name && s.Serves() {
			all[s.Stream] = view{Cursor: s.Cursor, Head: s.Head, Lag: s.LagEntries, Seconds: s.LagSeconds, State: s.State, Error: s.Error}
		}
	}
	return all
}

// measure fills in the rates of views that are behind. It tells whether they are known.
func (l *Local) measure(all map[string]view) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]sample{}
	}
	known, now := true, time.Now()
	for stream, v := range all {
		s, took := l.seen[stream], now.Sub(l.seen[stream].at)
		switch {
		case v.Lag == 0 || took > longest || v.Cursor < s.cursor:
			s = sample{at: now, cursor: v.Cursor}
			known = known && v.Lag == 0
		case took >= shortest:
			s = sample{now, v.Cursor, float64(v.Cursor-s.cursor) / took.Seconds()}
		default:
			known = known && s.rate > 0
		}
		l.seen[stream], v.Rate = s, s.rate
		all[stream] = v
	}
	return known
}
