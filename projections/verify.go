package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// VerifyOptions say how views are compared. The zero value means: everything, at full speed, and nothing is changed.
type VerifyOptions struct {
	Limit    int     // differences that are listed; all are counted
	Sample   float64 // of the accounts, above 0 and at most 1; 0: all. Which ones depends on Salt only. Rows that belong to no account are left out
	Salt     uint64
	CPUShare float64 // as of RebuildOptions
	Repair   bool    // make anew what differs
	Digests  bool    // compare the digests of the rows only

	EntriesPerSecond int // at most; 0: no bound

	pace *pace // of all that it does
}

// Report is what a comparison of views with the log found.
type Report struct {
	Streams     int          `json:"streams"`
	Accounts    int          `json:"accounts"` // whose entries were folded
	Rows        int64        `json:"rows"`     // compared
	Total       int64        `json:"total"`    // differences found
	Compared    []Compared   `json:"compared"`
	Differences []Difference `json:"differences"` // the first of them
	Repaired    int          `json:"repaired"`    // generations and accounts that were made anew
}

// Compared names a generation and the position at which it was compared.
type Compared struct {
	Stream     string     `json:"stream"`
	Projection string     `json:"projection"`
	Generation int        `json:"generation"`
	Seq        domain.Seq `json:"seq"`
}

// Difference is one value that a view has otherwise than the log says.
type Difference struct {
	Stream     string           `json:"stream"`
	Projection string           `json:"projection"`
	Table      string           `json:"table"`             // empty when no rows can be read at all; Live says why
	Account    domain.AccountID `json:"account,omitempty"` // empty when the table does not belong to accounts
	Key        string           `json:"key"`               // "account=..., mailbox=1"
	Column     string           `json:"column"`            // empty when the whole row is missing on one side
	Live       string           `json:"live"`              // what the view has
	Log        string           `json:"log"`               // what replaying the log gives
	Tx         domain.Tx        `json:"tx"`                // that last wrote the row, by the log; 0 when none did or it cannot be told

	key []any // of the row
}

func (d Difference) String() string {
	where := fmt.Sprintf("%s %s: %s[%s]", d.Stream, d.Projection, d.Table, d.Key)
	if d.Table == "" {
		return fmt.Sprintf("%s %s: %s", d.Stream, d.Projection, d.Live)
	}
	if d.Column != "" {
		where += "." + d.Column
	}
	by := "by the log"
	if d.Tx != 0 {
		by = fmt.Sprintf("by transaction %d of the log", d.Tx)
	}
	return fmt.Sprintf("%s is %s in the view and %s %s", where, d.Live, d.Log, by)
}

// missing stands for a row that is not there.
const missing = "missing"

// Verify folds the log into empty tables beside the live ones, up to the head of one snapshot of each live generation, and compares all rows. Mail goes on
// meanwhile. Differences are no error; a log that cannot be folded is (domain.Corrupt). progress may be nil.
func (r *Runner) Verify(ctx context.Context, sel Selection, opt VerifyOptions, progress func(Progress)) (Report, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	var report Report
	chosen, err := r.chosen(sel)
	if err != nil {
		return report, err
	}
	if opt.Sample < 0 || opt.Sample > 1 {
		return report, domain.Errorf(domain.Invalid, "a sample is a share above 0 and at most 1, and not %g", opt.Sample)
	}
	if opt.Sample > 0 && len(sel.Accounts) > 0 {
		return report, domain.Errorf(domain.Invalid, "a sample is taken of all accounts: name accounts or a sample")
	}
	if sel.Mailbox != 0 && (len(sel.Accounts) != 1 || opt.Digests) || sel.UID != 0 && sel.Mailbox == 0 {
		return report, domain.Errorf(domain.Invalid, "a message is one of a mailbox, and a mailbox one of an account, whose rows are compared")
	}
	if err := (RebuildOptions{CPUShare: opt.CPUShare, EntriesPerSecond: opt.EntriesPerSecond}).check(); err != nil {
		return report, err
	}
	opt.pace = newPace(opt.EntriesPerSecond, opt.CPUShare)
	streams := map[string]bool{}
	for _, t := range chosen {
		before := report
		err := r.verify(ctx, t, sel, opt, progress, &report)
		if errors.Is(err, ErrDamaged) { // met on the way: now it is known whose rows are damaged
			report = before
			err = r.verify(ctx, t, sel, opt, progress, &report)
		}
		if err != nil {
			return report, fmt.Errorf("verify stream %s: %w", t.group.stream, err)
		}
		streams[t.group.stream] = true
	}
	report.Streams = len(streams)
	return report, nil
}

// verify compares what is chosen in one group.
func (r *Runner) verify(ctx context.Context, t target, sel Selection, opt VerifyOptions, progress func(Progress), report *Report) error {
	if err := t.group.look(ctx); err != nil {
		return err
	}
	v := &verification{g: t.group, accounts: t.accounts, mailbox: sel.Mailbox, uid: sel.UID, opt: opt, progress: progress, report: report, wrong: map[*slot]*wrong{}}
	var lost []*side // of which there are no rows to compare
	for _, s := range t.slots {
		if damage := s.damage(); damage != nil {
			lost = append(lost, &side{slot: s})
			v.found(lost[len(lost)-1], Difference{Stream: t.group.stream, Projection: s.name(), Live: damage.Error(), Log: "rows"})
			continue
		}
		if s.absent() || opt.Sample > 0 && s.projection.Scope() == AccountStreams && !s.byAccount() {
			continue
		}
		if err := s.wait(ctx, s.furthest(), false); err != nil && !s.readable() {
			return err
		}
		g, release, err := s.use()
		if err != nil {
			return err
		}
		defer release()
		v.sides = append(v.sides, &side{slot: s, gen: g.Generation, live: g.view})
	}
	if err := v.run(ctx); err != nil {
		return err
	}
	if !opt.Repair {
		return nil
	}
	v.sides = append(v.sides, lost...)
	return v.repair(ctx)
}

func (s *slot) readable() bool {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return s.live != nil
}

// absent tells that the rows were dropped on purpose, so that there is nothing to compare.
func (s *slot) absent() bool {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return s.state == Dropped
}

// side is one generation and the fold that it is compared with.
type side struct {
	slot   *slot
	gen    Generation
	live   Reader
	shadow View
	seq    domain.Seq // of the shadow
}

// wrong is what a repair must make anew.
type wrong struct {
	all      bool
	accounts []domain.AccountID
}

// add books an account's rows, or all when the rows are of none.
func (w *wrong) add(id domain.AccountID, ofAccount bool) {
	switch {
	case !ofAccount:
		w.all = true
	case !w.all && !slices.Contains(w.accounts, id):
		// Many accounts together are quicker made anew with all the others.
		w.accounts = append(w.accounts, id)
		w.all = len(w.accounts) > 1000
	}
}

// repair makes anew what is wrong, and tells how many accounts or generations that were.
func (w *wrong) repair(ctx context.Context, s *slot, opt RebuildOptions, progress func(Progress)) (n int, err error) {
	sel := Selection{Projection: s.name(), Stream: s.group.stream}
	switch {
	case w.all:
		n = 1
	case len(w.accounts) == 0:
		return 0, nil
	default:
		sel.Accounts, n = w.accounts, len(w.accounts)
	}
	_, err = s.group.r.Rebuild(ctx, sel, opt, progress)
	return n, err
}

// verification compares one group's views.
type verification struct {
	g        *group
	sides    []*side
	accounts []domain.AccountID // only theirs; nil: all
	mailbox  domain.MailboxID   // only its rows; 0: all
	uid      domain.UID
	opt      VerifyOptions
	progress func(Progress)
	report   *Report
	wrong    map[*slot]*wrong
	met      map[domain.AccountID]bool
	linked   domain.Seq // up to which position the chains were checked
	ahead    map[*side]map[domain.AccountID]streams.Position
}

// run folds most of the log before it takes snapshots, so that these are short.
func (v *verification) run(ctx context.Context) error {
	v.met, v.ahead = map[domain.AccountID]bool{}, map[*side]map[domain.AccountID]streams.Position{}
	for _, s := range v.sides {
		shadow, release, err := v.g.r.cfg.Views.Scratch(ctx, s.slot.name())
		if err != nil {
			return err
		}
		defer release()
		s.shadow = shadow
	}
	links := newLinker(0)
	ends := make([]domain.Seq, len(v.sides))
	for i, s := range v.sides {
		if err := s.live.Snapshot(ctx, func(r Reader) error {
			h, err := readHead(ctx, r)
			ends[i] = h.seq
			return err
		}); err != nil {
			return err
		}
	}
	if err := v.fold(ctx, links, ends); err != nil {
		return err
	}
	err := v.snapshots(ctx, v.sides, func(live []Reader) error {
		for i, r := range live {
			h, err := readHead(ctx, r)
			if err == nil {
				v.ahead[v.sides[i]], err = readAhead(ctx, r)
			}
			if err != nil {
				return err
			}
			ends[i] = h.seq
		}
		if err := v.fold(ctx, links, ends); err != nil {
			return err
		}
		for i, s := range v.sides {
			v.report.Compared = append(v.report.Compared, Compared{s.gen.Stream, s.gen.Projection, s.gen.Number, ends[i]})
			for _, table := range v.tables(s) {
				v.progress(Progress{Stream: v.g.stream, Projections: []string{s.slot.name()}, Phase: Comparing, Done: ends[i], Total: ends[i]})
				if err := v.compare(ctx, s, table, live[i]); err != nil {
					return fmt.Errorf("compare table %s: %w", table.Name, err)
				}
			}
		}
		return nil
	})
	v.report.Accounts += len(v.met)
	if err != nil {
		return err
	}
	return v.blame(ctx)
}

// tables are what is compared of a side. The digests come last: where they alone differ, they were changed, or rows were added up wrongly.
func (v *verification) tables(s *side) []Table {
	digests := Table{Name: Digests, Key: []string{"account"}}
	if v.opt.Digests {
		return []Table{digests}
	}
	all := append(slices.Clip(s.slot.projection.Tables()), digests)
	if v.mailbox != 0 {
		all = slices.DeleteFunc(all, func(t Table) bool {
			return !slices.Contains(t.Key, "mailbox") || v.uid != 0 && !slices.Contains(t.Key, "uid")
		})
	}
	return all
}

// snapshots opens one of each side.
func (v *verification) snapshots(ctx context.Context, sides []*side, f func([]Reader) error) error {
	release, err := v.g.r.looks.take(ctx, len(sides)+1) // a shadow is read or written meanwhile
	if err != nil {
		return err
	}
	defer release()
	var open func(readers []Reader) error
	open = func(readers []Reader) error {
		if len(readers) == len(sides) {
			return f(readers)
		}
		return sides[len(readers)].live.Snapshot(ctx, func(r Reader) error { return open(append(readers, r)) })
	}
	return open(nil)
}

// fold replays the log into the shadows, from where they are up to an end of each.
func (v *verification) fold(ctx context.Context, links *linker, ends []domain.Seq) error {
	low, high := domain.Seq(math.MaxUint64), domain.Seq(0)
	works := make([]*work, len(v.sides))
	for i, s := range v.sides {
		works[i] = &work{slot: s.slot, gen: &generation{view: s.shadow, head: head{seq: s.seq}}}
		low, high = min(low, s.seq), max(high, ends[i])
	}
	if low >= high {
		return nil
	}
	pace := v.opt.pace
	most := pace.batch(v.g.r.cfg.Limits.BatchEntries)
	var batch []streams.Entry
	var held int
	began := time.Now()
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := v.commit(ctx, works, batch, ends); err != nil {
			return err
		}
		v.progress(Progress{Stream: v.g.stream, Projections: v.names(), Phase: Filling, Done: batch[len(batch)-1].Seq, Total: high})
		n := len(batch)
		batch, held = batch[:0], 0
		err := pace.rest(ctx, n, time.Since(began))
		began = time.Now()
		return err
	}
	for e, err := range v.entries(ctx, low, high) {
		if err != nil {
			return err
		}
		if !v.sampled(e.Account) {
			continue
		}
		if e.Seq > v.linked {
			if err := links.check(&e); err != nil {
				return err
			}
		}
		v.met[e.Account] = true
		batch, held = append(batch, e), held+weight(&e)
		if len(batch) >= most || held >= v.g.r.cfg.Limits.BatchOctets {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	v.linked = high
	for i, s := range v.sides {
		s.seq = max(s.seq, ends[i])
	}
	return nil
}

// commit folds a batch into each shadow, as far as its end.
func (v *verification) commit(ctx context.Context, works []*work, batch []streams.Entry, ends []domain.Seq) error {
	for i, w := range works {
		h := w.gen.head
		err := w.gen.view.Update(ctx, func(tx Tx) error {
			b, err := w.slot.projection.Begin(ctx, tx)
			if err != nil {
				return err
			}
			for j := range batch {
				e := &batch[j]
				if e.Seq <= h.seq || e.Seq > ends[i] {
					continue
				}
				if err := b.Apply(ctx, e); err != nil {
					return fmt.Errorf("projection %s, position %d: %w", w.slot.name(), e.Seq, err)
				}
			}
			return b.Flush(ctx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// entries reads what is compared: an account after the other when they are named.
func (v *verification) entries(ctx context.Context, after, upTo domain.Seq) iter.Seq2[streams.Entry, error] {
	log := v.g.r.cfg.Log
	if v.accounts == nil {
		return log.Read(ctx, v.g.stream, after, upTo)
	}
	return func(yield func(streams.Entry, error) bool) {
		for _, id := range v.accounts {
			for e, err := range log.ReadAccount(ctx, id, after) {
				if err == nil && e.Seq > upTo {
					break
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

func (v *verification) names() []string {
	var all []string
	for _, s := range v.sides {
		all = append(all, s.slot.name())
	}
	return all
}

// sampled tells whether an account is compared. Streams that are of no account are compared whole.
func (v *verification) sampled(id domain.AccountID) bool {
	return v.opt.Sample == 0 || v.g.scope != AccountStreams || place(id, v.opt.Salt) < v.opt.Sample
}

// place spreads accounts evenly over 0 to 1.
func place(id domain.AccountID, salt uint64) float64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, salt)) // never fails
	_, _ = h.Write([]byte(id))
	x := h.Sum64() // FNV hardly mixes the last octets into the high bits
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// found books a difference.
func (v *verification) found(s *side, d Difference) {
	if p, may := s.slot.projection.(Deferring); may && d.Account != "" && p.Defers(d.Account) {
		return
	}
	if v.ahead[s][d.Account].Seq > s.seq { // it shows more than was folded, and is compared when the head has come there
		return
	}
	w := v.wrong[s.slot]
	if w == nil {
		w = &wrong{}
		v.wrong[s.slot] = w
	}
	w.add(d.Account, d.Account != "" && s.slot.byAccount())
	if v.report.Total++; len(v.report.Differences) < v.opt.Limit {
		v.report.Differences = append(v.report.Differences, d)
	}
}

// repair makes anew what differs.
func (v *verification) repair(ctx context.Context) error {
	for _, s := range v.sides {
		w := v.wrong[s.slot]
		if w == nil {
			continue
		}
		n, err := w.repair(ctx, s.slot, RebuildOptions{CPUShare: v.opt.CPUShare, pace: v.opt.pace}, v.progress)
		if err != nil {
			return err
		}
		v.report.Repaired += n
	}
	return nil
}

// verify compares what a build filled with another fold of the log.
func (b *build) verify(ctx context.Context, works []*work) error {
	var report Report
	v := &verification{
		g: b.g, opt: VerifyOptions{Limit: 3, pace: b.opt.pace}, report: &report, wrong: map[*slot]*wrong{},
		progress: func(p Progress) { b.show(Verifying, p.Done, p.Total, p.Rate) },
	}
	for _, w := range works {
		v.sides = append(v.sides, &side{slot: w.slot, gen: w.gen.Generation, live: w.gen.view})
	}
	if err := v.run(ctx); err != nil {
		return err
	}
	if report.Total > 0 {
		err := domain.Errorf(domain.Corrupt, "%d rows of a new generation differ from another fold of the log: %s", report.Total, report.Differences[0])
		err.Hint = "look at the disk of the views; if it is sound, report this as a bug"
		return err
	}
	return nil
}
