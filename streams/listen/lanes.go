package listen

import (
	"context"
	"sync"
	"time"
)

// work handles the first deliveries of a lane and says how many of them are done. When some are left it is called again with the same first
// one after a pause. It returns early when ctx ends.
type work func(ctx context.Context, batch []*delivery) (done int, pause time.Duration)

// lanes run work for each key in order and for different keys at once. A lane that pauses holds no slot.
type lanes struct {
	work   work
	batch  int
	finish func(*delivery)
	load   func(ctx context.Context, d *delivery) error // reads data again
	budget int64
	slots  chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	lanes map[string][]*delivery // waiting; a key that is there has a goroutine
	held  int64                  // octets
}

func newLanes(parallel, batch int, budget int64, w work, finish func(*delivery), load func(context.Context, *delivery) error) *lanes {
	return &lanes{work: w, batch: batch, finish: finish, load: load, budget: budget, slots: make(chan struct{}, parallel), lanes: map[string][]*delivery{}}
}

// add puts a delivery at the end of its lane. It never blocks.
func (l *lanes) add(ctx context.Context, key string, d *delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if size := int64(len(d.data)); l.held+size <= l.budget {
		d.size = size
		l.held += size
	} else {
		d.data, d.header = nil, nil
	}
	queue, busy := l.lanes[key]
	l.lanes[key] = append(queue, d)
	if !busy {
		l.wg.Go(func() { l.run(ctx, key) })
	}
}

// run works through one lane until it is empty or ctx ends.
func (l *lanes) run(ctx context.Context, key string) {
	for {
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			l.leave(key)
			return
		}
		batch := l.front(key)
		done, pause := l.handle(ctx, batch)
		<-l.slots
		for _, d := range batch[:done] {
			l.finish(d)
		}
		if !l.advance(key, batch[:done]) {
			return
		}
		if ctx.Err() != nil || pause > 0 && !sleep(ctx, pause) {
			l.leave(key)
			return
		}
	}
}

// reloadPause is how long a lane waits when a message cannot be read again.
const reloadPause = time.Second

func (l *lanes) handle(ctx context.Context, batch []*delivery) (done int, pause time.Duration) {
	for i, d := range batch {
		if d.data != nil {
			continue
		}
		if i > 0 && int64(i) >= int64(l.batch)/8 { // what was spilled is read in small portions
			batch = batch[:i]
			break
		}
		if err := l.load(ctx, d); err != nil {
			if i == 0 {
				return 0, reloadPause
			}
			batch = batch[:i]
			break
		}
	}
	return l.work(ctx, batch)
}

func (l *lanes) front(key string) []*delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.lanes[key]
	return append([]*delivery(nil), queue[:min(len(queue), l.batch)]...)
}

// advance takes what is done out of the lane and reports whether anything is left.
func (l *lanes) advance(key string, done []*delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range done {
		l.held -= d.size
	}
	queue := l.lanes[key]
	clear(queue[:len(done)]) // the array lives on as long as the lane is busy
	if queue = queue[len(done):]; len(queue) == 0 {
		delete(l.lanes, key)
		return false
	}
	l.lanes[key] = queue
	return true
}

// leave drops a lane: its messages are delivered again to whoever comes next.
func (l *lanes) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lanes, key)
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
