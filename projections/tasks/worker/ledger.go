package worker

import (
	"context"
	random "crypto/rand"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/streams"
)

// ledger is the log of tasks together with the state that it folds to. The state begins with the view's, if there is one, and with nothing
// otherwise; the rest comes from the log. So a start costs as much as there are open tasks, and a broken view costs a longer one only.
//
// Locking: writing is held by the one who appends; mu guards what is below it and is never held across I/O.
type ledger struct {
	cfg     Config
	stream  string
	writing sync.Mutex

	mu      sync.Mutex
	state   *task.State // nil while it is not known
	at      streams.Position
	err     error         // why it is not known
	changed chan struct{} // closed when any of these changes
}

func newLedger(c Config) *ledger {
	return &ledger{cfg: c, stream: c.Log.StreamOf(domain.TasksID), changed: make(chan struct{})}
}

// tell wakes whoever waits for a change. The caller holds mu.
func (l *ledger) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// load makes the state known.
func (l *ledger) load(ctx context.Context) error {
	state, at, err := l.fromView(ctx)
	if err != nil {
		l.cfg.Logger.Warn("the view of tasks cannot be read: the whole log of tasks is", "error", err)
		state, at = task.New(), streams.Position{}
	}
	for e, err := range l.cfg.Log.ReadAccount(ctx, domain.TasksID, at.Seq) {
		if err != nil {
			return err
		}
		if err := fold(state, at, &e); err != nil {
			return err
		}
		at = e.Position()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.at, l.err = state, at, nil
	l.tell()
	return nil
}

// fromView gives the state that the view stands for, wherever it is.
func (l *ledger) fromView(ctx context.Context) (*task.State, streams.Position, error) {
	waiting, cancel := context.WithTimeout(ctx, l.cfg.Limits.View)
	defer cancel()
	if err := l.cfg.View.Wait(waiting, 0); err != nil {
		return nil, streams.Position{}, err
	}
	r, err := l.cfg.View.Reader()
	if err != nil {
		return nil, streams.Position{}, err
	}
	state, at, err := tasks.Load(ctx, r)
	if err == nil {
		err = l.has(ctx, at)
	}
	return state, at, err
}

// has makes sure of a position that rows name: what is appended to one that the log does not have would spoil it.
func (l *ledger) has(ctx context.Context, at streams.Position) error {
	if at == (streams.Position{}) {
		return nil
	}
	if at.Seq > 0 {
		for e, err := range l.cfg.Log.ReadAccount(ctx, domain.TasksID, at.Seq-1) {
			if err != nil {
				return err
			}
			if e.Position() == at {
				return nil
			}
			break
		}
	}
	return &projections.Damage{Account: domain.TasksID, What: fmt.Sprintf("it stands at transaction %d, position %d, which is not in the log", at.Tx, at.Seq)}
}

// drop makes the state unknown.
func (l *ledger) drop(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.err = nil, why
	l.tell()
}

// fold applies an entry that must follow on at.
func fold(state *task.State, at streams.Position, e *streams.Entry) (err error) {
	if err := projections.Link(at, e); err != nil {
		return err
	}
	if e.Transaction == nil {
		return domain.Errorf(domain.Corrupt, "the key of tasks is gone: transaction %d cannot be read", e.Tx)
	}
	defer func() {
		if r := recover(); r != nil {
			err = domain.Wrap(domain.Corrupt, fmt.Errorf("transaction %d, position %d: %v", e.Tx, e.Seq, r), "the log of tasks contradicts itself")
		}
	}()
	for _, fact := range e.Transaction.Events {
		state.Apply(e.Tx, fact)
	}
	return nil
}

// observe folds an entry unless that was done already.
func (l *ledger) observe(e *streams.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == nil || e.Tx <= l.at.Tx {
		return l.err
	}
	if err := fold(l.state, l.at, e); err != nil {
		l.state, l.err = nil, err // which may be half folded
		l.tell()
		return err
	}
	l.at = e.Position()
	l.tell()
	return nil
}

// follow folds what any node appends until ctx ends or something is wrong, and calls told after every batch.
func (l *ledger) follow(ctx context.Context, told func()) error {
	l.mu.Lock()
	after := l.at.Seq
	l.mu.Unlock()
	return l.cfg.Log.Follow(ctx, l.stream, after, func(entries []streams.Entry) error {
		for i := range entries {
			if err := l.observe(&entries[i]); err != nil {
				return err
			}
		}
		told()
		return nil
	})
}

// catchUp folds what is in the log now and tells whether a transaction is among it.
func (l *ledger) catchUp(ctx context.Context, after domain.Seq, id [16]byte) (found bool, err error) {
	for e, err := range l.cfg.Log.ReadAccount(ctx, domain.TasksID, after) {
		if err != nil {
			return found, err
		}
		if err := l.observe(&e); err != nil {
			return found, err
		}
		found = found || e.Transaction != nil && e.Transaction.ID == id
	}
	return found, nil
}

// A decision is made again that often because others appended first, after a pause of random length, so that two nodes do not stay in step.
const (
	attempts   = 100
	longestGap = 50 * time.Millisecond
)

// do decides a command and returns when what it gives is in the log. refused is the aggregate's no; err says that the log could not be used,
// and then nobody knows yet whether the command has happened.
func (l *ledger) do(ctx context.Context, actor string, c task.Command) (refused, err error) {
	return l.decide(ctx, actor, func(s *task.State) ([]event.Event, error) { return task.Decide(s, c) })
}

func (l *ledger) decide(ctx context.Context, actor string, decide func(*task.State) ([]event.Event, error)) (refused, err error) {
	if err := l.known(ctx); err != nil {
		return nil, err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	for n := range attempts {
		l.mu.Lock()
		if l.state == nil {
			defer l.mu.Unlock()
			return nil, l.unknown()
		}
		at := l.at
		events, refusal := decide(l.state)
		l.mu.Unlock()
		if refusal != nil || len(events) == 0 {
			return refusal, nil
		}
		t := &event.Transaction{At: l.cfg.Clock().UnixMilli(), Actor: actor, Events: events}
		_, _ = random.Read(t.ID[:]) // never fails, see crypto/rand
		pos, err := l.cfg.Log.Append(ctx, domain.TasksID, at, t)
		if err == nil && pos.Tx == at.Tx+1 {
			_ = l.observe(&streams.Entry{ // if the state went meanwhile, it is loaded with this entry
				Stream: l.stream, Seq: pos.Seq, Account: domain.TasksID, Tx: pos.Tx, Prev: at.Hash, Hash: pos.Hash, Transaction: t,
			})
			return nil, nil
		}
		// Somebody was faster, or the outcome is unknown. The log has the answer.
		found, again := l.catchUp(ctx, at.Seq, t.ID)
		switch {
		case found:
			return nil, nil
		case err != nil && !domain.Is(err, domain.Conflict):
			return nil, err
		case again != nil:
			return nil, again
		}
		pause(ctx, rand.N(min(time.Millisecond<<min(n, 10), longestGap)))
	}
	return nil, domain.Errorf(domain.Conflict, "others changed the tasks %d times meanwhile: try again", attempts)
}

// known waits a while for the state after a start.
func (l *ledger) known(ctx context.Context) error {
	deadline := time.NewTimer(l.cfg.Limits.Load)
	defer deadline.Stop()
	for {
		l.mu.Lock()
		state, err, changed := l.state, l.unknown(), l.changed
		l.mu.Unlock()
		if state != nil {
			return nil
		}
		select {
		case <-changed:
		case <-deadline.C:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// unknown is the error of who needs a state that is not there. The caller holds mu.
func (l *ledger) unknown() error {
	if l.err == nil {
		return domain.Errorf(domain.Unavailable, "the log of tasks is being read")
	}
	return domain.Wrap(domain.Unavailable, l.err, "the log of tasks cannot be used")
}

// refresh folds what other nodes have appended until now.
func (l *ledger) refresh(ctx context.Context) error {
	_, at, _, err := l.look("")
	if err == nil {
		_, err = l.catchUp(ctx, at, [16]byte{})
	}
	return err
}

// open copies the open tasks in the order of their creation.
func (l *ledger) open() ([]task.Task, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == nil {
		return nil, l.unknown()
	}
	sorted := l.state.Sorted()
	all := make([]task.Task, len(sorted))
	for i, t := range sorted {
		all[i] = *t
	}
	return all, nil
}

// runs tells whether the log has an attempt of a node in progress.
func (l *ledger) runs(id domain.TaskID, node string, attempt uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == nil {
		return false
	}
	t := l.state.Open[id]
	return t != nil && t.Status != task.Waiting && t.Runner == node && t.Attempt == attempt
}

// look tells whether a task is open, how far the state is, and what is closed when that changes.
func (l *ledger) look(id domain.TaskID) (open bool, at domain.Seq, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == nil {
		return false, 0, l.changed, l.unknown()
	}
	_, open = l.state.Open[id]
	return open, l.at.Seq, l.changed, nil
}
