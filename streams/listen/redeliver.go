package listen

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// maxPage bounds one page of a list, maxLooked how many letters are looked at for it.
const (
	maxPage   = 1000
	maxLooked = 20_000
)

// Page is a part of a list. Next is where the following one begins; 0 when this is the last.
type Page struct {
	Letters []Letter `json:"letters"`
	Next    uint64   `json:"next,omitempty"`
}

// List gives letters from an id on, oldest first, at most limit. A rare cause may need several pages, of which some are empty: a page looks at
// 20,000 letters at most.
func (l *Listeners) List(ctx context.Context, f Filter, from uint64, limit int) (Page, error) {
	if err := f.check(); err != nil {
		return Page{}, err
	}
	limit = min(max(limit, 1), maxPage)
	page := Page{Letters: []Letter{}}
	for range maxLooked {
		letter, err := l.letters.next(ctx, from, l.letters.subject(f.Listener, f.Account))
		if err != nil || letter == nil {
			return page, err
		}
		if f.fits(letter) {
			if len(page.Letters) == limit {
				break
			}
			page.Letters = append(page.Letters, *letter)
		}
		from = letter.ID + 1
	}
	page.Next = max(from, 1)
	return page, nil
}

// Shown is a letter with its entry. Entry is nil when it cannot be opened, and Problem says why.
type Shown struct {
	Letter
	Entry   *streams.Entry
	Problem string
}

// Show gives a letter with the entry that it refers to. Errors: domain.NotFound, domain.Unavailable.
func (l *Listeners) Show(ctx context.Context, id uint64) (Shown, error) {
	letter, err := l.letters.one(ctx, id)
	if err != nil {
		return Shown{}, err
	}
	shown := Shown{Letter: *letter}
	e, err := l.cfg.Log.Entry(ctx, letter.Stream, letter.Seq)
	switch {
	case err != nil:
		shown.Problem = err.Error()
	case e.Erased:
		shown.Problem = "the account was erased"
	default:
		shown.Entry = &e
	}
	return shown, nil
}

// Selection says which letters to redeliver or drop.
type Selection struct {
	Filter
	ID    uint64  `json:"id,omitempty"`    // this one only
	Limit uint64  `json:"limit,omitempty"` // at most so many; 0 means all
	Rate  float64 `json:"rate,omitempty"`  // letters a second; 0 means as fast as it goes
}

// Redelivered is what a redelivery did.
type Redelivered struct {
	Successful uint64 `json:"successfulRedeliveriesCount"`
	Failed     uint64 `json:"failedRedeliveriesCount"` // they are dead letters still, with the new cause
	Skipped    uint64 `json:"skippedCount"`            // of erased accounts; they are dropped
}

// redeliverers is how many accounts are worked on at once.
const redeliverers = 16

// Redeliver gives the selected letters to their listeners again, each once. The letters of one account and listener are given in the order of
// the log, not beside newer entries of the account in this process; a letter that fails again stays, and the next ones are tried. During an
// outage it waits. progress may be nil and
// is not called twice at once. What was redelivered before an error or the end of ctx is done.
// Errors: domain.NotFound for an ID, domain.Unavailable when a selected listener does not run here.
func (l *Listeners) Redeliver(ctx context.Context, sel Selection, progress func(done, total uint64)) (Redelivered, error) {
	run, err := l.selected(ctx, sel, progress)
	if err != nil || run == nil {
		return Redelivered{}, err
	}
	for _, t := range run.targets {
		if l.find(t.listener) == nil {
			return Redelivered{}, &domain.Error{
				Kind: domain.Unavailable, Msg: "listener " + t.listener + " does not run here, so nothing can be given to it",
				Hint: "configure the listener, or drop its dead letters",
			}
		}
	}
	err = run.each(ctx, run.redeliver)
	if synced := l.letters.sync(context.WithoutCancel(ctx)); err == nil {
		err = synced
	}
	return Redelivered{run.good.Load(), run.bad.Load(), run.skipped.Load()}, err
}

// Drop deletes the selected letters. Their entries stay in the log, and are never given to the listener again.
func (l *Listeners) Drop(ctx context.Context, sel Selection, progress func(done, total uint64)) (dropped uint64, err error) {
	run, err := l.selected(ctx, sel, progress)
	if err != nil || run == nil {
		return 0, err
	}
	if sel.ID == 0 && sel.Limit == 0 && sel.whole() {
		if err := l.letters.purge(ctx, sel.Listener, sel.Account); err != nil {
			return 0, err
		}
		return run.total, nil
	}
	err = run.each(ctx, func(ctx context.Context, _ target, letters []Letter) error {
		for i := range letters {
			if err := l.letters.remove(ctx, letters[i].ID); err != nil {
				return err
			}
			run.good.Add(1)
			run.tell(1)
		}
		return nil
	})
	if synced := l.letters.sync(context.WithoutCancel(ctx)); err == nil {
		err = synced
	}
	return run.good.Load(), err
}

// target is the letters of one account and listener.
type target struct {
	listener string
	account  domain.AccountID
}

// selection is a redelivery or a drop on its way.
type selection struct {
	in       *Listeners
	sel      Selection
	targets  []target
	last     uint64 // letters after this one came later, and are not for this run
	total    uint64
	progress func(done, total uint64)
	pace     pacer

	telling sync.Mutex
	told    uint64

	taken              atomic.Uint64
	good, bad, skipped atomic.Uint64
}

func (l *Listeners) selected(ctx context.Context, sel Selection, progress func(done, total uint64)) (*selection, error) {
	run := &selection{in: l, sel: sel, progress: progress, pace: pacer{rate: sel.Rate}}
	if sel.ID != 0 {
		letter, err := l.letters.one(ctx, sel.ID)
		if err != nil {
			return nil, err
		}
		if sel.Listener != "" && letter.Listener != sel.Listener {
			return nil, domain.Errorf(domain.NotFound, "%s has no dead letter %d", sel.Listener, sel.ID)
		}
		run.targets, run.last, run.total = []target{{letter.Listener, letter.Account}}, sel.ID, 1
		return run, nil
	}
	if err := sel.check(); err != nil {
		return nil, err
	}
	if sel.Rate < 0 {
		return nil, domain.Errorf(domain.Invalid, "a rate cannot be negative")
	}
	counts, last, err := l.letters.counts(ctx, &sel.Filter)
	if err != nil {
		return nil, err
	}
	run.last = last
	for subject, n := range counts {
		run.total += n
		listener := subject[len(l.letters.prefix) : len(subject)-len(accountOf(subject))-1]
		run.targets = append(run.targets, target{listener, accountOf(subject)})
	}
	if sel.Limit > 0 {
		run.total = min(run.total, sel.Limit)
	}
	slices.SortFunc(run.targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.listener, b.listener), cmp.Compare(a.account, b.account))
	})
	return run, nil
}

// each calls f with letters of each target in the order of the log, several targets at once.
func (s *selection) each(ctx context.Context, f func(context.Context, target, []Letter) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan target)
	var wg sync.WaitGroup
	for range min(redeliverers, len(s.targets)) {
		wg.Go(func() {
			for t := range next {
				letters, err := s.read(ctx, t)
				if err == nil && len(letters) > 0 {
					err = f(ctx, t, letters)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, t := range s.targets {
		select {
		case next <- t:
		case <-ctx.Done():
		}
		if s.sel.Limit > 0 && s.taken.Load() >= s.sel.Limit {
			break
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// read collects a target's letters, sorts them as the log has their entries, and takes no more than the limit leaves.
func (s *selection) read(ctx context.Context, t target) ([]Letter, error) {
	if s.sel.ID != 0 {
		letter, err := s.in.letters.one(ctx, s.sel.ID)
		if err != nil {
			return nil, err
		}
		return []Letter{*letter}, nil
	}
	var all []Letter
	subject := s.in.letters.subject(t.listener, t.account)
	for from := uint64(1); ; {
		letter, err := s.in.letters.next(ctx, from, subject)
		if err != nil {
			return nil, err
		}
		if letter == nil || letter.ID > s.last {
			break
		}
		if from = letter.ID + 1; s.sel.fits(letter) {
			all = append(all, *letter)
		}
	}
	slices.SortStableFunc(all, func(a, b Letter) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Seq, b.Seq)) })
	if s.sel.Limit > 0 {
		end := s.taken.Add(uint64(len(all)))
		if over := end - min(end, s.sel.Limit); over > 0 {
			all = all[:uint64(len(all))-min(over, uint64(len(all)))]
		}
	}
	return all, nil
}

func (s *selection) tell(n int) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.told += uint64(n); s.progress != nil {
		s.progress(s.told, s.total)
	}
}

// redeliver gives one account's letters to the listener.
func (s *selection) redeliver(ctx context.Context, t target, letters []Letter) error {
	r := s.in.find(t.listener)
	if r == nil {
		return errClosed
	}
	for len(letters) > 0 {
		portion := letters[:min(len(letters), max(r.Batch, 1))]
		n, err := s.portion(ctx, r, portion)
		if err != nil {
			return err
		}
		s.tell(n)
		letters = letters[n:]
	}
	return nil
}

// portion handles the first letters and says how many it is done with, at least one.
func (s *selection) portion(ctx context.Context, r *running, letters []Letter) (int, error) {
	var entries []streams.Entry
	for i := range letters {
		e, err := s.in.cfg.Log.Entry(ctx, letters[i].Stream, letters[i].Seq)
		if domain.Is(err, domain.Unavailable) || ctx.Err() != nil {
			return 0, cmp.Or(ctx.Err(), err)
		}
		if err != nil || e.Erased {
			if i > 0 { // first those before it
				break
			}
			if err != nil {
				return 1, s.failed(ctx, &letters[0], err)
			}
			s.skipped.Add(1)
			return 1, s.in.letters.remove(ctx, letters[0].ID)
		}
		entries = append(entries, e)
	}
	if err := s.pace.wait(ctx, len(entries)); err != nil {
		return 0, err
	}
	for outages := 1; ; outages++ {
		done, err := r.call(ctx, entries)
		for i := range done {
			if err := s.in.letters.remove(ctx, letters[i].ID); err != nil {
				return 0, err
			}
			s.good.Add(1)
		}
		switch {
		case err == nil || done > 0 && ctx.Err() == nil:
			return done, nil // what failed comes first next time
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case !IsOutage(err):
			return 1, s.failed(ctx, &letters[0], err)
		case !sleep(ctx, r.Retry.pause(min(outages, 30))):
			return 0, ctx.Err()
		}
	}
}

// failed replaces a letter with one that tells of the new failure.
func (s *selection) failed(ctx context.Context, old *Letter, cause error) error {
	s.bad.Add(1)
	if old.Stream == "" {
		return nil // it was not readable, and is kept as it is
	}
	letter := *old
	letter.Cause, letter.Last = cause.Error(), s.in.cfg.Now()
	letter.Attempts++
	if err := s.in.letters.add(ctx, letter); err != nil {
		return err
	}
	return s.in.letters.remove(ctx, old.ID)
}

// pacer keeps a rate. The zero rate has none.
type pacer struct {
	rate float64
	mu   sync.Mutex
	next time.Time
}

func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	at := p.next
	p.next = p.next.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	p.mu.Unlock()
	if !sleep(ctx, at.Sub(now)) {
		return ctx.Err()
	}
	return nil
}
