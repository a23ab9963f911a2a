package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/task"
)

// attempt is one try at a task, on this node.
type attempt struct {
	w    *Worker
	kind Kind
	task task.Task // as it was before the claim
	ctx  context.Context
	// cancel ends ctx; its argument says why: errCancelled or errStopping.
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	progress any // the last reported; nil before the first
}

func newAttempt(w *Worker, kind Kind, t *task.Task) *attempt {
	a := &attempt{w: w, kind: kind, task: *t}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	return a
}

func (a *attempt) number() uint32 { return a.task.Attempt + 1 }

// report keeps the last progress.
func (a *attempt) report(v any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress = v
}

// reported gives the last progress as JSON; empty if there is none that can be kept.
func (a *attempt) reported() string {
	a.mu.Lock()
	v := a.progress
	a.mu.Unlock()
	if v == nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil || len(text) > task.MaxProgress || text[0] != '{' {
		return ""
	}
	return string(text)
}

// run does the work and writes down how it ended.
func (a *attempt) run() {
	w := a.w
	log := w.cfg.Logger.With("task", a.task.ID, "kind", a.task.Kind, "attempt", a.number())
	log.Info("a task begins")
	began := time.Now()
	recording, stop := context.WithCancel(context.Background())
	var recorder sync.WaitGroup
	recorder.Go(func() { a.record(recording) })
	result, err := a.work()
	stop()
	recorder.Wait()
	ended, c := a.outcome(result, err)
	log.Info("a task ends", "status", ended, "took", time.Since(began).Round(time.Millisecond), "error", err)
	if a.end(c) && ended.Ended() {
		w.cfg.Observe(a.task.Kind, ended, time.Since(began))
	}
	a.cancel(nil)
	w.forget(a.task.ID)
	w.signal()
}

// work calls Run. A panic is a failure of this task and of nothing else.
func (a *attempt) work() (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			a.w.cfg.Logger.Error("a task panicked", "task", a.task.ID, "kind", a.task.Kind, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("the task panicked: %v", r)
		}
	}()
	job := Job{ID: a.task.ID, Attempt: a.number(), Parameters: json.RawMessage(a.task.Parameters), Progress: a.report}
	if a.task.Progress != "" {
		job.Checkpoint = json.RawMessage(a.task.Progress)
	}
	return a.kind.Run(a.ctx, job)
}

// record writes progress to the log now and then: the longer the task has run the seldomer, so that one of any length writes few entries.
func (a *attempt) record(ctx context.Context) {
	began, last := time.Now(), a.task.Progress
	for {
		pause(ctx, max(a.w.cfg.Limits.Progress, time.Since(began)/10))
		if ctx.Err() != nil {
			return
		}
		if now := a.reported(); now != "" && now != last {
			if err := a.w.settle(ctx, task.Progress{ID: a.task.ID, Attempt: a.number(), Progress: now}); err == nil {
				last = now
			}
		}
	}
}

// outcome says what is to be written of an attempt that has ended, and what the task is then.
func (a *attempt) outcome(result any, err error) (task.Status, task.Command) {
	id, n, text := a.task.ID, a.number(), resultText(result)
	cause := context.Cause(a.ctx)
	switch {
	case err == nil:
		return task.Completed, task.Complete{ID: id, Attempt: n, Result: text}
	case errors.Is(cause, errCancelled):
		return task.Cancelled, task.Stop{ID: id, Attempt: n, Result: text}
	case errors.Is(cause, errStopping):
		status := task.Waiting
		if !a.kind.Resumable {
			status = task.Failed
		}
		return status, task.Abandon{ID: id, Attempt: n, Cause: errStopping.Error(), Resumable: a.kind.Resumable}
	}
	fail := task.Fail{ID: id, Attempt: n, Error: shortened(err.Error()), Result: text}
	var known *domain.Error
	if errors.As(err, &known) {
		fail.Hint = shortened(known.Hint)
	}
	return task.Failed, fail
}

// resultText is a result as it is kept: one JSON object, or nothing.
func resultText(result any) string {
	if result == nil {
		return ""
	}
	text, err := json.Marshal(result)
	switch {
	case err != nil:
		text, _ = json.Marshal(map[string]string{"unreadable": err.Error()}) // never fails
	case len(text) > task.MaxResult:
		text, _ = json.Marshal(map[string]int{"tooLarge": len(text)}) // octets; never fails
	case text[0] != '{':
		text, _ = json.Marshal(map[string]json.RawMessage{"result": text}) // never fails: text is JSON
	}
	return string(text)
}

// shortened cuts a text to what a fact may hold.
func shortened(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD") // which no view store takes
	for len(s) > task.MaxText {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// end writes how the attempt ended, again and again while the log cannot be used, but when the node stops only for a while. It tells whether
// that is in the log now.
func (a *attempt) end(c task.Command) bool {
	w := a.w
	var deadline <-chan time.Time
	stopping := a.ctx.Done()
	if context.Cause(a.ctx) != nil {
		stopping = nil
		deadline = time.After(w.cfg.Limits.Record)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan bool, 1)
	go func() { done <- a.write(ctx, c) }()
	for {
		select {
		case ok := <-done:
			return ok
		case <-stopping:
			stopping = nil
			deadline = time.After(w.cfg.Limits.Record)
		case <-deadline:
			cancel()
			return <-done
		}
	}
}

func (a *attempt) write(ctx context.Context, c task.Command) bool {
	w := a.w
	for {
		if _, stops := c.(task.Abandon); stops {
			if last := a.reported(); last != "" { // from which the next attempt goes on
				_ = w.settle(ctx, task.Progress{ID: a.task.ID, Attempt: a.number(), Progress: last}) // Abandon tells whether the log can be used
			}
		}
		refused, err := w.ledger.do(ctx, "tasks:"+w.cfg.Node, c)
		switch {
		case err == nil && refused == nil:
			return true
		case err == nil:
			w.cfg.Logger.Error("a task's end does not count", "task", a.task.ID, "kind", a.task.Kind, "attempt", a.number(), "error", refused)
			return false
		case ctx.Err() != nil:
			w.cfg.Logger.Error("a task's end is not in the log: the next start finds it in progress", "task", a.task.ID, "kind", a.task.Kind, "error", err)
			return false
		}
		pause(ctx, w.cfg.Limits.Retry)
	}
}
