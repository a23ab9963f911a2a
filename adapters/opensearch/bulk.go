package opensearch

import (
	"context"
	"net/http"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/listen"
)

// bulker sends operations of many callers in common requests: while one is on its way the next ones gather. Whoever finds nobody sending sends
// for all, so there is no goroutine of its own.
type bulker struct {
	x       *Index
	mu      sync.Mutex
	waiting []*submission
	sending bool
}

// submission is the operations of one caller.
type submission struct {
	lines [][]byte
	ops   []operation
	errs  []error // one for each operation, nil where it is done
	done  chan struct{}
}

// submit writes operations and says of each what became of it. The caller's own request goes on when ctx ends, because others share it.
func (b *bulker) submit(ctx context.Context, ops []operation) ([]error, error) {
	s := &submission{ops: ops, lines: make([][]byte, len(ops)), errs: make([]error, len(ops)), done: make(chan struct{})}
	for i := range ops {
		var err error
		if s.lines[i], err = ops[i].lines(b.x); err != nil {
			return nil, domain.Wrap(domain.Internal, err, "write a document")
		}
	}
	b.mu.Lock()
	b.waiting = append(b.waiting, s)
	lead := !b.sending
	b.sending = true
	b.mu.Unlock()
	if lead {
		go b.lead()
	}
	select {
	case <-s.done:
		return s.errs, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lead sends until nobody waits.
func (b *bulker) lead() {
	for {
		b.mu.Lock()
		n, size, docs := 0, 0, 0
		for n < len(b.waiting) && size < b.x.cfg.Limits.Bulk && docs < b.x.cfg.Limits.Documents {
			for _, line := range b.waiting[n].lines {
				size += len(line)
			}
			docs += len(b.waiting[n].ops)
			n++
		}
		round := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		if n == 0 {
			b.sending = false
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		b.send(round, size)
		for _, s := range round {
			close(s.done)
		}
	}
}

// bulkAnswer is what OpenSearch says of each operation.
type bulkAnswer struct {
	Items []map[string]struct {
		Status int `json:"status"`
		Error  struct {
			Type string `json:"type"`
		} `json:"error"`
	} `json:"items"`
}

func (b *bulker) send(round []*submission, size int) {
	body := make([]byte, 0, size)
	for _, s := range round {
		for _, line := range s.lines {
			body = append(body, line...)
		}
	}
	var answer bulkAnswer
	err := b.x.client.do(context.Background(), http.MethodPost, "/_bulk", body, &answer)
	if r, ok := err.(*refused); ok && r.status == http.StatusRequestEntityTooLarge && (len(round) > 1 || len(round[0].ops) > 1) {
		b.apart(round)
		return
	}
	at := 0
	for _, s := range round {
		for i := range s.ops {
			switch {
			case err != nil:
				s.errs[i] = itemError(err)
			case at >= len(answer.Items):
				s.errs[i] = listen.Outage(domain.Errorf(domain.Unavailable, "OpenSearch answered fewer operations than it was sent"))
			default:
				for _, item := range answer.Items[at] {
					s.errs[i] = b.judge(&s.ops[i], item.Status, item.Error.Type)
				}
			}
			at++
		}
	}
}

// apart sends each operation alone, because together they are too large for the cluster.
func (b *bulker) apart(round []*submission) {
	for _, s := range round {
		for i := range s.ops {
			one := &submission{ops: s.ops[i : i+1], lines: s.lines[i : i+1], errs: s.errs[i : i+1]}
			b.send([]*submission{one}, len(s.lines[i]))
		}
	}
}

// itemError is the error of a request as that of each of its operations.
func itemError(err error) error {
	if r, ok := err.(*refused); ok {
		kind := domain.Invalid
		if r.status == http.StatusRequestEntityTooLarge {
			kind = domain.TooLarge
		}
		return domain.Wrap(kind, r, "OpenSearch refuses the document")
	}
	return err
}

// judge says what an operation's status means.
func (b *bulker) judge(o *operation, status int, kind string) error {
	switch {
	case status < 300:
		b.x.stats.written.Add(1)
		return nil
	case status == http.StatusConflict: // this version or a later one is there: that is what was wanted
		b.x.stats.repeated.Add(1)
		return nil
	case status == http.StatusTooManyRequests, status >= 500:
		return listen.Outage(domain.Wrap(domain.Unavailable, &refused{status, kind}, "OpenSearch takes no documents"))
	case status == http.StatusNotFound: // the index or its alias
		b.x.forget(o.generation)
		return listen.Outage(domain.Wrap(domain.Unavailable, &refused{status, kind}, "the index of messages is gone"))
	}
	return domain.Wrap(domain.Invalid, &refused{status, kind}, "OpenSearch refuses the document")
}
