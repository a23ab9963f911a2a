package extracts

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	domainsearch "github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/search"
)

// Extractor finds the text in a file. Errors: domain.Invalid when there is none that it can find; domain.Unavailable when the extractor itself is away;
// any other when this file failed, which may go better another time.
type Extractor interface {
	// Extract gives at most most octets of text, and tells whether there is more.
	Extract(ctx context.Context, mediaType, name string, file io.Reader, most int64) (text string, more bool, err error)
}

// Rows is what is needed of the views; *projections.Runner has it.
type Rows interface {
	search.Views
	Reader(stream, projection string) (projections.Reader, error)
	Change(ctx context.Context, projection string, id domain.AccountID, f func(context.Context, projections.Tx) error) error
}

// Config is what a Worker works with. All but Limits, Logger and Now is needed.
type Config struct {
	Extractor Extractor
	Blobs     search.Blobs
	Rows      Rows
	Streams   []string // whose accounts are looked after
	Types     []string // media types that are sent, or how they begin with an asterisk behind
	Limits    Limits
	Logger    *slog.Logger
	Now       func() time.Time
}

// Limits bound the work. Zero fields mean the defaults in their comments.
type Limits struct {
	File     int64         // octets of an attachment, decoded, beyond which it is not sent; 20 MiB
	Text     int64         // octets of text that are kept of a message; 1 MiB
	Parallel int           // messages at the same time; 2
	Tries    int           // of a message, after which it is given up; 5
	Failures int           // of messages in a row, after which the extractor itself counts as away; 5
	Idle     time.Duration // between two looks for work; 5 s
	Pause    time.Duration // after the extractor was away, doubling up to 60 times as long; 5 s
}

func (l Limits) withDefaults() Limits {
	set(&l.File, 20<<20)
	set(&l.Text, 1<<20)
	set(&l.Parallel, 2)
	set(&l.Tries, 5)
	set(&l.Failures, 5)
	set(&l.Idle, 5*time.Second)
	set(&l.Pause, 5*time.Second)
	return l
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// retries are the pauses after the tries of a message that failed. The last one is repeated.
var retries = []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour}

// Worker has the extractor read what waits. Run it once in a process.
type Worker struct {
	projection *Projection
	Config
	stats struct{ extracted, octets, refused, tooLarge, failed, givenUp atomic.Uint64 }

	mu      sync.Mutex
	waiting int64
	away    error
	failed  int // in a row
}

// Worker makes one.
func (p *Projection) Worker(c Config) *Worker {
	c.Limits = c.Limits.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Worker{projection: p, Config: c}
}

// Stats tells what happened since the start, and how it stands.
type Stats struct {
	Extracted uint64 // messages whose attachments were read
	Octets    uint64 // of text found
	Refused   uint64 // attachments in which the extractor finds no text
	TooLarge  uint64 // attachments that were not sent
	Failed    uint64 // attempts that failed
	GivenUp   uint64 // messages
	Waiting   int64  // messages, when it was last looked
	Away      error  // why the extractor cannot be asked; nil while it can
}

// Stats tells how the work goes.
func (w *Worker) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.stats
	return Stats{s.extracted.Load(), s.octets.Load(), s.refused.Load(), s.tooLarge.Load(), s.failed.Load(), s.givenUp.Load(), w.waiting, w.away}
}

// Run works until ctx ends. While the extractor is away it is asked less and less often, and what waits goes on waiting.
func (w *Worker) Run(ctx context.Context) error {
	pause := w.Limits.Pause
	for {
		rest := w.Limits.Idle
		switch err := w.Pass(ctx); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			pause = w.Limits.Pause
		default:
			rest, pause = pause, min(2*pause, 60*w.Limits.Pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}

// Pass does all that is due now. Errors: domain.Unavailable while the extractor or the views are away; what was done until then is kept.
func (w *Worker) Pass(ctx context.Context) error {
	if err := w.count(ctx); err != nil {
		return err
	}
	worked := false
	for _, stream := range w.Streams {
		for {
			found, err := w.due(ctx, stream)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				break
			}
			worked = true
			if err := w.extractAll(ctx, found); err != nil {
				return err
			}
		}
	}
	if !worked {
		return nil
	}
	return w.count(ctx)
}

// tell keeps whether the extractor is away, and logs when that changes. mu is held.
func (w *Worker) tell(err error) {
	switch {
	case err != nil && w.away == nil:
		w.Logger.Warn("attachments cannot be read: they wait", "error", err)
	case err == nil && w.away != nil:
		w.Logger.Info("attachments are read again")
	}
	w.away = err
}

// extractAll does some jobs, several at a time. After an error no more are begun.
func (w *Worker) extractAll(ctx context.Context, jobs []job) error {
	workers := min(w.Limits.Parallel, len(jobs))
	errs := make([]error, workers)
	var group sync.WaitGroup
	var next atomic.Int64
	var stop atomic.Bool
	for i := range workers {
		group.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(jobs) {
					return
				}
				if errs[i] = w.do(ctx, &jobs[n]); errs[i] != nil {
					stop.Store(true)
				}
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

// do reads the attachments of one message and writes what was found.
func (w *Worker) do(ctx context.Context, j *job) error {
	var texts []string
	state, left := int64(whole), w.Limits.Text
	var failed error
	for _, p := range j.parts {
		if !wanted(w.Types, p.Type) {
			continue
		}
		if left <= 0 {
			state = partial
			break
		}
		text, more, err := w.read(ctx, j, p, left)
		switch {
		case err == nil:
		case ctx.Err() != nil, domain.Is(err, domain.Unavailable):
			return err
		case domain.Is(err, domain.Invalid):
			w.stats.refused.Add(1)
		case domain.Is(err, domain.TooLarge):
			w.stats.tooLarge.Add(1)
		case domain.Is(err, domain.NotFound), domain.Is(err, domain.Corrupt):
			failed, j.tries = err, int64(w.Limits.Tries)
		default:
			failed = err
		}
		if more {
			state = partial
		}
		text = strings.ReplaceAll(strings.ToValidUTF8(text, " "), between, " ")
		if int64(len(text)) > left {
			text, state = strings.ToValidUTF8(text[:left], ""), partial
		}
		left -= int64(len(text))
		if strings.TrimSpace(text) != "" {
			texts = append(texts, text)
		}
	}
	due := int64(0)
	if failed != nil {
		w.stats.failed.Add(1)
		if j.tries++; j.tries >= int64(w.Limits.Tries) {
			state = givenUp
			w.stats.givenUp.Add(1)
			w.Logger.Warn("attachments of a message are given up: search reindex --check tries again", "account", j.account, "email", j.email, "error", failed)
		} else {
			state, due = waiting, w.Now().Add(retries[min(int(j.tries), len(retries))-1]).Unix()
		}
	}
	if err := w.write(ctx, j, texts, state, due); err != nil {
		return err
	}
	return w.row(failed)
}

// row counts messages that failed in a row: one file may be the fault of many failures, but not many files.
func (w *Worker) row(failed error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if failed == nil || domain.Is(failed, domain.NotFound) || domain.Is(failed, domain.Corrupt) {
		w.failed = 0
		return nil
	}
	if w.failed++; w.failed < w.Limits.Failures {
		return nil
	}
	err := domain.Wrap(domain.Unavailable, failed, "the extractor fails again and again")
	w.tell(err)
	return err
}

// read has one attachment read.
func (w *Worker) read(ctx context.Context, j *job, p part, most int64) (text string, more bool, err error) {
	if p.Size/2 > w.Limits.File { // whatever its encoding
		return "", false, domain.Errorf(domain.TooLarge, "the attachment is too large")
	}
	blob, err := w.Blobs.Open(ctx, j.blob, p.Body, p.Size)
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	plain, err := message.TransferReader(p.Encoding, blob)
	if err != nil {
		return "", false, err
	}
	var file bytes.Buffer
	if _, err := io.Copy(&file, io.LimitReader(plain, w.Limits.File+1)); err != nil {
		return "", false, err
	}
	if int64(file.Len()) > w.Limits.File {
		return "", false, domain.Errorf(domain.TooLarge, "the attachment is too large")
	}
	text, more, err = w.Extractor.Extract(ctx, p.Type, p.Name, &file, most)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case domain.Is(err, domain.Unavailable):
		w.tell(err)
	case err == nil, domain.Is(err, domain.Invalid), domain.Is(err, domain.TooLarge): // it answers
		w.tell(nil)
	}
	return text, more, err
}

// write keeps what was found, unless the message was purged meanwhile.
func (w *Worker) write(ctx context.Context, j *job, texts []string, state, due int64) error {
	packed, err := pack(texts)
	if err != nil {
		return err
	}
	if len(texts) == 0 {
		packed = nil
	}
	grams := domainsearch.NewIndexer(domainsearch.IndexLimits{}).Grams(slices.Values(texts))
	err = w.Rows.Change(ctx, Name, j.account, func(ctx context.Context, tx projections.Tx) error {
		n, err := tx.Exec(ctx, `update extracts set state = $2, tries = $3, due = $4, text = $5 where doc = $1 and exists
			(select 1 from attachments where doc = $1 and account = $6 and blob_id = $7)`, j.doc, state, j.tries, due, packed, string(j.account), j.blob.ID[:])
		if err != nil || n == 0 {
			return err
		}
		return w.projection.postings.Put(ctx, tx, []search.Posting{{Doc: j.doc, Grams: grams}})
	})
	if err == nil && (state == whole || state == partial) {
		w.stats.extracted.Add(1)
		for _, t := range texts {
			w.stats.octets.Add(uint64(len(t)))
		}
	}
	return err
}
