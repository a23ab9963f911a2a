package queue

import "context"

// Resume lets the reader of a queue that was closed go on, as that of a node which was away for a while.
func (q *Queue) Resume(ctx context.Context) { q.follow(ctx) }
