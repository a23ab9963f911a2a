package listen

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// Letter is a dead letter: an entry that a listener could not handle. It refers to the log and never holds content.
type Letter struct {
	ID       uint64           `json:"id"` // its place among all dead letters; another after each failed redelivery
	Listener string           `json:"listener"`
	Account  domain.AccountID `json:"account"`
	Stream   string           `json:"stream"`
	Seq      domain.Seq       `json:"seq"`
	Tx       domain.Tx        `json:"tx"`
	Cause    string           `json:"cause"` // the last error, at most 500 octets
	Attempts int              `json:"attempts"`
	First    time.Time        `json:"first"` // attempt that failed
	Last     time.Time        `json:"last"`
}

// maxCause bounds the cause of a letter, in octets.
const maxCause = 500

// Filter selects dead letters. The zero Filter selects all.
type Filter struct {
	Listener string           `json:"listener,omitempty"` // an id
	Account  domain.AccountID `json:"account,omitempty"`
	Cause    string           `json:"cause,omitempty"` // part of it, in any case
	Before   time.Time        `json:"before,omitzero"` // last failed before this
	After    time.Time        `json:"after,omitzero"`  // last failed at or after this
}

func (f *Filter) fits(l *Letter) bool {
	return (f.Cause == "" || strings.Contains(strings.ToLower(l.Cause), strings.ToLower(f.Cause))) &&
		(f.Before.IsZero() || l.Last.Before(f.Before)) && !l.Last.Before(f.After)
}

// whole says that a filter selects by subject alone.
func (f *Filter) whole() bool { return f.Cause == "" && f.Before.IsZero() && f.After.IsZero() }

func (f *Filter) check() error {
	if f.Listener != "" && !groupForm(f.Listener) {
		return domain.Errorf(domain.Invalid, "%q is not the id of a listener, such as opensearch-1", f.Listener)
	}
	if f.Account != "" {
		_, err := domain.ParseAccountID(string(f.Account))
		return err
	}
	return nil
}

func groupForm(id string) bool { return listenerForm.MatchString(id) }

// letters is the stream of dead letters.
type letters struct {
	in     *Listeners
	name   string
	prefix string // of its subjects
	handle jetstream.Stream

	adding chan *addition
	stop   context.CancelFunc
	done   chan struct{}
	closed sync.Once
}

type addition struct {
	letter Letter
	done   chan error
}

func openLetters(ctx context.Context, in *Listeners) (*letters, error) {
	s := &letters{in: in, name: in.topo.Stream("DEADLETTERS"), prefix: in.topo.Subject("deadletters."), adding: make(chan *addition), done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, in.cfg.Limits.Request)
	defer cancel()
	var err error
	if s.handle, err = in.js.Stream(ctx, s.name); errors.Is(err, jetstream.ErrStreamNotFound) {
		s.handle, err = in.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: s.name, Description: "Streampost: dead letters of listeners", Subjects: []string{s.prefix + "*.*"}, Storage: jetstream.FileStorage,
			Replicas: max(in.topo.Replicas, 1), Discard: jetstream.DiscardNew,
		})
		if err == nil {
			err = s.sync(ctx)
		}
	}
	if err != nil {
		return nil, unavailable(err, "open stream "+s.name)
	}
	var running context.Context
	running, s.stop = context.WithCancel(context.Background())
	go s.commit(running)
	return s, nil
}

func (s *letters) close(ctx context.Context) error {
	s.closed.Do(s.stop)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return unavailable(ctx.Err(), "stop listeners")
	}
}

// sync makes the stream durable. Letters are also deleted, so all its files count.
func (s *letters) sync(ctx context.Context) error {
	if s.in.cfg.Syncer == nil {
		return nil
	}
	return s.in.cfg.Syncer.SyncAll(ctx, s.name)
}

// add stores a letter durably. The same letter within two minutes is stored once.
func (s *letters) add(ctx context.Context, l Letter) error {
	if len(l.Cause) > maxCause {
		l.Cause = strings.ToValidUTF8(l.Cause[:maxCause], "")
	}
	a := &addition{letter: l, done: make(chan error, 1)}
	select {
	case s.adding <- a:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return errClosed
	}
	select {
	case err := <-a.done:
		return err
	case <-s.done:
		return errClosed
	}
}

// maxRound is how many letters share one sync.
const maxRound = 512

// commit stores what waits together and syncs once.
func (s *letters) commit(ctx context.Context) {
	defer close(s.done)
	for {
		var round []*addition
		select {
		case a := <-s.adding:
			round = append(round, a)
		case <-ctx.Done():
			return
		}
	gather:
		for len(round) < maxRound {
			select {
			case a := <-s.adding:
				round = append(round, a)
			default:
				break gather
			}
		}
		outcomes := make([]error, len(round))
		futures := make([]jetstream.PubAckFuture, len(round))
		for i, a := range round {
			futures[i], outcomes[i] = s.publish(&a.letter)
		}
		timer := time.NewTimer(s.in.cfg.Limits.Request)
		for i, f := range futures {
			if outcomes[i] != nil {
				continue
			}
			select {
			case <-f.Ok():
			case outcomes[i] = <-f.Err():
			case <-timer.C:
				outcomes[i] = context.DeadlineExceeded
				timer.Reset(0)
			}
		}
		timer.Stop()
		err := s.sync(context.WithoutCancel(ctx))
		for i, a := range round {
			a.done <- cmp.Or(unavailable(outcomes[i], "write a dead letter"), err)
		}
	}
}

func (s *letters) publish(l *Letter) (jetstream.PubAckFuture, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("%s/%s/%d/%d", l.Listener, l.Stream, l.Seq, l.Attempts)
	return s.in.js.PublishAsync(s.subject(l.Listener, l.Account), text, jetstream.WithMsgID(id))
}

// subject is where the letters of a listener and an account are; empty means any.
func (s *letters) subject(listener string, account domain.AccountID) string {
	return s.prefix + cmp.Or(listener, "*") + "." + cmp.Or(string(account), "*")
}

// next reads the first letter at or after an id; nil when there is none. A message that is no letter is given with its subject and id alone.
func (s *letters) next(ctx context.Context, from uint64, subject string) (*Letter, error) {
	ctx, cancel := context.WithTimeout(ctx, s.in.cfg.Limits.Request)
	defer cancel()
	m, err := s.handle.GetMsg(ctx, max(from, 1), jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable(err, "read dead letters")
	}
	return s.read(m), nil
}

func (s *letters) read(m *jetstream.RawStreamMsg) *Letter {
	l := &Letter{}
	if err := json.Unmarshal(m.Data, l); err != nil {
		*l = Letter{Cause: "this dead letter cannot be read: drop it"}
	}
	listener, account, _ := strings.Cut(strings.TrimPrefix(m.Subject, s.prefix), ".")
	l.ID, l.Listener, l.Account = m.Sequence, listener, domain.AccountID(account)
	return l
}

// one reads the letter with an id. Errors: domain.NotFound.
func (s *letters) one(ctx context.Context, id uint64) (*Letter, error) {
	ctx, cancel := context.WithTimeout(ctx, s.in.cfg.Limits.Request)
	defer cancel()
	m, err := s.handle.GetMsg(ctx, id)
	if errors.Is(err, jetstream.ErrMsgNotFound) || id == 0 {
		return nil, domain.Errorf(domain.NotFound, "there is no dead letter %d", id)
	}
	if err != nil {
		return nil, unavailable(err, "read dead letters")
	}
	return s.read(m), nil
}

// remove deletes a letter. One that is gone is no error.
func (s *letters) remove(ctx context.Context, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, s.in.cfg.Limits.Request)
	defer cancel()
	if err := s.handle.DeleteMsg(ctx, id); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return unavailable(err, "remove a dead letter")
	}
	return nil
}

// purge deletes all letters of a listener, of an account or of both; empty means any.
func (s *letters) purge(ctx context.Context, listener string, account domain.AccountID) error {
	once, cancel := context.WithTimeout(ctx, s.in.cfg.Limits.Request)
	defer cancel()
	if err := s.handle.Purge(once, jetstream.WithPurgeSubject(s.subject(listener, account))); err != nil {
		return unavailable(err, "drop dead letters")
	}
	return s.sync(ctx)
}

// counts gives the number of letters for each subject that fits, and the last id.
func (s *letters) counts(ctx context.Context, f *Filter) (map[string]uint64, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.in.cfg.Limits.Request)
	defer cancel()
	info, err := s.handle.Info(ctx, jetstream.WithSubjectFilter(s.subject(f.Listener, f.Account)))
	if err != nil {
		return nil, 0, unavailable(err, "count dead letters")
	}
	return info.State.Subjects, info.State.LastSeq, nil
}

// Group is the dead letters of one listener.
type Group struct {
	Listener string    `json:"listener"`
	Count    uint64    `json:"count"`
	Accounts int       `json:"accounts"`
	Oldest   time.Time `json:"oldest"`  // first failure of the letter that was stored first
	Running  bool      `json:"running"` // whether this process runs the listener, so that it can redeliver
}

// Groups lists the listeners that have dead letters. Counts come from the stream's index; no letter is read but the oldest of each group.
func (l *Listeners) Groups(ctx context.Context) ([]Group, error) {
	counts, _, err := l.letters.counts(ctx, &Filter{})
	if err != nil {
		return nil, err
	}
	groups := map[string]*Group{}
	for subject, n := range counts {
		listener, _, _ := strings.Cut(strings.TrimPrefix(subject, l.letters.prefix), ".")
		g := groups[listener]
		if g == nil {
			g = &Group{Listener: listener, Running: l.find(listener) != nil}
			groups[listener] = g
		}
		g.Count += n
		g.Accounts++
	}
	list := make([]Group, 0, len(groups))
	for _, g := range groups {
		first, err := l.letters.next(ctx, 1, l.letters.subject(g.Listener, ""))
		if err != nil {
			return nil, err
		}
		if first != nil {
			g.Oldest = first.First
		}
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b Group) int { return strings.Compare(a.Listener, b.Listener) })
	return list, nil
}

// Count is the number of all dead letters.
func (l *Listeners) Count(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Limits.Request)
	defer cancel()
	info, err := l.letters.handle.Info(ctx)
	if err != nil {
		return 0, unavailable(err, "count dead letters")
	}
	return info.State.Msgs, nil
}
